//! What takes the place of a value that a principal may not see. Pure: no I/O, no clock, nothing random.
//!
//! In reading order: [`mask`] (the masks, and which type each suits), [`types`] (what has to be known of a column's
//! type), [`key`] (the secret that keyed masks use), [`value`] (one value), [`rows`] (the rows of a result as they
//! stream), [`copy`] (the data of COPY); beside them [`detect`] (what looks like personal or payment data).
//!
//! INVARIANT: nothing of a value that is not understood passes. Bytes that are not what their type says become NULL.

pub mod copy;
pub mod detect;
mod fields;
pub mod key;
pub mod mask;
pub mod rows;
pub mod types;
pub mod value;

pub use key::Key;
pub use mask::{Mask, Unsuited};
pub use types::Type;
pub use value::{Encoding, Format, Masker, Put};
