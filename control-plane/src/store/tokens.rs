//! API tokens, by fingerprint.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_api::identity::{PrincipalRef, Token};
use postern_types::{
    id::{PrincipalId, SignInId, TokenId},
    time::Micros,
};
use std::collections::HashMap;

/// The most tokens that are listed.
const MAX_LISTED: i64 = 1000;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT t.id, t.name, t.created_at, t.expires_at, t.last_used_at, t.may, ",
            "p.id AS principal_id, p.kind, p.name AS principal_name ",
            "FROM tokens t JOIN principals p ON p.id = t.principal_id ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<Token, StoreError> {
    let may = row.get::<Option<String>>("may")?;
    let may = may.map(|may| serde_json::from_str(&may)).transpose();
    Ok(Token {
        id: row.parse("id")?,
        principal: PrincipalRef {
            kind: row.parse("kind")?,
            id: row.parse("principal_id")?,
            name: row.get("principal_name")?,
        },
        name: row.get("name")?,
        created_at: row.time("created_at")?,
        expires_at: row.time_opt("expires_at")?,
        last_used_at: row.time_opt("last_used_at")?,
        may: may.map_err(|error| StoreError::corrupt("token", error))?,
    })
}

/// For what a token was given, whose end is its own.
#[derive(Clone, Copy, Debug)]
pub enum GivenFor<'a> {
    /// Nothing: somebody has made it.
    Nothing,
    /// A token of this issuer.
    IssuersToken(&'a str),
    /// That somebody has signed in.
    SignIn(&'a SignInId),
}

/// Writes a new token, and for what it was given.
pub async fn insert(tx: &mut Tx, token: &Token, fingerprint: &str, given: GivenFor<'_>) -> Result<(), StoreError> {
    let (issuer, sign_in) = match given {
        GivenFor::Nothing => (None, None),
        GivenFor::IssuersToken(issuer) => (Some(issuer), None),
        GivenFor::SignIn(id) => (None, Some(id)),
    };
    let may = token.may.as_ref().map(serde_json::to_string).transpose();
    let may = may.map_err(|error| StoreError::corrupt("token", error))?;
    tx.execute(
        "INSERT INTO tokens (id, principal_id, name, fingerprint, created_at, expires_at, may, issuer, sign_in) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        values![
            &token.id,
            &token.principal.id,
            &token.name,
            fingerprint,
            token.created_at,
            token.expires_at,
            may,
            issuer,
            sign_in
        ],
    )
    .await?;
    Ok(())
}

/// The token of that fingerprint, unless it is revoked.
pub async fn by_fingerprint(tx: &mut Tx, fingerprint: &str) -> Result<Option<Token>, StoreError> {
    let row = tx.row(select!("WHERE t.fingerprint = $1 AND t.revoked_at IS NULL"), values![fingerprint]).await?;
    row.as_ref().map(read).transpose()
}

/// Whether a fingerprint was ever stored, also of a token that is revoked by now.
pub async fn is_known(tx: &mut Tx, fingerprint: &str) -> Result<bool, StoreError> {
    Ok(tx.row("SELECT id FROM tokens WHERE fingerprint = $1", values![fingerprint]).await?.is_some())
}

/// The token of that id, unless it is revoked.
pub async fn by_id(tx: &mut Tx, id: &TokenId) -> Result<Option<Token>, StoreError> {
    tx.row(select!("WHERE t.id = $1 AND t.revoked_at IS NULL"), values![id]).await?.as_ref().map(read).transpose()
}

