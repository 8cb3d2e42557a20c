//! What time does to reviews: they expire, others may answer, and they end with what they were asked under.

use super::{ask, close, record};
use crate::store::{
    Store, StoreError, Tx, access,
    reviews::{self as rows, ReviewRow},
    sessions,
};
use postern_api::review::ReviewStatus;
use postern_types::time::Micros;
use serde_json::json;

/// How many one transaction takes.
const BATCH: u32 = 100;

/// Does all that is due.
///
/// # Errors
/// When the store fails.
pub async fn run(store: &Store, now: Micros) -> Result<(), StoreError> {
    let mut read = store.read().await?;
    let due = rows::due(&mut read, now, BATCH).await?;
    let gone = rows::waits_of_ended(&mut read, BATCH).await?;
    drop(read);
    if due.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    for id in &due {
        if let Some(row) = rows::lock(&mut tx, id).await? {
            advance(&mut tx, &row, now).await?;
        }
    }
    for wait in gone {
        ask::leave(&mut tx, &wait.session, &wait.review, Some(ask::SESSION_ENDED), now).await?;
    }
    tx.commit().await
}

/// What is due for one: nothing where another replica was faster.
async fn advance(tx: &mut Tx, row: &ReviewRow, now: Micros) -> Result<(), StoreError> {
    let waits = row.status == ReviewStatus::Pending;
    if !waits && row.status != ReviewStatus::Approved {
        return Ok(());
    }
    let grant = access::grant(tx, &row.grant_id).await?;
    let session = sessions::by_id(tx, &row.session_id).await?;
    let killed = session.is_some_and(|session| session.end_reason.as_deref() == Some(sessions::KILLED));
    if grant.is_none_or(|grant| grant.ended_at.is_some()) {
        close(tx, row, ReviewStatus::Withdrawn, Some("its grant ended"), None, now).await?;
    } else if killed {
        close(tx, row, ReviewStatus::Withdrawn, Some("its session was killed"), None, now).await?;
    } else if row.expires_at <= now {
        let because = if waits { "nobody answered in time" } else { "it was not run in time" };
        close(tx, row, ReviewStatus::Expired, Some(because), None, now).await?;
    } else if waits && row.escalated_at.is_none() && row.escalate_at.is_some_and(|at| at <= now) {
        rows::escalated(tx, &row.id, now).await?;
        record(tx, "review.escalated", None, row, json!({ "to": row.escalate_to }), now).await?;
    }
    Ok(())
}
