//! What a permit asks for in return.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Limits and duties of a statement that may run, or of a session. Of several permits the strictest of each holds.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Obligations {
    /// The most rows that it may read or change.
    pub max_rows: Option<u64>,
    /// The most bytes that it may return.
    pub max_bytes: Option<u64>,
    /// The ceiling of `statement_timeout`, in milliseconds.
    pub statement_timeout_ms: Option<u64>,
    /// The ceiling of `idle_in_transaction_session_timeout`, in milliseconds.
    pub idle_in_transaction_session_timeout_ms: Option<u64>,
    /// The ceiling of `lock_timeout`, in milliseconds.
    pub lock_timeout_ms: Option<u64>,
    /// Whether the grant has to have a reason.
    pub reason_required: bool,
    /// Whether the values bound to parameters are recorded.
    pub record_binds: bool,
}

/// Who has to agree before a statement runs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Review {
    /// How many members of which groups. All of them are needed.
    pub approvals: BTreeMap<Arc<str>, u32>,
    /// Whether reviewers are shown what the statement would change.
    pub preview: bool,
    /// Nobody has to where that shows, exactly, that it changes no more rows than this.
    pub above: Option<u64>,
}

impl Review {
    /// Whether nobody has to.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.approvals.is_empty()
    }

    /// Adds what another permit asks for: all of it is needed, and what one leaves to a number of rows the other one must, too.
    pub fn merge(&mut self, other: &Self) {
        self.above = match (self.is_none(), other.is_none()) {
            (true, _) => other.above,
            (_, true) => self.above,
            _ => self.above.zip(other.above).map(|(one, other)| one.min(other)),
        };
        for (group, count) in &other.approvals {
            let most = self.approvals.entry(group.clone()).or_default();
            *most = (*most).max(*count);
        }
        self.preview |= other.preview;
    }
}

impl Obligations {
    pub(crate) fn merge(&mut self, other: &Self) {
        let Self {
            max_rows,
            max_bytes,
            statement_timeout_ms,
            idle_in_transaction_session_timeout_ms,
            lock_timeout_ms,
            reason_required,
            record_binds,
        } = other;
        lower(&mut self.max_rows, *max_rows);
        lower(&mut self.max_bytes, *max_bytes);
        lower(&mut self.statement_timeout_ms, *statement_timeout_ms);
        lower(&mut self.idle_in_transaction_session_timeout_ms, *idle_in_transaction_session_timeout_ms);
        lower(&mut self.lock_timeout_ms, *lock_timeout_ms);
        self.reason_required |= reason_required;
        self.record_binds |= record_binds;
    }
}

fn lower(limit: &mut Option<u64>, other: Option<u64>) {
    // None is no limit, which `min` would take for the lowest.
    *limit = match (*limit, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_holds() {
        let mut limits = Obligations { max_rows: Some(10), lock_timeout_ms: Some(5), ..Obligations::default() };
        limits.merge(&Obligations {
            max_rows: Some(7),
            max_bytes: Some(1),
            record_binds: true,
            ..Obligations::default()
        });
        limits.merge(&Obligations::default());
        let expected = Obligations {
            max_rows: Some(7),
            max_bytes: Some(1),
            lock_timeout_ms: Some(5),
            record_binds: true,
            ..Obligations::default()
        };
        assert_eq!(limits, expected);
        let review = |entries: &[(&str, u32)]| Review {
            approvals: entries.iter().map(|(group, n)| (Arc::from(*group), *n)).collect(),
            preview: entries.len() > 1,
            above: None,
        };
        let mut all = review(&[("dba", 2)]);
        all.merge(&review(&[("dba", 1), ("security", 1)]));
        assert_eq!(all, review(&[("dba", 2), ("security", 1)]));
        let above = |above, groups| Review { above, ..review(groups) };
        let together = |one: &Review, other: &Review| {
            let mut all = Review::default();
            all.merge(one);
            all.merge(other);
            all.above
        };
        let (few, more) = (above(Some(5), &[("dba", 1)]), above(Some(50), &[("security", 1)]));
        assert_eq!(together(&few, &more), Some(5));
        assert_eq!(together(&more, &few), Some(5));
        assert_eq!(together(&few, &Review::default()), Some(5));
        assert_eq!(together(&few, &review(&[("security", 1)])), None);
        assert_eq!(together(&review(&[("security", 1)]), &few), None);
    }
}
