//! What happens to each message of a client: inspect → decide → record → forward. And to each message of the
//! server: follow, and rewrite where a refusal was played by the server ([`down`]), or where a statement crosses a limit
//! ([`guard`]). What cannot be decided yet waits (`held`).
//!
//! Pure but for the record: bytes in, bytes out, no socket and no waiting.

mod basis;
mod binds;
mod ceilings;
mod decide;
pub mod down;
mod forward;
#[cfg(test)]
mod fuzz;
pub mod guard;
#[cfg(test)]
mod guarded;
mod held;
mod inspect;
pub mod judge;
#[cfg(test)]
mod judged;
pub mod limits;
pub mod mask;
mod masking;
pub mod narrow;
pub mod policy;
pub mod preview;
pub mod question;
pub mod record;
mod redact;
pub mod review;
#[cfg(test)]
mod reviewed;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod veiled;

use crate::{lease::Lease, outbox::recorder::OutboxError};
use binds::Binds;
use decide::{Answer, Decision, Refused};
use guard::{Begins, Guard, Way};
use held::is_awaited;
use inspect::{Inspected, Inspector, Statement};
use judge::Judge;
use postern_proto::v1::StatementKind;
use postern_wire::{
    ProtocolError,
    error::Report,
    frame::{self, HEADER_BYTES, Header, put_cstr, put_message},
    frontend::{self, Target, put_query},
    tracker::{Ended, Outcome, Sent, Tracker},
};
use preview::Preview;
use question::Question;
use record::Journal;
use redact::Redacted;
use review::{Approval, Hold, Turn, Waits};
use std::{
    collections::BTreeMap,
    task::{Context, Poll},
};
use thiserror::Error;

/// A statement that is longer is refused; PostgreSQL's own bound is 1 GiB.
const MAX_STATEMENT_BYTES: usize = 128 << 20;

/// Messages whose answer is awaited, for one session. A client that sends more ahead is not read until some
/// have been answered.
pub const MAX_PENDING: usize = 100_000;

/// The session ends.
#[derive(Debug, Error)]
pub enum Fatal {
    /// The client's bytes are not the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// Nothing can be recorded.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The control plane has not been heard for too long.
    #[error("the control plane has not been heard for too long")]
    Lease,
    /// The session's statements cannot be understood: the database does not say what names mean.
    #[error("the database does not say what names mean")]
    Names,
    /// A statement that has crossed a limit cannot be stopped.
    #[error("a statement that has crossed a limit cannot be stopped")]
    Unstoppable,
}

impl Fatal {
    /// What the client is told.
    #[must_use]
    pub fn report(&self) -> Report {
        let again = "Connect again shortly; if it lasts, tell the operators of Postern.";
        match self {
            Self::Protocol(error) => {
                Report::new("08P01", error.to_string(), "The client broke the PostgreSQL protocol.")
            }
            Self::Outbox(OutboxError::Full) => {
                Report::new("57P03", "the connector's audit outbox is full, so no statement may run", again)
            }
            Self::Outbox(_) => Report::new("57P03", "the connector cannot record statements, so none may run", again),
            Self::Names => Report::new(
                "57P03",
                "the connector cannot tell what names mean in the database, so no statement may run",
                again,
            ),
            Self::Unstoppable => Report::new(
                "57P01",
                "a statement has crossed a limit and could not be stopped, so the session ends",
                "Connect again, and ask for less at once.",
            ),
            Self::Lease => {
                Report::new("08006", "the connector has lost the control plane, so no statement may start", again)
            }
        }
    }
}

/// What is between two messages of the client.
#[derive(Debug, Default)]
enum Input {
    #[default]
    Between,
    /// The rest of a message that is passed on as it comes.
    Passing(usize),
    /// The rest of a message that was refused.
    Dropping(usize),
}

/// A question of ours, and who asks.
enum Asked {
    /// What names mean.
    OfNames(Question),
    /// For the statement that is held, which needs to know what it depends on.
    OfHold(Question),
    /// Likewise: what it would change, tried under this number.
    Preview(Box<Preview>, u64),
}

