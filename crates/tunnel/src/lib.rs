//! Many sessions over one connection between gateway and connector.
//!
//! Each session is a stream with a credit window of its own in each direction, so that one slow client never
//! blocks another. One task drives a connection: it reads what there is, hands it to the streams, and writes
//! what all of them have queued in one go for each wake-up. A buffer belongs to a stream only while there is
//! something in it.
//!
//! Everything of one connection lives on one thread (`Rc`, no locks): sessions are pinned to the thread that
//! drives their tunnel.
//!
//! In reading order: [`frame`] (the form on the wire), [`stream`] (what a session holds), [`mux`] (the
//! connection).

pub mod frame;
pub mod mux;
pub mod stream;

pub use mux::{Mux, Role, TunnelError, connect};
pub use stream::{Closed, Stream};

/// Bytes that a peer may send on a stream before the receiver has taken any: enough for a local network's
/// bandwidth times delay, and the most that an unread stream can hold.
pub const WINDOW: u32 = 256 * 1024;

/// Streams at once on one connection.
pub const MAX_STREAMS: usize = 16_384;

/// Bytes queued on a connection above which streams wait before they queue more.
pub const HIGH_WATER: usize = 1024 * 1024;
