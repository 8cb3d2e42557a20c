//! Keeps statements within their limits, and grants within their budgets.
//!
//! One statement at a time is watched: nothing of the client's goes to the server before its outcome is known. So a
//! cancel request of ours cannot hit the statement after it, and a write is not committed before its rows are counted.
//! What is masked in its results is so on the way ([`mask`](super::mask)): the server describes them first, which it is
//! asked for before an Execute.
//!
//! INVARIANT: where the client is told that a statement failed, it has failed at the server: it was cancelled, or a
//! statement that is certain to fail was put after it, within the same transaction. The one exception is a string of
//! statements that has run to its end before it could be cancelled: the error says so.

mod asked;
mod crossed;

use super::{
    decide::Terms,
    forward,
    inspect::Statement,
    judge::report::not_understood,
    limits::Limits,
    mask::{Veil, errors, veil::Torn},
};
use crate::budgets::{Amount, Ledger};
use asked::Asked;
use crossed::{RAN, over, too_many, too_slow, used_up};
use postern_mask::Done;
use postern_proto::v1::{StatementKind, Usage};
use postern_sql::{counting::Counting, facts::Refusal};
use postern_wire::{
    ProtocolError,
    error::{self, Report, Severity},
    frame::{HEADER_BYTES, Header, put_cstr, put_message},
    frontend,
};
use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, task::Context};
use tokio::time::{Sleep, sleep};

/// How a statement is sent, and watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it came, and not at all.
    Free,
    /// As an Execute. Its transaction stays open until a Sync, which waits.
    Execute {
        /// The server is asked how many rows it has written.
        counted: bool,
    },
    /// As a Query, which is no single write.
    Query,
    /// A Query that is one statement, sent by messages of the extended protocol, so that its transaction stays open.
    Alone {
        /// Likewise.
        counted: bool,
    },
}

impl Way {
    fn is_execute(self) -> bool {
        matches!(self, Self::Execute { .. })
    }

    fn is_alone(self) -> bool {
        matches!(self, Self::Alone { .. })
    }

    fn is_counted(self) -> bool {
        matches!(self, Self::Execute { counted: true } | Self::Alone { counted: true })
    }
}

/// Where a statement is.
#[derive(Debug)]
enum Stage {
    /// The server is asked what it has counted, before the statement or, with the message that says that it has run, after it.
    Asking(Asked, Option<(u8, Vec<u8>)>),
    Running,
    /// It has crossed a limit. What still comes of it is dropped.
    Over(Report),
    /// It has run to its end. What is certain to fail was sent after it.
    Failing(Report),
    /// Its outcome is known, and a ReadyForQuery is on its way. What says that it is complete waits for that.
    Settling(Vec<u8>),
}

/// A cancel request of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    No,
    Wanted,
    UnderWay,
}

/// What becomes of a message of the server.
#[derive(Debug)]
pub enum Fate {
    /// It goes on.
    Pass,
    /// It does not.
    Drop,
    /// It does not, since it answers what the client has not asked.
    Swallow,
    /// This error goes on instead.
    Replace(Report, Severity),
    /// This CommandComplete goes on before it.
    After(Vec<u8>),
    /// This message goes on in its place, which answers what the client has not asked.
    Instead(u8, Vec<u8>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    rows: u64,
    bytes: u64,
    /// Rows that it has written, as far as they were taken account of.
    written: u64,
}

#[derive(Debug)]
struct Watch {
    seq: u64,
    way: Way,
    portal: Box<[u8]>,
    limits: Limits,
    stage: Stage,
    /// Of the statement, in all executions of its portal.
    seen: Seen,
    /// Rows in this execution.
    rows: u64,
    /// It takes data.
    copies_in: bool,
    /// What the server had counted before it.
    counted: Option<u64>,
    /// Nothing else has run in its transaction, which ends with it.
    by_itself: bool,
    /// What hides its results.
    veil: Option<Veil>,
    /// A RowDescription. A simple Query shows it once the statement has run, and not where that failed.
    description: Option<Vec<u8>>,
    used: Usage,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Watches the statements of one session.
#[derive(Debug)]
pub struct Guard {
    ledger: Option<Arc<Ledger>>,
    /// Its statements are known to write nothing.
    read_only: bool,
    watch: Option<Box<Watch>>,
    /// What was seen of portals that were executed in part.
    suspended: HashMap<Box<[u8]>, Seen>,
    /// For the server.
    due: Vec<u8>,
    cancel: Cancel,
}

/// A statement that begins.
pub struct Begins<'a> {
    /// Its number.
    pub seq: u64,
    /// How it is sent.
    pub way: Way,
    /// Its text, where it is a Query.
    pub text: &'a [u8],
    /// The portal that it executes, if it does.
    pub portal: &'a [u8],
    /// Its limits, and what of it is masked.
    pub terms: Option<Box<Terms>>,
    /// It begins a transaction that is not the client's.
    pub by_itself: bool,
}

/// What there is to say of a statement that has ended.
#[derive(Debug, Default)]
pub struct Took {
    /// What it took of the budget, if there is one.
    pub used: Option<Usage>,
    /// What was done to each column of each of its results, where any is masked.
    pub masked: Vec<Vec<Done>>,
    /// The server was asked how many rows were written.
    pub counted: bool,
}

impl Guard {
    /// For a session, whose grant may have a budget.
    #[must_use]
    pub fn new(ledger: Option<Arc<Ledger>>, read_only: bool) -> Self {
        Self { ledger, read_only, watch: None, suspended: HashMap::new(), due: Vec::new(), cancel: Cancel::No }
    }

