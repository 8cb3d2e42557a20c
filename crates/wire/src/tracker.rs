//! Which answer belongs to which message. The client may send any number of messages ahead; the server answers
//! them in order, skips to the next Sync after an error, and ignores Sync while it takes COPY data. The tracker
//! follows both directions and says when each statement ended and how.
//!
//! It never fails: a server that does something unforeseen costs exactness of a record, and the next
//! ReadyForQuery brings the tracker back into step.

use crate::{backend, error};
use std::collections::VecDeque;

/// A message that was passed on to the server and that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent<T> {
    /// Query or function call: everything until ReadyForQuery is its answer.
    Query(T),
    /// Parse.
    Parse(T),
    /// Bind.
    Bind,
    /// Describe of a statement or portal.
    Describe,
    /// A Describe of our own, of the portal that this statement is about to execute.
    Foreword(T),
    /// Close.
    Close,
    /// Execute.
    Execute(T),
    /// Sync.
    Sync,
    /// CopyData.
    CopyData,
    /// CopyDone or CopyFail.
    CopyEnd,
}

impl<T> Sent<T> {
    /// The server gives no answer to it.
    fn is_of_copy(&self) -> bool {
        matches!(self, Self::CopyData | Self::CopyEnd)
    }
}

/// Where the server is with COPY data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CopyIn {
    /// It takes none.
    No,
    /// It takes data whose end has not been sent. It ignores Sync.
    Wanted {
        /// Some was sent.
        fed: bool,
    },
    /// It takes data up to the end that was sent.
    Ending,
    /// It takes data, and there is a message in its place: the server fails and passes over that.
    Interrupted,
}

/// How a statement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran to its end, or to the number of rows asked for.
    Ok,
    /// It failed with this SQLSTATE.
    Error([u8; 5]),
    /// The server passed over it, since one before it had failed.
    Skipped,
}

/// A statement's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<T> {
    /// As given to [`Sent`].
    pub statement: T,
    /// How.
    pub outcome: Outcome,
    /// Rows returned or affected.
    pub rows: u64,
    /// Bytes of DataRow and CopyData messages.
    pub bytes: u64,
}

/// Follows one session.
#[derive(Debug)]
pub struct Tracker<T> {
    queue: VecDeque<Sent<T>>,
    /// The server discards everything up to the next Sync, which has not been sent yet.
    skipping: bool,
    copy: CopyIn,
    /// See [`Tracker::is_lost`].
    lost: bool,
    rows: u64,
    bytes: u64,
    /// Rows of the statements of a Query that are already complete.
    finished: u64,
    /// The first error of the Query that is being answered.
    failure: Option<[u8; 5]>,
}

impl<T> Default for Tracker<T> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            skipping: false,
            copy: CopyIn::No,
            lost: false,
            rows: 0,
            bytes: 0,
            finished: 0,
            failure: None,
        }
    }
}

impl<T: Copy> Tracker<T> {
    /// True while the server owes no answer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a ReadyForQuery will come without more from the client.
    #[must_use]
    pub fn will_be_ready(&self) -> bool {
        self.queue.iter().any(|sent| matches!(sent, Sent::Query(_) | Sent::Sync))
    }