/// One session's statements.
pub struct Pipeline {
    input: Input,
    /// The start of a message that is not all there.
    partial: Vec<u8>,
    inspector: Inspector,
    tracker: Tracker<u64>,
    journal: Journal,
    lease: Lease,
    /// Refusals that the server is about to play, by statement.
    refused: BTreeMap<u64, Report>,
    said_goodbye: bool,
    judge: Judge,
    /// Values to be recorded.
    binds: Binds,
    /// Those that ask about masked columns, as long as their portals are there.
    asking: Binds,
    /// Of a session whose statements may have limits.
    guard: Guard,
    /// Rows that are on their way to the client.
    rewritten: Vec<u8>,
    /// A statement waits at the start of `partial` until it can be judged.
    held: bool,
    /// A question of ours that the server is answering.
    question: Option<Asked>,
    /// Where statements wait for people.
    waits: Waits,
    /// The statement at the start of `partial`, where people have to agree to it.
    hold: Option<Box<Hold>>,
    /// By what portals were bound to which people have agreed.
    approved: BTreeMap<Box<[u8]>, Approval>,
    /// The transaction's, as the last ReadyForQuery said.
    status: u8,
    /// Whether something that runs was sent since.
    ran: bool,
    /// Whether something of the extended protocol was sent since the last Sync: a Sync of ours would end what it began.
    in_batch: bool,
    /// Whether something of that was bound or has run, but for BEGIN.
    is_begun: bool,
    /// Something has come for which a held statement may have waited.
    may_go_on: bool,
}

impl Pipeline {
    /// For one session.
    #[must_use]
    pub fn new(journal: Journal, lease: Lease, judge: Judge, guard: Guard, waits: Waits) -> Self {
        Self {
            input: Input::Between,
            partial: Vec::new(),
            inspector: Inspector::default(),
            tracker: Tracker::default(),
            journal,
            lease,
            refused: BTreeMap::new(),
            said_goodbye: false,
            judge,
            binds: Binds::default(),
            asking: Binds::default(),
            guard,
            rewritten: Vec::new(),
            held: false,
            question: None,
            waits,
            hold: None,
            approved: BTreeMap::new(),
            status: b'I',
            ran: false,
            in_batch: false,
            is_begun: false,
            may_go_on: false,
        }
    }

