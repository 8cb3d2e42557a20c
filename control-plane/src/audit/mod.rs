//! The audit: segments of records, from connectors and from the control plane itself.
//!
//! What happens here is recorded in the transaction that makes it happen, so that neither is there without the
//! other. [`search`] reads segments back, newest first; [`export`] writes all
//! that a search finds.

pub mod export;
pub mod search;

use crate::{
    notify,
    store::{
        self, Store, StoreError, Tx,
        overview::{Count, Counted},
    },
};
use postern_api::{
    event::Subject,
    identity::{PrincipalKind, PrincipalRef},
};
use postern_audit::segment;
use postern_proto::v1::{self, AuditRecord, ControlEvent, Decision, StatementKind, Usage, audit_record::Record};
use postern_types::{id::SegmentId, time::Micros};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The source of the control plane's own segments.
pub const CONTROL_PLANE: &str = "control-plane";

/// Something that happened in the control plane.
#[derive(Clone, Debug)]
pub struct Event(ControlEvent);

impl Event {
    /// `action` such as `request.approved`; `subject` an id or `kind/name`; `detail` facts without a secret. No
    /// actor: Postern itself.
    #[must_use]
    pub fn new(at: Micros, action: &str, actor: Option<&PrincipalRef>, subject: &str, detail: &Value) -> Self {
        Self(ControlEvent {
            at_us: at.0,
            action: action.to_owned(),
            actor: actor.map(principal),
            subject: subject.to_owned(),
            detail: detail.to_string(),
        })
    }
}

impl From<Event> for ControlEvent {
    fn from(event: Event) -> Self {
        event.0
    }
}

/// A principal as the protocol writes it.
#[must_use]
pub fn principal(principal: &PrincipalRef) -> v1::Principal {
    let kind = match principal.kind {
        PrincipalKind::User => v1::principal::Kind::User,
        PrincipalKind::Agent => v1::principal::Kind::Agent,
    };
    v1::Principal { kind: kind.into(), id: principal.id.to_string(), name: principal.name.clone() }
}

/// Records an event in the transaction that makes it happen, and queues what people are told of it.
///
/// # Errors
/// When the store fails; the transaction is then to be given up.
pub async fn append_control(tx: &mut Tx, event: impl Into<ControlEvent>) -> Result<(), StoreError> {
    let event = event.into();
    notify::queue(tx, &event).await?;
    if let Some(subject) = Subject::of_action(&event.action) {
        tx.note(subject, &event.subject);
    }
    let at = Micros(event.at_us);
    let record = AuditRecord { record: Some(Record::Control(event)) };
    let payload = segment::encode(&[record]).map_err(StoreError::Audit)?;
    let segment_id = SegmentId::new();
    let segment = store::audit::NewSegment {
        source: CONTROL_PLANE,
        segment_id: segment_id.as_str(),
        first_at: at,
        last_at: at,
        events: 1,
        payload: &payload,
    };
    store::audit::insert(tx, &segment).await?;
    Ok(())
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is stored.
    Stored,
    /// It was stored before.
    Duplicate,
}

/// Sessions remembered at once for one connector's stream of segments.
const MAX_REMEMBERED: usize = 10_000;

/// Whose segments are stored: a connector, which speaks of its own sessions and of no other's.
#[derive(Debug)]
pub struct Source {
    connector_id: String,
    /// Its sessions, as far as they were looked up. One that is its own stays so for ever.
    sessions: HashSet<String>,
}

impl Source {
    /// The connector of that identity.
    #[must_use]
    pub fn new(connector_id: String) -> Self {
        Self { connector_id, sessions: HashSet::new() }
    }

    /// Refuses sessions that are not this connector's.
    async fn check(&mut self, tx: &mut Tx, sessions: &HashSet<String>) -> Result<(), StoreError> {
        let new: Vec<_> = sessions.difference(&self.sessions).map(String::as_str).collect();
        if new.is_empty() {
            return Ok(());
        }
        let known = store::sessions::known_at(tx, &self.connector_id, &new).await?;
        if known.len() < new.len() {
            return Err(StoreError::corrupt("audit segment", "it speaks of a session that is not its connector's"));
        }
        if self.sessions.len() + known.len() > MAX_REMEMBERED {
            self.sessions.clear();
        }
        self.sessions.extend(known);
        Ok(())
    }
}

/// Stores a connector's segment, once. Returns when it is durable.
///
/// # Errors
/// When the segment is damaged, records what its connector cannot know, or the store fails: it is not to be
/// acknowledged.
pub async fn append_segment(
    store: &Store,
    source: &mut Source,
    segment_id: &str,
    payload: Vec<u8>,
    now: Micros,
) -> Result<Appended, StoreError> {
    // Unpacking takes a while for a full segment: not on a thread that serves others.
    let checked = tokio::task::spawn_blocking(move || {
        let records = segment::decode(&payload).map_err(StoreError::Audit)?;
        // What happens in the control plane is recorded by it alone: a connector that says so lies.
        if records.iter().any(|record| matches!(record.record, Some(Record::Control(_)))) {
            return Err(StoreError::corrupt("audit segment", "it holds an event of the control plane"));
        }
        let span = span(&records, now);
        let counts = counts(&records, span.last_at);
        Ok((span, counts, usage(&records), sessions(records), payload))
    });
    let (span, counts, usage, sessions, payload) =
        checked.await.map_err(|error| StoreError::corrupt("audit segment", error))??;
    let mut tx = store.begin().await?;
    source.check(&mut tx, &sessions).await?;
    let segment = store::audit::NewSegment {
        source: &source.connector_id,
        segment_id,
        first_at: span.first_at,
        last_at: span.last_at,
        events: span.events,
        payload: &payload,
    };
    let stored = store::audit::insert(&mut tx, &segment).await?;
    if stored {
        for (session, used) in usage {
            store::access::use_up(&mut tx, &session, &used).await?;
        }
        for (of, count) in counts {
            store::overview::add(&mut tx, &of, count).await?;
        }
    }
    tx.commit().await?;
    Ok(if stored { Appended::Stored } else { Appended::Duplicate })
}

