//! Opening a connection to a PostgreSQL server as libpq would: URL, TLS modes, authentication. What comes back
//! is the bare stream, ready for its first query, so that a relay can take it over.
//!
//! In reading order: [`target`] (where to, from a URL), [`tls`] (libpq's modes in rustls), [`mod@connect`],
//! [`query`] (what we ask ourselves).

mod connect;
pub mod query;
pub mod target;
pub mod tls;

pub use connect::{Connection, DialError, Io, cancel, connect};
pub use postgres_protocol::password::scram_sha_256 as scram_verifier;
pub use target::{Host, OwnCertificate, Target, TargetError};
pub use tls::{TlsMode, tls_server_end_point};
