//! Identity providers, as their documents say.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_api::provider::IdentityProviderDocument;
use postern_types::time::Micros;

fn read(row: &Row) -> Result<IdentityProviderDocument, StoreError> {
    let text: String = row.get("document")?;
    serde_json::from_str(&text).map_err(|error| StoreError::corrupt("identity provider", error))
}

/// The provider of that name.
pub async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<IdentityProviderDocument>, StoreError> {
    let row = tx.row("SELECT document FROM identity_providers WHERE name = $1", values![name]).await?;
    row.as_ref().map(read).transpose()
}

/// All providers, by name.
pub async fn list(tx: &mut Tx) -> Result<Vec<IdentityProviderDocument>, StoreError> {
    tx.rows("SELECT document FROM identity_providers ORDER BY name", []).await?.iter().map(read).collect()
}

/// The provider whose directory comes over SCIM as this agent.
pub async fn of_directory(tx: &mut Tx, agent: &str) -> Result<Option<IdentityProviderDocument>, StoreError> {
    Ok(list(tx).await?.into_iter().find(|provider| provider.scim.as_deref() == Some(agent)))
}

/// Writes a provider, new or changed.
pub async fn put(tx: &mut Tx, document: &IdentityProviderDocument, now: Micros) -> Result<(), StoreError> {
    let text = serde_json::to_string(document).map_err(|error| StoreError::corrupt("identity provider", error))?;
    tx.execute(
        "INSERT INTO identity_providers (name, document, updated_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET document = $2, updated_at = $3",
        values![&document.name, text, now],
    )
    .await?;
    Ok(())
}

/// Removes a provider.
pub async fn delete(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM identity_providers WHERE name = $1", values![name]).await?;
    Ok(())
}
