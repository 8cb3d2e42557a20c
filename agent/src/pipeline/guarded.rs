//! Sessions whose statements have limits: what is cut, counted and held back, on bytes.

use super::{
    guard::Guard,
    tests::{READY, Session, backend, bind_execute, failed, parse, query, session},
};
use crate::budgets::Budgets;
use postern_proto::v1::{Amounts, AuditRecord, Budget, Ticket, Usage, audit_record::Record};
use postern_types::time::Micros;
use std::task::{Context, Waker};

/// A session whose grant may use up so much.
fn session_within(total: Amounts) -> Session {
    let budget = Budget { total: Some(total), left: Some(total) };
    let ticket = Ticket { budget: Some(budget), grant_ends_at_us: i64::MAX, ..Ticket::default() };
    let mut session = session();
    let ledger = Budgets::default().of(&ticket, Micros(0));
    session.pipeline.guard = Guard::new(ledger, false);
    session
}

impl Session {
    /// What goes to the server besides the client's own, and whether a cancel request is to.
    pub(super) fn due(&mut self) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let cancel = self.pipeline.poll_guard(&mut Context::from_waker(Waker::noop()), &mut out);
        (out, cancel)
    }

    /// Lets what was held go on.
    pub(super) fn go_on(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = self.pipeline.poll_held(&mut Context::from_waker(Waker::noop()), &mut out);
        self.recorded().unwrap();
        out
    }

    fn used(&self) -> Vec<Usage> {
        let used = |record: AuditRecord| match record.record {
            Some(Record::Ended(ended)) => ended.used,
            _ => None,
        };
        self.records().into_iter().filter_map(used).collect()
    }
}

fn row(bytes: usize) -> Vec<u8> {
    backend(b'D', &vec![1; bytes])
}

pub(super) fn told(answer: &[u8]) -> String {
    let at = answer.windows(8).position(|window| window == b"SERROR\0V").unwrap();
    String::from_utf8_lossy(&answer[at..]).into_owned()
}

#[test]
fn a_query_is_cut_and_cancelled_and_what_follows_waits() {
    let start = [backend(b'T', &[0, 0]), row(9)].concat();
    let answer = [start.clone(), row(2), row(700), row(1), failed("57014"), READY.to_vec()].concat();
    for piece in [1, 3, 64, 4096] {
        let mut session = session_within(Amounts { rows_read: Some(1), ..Amounts::default() });
        assert_eq!(session.client(&[query("SELECT 1"), query("SELECT 2")].concat()), query("SELECT 1"));
        let out = session.server(&answer, piece);
        assert!(out.starts_with(&start) && out.ends_with(READY), "pieces of {piece}: {out:?}");
        assert!(told(&out).contains("53400") && told(&out).contains("budget of 1 rows read is used up"));
        // It had ended before the request was sent.
        assert_eq!(session.due(), (Vec::new(), false));
        assert_eq!(session.go_on(), query("SELECT 2"));
        assert_eq!(session.used(), [Usage { statements: 1, rows_read: 1, bytes_out: 14, ..Usage::default() }]);
    }
}

#[test]
fn while_a_cancel_request_is_under_way_nothing_is_sent_that_it_could_hit() {
    let mut session = session_within(Amounts { rows_read: Some(0), ..Amounts::default() });
    session.client(&[bind_execute("s"), query("SELECT 2")].concat());
    session.server(&[backend(b'2', b""), row(2)].concat(), 4096);
    assert_eq!(session.due(), (Vec::new(), true));
    // It was faster: what is certain to fail follows, and its error is ours.
    assert_eq!(session.server(&[row(2), backend(b'C', b"SELECT 2\0")].concat(), 1), b"");
    let (stand_in, cancel) = session.due();
    assert!(!cancel && stand_in.starts_with(b"P") && stand_in.ends_with(b"H\0\0\0\x04"));
    assert!(told(&session.server(&failed("57014"), 7)).contains("53400"));
    assert_eq!(session.go_on(), b"", "the request is under way");
    session.pipeline.cancelled();
    assert!(session.go_on().starts_with(b"S\0\0\0\x04Q"));
}

