//! What reading a relation starts besides reading it, as its view's definition or its policies say.

use std::collections::BTreeSet;

use crate::facts::{Access, Name};

/// Worked out once for each relation of a snapshot. Functions stand by object id, since what a function's body means may
/// depend on the session that runs it.
#[derive(Debug, Default)]
pub(crate) struct Started {
    /// The functions that are called.
    pub(crate) routines: BTreeSet<u32>,
    /// The relations that the definition reads.
    pub(crate) relations: BTreeSet<Name>,
    /// What is to be named as an effect.
    pub(crate) effects: BTreeSet<String>,
    /// What the functions' constant arguments say is done: a sequence that is advanced.
    pub(crate) accesses: BTreeSet<Access>,
    /// Whether values are turned into JSON.
    pub(crate) makes_json: bool,
    /// Whether the definition could not be understood, so that anything may happen.
    pub(crate) unknown: bool,
}