    /// How a statement is to be sent, if it may run within its limits and the grant's budget.
    ///
    /// # Errors
    /// Why it may not.
    pub fn admit(&mut self, statement: &Statement, terms: Option<&Terms>) -> Result<Way, Report> {
        if self.ledger.is_none() && terms.is_none_or(Terms::is_free) {
            return Ok(Way::Free);
        }
        let is_bounded = terms.is_some_and(|terms| terms.limits.written.is_some())
            || self.ledger.as_ref().is_some_and(|ledger| ledger.total(Amount::RowsWritten).is_some());
        let prepared = &statement.prepared;
        let besides = terms.is_some_and(|terms| terms.limits.writes_besides);
        let is_bounded = is_bounded && !self.read_only;
        let way = match statement.kind {
            // The text of what SQL has prepared is not known here.
            StatementKind::Execute if prepared.made_by_sql.is_some() => Way::Execute { counted: is_bounded },
            // It may have been unbounded when it was prepared.
            kind if is_bounded => bounded(kind, prepared.counting(), besides)?,
            StatementKind::Execute => Way::Execute { counted: false },
            StatementKind::Query if self.read_only => Way::Query,
            // One that writes is undone where its rows cross a limit.
            StatementKind::Query if matches!(prepared.counting(), Ok(Counting::ByTag | Counting::ByAsking)) => {
                Way::Alone { counted: false }
            }
            StatementKind::Query => Way::Query,
            _ => Way::Free,
        };
        if statement.kind != StatementKind::Parse
            && let Some(ledger) = &self.ledger
            && !ledger.take(Amount::Statements, 1)
        {
            return Err(used_up(ledger, Amount::Statements, "Ask for a new grant: `postern request`."));
        }
        Ok(way)
    }

    /// Sends a statement on, and watches it from now on. Whether the server is asked to describe its portal first.
    pub fn begin(&mut self, begins: Begins<'_>, message: &[u8], to_server: &mut Vec<u8>) -> bool {
        let Begins { seq, way, text, portal, terms, by_itself } = begins;
        let Terms { limits, masks, .. } = terms.map(|terms| *terms).unwrap_or_default();
        let is_timed = limits.time.is_some();
        let veil = masks.filter(|masks| masks.hides()).map(Veil::new);
        let described = way.is_execute() && veil.is_some();
        let way = if self.may_be_left(way, &limits, message) { Way::Execute { counted: true } } else { way };
        if way.is_counted() {
            asked::put_count(to_server);
        }
        match way {
            Way::Free | Way::Query => to_server.extend_from_slice(message),
            Way::Execute { .. } => {
                if described {
                    put_describe(portal, to_server);
                }
                put_start(is_timed, to_server);
                to_server.extend_from_slice(message);
                put_message(to_server, b'H', |_| {});
            }
            Way::Alone { .. } => put_alone(text, is_timed, to_server),
        }
        if way == Way::Free {
            return false;
        }
        let used = Usage { statements: 1, ..Usage::default() };
        self.watch = Some(Box::new(Watch {
            seq,
            way,
            portal: portal.into(),
            limits,
            stage: if way.is_counted() { Stage::Asking(Asked::default(), None) } else { Stage::Running },
            seen: self.suspended.remove(portal).unwrap_or_default(),
            rows: 0,
            copies_in: false,
            counted: None,
            by_itself,
            veil,
            description: None,
            used,
            timer: None,
        }));
        described
    }

