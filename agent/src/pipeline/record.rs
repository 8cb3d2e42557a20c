//! A session's records. The only place that makes them.

use super::{
    basis::Kept,
    binds::Bound,
    decide::{Answer, Decision},
    guard::Took,
    inspect::Statement,
    mask::{Cover, Masks, Shown},
    redact::Redacted,
};
use crate::outbox::recorder::{OutboxError, Recorder, Refers, Session};
use postern_mask::{Done, Mask};
use postern_proto::v1::{
    self as proto, Detected, EffectPreview, MaskedColumn, Masking, Outcome, OwnQuery, SessionEnded, SessionFacts,
    ShownColumn, StatementBound, StatementDecided, StatementEnded, StatementKind, Usage, audit_record::Record,
    effect_preview::Result as Told,
};
use postern_types::time::Micros;
use postern_wire::tracker::{self, Ended};
use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

/// Numbers a session's statements and records how they were decided and how they ended.
pub struct Journal {
    recorder: Rc<Recorder>,
    session: Session,
    seq: u64,
    /// Decided and not ended, by number.
    open: VecDeque<Open>,
    /// How many records have to be written before what was decided may run.
    unflushed: Option<u64>,
    /// What was asked of the server for the statement that is decided next.
    asked: BTreeSet<OwnQuery>,
}

struct Open {
    seq: u64,
    kind: StatementKind,
    started: Instant,
    refused: Option<String>,
    /// What was recorded that its decision rests on.
    basis: Option<Rc<Kept>>,
    /// What of its results is masked.
    masks: Option<Rc<Masks>>,
    /// What was asked of the server for it.
    asked: BTreeSet<OwnQuery>,
}

/// How a statement ended.
struct End {
    seq: u64,
    started: Instant,
    outcome: Outcome,
    rows: u64,
    bytes: u64,
    sqlstate: String,
    used: Option<Usage>,
    masking: Option<Masking>,
    asked: BTreeSet<OwnQuery>,
}

fn numbers(asked: BTreeSet<OwnQuery>) -> Vec<i32> {
    asked.into_iter().map(i32::from).collect()
}

impl End {
    /// Without more than that.
    fn of(open: &Open, outcome: Outcome) -> Self {
        let (seq, started, asked) = (open.seq, open.started, open.asked.clone());
        Self { seq, started, outcome, rows: 0, bytes: 0, sqlstate: String::new(), used: None, masking: None, asked }
    }
}

impl Journal {
    /// Begins a session's records.
    #[must_use]
    pub fn new(recorder: Rc<Recorder>, facts: SessionFacts) -> Self {
        let session = Session::new(facts);
        Self { recorder, session, seq: 0, open: VecDeque::new(), unflushed: None, asked: BTreeSet::new() }
    }

    /// Records a decision, or continues the record of the statement's Parse where that says the same, and gives its number.
    /// The text stands in the record as it was `redacted`, or as it is.
    ///
    /// # Errors
    /// When it cannot be recorded: the statement must not run.
    pub fn decided(
        &mut self,
        statement: &Statement,
        decision: &Decision,
        redacted: Option<&Redacted>,
    ) -> Result<u64, OutboxError> {
        let basis = decision.basis.as_ref().map(|basis| &basis.kept);
        let masks = masks(&decision.answer);
        if let (Some(seq), Answer::Allow(_), None) = (statement.adopted, &decision.answer, &decision.review)
            && let Some(open) = self.find(seq).and_then(|index| self.open.get_mut(index))
            && is_same(open.basis.as_ref(), basis)
        {
            open.kind = StatementKind::Execute;
            open.started = Instant::now();
            open.masks = masks;
            open.asked.append(&mut self.asked);
            return Ok(seq);
        }
        self.seq += 1;
        let seq = self.seq;
        let (code, reason, sqlstate) = match &decision.answer {
            Answer::Allow(_) => (proto::Decision::Allow, String::new(), String::new()),
            Answer::Deny(report) => (proto::Decision::Deny, report.message.clone(), report.sqlstate.clone()),
        };
        let reason = if let Some(redacted) = redacted { redacted.reason(&reason) } else { reason };
        let refused = (code == proto::Decision::Deny).then(|| sqlstate.clone());
        let (kept, basis) = (basis.cloned(), decision.basis.as_ref());
        // The very moment that policies have read, so that they can be asked again.
        let at_us = basis.map_or_else(|| Micros::now().0, |basis| basis.moment.now.0);
        let utc_offset = basis.map_or(0, |basis| basis.moment.offset);
        let kind = statement.kind;
        let review_id = decision.review.as_deref().unwrap_or_default().to_owned();
        let text = redacted.map_or(&statement.prepared.text, |redacted| &redacted.text);
        let refers = Refers { text: Some(text), basis: basis.map(|basis| &basis.kept.text) };
        self.recorder.record(&self.session, refers, |references| {
            Record::Decided(StatementDecided {
                session_ref: references.session,
                seq,
                at_us,
                kind: kind.into(),
                text_ref: references.text,
                decision: code.into(),
                reason,
                sqlstate,
                basis_ref: references.basis,
                utc_offset,
                review_id,
            })
        })?;
        let asked = std::mem::take(&mut self.asked);
        self.open.push_back(Open { seq, kind, started: Instant::now(), refused, basis: kept, masks, asked });
        self.unflushed = Some(self.recorder.appended());
        Ok(seq)
    }