    /// Whether the server passes over all that comes until the next Sync, which has not been sent yet.
    #[must_use]
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Messages that await their answer.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.queue.len()
    }

    /// The message that the server answers now.
    #[must_use]
    pub fn front(&self) -> Option<Sent<T>> {
        self.queue.iter().find(|sent| !sent.is_of_copy()).copied()
    }

    /// Whether the client may send this now. While the server takes COPY data, only data, its end, and Sync before
    /// any data: whether the server ignores what else comes, or fails and passes over it, or has failed already and
    /// carries it out, cannot be told from here.
    #[must_use]
    pub fn may_send(&self, sent: &Sent<T>) -> bool {
        match self.copy {
            CopyIn::Wanted { fed } => sent.is_of_copy() || (matches!(sent, Sent::Sync) && !fed),
            CopyIn::No | CopyIn::Ending | CopyIn::Interrupted => true,
        }
    }

    /// Whether the server takes COPY data whose end has not been sent.
    #[must_use]
    pub fn takes_data(&self) -> bool {
        matches!(self.copy, CopyIn::Wanted { .. })
    }

    /// What was sent ahead of the server's asking for COPY data was such that nobody can tell what the server makes
    /// of it: data, and then neither its end nor more of it.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// A message was passed on. Statements that the server will certainly discard end at once.
    pub fn sent(&mut self, sent: Sent<T>, mut ended: impl FnMut(Ended<T>)) {
        match (sent, self.copy) {
            (Sent::Sync, CopyIn::Wanted { .. }) => return,
            (Sent::CopyData, CopyIn::Wanted { .. }) => self.copy = CopyIn::Wanted { fed: true },
            (Sent::CopyEnd, CopyIn::Wanted { .. }) => self.copy = CopyIn::Ending,
            (Sent::Sync, _) => self.skipping = false,
            _ => {}
        }
        if self.skipping {
            if let Sent::Query(statement) | Sent::Parse(statement) | Sent::Execute(statement) = sent {
                ended(skipped(statement));
            }
            return;
        }
        // Of data it only matters where it begins, and before any statement the server ignores it.
        let repeats = matches!((sent, self.queue.back()), (Sent::CopyData, Some(Sent::CopyData)));
        let pointless = repeats || (sent.is_of_copy() && self.queue.is_empty());
        if !pointless {
            self.queue.push_back(sent);
        }
    }

    /// A DataRow or CopyData of this many bytes came.
    pub fn data(&mut self, row: bool, bytes: usize) {
        self.rows += u64::from(row);
        self.bytes += bytes as u64;
    }

    /// Any other message came. `body` may be the start of a longer one; all that is read is at the front.
    pub fn received(&mut self, tag: u8, body: &[u8], mut ended: impl FnMut(Ended<T>)) {
        match tag {
            b'Z' => self.ready(&mut ended),
            b'E' => self.error(body, &mut ended),
            b'C' | b'I' | b's' => self.complete(tag, body, &mut ended),
            b'G' => self.copy_in(),
            b'1' => self.pop_if(|sent| matches!(sent, Sent::Parse(_))),
            b'2' => self.pop_if(|sent| matches!(sent, Sent::Bind)),
            b'3' => self.pop_if(|sent| matches!(sent, Sent::Close)),
            b'T' | b'n' => self.pop_if(|sent| matches!(sent, Sent::Describe | Sent::Foreword(_))),
            _ => {}
        }
        // What belongs to COPY has no answer of its own.
        while self.queue.front().is_some_and(Sent::is_of_copy) {
            self.queue.pop_front();
        }
    }

    fn pop_if(&mut self, wanted: impl Fn(&Sent<T>) -> bool) {
        if self.queue.front().is_some_and(wanted) {
            self.queue.pop_front();
        }
    }

    fn take(&mut self, statement: T, outcome: Outcome) -> Ended<T> {
        let rows = std::mem::take(&mut self.finished) + std::mem::take(&mut self.rows);
        Ended { statement, outcome, rows, bytes: std::mem::take(&mut self.bytes) }
    }

    fn complete(&mut self, tag: u8, body: &[u8], ended: &mut impl FnMut(Ended<T>)) {
        // Rows that were returned have been counted one by one; the tag counts those of everything else.
        let counted = if tag == b'C' { backend::tag_rows(body).unwrap_or(0) } else { 0 };
        match self.queue.front().copied() {
            Some(Sent::Query(_)) => {
                // Rows that came as DataRows are in the tag too (`SELECT n`, `INSERT 0 n` with RETURNING): the
                // larger is the statement's. The rows of a string's statements add up.
                self.finished += self.rows.max(counted);
                self.rows = 0;
                if std::mem::replace(&mut self.copy, CopyIn::No) == CopyIn::Ending {
                    // The data of this COPY: the next statement of the string may be another.
                    let end = self.queue.iter().position(|sent| matches!(sent, Sent::CopyEnd)).unwrap_or(0);
                    self.queue.drain(1..=end);
                }
            }
            Some(Sent::Execute(statement)) => {
                self.queue.pop_front();
                self.copy = CopyIn::No;
                self.rows = self.rows.max(counted);
                let end = self.take(statement, Outcome::Ok);
                ended(end);
            }
            _ => {}
        }
    }

    fn error(&mut self, body: &[u8], ended: &mut impl FnMut(Ended<T>)) {
        let sqlstate = error::field(body, b'C').and_then(|code| code.first_chunk().copied()).unwrap_or(*b"XX000");
        match self.queue.front().copied() {
            None | Some(Sent::Sync) => {}
            Some(Sent::Query(_)) => {
                self.failure.get_or_insert(sqlstate);
                // What stood in the place of data went with the error.
                if std::mem::replace(&mut self.copy, CopyIn::No) == CopyIn::Interrupted
                    && let Some(Sent::Query(statement) | Sent::Parse(statement) | Sent::Execute(statement)) =
                        self.queue.remove(1)
                {
                    ended(skipped(statement));
                }
            }
            Some(_) => {
                let mut outcome = Outcome::Error(sqlstate);
                self.skipping = true;
                self.copy = CopyIn::No;
                while let Some(sent) = self.queue.pop_front() {
                    match sent {
                        Sent::Sync => {
                            self.queue.push_front(Sent::Sync);
                            self.skipping = false;
                            break;
                        }
                        Sent::Query(statement) | Sent::Parse(statement) | Sent::Execute(statement) => {
                            // An error of Bind or Describe is that of the Execute which follows.
                            let end = self.take(statement, outcome);
                            outcome = Outcome::Skipped;
                            ended(end);
                        }
                        Sent::Bind
                        | Sent::Describe
                        | Sent::Foreword(_)
                        | Sent::Close
                        | Sent::CopyData
                        | Sent::CopyEnd => {}
                    }
                }
            }
        }
    }

    /// The server asks for data. It takes what was sent ahead for that, ignoring each Sync.
    fn copy_in(&mut self) {
        if !matches!(self.queue.front(), Some(Sent::Query(_) | Sent::Execute(_))) {
            return;
        }
        while let Some(Sent::Sync) = self.queue.get(1) {
            self.queue.remove(1);
        }
        let fed = matches!(self.queue.get(1), Some(Sent::CopyData));
        self.copy = match self.queue.get(if fed { 2 } else { 1 }) {
            None => CopyIn::Wanted { fed },
            Some(Sent::CopyEnd) => CopyIn::Ending,
            Some(_) => CopyIn::Interrupted,
        };
        self.lost |= fed && self.copy == CopyIn::Interrupted;
    }

    fn ready(&mut self, ended: &mut impl FnMut(Ended<T>)) {
        let failure = self.failure.take();
        // The server is between statements, whatever was thought of it.
        self.skipping = false;
        self.copy = CopyIn::No;
        while let Some(sent) = self.queue.pop_front() {
            match sent {
                Sent::Query(statement) => {
                    let end = self.take(statement, failure.map_or(Outcome::Ok, Outcome::Error));
                    ended(end);
                    break;
                }
                Sent::Sync => break,
                Sent::Parse(statement) | Sent::Execute(statement) => ended(skipped(statement)),
                Sent::Bind | Sent::Describe | Sent::Foreword(_) | Sent::Close | Sent::CopyData | Sent::CopyEnd => {}
            }
        }
        self.rows = 0;
        self.finished = 0;
        self.bytes = 0;
    }
}

