//! Browsers' sessions, by the fingerprint of their cookie.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_types::{id::TokenId, time::Micros};

/// A browser's session.
#[derive(Debug)]
pub struct WebSessionRow {
    /// The token that it was begun with.
    pub token_id: TokenId,
    /// When it was begun.
    pub created_at: Micros,
    /// When it was last used, to the minute.
    pub last_used_at: Micros,
}

fn read(row: &Row) -> Result<WebSessionRow, StoreError> {
    Ok(WebSessionRow {
        token_id: row.parse("token_id")?,
        created_at: row.time("created_at")?,
        last_used_at: row.time("last_used_at")?,
    })
}

/// Writes a new session.
pub async fn insert(tx: &mut Tx, fingerprint: &str, token: &TokenId, now: Micros) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO web_sessions (fingerprint, token_id, created_at, last_used_at) VALUES ($1, $2, $3, $3)",
        values![fingerprint, token, now],
    )
    .await?;
    Ok(())
}

/// The session of that fingerprint.
pub async fn by_fingerprint(tx: &mut Tx, fingerprint: &str) -> Result<Option<WebSessionRow>, StoreError> {
    let sql = "SELECT token_id, created_at, last_used_at FROM web_sessions WHERE fingerprint = $1";
    tx.row(sql, values![fingerprint]).await?.as_ref().map(read).transpose()
}

/// Notes that a session was used.
pub async fn touch(tx: &mut Tx, fingerprint: &str, now: Micros) -> Result<(), StoreError> {
    tx.execute("UPDATE web_sessions SET last_used_at = $2 WHERE fingerprint = $1", values![fingerprint, now]).await?;
    Ok(())
}

/// Removes a session; false when it was not there.
pub async fn remove(tx: &mut Tx, fingerprint: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM web_sessions WHERE fingerprint = $1", values![fingerprint]).await? > 0)
}

/// Removes all that were begun before then.
pub async fn remove_begun_before(tx: &mut Tx, then: Micros) -> Result<(), StoreError> {
    tx.execute("DELETE FROM web_sessions WHERE created_at < $1", values![then]).await?;
    Ok(())
}
