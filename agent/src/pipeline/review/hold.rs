//! The steps of one statement that is held: Standing → Asking → Claiming → Done.

use super::{
    super::{
        judge::reviewed::{Subject, Wanted},
        limits::{Bound, Limits},
        question::{Answer, Row},
    },
    standing::Standing,
    told,
};
use crate::reviews::{Desk, News};
use postern_proto::v1::{
    EffectPreview, ReviewAsk, ReviewDecision, ReviewStands, ReviewedStatement, review_left::Why, review_stands::State,
};
use postern_types::time::Micros;
use postern_wire::error::Report;
use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// How long a client waits where its connection says nothing.
const HOLD: Duration = Duration::from_secs(20);

/// By what a statement runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The review's id.
    pub review: Rc<str>,
    /// The most rows that it may change.
    max_rows: Option<u64>,
    /// What runs in its place.
    edited: Option<Rc<str>>,
    /// It has to begin before.
    until: Micros,
}

impl Approval {
    /// What it bounds.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let by = || format!("the review {}", self.review).into();
        Limits { written: self.max_rows.map(|most| Bound { most, by: by() }), ..Limits::default() }
    }

    /// Whether it may still begin.
    #[must_use]
    pub fn holds(&self, now: Micros) -> bool {
        now < self.until
    }
}

/// Where it is.
#[derive(Debug)]
enum Stage {
    /// The server has to have answered all that came before.
    Settling {
        /// It was asked to say what it has.
        flushed: bool,
    },
    /// The session is asked how it stands.
    Standing,
    /// It has answered.
    Stands(Standing),
    /// The control plane is asked; what people would see was told or not.
    Asking { opened: bool },
    /// There is no review yet, and people are to see what the statement would change: that is tried.
    Foreseeing,
    /// There is an approval, which is being claimed.
    Claiming,
    /// It runs, or does not.
    Done(Result<Approval, Box<Report>>),
}

/// A statement that is held.
#[derive(Debug)]
pub struct Hold {
    stage: Stage,
    pub(super) wanted: Wanted,
    in_transaction: bool,
    pub(super) settings: Vec<Row>,
    subject: Option<Subject>,
    /// What people see, once it is known.
    shown: Option<ReviewedStatement>,
    /// What was heard of its review last.
    stands: ReviewStands,
    over: Option<Pin<Box<Sleep>>>,
    /// For the client.
    notice: Option<Report>,
}

/// What a held statement needs next.
pub(super) enum Needs {
    /// The server has to settle.
    Settled { flushed: bool },
    /// What is asked about has to be told.
    Subject,
    /// What it would change has to be tried.
    Preview,
    /// Something that comes by itself.
    Patience,
    /// Nothing.
    Nothing,
}

