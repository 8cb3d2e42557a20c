//! What of a statement's result is masked, and what becomes of it on its way to the client.
//!
//! - [`expected`]: what a result is to be by the statement's lineage, and whether the server's description agrees
//! - `copied`: the data of COPY
//! - [`veil`]: the results of the statement that is watched, one after the other
//! - [`errors`]: what is said of errors and notices that may carry values

mod copied;
pub mod errors;
pub mod expected;
pub mod veil;

pub use expected::Expected;
pub use veil::Veil;

use postern_mask::{Encoding, Key, Mask, Masker, Type, detect::Detectors, plan::Probe};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How the results of a string are shown.
#[derive(Clone, Debug)]
pub struct Masks {
    /// Of each of its statements, in order; nothing of one that touches nothing masked.
    pub statements: Vec<Option<Masked>>,
    /// Those of the masks that need one, by tag.
    pub keys: BTreeMap<Arc<str>, Key>,
    /// How its text is encoded.
    pub encoding: Encoding,
    /// The masked columns of the database, by their tables' object ids and their numbers.
    pub places: Arc<BTreeSet<(u32, i16)>>,
    /// It reads relations, or returns what detectors look through, so that the server's description of its results is looked
    /// at whatever was found of it.
    pub reads: bool,
    /// What is looked for in columns that are not masked.
    pub detectors: Detectors,
    /// Types of this database that are text, or arrays of it.
    pub texts: BTreeMap<u32, Type>,
}

impl PartialEq for Masks {
    fn eq(&self, other: &Self) -> bool {
        self.statements == other.statements && self.encoding == other.encoding && self.detectors == other.detectors
    }
}

impl Masks {
    /// Whether anything is masked or withheld, or may turn out to be, so that the statement has to be watched.
    #[must_use]
    pub fn hides(&self) -> bool {
        self.reads
            || self.statements.iter().flatten().any(|statement| statement.withheld || statement.result.is_masked())
    }

    /// What it asks of masked columns by constants.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.statements.iter().flatten().flat_map(|statement| &statement.probes)
    }

    /// What masks the values of a column that has this type in the result.
    #[must_use]
    pub fn masker(&self, cover: &Cover, ty: impl FnOnce() -> Type) -> Masker {
        let ty = cover.ty.clone().unwrap_or_else(ty);
        let masker = match cover.tags.first().and_then(|tag| self.keys.get(tag)) {
            Some(key) => Masker::new(cover.mask, ty, key),
            // To redact takes no key.
            None => Masker::new(cover.mask.map(|_| Mask::Redact), ty, &Key::new(&[0; 32])),
        };
        masker.in_encoding(self.encoding)
    }

    /// What looks through the values of a column that is not masked; nothing where there is nothing to look for.
    #[must_use]
    pub fn looker(&self, oid: u32, modifier: i32) -> Option<Masker> {
        if self.detectors.is_empty() {
            return None;
        }
        let ty = self.texts.get(&oid).cloned().unwrap_or_else(|| Type::of(oid, modifier));
        Some(Masker::detecting(self.detectors, ty)?.in_encoding(self.encoding))
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
    /// It uses something that has a mask: the server's description has to agree with that.
    pub strict: bool,
    /// It touches something masked: what the server says of its errors may carry values.
    pub withheld: bool,
    /// Masked columns whose values policies let it show.
    pub shown: Vec<Shown>,
    /// What it asks of masked columns by constants.
    pub probes: Vec<Probe>,
}

/// What is done to a column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// How; `None`: its values only derive from masked ones.
    pub mask: Option<Mask>,
    /// Its type by the catalog, which knows more of some types than the server says of a result.
    pub ty: Option<Type>,
    /// The masked columns that it comes from, as they are told: `public.customers.email`.
    pub columns: BTreeSet<Arc<str>>,
    /// Their tags. With a mask that needs a key it is one.
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
