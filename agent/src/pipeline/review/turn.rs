//! How a statement is held among the other messages of its session.

use super::{Approval, Hold, hold::Needs, standing, told, values::Values};
use crate::pipeline::{
    Asked, Fatal, Pipeline,
    decide::{Answer, Decision, Refused},
    inspect::{self, Statement},
    judge::reviewed::{RunWith, Subject, Wanted},
    preview::Preview,
};
use postern_proto::v1::{OwnQuery, StatementKind, review_left::Why};
use postern_types::time::Micros;
use postern_wire::{
    ProtocolError,
    error::{Report, Severity},
    frame::{self, HEADER_BYTES, Header, put_message},
    frontend::{self, put_query},
};
use std::task::{Context, Poll, ready};

/// The longest message that people are asked about: a Query, or a Bind with its values.
const MAX_REVIEWED_BYTES: usize = 1 << 20;

/// Whether a message goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Turn {
    /// It is decided now.
    Go,
    /// More of it has to come.
    More,
    /// It is held.
    Held,
}

impl Pipeline {
    /// Whether a message brings what people have to agree to first: a Query, or a Bind, since the server plans what it is
    /// for.
    pub(in crate::pipeline) fn turn(&mut self, header: Header, bytes: &[u8]) -> Result<Turn, ProtocolError> {
        if !self.judge.may_review() || !matches!(header.tag, b'Q' | b'B') || self.tracker.is_skipping() {
            return Ok(Turn::Go);
        }
        let whole = bytes.get(HEADER_BYTES..header.total());
        let Some(statement) = self.brought(header.tag, whole.or(bytes.get(HEADER_BYTES..)).unwrap_or_default())? else {
            return Ok(if whole.is_some() { Turn::Go } else { Turn::More });
        };
        let Some(wanted) = self.judge.wanted(&statement, &self.inspector, self.is_failed()) else {
            self.drop_hold();
            return Ok(Turn::Go);
        };
        if let Some(hold) = &self.hold {
            let body = whole.unwrap_or_default();
            if hold.is_approved()
                && !self.subject(&wanted, &statement, header.tag, body).is_ok_and(|now| hold.is_for(&now))
            {
                self.refuse_hold(told::changed());
            }
            return Ok(Turn::Go);
        }
        let mut hold = Box::new(Hold::new(wanted));
        let turn = match whole {
            _ if header.body > MAX_REVIEWED_BYTES => {
                hold.refuse(told::too_large(MAX_REVIEWED_BYTES));
                Turn::Go
            }
            None => return Ok(Turn::More),
            Some(_) => Turn::Held,
        };
        self.hold = Some(hold);
        Ok(turn)
    }

    /// What a Query or Bind would run. `None`: its names are not all there.
    fn brought(&self, tag: u8, body: &[u8]) -> Result<Option<Statement>, ProtocolError> {
        if tag == b'B' {
            return Ok(inspect::bind_names(body)?.map(|bind| self.inspector.bound_to(bind.statement)));
        }
        // What is not whole yet is not understood, and then comes again.
        Ok(frontend::query(body).ok().map(inspect::queried))
    }

    fn subject(&self, wanted: &Wanted, statement: &Statement, tag: u8, body: &[u8]) -> Result<Subject, Report> {
        let values = if tag == b'B' { Some(Values::read(body).map_err(|_| told::unreviewed())?) } else { None };
        let settings = self.hold.as_ref().map(|hold| hold.settings.as_slice()).unwrap_or_default();
        let with = RunWith { values: values.as_ref(), role: &self.waits.role, login: &self.waits.login, settings };
        self.judge.subject(wanted, statement, with)
    }

    fn refuse_hold(&mut self, report: Report) {
        if let Some(hold) = &mut self.hold {
            hold.refuse(report);
        }
    }

