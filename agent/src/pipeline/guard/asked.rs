//! What the server has counted: rows that were written in the transaction at hand, by whatever wrote them. It is asked before
//! and after a statement of which the command tag does not tell all.
//!
//! <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ALL-TABLES-VIEW>

use super::{Fate, Guard, Stage, crossed::too_many};
use crate::pipeline::question;
use postern_wire::{
    backend,
    error::{self, Report},
    frame::put_message,
};

/// NULL where the server does not count. The counters may have those of earlier transactions in them: the difference counts.
const COUNT: &str = "\
SELECT CASE WHEN pg_catalog.current_setting('track_counts') OPERATOR(pg_catalog.=) 'on' THEN \
coalesce(pg_catalog.sum(n_tup_ins OPERATOR(pg_catalog.+) n_tup_upd OPERATOR(pg_catalog.+) n_tup_del), 0)::pg_catalog.int8 END \
FROM pg_catalog.pg_stat_xact_user_tables";

/// Of what is checked and triggered when a transaction commits the rows count, too.
const AT_COMMIT: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// A setting of the transaction that does nothing outside of a block, says the server.
const NO_BLOCK: &[u8] = b"25P01";

/// A portal and a statement are closed at the end.
const CLOSED: u8 = 2;

/// An answer that is coming.
#[derive(Debug, Default)]
pub(super) struct Asked {
    rows: Option<u64>,
    /// So many messages of it are still to come, once that is known.
    closing: Option<u8>,
}

/// Asks, in what is sent on.
pub(super) fn put_count(out: &mut Vec<u8>) {
    question::put_own(&[COUNT], out);
}

/// Asks after a statement has run.
pub(super) fn put_count_after(by_itself: bool, out: &mut Vec<u8>) {
    let all: &[&str] = if by_itself { &[AT_COMMIT, COUNT] } else { &[COUNT] };
    question::put_own(all, out);
    put_message(out, b'H', |_| {});
}

impl Guard {
    /// Whether the server is answering what the client has not asked.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| matches!(watch.stage, Stage::Asking(..)))
    }

    /// Takes a message of that answer.
    pub(super) fn meet_count(&mut self, tag: u8, body: &[u8]) -> Fate {
        let Some(watch) = &mut self.watch else { return Fate::Pass };
        let Stage::Asking(asked, complete) = &mut watch.stage else { return Fate::Pass };
        match tag {
            b'D' => {
                let row = backend::data_row(body).unwrap_or_default();
                let text = row.first().copied().flatten().and_then(|text| std::str::from_utf8(text).ok());
                asked.rows = text.and_then(|text| text.parse().ok());
                return Fate::Drop;
            }
            // The answer to what checks constraints comes first.
            b'C' => {
                asked.closing = body.starts_with(b"SELECT").then_some(CLOSED);
                return Fate::Drop;
            }
            b'N' if error::field(body, b'C') == Some(NO_BLOCK) => return Fate::Drop,
            // A constraint was violated, or the client has cancelled: the statement has failed.
            b'E' => {
                let alone = watch.way.is_alone();
                watch.stage = Stage::Settling(Vec::new());
                if alone {
                    put_message(&mut self.due, b'S', |_| {});
                }
                return Fate::Pass;
            }
            b'3' if asked.closing == Some(1) => {}
            b'3' => {
                asked.closing = asked.closing.map(|left| left - 1);
                return Fate::Drop;
            }
            b'N' | b'A' | b'S' => return Fate::Pass,
            _ => return Fate::Drop,
        }
        let (rows, complete) = (asked.rows, complete.take());
        watch.stage = Stage::Running;
        let Some((tag, body)) = complete else {
            watch.counted = rows;
            return Fate::Drop;
        };
        let Some(counted) = watch.counted.and_then(|before| Some(rows?.saturating_sub(before))) else {
            return self.undo(uncounted());
        };
        if tag == b's' {
            // It has run to its end, whatever of its rows the client has taken.
            if let Some(report) = too_many(watch, self.ledger.as_deref(), &[], counted) {
                return self.undo(report);
            }
            self.suspended.insert(watch.portal.clone(), watch.seen);
            return Fate::Instead(tag, body);
        }
        match self.meet_complete(&body, counted) {
            Fate::Pass => Fate::Instead(tag, body),
            fate => fate,
        }
    }
}

fn uncounted() -> Report {
    Report {
        detail: "The statement has failed: nothing of it is kept.".to_owned(),
        ..Report::new(
            "0A000",
            "the database does not count the rows that are written (track_counts), so that they cannot be limited",
            "Ask whoever runs the database to set track_counts on.",
        )
    }
}