    /// Records that a statement is about to be tried for those who decide on it, and gives that a number of its own.
    ///
    /// # Errors
    /// When it cannot be recorded: it must not be tried.
    pub fn tries(&mut self, statement: &Statement, redacted: Option<&Redacted>) -> Result<u64, OutboxError> {
        let prepared = Rc::clone(&statement.prepared);
        let tried = Statement { kind: StatementKind::Preview, prepared, adopted: None };
        self.decided(&tried, &Decision::ALLOW, redacted)
    }

    /// What came of it.
    pub fn tried(&mut self, seq: u64, preview: &EffectPreview) {
        let Some(open) = self.take(seq) else { return };
        let (outcome, rows, sqlstate) = match &preview.result {
            Some(Told::Effect(effect)) => (Outcome::Ok, effect.rows, String::new()),
            Some(Told::Fails(error)) => (Outcome::Error, 0, error.sqlstate.clone()),
            Some(Told::NotMade(_)) | None => (Outcome::Ok, 0, String::new()),
        };
        self.put_end(End { rows, sqlstate, ..End::of(&open, outcome) });
    }

    /// The server is asked something for the statement that is decided next: that is recorded with it.
    pub fn asks(&mut self, query: OwnQuery) {
        self.asked.insert(query);
    }

    /// Records the values with which a statement is run.
    ///
    /// # Errors
    /// When they cannot be recorded: the statement must not run.
    pub fn bound(&mut self, seq: u64, bound: Bound) -> Result<(), OutboxError> {
        let Bound { values, omitted, .. } = bound;
        self.recorder.record(&self.session, Refers::default(), |references| {
            Record::Bound(StatementBound { session_ref: references.session, seq, values, omitted })
        })?;
        self.unflushed = Some(self.recorder.appended());
        Ok(())
    }