    /// Whether an Execute may leave rows of its result unread, so that it has written all of its rows before its command tag
    /// comes, if that ever does.
    fn may_be_left(&self, way: Way, limits: &Limits, message: &[u8]) -> bool {
        let is_bounded = limits.written.is_some()
            || self.ledger.as_ref().is_some_and(|ledger| ledger.total(Amount::RowsWritten).is_some());
        let in_part =
            || frontend::execute(message.get(HEADER_BYTES..).unwrap_or_default()).is_ok_and(|(_, most)| most > 0);
        way.is_execute() && is_bounded && !self.read_only && in_part()
    }

    /// A portal of this name is made anew.
    pub fn bound<'a>(&mut self, portal: impl FnOnce() -> Option<&'a [u8]>) {
        if !self.suspended.is_empty()
            && let Some(portal) = portal()
        {
            self.suspended.remove(portal);
        }
    }

    /// No portal is left of those that were executed.
    pub fn no_portals(&mut self) {
        self.suspended.clear();
    }

    /// The end of COPY data was sent. While it takes data the server ignores a Flush, so that it needs another.
    pub fn fed(&self, to_server: &mut Vec<u8>) {
        if self.watch.as_ref().is_some_and(|watch| watch.way != Way::Query) {
            put_message(to_server, b'H', |_| {});
        }
    }

