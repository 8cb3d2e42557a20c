//! The gRPC side of the control plane over real TLS, with the certificates that it issues itself.

mod cluster;
mod enrolment;
mod fixture;
mod lifecycle;
mod login;
mod replicas;
