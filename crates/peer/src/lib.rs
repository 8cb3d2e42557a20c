//! A gateway's or connector's identity with the control plane: bought once with a join token, kept on disk,
//! renewed before it expires, and used for every TLS connection between the parts.
//!
//! In reading order: [`identity`] (what is kept, and its file), [`tls`] (rustls configurations from it),
//! [`control`] (the gRPC channel), [`pauses`] (between two attempts), [`enrol`] (join and renew), [`hello`] (how a
//! tunnel begins). Apart from these: [`possession`] (certificates that clients may show).

pub mod control;
pub mod enrol;
pub mod hello;
pub mod identity;
pub mod pauses;
pub mod possession;
pub mod tls;

pub use control::channel;
pub use enrol::{EnrolError, Keeper};
pub use identity::{Identity, Kind};
pub use pauses::Pauses;