    /// Ready once what was decided is durable.
    ///
    /// # Errors
    /// When it cannot be: nothing of it may run.
    pub fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), OutboxError>> {
        let Some(records) = self.unflushed else { return Poll::Ready(Ok(())) };
        let flushed = ready!(self.recorder.poll_flushed(records, cx));
        self.unflushed = None;
        Poll::Ready(flushed)
    }

    /// Records an end, and what it took of the grant's budget. It rides along with the next write.
    pub fn ended(&mut self, ended: Ended<u64>, took: Took) {
        let Some(open) = self.take(ended.statement) else {
            return;
        };
        let (outcome, sqlstate) = match (ended.outcome, open.refused.clone()) {
            (tracker::Outcome::Ok, _) => (Outcome::Ok, String::new()),
            // What the server said of the message that stood in for it is of no interest.
            (tracker::Outcome::Error(_), Some(sqlstate)) => (Outcome::Error, sqlstate),
            (tracker::Outcome::Error(code), None) => (Outcome::Error, String::from_utf8_lossy(&code).into_owned()),
            (tracker::Outcome::Skipped, _) => (Outcome::Skipped, String::new()),
        };
        let masking = open.masks.as_deref().and_then(|masks| masking(masks, &took.masked));
        let (rows, bytes, used) = (ended.rows, ended.bytes, took.used);
        let mut end = End { rows, bytes, sqlstate, used, masking, ..End::of(&open, outcome) };
        end.asked.extend(took.counted.then_some(OwnQuery::Counts));
        self.put_end(end);
    }

    /// The session is over, and nobody knows what became of a statement; only what it took of the grant's budget.
    pub fn unfinished(&mut self, seq: u64, took: Took) {
        if let Some(open) = self.take(seq) {
            let Usage { rows_read: rows, bytes_out: bytes, .. } = took.used.unwrap_or_default();
            let masking = open.masks.as_deref().and_then(|masks| masking(masks, &took.masked));
            let mut end = End { rows, bytes, used: took.used, masking, ..End::of(&open, Outcome::Unknown) };
            end.asked.extend(took.counted.then_some(OwnQuery::Counts));
            self.put_end(end);
        }
    }

    fn find(&self, seq: u64) -> Option<usize> {
        self.open.binary_search_by_key(&seq, |open| open.seq).ok()
    }

    fn take(&mut self, seq: u64) -> Option<Open> {
        self.find(seq).and_then(|index| self.open.remove(index))
    }

    /// What a Parse prepared is gone, and was never executed.
    pub fn never_executed(&mut self, seq: u64) {
        if let Some(open) = self.take(seq) {
            self.put_end(End::of(&open, Outcome::Prepared));
        }
    }

    fn put_end(&mut self, end: End) {
        let End { seq, started, outcome, rows, bytes, sqlstate, used, masking, asked } = end;
        let duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let outcome = outcome.into();
        let recorded = self.recorder.record(&self.session, Refers::default(), |references| {
            let session_ref = references.session;
            let asked = numbers(asked);
            let ended =
                StatementEnded { session_ref, seq, duration_us, outcome, rows, bytes, sqlstate, used, masking, asked };
            Record::Ended(ended)
        });
        if let Err(error) = recorded {
            // The decision is on record; the next one will fail and end the session.
            tracing::error!(%error, session = self.session.id(), seq, "a statement's end could not be recorded");
        }
    }

    /// The session is over.
    pub fn finish(&mut self, reason: &str) {
        for open in std::mem::take(&mut self.open) {
            let outcome = if open.kind == StatementKind::Parse { Outcome::Prepared } else { Outcome::Unknown };
            self.put_end(End::of(&open, outcome));
        }
        let (at_us, statements, reason) = (Micros::now().0, self.seq, reason.to_owned());
        let asked = numbers(std::mem::take(&mut self.asked));
        let recorded = self.recorder.record(&self.session, Refers::default(), |references| {
            Record::SessionEnded(SessionEnded { session_ref: references.session, at_us, reason, statements, asked })
        });
        if let Err(error) = recorded.and_then(|()| self.recorder.flush()) {
            tracing::error!(%error, session = self.session.id(), "a session's end could not be recorded");
        }
    }
}

fn masks(answer: &Answer) -> Option<Rc<Masks>> {
    match answer {
        Answer::Allow(Some(terms)) => terms.masks.clone(),
        Answer::Allow(None) | Answer::Deny(_) => None,
    }
}

/// What there is to record of masked columns, where a statement uses any.
fn masking(masks: &Masks, done: &[Vec<Done>]) -> Option<Masking> {
    let texts = |texts: &BTreeSet<Arc<str>>| texts.iter().map(ToString::to_string).collect();
    let mut masking = Masking::default();
    for (at, statement) in masks.statements.iter().enumerate() {
        let Some(statement) = statement else { continue };
        for (place, column) in statement.result.columns.iter().enumerate() {
            let Some(Cover { mask, columns, tags, .. }) = &column.cover else { continue };
            masking.columns.push(MaskedColumn {
                name: column.name.to_string(),
                columns: texts(columns),
                tags: texts(tags),
                mask: mask.unwrap_or(Mask::Redact).to_string(),
                values: done.get(at).and_then(|done| done.get(place)).map_or(0, |done| done.values),
            });
        }
        masking.shown.extend(statement.shown.iter().map(|Shown { column, tags, policies }| ShownColumn {
            column: column.to_string(),
            tags: texts(tags),
            policies: policies.iter().map(ToString::to_string).collect(),
        }));
    }
    let all = done.iter().flatten().fold(Done::default(), |all, done| all.and(*done));
    masking.values = all.values;
    let detected =
        all.found.kinds().map(|(detector, found)| Detected { detector: detector.as_str().to_owned(), found });
    masking.detected.extend(detected);
    (masking != Masking::default()).then_some(masking)
}

/// Whether two decisions rest on the same.
fn is_same(one: Option<&Rc<Kept>>, other: Option<&Rc<Kept>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Rc::ptr_eq(one, other) || one.text.bytes() == other.text.bytes(),
        (None, None) => true,
        _ => false,
    }
}