#[test]
fn a_write_is_not_committed_before_it_is_counted() {
    let extended = |text| [parse("", text), bind_execute("")].concat();
    for (count, kept) in [(3, true), (4, false)] {
        let complete = backend(b'C', format!("UPDATE {count}\0").as_bytes());
        // By messages: the client's Sync waits.
        let mut session = session_within(Amounts { rows_written: Some(3), ..Amounts::default() });
        let sent = session.client(&extended("UPDATE t SET a = 1"));
        assert!(sent.ends_with(b"H\0\0\0\x04"));
        let answer = session.server(&[backend(b'1', b""), backend(b'2', b""), complete.clone()].concat(), 3);
        let (stand_in, _) = session.due();
        assert_eq!((answer.ends_with(&complete), stand_in.is_empty()), (kept, kept));
        if !kept {
            let told = told(&session.server(&failed("42601"), 5));
            assert!(told.contains("would write 4 rows") && told.contains("3 are left"), "{told}");
        }
        assert_eq!(session.go_on(), b"S\0\0\0\x04");
        // As a Query: it becomes messages, whose answers the client does not see.
        let mut session = session_within(Amounts { rows_written: Some(3), ..Amounts::default() });
        let sent = session.client(&query("UPDATE t SET a = 1"));
        assert!(sent.starts_with(b"P") && sent.ends_with(b"H\0\0\0\x04"));
        let before = [backend(b'1', b""), backend(b'2', b""), backend(b'n', b"")].concat();
        assert_eq!(session.server(&[before, complete.clone()].concat(), 1), b"");
        let (due, _) = session.due();
        assert!(due.ends_with(b"S\0\0\0\x04") && (due.len() == 5) == kept);
        if kept {
            assert_eq!(session.server(READY, 1), [complete, READY.to_vec()].concat());
        } else {
            let answer = session.server(&[failed("42601"), READY.to_vec()].concat(), 1);
            assert!(told(&answer).contains("53400") && answer.ends_with(READY));
        }
    }
}

#[test]
fn what_follows_goes_on_where_an_earlier_message_has_failed() {
    let mut session = session_within(Amounts { statements: Some(3), ..Amounts::default() });
    session.client(&[parse("", "SELECT"), bind_execute("")].concat());
    assert!(!session.pipeline.may_go_on());
    session.server(&failed("42601"), 4096);
    assert!(session.pipeline.may_go_on());
    assert_eq!(session.go_on(), backend(b'S', b""));
}

#[test]
fn data_that_a_write_takes_does_not_wait() {
    let mut session = session_within(Amounts { rows_written: Some(3), ..Amounts::default() });
    let data = [backend(b'd', b"1\n"), backend(b'c', b"")].concat();
    let sent = session.client(&[query("COPY t FROM STDIN"), data.clone(), query("SELECT 1")].concat());
    assert!(sent.starts_with(b"P") && sent.ends_with(b"H\0\0\0\x04"));
    let asks = backend(b'G', &[0; 3]);
    let before = [backend(b'1', b""), backend(b'2', b""), backend(b'n', b"")].concat();
    assert_eq!(session.server(&[before, asks.clone()].concat(), 2), asks);
    // The server ignores the first Flush while it takes data.
    assert_eq!(session.go_on(), [data, backend(b'H', b"")].concat());
    let complete = backend(b'C', b"COPY 1\0");
    assert_eq!(session.server(&complete, 1), b"");
    assert_eq!(session.due().0, backend(b'S', b""));
    assert_eq!(session.server(READY, 1), [complete, READY.to_vec()].concat());
    assert_eq!(session.go_on(), query("SELECT 1"));
    assert_eq!(session.used(), [Usage { statements: 1, rows_written: 1, ..Usage::default() }]);
}

/// The server's answer to what it has counted, after so many other statements of ours.
fn counted(rows: &str, others: usize) -> Vec<u8> {
    let closed = backend(b'3', b"").repeat(2);
    let [parsed, bound] = [b'1', b'2'].map(|tag| backend(tag, b""));
    let other = [&closed, &parsed, &bound, &backend(b'C', b"SET CONSTRAINTS\0")].map(Vec::as_slice).concat();
    let length = u32::try_from(rows.len()).unwrap().to_be_bytes();
    let row = backend(b'D', &[&[0, 1][..], &length, rows.as_bytes()].concat());
    [other.repeat(others), closed.clone(), parsed, bound, row, backend(b'C', b"SELECT 1\0"), closed].concat()
}

