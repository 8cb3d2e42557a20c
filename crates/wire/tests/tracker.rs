//! The tracker against a model of the server: whatever a client sends ahead, and however the two directions
//! interleave, each statement ends once, and as it ended at the server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use postern_fuzz::{proptest, target};
use postern_wire::{
    error::{Report, Severity},
    tracker::{Ended, Outcome, Sent, Tracker},
};
use proptest::{collection::vec, prelude::*};
use std::collections::{HashMap, VecDeque};

/// What becomes of a part of a string of statements, or of an Execute.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Rows(u8),
    Command(u8),
    Empty,
    Suspended(u8),
    Copy(u8),
    Fails(u8),
}

/// What the client sends, with what the server will make of it.
#[derive(Clone, Debug, PartialEq)]
enum Message {
    Query(Vec<Part>),
    Parse(bool),
    Bind(bool),
    Describe(bool),
    Execute(Part),
    Close,
    Sync,
    CopyData(bool),
    CopyDone,
    CopyFail,
}

impl Message {
    fn sent(&self, id: u32) -> Sent<u32> {
        match self {
            Self::Query(_) => Sent::Query(id),
            Self::Parse(_) => Sent::Parse(id),
            Self::Bind(_) => Sent::Bind,
            Self::Describe(_) => Sent::Describe,
            Self::Execute(_) => Sent::Execute(id),
            Self::Close => Sent::Close,
            Self::Sync => Sent::Sync,
            Self::CopyData(_) => Sent::CopyData,
            Self::CopyDone | Self::CopyFail => Sent::CopyEnd,
        }
    }

    fn is_statement(&self) -> bool {
        matches!(self, Self::Query(_) | Self::Parse(_) | Self::Execute(_))
    }
}

/// How a statement ended at the server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Truth {
    Ok(u64),
    /// A Parse that succeeded has no end of its own.
    Prepared,
    Failed,
    Skipped,
    /// Passed over by an error that no statement before it is to blame for: the record may give it that error.
    Blamed,
}

enum Answer {
    Row,
    Other(u8, Vec<u8>),
}

#[derive(Debug)]
enum Mode {
    Idle,
    Skipping,
    /// Of which statement, and what follows it in a simple query's string; none for an Execute.
    Copying(u32, u8, Option<Vec<Part>>),
}

/// PostgreSQL's main loop, as far as it shows in messages.
struct Server {
    mode: Mode,
    input: VecDeque<(u32, Message)>,
    output: VecDeque<Answer>,
    truth: HashMap<u32, Truth>,
    rows: u64,
    blame: bool,
}

impl Server {
    fn say(&mut self, tag: u8, body: &[u8]) {
        self.output.push_back(Answer::Other(tag, body.to_vec()));
    }

    fn fail(&mut self, code: &str) {
        let error = Report::new(code, "it failed", "").encode(Severity::Error);
        self.say(b'E', &error[5..]);
    }

    fn complete(&mut self, word: &str, rows: u8) {
        self.say(b'C', format!("{word} {rows}\0").as_bytes());
        self.rows += u64::from(rows);
    }

    fn put_rows(&mut self, rows: u8) {
        (0..rows).for_each(|_| self.output.push_back(Answer::Row));
    }

    /// Runs a part; false when the next messages decide how it goes on.
    fn part(&mut self, id: u32, part: Part, simple: bool) -> Result<(), Part> {
        match part {
            Part::Rows(rows) => {
                if simple {
                    self.say(b'T', b"");
                }
                self.put_rows(rows);
                self.complete("SELECT", rows);
            }
            Part::Command(rows) => self.complete("UPDATE", rows),
            Part::Empty => self.say(b'I', b""),
            Part::Suspended(rows) => {
                self.put_rows(rows);
                self.rows += u64::from(rows);
                self.say(b's', b"");
            }
            Part::Fails(rows) => {
                self.put_rows(rows);
                self.fail("22012");
                self.truth.insert(id, Truth::Failed);
                return Err(part);
            }
            Part::Copy(_) => {
                self.say(b'G', b"\0\0\0");
                return Err(part);
            }
        }
        Ok(())
    }

    fn string(&mut self, id: u32, parts: &[Part]) {
        for (index, part) in parts.iter().enumerate() {
            match self.part(id, *part, true) {
                Ok(()) => {}
                Err(Part::Copy(rows)) => {
                    self.mode = Mode::Copying(id, rows, Some(parts[index + 1..].to_vec()));
                    return;
                }
                Err(_) => return self.say(b'Z', b"E"),
            }
        }
        self.truth.insert(id, Truth::Ok(self.rows));
        self.say(b'Z', b"I");
    }

    fn skip(&mut self, id: u32, message: &Message) {
        if message.is_statement() {
            let blamed = std::mem::take(&mut self.blame);
            self.truth.insert(id, if blamed { Truth::Blamed } else { Truth::Skipped });
        }
    }

