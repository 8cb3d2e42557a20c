//! The audit: segments of records, from connectors and from the control plane itself.
//!
//! What happens here is recorded in the transaction that makes it happen, so that neither is there without the
//! other. `summary` finds what is kept of a connector's segment besides it, [`search`] reads segments back, newest
//! first, and [`export`] writes all that a search finds.

pub mod export;
pub mod search;
mod summary;

use crate::{
    notify,
    store::{self, Store, StoreError, Tx},
};
use postern_api::{
    event::Subject,
    identity::{PrincipalKind, PrincipalRef},
};
use postern_audit::segment;
use postern_proto::v1::{self, AuditRecord, ControlEvent, audit_record::Record};
use postern_types::{id::SegmentId, time::Micros};
use serde_json::Value;
use std::collections::HashSet;
use summary::Summary;

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
    let checked = tokio::task::spawn_blocking(move || Ok::<_, StoreError>((Summary::of(&payload)?, payload)));
    let (summary, payload) = checked.await.map_err(|error| StoreError::corrupt("audit segment", error))??;
    let mut tx = store.begin().await?;
    source.check(&mut tx, &summary.ids()).await?;
    let (first_at, last_at) = summary.span(now);
    let segment = store::audit::NewSegment {
        source: &source.connector_id,
        segment_id,
        first_at,
        last_at,
        events: summary.events(),
        payload: &payload,
    };
    let stored = store::audit::insert(&mut tx, &segment).await?;
    if stored {
        for (session, used) in summary.usage() {
            store::access::use_up(&mut tx, session, &used).await?;
        }
        for (of, count) in summary.counts(last_at) {
            store::overview::add(&mut tx, &of, count).await?;
        }
    }
    tx.commit().await?;
    Ok(if stored { Appended::Stored } else { Appended::Duplicate })
}
