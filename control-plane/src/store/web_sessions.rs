//! Browsers' sessions, by the fingerprint of their cookie.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_types::{
    id::{PrincipalId, TokenId, WebSessionId},
    time::Micros,
};

/// A browser's session.
#[derive(Debug)]
pub struct WebSessionRow {
    /// What it is listed and ended by.
    pub id: WebSessionId,
    /// Of its cookie.
    pub fingerprint: String,
    /// The token that it was begun with.
    pub token_id: TokenId,
    /// When it was begun.
    pub created_at: Micros,
    /// When it was last used, to the minute.
    pub last_used_at: Micros,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT w.id, w.fingerprint, w.token_id, w.created_at, w.last_used_at FROM web_sessions w ", $rest)
    };
}

fn read(row: &Row) -> Result<WebSessionRow, StoreError> {
    Ok(WebSessionRow {
        id: row.parse("id")?,
        fingerprint: row.get("fingerprint")?,
        token_id: row.parse("token_id")?,
        created_at: row.time("created_at")?,
        last_used_at: row.time("last_used_at")?,
    })
}

/// Writes a new session.
pub async fn insert(tx: &mut Tx, fingerprint: &str, token: &TokenId, now: Micros) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO web_sessions (id, fingerprint, token_id, created_at, last_used_at) VALUES ($1, $2, $3, $4, $4)",
        values![&WebSessionId::new(), fingerprint, token, now],
    )
    .await?;
    Ok(())
}

/// The session of that fingerprint.
pub async fn by_fingerprint(tx: &mut Tx, fingerprint: &str) -> Result<Option<WebSessionRow>, StoreError> {
    tx.row(select!("WHERE w.fingerprint = $1"), values![fingerprint]).await?.as_ref().map(read).transpose()
}

/// The sessions of a principal that are used and whose tokens are good, newest first.
pub async fn of(
    tx: &mut Tx,
    principal: &PrincipalId,
    begun_after: Micros,
    used_after: Micros,
) -> Result<Vec<WebSessionRow>, StoreError> {
    let rows = tx
        .rows(
            select!(
                "JOIN tokens t ON t.id = w.token_id WHERE t.principal_id = $1 AND t.revoked_at IS NULL \
                 AND w.created_at > $2 AND w.last_used_at > $3 ORDER BY w.created_at DESC, w.id DESC"
            ),
            values![principal, begun_after, used_after],
        )
        .await?;
    rows.iter().map(read).collect()
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
