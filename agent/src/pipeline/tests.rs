//! The pipeline on bytes: what goes on, what is recorded, and that no split of the stream changes either.

use super::{Fatal, Pipeline, down::Down, record::Journal};
use crate::{
    config,
    lease::Lease,
    outbox::{
        Outbox,
        recorder::{OutboxError, Recorder},
    },
};
use postern_audit::segment;
use postern_proto::v1::{AuditRecord, Decision, Outcome, SessionFacts, audit_record::Record};
use postern_types::id::SegmentId;
use postern_wire::{
    error::{self, Report, Severity},
    frame::{put_cstr, put_message},
    frontend::put_query,
};
use std::{
    fs,
    rc::Rc,
    task::{Context, Poll, Waker},
};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

struct Session {
    pipeline: Pipeline,
    down: Down,
    folder: TempDir,
    recorder: Rc<Recorder>,
    _done: UnboundedReceiver<SegmentId>,
}

fn session_with(outbox: config::Outbox) -> Session {
    let folder = TempDir::new().unwrap();
    let (outbox, done) = Outbox::open(folder.path().to_owned(), outbox).unwrap();
    let recorder = Rc::new(Recorder::new(outbox));
    let lease = Lease::default();
    lease.renew(60);
    let facts = SessionFacts { session_id: "ses_x".into(), ..SessionFacts::default() };
    let pipeline = Pipeline::new(Journal::new(Rc::clone(&recorder), facts), lease);
    Session { pipeline, down: Down::default(), folder, recorder, _done: done }
}

fn session() -> Session {
    session_with(config::Outbox::default())
}

impl Session {
    fn client(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.pipeline.client(bytes, &mut out).unwrap();
        self.recorded().unwrap();
        out
    }

    /// Waits until what was decided is on record.
    fn recorded(&mut self) -> Result<(), Fatal> {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match self.pipeline.poll_recorded(&mut context) {
                Poll::Ready(recorded) => return recorded,
                Poll::Pending => self.recorder.commit(),
            }
        }
    }

    /// What the client gets of these bytes of the server, offered one piece after another.
    fn server(&mut self, bytes: &[u8], piece: usize) -> Vec<u8> {
        let (mut out, mut carry) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            carry.extend_from_slice(piece);
            let mut rewritten = Vec::new();
            let passed = self.pipeline.server(&mut self.down, &carry, &mut rewritten).unwrap();
            if rewritten.is_empty() {
                out.extend_from_slice(&carry[..passed])
            } else {
                out.extend(rewritten)
            }
            carry.drain(..passed);
        }
        assert!(carry.is_empty(), "the stream ends at a message's bound");
        out
    }

    fn records(&self) -> Vec<AuditRecord> {
        self.recorder.flush().unwrap();
        let files = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let frames: Vec<u8> = files.flat_map(|path| fs::read(path).unwrap()).collect();
        segment::decode(&segment::pack(&frames).unwrap()).unwrap()
    }

    fn decided(&self) -> usize {
        self.records().iter().filter(|record| matches!(record.record, Some(Record::Decided(_)))).count()
    }
}

fn query(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_query(&mut out, text);
    out
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, b'P', |out| {
        put_cstr(out, name.as_bytes());
        put_cstr(out, text.as_bytes());
        out.extend_from_slice(&[0, 0]);
    });
    out
}

fn bind_execute(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, b'B', |out| {
        put_cstr(out, b"");
        put_cstr(out, name.as_bytes());
        out.extend_from_slice(&[0; 6]);
    });
    put_message(&mut out, b'E', |out| out.extend_from_slice(&[0, 0, 0, 0, 0]));
    put_message(&mut out, b'S', |_| {});
    out
}

fn backend(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, tag, |out| out.extend_from_slice(body));
    out
}

const READY: &[u8] = b"Z\0\0\0\x05I";

