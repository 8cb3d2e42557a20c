//! What is kept of a connector's segment besides the segment: found in one pass, with one record in memory at a time.

use crate::store::{
    StoreError,
    overview::{Count, Counted},
};
use postern_audit::segment;
use postern_proto::v1::{Decision, SessionFacts, StatementEnded, StatementKind, Usage, audit_record::Record};
use postern_types::time::Micros;
use std::collections::{BTreeMap, HashMap, HashSet};

const HOUR_US: i64 = 3_600_000_000;

/// Of one segment.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// The earliest and the latest moment that an event carries.
    times: Option<(i64, i64)>,
    events: i64,
    sessions: Vec<Session>,
    /// Where in `sessions` is what a record refers to.
    places: HashMap<u32, usize>,
}

/// What a segment says of one session.
#[derive(Debug)]
struct Session {
    id: String,
    principal_id: String,
    connection: String,
    hours: BTreeMap<i64, Count>,
    masked: u64,
    /// Of its grant's budget, where it has one.
    used: Option<Usage>,
}

impl Summary {
    /// Of a packed segment.
    ///
    /// # Errors
    /// When it is damaged, or records what no connector can know.
    pub(super) fn of(payload: &[u8]) -> Result<Self, StoreError> {
        let frames = segment::unpack(payload).map_err(StoreError::Audit)?;
        let mut summary = Self::default();
        for record in segment::records(&frames) {
            if let Some(record) = record.map_err(StoreError::Audit)?.record {
                summary.add(record)?;
            }
        }
        Ok(summary)
    }

    fn add(&mut self, record: Record) -> Result<(), StoreError> {
        match record {
            Record::Session(facts) => {
                self.begin(facts);
                return Ok(());
            }
            Record::Text(_) | Record::Basis(_) => return Ok(()),
            // What happens in the control plane is recorded by it alone: a connector that says so lies.
            Record::Control(_) => {
                return Err(StoreError::corrupt("audit segment", "it holds an event of the control plane"));
            }
            Record::Decided(decided) => {
                self.at(decided.at_us);
                // What is tried for reviewers is not the client's.
                if decided.kind() != StatementKind::Preview
                    && let Some(session) = self.session(decided.session_ref)
                {
                    let hour = decided.at_us.saturating_sub(decided.at_us.rem_euclid(HOUR_US));
                    let sum = session.hours.entry(hour).or_default();
                    sum.statements = sum.statements.saturating_add(1);
                    sum.denied = sum.denied.saturating_add(u64::from(decided.decision() == Decision::Deny));
                }
            }
            Record::Ended(ended) => {
                if let Some(session) = self.session(ended.session_ref) {
                    session.ended(&ended);
                }
            }
            Record::SessionEnded(ended) => self.at(ended.at_us),
            Record::OwnWork(work) => self.at(work.at_us),
            Record::Bound(_) => {}
        }
        self.events = self.events.saturating_add(1);
        Ok(())
    }

    fn begin(&mut self, facts: SessionFacts) {
        // A reference that is defined again means the later one from then on.
        self.places.insert(facts.r#ref, self.sessions.len());
        self.sessions.push(Session {
            id: facts.session_id,
            principal_id: facts.principal.map(|principal| principal.id).unwrap_or_default(),
            connection: facts.connection,
            hours: BTreeMap::new(),
            masked: 0,
            used: None,
        });
    }

    fn at(&mut self, moment: i64) {
        let (first, last) = self.times.unwrap_or((moment, moment));
        self.times = Some((first.min(moment), last.max(moment)));
    }

    fn session(&mut self, reference: u32) -> Option<&mut Session> {
        self.sessions.get_mut(*self.places.get(&reference)?)
    }

    /// How many events there are.
    pub(super) fn events(&self) -> i64 {
        self.events
    }

    /// The time that the events span. The end of a statement carries no time of its own, so a segment without any other event
    /// spans the moment of its arrival.
    pub(super) fn span(&self, now: Micros) -> (Micros, Micros) {
        self.times.map_or((now, now), |(first, last)| (Micros(first), Micros(last)))
    }

    /// The ids of the sessions of which it speaks.
    pub(super) fn ids(&self) -> HashSet<String> {
        self.sessions.iter().map(|session| session.id.clone()).collect()
    }

    /// What each session has used of its grant's budget, where it has one.
    pub(super) fn usage(&self) -> BTreeMap<&str, Usage> {
        let mut usage: BTreeMap<&str, Usage> = BTreeMap::new();
        for session in &self.sessions {
            if let Some(used) = &session.used {
                add(usage.entry(&session.id).or_default(), used);
            }
        }
        usage
    }

    /// What it adds to the overview, by the hour. The end of a statement counts with the segment, which ends at `last_at`.
    pub(super) fn counts(&self, last_at: Micros) -> BTreeMap<Counted, Count> {
        let mut counts: BTreeMap<Counted, Count> = BTreeMap::new();
        for Session { principal_id, connection, hours, masked, .. } in &self.sessions {
            let ends = (
                last_at.0.saturating_sub(last_at.0.rem_euclid(HOUR_US)),
                Count { masked: *masked, ..Count::default() },
            );
            let ends = (*masked > 0).then_some(ends);
            for (hour, more) in hours.iter().map(|(hour, count)| (*hour, *count)).chain(ends) {
                let (principal_id, connection) = (principal_id.clone(), connection.clone());
                let sum = counts.entry(Counted { hour: Micros(hour), principal_id, connection }).or_default();
                sum.statements = sum.statements.saturating_add(more.statements);
                sum.denied = sum.denied.saturating_add(more.denied);
                sum.masked = sum.masked.saturating_add(more.masked);
            }
        }
        counts
    }
}

impl Session {
    fn ended(&mut self, ended: &StatementEnded) {
        let masked = ended.masking.as_ref().map_or(0, |masking| masking.values);
        self.masked = self.masked.saturating_add(masked);
        if let Some(used) = &ended.used {
            add(self.used.get_or_insert_default(), used);
        }
    }
}

fn add(sum: &mut Usage, used: &Usage) {
    sum.statements = sum.statements.saturating_add(used.statements);
    sum.rows_read = sum.rows_read.saturating_add(used.rows_read);
    sum.rows_written = sum.rows_written.saturating_add(used.rows_written);
    sum.bytes_out = sum.bytes_out.saturating_add(used.bytes_out);
}
