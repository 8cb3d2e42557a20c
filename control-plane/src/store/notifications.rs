//! Where people are told of events, and what is under way to them.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_api::notification::{DeliveryStatus, NotificationDocument};
use postern_types::{id::DeliveryId, time::Micros};
use std::collections::HashMap;

/// The most deliveries that are listed.
const MAX_LISTED: i64 = 1000;

/// A notification, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationRow {
    /// What was applied.
    pub document: NotificationDocument,
    /// Since when, and why, its receiver gets nothing.
    pub disabled: Option<(Micros, String)>,
}

fn read(row: &Row) -> Result<NotificationRow, StoreError> {
    let document = row.get::<String>("document")?;
    let because = row.get::<Option<String>>("disabled_because")?;
    Ok(NotificationRow {
        document: serde_json::from_str(&document).map_err(|error| StoreError::corrupt("notification", error))?,
        disabled: row.time_opt("disabled_at")?.map(|at| (at, because.unwrap_or_default())),
    })
}

/// The notification of that name.
pub async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<NotificationRow>, StoreError> {
    let row = tx
        .row("SELECT document, disabled_at, disabled_because FROM notifications WHERE name = $1", values![name])
        .await?;
    row.as_ref().map(read).transpose()
}

/// All notifications, newest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<NotificationRow>, StoreError> {
    let rows = tx
        .rows("SELECT document, disabled_at, disabled_because FROM notifications ORDER BY created_at DESC, name", [])
        .await?;
    rows.iter().map(read).collect()
}

/// Writes a notification, new or changed. One that was disabled is not any more.
pub async fn put(tx: &mut Tx, document: &NotificationDocument, now: Micros) -> Result<(), StoreError> {
    let text = serde_json::to_string(document).map_err(|error| StoreError::corrupt("notification", error))?;
    tx.execute(
        "INSERT INTO notifications (name, document, created_at, updated_at) VALUES ($1, $2, $3, $3) \
         ON CONFLICT (name) DO UPDATE SET document = $2, updated_at = $3, disabled_at = NULL, disabled_because = NULL",
        values![&document.name, text, now],
    )
    .await?;
    Ok(())
}

/// Deletes a notification, and what was under way to it.
pub async fn delete(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM notifications WHERE name = $1", values![name]).await?;
    Ok(())
}

/// Its receiver gets nothing from now on, and what was under way to it is given up.
pub async fn disable(tx: &mut Tx, name: &str, because: &str, now: Micros) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE notifications SET disabled_at = $2, disabled_because = $3 WHERE name = $1 AND disabled_at IS NULL",
        values![name, now, because],
    )
    .await?;
    tx.execute(
        "UPDATE notification_deliveries SET status = 'dead', error = $2, done_at = $3 \
         WHERE notification = $1 AND status = 'queued'",
        values![name, because, now],
    )
    .await?;
    Ok(())
}

/// Its receiver gets messages again.
pub async fn enable(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE notifications SET disabled_at = NULL, disabled_because = NULL WHERE name = $1", values![name])
        .await?;
    Ok(())
}

/// One message to one receiver, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its id.
    pub id: DeliveryId,
    /// To whom.
    pub notification: String,
    /// What it is about: one after the other is delivered.
    pub thread: String,
    /// The event.
    pub event: String,
    /// The request, review or grant.
    pub subject: String,
    /// What is told, as JSON.
    pub message: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// How many attempts have begun.
    pub attempts: u32,
    /// When it is tried next.
    pub next_at: Micros,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it was written.
    pub created_at: Micros,
    /// When it was delivered or given up.
    pub done_at: Option<Micros>,
}

macro_rules! columns {
    () => {
        "id, notification, thread, event, subject, message, status, attempts, next_at, error, created_at, done_at"
    };
}

fn read_delivery(row: &Row) -> Result<DeliveryRow, StoreError> {
    Ok(DeliveryRow {
        id: row.parse("id")?,
        notification: row.get("notification")?,
        thread: row.get("thread")?,
        event: row.get("event")?,
        subject: row.get("subject")?,
        message: row.get("message")?,
        status: row.parse("status")?,
        attempts: u32::try_from(row.get::<i64>("attempts")?).map_err(|error| StoreError::corrupt("attempts", error))?,
        next_at: row.time("next_at")?,
        error: row.get("error")?,
        created_at: row.time("created_at")?,
        done_at: row.time_opt("done_at")?,
    })
}

/// Queues a message.
pub async fn insert(tx: &mut Tx, row: &DeliveryRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO notification_deliveries (id, notification, thread, event, subject, message, status, attempts, \
         next_at, error, created_at, done_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        values![
            &row.id,
            &row.notification,
            &row.thread,
            &row.event,
            &row.subject,
            &row.message,
            row.status.as_str(),
            row.attempts,
            row.next_at,
            row.error.clone(),
            row.created_at,
            row.done_at
        ],
    )
    .await?;
    Ok(())
}

/// Whether a receiver was told of that before.
pub async fn has_thread(tx: &mut Tx, notification: &str, thread: &str) -> Result<bool, StoreError> {
    let row = tx
        .row(
            "SELECT 1 AS one FROM notification_deliveries WHERE notification = $1 AND thread = $2 LIMIT 1",
            values![notification, thread],
        )
        .await?;
    Ok(row.is_some())
}

/// The notifications for which something is due.
pub async fn due(tx: &mut Tx, now: Micros) -> Result<Vec<String>, StoreError> {
    let rows = tx
        .rows(
            "SELECT DISTINCT notification FROM notification_deliveries WHERE status = 'queued' AND next_at <= $1",
            values![now],
        )
        .await?;
    rows.iter().map(|row| row.get("notification")).collect()
}

