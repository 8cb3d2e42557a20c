//! Connections, as they were applied.

use super::{Row, StoreError, Tx, policies};
use crate::values;
use postern_api::document::ConnectionDocument;
use postern_types::time::Micros;

/// A connection, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    /// What was applied.
    pub document: ConnectionDocument,
    /// When it was first applied.
    pub created_at: Micros,
    /// When it last changed.
    pub updated_at: Micros,
}

impl ConnectionRow {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.document.name
    }

    /// The database's own name, as its URL gives it; empty where the URL gives none.
    #[must_use]
    pub fn database_name(&self) -> &str {
        database_name(&self.document.database)
    }
}

/// The database's name in a `postgresql://` URL.
#[must_use]
pub fn database_name(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.split_once('/').map_or("", |(_, path)| path);
    path.split(['?', '#']).next().unwrap_or("")
}

fn read(row: &Row) -> Result<ConnectionRow, StoreError> {
    let document = row.get::<String>("document")?;
    Ok(ConnectionRow {
        document: serde_json::from_str(&document).map_err(|error| StoreError::corrupt("connection", error))?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

/// The connection of that name.
pub async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<ConnectionRow>, StoreError> {
    let row = tx.row("SELECT document, created_at, updated_at FROM connections WHERE name = $1", values![name]).await?;
    row.as_ref().map(read).transpose()
}

/// All connections, newest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<ConnectionRow>, StoreError> {
    let rows =
        tx.rows("SELECT document, created_at, updated_at FROM connections ORDER BY created_at DESC, name", []).await?;
    rows.iter().map(read).collect()
}

/// The connections that the connector of that name serves, by name.
pub async fn of_connector(tx: &mut Tx, connector: &str) -> Result<Vec<ConnectionRow>, StoreError> {
    let rows = tx
        .rows(
            "SELECT document, created_at, updated_at FROM connections WHERE connector = $1 ORDER BY name",
            values![connector],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Writes a connection, new or changed. What connectors decide by is another then.
pub async fn put(tx: &mut Tx, document: &ConnectionDocument, now: Micros) -> Result<(), StoreError> {
    let text = serde_json::to_string(document).map_err(|error| StoreError::corrupt("connection", error))?;
    policies::next_revision(tx).await?;
    tx.execute(
        "INSERT INTO connections (name, connector, document, created_at, updated_at) VALUES ($1, $2, $3, $4, $4) \
         ON CONFLICT (name) DO UPDATE SET connector = $2, document = $3, updated_at = $4",
        values![&document.name, &document.connector, text, now],
    )
    .await?;
    Ok(())
}

/// Deletes a connection, and what is kept for it.
pub async fn delete(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    policies::next_revision(tx).await?;
    tx.execute("DELETE FROM connections WHERE name = $1", values![name]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::database_name;

    #[test]
    fn database_names() {
        for (url, name) in [
            ("postgresql://127.0.0.1:5432/shop", "shop"),
            ("postgresql://h1,h2:5433/shop?sslmode=require", "shop"),
            ("postgresql://h", ""),
            ("postgresql:///shop?host=/run", "shop"),
        ] {
            assert_eq!(database_name(url), name, "{url}");
        }
    }
}
