//! Passwords of database roles, sealed, each for its connection and login.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_types::time::Micros;

/// A credential, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRow {
    /// The connection's name.
    pub connection: String,
    /// The database role.
    pub login: String,
    /// The password, sealed for [`place`].
    pub sealed: Vec<u8>,
    /// When it was first set.
    pub created_at: Micros,
    /// When it was last set.
    pub updated_at: Micros,
}

/// What a password is sealed for, so that none opens in another row. A connection's name has no `/`.
#[must_use]
pub fn place(connection: &str, login: &str) -> String {
    format!("database-credential/{connection}/{login}")
}

fn read(row: &Row) -> Result<CredentialRow, StoreError> {
    Ok(CredentialRow {
        connection: row.get("connection")?,
        login: row.get("login")?,
        sealed: row.get("sealed")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

/// Writes a credential, new or changed; tells since when there is one of that login.
pub async fn put(
    tx: &mut Tx,
    connection: &str,
    login: &str,
    sealed: Vec<u8>,
    now: Micros,
) -> Result<Micros, StoreError> {
    let row = tx
        .row(
            "INSERT INTO database_credentials (connection, login, sealed, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $4) \
             ON CONFLICT (connection, login) DO UPDATE SET sealed = $3, updated_at = $4 RETURNING created_at",
            values![connection, login, sealed, now],
        )
        .await?;
    row.ok_or_else(|| StoreError::corrupt("credential", "it was not written"))?.time("created_at")
}

/// The credentials of a connection, the newest first.
pub async fn of_connection(tx: &mut Tx, connection: &str) -> Result<Vec<CredentialRow>, StoreError> {
    let rows = tx
        .rows(
            "SELECT connection, login, sealed, created_at, updated_at FROM database_credentials \
             WHERE connection = $1 ORDER BY updated_at DESC, login",
            values![connection],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// The credentials of all connections that the connector of that name serves.
pub async fn of_connector(tx: &mut Tx, connector: &str) -> Result<Vec<CredentialRow>, StoreError> {
    let rows = tx
        .rows(
            "SELECT d.connection, d.login, d.sealed, d.created_at, d.updated_at FROM database_credentials d \
             JOIN connections c ON c.name = d.connection WHERE c.connector = $1 ORDER BY d.connection, d.login",
            values![connector],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Removes a credential; false when there was none.
pub async fn delete(tx: &mut Tx, connection: &str, login: &str) -> Result<bool, StoreError> {
    let deleted = tx
        .execute("DELETE FROM database_credentials WHERE connection = $1 AND login = $2", values![connection, login])
        .await?;
    Ok(deleted > 0)
}
