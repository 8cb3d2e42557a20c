//! The pipeline on bytes: what goes on, what is recorded, and that no split of the stream changes either.

use super::{
    Fatal, Pipeline,
    down::Down,
    guard::Guard,
    judge::{Judge, sight::Sight},
    policy::Policy,
    record::Journal,
    review::Waits,
};
use crate::{
    config,
    control::Control,
    lease::Lease,
    masked::Known,
    outbox::{
        Outbox,
        recorder::{OutboxError, Recorder},
    },
    reviews::Reviews,
    rules::{Current, Facts, Rules},
};
use postern_audit::segment;
use postern_policy::{Policies, builtin};
use postern_proto::v1::{
    AuditRecord, Decision, Outcome, SessionFacts, Ticket, audit_record::Record, connector_message,
};
use postern_types::id::SegmentId;
use postern_wire::{
    ProtocolError,
    error::{self, Report, Severity},
    frame::{put_cstr, put_message},
    frontend::put_query,
};
use std::{
    fs,
    rc::Rc,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

pub(super) struct Session {
    pub(super) pipeline: Pipeline,
    down: Down,
    folder: TempDir,
    recorder: Rc<Recorder>,
    pub(super) reviews: Reviews,
    pub(super) said: UnboundedReceiver<connector_message::Message>,
    _done: UnboundedReceiver<SegmentId>,
}

/// What is in force where nothing was applied.
pub(super) static DEFAULT: LazyLock<Arc<Policies>> =
    LazyLock::new(|| Arc::new(Policies::load(&[builtin::DEFAULT]).unwrap()));

/// Of a session that may do everything, so that its statements need not be understood.
fn judge() -> Judge {
    let current = Arc::new(Current::new("con_a".into(), "i1".into()));
    let connections = [("demo".to_owned(), Arc::new(Facts::default()))].into();
    current.put(Rules { counter: 1, version: 0, policies: Arc::clone(&DEFAULT), connections });
    let ticket = Ticket { connection: "demo".into(), access_role: "all".into(), ..Ticket::default() };
    let sight = Sight::new(18, Box::new(|| panic!("no catalog is needed")));
    Judge::new("all".into(), false, Policy::new(&current, &Known::for_tests(), &ticket).unwrap(), None, sight)
}

fn session_with(outbox: config::Outbox) -> Session {
    session_of(outbox, judge())
}

pub(super) fn session_of(outbox: config::Outbox, judge: Judge) -> Session {
    let folder = TempDir::new().unwrap();
    let (outbox, done) = Outbox::open(folder.path().to_owned(), outbox).unwrap();
    let recorder = Rc::new(Recorder::new(outbox));
    let lease = Lease::default();
    lease.renew(60);
    let facts = SessionFacts { session_id: "ses_x".into(), ..SessionFacts::default() };
    let (control, said) = Control::new();
    let reviews = Reviews::new("con_a", "i1", control);
    let waits = Waits { desk: reviews.desk("ses_x"), role: "r".into(), login: "u".into() };
    let journal = Journal::new(Rc::clone(&recorder), facts);
    let pipeline = Pipeline::new(journal, lease, judge, Guard::new(None, false), waits);
    Session { reviews, said, pipeline, down: Down::default(), folder, recorder, _done: done }
}

pub(super) fn session() -> Session {
    session_with(config::Outbox::default())
}

impl Session {
    pub(super) fn client(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.pipeline.client(bytes, &mut out).unwrap();
        self.recorded().unwrap();
        out
    }

    /// Waits until what was decided is on record.
    pub(super) fn recorded(&mut self) -> Result<(), Fatal> {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match self.pipeline.poll_recorded(&mut context) {
                Poll::Ready(recorded) => return recorded,
                Poll::Pending => self.recorder.commit(),
            }
        }
    }

    /// What the client gets of these bytes of the server, offered one piece after another.
    pub(super) fn server(&mut self, bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let carry = self.offer(bytes.chunks(piece), &mut out).unwrap();
        assert!(carry.is_empty(), "the stream ends at a message's bound");
        out
    }

    /// Offers the server's bytes as they come, and gives the start of a message that is left.
    fn offer<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Vec<u8>, ProtocolError> {
        let mut carry = Vec::new();
        for piece in pieces {
            carry.extend_from_slice(piece);
            let done = self.pipeline.server(&mut self.down, &carry, |bytes| out.extend_from_slice(bytes))?;
            carry.drain(..done);
        }
        Ok(carry)
    }

    /// Whether the session ends at these bytes of the server.
    pub(super) fn ends_at(&mut self, bytes: &[u8]) -> bool {
        self.offer([bytes], &mut Vec::new()).is_err()
    }

    pub(super) fn records(&self) -> Vec<AuditRecord> {
        self.recorder.flush().unwrap();
        let files = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let frames: Vec<u8> = files.flat_map(|path| fs::read(path).unwrap()).collect();
        segment::decode(&segment::pack(&frames).unwrap()).unwrap()
    }

    pub(super) fn decided(&self) -> usize {
        self.records().iter().filter(|record| matches!(record.record, Some(Record::Decided(_)))).count()
    }
}