impl Hold {
    /// Of a statement that has come.
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            stage: Stage::Settling { flushed: false },
            wanted,
            in_transaction: false,
            settings: Vec::new(),
            subject: None,
            shown: None,
            stands: ReviewStands::default(),
            over: None,
            notice: None,
        }
    }

    pub(super) fn needs(&self) -> Needs {
        match &self.stage {
            Stage::Settling { flushed } => Needs::Settled { flushed: *flushed },
            Stage::Standing => Needs::Patience,
            Stage::Stands(_) => Needs::Subject,
            Stage::Foreseeing => Needs::Preview,
            Stage::Asking { .. } | Stage::Claiming => Needs::Patience,
            Stage::Done(_) => Needs::Nothing,
        }
    }

    /// Whether people, or the control plane, are waited for, so that what names mean is not of interest now.
    pub(super) fn waits(&self) -> bool {
        !matches!(self.stage, Stage::Done(_))
    }

    /// The server was asked to say what it has.
    pub(super) fn flushed(&mut self) {
        self.stage = Stage::Settling { flushed: true };
    }

    /// The session was asked how it stands.
    pub(super) fn asked(&mut self, in_transaction: bool) {
        self.in_transaction = in_transaction;
        self.stage = Stage::Standing;
    }

    /// The session's answer. Whoever has cancelled meanwhile wants none.
    pub(in crate::pipeline) fn answered(&mut self, answer: Answer, status: u8) {
        let asked_in_transaction = std::mem::replace(&mut self.in_transaction, status != b'I');
        if matches!(self.stage, Stage::Standing) {
            match Standing::read(answer, asked_in_transaction) {
                Some(standing) => self.stage = Stage::Stands(standing),
                None => self.refuse(told::unanswered()),
            }
        }
    }

    /// It does not run.
    pub(super) fn refuse(&mut self, report: Report) {
        self.stage = Stage::Done(Err(Box::new(report)));
    }

    /// How long it may wait, by the connection's terms. `None`: not at all.
    pub(super) fn patience(&self, hold_ms: u32, hold_locks_ms: u32) -> Option<Duration> {
        let hold = if hold_ms == 0 { HOLD } else { Duration::from_millis(hold_ms.into()) };
        match &self.stage {
            Stage::Stands(Standing { holds_locks: true, .. }) if hold_locks_ms == 0 => None,
            Stage::Stands(Standing { holds_locks: true, .. }) => {
                Some(hold.min(Duration::from_millis(hold_locks_ms.into())))
            }
            _ => Some(hold),
        }
    }

    /// The settings that the session told.
    pub(super) fn take_settings(&mut self) {
        if let Stage::Stands(standing) = &mut self.stage {
            self.settings = std::mem::take(&mut standing.settings);
        }
    }

    /// Asks the control plane whether there is an answer.
    pub(super) fn ask(&mut self, subject: Subject, shown: ReviewedStatement, patience: Duration, desk: &mut Desk) {
        let hold_ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        let literals = subject.shown.clone();
        self.shown = Some(ReviewedStatement { literals, in_transaction: self.in_transaction, hold_ms, ..shown });
        self.subject = Some(subject);
        self.over = Some(Box::pin(sleep(patience)));
        self.stage = Stage::Asking { opened: false };
        self.say(desk);
    }

    /// Puts the question that is open, with the statement where there is no review yet.
    fn say(&self, desk: &mut Desk) {
        let Some(subject) = &self.subject else { return };
        if matches!(self.stage, Stage::Claiming) {
            desk.claim(&self.stands.review_id, &subject.key);
            return;
        }
        let statement = self.shown.clone().filter(|_| matches!(self.stage, Stage::Asking { opened: true }));
        desk.ask(ReviewAsk {
            key: subject.key.clone().into(),
            shape: subject.shape.clone().into(),
            literals: subject.literals.iter().map(|literal| literal.clone().into()).collect(),
            statement,
            ..ReviewAsk::default()
        });
    }

    /// What it would change was tried. Whoever has cancelled meanwhile does not wait for it.
    pub(in crate::pipeline) fn foreseen(&mut self, preview: EffectPreview, desk: &mut Desk) {
        if matches!(self.stage, Stage::Foreseeing) {
            if let Some(shown) = &mut self.shown {
                shown.preview = Some(preview);
            }
            self.open(desk);
        }
    }

    /// Asks for a review.
    fn open(&mut self, desk: &mut Desk) {
        self.stage = Stage::Asking { opened: true };
        self.say(desk);
    }

    /// Takes what is heard. Ready once it needs something else.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, desk: &mut Desk) -> Poll<()> {
        while matches!(self.needs(), Needs::Patience) {
            if let Poll::Ready(news) = desk.poll(cx) {
                self.hear(news, desk);
                continue;
            }
            let Some(over) = &mut self.over else { return Poll::Pending };
            ready!(over.as_mut().poll(cx));
            if self.stands.review_id.is_empty() {
                self.refuse(told::unasked());
            } else {
                desk.leave(&self.stands.review_id, Why::Ticket);
                self.refuse(told::ticket(&self.wanted.consent, &self.stands));
            }
        }
        Poll::Ready(())
    }

    fn hear(&mut self, news: News, desk: &mut Desk) {
        match news {
            News::Attached => self.say(desk),
            News::Stands(stands) if self.is_mine(&stands.key) && matches!(self.stage, Stage::Asking { .. }) => {
                self.stand(stands, desk);
            }
            News::Claimed(review, claimed)
                if review == self.stands.review_id && matches!(self.stage, Stage::Claiming) =>
            {
                match claimed {
                    Ok(decision) => self.decided(decision),
                    Err(error) => self.refuse(told::lost(error)),
                }
            }
            News::Stands(_) | News::Claimed(..) => {}
        }
    }

    fn is_mine(&self, key: &[u8]) -> bool {
        self.subject.as_ref().is_some_and(|subject| subject.key == key)
    }

    fn stand(&mut self, stands: ReviewStands, desk: &mut Desk) {
        let state = stands.state();
        let is_new = stands.review_id != self.stands.review_id;
        self.stands = stands;
        match state {
            State::None if matches!(self.stage, Stage::Asking { opened: true }) => self.refuse(told::unasked()),
            State::None if self.wanted.consent.review.preview => self.stage = Stage::Foreseeing,
            State::None => self.open(desk),
            State::Pending if is_new => self.notice = Some(told::waits(&self.wanted.consent, &self.stands)),
            State::Pending | State::Unspecified => {}
            State::Approved => {
                self.stage = Stage::Claiming;
                self.say(desk);
            }
            State::Denied => self.refuse(told::denied(&self.stands)),
            State::Expired => self.refuse(told::lapsed(&self.stands, "was not answered in time")),
            State::Withdrawn => self.refuse(told::lapsed(&self.stands, "was withdrawn")),
            State::Refused => self.refuse(told::refused(&self.stands)),
        }
    }

    fn decided(&mut self, decision: ReviewDecision) {
        let ReviewDecision { key, expires_at_us, max_rows, review_id, edited_sql, .. } = decision;
        let (edited, until) = (edited_sql.map(Into::into), Micros(expires_at_us));
        let approval = Approval { review: review_id.into(), max_rows, edited, until };
        let is_editable = self.shown.as_ref().is_some_and(|shown| shown.editable);
        if !self.is_mine(&key) || (approval.edited.is_some() && !is_editable) {
            self.refuse(told::changed());
        } else if !approval.holds(Micros::now()) {
            self.refuse(told::too_late());
        } else {
            self.stage = Stage::Done(Ok(approval));
        }
    }

    /// The client has cancelled. Whether there was something to cancel.
    pub(super) fn cancel(&mut self, desk: &Desk) -> bool {
        let waits = self.waits();
        if waits {
            self.leave(Why::Cancelled, desk);
            self.refuse(told::cancelled());
        }
        waits
    }

    /// The session waits no more, if it did.
    pub(super) fn leave(&self, why: Why, desk: &Desk) {
        if self.waits() && self.subject.is_some() {
            desk.leave(&self.stands.review_id, why);
        }
    }

    /// Whether what was agreed to is what would run now.
    pub(super) fn is_for(&self, subject: &Subject) -> bool {
        self.subject.as_ref().is_some_and(|asked| asked.key == subject.key)
    }

    /// The text that runs in its place.
    pub(super) fn edited(&self) -> Option<Rc<str>> {
        match &self.stage {
            Stage::Done(Ok(approval)) => approval.edited.clone(),
            _ => None,
        }
    }

    /// Whether it was agreed to.
    pub(super) fn is_approved(&self) -> bool {
        matches!(self.stage, Stage::Done(Ok(_)))
    }

    pub(super) fn take_notice(&mut self) -> Option<Report> {
        self.notice.take()
    }

    pub(super) fn has_notice(&self) -> bool {
        self.notice.is_some()
    }

    /// Its review's id, if it has one, and the outcome.
    pub(super) fn done(self) -> (Option<Rc<str>>, Result<Approval, Box<Report>>) {
        let review = Some(self.stands.review_id.as_str()).filter(|id| !id.is_empty()).map(Into::into);
        match self.stage {
            Stage::Done(outcome) => (review, outcome),
            // It is taken once it is done.
            _ => (review, Err(Box::new(told::unreviewed()))),
        }
    }
}