    /// Whether the client has to wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.watch.is_some() || self.cancel == Cancel::UnderWay
    }

    /// The number of the statement that is watched.
    #[must_use]
    pub fn watched(&self) -> Option<u64> {
        self.watch.as_ref().map(|watch| watch.seq)
    }

    /// A statement has ended.
    pub fn ended(&mut self, seq: u64) -> Took {
        let Some(watch) = self.watch.take_if(|watch| watch.seq == seq) else { return Took::default() };
        if self.cancel == Cancel::Wanted {
            self.cancel = Cancel::No;
        }
        let Watch { veil, used, way, .. } = *watch;
        Took {
            used: self.ledger.as_ref().map(|_| used),
            masked: veil.map(Veil::done).unwrap_or_default(),
            counted: way.is_counted(),
        }
    }

    /// What waits to be sent to the server.
    pub fn take_due(&mut self, to_server: &mut Vec<u8>) {
        to_server.append(&mut self.due);
    }

    /// Whether something is to be done for it.
    #[must_use]
    pub fn has_due(&self) -> bool {
        !self.due.is_empty() || self.cancel == Cancel::Wanted
    }

    /// Whether a cancel request is to be sent, from now on by the caller.
    pub fn take_cancel(&mut self) -> bool {
        let wanted = self.cancel == Cancel::Wanted;
        if wanted {
            self.cancel = Cancel::UnderWay;
        }
        wanted
    }

    /// The cancel request can hit nothing any more.
    pub fn cancelled(&mut self) {
        self.cancel = Cancel::No;
    }

    /// Whether its time is bounded and not counted yet.
    #[must_use]
    pub fn wants_timer(&self) -> bool {
        let waits = |watch: &Watch| {
            matches!(watch.stage, Stage::Running) && watch.limits.time.is_some() && watch.timer.is_none()
        };
        self.watch.as_deref().is_some_and(waits)
    }

    /// The time of the statement that is watched: counted from when the server has come to it.
    pub fn poll_time(&mut self, cx: &mut Context<'_>) {
        let Some(watch) = &mut self.watch else { return };
        let (Stage::Running, Some(bound)) = (&watch.stage, &watch.limits.time) else { return };
        let timer = watch.timer.get_or_insert_with(|| Box::pin(sleep(bound.most)));
        if timer.as_mut().poll(cx).is_ready() {
            watch.stage = Stage::Over(too_slow(bound));
            self.cancel = Cancel::Wanted;
        }
    }

    /// Whether a row, or a part of COPY data, may go to the client. One that may not stops the statement.
    pub fn takes_row(&mut self, header: Header) -> bool {
        let Some(watch) = &mut self.watch else { return true };
        if !matches!(watch.stage, Stage::Running) {
            return false;
        }
        let bytes = header.total() as u64;
        let undescribed = watch.veil.as_ref().and_then(|veil| veil.admit_row(header.tag).err());
        match undescribed.or_else(|| over(watch, self.ledger.as_deref(), bytes)) {
            None => {
                watch.rows += 1;
                watch.seen.rows += 1;
                watch.seen.bytes += bytes;
                watch.used.rows_read += 1;
                watch.used.bytes_out += bytes;
                true
            }
            Some(report) => {
                watch.stage = Stage::Over(report);
                self.cancel = Cancel::Wanted;
                false
            }
        }
    }

    /// Whether the rows that come are rewritten.
    #[must_use]
    pub fn rewrites(&self) -> bool {
        self.watch.as_ref().and_then(|watch| watch.veil.as_ref()).is_some_and(Veil::rewrites)
    }

    /// A row begins that is rewritten.
    pub fn begin_row(&mut self, header: Header) {
        if let Some(veil) = self.veil() {
            veil.begin(header.body);
        }
    }

    /// Takes the next bytes of the row that is rewritten, and appends what goes on to the client. Whether it goes on; one
    /// that does not stops the statement.
    ///
    /// # Errors
    /// When the session has to end.
    pub fn rewrite(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, ProtocolError> {
        let Some(watch) = &mut self.watch else { return Ok(false) };
        let Some(veil) = &mut watch.veil else { return Ok(false) };
        match veil.feed(bytes, out) {
            Ok(()) => Ok(true),
            Err(Torn::Session(error)) => Err(error),
            Err(Torn::Report(report)) => {
                watch.stage = Stage::Over(report);
                self.cancel = Cancel::Wanted;
                Ok(false)
            }
        }
    }

    fn veil(&mut self) -> Option<&mut Veil> {
        self.watch.as_mut()?.veil.as_mut()
    }

    /// The RowDescription that was held back, if this message comes after it.
    pub fn take_description(&mut self, tag: u8) -> Option<Vec<u8>> {
        let watch = self.watch.as_mut().filter(|watch| matches!(watch.stage, Stage::Running))?;
        if matches!(tag, b'D' | b'C') { watch.description.take() } else { None }
    }

    /// What becomes of any other message that answers the statement.
    pub fn meet(&mut self, tag: u8, body: &[u8]) -> Fate {
        let Some(watch) = &mut self.watch else { return Fate::Pass };
        let withholds = watch.veil.as_ref().is_some_and(|veil| veil.masks().withholds());
        if let Stage::Asking(..) = watch.stage {
            return match self.meet_count(tag, body) {
                Fate::Pass if withholds => told(tag, body),
                fate => fate,
            };
        }
        // What is about the session, and its last word.
        if matches!(tag, b'N' | b'A' | b'S') || (tag == b'E' && error::field(body, b'V') == Some(b"FATAL")) {
            return if withholds { told(tag, body) } else { Fate::Pass };
        }
        // What has ended by itself need not be stopped.
        if matches!(tag, b'E' | b'Z') && self.cancel == Cancel::Wanted {
            self.cancel = Cancel::No;
        }
        let answers_us = watch.way.is_execute() && matches!(tag, b'T' | b'n');
        let fate = match std::mem::replace(&mut watch.stage, Stage::Running) {
            Stage::Running => self.meet_running(tag, body),
            Stage::Over(report) => self.meet_over(tag, report),
            stage => self.meet_ending(stage, tag),
        };
        match fate {
            Fate::Pass | Fate::Drop if answers_us => Fate::Swallow,
            Fate::Pass if withholds => told(tag, body),
            fate => fate,
        }
    }

    /// Of a statement that runs.
    fn meet_running(&mut self, tag: u8, body: &[u8]) -> Fate {
        let Some(watch) = &mut self.watch else { return Fate::Pass };
        let alone = watch.way.is_alone();
        let disagrees = match (tag, &mut watch.veil) {
            (b'T', Some(veil)) => veil.described(body).err(),
            (b'H', Some(veil)) => veil.copies(body).err(),
            _ => None,
        };
        if let Some(report) = disagrees {
            watch.stage = Stage::Over(report);
            self.cancel = Cancel::Wanted;
            return Fate::Drop;
        }
        match tag {
            b'1' | b'2' | b'n' if alone => Fate::Drop,
            b'T' if alone && !body.is_empty() => {
                watch.description = Some(body.to_vec());
                Fate::Drop
            }
            b'G' => {
                watch.copies_in = true;
                Fate::Pass
            }
            b'C' | b's' if watch.way.is_counted() => {
                asked::put_count_after(watch.by_itself, &mut self.due);
                watch.stage = Stage::Asking(Asked::default(), Some((tag, body.to_vec())));
                Fate::Drop
            }
            b'C' => self.meet_complete(body, 0),
            b'E' | b'I' if alone => {
                put_message(&mut self.due, b'S', |_| {});
                watch.stage = Stage::Settling(Vec::new());
                Fate::Pass
            }
            b's' => {
                self.suspended.insert(watch.portal.clone(), watch.seen);
                Fate::Pass
            }
            _ => Fate::Pass,
        }
    }

    /// Of one that has run to its end, or of a string one of its statements. The server has counted so many rows, if it was
    /// asked.
    fn meet_complete(&mut self, body: &[u8], counted: u64) -> Fate {
        let Some(watch) = &mut self.watch else { return Fate::Pass };
        if let Some(report) = too_many(watch, self.ledger.as_deref(), body, counted) {
            return self.undo(report);
        }
        if watch.way.is_alone() {
            put_message(&mut self.due, b'S', |_| {});
            watch.stage = Stage::Settling(body.to_vec());
            return Fate::Drop;
        }
        // The next statement of the string.
        (watch.seen, watch.rows, watch.copies_in) = (Seen::default(), 0, false);
        if let Some(veil) = &mut watch.veil {
            veil.completed();
        }
        Fate::Pass
    }

    /// What has run to its end is undone.
    fn undo(&mut self, report: Report) -> Fate {
        if let Some(watch) = &mut self.watch {
            fail(watch.way, &mut self.due);
            watch.stage = Stage::Failing(report);
        }
        Fate::Drop
    }

    /// Of one that has crossed a limit.
    fn meet_over(&mut self, tag: u8, report: Report) -> Fate {
        let Some(watch) = &mut self.watch else { return Fate::Pass };
        let (stage, fate) = match tag {
            b'E' => {
                if watch.way.is_alone() {
                    put_message(&mut self.due, b'S', |_| {});
                }
                (Stage::Settling(Vec::new()), Fate::Replace(report, Severity::Error))
            }
            // It has ended before it was stopped. A Query says so once all of it has.
            b'C' | b's' | b'I' if watch.way != Way::Query => {
                fail(watch.way, &mut self.due);
                (Stage::Failing(report), Fate::Drop)
            }
            b'Z' => {
                fail(watch.way, &mut self.due);
                (Stage::Failing(Report { detail: RAN.to_owned(), ..report }), Fate::Drop)
            }
            b'G' => {
                put_message(&mut self.due, b'f', |out| put_cstr(out, b""));
                (Stage::Over(report), Fate::Drop)
            }
            _ => (Stage::Over(report), Fate::Drop),
        };
        watch.stage = stage;
        fate
    }

    /// Of one whose outcome is decided.
    fn meet_ending(&mut self, stage: Stage, tag: u8) -> Fate {
        let (stage, fate) = match (stage, tag) {
            (Stage::Failing(report), b'E') => (Stage::Settling(Vec::new()), Fate::Replace(report, Severity::Error)),
            // What a deferred constraint says, in the place of its being complete.
            (Stage::Settling(_), b'E') => (Stage::Settling(Vec::new()), Fate::Pass),
            (Stage::Settling(complete), b'Z') if !complete.is_empty() => {
                (Stage::Settling(Vec::new()), Fate::After(complete))
            }
            (stage, _) => (stage, Fate::Pass),
        };
        if let Some(watch) = &mut self.watch {
            watch.stage = stage;
        }
        fate
    }
}

