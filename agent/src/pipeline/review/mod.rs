//! Statements that need the consent of people: one at a time is held, and nothing of it is at the server while it is.
//!
//! - [`consent`]: whose consent a statement needs; what is asked about is [`judge::reviewed`](super::judge::reviewed)'s to say
//! - [`standing`]: what it depends on besides
//! - [`hold`]: the steps of a statement that is held
//! - `turn`: how they are taken, among the other messages of the session
//! - [`digest`], [`values`]: what an answer is for, as it is told apart
//! - [`told`]: what the client is told

mod consent;
pub mod digest;
mod hold;
mod standing;
mod told;
mod turn;
pub mod values;

pub use consent::Consent;
pub use hold::{Approval, Hold};
pub(super) use turn::Turn;

use crate::reviews::Desk;

/// Where a session's statements wait.
#[derive(Debug)]
pub struct Waits {
    /// Among the connector's sessions.
    pub desk: Desk,
    /// The database role that its access role maps to.
    pub role: String,
    /// Its login.
    pub login: String,
}