fn skipped<T>(statement: T) -> Ended<T> {
    Ended { statement, outcome: Outcome::Skipped, rows: 0, bytes: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Report, Severity};
    use Sent::{Bind, CopyEnd, Describe, Execute, Foreword, Parse, Query, Sync};

    /// Plays `sent` and `received` in order of the script and returns the ends.
    enum Step {
        Client(Sent<u32>),
        Server(u8, &'static [u8]),
        Row,
        Fails(&'static str),
    }

    fn play(script: &[Step]) -> (Vec<(u32, Outcome, u64)>, Tracker<u32>) {
        let mut tracker = Tracker::default();
        let mut ends = Vec::new();
        for step in script {
            let note = |end: Ended<u32>| ends.push((end.statement, end.outcome, end.rows));
            match step {
                Step::Client(sent) => tracker.sent(*sent, note),
                Step::Server(tag, body) => tracker.received(*tag, body, note),
                Step::Row => tracker.data(true, 10),
                Step::Fails(code) => {
                    let bytes = Report::new(code, "m", "").encode(Severity::Error);
                    tracker.received(b'E', &bytes[5..], note);
                }
            }
        }
        (ends, tracker)
    }

    use Step::{Client as C, Fails, Row, Server as S};

    #[test]
    fn a_string_of_statements_ends_once() {
        let (ends, tracker) = play(&[
            C(Query(1)),
            S(b'T', b""),
            Row,
            Row,
            S(b'C', b"SELECT 2\0"),
            S(b'C', b"INSERT 0 3\0"),
            S(b'Z', b"I"),
        ]);
        assert_eq!(ends, [(1, Outcome::Ok, 5)]);
        assert!(tracker.is_idle());
    }

    #[test]
    fn an_error_in_a_string() {
        let (ends, _) =
            play(&[C(Query(1)), C(Query(2)), Fails("22012"), S(b'Z', b"E"), S(b'C', b"BEGIN\0"), S(b'Z', b"T")]);
        assert_eq!(ends, [(1, Outcome::Error(*b"22012"), 0), (2, Outcome::Ok, 0)]);
    }

    #[test]
    fn an_error_in_a_pipeline_skips_to_sync() {
        let (ends, tracker) = play(&[
            C(Parse(1)),
            C(Bind),
            C(Describe),
            C(Execute(1)),
            C(Parse(2)),
            C(Bind),
            C(Execute(2)),
            C(Sync),
            C(Parse(3)),
            C(Bind),
            C(Execute(3)),
            C(Sync),
            S(b'1', b""),
            S(b'2', b""),
            S(b'T', b""),
            Fails("23505"),
            S(b'Z', b"I"),
            S(b'1', b""),
            S(b'2', b""),
            S(b'C', b"UPDATE 7\0"),
            S(b'Z', b"I"),
        ]);
        assert_eq!(
            ends,
            [
                (1, Outcome::Error(*b"23505"), 0),
                (2, Outcome::Skipped, 0),
                (2, Outcome::Skipped, 0),
                (3, Outcome::Ok, 7),
            ]
        );
        assert!(tracker.is_idle());
    }

    #[test]
    fn what_is_sent_after_an_error_and_before_sync_is_skipped() {
        let (ends, tracker) = play(&[C(Parse(1)), Fails("42601"), C(Query(2)), C(Execute(3)), C(Sync), S(b'Z', b"I")]);
        assert_eq!(ends, [(1, Outcome::Error(*b"42601"), 0), (2, Outcome::Skipped, 0), (3, Outcome::Skipped, 0)]);
        assert!(tracker.is_idle());
    }

    #[test]
    fn an_error_of_bind_or_of_our_describe_is_the_statements() {
        let (ends, _) = play(&[C(Bind), C(Execute(1)), C(Sync), Fails("22P02"), S(b'Z', b"I")]);
        assert_eq!(ends, [(1, Outcome::Error(*b"22P02"), 0)]);
        let (ends, _) = play(&[C(Foreword(1)), C(Execute(1)), C(Sync), Fails("34000"), S(b'Z', b"I")]);
        assert_eq!(ends, [(1, Outcome::Error(*b"34000"), 0)]);
        let (ends, tracker) =
            play(&[C(Foreword(1)), C(Execute(1)), C(Sync), S(b'T', b""), Row, S(b'C', b"SELECT 1\0"), S(b'Z', b"I")]);
        assert_eq!(ends, [(1, Outcome::Ok, 1)]);
        assert!(tracker.is_idle());
    }

    #[test]
    fn a_suspended_portal_ends_each_execute() {
        let (ends, _) = play(&[
            C(Bind),
            C(Execute(1)),
            C(Execute(2)),
            C(Sync),
            S(b'2', b""),
            Row,
            Row,
            S(b's', b""),
            Row,
            S(b'C', b"SELECT 1\0"),
            S(b'Z', b"I"),
        ]);
        assert_eq!(ends, [(1, Outcome::Ok, 2), (2, Outcome::Ok, 1)]);
    }

    #[test]
    fn sync_during_copy_in_is_ignored_as_the_server_does() {
        // libpq sends Bind, Execute, Sync at once, then the data, CopyDone and another Sync.
        let (ends, tracker) = play(&[
            C(Bind),
            C(Execute(1)),
            C(Sync),
            S(b'2', b""),
            S(b'G', b""),
            C(CopyEnd),
            C(Sync),
            S(b'C', b"COPY 9\0"),
            S(b'Z', b"I"),
            C(Query(2)),
            S(b'C', b"SELECT 0\0"),
            S(b'Z', b"I"),
        ]);
        assert_eq!(ends, [(1, Outcome::Ok, 9), (2, Outcome::Ok, 0)]);
        assert!(tracker.is_idle());
        // The same with everything sent ahead.
        let (ends, tracker) = play(&[
            C(Bind),
            C(Execute(1)),
            C(Sync),
            C(CopyEnd),
            C(Sync),
            S(b'2', b""),
            S(b'G', b""),
            S(b'C', b"COPY 9\0"),
            S(b'Z', b"I"),
        ]);
        assert_eq!(ends, [(1, Outcome::Ok, 9)]);
        assert!(tracker.is_idle());
    }

    #[test]
    fn simple_copy_in() {
        let (ends, tracker) = play(&[
            C(Query(1)),
            S(b'G', b""),
            C(CopyEnd),
            S(b'C', b"COPY 2\0"),
            S(b'Z', b"I"),
            C(Query(2)),
            Fails("57014"),
            S(b'Z', b"I"),
        ]);
        assert_eq!(ends, [(1, Outcome::Ok, 2), (2, Outcome::Error(*b"57014"), 0)]);
        assert!(tracker.is_idle());
    }

    #[test]
    fn returning_rows_are_not_counted_twice() {
        let (ends, _) = play(&[C(Query(1)), Row, Row, S(b'C', b"INSERT 0 2\0"), S(b'C', b"DELETE 4\0"), S(b'Z', b"I")]);
        assert_eq!(ends, [(1, Outcome::Ok, 6)]);
    }
}
