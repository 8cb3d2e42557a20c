//! Some of the rows that a statement changes, as somebody sees them to whom nothing is shown that is masked.

use super::talk::{Reply, texts};
use crate::pipeline::mask::{Masks, Veil};
use postern_proto::v1::{EffectSample, SampleRow, SampleValue};
use postern_sql::excerpt::quoted;
use postern_wire::{
    backend::{data_row, row_description},
    frame::HEADER_BYTES,
};
use std::rc::Rc;

/// As many rows are shown.
pub(super) const MAX_ROWS: usize = 5;

/// As much of a value is shown.
const MAX_VALUE_CHARS: usize = 200;

/// As many columns are shown.
const MAX_COLUMNS: usize = 60;

/// What hides what is masked.
#[derive(Clone, Debug)]
pub struct Screen(Option<Rc<Masks>>);

impl Screen {
    /// With what is done to the columns; nothing where nothing of the database is masked.
    #[must_use]
    pub fn new(masks: Option<Rc<Masks>>) -> Self {
        Self(masks)
    }

    /// The names of the columns and the rows, as they are shown. `None`: it is not known what may be.
    fn shown(&self, reply: &Reply) -> Option<(Vec<String>, Vec<SampleRow>)> {
        let described = reply.described.as_deref()?;
        let columns = row_description(described).ok()?;
        let names = columns.into_iter().take(MAX_COLUMNS).map(|column| column.name).collect();
        let mut veil = self.0.as_ref().map(|masks| Veil::new(Rc::clone(masks)));
        if let Some(veil) = &mut veil {
            veil.described(described).ok()?;
        }
        let mut rows = Vec::new();
        for row in reply.rows.iter().take(MAX_ROWS) {
            let mut hidden = Vec::new();
            let seen = match &mut veil {
                Some(veil) if veil.rewrites() => {
                    veil.begin(row.len());
                    veil.feed(row, &mut hidden).ok()?;
                    hidden.get(HEADER_BYTES..)?
                }
                _ => row,
            };
            let values = texts(seen).into_iter().zip(texts(row)).enumerate().take(MAX_COLUMNS);
            let value = |(at, (text, was)): (usize, (Option<String>, Option<String>))| SampleValue {
                masked: text != was || self.covers(at),
                text: text.map(cut),
            };
            rows.push(SampleRow { values: values.map(value).collect() });
        }
        Some((names, rows))
    }

    /// Whether a column is masked.
    fn covers(&self, at: usize) -> bool {
        let statement = self.0.as_ref().and_then(|masks| masks.statements.first()?.as_ref());
        statement.and_then(|masked| masked.result.columns.get(at)?.cover.as_ref()).is_some()
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A key of the relation: its columns, and their types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Key(Vec<(String, u32)>);

/// The primary key of the relation with this object id.
pub(super) fn ask_key(relation: u32) -> String {
    format!(
        "SELECT a.attname, a.atttypid::pg_catalog.int8 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a \
         ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid AND a.attnum OPERATOR(pg_catalog.=) ANY (i.indkey) \
         WHERE i.indrelid OPERATOR(pg_catalog.=) {relation}::pg_catalog.oid AND i.indisprimary"
    )
}

impl Key {
    pub fn read(reply: &Reply) -> Option<Self> {
        let column = |row: &Vec<u8>| match texts(row).as_slice() {
            [Some(name), Some(ty)] => Some((name.clone(), ty.parse().ok()?)),
            _ => None,
        };
        let columns = reply.rows.iter().map(column).collect::<Option<Vec<_>>>()?;
        (!columns.is_empty()).then_some(Self(columns))
    }

    /// The values of the key in each row of an answer, as they are.
    fn values(&self, reply: &Reply) -> Option<Vec<Vec<Vec<u8>>>> {
        let columns = row_description(reply.described.as_deref()?).ok()?;
        let place = |(name, _): &(String, u32)| columns.iter().position(|column| column.name == *name);
        let places = self.0.iter().map(place).collect::<Option<Vec<_>>>()?;
        let of = |row: &Vec<u8>| {
            let row = data_row(row).ok()?;
            places.iter().map(|at| row.get(*at).copied().flatten().map(<[u8]>::to_vec)).collect()
        };
        reply.rows.iter().take(MAX_ROWS).map(of).collect()
    }

    /// A statement that asks for these rows of a relation again, with the types and the values of its parameters.
    pub fn again(&self, relation: &str, before: &Reply) -> Option<(String, Vec<u32>, Vec<u8>)> {
        let rows = self.values(before)?;
        if rows.is_empty() {
            return None;
        }
        let mut number = 0;
        let mut same = |(name, _): &(String, u32)| {
            number += 1;
            format!("t.{} OPERATOR(pg_catalog.=) ${number}", quoted(name))
        };
        let row = |_: &Vec<Vec<u8>>| format!("({})", self.0.iter().map(&mut same).collect::<Vec<_>>().join(" AND "));
        let met = rows.iter().map(row).collect::<Vec<_>>().join(" OR ");
        let types = rows.iter().flat_map(|_| self.0.iter().map(|(_, ty)| *ty)).collect::<Vec<_>>();
        let mut values = vec![0, 0];
        values.extend_from_slice(&u16::try_from(types.len()).ok()?.to_be_bytes());
        for value in rows.iter().flatten() {
            values.extend_from_slice(&u32::try_from(value.len()).ok()?.to_be_bytes());
            values.extend_from_slice(value);
        }
        Some((format!("SELECT t.* FROM {relation} AS t WHERE {met}"), types, values))
    }

    /// Puts rows in the order of others that have the same keys.
    fn in_order(&self, before: &Reply, after: Reply) -> Option<Reply> {
        let (wanted, found) = (self.values(before)?, self.values(&after)?);
        let mut rows = Vec::new();
        for key in wanted {
            let at = found.iter().position(|found| *found == key)?;
            rows.push(after.rows.get(at)?.clone());
        }
        Some(Reply { described: after.described, rows })
    }
}

/// What is shown of a relation.
pub(super) fn sample(
    relation: &str,
    screen: &Screen,
    before: Option<&Reply>,
    after: Option<Reply>,
    key: Option<&Key>,
) -> Option<EffectSample> {
    // Of rows that were there, those that are there afterwards are told by their keys, or not at all.
    let after = match (before, after, key) {
        (None, after, _) => after,
        (Some(before), Some(after), Some(key)) => key.in_order(before, after),
        _ => None,
    };
    let before = before.and_then(|before| screen.shown(before));
    let after = after.and_then(|after| screen.shown(&after));
    let columns = before.as_ref().or(after.as_ref())?.0.clone();
    let rows = |shown: Option<(Vec<String>, Vec<SampleRow>)>| shown.map(|(_, rows)| rows).unwrap_or_default();
    let sample = EffectSample { relation: relation.to_owned(), columns, before: rows(before), after: rows(after) };
    (!sample.before.is_empty() || !sample.after.is_empty()).then_some(sample)
}
