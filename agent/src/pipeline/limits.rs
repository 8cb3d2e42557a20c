//! How much one statement may do: by the policies that permit it.

use postern_policy::Obligations;
use std::{rc::Rc, time::Duration};

/// A bound, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound<T> {
    /// The most.
    pub most: T,
    /// By whom, as it is told: `the policies a, b`.
    pub by: Rc<str>,
}

/// The bounds of one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Rows that it may return.
    pub rows: Option<Bound<u64>>,
    /// Bytes that it may return.
    pub bytes: Option<Bound<u64>>,
    /// Rows that it may write.
    pub written: Option<Bound<u64>>,
    /// How long it may run.
    pub time: Option<Bound<Duration>>,
    /// More may be written than its command tag counts: by triggers, cascades, rules, functions. No limit by itself.
    pub writes_besides: bool,
}

impl Limits {
    /// Whether there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let Self { rows, bytes, written, time, writes_besides: _ } = self;
        rows.is_none() && bytes.is_none() && written.is_none() && time.is_none()
    }

    /// Adds what the permits of one access after another ask for.
    pub fn oblige(&mut self, obligations: &Obligations, by: &Rc<str>) {
        let bound = |most: Option<u64>| most.map(|most| Bound { most, by: Rc::clone(by) });
        let time = obligations.statement_timeout_ms.map(Duration::from_millis);
        self.tighten(&Self {
            rows: bound(obligations.max_rows),
            bytes: bound(obligations.max_bytes),
            written: bound(obligations.max_rows),
            time: time.map(|most| Bound { most, by: Rc::clone(by) }),
            writes_besides: false,
        });
    }

    /// Of each bound the stricter one holds.
    pub fn tighten(&mut self, other: &Self) {
        tighten(&mut self.rows, &other.rows);
        tighten(&mut self.bytes, &other.bytes);
        tighten(&mut self.written, &other.written);
        tighten(&mut self.time, &other.time);
        self.writes_besides |= other.writes_besides;
    }
}

fn tighten<T: Ord + Clone>(bound: &mut Option<Bound<T>>, other: &Option<Bound<T>>) {
    if let Some(other) = other
        && bound.as_ref().is_none_or(|bound| other.most < bound.most)
    {
        *bound = Some(other.clone());
    }
}
