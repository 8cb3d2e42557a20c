//! Connections that are frozen.

use super::{Row, StoreError, Tx, policies};
use crate::values;
use postern_api::{identity::PrincipalRef, policy::Freeze};
use postern_types::{id::PrincipalId, time::Micros};
use std::collections::HashMap;

fn read(row: &Row) -> Result<(String, Freeze), StoreError> {
    let by = match row.get::<Option<String>>("id")? {
        Some(_) => Some(PrincipalRef { kind: row.parse("kind")?, id: row.parse("id")?, name: row.get("name")? }),
        None => None,
    };
    Ok((row.get("connection")?, Freeze { by, at: row.time("frozen_at")?, reason: row.get("reason")? }))
}

/// The freezes that are in force, by connection.
pub async fn all(tx: &mut Tx) -> Result<HashMap<String, Freeze>, StoreError> {
    let rows = tx
        .rows(
            "SELECT f.connection, f.reason, f.frozen_at, p.id, p.kind, p.name FROM connection_freezes f \
             LEFT JOIN principals p ON p.id = f.frozen_by_id",
            [],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// The freeze of a connection.
pub async fn of(tx: &mut Tx, connection: &str) -> Result<Option<Freeze>, StoreError> {
    let row = tx
        .row(
            "SELECT f.connection, f.reason, f.frozen_at, p.id, p.kind, p.name FROM connection_freezes f \
             LEFT JOIN principals p ON p.id = f.frozen_by_id WHERE f.connection = $1",
            values![connection],
        )
        .await?;
    Ok(row.as_ref().map(read).transpose()?.map(|(_, freeze)| freeze))
}

/// Freezes a connection that is not.
pub async fn put(
    tx: &mut Tx,
    connection: &str,
    reason: Option<&str>,
    by: &PrincipalId,
    now: Micros,
) -> Result<(), StoreError> {
    policies::next_revision(tx).await?;
    tx.execute(
        "INSERT INTO connection_freezes (connection, reason, frozen_by_id, frozen_at) VALUES ($1, $2, $3, $4)",
        values![connection, reason, by, now],
    )
    .await?;
    Ok(())
}

/// Lifts the freeze of a connection.
pub async fn delete(tx: &mut Tx, connection: &str) -> Result<(), StoreError> {
    policies::next_revision(tx).await?;
    tx.execute("DELETE FROM connection_freezes WHERE connection = $1", values![connection]).await?;
    Ok(())
}