pub(super) fn query(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_query(&mut out, text);
    out
}

pub(super) fn parse(name: &str, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, b'P', |out| {
        put_cstr(out, name.as_bytes());
        put_cstr(out, text.as_bytes());
        out.extend_from_slice(&[0, 0]);
    });
    out
}

pub(super) fn bind_execute(name: &str) -> Vec<u8> {
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

pub(super) fn backend(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, tag, |out| out.extend_from_slice(body));
    out
}

pub(super) const READY: &[u8] = b"Z\0\0\0\x05I";

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

/// Everything of a session that must not depend on how its bytes come.
#[derive(Debug, PartialEq)]
pub(super) struct Course {
    pub(super) to_server: Vec<u8>,
    pub(super) to_client: Vec<u8>,
    records: Vec<Record>,
    /// The client can be sent a last word.
    pub(super) at_boundary: bool,
    pub(super) error: Option<String>,
}

/// One side's bytes.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Client(Vec<u8>),
    Server(Vec<u8>),
}

/// Plays a transcript, each side's bytes in the pieces that `cut` makes of them.
pub(super) fn play<'a>(transcript: &'a [Said], cut: impl Fn(usize, &'a [u8]) -> Vec<&'a [u8]>) -> Course {
    let mut session = session();
    let (mut to_server, mut to_client, mut error) = (Vec::new(), Vec::new(), None);
    for (index, said) in transcript.iter().enumerate() {
        let failure = match said {
            Said::Client(bytes) => cut(index, bytes).into_iter().find_map(|piece| {
                let mut out = Vec::new();
                let failure = session.pipeline.client(piece, &mut out).err().map(|error| error.to_string());
                // What came with something wrong is not sent.
                to_server.extend(out.into_iter().filter(|_| failure.is_none()));
                failure
            }),
            Said::Server(bytes) => {
                session.offer(cut(index, bytes), &mut to_client).err().map(|error| error.to_string())
            }
        };
        if failure.is_some() {
            error = failure;
            break;
        }
    }
    let records = session.records().into_iter().filter_map(|record| record.record).map(timeless).collect();
    Course { to_server, to_client, records, at_boundary: session.down.is_at_boundary(), error }
}

fn timeless(mut record: Record) -> Record {
    match &mut record {
        Record::Decided(decided) => decided.at_us = 0,
        Record::Ended(ended) => ended.duration_us = 0,
        _ => {}
    }
    record
}

impl Course {
    /// Whether this is how it goes when the same bytes come at once.
    pub(super) fn agrees(&self, whole: &Self) -> bool {
        // What a client sent before something wrong has gone on, unless it came with that.
        let sent = self.to_server == whole.to_server
            || (whole.error.is_some() && self.to_server.starts_with(&whole.to_server));
        sent && (&self.to_client, &self.records, self.at_boundary, &self.error)
            == (&whole.to_client, &whole.records, whole.at_boundary, &whole.error)
    }
}

fn execute() -> Vec<u8> {
    backend(b'E', &[0; 5])
}

pub(super) fn failed(code: &str) -> Vec<u8> {
    Report::new(code, "it failed", "").encode(Severity::Error)
}

