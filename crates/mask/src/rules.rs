//! Which columns of a database are masked, how, and what may be asked of them.

use crate::{Mask, Type};
use postern_sql::facts::Name;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// A column of a relation.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Column {
    /// Of which relation.
    pub relation: Name,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.relation.schema, self.relation.name, self.name)
    }
}

/// What may be asked of a masked column in conditions. The stricter one is the lesser.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Compare {
    /// Nothing.
    None,
    /// Whether it is equal to a constant or a parameter.
    Equality,
    /// Anything.
    Any,
}

/// What holds for a masked column.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ColumnRule {
    /// Its tags that have a mask. A column with a keyed mask has one.
    pub tags: BTreeSet<Arc<str>>,
    /// What is shown in place of its values.
    pub mask: Mask,
    /// What may be asked of it.
    pub compare: Compare,
    /// Its type.
    pub ty: Type,
}

impl ColumnRule {
    /// What holds if another rule holds as well: the stricter of each.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        if self.mask != other.mask || (is_keyed(self.mask) && self.tags != other.tags) {
            self.mask = Mask::Redact;
        }
        self.compare = self.compare.min(other.compare);
        self.tags.extend(other.tags);
        self
    }

    /// The tags, as they are told.
    pub(crate) fn told(&self) -> String {
        self.tags.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
    }
}

/// Whether equal values stay equal, so that whoever may write values of their own can make a dictionary of it.
pub(crate) const fn is_keyed(mask: Mask) -> bool {
    matches!(mask, Mask::Hash | Mask::Noise)
}

/// A relation of which something is masked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Table {
    /// Its masked columns.
    pub columns: BTreeMap<Arc<str>, ColumnRule>,
    /// Columns that it does not have, with the masked tag that names them: they may have been renamed.
    pub lost: BTreeMap<Arc<str>, Arc<str>>,
}

/// What is no way around the masks, though it looks like one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Safe {
    /// Functions.
    pub functions: BTreeSet<Name>,
    /// Relations.
    pub relations: BTreeSet<Name>,
    /// Channels of LISTEN.
    pub channels: BTreeSet<String>,
}

/// What is masked in a database.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rules {
    /// By relation.
    pub tables: BTreeMap<Name, Table>,
    /// The foreign tables, whose rows come from where nothing is known.
    pub foreign: BTreeSet<Name>,
    /// What is allowed all the same.
    pub safe: Safe,
}

impl Rules {
    /// Whether nothing is masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The rule of a column.
    #[must_use]
    pub fn of(&self, column: &Column) -> Option<&ColumnRule> {
        self.tables.get(&column.relation)?.columns.get(&column.name)
    }
}
