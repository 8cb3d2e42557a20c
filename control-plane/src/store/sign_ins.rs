//! That people have signed in at an identity provider.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_api::provider::SignedIn;
use postern_types::{
    id::{PrincipalId, SignInId, TokenId},
    time::Micros,
};

/// A sign-in.
#[derive(Clone, Debug)]
pub struct SignInRow {
    /// Its id, the provider, when and how.
    pub signed_in: SignedIn,
    /// Who.
    pub principal_id: PrincipalId,
    /// Who that is at the provider.
    pub subject: String,
    /// The provider's name for its own session.
    pub provider_session: Option<String>,
    /// When it was begun.
    pub created_at: Micros,
    /// When it ends by itself.
    pub expires_at: Micros,
    /// What the provider is asked with, sealed.
    pub refresh_token: Option<Vec<u8>>,
    /// By which it was begun, sealed.
    pub id_token: Option<Vec<u8>>,
    /// When the provider last vouched for them.
    pub verified_at: Micros,
    /// When it was last asked to.
    pub checked_at: Micros,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT s.id, s.principal_id, s.provider, s.subject, s.provider_session, s.acr, s.authenticated_at, ",
            "s.created_at, s.expires_at, s.refresh_token, s.id_token, s.verified_at, s.checked_at FROM sign_ins s ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<SignInRow, StoreError> {
    Ok(SignInRow {
        signed_in: SignedIn {
            id: row.parse("id")?,
            provider: row.get("provider")?,
            authenticated_at: row.time_opt("authenticated_at")?,
            acr: row.get("acr")?,
        },
        principal_id: row.parse("principal_id")?,
        subject: row.get("subject")?,
        provider_session: row.get("provider_session")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        refresh_token: row.get("refresh_token")?,
        id_token: row.get("id_token")?,
        verified_at: row.time("verified_at")?,
        checked_at: row.time("checked_at")?,
    })
}

/// Writes a new sign-in.
pub async fn insert(tx: &mut Tx, row: &SignInRow) -> Result<(), StoreError> {
    let SignedIn { id, provider, authenticated_at, acr } = &row.signed_in;
    tx.execute(
        "INSERT INTO sign_ins (id, principal_id, provider, subject, provider_session, acr, authenticated_at, \
         created_at, expires_at, refresh_token, id_token, verified_at, checked_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        values![
            id,
            &row.principal_id,
            provider,
            &row.subject,
            row.provider_session.as_deref(),
            acr.as_deref(),
            *authenticated_at,
            row.created_at,
            row.expires_at,
            row.refresh_token.clone(),
            row.id_token.clone(),
            row.verified_at,
            row.checked_at
        ],
    )
    .await?;
    Ok(())
}

/// The sign-in by which a token was given, if it goes on; whether it was by one at all.
pub async fn of_token(tx: &mut Tx, token: &TokenId, now: Micros) -> Result<(bool, Option<SignedIn>), StoreError> {
    let sql = "SELECT s.id, s.provider, s.acr, s.authenticated_at, s.expires_at, s.ended_at FROM tokens t \
        JOIN sign_ins s ON s.id = t.sign_in WHERE t.id = $1";
    let Some(row) = tx.row(sql, values![token]).await? else { return Ok((false, None)) };
    if row.time_opt("ended_at")?.is_some() || row.time("expires_at")? <= now {
        return Ok((true, None));
    }
    let signed_in = SignedIn {
        id: row.parse("id")?,
        provider: row.get("provider")?,
        authenticated_at: row.time_opt("authenticated_at")?,
        acr: row.get("acr")?,
    };
    Ok((true, Some(signed_in)))
}

/// The sign-in of that id, if it goes on.
pub async fn open(tx: &mut Tx, id: &SignInId, now: Micros) -> Result<Option<SignInRow>, StoreError> {
    let row = tx.row(select!("WHERE s.id = $1 AND s.ended_at IS NULL AND s.expires_at > $2"), values![id, now]).await?;
    row.as_ref().map(read).transpose()
}

/// Those of a user that go on.
pub async fn open_of(tx: &mut Tx, principal: &PrincipalId) -> Result<Vec<SignInRow>, StoreError> {
    let rows =
        tx.rows(select!("WHERE s.principal_id = $1 AND s.ended_at IS NULL ORDER BY s.id"), values![principal]).await?;
    rows.iter().map(read).collect()
}

/// Those at a provider that go on.
pub async fn open_at(tx: &mut Tx, provider: &str) -> Result<Vec<SignInRow>, StoreError> {
    let rows =
        tx.rows(select!("WHERE s.provider = $1 AND s.ended_at IS NULL ORDER BY s.id"), values![provider]).await?;
    rows.iter().map(read).collect()
}

/// Those at a provider that go on, of one who is somebody there, in one of its sessions, or both.
pub async fn open_named(
    tx: &mut Tx,
    provider: &str,
    subject: Option<&str>,
    session: Option<&str>,
) -> Result<Vec<SignInRow>, StoreError> {
    let rows = tx
        .rows(
            select!(
                "WHERE s.provider = $1 AND s.ended_at IS NULL AND (CAST($2 AS TEXT) IS NULL OR s.subject = $2) \
                 AND (CAST($3 AS TEXT) IS NULL OR s.provider_session = $3) ORDER BY s.id"
            ),
            values![provider, subject, session],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Those of which the provider has not been asked since then, at most `limit`.
pub async fn unchecked_since(tx: &mut Tx, then: Micros, limit: u32) -> Result<Vec<SignInRow>, StoreError> {
    let rows = tx
        .rows(
            select!(
                "WHERE s.ended_at IS NULL AND s.refresh_token IS NOT NULL AND s.checked_at <= $1 \
                 ORDER BY s.checked_at LIMIT $2"
            ),
            values![then, limit],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Those whose time is over, at most `limit`.
pub async fn overdue(tx: &mut Tx, now: Micros, limit: u32) -> Result<Vec<SignInRow>, StoreError> {
    let rows = tx
        .rows(select!("WHERE s.ended_at IS NULL AND s.expires_at <= $1 ORDER BY s.id LIMIT $2"), values![now, limit])
        .await?;
    rows.iter().map(read).collect()
}

/// Notes that the provider is being asked; false when another replica does, or it is over.
pub async fn claim_check(tx: &mut Tx, row: &SignInRow, now: Micros) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE sign_ins SET checked_at = $3 WHERE id = $1 AND checked_at = $2 AND ended_at IS NULL",
            values![&row.signed_in.id, row.checked_at, now],
        )
        .await?;
    Ok(changed > 0)
}

/// Notes that the provider vouches for them, and what it is asked with next.
pub async fn verified(tx: &mut Tx, id: &SignInId, refresh_token: Vec<u8>, now: Micros) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE sign_ins SET verified_at = $2, refresh_token = $3 WHERE id = $1",
        values![id, now, refresh_token],
    )
    .await?;
    Ok(())
}

/// Notes the end, and forgets what it was kept by; false when it was over before.
pub async fn end(tx: &mut Tx, id: &SignInId, now: Micros) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE sign_ins SET ended_at = $2, refresh_token = NULL, id_token = NULL WHERE id = $1 AND ended_at IS NULL",
            values![id, now],
        )
        .await?;
    Ok(changed > 0)
}
