//! Who users are at identity providers.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_types::{id::PrincipalId, time::Micros};

/// Who a user is at a provider.
#[derive(Clone, Debug)]
pub struct ExternalIdentity {
    /// The provider's name.
    pub provider: String,
    /// As the provider knows them, for ever.
    pub subject: String,
    /// The user.
    pub principal_id: PrincipalId,
    /// Since when the provider vouches for them no more.
    pub removed_at: Option<Micros>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT provider, subject, principal_id, removed_at FROM external_identities ", $rest)
    };
}

fn read(row: &Row) -> Result<ExternalIdentity, StoreError> {
    Ok(ExternalIdentity {
        provider: row.get("provider")?,
        subject: row.get("subject")?,
        principal_id: row.parse("principal_id")?,
        removed_at: row.time_opt("removed_at")?,
    })
}

/// Who that is here.
pub async fn by_subject(tx: &mut Tx, provider: &str, subject: &str) -> Result<Option<ExternalIdentity>, StoreError> {
    let row = tx.row(select!("WHERE provider = $1 AND subject = $2"), values![provider, subject]).await?;
    row.as_ref().map(read).transpose()
}

/// Who a user is elsewhere.
pub async fn of(tx: &mut Tx, principal: &PrincipalId) -> Result<Option<ExternalIdentity>, StoreError> {
    tx.row(select!("WHERE principal_id = $1"), values![principal]).await?.as_ref().map(read).transpose()
}

/// Notes who somebody is, for the first time or again; the provider vouches for them.
pub async fn put(
    tx: &mut Tx,
    provider: &str,
    subject: &str,
    principal: &PrincipalId,
    email: Option<&str>,
    now: Micros,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO external_identities (provider, subject, principal_id, email, created_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (provider, subject) DO UPDATE SET email = $4, removed_at = NULL",
        values![provider, subject, principal, email, now],
    )
    .await?;
    Ok(())
}

/// Notes since when the provider does not vouch for a user any more; None: that it is not for that they are disabled.
pub async fn set_removed(tx: &mut Tx, principal: &PrincipalId, at: Option<Micros>) -> Result<(), StoreError> {
    tx.execute("UPDATE external_identities SET removed_at = $2 WHERE principal_id = $1", values![principal, at])
        .await?;
    Ok(())
}
