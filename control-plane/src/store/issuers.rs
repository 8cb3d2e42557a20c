//! Issuers of identity tokens and of certificates, as their documents say.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_api::issuer::IssuerDocument;
use postern_types::time::Micros;

fn read(row: &Row) -> Result<IssuerDocument, StoreError> {
    let text: String = row.get("document")?;
    serde_json::from_str(&text).map_err(|error| StoreError::corrupt("issuer", error))
}

/// The issuer of that name.
pub async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<IssuerDocument>, StoreError> {
    let row = tx.row("SELECT document FROM issuers WHERE name = $1", values![name]).await?;
    row.as_ref().map(read).transpose()
}

/// The issuer whose tokens say that they are from there.
pub async fn by_url(tx: &mut Tx, url: &str) -> Result<Option<IssuerDocument>, StoreError> {
    let row = tx.row("SELECT document FROM issuers WHERE url = $1", values![url]).await?;
    row.as_ref().map(read).transpose()
}

/// Those that have authorities in the place of an address, as they are stored.
pub async fn with_authorities(tx: &mut Tx) -> Result<Vec<IssuerDocument>, StoreError> {
    let rows = tx.rows("SELECT document FROM issuers WHERE url IS NULL ORDER BY name", []).await?;
    rows.iter().map(read).collect()
}

/// Writes an issuer, new or changed.
pub async fn put(tx: &mut Tx, document: &IssuerDocument, now: Micros) -> Result<(), StoreError> {
    let text = serde_json::to_string(document).map_err(|error| StoreError::corrupt("issuer", error))?;
    tx.execute(
        "INSERT INTO issuers (name, url, document, updated_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (name) DO UPDATE SET url = $2, document = $3, updated_at = $4",
        values![&document.name, document.url.as_deref(), text, now],
    )
    .await?;
    Ok(())
}

/// Removes an issuer.
pub async fn delete(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM issuers WHERE name = $1", values![name]).await?;
    Ok(())
}
