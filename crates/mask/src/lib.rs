//! What takes the place of a value that a principal may not see. Pure: no I/O, no clock, nothing random.
//!
//! In reading order: [`mask`] (the masks, and which type each suits), [`types`] (what has to be known of a column's
//! type), [`key`] (the secret that keyed masks use), [`value`] (one value), [`rows`] (the rows of a result as they
//! stream), [`copy`] (the data of COPY); beside them [`rules`] (what is masked), [`mod@plan`] (what becomes of a statement's
//! output, or why it may not run), `around` (what leads around the masks), `guards` (what stops it, by name), [`refused`] (what is said of it), [`detect`] (what
//! looks like personal or payment data).
//!
//! INVARIANT: nothing of a value that is not understood passes. Bytes that are not what their type says become NULL.

mod around;
pub mod copy;
pub mod detect;
mod fields;
mod guards;
pub mod key;
pub mod mask;
pub mod plan;
pub mod refused;
pub mod rows;
pub mod rules;
pub mod types;
pub mod value;

pub use around::shows_others;
pub use key::Key;
pub use mask::{Mask, Unsuited};
pub use types::Type;
pub use value::{Done, Encoding, Format, Masker, Put};
