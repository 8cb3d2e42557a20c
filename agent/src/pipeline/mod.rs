//! What happens to each message of a client: inspect → decide → record → forward. And to each message of the
//! server: follow, and rewrite where a refusal was played by the server ([`down`]).
//!
//! Pure but for the record: bytes in, bytes out, no socket and no waiting.

mod basis;
mod binds;
mod decide;
pub mod down;
mod forward;
#[cfg(test)]
mod fuzz;
mod inspect;
pub mod judge;
pub mod policy;
pub mod record;
#[cfg(test)]
mod tests;

use crate::{lease::Lease, outbox::recorder::OutboxError};
use binds::Binds;
use decide::{Answer, Decision, Refused};
use inspect::{Inspected, Inspector, Statement};
use judge::{Judge, Obstacle};
use postern_proto::v1::StatementKind;
use postern_wire::{
    ProtocolError,
    error::Report,
    frame::{self, HEADER_BYTES, Header},
    frontend::{self, Target},
    tracker::{Sent, Tracker},
};
use record::Journal;
use std::{
    collections::HashMap,
    task::{Context, Poll, ready},
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
    /// A read-only session's statements cannot be understood: the database does not say what names mean.
    #[error("the database does not say what names mean")]
    Names,
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
    refused: HashMap<u64, Report>,
    said_goodbye: bool,
    /// Of a read-only session.
    judge: Option<Judge>,
    /// Values to be recorded.
    binds: Binds,
    /// A statement waits at the start of `partial` until it can be judged.
    held: bool,
    /// A question of ours that the server is answering, with the row that has come.
    question: Option<Option<Vec<Option<String>>>>,
    /// The transaction's, as the last ReadyForQuery said.
    status: u8,
    /// Whether something that runs was sent since.
    ran: bool,
    /// Something has come for which a held statement may have waited.
    may_go_on: bool,
}