    fn copying(&mut self, id: u32, message: &Message) {
        let Mode::Copying(statement, rows, rest) = std::mem::replace(&mut self.mode, Mode::Idle) else { panic!() };
        match message {
            Message::CopyData(true) | Message::Sync => self.mode = Mode::Copying(statement, rows, rest),
            Message::CopyDone => {
                self.complete("COPY", rows);
                match rest {
                    Some(rest) => self.string(statement, &rest),
                    None => drop(self.truth.insert(statement, Truth::Ok(self.rows))),
                }
            }
            Message::CopyData(false) | Message::CopyFail => self.end_copy(statement, rest.is_some(), "22P04"),
            other => {
                self.skip(id, other);
                self.end_copy(statement, rest.is_some(), "08P01");
            }
        }
    }

    fn end_copy(&mut self, statement: u32, simple: bool, code: &str) {
        self.fail(code);
        self.truth.insert(statement, Truth::Failed);
        if simple { self.say(b'Z', b"E") } else { self.mode = Mode::Skipping }
    }

    fn step(&mut self) {
        let Some((id, message)) = self.input.pop_front() else { return };
        match self.mode {
            Mode::Copying(..) => return self.copying(id, &message),
            Mode::Skipping if message != Message::Sync => return self.skip(id, &message),
            Mode::Skipping => self.mode = Mode::Idle,
            Mode::Idle => {}
        }
        self.rows = 0;
        match message {
            Message::Query(parts) => self.string(id, &parts),
            Message::Parse(true) => {
                self.truth.insert(id, Truth::Prepared);
                self.say(b'1', b"");
            }
            Message::Bind(true) => self.say(b'2', b""),
            Message::Describe(true) => {
                self.say(b't', b"\0\0");
                self.say(b'T', b"\0\0");
            }
            Message::Close => self.say(b'3', b""),
            Message::Sync => {
                self.blame = false;
                self.say(b'Z', b"I");
            }
            Message::Execute(part) => match self.part(id, part, false) {
                Ok(()) => drop(self.truth.insert(id, Truth::Ok(self.rows))),
                Err(Part::Copy(rows)) => self.mode = Mode::Copying(id, rows, None),
                Err(_) => self.mode = Mode::Skipping,
            },
            Message::Parse(false) | Message::Bind(false) | Message::Describe(false) => {
                self.fail("42601");
                self.mode = Mode::Skipping;
                self.blame = true;
                if message.is_statement() {
                    self.blame = false;
                    self.truth.insert(id, Truth::Failed);
                }
            }
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail => {}
        }
    }
}

/// How a session went.
struct Played {
    ends: HashMap<u32, Ended<u32>>,
    truth: HashMap<u32, Truth>,
    tracker: Tracker<u32>,
    /// Postern ended it, since the client broke the protocol.
    refused: bool,
}

/// Plays a client's messages; `turns` says who is next each time.
fn play(script: &[Message], turns: &[u8]) -> Played {
    let mut server = Server {
        mode: Mode::Idle,
        input: VecDeque::new(),
        output: VecDeque::new(),
        truth: HashMap::new(),
        rows: 0,
        blame: false,
    };
    let mut tracker = Tracker::default();
    let mut ends = HashMap::new();
    let mut refused = false;
    let mut script = (1u32..).zip(script.iter().cloned()).collect::<VecDeque<_>>();
    let mut turns = turns.iter().copied().chain((0..3).cycle());
    while !(script.is_empty() && server.input.is_empty() && server.output.is_empty()) {
        let note = |end: Ended<u32>| assert!(ends.insert(end.statement, end).is_none(), "{end:?} came twice");
        match turns.next().unwrap() % 3 {
            0 => {
                if let Some((id, message)) = script.pop_front() {
                    let sent = message.sent(id);
                    if !tracker.may_send(&sent) || tracker.is_lost() {
                        refused = true;
                        break;
                    }
                    tracker.sent(sent, note);
                    server.input.push_back((id, message));
                }
            }
            1 => server.step(),
            _ => match server.output.pop_front() {
                Some(_) if tracker.is_lost() => {
                    refused = true;
                    break;
                }
                Some(Answer::Row) => tracker.data(true, 9),
                Some(Answer::Other(tag, body)) => tracker.received(tag, &body, note),
                None => {}
            },
        }
    }
    // What had gone on has its fate, whether or not the session still sees it.
    while !server.input.is_empty() {
        server.step();
    }
    Played { ends, truth: server.truth, tracker, refused }
}

/// Each end that was noted is what happened.
fn check(played: &Played) -> Result<(), TestCaseError> {
    for (id, end) in &played.ends {
        let truth = played.truth.get(id);
        let agrees = match (end.outcome, truth) {
            (Outcome::Ok, Some(Truth::Ok(rows))) => end.rows == *rows,
            (Outcome::Error(_), Some(Truth::Failed | Truth::Blamed)) => true,
            (Outcome::Skipped, Some(Truth::Skipped | Truth::Blamed)) => true,
            _ => false,
        };
        prop_assert!(agrees, "{end:?} was noted of statement {id}, which ended as {truth:?}");
    }
    Ok(())
}

