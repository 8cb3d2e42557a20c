//! What the session's backend has counted: rows that were written, by relation, cascades and triggers included.
//!
//! The counters may have those of earlier transactions in them, so that what a statement has done is the difference of two
//! answers within one transaction.
//!
//! <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ALL-TABLES-VIEW>

use super::talk::{Reply, texts};
use postern_proto::v1::RelationEffect;
use std::collections::{BTreeMap, HashMap};

/// What the counters say. Every name is qualified, so that nothing can stand in for it.
pub(super) const COUNTS: &str = "\
SELECT relid::pg_catalog.int8, schemaname, relname, n_tup_ins, n_tup_upd, n_tup_del \
FROM pg_catalog.pg_stat_xact_user_tables \
WHERE n_tup_ins OPERATOR(pg_catalog.+) n_tup_upd OPERATOR(pg_catalog.+) n_tup_del OPERATOR(pg_catalog.>) 0";

/// As many relations are told apart.
const MAX_RELATIONS: usize = 50;

/// The counters of one relation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counted {
    name: String,
    rows: [u64; 3],
}

/// The counters of all relations, by object id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(BTreeMap<u32, Counted>);

impl Counts {
    /// `None` where the answer is not understood.
    pub fn read(reply: &Reply) -> Option<Self> {
        let counted = |row: &Vec<u8>| {
            let values: Vec<String> = texts(row).into_iter().collect::<Option<_>>()?;
            let [oid, schema, relation, inserted, updated, deleted] = values.as_slice() else { return None };
            let rows = [inserted.parse().ok()?, updated.parse().ok()?, deleted.parse().ok()?];
            Some((oid.parse().ok()?, Counted { name: format!("{schema}.{relation}"), rows }))
        };
        reply.rows.iter().map(counted).collect::<Option<_>>().map(Self)
    }

    /// What was written since `before`, the relations that the statement names first. Parts of a relation that it names count
    /// as that.
    pub fn since(self, before: &Self, named: &HashMap<u32, (u32, String)>) -> Vec<Written> {
        let mut all: Vec<Written> = Vec::new();
        for (oid, now) in self.0 {
            let then = before.0.get(&oid).map_or([0; 3], |counted| counted.rows);
            let mut rows = [0; 3];
            for ((rows, now), then) in rows.iter_mut().zip(now.rows).zip(then) {
                *rows = now.saturating_sub(then);
            }
            if rows == [0; 3] {
                continue;
            }
            let indirect = !named.contains_key(&oid);
            let (oid, name) = named.get(&oid).cloned().unwrap_or((oid, now.name));
            match all.iter_mut().find(|written| written.oid == oid) {
                Some(written) => written.rows.iter_mut().zip(rows).for_each(|(all, one)| *all += one),
                None => all.push(Written { oid, name, rows, indirect }),
            }
        }
        all.sort_by_key(|written| (written.indirect, written.name.clone()));
        all
    }
}

/// What was written to one relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub oid: u32,
    pub name: String,
    rows: [u64; 3],
    indirect: bool,
}

impl Written {
    /// Of a relation of which nothing is counted but how many of its rows are met.
    pub fn about(oid: u32, name: String, rows: [u64; 3]) -> Self {
        Self { oid, name, rows, indirect: false }
    }

    /// All rows.
    pub fn total(&self) -> u64 {
        self.rows.iter().sum()
    }

    fn told(&self, totals: &HashMap<u32, i64>) -> RelationEffect {
        let [inserted, updated, deleted] = self.rows;
        let total = totals.get(&self.oid).copied().unwrap_or(-1);
        RelationEffect { relation: self.name.clone(), inserted, updated, deleted, indirect: self.indirect, total }
    }
}

/// As it is told.
pub(super) fn told(written: &[Written], totals: &HashMap<u32, i64>) -> Vec<RelationEffect> {
    written.iter().take(MAX_RELATIONS).map(|written| written.told(totals)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(rows: &[[&str; 6]]) -> Reply {
        let field = |value: &&str| [&u32::try_from(value.len()).unwrap().to_be_bytes()[..], value.as_bytes()].concat();
        let row = |row: &[&str; 6]| [vec![0, 6], row.iter().flat_map(field).collect()].concat();
        Reply { described: None, rows: rows.iter().map(row).collect() }
    }

    #[test]
    fn what_was_written_since() {
        let before = reply(&[["16400", "public", "orders", "5", "0", "2"], ["16500", "public", "log", "9", "0", "0"]]);
        let after = reply(&[
            ["16400", "public", "orders", "5", "0", "14"],
            ["16401", "public", "items", "0", "0", "40"],
            ["16402", "public", "orders_old", "0", "0", "3"],
            ["16500", "public", "log", "9", "0", "0"],
        ]);
        let named = HashMap::from([16400, 16402].map(|oid| (oid, (16400, "public.orders".to_owned()))));
        let written = Counts::read(&after).unwrap().since(&Counts::read(&before).unwrap(), &named);
        assert_eq!(written.iter().map(Written::total).collect::<Vec<_>>(), [15, 40]);
        let told = told(&written, &HashMap::from([(16400, 48_110)]));
        assert_eq!(
            (&*told[0].relation, told[0].deleted, told[0].indirect, told[0].total),
            ("public.orders", 15, false, 48_110)
        );
        assert_eq!(
            (&*told[1].relation, told[1].deleted, told[1].indirect, told[1].total),
            ("public.items", 40, true, -1)
        );
        assert_eq!(Counts::read(&reply(&[["x", "a", "b", "0", "0", "0"]])), None);
    }
}
