//! Tokens by which connectors and gateways join: single use, kept by their fingerprint.

use super::{StoreError, Tx};
use crate::values;
use postern_api::fleet::PartKind;
use postern_types::{id::JoinTokenId, time::Micros};

/// A join token that was good when it was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedToken {
    /// Its id.
    pub id: JoinTokenId,
    /// What may join with it.
    pub kind: PartKind,
    /// Under which name.
    pub name: String,
}

/// Keeps a new token.
pub async fn insert(
    tx: &mut Tx,
    token: &UsedToken,
    fingerprint: &str,
    now: Micros,
    expires_at: Micros,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO join_tokens (id, kind, name, fingerprint, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        values![&token.id, token.kind.as_str(), &token.name, fingerprint, now, expires_at],
    )
    .await?;
    Ok(())
}

/// Uses a token up: of any number of callers at once, one has it. None: it is unknown, used or expired.
pub async fn claim(tx: &mut Tx, fingerprint: &str, now: Micros) -> Result<Option<UsedToken>, StoreError> {
    let claimed = tx
        .execute(
            "UPDATE join_tokens SET used_at = $2 WHERE fingerprint = $1 AND used_at IS NULL AND expires_at > $2",
            values![fingerprint, now],
        )
        .await?;
    if claimed == 0 {
        return Ok(None);
    }
    let row = tx.row("SELECT id, kind, name FROM join_tokens WHERE fingerprint = $1", values![fingerprint]).await?;
    row.map(|row| {
        let kind = super::identities::parse_kind(&row.get::<String>("kind")?)?;
        Ok(UsedToken { id: row.parse("id")?, kind, name: row.get("name")? })
    })
    .transpose()
}

/// Records which identity a token became.
pub async fn set_identity(tx: &mut Tx, id: &JoinTokenId, identity: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE join_tokens SET identity_id = $2 WHERE id = $1", values![id, identity]).await?;
    Ok(())
}