macro_rules! claim {
    ($lock:literal) => {
        concat!(
            "UPDATE notification_deliveries SET attempts = attempts + 1, next_at = $3 WHERE seq IN (",
            "SELECT d.seq FROM notification_deliveries d ",
            "WHERE d.notification = $1 AND d.status = 'queued' AND d.next_at <= $2 AND NOT EXISTS (",
            "SELECT 1 FROM notification_deliveries e WHERE e.notification = d.notification AND e.thread = d.thread ",
            "AND e.status = 'queued' AND e.seq < d.seq) ORDER BY d.next_at, d.seq LIMIT $4",
            $lock,
            ") RETURNING ",
            columns!()
        )
    };
}

/// Takes what is due for a notification, for nobody else to take before `until`: the first of each thread.
pub async fn claim(
    tx: &mut Tx,
    notification: &str,
    now: Micros,
    until: Micros,
    limit: u32,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let sql = if tx.is_postgres() { claim!(" FOR UPDATE SKIP LOCKED") } else { claim!("") };
    let rows = tx.rows(sql, values![notification, now, until, limit]).await?;
    rows.iter().map(read_delivery).collect()
}

/// The receiver has it. False where another attempt has begun meanwhile, or it was given up: that one counts.
pub async fn delivered(tx: &mut Tx, row: &DeliveryRow, now: Micros) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE notification_deliveries SET status = 'delivered', error = NULL, done_at = $3 \
             WHERE id = $1 AND attempts = $2 AND status = 'queued'",
            values![&row.id, row.attempts, now],
        )
        .await?;
    Ok(changed > 0)
}

/// It is tried again at `next_at`. False as with [`delivered`].
pub async fn postpone(tx: &mut Tx, row: &DeliveryRow, error: &str, next_at: Micros) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE notification_deliveries SET error = $3, next_at = $4 \
             WHERE id = $1 AND attempts = $2 AND status = 'queued'",
            values![&row.id, row.attempts, error, next_at],
        )
        .await?;
    Ok(changed > 0)
}

/// It is given up. False as with [`delivered`].
pub async fn give_up(tx: &mut Tx, row: &DeliveryRow, error: &str, now: Micros) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE notification_deliveries SET status = 'dead', error = $3, done_at = $4 \
             WHERE id = $1 AND attempts = $2 AND status = 'queued'",
            values![&row.id, row.attempts, error, now],
        )
        .await?;
    Ok(changed > 0)
}

/// One that was given up is tried again, from the beginning. False: there is none.
pub async fn revive(tx: &mut Tx, id: &DeliveryId, now: Micros) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE notification_deliveries SET status = 'queued', attempts = 0, next_at = $2, done_at = NULL \
             WHERE id = $1 AND status = 'dead'",
            values![id, now],
        )
        .await?;
    Ok(changed > 0)
}

/// The delivery of that id.
pub async fn delivery(tx: &mut Tx, id: &DeliveryId) -> Result<Option<DeliveryRow>, StoreError> {
    let row =
        tx.row(concat!("SELECT ", columns!(), " FROM notification_deliveries WHERE id = $1"), values![id]).await?;
    row.as_ref().map(read_delivery).transpose()
}

/// Deliveries, newest first.
pub async fn deliveries(
    tx: &mut Tx,
    notification: Option<&str>,
    status: Option<DeliveryStatus>,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let rows = tx
        .rows(
            concat!(
                "SELECT ",
                columns!(),
                " FROM notification_deliveries WHERE ($1 IS NULL OR notification = $1) AND ($2 IS NULL OR status = $2) ",
                "ORDER BY seq DESC LIMIT $3"
            ),
            values![notification, status.map(DeliveryStatus::as_str), MAX_LISTED],
        )
        .await?;
    rows.iter().map(read_delivery).collect()
}

/// How many deliveries are there, by notification and status.
pub async fn counts(tx: &mut Tx) -> Result<HashMap<(String, DeliveryStatus), i64>, StoreError> {
    let rows = tx
        .rows(
            "SELECT notification, status, COUNT(*) AS n FROM notification_deliveries \
             WHERE status IN ('queued', 'dead') GROUP BY notification, status",
            [],
        )
        .await?;
    rows.iter().map(|row| Ok(((row.get("notification")?, row.parse("status")?), row.get("n")?))).collect()
}

/// Forgets what was delivered, and what was given up, before these times.
pub async fn forget(tx: &mut Tx, delivered_before: Micros, dead_before: Micros) -> Result<u64, StoreError> {
    tx.execute(
        "DELETE FROM notification_deliveries WHERE (status = 'delivered' AND done_at < $1) \
         OR (status = 'dead' AND done_at < $2)",
        values![delivered_before, dead_before],
    )
    .await
}

/// The message in Slack that shows how something stands: its channel and its time.
pub async fn slack_message(
    tx: &mut Tx,
    notification: &str,
    thread: &str,
) -> Result<Option<(String, String)>, StoreError> {
    let row = tx
        .row(
            "SELECT channel, ts FROM slack_messages WHERE notification = $1 AND thread = $2",
            values![notification, thread],
        )
        .await?;
    row.map(|row| Ok((row.get("channel")?, row.get("ts")?))).transpose()
}

/// Remembers the message in Slack that shows how something stands.
pub async fn put_slack_message(
    tx: &mut Tx,
    notification: &str,
    thread: &str,
    channel: &str,
    ts: &str,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO slack_messages (notification, thread, channel, ts) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (notification, thread) DO UPDATE SET channel = $3, ts = $4",
        values![notification, thread, channel, ts],
    )
    .await?;
    Ok(())
}
