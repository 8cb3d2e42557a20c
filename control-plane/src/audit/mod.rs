//! The audit: segments of records, from connectors and from the control plane itself.
//!
//! What happens here is recorded in the transaction that makes it happen, so that neither is there without the
//! other. [`search`] reads segments back, newest first.

pub mod search;

use crate::store::{self, Store, StoreError, Tx};
use postern_api::identity::{PrincipalKind, PrincipalRef};
use postern_audit::segment;
use postern_proto::v1::{self, AuditRecord, ControlEvent, audit_record::Record};
use postern_types::{id::SegmentId, time::Micros};
use serde_json::Value;

/// The source of the control plane's own segments.
pub const CONTROL_PLANE: &str = "control-plane";

/// Something that happened in the control plane.
#[derive(Clone, Debug)]
pub struct Event(ControlEvent);

impl Event {
    /// `action` such as `request.approved`; `subject` an id or `kind/name`; `detail` facts without a secret. No
    /// actor: Postern itself.
    #[must_use]
    pub fn new(
        at: Micros,
        action: &str,
        actor: Option<&PrincipalRef>,
        subject: &str,
        detail: &Value,
    ) -> Self {
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
    v1::Principal {
        kind: kind.into(),
        id: principal.id.to_string(),
        name: principal.name.clone(),
    }
}

/// Records an event in the transaction that makes it happen.
///
/// # Errors
/// When the store fails; the transaction is then to be given up.
pub async fn append_control(tx: &mut Tx, event: impl Into<ControlEvent>) -> Result<(), StoreError> {
    let event = event.into();
    let at = Micros(event.at_us);
    let record = AuditRecord {
        record: Some(Record::Control(event)),
    };
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

/// Stores a connector's segment, once. Returns when it is durable.
///
/// # Errors
/// When the segment is damaged or the store fails: it is not to be acknowledged.
pub async fn append_segment(
    store: &Store,
    connector_id: &str,
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
        Ok((span(&records, now), payload))
    });
    let (span, payload) =
        checked.await.map_err(|error| StoreError::corrupt("audit segment", error))??;
    let segment = store::audit::NewSegment {
        source: connector_id,
        segment_id,
        first_at: span.first_at,
        last_at: span.last_at,
        events: span.events,
        payload: &payload,
    };
    let mut tx = store.begin().await?;
    let stored = store::audit::insert(&mut tx, &segment).await?;
    tx.commit().await?;
    Ok(if stored {
        Appended::Stored
    } else {
        Appended::Duplicate
    })
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
        Record::Session(_) | Record::Text(_) | Record::Ended(_) => None,
    };
    let is_event = |record: &&AuditRecord| {
        !matches!(
            record.record,
            None | Some(Record::Session(_) | Record::Text(_))
        )
    };
    let times = || records.iter().filter_map(at);
    Span {
        first_at: Micros(times().min().unwrap_or(now.0)),
        last_at: Micros(times().max().unwrap_or(now.0)),
        events: i64::try_from(records.iter().filter(is_event).count()).unwrap_or(i64::MAX),
    }
}