    /// The statement needs nobody's consent any more.
    fn drop_hold(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.leave(Why::Cancelled, &self.waits.desk);
        }
    }

    /// Whether a statement waits for people, or for what has to be known before they are asked.
    #[must_use]
    pub fn waits_for_people(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.waits())
    }

    /// Takes the next steps of the statement that is held. Ready once something is to be sent, or it need not wait any more.
    pub(in crate::pipeline) fn poll_hold(
        &mut self,
        cx: &mut Context<'_>,
        to_server: &mut Vec<u8>,
    ) -> Poll<Result<(), Fatal>> {
        loop {
            let Some(hold) = &mut self.hold else { return Poll::Ready(Ok(())) };
            match hold.needs() {
                Needs::Nothing => return Poll::Ready(Ok(())),
                Needs::Patience => ready!(hold.poll(cx, &mut self.waits.desk)),
                Needs::Settled { flushed } => match self.settle(flushed, to_server) {
                    Settled::Sent => return Poll::Ready(Ok(())),
                    Settled::NotYet => return Poll::Pending,
                    Settled::Now => {}
                },
                Needs::Subject => self.ask_people()?,
                Needs::Preview => {
                    self.foresee(to_server)?;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Waits until the server has answered all that came before, and asks the session how it stands.
    ///
    /// The question ends with a Sync. Where nothing of the batch has run or is bound, that changes nothing but that the
    /// locks of its Parse are gone: no other can tell.
    fn settle(&mut self, flushed: bool, to_server: &mut Vec<u8>) -> Settled {
        let Some(hold) = &mut self.hold else { return Settled::Now };
        if self.is_begun {
            hold.refuse(told::in_batch());
            return Settled::Now;
        }
        if !self.tracker.is_idle() {
            if self.in_batch && !flushed && !self.tracker.will_be_ready() {
                put_message(to_server, b'H', |_| {});
                hold.flushed();
                return Settled::Sent;
            }
            return Settled::NotYet;
        }
        if self.tracker.is_skipping() {
            // What it was for has failed: it is passed over.
            self.hold = None;
            return Settled::Now;
        }
        if self.status == b'E' {
            hold.refuse(told::failed_transaction());
            return Settled::Now;
        }
        let in_transaction = self.status == b'T';
        hold.asked(in_transaction);
        self.journal.asks(OwnQuery::Settings);
        self.question = Some(Asked::OfHold(standing::ask(in_transaction, to_server)));
        Settled::Sent
    }

    /// The session has said how it stands: the control plane is asked.
    fn ask_people(&mut self) -> Result<(), Fatal> {
        let terms = self.judge.review_terms();
        let Some(hold) = &mut self.hold else { return Ok(()) };
        let Some(patience) = hold.patience(terms.hold_ms, terms.hold_locks_ms) else {
            hold.refuse(told::holds_locks());
            return Ok(());
        };
        hold.take_settings();
        let wanted = hold.wanted.clone();
        let message = std::mem::take(&mut self.partial);
        let asked = self.asked_about(&wanted, &message);
        self.partial = message;
        let Some(hold) = &mut self.hold else { return Ok(()) };
        match asked? {
            Ok((subject, shown)) => hold.ask(subject, shown, patience, &mut self.waits.desk),
            Err(report) => hold.refuse(report),
        }
        Ok(())
    }

    /// Tries what the statement would change, which is recorded like a statement.
    fn foresee(&mut self, to_server: &mut Vec<u8>) -> Result<(), Fatal> {
        let message = std::mem::take(&mut self.partial);
        let previewed = self.preview_of(&message);
        self.partial = message;
        let (mut preview, tried) = previewed?;
        preview.take_due(to_server);
        match tried.filter(|_| !preview.is_over()) {
            Some(seq) => self.question = Some(Asked::Preview(Box::new(preview), seq)),
            None => self.foreseen(preview, tried),
        }
        Ok(())
    }

    /// The preview of the statement that a message brings, and the number of its record.
    fn preview_of(&mut self, message: &[u8]) -> Result<(Preview, Option<u64>), Fatal> {
        let not_there = || (Preview::not_made("it is not all there"), None);
        let Some(header) = frame::header(message)? else { return Ok(not_there()) };
        let body = message.get(HEADER_BYTES..header.total()).unwrap_or_default();
        let Some(statement) = self.brought(header.tag, body)? else { return Ok(not_there()) };
        let bound = match header.tag {
            b'B' => inspect::bind_names(body)?.and_then(|bind| body.get(bind.length()..)),
            _ => None,
        };
        let preview = self.judge.preview(&statement, bound, self.status);
        let tried = if preview.is_over() {
            None
        } else {
            let redacted = self.judge.redacted(&statement);
            Some(self.journal.tries(&statement, redacted.as_deref())?)
        };
        Ok((preview, tried))
    }

    /// It was tried.
    pub(in crate::pipeline) fn foreseen(&mut self, preview: Preview, tried: Option<u64>) {
        let preview = preview.finish();
        if let Some(seq) = tried {
            self.journal.tried(seq, &preview);
        }
        if let Some(hold) = &mut self.hold {
            hold.foreseen(preview, &mut self.waits.desk);
        }
    }

    #[allow(clippy::type_complexity, reason = "two kinds of failure")]
    fn asked_about(
        &self,
        wanted: &Wanted,
        message: &[u8],
    ) -> Result<Result<(Subject, postern_proto::v1::ReviewedStatement), Report>, Fatal> {
        let Some(header) = frame::header(message)? else { return Ok(Err(told::changed())) };
        let body = message.get(HEADER_BYTES..header.total()).unwrap_or_default();
        let Some(statement) = self.brought(header.tag, body)? else { return Ok(Err(told::changed())) };
        let subject = self.subject(wanted, &statement, header.tag, body);
        Ok(subject.map(|subject| (subject, self.judge.shown(wanted, &statement))))
    }

    /// The Query that runs in place of the one that was held, where people have agreed to that.
    pub(in crate::pipeline) fn instead(&self) -> Option<Vec<u8>> {
        let edited = self.hold.as_ref()?.edited()?;
        let mut message = Vec::new();
        put_query(&mut message, &edited);
        Some(message)
    }

    /// Sees to it that a statement which policies let run with people's consent has that.
    pub(in crate::pipeline) fn agree(
        &mut self,
        statement: &Statement,
        portal: Option<&[u8]>,
        decision: &mut Decision,
    ) -> Result<(), Refused> {
        let Answer::Allow(terms) = &mut decision.answer else { return Ok(()) };
        let consent = terms.as_ref().and_then(|terms| terms.consent.as_deref());
        let held = self.hold.as_ref().filter(|hold| statement.kind == StatementKind::Query && hold.edited().is_some());
        // It is another text than the one that was asked about.
        if let (Some(hold), Some(consent)) = (held, consent)
            && !hold.wanted.consent.covers(consent)
        {
            return Err(told::needs_more(consent).into());
        }
        if statement.kind == StatementKind::Parse || (consent.is_none() && held.is_none()) {
            return Ok(());
        }
        let approval = self.consented(portal)?;
        terms.get_or_insert_default().limits.tighten(&approval.limits());
        decision.review = Some(approval.review);
        Ok(())
    }

    /// By what a statement runs that needs people's consent: the one that was held, or what its portal was bound by.
    fn consented(&mut self, portal: Option<&[u8]>) -> Result<Approval, Refused> {
        match portal {
            None => self.take_hold(),
            Some(portal) => match self.approved.get(portal) {
                None => Err(told::unreviewed().into()),
                Some(approval) if approval.holds(Micros::now()) => Ok(approval.clone()),
                Some(approval) => {
                    let review = Some(approval.review.clone());
                    Err(Refused { report: Box::new(told::too_late()), basis: None, review })
                }
            },
        }
    }

    /// What became of the statement that was held.
    pub(in crate::pipeline) fn take_hold(&mut self) -> Result<Approval, Refused> {
        let (review, outcome) = self.hold.take().ok_or_else(told::unreviewed)?.done();
        outcome.map_err(|report| Refused { report, basis: None, review })
    }

    /// The client asks to cancel what it has sent. Whether that was a statement which is held, so that nothing is to be
    /// cancelled at the server.
    pub fn cancel_held(&mut self) -> bool {
        let cancelled = self.hold.as_mut().is_some_and(|hold| hold.cancel(&self.waits.desk));
        self.may_go_on |= cancelled;
        cancelled
    }

    /// Whether the client is to be told something besides what the server says.
    #[must_use]
    pub fn has_notice(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.has_notice())
    }

    /// Appends it.
    pub fn take_notice(&mut self, to_client: &mut Vec<u8>) {
        if let Some(notice) = self.hold.as_mut().and_then(|hold| hold.take_notice()) {
            notice.put(to_client, Severity::Notice);
        }
    }

    /// The session is over.
    pub(in crate::pipeline) fn leave_hold(&self) {
        if let Some(hold) = &self.hold {
            hold.leave(Why::Ended, &self.waits.desk);
        }
    }
}

enum Settled {
    Sent,
    NotYet,
    Now,
}
