//! What of a statement's result is masked, and what becomes of it on its way to the client.
//!
//! - [`expected`]: what a result is to be by the statement's lineage, and whether the server's description agrees
//! - [`veil`]: the results of the statement that is watched, one after the other
//! - [`errors`]: what is said of errors and notices that may carry values

pub mod errors;
pub mod expected;
pub mod veil;

pub use expected::Expected;
pub use veil::Veil;

use postern_mask::{Key, Mask};
use std::{collections::BTreeSet, sync::Arc};

/// How the results of a string are shown.
#[derive(Clone, Debug)]
pub struct Masks {
    /// Of each of its statements, in order; nothing of one that touches nothing masked.
    pub statements: Vec<Option<Masked>>,
    /// For the masks that need one.
    pub key: Key,
}

impl PartialEq for Masks {
    fn eq(&self, other: &Self) -> bool {
        self.statements == other.statements
    }
}

impl Masks {
    /// Whether anything is masked or withheld, so that the statement has to be watched.
    #[must_use]
    pub fn hides(&self) -> bool {
        self.statements.iter().flatten().any(|statement| statement.withheld || statement.result.is_masked())
    }

    /// Whether what the server says of the string's errors is withheld. One of a later statement may be about an earlier one.
    #[must_use]
    pub fn withholds(&self) -> bool {
        self.statements.iter().flatten().any(|statement| statement.withheld)
    }
}

/// How one statement is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// What it returns.
    pub result: Expected,
    /// It touches something masked: what the server says of its errors may carry values.
    pub withheld: bool,
    /// Masked columns whose values policies let it show.
    pub shown: Vec<Shown>,
}

/// What is done to a column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// How; `None`: its values only derive from masked ones.
    pub mask: Option<Mask>,
    /// The masked columns that it comes from, as they are told: `public.customers.email`.
    pub columns: BTreeSet<Arc<str>>,
    /// Their tags.
    pub tags: BTreeSet<Arc<str>>,
}

/// A masked column whose values are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub column: Arc<str>,
    /// Its tags.
    pub tags: BTreeSet<Arc<str>>,
    /// The policies that permit it.
    pub policies: Vec<Arc<str>>,
}
