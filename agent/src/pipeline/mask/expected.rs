//! What a result is to be by the statement's lineage. The server's own description of it has to agree before the first row
//! passes: what names meant may have changed since they were looked up, or they were understood wrongly.

use super::Cover;
use postern_sql::{
    Catalog,
    catalog::TypeKind,
    facts::{self, CopyOut},
};
use postern_wire::{backend, error::Report};
use std::sync::Arc;

/// The result of one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// There may be others, which come from no relation.
    pub open: bool,
    /// How it is written, where it is COPY.
    pub copy: Option<CopyOut>,
}

/// A column of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Arc<str>,
    /// Its type; of a domain, the one that it is over. `None`: not known.
    pub ty: Option<u32>,
    /// The columns that it may be said to come from.
    places: Vec<Place>,
    /// What is done to its values.
    pub cover: Option<Cover>,
    /// Detectors do not look through them.
    pub exempt: bool,
}

/// A column of a relation by object id and number; `None`: any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    table: u32,
    column: Option<i16>,
}

/// Domains over domains.
const MOST_DOMAINS: usize = 32;

impl Expected {
    /// By what is known of the statement. `temp` is the session's own temporary schema.
    #[must_use]
    pub fn of(statement: &facts::Statement, catalog: &Catalog, temp: Option<&str>) -> Self {
        let expected = |column: &facts::OutputColumn| Column {
            name: column.name.clone(),
            ty: column.ty.and_then(|ty| base(catalog, ty)),
            places: column.origins.iter().filter_map(|origin| Place::of(origin, catalog, temp)).collect(),
            cover: None,
            exempt: false,
        };
        let output = &statement.output;
        match statement.tag {
            // A plan is text of its own. It has what the client may learn by running the statement: how many rows meet its
            // conditions (an estimate for equality tells what equality does), and the constants of the text.
            "EXPLAIN" | "SHOW" => Self { open: true, ..Self::default() },
            _ => Self {
                columns: output.columns.iter().map(expected).collect(),
                open: output.open,
                copy: statement.copy_out.clone(),
            },
        }
    }

    /// Whether values of it are masked.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.columns.iter().any(|column| column.cover.is_some())
    }

    /// Which of its columns detectors look through, and nothing else.
    #[must_use]
    pub fn looked_through(&self) -> Self {
        let column = |column: &Column| Column { exempt: column.exempt, ..Column::default() };
        Self { columns: self.columns.iter().map(column).collect(), ..Self::default() }
    }

    /// Whether the server describes this result.
    ///
    /// # Errors
    /// When it does not: nothing of the result may be shown.
    pub fn agree(&self, described: &[backend::Column]) -> Result<(), Report> {
        let counted = described.len() == self.columns.len() || (self.open && described.len() > self.columns.len());
        let agrees = |(at, described): (usize, &backend::Column)| match self.columns.get(at) {
            Some(expected) => expected.agrees(described),
            None => described.table_oid == 0,
        };
        if counted && described.iter().enumerate().all(agrees) { Ok(()) } else { Err(disagrees()) }
    }
}

impl Column {
    /// A column that the server traces to a relation is one of those that its values were found to come from. It traces
    /// none through functions and set operations. Columns of the system (`ctid`) have numbers below 0, and no values of ours.
    fn agrees(&self, described: &backend::Column) -> bool {
        let (table, column) = (described.table_oid, described.attribute);
        let is_there = |place: &Place| place.table == table && place.column.is_none_or(|known| known == column);
        self.ty.is_none_or(|ty| ty == described.type_oid)
            && (table == 0 || column < 0 || self.places.iter().any(is_there))
    }
}

impl Place {
    fn of(origin: &facts::Origin, catalog: &Catalog, temp: Option<&str>) -> Option<Self> {
        let schema = &*origin.relation.schema;
        let schema = temp.filter(|_| schema == "pg_temp").unwrap_or(schema);
        let relation = catalog.relation(schema, &origin.relation.name)?;
        let Some(name) = &origin.column else { return Some(Self { table: relation.oid, column: None }) };
        Some(Self { table: relation.oid, column: Some(relation.column(name)?.number) })
    }
}

/// The type as it is described.
fn base(catalog: &Catalog, mut ty: u32) -> Option<u32> {
    for _ in 0..MOST_DOMAINS {
        let known = catalog.type_by_oid(ty)?;
        if known.kind != TypeKind::Domain {
            return Some(ty);
        }
        ty = known.of;
    }
    None
}

/// Of a result that is another one than was understood.
pub fn disagrees() -> Report {
    Report::new(
        "0A000",
        "the result is not what was expected, and may show what is masked, so it is not shown",
        "What the names in it mean may just have changed: send the statement again. If it lasts, tell the operators of \
         Postern.",
    )
}
