//! What is good for once: states of sign-ins that were begun, ids of messages that were taken.

use super::{StoreError, Tx};
use crate::values;
use postern_types::time::Micros;

/// The most of one kind: anybody can begin to sign in, and nobody fills the database by that.
const MOST: i64 = 10_000;

/// Keeps something under a name; false when there is that name already, or too much of that kind.
pub async fn put(
    tx: &mut Tx,
    kind: &str,
    name: &str,
    content: &str,
    expires_at: Micros,
    now: Micros,
) -> Result<bool, StoreError> {
    tx.execute("DELETE FROM one_time WHERE expires_at <= $1", values![now]).await?;
    let row = tx.row("SELECT COUNT(*) AS kept FROM one_time WHERE kind = $1", values![kind]).await?;
    if row.map(|row| row.get::<i64>("kept")).transpose()?.unwrap_or(0) >= MOST {
        return Ok(false);
    }
    let written = tx
        .execute(
            "INSERT INTO one_time (kind, name, content, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            values![kind, name, content, expires_at],
        )
        .await?;
    Ok(written > 0)
}

/// Takes what is under a name; none when it was taken before or its time is over.
pub async fn take(tx: &mut Tx, kind: &str, name: &str, now: Micros) -> Result<Option<String>, StoreError> {
    let row = tx
        .row("SELECT content FROM one_time WHERE kind = $1 AND name = $2 AND expires_at > $3", values![kind, name, now])
        .await?;
    let Some(row) = row else { return Ok(None) };
    // Of two that take it at once, one has removed it.
    let removed = tx.execute("DELETE FROM one_time WHERE kind = $1 AND name = $2", values![kind, name]).await?;
    if removed == 0 { Ok(None) } else { row.get("content").map(Some) }
}
