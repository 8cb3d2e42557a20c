//! People who sign in at an identity provider: who they are here, and when they are nobody any more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod admitted;
mod forged;
mod hostile;
mod idp;
#[path = "../issuers/issuer.rs"]
#[allow(dead_code, reason = "the issuers' tests use all of it")]
mod issuer;
mod lives;
mod op;
mod saml;
mod wrapped;
