//! What reading a relation starts besides reading it, as its view's definition or its policies say.

use std::{collections::BTreeSet, sync::Arc};

use crate::facts::{Access, Name};

/// What a column of a view, or a generated one, is made of: keys of columns, as the analysis has them.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// All of them.
    pub(crate) origins: Box<[u64]>,
    /// Those of them that it is not as they stand.
    pub(crate) changed: Box<[u64]>,
}

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
    /// What the columns are made of, in their order.
    pub(crate) columns: Arc<[Shown]>,
    /// Whether the definition could not be understood, so that anything may happen.
    pub(crate) unknown: bool,
}