#[test]
fn a_decision_is_on_disk_before_the_statement_goes_on() {
    let mut session = session();
    let bytes = query("SELECT 1");
    assert_eq!(session.client(&bytes), bytes);
    let files: Vec<_> = fs::read_dir(session.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let frames = fs::read(&files[0]).unwrap();
    assert!(frames.windows(8).any(|window| window == b"SELECT 1"), "the file has it, not only our memory");
}

#[test]
fn no_split_of_the_clients_stream_changes_what_goes_on() {
    let stream: Vec<u8> =
        [query("SELECT 1"), parse("s", "SELECT $1"), bind_execute("s"), bind_execute("s"), query("")].concat();
    for piece in 1..stream.len() {
        let mut session = session();
        let out: Vec<u8> = stream.chunks(piece).flat_map(|piece| session.client(piece)).collect();
        assert_eq!(out, stream, "pieces of {piece}");
        // Query, Parse (continued by the first Execute), second Execute, empty Query.
        assert_eq!(session.decided(), 4, "pieces of {piece}");
    }
}

#[test]
fn no_split_of_the_servers_stream_changes_what_the_client_gets() {
    let stream: Vec<u8> = [
        backend(b'T', &[0, 0]),
        backend(b'D', &[0, 0]),
        backend(b'D', &[0; 300]),
        backend(b'C', b"SELECT 2\0"),
        READY.to_vec(),
    ]
    .concat();
    for piece in 1..stream.len() {
        let mut session = session();
        session.client(&query("SELECT 1"));
        assert_eq!(session.server(&stream, piece), stream, "pieces of {piece}");
        let ended = session.records().into_iter().find_map(|record| match record.record {
            Some(Record::Ended(ended)) => Some(ended),
            _ => None,
        });
        let ended = ended.unwrap();
        assert_eq!((ended.rows, ended.outcome()), (2, Outcome::Ok));
    }
}

#[test]
fn a_refusal_is_played_by_the_server() {
    for piece in [1, 7, 4096] {
        let mut session = session();
        let call = backend(b'F', &[0; 20]);
        let stand_in = session.client(&call);
        assert_eq!(stand_in, query("REFUSED BY POSTERN"));
        let failed = Report::new("42601", "syntax error at or near \"REFUSED\"", "").encode(Severity::Error);
        let answer = session.server(&[failed, READY.to_vec()].concat(), piece);
        assert_eq!(answer[0], b'E');
        let length = u32::from_be_bytes(answer[1..5].try_into().unwrap()) as usize;
        assert_eq!(error::field(&answer[5..=length], b'C'), Some(&b"0A000"[..]));
        assert_eq!(&answer[length + 1..], READY);
        let records = session.records();
        assert!(records.iter().any(
            |record| matches!(&record.record, Some(Record::Decided(decided)) if decided.decision() == Decision::Deny)
        ));
        // The next statement passes.
        assert_eq!(session.client(&query("SELECT 1")), query("SELECT 1"));
    }
}

#[test]
fn what_is_too_large_is_dropped_and_refused_without_being_buffered() {
    let mut session = session();
    let length = super::MAX_STATEMENT_BYTES + 1;
    let mut out = session.client(&[&b"Q"[..], &(u32::try_from(length).unwrap() + 4).to_be_bytes()].concat());
    let piece = vec![b'x'; 1 << 20];
    let mut left = length;
    while left > 0 {
        let piece = &piece[..left.min(piece.len())];
        out.extend(session.client(piece));
        left -= piece.len();
        assert!(session.pipeline.partial.len() < 16);
    }
    assert_eq!(out, query("REFUSED BY POSTERN"));
    assert_eq!(session.client(&query("SELECT 1")), query("SELECT 1"));
}

#[test]
fn long_values_stream_through_a_bind() {
    let mut session = session();
    session.client(&parse("s", "SELECT $1"));
    let bind = backend(b'B', &[&b"\0s\0"[..], &vec![7; 3 << 20]].concat());
    let mut out = Vec::new();
    for piece in bind.chunks(60_000) {
        out.extend(session.client(piece));
        assert!(session.pipeline.partial.capacity() < 200_000);
    }
    assert_eq!(out, bind);
}

#[test]
fn what_is_not_the_protocol_ends_the_session() {
    for bad in [
        &b"Q\0\0\0\x03"[..],
        b"Z\0\0\0\x05I",
        b"Q\0\0\0\x08abcd",
        b"S\0\0\0\x05x",
        b"\0\0\0\0\0",
        b"E\x10\0\0\0\0",
        b"p\0\0\0\x04",
    ] {
        let mut session = session();
        assert!(session.pipeline.client(bad, &mut Vec::new()).is_err(), "{bad:?}");
    }
}

#[test]
fn a_full_outbox_lets_nothing_through() {
    let mut session = session_with(config::Outbox { max_bytes: 1, ..config::Outbox::default() });
    session.client(&query("SELECT 1"));
    session.pipeline.client(&query("SELECT 2"), &mut Vec::new()).unwrap();
    assert!(matches!(session.recorded(), Err(Fatal::Outbox(OutboxError::Full))), "now it is full");
}

#[test]
fn without_a_lease_no_statement_starts() {
    let mut session = session();
    session.client(&query("SELECT 1"));
    session.pipeline.lease.renew(0);
    assert!(session.pipeline.client(&query("SELECT 2"), &mut Vec::new()).is_err());
}

#[test]
fn each_text_is_stored_once_in_a_segment() {
    let mut session = session();
    for _ in 0..50 {
        session.client(&query("SELECT 'the same'"));
    }
    let texts = session.records().iter().filter(|record| matches!(record.record, Some(Record::Text(_)))).count();
    assert_eq!((texts, session.decided()), (1, 50));
}

/// What recording costs for each statement, in microseconds of wall time on one thread, writes included. Run by
/// `make bench`; asserts nothing.
#[test]
#[ignore = "a measurement: `make bench` runs it"]
#[allow(clippy::print_stdout, reason = "what it is for")]
fn recording_cost() {
    const STATEMENTS: u32 = 200_000;
    let answer = [backend(b'D', &[0, 0]), backend(b'C', b"SELECT 1\0"), READY.to_vec()].concat();
    let bound = [backend(b'2', b""), answer.clone()].concat();
    let measure = |prepared: bool, off: bool| {
        let mut session = session();
        session.recorder.off.set(off);
        session.client(&parse("s", "SELECT abalance FROM pgbench_accounts WHERE aid = $1"));
        session.server(&backend(b'1', b""), 4096);
        let execute = bind_execute("s");
        let began = std::time::Instant::now();
        for number in 0..STATEMENTS {
            if prepared {
                session.client(&execute);
                session.server(&bound, 4096);
            } else {
                session.client(&query(&format!("SELECT abalance FROM pgbench_accounts WHERE aid = {number};")));
                session.server(&answer, 4096);
            }
            if number % 1_000 == 0 {
                session.recorder.tick().unwrap();
            }
        }
        began.elapsed().as_secs_f64() * 1e6 / f64::from(STATEMENTS)
    };
    for (name, prepared) in [("simple", false), ("prepared", true)] {
        let (off, on) = (measure(prepared, true), measure(prepared, false));
        println!("| {name} | {off:.2} | {on:.2} | {:.2} |", on - off);
    }
}