/// The ids of the sessions of which a segment speaks.
fn sessions(records: Vec<AuditRecord>) -> HashSet<String> {
    let id = |record: AuditRecord| match record.record {
        Some(Record::Session(facts)) => Some(facts.session_id),
        _ => None,
    };
    records.into_iter().filter_map(id).collect()
}

/// What each session of a segment has used of its grant's budget, where it has one.
fn usage(records: &[AuditRecord]) -> BTreeMap<String, Usage> {
    let mut ids = HashMap::new();
    let mut usage: BTreeMap<String, Usage> = BTreeMap::new();
    for record in records.iter().filter_map(|record| record.record.as_ref()) {
        match record {
            Record::Session(facts) => drop(ids.insert(facts.r#ref, &facts.session_id)),
            Record::Ended(ended) => {
                if let (Some(id), Some(used)) = (ids.get(&ended.session_ref), &ended.used) {
                    let sum = usage.entry((*id).clone()).or_default();
                    sum.statements = sum.statements.saturating_add(used.statements);
                    sum.rows_read = sum.rows_read.saturating_add(used.rows_read);
                    sum.rows_written = sum.rows_written.saturating_add(used.rows_written);
                    sum.bytes_out = sum.bytes_out.saturating_add(used.bytes_out);
                }
            }
            _ => {}
        }
    }
    usage
}

/// What a segment's statements add to the overview, by the hour. The end of a statement carries no time of its own: it counts
/// with the segment.
fn counts(records: &[AuditRecord], last_at: Micros) -> BTreeMap<Counted, Count> {
    const HOUR_US: i64 = 3_600_000_000;
    let mut sessions = HashMap::new();
    let mut counts: BTreeMap<Counted, Count> = BTreeMap::new();
    let mut add = |of: Option<&(String, String)>, at: i64, more: Count| {
        let Some((principal_id, connection)) = of.cloned() else { return };
        let hour = Micros(at.saturating_sub(at.rem_euclid(HOUR_US)));
        let sum = counts.entry(Counted { hour, principal_id, connection }).or_default();
        sum.statements = sum.statements.saturating_add(more.statements);
        sum.denied = sum.denied.saturating_add(more.denied);
        sum.masked = sum.masked.saturating_add(more.masked);
    };
    for record in records.iter().filter_map(|record| record.record.as_ref()) {
        match record {
            Record::Session(facts) => {
                let whose = facts.principal.as_ref().map(|principal| principal.id.clone()).unwrap_or_default();
                sessions.insert(facts.r#ref, (whose, facts.connection.clone()));
            }
            // What is tried for reviewers is not the client's.
            Record::Decided(decided) if decided.kind() != StatementKind::Preview => {
                let denied = u64::from(decided.decision() == Decision::Deny);
                let of = sessions.get(&decided.session_ref);
                add(of, decided.at_us, Count { statements: 1, denied, masked: 0 });
            }
            Record::Ended(ended) => {
                let masked = ended.masking.as_ref().map_or(0, |masking| masking.values);
                if masked > 0 {
                    add(sessions.get(&ended.session_ref), last_at.0, Count { masked, ..Count::default() });
                }
            }
            _ => {}
        }
    }
    counts
}

struct Span {
    first_at: Micros,
    last_at: Micros,
    events: i64,
}

/// The time that a segment's events span. The end of a statement carries no time of its own, so a segment without
/// any other event spans the moment of its arrival.
fn span(records: &[AuditRecord], now: Micros) -> Span {
    let at = |record: &AuditRecord| match record.record.as_ref()? {
        Record::Decided(decided) => Some(decided.at_us),
        Record::SessionEnded(ended) => Some(ended.at_us),
        Record::Control(event) => Some(event.at_us),
        Record::OwnWork(work) => Some(work.at_us),
        Record::Session(_) | Record::Text(_) | Record::Basis(_) | Record::Bound(_) | Record::Ended(_) => None,
    };
    let is_event = |record: &&AuditRecord| {
        let record = record.record.as_ref();
        !record.is_none_or(|record| matches!(record, Record::Session(_) | Record::Text(_) | Record::Basis(_)))
    };
    let times = || records.iter().filter_map(at);
    Span {
        first_at: Micros(times().min().unwrap_or(now.0)),
        last_at: Micros(times().max().unwrap_or(now.0)),
        events: i64::try_from(records.iter().filter(is_event).count()).unwrap_or(i64::MAX),
    }
}