#[test]
fn what_a_tag_does_not_count_is_asked_for_before_and_after() {
    const TEXT: &str = "WITH d AS (DELETE FROM t RETURNING 1) SELECT * FROM d";
    let complete = backend(b'C', b"SELECT 1\0");
    let asks = |sent: &[u8]| sent.windows(24).filter(|part| part == b"pg_stat_xact_user_tables").count();
    for (after, kept) in [("12", true), ("13", false)] {
        for piece in [1, 5000] {
            // By messages, within a transaction of the client's.
            let mut session = session_within(Amounts { rows_written: Some(3), ..Amounts::default() });
            session.client(&query("BEGIN"));
            session.server(&[backend(b'C', b"BEGIN\0"), backend(b'Z', b"T")].concat(), piece);
            let sent = session.client(&[parse("s", TEXT), bind_execute("s")].concat());
            assert_eq!(asks(&sent), 1);
            let begun = [backend(b'1', b""), backend(b'2', b"")].concat();
            assert_eq!(
                session.server(&[begun.clone(), counted("9", 0), row(7)].concat(), piece),
                [begun, row(7)].concat()
            );
            assert_eq!(session.server(&complete, piece), b"");
            let (due, _) = session.due();
            assert!(asks(&due) == 1 && !String::from_utf8_lossy(&due).contains("SET CONSTRAINTS"));
            let answer = session.server(&counted(after, 0), piece);
            assert_eq!(answer, if kept { complete.clone() } else { Vec::new() });
            let (stand_in, _) = session.due();
            assert_eq!(stand_in.is_empty(), kept);
            if !kept {
                assert!(told(&session.server(&failed("42601"), piece)).contains("would write 4 rows"));
            }
            // As a Query, in a transaction of its own: what is checked at its end counts.
            let mut session = session_within(Amounts { rows_written: Some(3), ..Amounts::default() });
            assert_eq!(asks(&session.client(&query(TEXT))), 1);
            let begun = [backend(b'1', b""), backend(b'2', b""), backend(b'T', &[0, 0])].concat();
            let seen = session.server(&[counted("9", 0), begun, row(7), complete.clone()].concat(), piece);
            assert_eq!(seen, [backend(b'T', &[0, 0]), row(7)].concat());
            assert!(String::from_utf8_lossy(&session.due().0).contains("SET CONSTRAINTS ALL IMMEDIATE"));
            assert_eq!(session.server(&counted(after, 1), piece), b"");
            assert_eq!(session.due().0.len() == 5, kept);
            let answer = if kept { READY.to_vec() } else { [failed("42601"), READY.to_vec()].concat() };
            let told = session.server(&answer, piece);
            assert_eq!(told.starts_with(&complete), kept);
            assert!(told.ends_with(READY));
        }
    }
}

#[test]
fn what_the_server_does_not_count_is_undone() {
    let mut session = session_within(Amounts { rows_written: Some(3), ..Amounts::default() });
    session.client(&query("WITH d AS (DELETE FROM t RETURNING 1) SELECT * FROM d"));
    let without = |others| counted("no number", others);
    let begun = [backend(b'1', b""), backend(b'2', b""), backend(b'n', b"")].concat();
    session.server(&[without(0), begun, backend(b'C', b"SELECT 0\0")].concat(), 9);
    session.due();
    session.server(&without(1), 9);
    assert!(told(&session.server(&[failed("42601"), READY.to_vec()].concat(), 9)).contains("track_counts"));
}

#[test]
fn a_write_whose_rows_are_taken_in_part_is_counted_at_once() {
    let mut session = session_within(Amounts { rows_written: Some(3), ..Amounts::default() });
    let execute = |most: u8| backend(b'E', &[0, 0, 0, 0, most]);
    let bind = backend(b'B', &[0; 8]);
    let sent = session.client(&[parse("", "DELETE FROM t RETURNING a"), bind, execute(1)].concat());
    assert!(String::from_utf8_lossy(&sent).contains("pg_stat_xact_user_tables"));
    let begun = [backend(b'1', b""), backend(b'2', b"")].concat();
    session.server(&[begun, counted("0", 0), row(7), backend(b's', b"")].concat(), 3);
    session.due();
    assert_eq!(session.server(&counted("4", 1), 3), b"");
    assert!(told(&session.server(&failed("42601"), 3)).contains("would write 4 rows"));
}

#[test]
fn what_cannot_be_counted_is_refused_and_what_is_used_up_is_gone() {
    let mut session = session_within(Amounts { rows_written: Some(3), statements: Some(1), ..Amounts::default() });
    for text in ["DELETE FROM a; DELETE FROM b", "DO 'BEGIN END'", "CALL p()"] {
        assert_eq!(session.client(&query(text)), query("REFUSED BY POSTERN"), "{text}");
        assert!(told(&session.server(&[failed("42601"), READY.to_vec()].concat(), 9)).contains("0A000"), "{text}");
    }
    assert_eq!(session.client(&query("SELECT 1; SELECT 2")), query("SELECT 1; SELECT 2"));
    session.server(READY, 1);
    assert_eq!(session.client(&query("SELECT 3")), query("REFUSED BY POSTERN"));
    let answer = session.server(&[failed("42601"), READY.to_vec()].concat(), 9);
    assert!(told(&answer).contains("budget of 1 statements"));
}
