//! The gRPC side of the control plane over real TLS, with the certificates that it issues itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod enrolment;
mod events;
mod fixture;
mod lifecycle;
mod login;
mod policies;
mod replicas;
mod reviews;
mod rights;
#[path = "../support/mod.rs"]
mod support;
mod told;