/// What is told of an error or notice that may carry what is masked.
pub fn told(tag: u8, body: &[u8]) -> Fate {
    match tag {
        b'E' => errors::instead(body).map_or(Fate::Pass, |(report, severity)| Fate::Replace(report, severity)),
        b'N' if !errors::is_harmless(body) => Fate::Drop,
        _ => Fate::Pass,
    }
}

/// How a statement is sent whose written rows are bounded.
fn bounded(kind: StatementKind, counting: &Result<Counting, Refusal>, besides: bool) -> Result<Way, Report> {
    let refused = |message: String, hint: &str| Err(Report::new("0A000", message, hint));
    let several = || {
        let message = "several statements in one string are refused where the rows that may be written are limited";
        refused(message.to_owned(), "Send it alone: each statement in a string of its own.")
    };
    let counting = *counting.as_ref().map_err(not_understood)?;
    let counted = besides || counting == Counting::ByAsking;
    match (counting, kind) {
        (Counting::Not(what), _) => refused(
            format!("{what} is refused, since the rows that may be written are limited and nothing counts these"),
            "Write each of its statements as one of its own.",
        ),
        (Counting::Several, _) => several(),
        (Counting::Queries, StatementKind::Query) if besides => several(),
        (_, StatementKind::Parse) => Ok(Way::Free),
        (Counting::Nothing | Counting::Queries, StatementKind::Execute) => Ok(Way::Execute { counted: false }),
        (_, StatementKind::Execute) => Ok(Way::Execute { counted }),
        (Counting::Nothing | Counting::Queries, _) => Ok(Way::Query),
        (Counting::Query, _) if !besides => Ok(Way::Query),
        (Counting::Query | Counting::ByTag | Counting::ByAsking, _) => Ok(Way::Alone { counted }),
    }
}

