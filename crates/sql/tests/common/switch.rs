//! The switch of the guards on one thread: which are taken away, and which of them stopped something last.

use std::{cell::RefCell, collections::BTreeSet};

thread_local! {
    /// The guards that are taken away on this thread.
    pub static AWAY: RefCell<BTreeSet<String>> = RefCell::default();
    /// The guard that stopped something last.
    pub static LAST: RefCell<String> = RefCell::default();
}

/// Whether the guard of this name stops what it has found.
pub fn stops(name: &str) -> bool {
    let stops = AWAY.with_borrow(|away| !away.contains(name));
    if stops {
        LAST.set(name.to_owned());
    }
    stops
}