impl Pipeline {
    /// For one session.
    #[must_use]
    pub fn new(journal: Journal, lease: Lease, judge: Option<Judge>) -> Self {
        Self {
            input: Input::Between,
            partial: Vec::new(),
            inspector: Inspector::default(),
            tracker: Tracker::default(),
            journal,
            lease,
            refused: HashMap::new(),
            said_goodbye: false,
            judge,
            binds: Binds::default(),
            held: false,
            question: None,
            status: b'I',
            ran: false,
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
                }
                if over {
                    self.input = Input::Between;
                    self.binds.end();
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
        if self.is_to_wait(header) {
            self.held = true;
            return Ok(0);
        }
        if let Some(message) = bytes.get(..header.total()) {
            let _ = self.message(header, message, to_server)?;
            self.binds.end();
            return Ok(header.total());
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
        Ok(bytes.len())
    }

    /// Whether a message cannot be judged yet. While the server answers a question of ours, everything waits.
    fn is_to_wait(&self, header: Header) -> bool {
        let Some(judge) = &self.judge else { return false };
        let is_judged = matches!(header.tag, b'Q' | b'P' | b'B' | b'E');
        self.question.is_some() || (is_judged && judge.obstacle(self.is_failed()).is_some())
    }

    /// Whether the transaction has failed, and nothing is under way that may end it.
    fn is_failed(&self) -> bool {
        self.status == b'E' && !self.ran
    }

    /// Whether a statement waits until it can be judged. No more of the client is to be taken then.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Whether something has come since the last call for which a held statement may have waited.
    pub fn may_go_on(&mut self) -> bool {
        std::mem::take(&mut self.may_go_on) && self.held
    }

    /// Gets what stands in the way of a held statement out of it. Ready once something is to be sent, or nothing is held
    /// any more.
    ///
    /// # Errors
    /// When the session has to end.
    pub fn poll_held(&mut self, cx: &mut Context<'_>, to_server: &mut Vec<u8>) -> Poll<Result<(), Fatal>> {
        let failed = self.is_failed();
        while let Some(judge) = &mut self.judge
            && self.question.is_none()
        {
            match judge.obstacle(failed) {
                None => break,
                Some(Obstacle::Catalog) => {
                    if ready!(judge.poll_snapshot(cx)).is_err() {
                        return Poll::Ready(Err(Fatal::Names));
                    }
                }
                Some(Obstacle::Names) if self.tracker.is_idle() => {
                    judge::put_question(to_server);
                    self.question = Some(None);
                    return Poll::Ready(Ok(()));
                }
                // Its outcome comes with the ReadyForQuery that is under way.
                Some(Obstacle::Names) if self.tracker.will_be_ready() => return Poll::Pending,
                // The client would wait for ever: the server says nothing before a Sync.
                Some(Obstacle::Names) => {
                    judge.give_up_names();
                    break;
                }
            }
        }
        if self.question.is_some() {
            return Poll::Pending;
        }
        self.held = false;
        Poll::Ready(self.client(&[], to_server))
    }

    /// The server has answered a question of ours, or failed to.
    fn answered(&mut self) {
        let answer = self.question.take().flatten();
        let Some(judge) = &mut self.judge else { return };
        let learnt = answer.is_some_and(|answer| judge.learn(&answer).is_ok());
        if !learnt && !judge.asked_in_vain() {
            judge.give_up_names();
        }
        self.may_go_on = true;
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
        if let Some(seq) = self.inspector.take_abandoned() {
            self.journal.never_executed(seq);
        }
        let (statement, sent) = match inspected {
            Inspected::Statement(statement) => statement,
            Inspected::Unrecorded(sent) => {
                match header.tag {
                    b'B' if !self.may_be_bound(body, to_server)? => return Ok(false),
                    b'C' => {
                        if let Target::Portal(portal) = frontend::target(header.tag, body)? {
                            self.binds.take(portal);
                        }
                    }
                    _ => {}
                }
                if let Some(sent) = sent {
                    self.sent(sent);
                }
                to_server.extend_from_slice(message);
                return Ok(true);
            }
        }
        .parts();
        if !self.lease.holds() {
            return Err(Fatal::Lease);
        }
        self.ran |= statement.kind != StatementKind::Parse;
        let decision = decide::decide(&statement, self.judge.as_mut());
        let seq = self.journal.decided(&statement, &decision)?;
        self.inspector.recorded(&statement, seq);
        if header.tag == b'E'
            && let Some(bound) = self.binds.take(frontend::execute(body)?.0)
        {
            self.journal.bound(seq, bound)?;
        }
        let goes_on = matches!(decision.answer, Answer::Allow);
        match decision.answer {
            Answer::Allow => {
                to_server.extend_from_slice(message);
                if let (b'P', Some(judge)) = (header.tag, &mut self.judge) {
                    judge.parsed(frontend::parse(body)?.name);
                }
            }
            Answer::Deny(report) => {
                forward::refuse(statement.kind, to_server);
                self.refused.insert(seq, report);
            }
        }
        self.sent(sent(seq));
        Ok(goes_on)
    }

    /// Whether what a Bind is for may be planned: a function that calls itself immutable runs then. What may not is
    /// refused and recorded in the place of its Execute.
    fn may_be_bound(&mut self, body: &[u8], to_server: &mut Vec<u8>) -> Result<bool, Fatal> {
        let (Some(judge), Some(statement)) = (&mut self.judge, self.inspector.take_bound()) else { return Ok(true) };
        let bind = inspect::bind_names(body)?.ok_or(ProtocolError::Malformed { tag: b'B' })?;
        // What it was bound with before is gone.
        self.binds.take(bind.portal);
        let admitted = judge.admit_bind(bind.statement, &statement);
        let admitted = admitted.and_then(|recorded| {
            if recorded {
                self.binds.has_room()?;
                self.binds.begin(bind.portal);
                self.binds.pass(body.get(bind.length()..).unwrap_or_default());
            }
            Ok(())
        });
        let Err(refused) = admitted else { return Ok(true) };
        self.refuse(&statement, refused.into(), Sent::Execute, to_server)?;
        Ok(false)
    }

    /// Records a refusal, and has the server play it.
    fn refuse(
        &mut self,
        statement: &Statement,
        decision: Decision,
        sent: fn(u64) -> Sent<u64>,
        to_server: &mut Vec<u8>,
    ) -> Result<(), Fatal> {
        let seq = self.journal.decided(statement, &decision)?;
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
        self.refuse(&statement, refused.into(), sent, to_server)
    }

    fn sent(&mut self, sent: Sent<u64>) {
        let (journal, refused) = (&mut self.journal, &mut self.refused);
        self.tracker.sent(sent, |end| {
            refused.remove(&end.statement);
            journal.ended(end);
        });
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
        self.journal.finish(reason);
    }
}