fn rows() -> std::ops::Range<u8> {
    0..4
}

fn part(copies: bool) -> impl Strategy<Value = Part> {
    let copies = if copies { 2 } else { 0 };
    prop_oneof![
        4 => rows().prop_map(Part::Rows),
        3 => rows().prop_map(Part::Command),
        1 => Just(Part::Empty),
        2 => rows().prop_map(Part::Fails),
        copies => rows().prop_map(Part::Copy),
    ]
}

fn string() -> impl Strategy<Value = Vec<Part>> {
    vec(part(true), 0..4)
}

fn well() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.9)
}

/// Data of a COPY, to its end.
fn data() -> impl Strategy<Value = Vec<Message>> {
    (vec(well(), 0..4), well()).prop_map(|(data, done)| {
        let end = if done { Message::CopyDone } else { Message::CopyFail };
        data.into_iter().map(Message::CopyData).chain([end]).collect()
    })
}

/// A simple query, with the data that it asks for.
fn simple() -> impl Strategy<Value = Vec<Message>> {
    (string(), vec(data(), 4)).prop_map(|(parts, data)| {
        let copies = parts.iter().filter(|part| matches!(part, Part::Copy(_))).count();
        [vec![Message::Query(parts)], data.into_iter().take(copies).flatten().collect()].concat()
    })
}

/// Parse, Bind, Describe, Execute of some statements, then Sync.
fn extended() -> impl Strategy<Value = Vec<Message>> {
    let execute = prop_oneof![5 => part(false), 1 => rows().prop_map(Part::Suspended)];
    let statement = (prop::option::of(well()), well(), prop::option::of(well()), execute, any::<bool>()).prop_map(
        |(parse, bind, describe, execute, close)| {
            let mut out = Vec::new();
            out.extend(parse.map(Message::Parse));
            out.push(Message::Bind(bind));
            out.extend(describe.map(Message::Describe));
            out.push(Message::Execute(execute));
            out.extend(close.then_some(Message::Close));
            out
        },
    );
    // At the end a COPY, for which libpq sends a Sync before the data, too.
    let copy = (rows(), any::<bool>(), data()).prop_map(|(rows, sync, data)| {
        let early = if sync { vec![Message::Sync] } else { vec![] };
        [vec![Message::Bind(true), Message::Execute(Part::Copy(rows))], early, data].concat()
    });
    (vec(statement, 0..4), prop::option::weighted(0.3, copy))
        .prop_map(|(statements, copy)| [statements.concat(), copy.unwrap_or_default(), vec![Message::Sync]].concat())
}

fn turns() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..150)
}

target!(fuzz_tracker_is_in_step_with_the_server, (vec(prop_oneof![simple(), extended()], 1..6), turns()), |(
    units,
    turns,
)| {
    let script = units.concat();
    let played = play(&script, &turns);
    prop_assert!(!played.refused, "a client that keeps to the protocol was refused");
    check(&played)?;
    for (id, message) in (1u32..).zip(&script) {
        let ends = message.is_statement() && played.truth.get(&id) != Some(&Truth::Prepared);
        prop_assert_eq!(played.ends.contains_key(&id), ends, "statement {}", id);
    }
    prop_assert!(played.tracker.is_idle() && played.tracker.pending() == 0);
    Ok(())
});

fn anything() -> impl Strategy<Value = Message> {
    prop_oneof![
        3 => string().prop_map(Message::Query),
        2 => well().prop_map(Message::Parse),
        2 => well().prop_map(Message::Bind),
        1 => well().prop_map(Message::Describe),
        3 => part(true).prop_map(Message::Execute),
        1 => Just(Message::Close),
        3 => Just(Message::Sync),
        3 => well().prop_map(Message::CopyData),
        2 => Just(Message::CopyDone),
        1 => Just(Message::CopyFail),
    ]
}

target!(
    /// A client that sends anything in any order deceives nobody: what is noted is what happened.
    fuzz_tracker_is_not_deceived,
    (vec(anything(), 1..25), turns()),
    |(script, turns)| check(&play(&script, &turns))
);

target!(
    /// Answers that no server would give cost exactness, but no more.
    fuzz_tracker_survives_any_server,
    vec(prop_oneof![anything().prop_map(Ok), (prop::sample::select(&b"ZECIsG123Tntdc\0"[..]), vec(any::<u8>(), 0..9)).prop_map(Err)], 0..60),
    |steps| {
        let mut tracker = Tracker::default();
        let mut ended = std::collections::HashSet::new();
        let mut sent = 0;
        for (id, step) in (1u32..).zip(steps) {
            let note = |end: Ended<u32>| assert!(ended.insert(end.statement), "{end:?} came twice");
            match step {
                Ok(message) => {
                    sent += 1;
                    tracker.sent(message.sent(id), note);
                }
                Err((tag, body)) => tracker.received(tag, &body, note),
            }
            prop_assert!(tracker.pending() <= sent);
        }
        Ok(())
    }
);