/// Where its time counts, it is to be seen when it starts: the server keeps its answers to what comes before until then.
fn put_start(is_timed: bool, out: &mut Vec<u8>) {
    if is_timed {
        put_message(out, b'H', |_| {});
    }
}

/// Asks what a portal returns.
fn put_describe(portal: &[u8], out: &mut Vec<u8>) {
    put_message(out, b'D', |out| {
        out.push(b'P');
        put_cstr(out, portal);
    });
}

/// A simple Query by messages of the extended protocol, but for its Sync.
fn put_alone(text: &[u8], is_timed: bool, out: &mut Vec<u8>) {
    put_message(out, b'P', |out| {
        put_cstr(out, b"");
        put_cstr(out, text);
        out.extend_from_slice(&[0, 0]);
    });
    put_message(out, b'B', |out| out.extend_from_slice(&[0; 8]));
    put_describe(b"", out);
    put_start(is_timed, out);
    put_message(out, b'E', |out| out.extend_from_slice(&[0; 5]));
    put_message(out, b'H', |_| {});
}

/// Sends what is certain to fail, so that what was done is undone.
fn fail(way: Way, due: &mut Vec<u8>) {
    match way {
        Way::Free | Way::Query => forward::refuse(StatementKind::Query, due),
        Way::Execute { .. } => {
            forward::refuse(StatementKind::Execute, due);
            put_message(due, b'H', |_| {});
        }
        Way::Alone { .. } => {
            forward::refuse(StatementKind::Execute, due);
            put_message(due, b'S', |_| {});
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::inspect::Inspected, super::inspect::Inspector, super::limits::Bound, *};

    /// The Execute of what was prepared with this text.
    fn executed(text: &str) -> Statement {
        let mut inspector = Inspector::default();
        inspector.inspect(b'P', &[b"\0", text.as_bytes(), b"\0\0\0"].concat()).unwrap();
        inspector.inspect(b'B', &[0; 8]).unwrap();
        let Ok(Inspected::Statement(execute)) = inspector.inspect(b'E', &[0; 5]) else { panic!("{text}") };
        execute.parts().0
    }

    #[test]
    fn what_cannot_be_counted_is_refused_whenever_it_was_prepared() {
        let mut guard = Guard::new(None, false);
        let limits = Limits { written: Some(Bound { most: 1, by: "p".into() }), ..Limits::default() };
        let terms = Terms { limits, ..Terms::default() };
        let uncounted = executed("CALL p()");
        assert_eq!(guard.admit(&uncounted, Some(&terms)).unwrap_err().sqlstate, "0A000");
        assert_eq!(guard.admit(&uncounted, None), Ok(Way::Free));
        let of = |guard: &mut Guard, text: &str| guard.admit(&executed(text), Some(&terms));
        assert_eq!(of(&mut guard, "DELETE FROM t"), Ok(Way::Execute { counted: false }));
        let written = "WITH gone AS (DELETE FROM t RETURNING a) SELECT a FROM gone";
        assert_eq!(of(&mut guard, written), Ok(Way::Execute { counted: true }));
        let terms = Terms { limits: Limits { writes_besides: true, ..terms.limits }, ..Terms::default() };
        assert_eq!(guard.admit(&executed("DELETE FROM t"), Some(&terms)), Ok(Way::Execute { counted: true }));
        assert_eq!(guard.admit(&executed("COMMIT"), Some(&terms)), Ok(Way::Execute { counted: false }));
    }
}