    /// Takes the client's next bytes, all of them, and appends to `to_server` what goes on. Nothing of it may be
    /// sent before [`poll_recorded`](Self::poll_recorded) is ready.
    ///
    /// # Errors
    /// When the session has to end; what is in `to_server` must then not be sent.
    pub fn client(&mut self, bytes: &[u8], to_server: &mut Vec<u8>) -> Result<(), Fatal> {
        let mut joined = std::mem::take(&mut self.partial);
        let mut rest = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            joined.as_slice()
        };
        while !rest.is_empty() && !self.held {
            let taken = self.step(rest, to_server)?;
            if taken == 0 {
                break;
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
        if rest.len() == joined.len() {
            self.partial = joined;
        } else if !rest.is_empty() {
            self.partial = rest.to_vec();
        }
        Ok(())
    }

    /// Ready once all that was decided is on record.
    ///
    /// # Errors
    /// When it cannot be: the session has to end, and nothing of what waits may be sent.
    pub fn poll_recorded(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fatal>> {
        self.journal.poll_flushed(cx).map_err(Fatal::from)
    }

    /// Takes what it can from the front and says how much that was: 0 means that more must come.
    fn step(&mut self, bytes: &[u8], to_server: &mut Vec<u8>) -> Result<usize, Fatal> {
        match &mut self.input {
            Input::Between => {}
            Input::Passing(left) | Input::Dropping(left) => {
                let taken = bytes.len().min(*left);
                *left -= taken;
                let over = *left == 0;
                if let (Input::Passing(_), Some(bytes)) = (&self.input, bytes.get(..taken)) {
                    to_server.extend_from_slice(bytes);
                    self.binds.pass(bytes);
                    self.asking.pass(bytes);
                }
                if over {
                    self.input = Input::Between;
                    self.values_end();
                }
                return Ok(taken);
            }
        }
        let Some(header) = frame::header(bytes)? else {
            return Ok(0);
        };
        // By the header alone, so that it makes no difference how much has come with it.
        inspect::admit(header)?;
        if matches!(header.tag, b'Q' | b'P' | b'F') && header.body > MAX_STATEMENT_BYTES {
            self.too_large(header, to_server)?;
            self.input = Input::Dropping(header.body);
            return Ok(HEADER_BYTES);
        }
        if bytes.len() < header.total() && is_awaited(header, bytes)? {
            return Ok(0);
        }
        if self.is_to_wait(header, bytes)? {
            self.held = true;
            return Ok(0);
        }
        match self.turn(header, bytes)? {
            Turn::Go => {}
            Turn::More => return Ok(0),
            Turn::Held => {
                self.held = true;
                return Ok(0);
            }
        }
        if let Some(message) = bytes.get(..header.total()) {
            let (edited, total) = (self.instead(), header.total());
            let message = edited.as_deref().unwrap_or(message);
            let header = frame::header(message)?.unwrap_or(header);
            let _ = self.message(header, message, to_server)?;
            self.hold = None;
            self.values_end();
            return Ok(total);
        }
        let passes = match header.tag {
            // Data of COPY passes as it comes.
            b'd' => true,
            // So do values, once the names before them are known.
            b'B' => inspect::bind_names(bytes.get(HEADER_BYTES..).unwrap_or_default())?.is_some(),
            _ => false,
        };
        if !passes {
            return Ok(0);
        }
        let rest = header.total() - bytes.len();
        self.input = if self.message(header, bytes, to_server)? { Input::Passing(rest) } else { Input::Dropping(rest) };
        self.hold = None;
        Ok(bytes.len())
    }

    /// Whether the outcome of a statement is awaited before anything goes on but the data that it takes.
    fn waits_for_outcome(&self) -> bool {
        self.guard.is_busy() && !self.tracker.takes_data()
    }

    /// Whether the transaction has failed, and nothing is under way that may end it.
    fn is_failed(&self) -> bool {
        self.status == b'E' && !self.ran
    }

    /// The server has answered a question of ours, or failed to.
    fn answered(&mut self, status: u8) {
        self.status = status;
        match self.question.take() {
            Some(Asked::OfNames(question)) => self.judge.answered(question.answer(), status),
            Some(Asked::OfHold(question)) => {
                if let Some(hold) = &mut self.hold {
                    hold.answered(question.answer(), status);
                }
            }
            Some(Asked::Preview(preview, seq)) => self.foreseen(*preview, Some(seq)),
            None => {}
        }
        self.forget_renamed();
        self.may_go_on = true;
    }

    /// Names that SQL has given to something else are not those of a Parse any more.
    fn forget_renamed(&mut self) {
        for name in self.judge.take_renamed() {
            self.inspector.forget(name.as_bytes());
        }
    }

    /// One message, whole (or whole as far as it is looked at). Says whether it goes on.
    fn message(&mut self, header: Header, message: &[u8], to_server: &mut Vec<u8>) -> Result<bool, Fatal> {
        let body = message.get(HEADER_BYTES..).unwrap_or_default();
        let inspected = self.inspector.inspect(header.tag, body)?;
        let in_turn = match &inspected {
            Inspected::Statement(statement) => self.tracker.may_send(&statement.sent()),
            Inspected::Unrecorded(sent) => sent.is_none_or(|sent| self.tracker.may_send(&sent)),
        };
        if !in_turn || self.tracker.is_lost() {
            return Err(ProtocolError::Unexpected { tag: header.tag }.into());
        }
        self.said_goodbye |= header.tag == b'X';
        self.follow_batch(header.tag, body)?;
        if let Some(seq) = self.inspector.take_abandoned() {
            self.journal.never_executed(seq);
        }
        let (statement, sent) = match inspected {
            Inspected::Statement(statement) => statement,
            Inspected::Unrecorded(sent) => {
                match header.tag {
                    b'B' if !self.may_be_bound(body, to_server)? => return Ok(false),
                    b'B' => {
                        let portal = || inspect::bind_names(body).ok().flatten().map(|bind| inspect::key(bind.portal));
                        self.guard.bound(portal);
                    }
                    b'C' => {
                        if let Target::Portal(portal) = frontend::target(header.tag, body)? {
                            self.forget_values(inspect::key(portal));
                        }
                    }
                    _ => {}
                }
                if let Some(sent) = sent {
                    self.sent(sent);
                }
                to_server.extend_from_slice(message);
                if matches!(header.tag, b'c' | b'f') {
                    self.guard.fed(to_server);
                }
                return Ok(true);
            }
        }
        .parts();
        if !self.lease.holds() {
            return Err(Fatal::Lease);
        }
        let failed = self.is_failed();
        let by_itself = self.status == b'I' && !self.ran;
        self.ran |= statement.kind != StatementKind::Parse;
        let portal = if header.tag == b'E' { Some(inspect::key(frontend::execute(body)?.0)) } else { None };
        let (decision, way) = self.decide(&statement, portal, failed);
        let redacted = self.judge.redacted(&statement);
        let seq = self.journal.decided(&statement, &decision, redacted.as_deref())?;
        self.inspector.recorded(&statement, seq);
        if let Some(mut bound) = portal.and_then(|portal| self.binds.take(portal)) {
            self.judge.redact(&mut bound);
            self.journal.bound(seq, bound)?;
        }
        let goes_on = matches!(decision.answer, Answer::Allow(_));
        match decision.answer {
            Answer::Allow(terms) => {
                if header.tag == b'P' {
                    self.judge.parses(frontend::parse(body)?.name);
                }
                self.judge.sent(seq);
                let put_right = match self.judge.take_put_right() {
                    Some(text) => {
                        let mut message = Vec::new();
                        put_text(header.tag, body, &text, &mut message)?;
                        Some((text, message))
                    }
                    None => None,
                };
                let (text, message) =
                    put_right.as_ref().map_or((statement.prepared.text.bytes(), message), |(text, message)| {
                        (text.as_bytes(), message.as_slice())
                    });
                match way {
                    Way::Free => to_server.extend_from_slice(message),
                    _ => {
                        let portal = if matches!(way, Way::Execute { .. }) {
                            inspect::key(frontend::execute(body)?.0)
                        } else {
                            Default::default()
                        };
                        let begins = Begins { seq, way, text, portal, terms, by_itself };
                        if self.guard.begin(begins, message, to_server) {
                            self.sent(Sent::Foreword(seq));
                        }
                    }
                }
            }
            Answer::Deny(report) => {
                // What was understood of it, where the guard refuses it, ends as what has failed.
                self.judge.sent(seq);
                forward::refuse(statement.kind, to_server);
                self.refused.insert(seq, report);
            }
        }
        self.sent(sent(seq));
        Ok(goes_on)
    }

    /// Follows what has come since the last Sync.
    fn follow_batch(&mut self, tag: u8, body: &[u8]) -> Result<(), ProtocolError> {
        match tag {
            b'S' | b'Q' | b'F' => (self.in_batch, self.is_begun) = (false, false),
            b'P' | b'D' | b'C' => self.in_batch = true,
            b'B' | b'E' => {
                self.in_batch = true;
                if !self.is_begun {
                    self.is_begun = !self.judge.may_review() || !judge::only_begins(self.text_of(tag, body)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// All values of a Bind have passed.
    fn values_end(&mut self) {
        self.binds.end();
        self.asking.end();
    }

    /// A portal is gone, or about to be another one.
    fn forget_values(&mut self, portal: &[u8]) {
        self.binds.take(portal);
        self.asking.take(portal);
        self.approved.remove(portal);
    }

    /// Whether a statement may run, with the values that the portal is bound with, and how it is sent.
    fn decide(&mut self, statement: &inspect::Statement, portal: Option<&[u8]>, failed: bool) -> (Decision, Way) {
        let mut decision = decide::decide(statement, &mut self.judge, &self.inspector, failed);
        if let Err(refused) = self.agree(statement, portal, &mut decision) {
            return (refused.into(), Way::Free);
        }
        let Answer::Allow(terms) = &decision.answer else { return (decision, Way::Free) };
        let values = portal.and_then(|portal| self.asking.of(portal));
        if let Err(report) = self.judge.draw(statement, terms.as_deref(), values) {
            return (Refused::from(report).into(), Way::Free);
        }
        match self.guard.admit(statement, terms.as_deref()) {
            Ok(way) => (decision, way),
            Err(report) => (Refused::from(report).into(), Way::Free),
        }
    }

    /// Whether what a Bind is for may be planned: a function that calls itself immutable runs then. What may not is
    /// refused and recorded in the place of its Execute.
    fn may_be_bound(&mut self, body: &[u8], to_server: &mut Vec<u8>) -> Result<bool, Fatal> {
        let Some(statement) = self.inspector.take_bound() else { return Ok(true) };
        let bind = inspect::bind_names(body)?.ok_or(ProtocolError::Malformed { tag: b'B' })?;
        let portal = inspect::key(bind.portal);
        // What it was bound with before is gone.
        self.forget_values(portal);
        let admitted = self.judge.admit_bind(&statement, portal, &self.inspector, self.is_failed());
        let admitted = admitted.and_then(|values| {
            if values.reviewed {
                let approval = self.take_hold()?;
                self.approved.insert(portal.into(), approval);
            }
            for (binds, kept) in [(&mut self.binds, values.recorded), (&mut self.asking, values.asking)] {
                if kept {
                    binds.has_room()?;
                    binds.begin(portal);
                    binds.pass(body.get(bind.length()..).unwrap_or_default());
                }
            }
            Ok(())
        });
        let Err(refused) = admitted else { return Ok(true) };
        let redacted = self.judge.redacted(&statement);
        self.refuse(&statement, refused.into(), redacted.as_deref(), Sent::Execute, to_server)?;
        Ok(false)
    }

    /// Records a refusal, and has the server play it.
    fn refuse(
        &mut self,
        statement: &Statement,
        decision: Decision,
        redacted: Option<&Redacted>,
        sent: fn(u64) -> Sent<u64>,
        to_server: &mut Vec<u8>,
    ) -> Result<(), Fatal> {
        let seq = self.journal.decided(statement, &decision, redacted)?;
        forward::refuse(statement.kind, to_server);
        if let Answer::Deny(report) = decision.answer {
            self.refused.insert(seq, report);
        }
        self.sent(sent(seq));
        Ok(())
    }

    fn too_large(&mut self, header: Header, to_server: &mut Vec<u8>) -> Result<(), Fatal> {
        let statement = inspect::too_large(header.tag);
        let sent = if header.tag == b'P' { Sent::Parse } else { Sent::Query };
        if !self.tracker.may_send(&sent(0)) {
            return Err(ProtocolError::Unexpected { tag: header.tag }.into());
        }
        let refused = Refused::from(decide::too_large(header.body, MAX_STATEMENT_BYTES));
        self.refuse(&statement, refused.into(), None, sent, to_server)
    }

    fn sent(&mut self, sent: Sent<u64>) {
        let Self { tracker, journal, refused, inspector, judge, guard, .. } = self;
        tracker.sent(sent, |end| ended(end, journal, refused, inspector, judge, guard));
    }

    /// Goes on with what the watched statement needs besides its own messages. Whether a cancel request is to be sent
    /// for it; [`cancelled`](Self::cancelled) is to be called once that can hit nothing any more.
    pub fn poll_guard(&mut self, cx: &mut Context<'_>, to_server: &mut Vec<u8>) -> bool {
        let is_running = self.is_guarded_now();
        self.take_due(to_server);
        if is_running {
            self.guard.poll_time(cx);
        }
        self.guard.take_cancel()
    }

    /// Appends what the watched statement needs to have sent.
    pub fn take_due(&mut self, to_server: &mut Vec<u8>) {
        self.guard.take_due(to_server);
        if let Some(Asked::Preview(preview, _)) = &mut self.question {
            preview.take_due(to_server);
        }
    }

    /// The cancel request that was asked for can hit nothing any more.
    pub fn cancelled(&mut self) {
        self.guard.cancelled();
        self.may_go_on = true;
    }

    /// Whether something is to be done for the watched statement, or for a preview.
    #[must_use]
    pub fn has_due(&self) -> bool {
        matches!(&self.question, Some(Asked::Preview(preview, _)) if preview.has_due())
            || self.guard.has_due()
            || (self.guard.wants_timer() && self.is_guarded_now())
    }

    /// Whether the server is answering the statement that is watched.
    fn is_guarded_now(&self) -> bool {
        let watched = self.guard.watched();
        let answered = || match self.tracker.front() {
            Some(Sent::Query(seq) | Sent::Execute(seq) | Sent::Foreword(seq)) => Some(seq),
            _ => None,
        };
        watched.is_some() && watched == answered()
    }

    /// Whether more of the client may be read.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.tracker.pending() < MAX_PENDING
    }

    /// Whether the client has sent Terminate.
    #[must_use]
    pub fn said_goodbye(&self) -> bool {
        self.said_goodbye
    }

    /// Whether the server owes an answer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tracker.is_idle()
    }

    /// The session is over: what has not ended, has now.
    pub fn finish(mut self, reason: &str) {
        if let Some(seq) = self.guard.watched() {
            self.journal.unfinished(seq, self.guard.ended(seq));
        }
        self.leave_hold();
        self.journal.finish(reason);
    }
}

/// A statement has ended.
fn ended(
    end: Ended<u64>,
    journal: &mut Journal,
    refused: &mut BTreeMap<u64, Report>,
    inspector: &mut Inspector,
    judge: &mut Judge,
    guard: &mut Guard,
) {
    refused.remove(&end.statement);
    if end.outcome != Outcome::Ok {
        inspector.failed(end.statement);
    }
    judge.ended(&end);
    journal.ended(end, guard.ended(end.statement));
}

/// A Query or Parse with another text.
fn put_text(tag: u8, body: &[u8], text: &str, to_server: &mut Vec<u8>) -> Result<(), ProtocolError> {
    if tag == b'Q' {
        put_query(to_server, text);
        return Ok(());
    }
    let parse = frontend::parse(body)?;
    let types = body.get(parse.name.len() + parse.text.len() + 2..).unwrap_or_default();
    put_message(to_server, b'P', |out| {
        put_cstr(out, parse.name);
        put_cstr(out, text.as_bytes());
        out.extend_from_slice(types);
    });
    Ok(())
}
