//! Principals that are stopped: nobody gets or uses access as them.

use super::{Row, StoreError, Tx, access::read_principal_opt};
use crate::values;
use postern_api::identity::Stop;
use postern_types::{id::PrincipalId, time::Micros};
use std::collections::HashMap;

/// Stops a principal that is not stopped.
pub async fn put(
    tx: &mut Tx,
    principal: &PrincipalId,
    reason: Option<&str>,
    by: &PrincipalId,
    now: Micros,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO principal_stops (principal_id, reason, stopped_by_id, stopped_at) VALUES ($1, $2, $3, $4)",
        values![principal, reason, by, now],
    )
    .await?;
    Ok(())
}

/// Lifts it.
pub async fn delete(tx: &mut Tx, principal: &PrincipalId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM principal_stops WHERE principal_id = $1", values![principal]).await?;
    Ok(())
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT s.principal_id, s.reason, s.stopped_at, b.id AS b_id, b.kind AS b_kind, b.name AS b_name ",
            "FROM principal_stops s LEFT JOIN principals b ON b.id = s.stopped_by_id ",
            $rest
        )
    };
}

/// Whether a principal is stopped, and why.
pub async fn of(tx: &mut Tx, principal: &PrincipalId) -> Result<Option<Stop>, StoreError> {
    tx.row(select!("WHERE s.principal_id = $1"), values![principal]).await?.as_ref().map(read).transpose()
}

/// All of them.
pub async fn all(tx: &mut Tx) -> Result<HashMap<PrincipalId, Stop>, StoreError> {
    let rows = tx.rows(select!("ORDER BY s.stopped_at"), []).await?;
    rows.iter().map(|row| Ok((row.parse("principal_id")?, read(row)?))).collect()
}

fn read(row: &Row) -> Result<Stop, StoreError> {
    Ok(Stop {
        by: read_principal_opt(row, "b_id", "b_kind", "b_name")?,
        at: row.time("stopped_at")?,
        reason: row.get("reason")?,
    })
}
