//! Which limits a statement crosses, and what its client is told.

use super::{
    super::limits::{Bound, Limits},
    Watch,
};
use crate::budgets::{Amount, Ledger};
use postern_wire::{backend, error::Report};
use std::time::Duration;

/// Which limit one more row of so many bytes would cross.
pub(super) fn over(watch: &Watch, ledger: Option<&Ledger>, bytes: u64) -> Option<Report> {
    let Limits { rows, bytes: most_bytes, .. } = &watch.limits;
    if let Some(bound) = rows.as_ref().filter(|bound| watch.seen.rows >= bound.most) {
        return Some(cut(bound, "rows", "Add a LIMIT, or ask for an access role that may read more."));
    }
    if let Some(bound) = most_bytes.as_ref().filter(|bound| watch.seen.bytes.saturating_add(bytes) > bound.most) {
        let hint = "Add a LIMIT, name fewer columns, or ask for an access role that may read more.";
        return Some(cut(bound, "bytes", hint));
    }
    let ledger = ledger?;
    for (amount, count) in [(Amount::RowsRead, 1), (Amount::BytesOut, bytes)] {
        if !ledger.take(amount, count) {
            let hint = "Add a LIMIT, or ask for a new grant: `postern request`.";
            return Some(Report { detail: CUT.to_owned(), ..used_up(ledger, amount, hint) });
        }
    }
    None
}

const CUT: &str = "The result was cut there, and the statement has failed.";

pub(super) const RAN: &str = "The result was cut there. The query string had run to its end by then.";

fn cut(bound: &Bound<u64>, what: &str, hint: &str) -> Report {
    let message = format!("the result has more than {} {what}, the limit by {}", bound.most, bound.by);
    Report { detail: CUT.to_owned(), ..Report::new("53400", message, hint) }
}

pub(super) fn used_up(ledger: &Ledger, amount: Amount, hint: &str) -> Report {
    let total = ledger.total(amount).unwrap_or_default();
    Report::new("53400", format!("the grant's budget of {total} {} is used up", amount.as_str()), hint)
}

pub(super) fn too_slow(bound: &Bound<Duration>) -> Report {
    let message = format!("the statement ran for longer than {} ms, the limit by {}", bound.most.as_millis(), bound.by);
    Report::new("57014", message, "Ask for less at once, or ask for an access role that may take longer.")
}

/// Which limit the rows cross that a statement has written, by its CommandComplete and by what the server has counted.
pub(super) fn too_many(watch: &mut Watch, ledger: Option<&Ledger>, body: &[u8], counted: u64) -> Option<Report> {
    // Of a portal that is executed in parts, all rows are written by the first.
    let count = written(watch, body).max(counted).max(watch.seen.written);
    let failed = |message| {
        let hint = "Write fewer rows at once, or ask for an access role that may write more.";
        let detail = "The statement has failed: nothing of it is kept.".to_owned();
        Some(Report { detail, ..Report::new("53400", message, hint) })
    };
    if let Some(bound) = watch.limits.written.as_ref().filter(|bound| count > bound.most) {
        return failed(format!("the statement would write {count} rows; the limit by {} is {}", bound.by, bound.most));
    }
    let more = count - watch.seen.written;
    if let Some(ledger) = ledger.filter(|ledger| !ledger.take(Amount::RowsWritten, more)) {
        let (left, total) = (ledger.left(Amount::RowsWritten), ledger.total(Amount::RowsWritten));
        let (left, total) = (left.unwrap_or_default(), total.unwrap_or_default());
        return failed(format!(
            "the statement would write {count} rows; of the grant's budget of {total} rows written {left} are left"
        ));
    }
    watch.seen.written = count;
    watch.used.rows_written += more;
    None
}

fn written(watch: &Watch, body: &[u8]) -> u64 {
    let count = backend::tag_rows(body).unwrap_or(0);
    match body.split(|byte| *byte == b' ').next() {
        Some(b"INSERT" | b"UPDATE" | b"DELETE" | b"MERGE") => count,
        Some(b"COPY") if watch.copies_in => count,
        // CREATE TABLE AS and its kin, which return none.
        Some(b"SELECT") if watch.rows == 0 => count,
        _ => 0,
    }
}