/// Conversations as drivers have them, and as an attacker would.
fn transcripts() -> Vec<(&'static str, Vec<Said>)> {
    use Said::{Client as C, Server as S};
    let sync = || backend(b'S', b"");
    let ready = || READY.to_vec();
    let rows = |count: usize| {
        [vec![backend(b'D', b"\0\x01\0\0\0\x01a"); count].concat(), backend(b'C', b"SELECT 2\0")].concat()
    };
    let copy = || [backend(b'd', b"1\n"), backend(b'd', &[b'x'; 30]), backend(b'c', b"")].concat();
    let function_call = || backend(b'F', &[0; 14]);
    vec![
        (
            "simple",
            vec![
                C([query("SELECT 1; SELECT 2"), query("")].concat()),
                S([
                    backend(b'T', &[0; 2]),
                    rows(2),
                    backend(b'T', &[0; 2]),
                    rows(1),
                    ready(),
                    backend(b'I', b""),
                    ready(),
                ]
                .concat()),
                C(backend(b'X', b"")),
            ],
        ),
        (
            "pipelined, with an error in the middle",
            vec![
                C([parse("s", "SELECT $1"), bind_execute("s"), bind_execute("none"), bind_execute("s")].concat()),
                S([backend(b'1', b""), backend(b'2', b""), rows(2), ready(), failed("26000"), ready()].concat()),
                S([backend(b'N', b"SNOTICE\0\0"), backend(b'2', b""), backend(b's', b""), ready()].concat()),
                C([backend(b'C', b"Ss\0"), backend(b'D', b"P\0"), backend(b'H', b""), sync()].concat()),
                S([backend(b'3', b""), backend(b'n', b""), ready()].concat()),
            ],
        ),
        (
            "COPY both ways",
            vec![
                C(query("COPY t FROM STDIN")),
                S(backend(b'G', &[0; 3])),
                C(copy()),
                S([backend(b'C', b"COPY 2\0"), ready()].concat()),
                C([parse("", "COPY t TO STDOUT"), bind_execute("")].concat()),
                S([
                    backend(b'1', b""),
                    backend(b'2', b""),
                    backend(b'H', &[0; 3]),
                    backend(b'd', b"1\n"),
                    backend(b'c', b""),
                    backend(b'C', b"COPY 1\0"),
                    ready(),
                ]
                .concat()),
            ],
        ),
        (
            "COPY sent ahead, which fails",
            vec![
                C([bind_execute("c"), copy(), sync(), query("SELECT 1")].concat()),
                S([backend(b'2', b""), backend(b'G', &[0; 3]), failed("22P04"), ready()].concat()),
                S([rows(1), ready()].concat()),
            ],
        ),
        (
            "refused",
            vec![
                C([query("BEGIN"), function_call(), query("SELECT 1")].concat()),
                S([backend(b'C', b"BEGIN\0"), backend(b'Z', b"T"), failed("42601"), backend(b'Z', b"E")].concat()),
                S([failed("25P02"), backend(b'Z', b"E")].concat()),
            ],
        ),
        ("garbage after a statement", vec![C([query("SELECT 1"), b"GET / HTTP/1.1\r\n".to_vec()].concat())]),
        ("a message within a message", vec![C(backend(b'Q', b"SELECT 1\0Q\0\0\0\x0aDROP\0"))]),
        (
            "a statement in the middle of COPY data",
            vec![
                C(query("COPY t FROM STDIN")),
                S(backend(b'G', &[0; 3])),
                C([backend(b'd', b"1\n"), sync(), query("DROP TABLE t")].concat()),
            ],
        ),
        (
            "data, Sync and a statement sent ahead of a COPY",
            vec![
                C([
                    bind_execute("c")[..bind_execute("c").len() - 5].to_vec(),
                    backend(b'd', b"1"),
                    sync(),
                    query("DROP TABLE t"),
                ]
                .concat()),
                S([backend(b'2', b""), backend(b'G', &[0; 3]), failed("22P04"), ready()].concat()),
            ],
        ),
        (
            "a server out of step",
            vec![C(query("SELECT 1")), S([backend(b'D', &[0; 40]), b"D\0\0\0\x03".to_vec()].concat())],
        ),
        (
            "a FATAL error",
            vec![
                C([execute(), sync()].concat()),
                S([rows(1), Report::new("57P01", "terminating", "").encode(Severity::Fatal)].concat()),
            ],
        ),
    ]
}

#[test]
fn no_split_of_any_transcript_changes_its_course() {
    for (name, transcript) in transcripts() {
        let whole = play(&transcript, |_, bytes| vec![bytes]);
        let single = play(&transcript, |_, bytes| bytes.chunks(1).collect());
        assert!(single.agrees(&whole), "{name}, byte by byte:\n{single:?}\n{whole:?}");
        for (at, said) in transcript.iter().enumerate() {
            let (Said::Client(said) | Said::Server(said)) = said;
            for split in 1..said.len() {
                let course = play(&transcript, |index, bytes| {
                    let (before, after) = bytes.split_at(if index == at { split } else { bytes.len() });
                    if after.is_empty() { vec![before] } else { vec![before, after] }
                });
                assert!(course.agrees(&whole), "{name}, part {at} split at {split}:\n{course:?}\n{whole:?}");
            }
        }
    }
}

#[test]
fn what_ran_after_a_failed_copy_is_not_recorded_as_skipped() {
    let transcript = transcripts().into_iter().find(|(name, _)| name.starts_with("COPY sent ahead")).unwrap().1;
    let course = play(&transcript, |_, bytes| vec![bytes]);
    let outcomes: Vec<_> = course
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Ended(ended) => Some(ended.outcome()),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [Outcome::Error, Outcome::Ok]);
}

#[test]
fn whoever_makes_it_unclear_what_runs_is_refused() {
    for (name, transcript) in transcripts() {
        let refused = name.contains("statement in the middle") || name.contains("sent ahead of a COPY");
        let error = play(&transcript, |_, bytes| vec![bytes]).error;
        assert!(!refused || error.is_some_and(|error| error.contains("not expected here")), "{name}");
    }
}

#[test]
fn a_long_answer_to_a_stand_in_ends_the_session() {
    let mut session = session();
    session.client(&backend(b'F', &[0; 14]));
    let long = Report::new("42601", "x".repeat(40_000), "").encode(Severity::Error);
    let mut out = Vec::new();
    let result = session.offer(long.chunks(9_000), &mut out);
    assert!(matches!(result, Err(ProtocolError::TooLarge { .. })) && out.is_empty());
}

#[test]
fn a_terminate_within_data_is_no_goodbye() {
    let mut session = session();
    session.client(&[query("COPY t FROM STDIN"), backend(b'd', b"X\0\0\0\x04")].concat());
    assert!(!session.pipeline.said_goodbye());
    session.client(&[backend(b'c', b""), b"X\0\0\0\x04".to_vec()].concat());
    assert!(session.pipeline.said_goodbye());
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