/// Tokens that are not revoked, newest first: one principal's or everybody's.
pub async fn list(tx: &mut Tx, principal: Option<&PrincipalId>) -> Result<Vec<Token>, StoreError> {
    let rows = tx
        .rows(
            select!(
                "WHERE t.revoked_at IS NULL AND ($1 IS NULL OR t.principal_id = $1) ORDER BY t.created_at DESC, t.id DESC LIMIT $2"
            ),
            values![principal, MAX_LISTED],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Notes that a token was used.
pub async fn touch(tx: &mut Tx, id: &TokenId, now: Micros) -> Result<(), StoreError> {
    tx.execute("UPDATE tokens SET last_used_at = $2 WHERE id = $1", values![id, now]).await?;
    Ok(())
}

/// When somebody last came by any token of a principal, also one that is revoked by now.
pub async fn last_use(tx: &mut Tx, principal: &PrincipalId) -> Result<Option<Micros>, StoreError> {
    let sql = "SELECT MAX(last_used_at) AS last_used_at FROM tokens WHERE principal_id = $1";
    tx.row(sql, values![principal]).await?.map_or(Ok(None), |row| row.time_opt("last_used_at"))
}

/// The same of every principal who ever came.
pub async fn last_uses(tx: &mut Tx) -> Result<HashMap<PrincipalId, Micros>, StoreError> {
    let sql = "SELECT principal_id, MAX(last_used_at) AS last_used_at FROM tokens \
               WHERE last_used_at IS NOT NULL GROUP BY principal_id";
    let rows = tx.rows(sql, []).await?;
    rows.iter().map(|row| Ok((row.parse("principal_id")?, row.time("last_used_at")?))).collect()
}

/// Revokes a token; false when it was not there or revoked before.
pub async fn revoke(tx: &mut Tx, id: &TokenId, now: Micros) -> Result<bool, StoreError> {
    let changed =
        tx.execute("UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL", values![id, now]).await?;
    Ok(changed > 0)
}

/// Writes which job a token was exchanged for.
pub async fn set_job(tx: &mut Tx, id: &TokenId, job: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE tokens SET job = $2 WHERE id = $1", values![id, job]).await?;
    Ok(())
}

/// Which job a token was exchanged for; none: for none.
pub async fn job(tx: &mut Tx, id: &TokenId) -> Result<Option<String>, StoreError> {
    let row = tx.row("SELECT job FROM tokens WHERE id = $1", values![id]).await?;
    row.map_or(Ok(None), |row| row.get("job"))
}

/// Writes that a token is an agent's on behalf of a person: the person's and the agent's by which it was made.
pub async fn set_behalf(tx: &mut Tx, id: &TokenId, [person, agent]: [&TokenId; 2]) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE tokens SET subject_token_id = $2, actor_token_id = $3 WHERE id = $1",
        values![id, person, agent],
    )
    .await?;
    Ok(())
}

/// The person's token and the agent's by which one was made for both; none: it was not.
pub async fn behalf(tx: &mut Tx, id: &TokenId) -> Result<Option<[TokenId; 2]>, StoreError> {
    let sql = "SELECT subject_token_id, actor_token_id FROM tokens WHERE id = $1 AND subject_token_id IS NOT NULL";
    let row = tx.row(sql, values![id]).await?;
    row.map(|row| Ok([row.parse("subject_token_id")?, row.parse("actor_token_id")?])).transpose()
}

/// Revokes all tokens of a principal.
pub async fn revoke_of(tx: &mut Tx, principal: &PrincipalId, now: Micros) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE tokens SET revoked_at = $2 WHERE principal_id = $1 AND revoked_at IS NULL",
        values![principal, now],
    )
    .await?;
    Ok(())
}

/// Revokes all tokens that were given by a sign-in.
pub async fn revoke_of_sign_in(tx: &mut Tx, sign_in: &SignInId, now: Micros) -> Result<(), StoreError> {
    tx.execute("UPDATE tokens SET revoked_at = $2 WHERE sign_in = $1 AND revoked_at IS NULL", values![sign_in, now])
        .await?;
    Ok(())
}

/// Revokes all tokens for which an issuer's were exchanged.
pub async fn revoke_of_issuer(tx: &mut Tx, issuer: &str, now: Micros) -> Result<(), StoreError> {
    tx.execute("UPDATE tokens SET revoked_at = $2 WHERE issuer = $1 AND revoked_at IS NULL", values![issuer, now])
        .await?;
    Ok(())
}
