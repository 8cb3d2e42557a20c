//! Audit segments, as they came.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_types::time::Micros;

/// A segment that is to be stored.
#[derive(Debug)]
pub struct NewSegment<'a> {
    /// A connector's id, or `control-plane`.
    pub source: &'a str,
    /// Unique for the source.
    pub segment_id: &'a str,
    /// The time of its first event.
    pub first_at: Micros,
    /// The time of its last event.
    pub last_at: Micros,
    /// How many events it has.
    pub events: i64,
    /// The records, packed.
    pub payload: &'a [u8],
}

/// A segment, as stored.
#[derive(Debug)]
pub struct SegmentRow {
    /// Its number in the store.
    pub id: i64,
    /// Whose it is: a connector's id, or the control plane.
    pub source: String,
    /// The time of its last event.
    pub last_at: Micros,
    /// The records, packed.
    pub payload: Vec<u8>,
}

/// Which segments to read, newest first.
#[derive(Clone, Copy, Debug)]
pub struct SegmentPage {
    /// Those of the control plane itself.
    pub control: bool,
    /// Those of connectors.
    pub connectors: bool,
    /// With events from then on.
    pub since: Micros,
    /// With events before then.
    pub until: Micros,
    /// Older than this one: its last event's time and its number.
    pub before: (Micros, i64),
    /// At most so many.
    pub limit: u32,
}

/// Stores a segment; false when it was stored before.
pub async fn insert(tx: &mut Tx, segment: &NewSegment<'_>) -> Result<bool, StoreError> {
    let NewSegment { source, segment_id, first_at, last_at, events, payload } = *segment;
    let stored = tx
        .execute(
            "INSERT INTO audit_segments (source, segment_id, first_at_us, last_at_us, events, payload) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            values![source, segment_id, first_at, last_at, events, payload],
        )
        .await?;
    Ok(stored > 0)
}

/// A page of segments, newest first.
pub async fn page(tx: &mut Tx, page: &SegmentPage) -> Result<Vec<SegmentRow>, StoreError> {
    let (before_at, before_id) = page.before;
    let rows = tx
        .rows(
            "SELECT id, source, last_at_us, payload FROM audit_segments \
             WHERE last_at_us >= $1 AND first_at_us < $2 \
             AND (last_at_us < $3 OR (last_at_us = $3 AND id < $4)) \
             AND ((source = 'control-plane' AND $5) OR (source <> 'control-plane' AND $6)) \
             ORDER BY last_at_us DESC, id DESC LIMIT $7",
            values![page.since, page.until, before_at, before_id, page.control, page.connectors, page.limit],
        )
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<SegmentRow, StoreError> {
    Ok(SegmentRow {
        id: row.get("id")?,
        source: row.get("source")?,
        last_at: row.time("last_at_us")?,
        payload: row.get("payload")?,
    })
}
