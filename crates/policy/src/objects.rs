//! What is known of tables and their like beyond their names: kinds and tags.

use crate::subject::Tags;
use postern_sql::facts::Name;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// What a relation is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A table, also a partitioned one.
    Table,
    /// A view.
    View,
    /// A materialised view.
    MaterializedView,
    /// A foreign table.
    ForeignTable,
    /// A sequence.
    Sequence,
    /// Not known.
    #[default]
    Unknown,
}

impl Kind {
    /// As policies name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized_view",
            Self::ForeignTable => "foreign_table",
            Self::Sequence => "sequence",
            Self::Unknown => "unknown",
        }
    }
}

/// Answers what objects are. The connector's catalog does, and [`Objects`] for tests and by hand. The tags that are
/// asked for are an object's own; those of what it is in are added here.
pub trait Describe {
    /// A relation's kind and own tags.
    fn relation(&self, name: &Name) -> (Kind, Arc<Tags>);
    /// A function's own tags.
    fn function(&self, name: &Name) -> Arc<Tags>;
    /// A schema's own tags.
    fn schema(&self, schema: &str) -> Arc<Tags>;
    /// A column's own tags; `None`: those of all columns of the relation.
    fn column(&self, relation: &Name, column: Option<&str>) -> Arc<Tags>;
}

/// Descriptions held in maps. What is not in them has no tags.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Relations.
    pub relations: BTreeMap<Name, (Kind, Arc<Tags>)>,
    /// Functions.
    pub functions: BTreeMap<Name, Arc<Tags>>,
    /// Schemas.
    pub schemas: BTreeMap<Arc<str>, Arc<Tags>>,
    /// Columns of relations.
    pub columns: BTreeMap<Name, BTreeMap<Arc<str>, Arc<Tags>>>,
}

impl Describe for Objects {
    fn relation(&self, name: &Name) -> (Kind, Arc<Tags>) {
        self.relations.get(name).cloned().unwrap_or_default()
    }

    fn function(&self, name: &Name) -> Arc<Tags> {
        self.functions.get(name).cloned().unwrap_or_default()
    }

    fn schema(&self, schema: &str) -> Arc<Tags> {
        self.schemas.get(schema).cloned().unwrap_or_default()
    }

    fn column(&self, relation: &Name, column: Option<&str>) -> Arc<Tags> {
        let Some(columns) = self.columns.get(relation) else { return Arc::default() };
        match column {
            Some(column) => columns.get(column).cloned().unwrap_or_default(),
            None => Arc::new(columns.values().flat_map(|tags| tags.iter().cloned()).collect()),
        }
    }
}
