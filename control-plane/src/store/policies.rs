//! Policies as files, each version of them, and the count of all that connectors decide by.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_api::identity::PrincipalRef;
use postern_types::{id::PrincipalId, time::Micros};

/// Where policies stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyState {
    /// Counts the changes of all that connectors are told for deciding: of one revision there is one content.
    pub revision: i64,
    /// Counts the changes of policies. 0: none was ever applied.
    pub version: i64,
    /// The hash of the policies; empty while none was ever applied.
    pub hash: String,
}

/// A file that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    /// Its name.
    pub name: String,
    /// What stands in it.
    pub text: String,
    /// Since which version.
    pub since_version: i64,
    /// Since which it is so no more.
    pub until_version: Option<i64>,
    /// Who applied it.
    pub applied_by: Option<PrincipalRef>,
    /// When.
    pub applied_at: Micros,
}

/// Keeps everybody else from changing what connectors decide by until the transaction is over.
pub async fn lock(tx: &mut Tx) -> Result<(), StoreError> {
    tx.execute("UPDATE policy_state SET revision = revision WHERE id = 1", []).await?;
    Ok(())
}

/// Counts a change of what connectors decide by. It goes before the change, so that all take the locks in one order.
pub async fn next_revision(tx: &mut Tx) -> Result<(), StoreError> {
    tx.execute("UPDATE policy_state SET revision = revision + 1 WHERE id = 1", []).await?;
    Ok(())
}

/// Where policies stand.
pub async fn state(tx: &mut Tx) -> Result<PolicyState, StoreError> {
    let row = tx.row("SELECT revision, version, hash FROM policy_state WHERE id = 1", []).await?;
    let row = row.ok_or_else(|| StoreError::corrupt("policy state", "it is gone"))?;
    Ok(PolicyState { revision: row.get("revision")?, version: row.get("version")?, hash: row.get("hash")? })
}

fn read(row: &Row) -> Result<PolicyRow, StoreError> {
    let applied_by = match row.get::<Option<String>>("id")? {
        Some(_) => Some(PrincipalRef { kind: row.parse("kind")?, id: row.parse("id")?, name: row.get("by_name")? }),
        None => None,
    };
    Ok(PolicyRow {
        name: row.get("name")?,
        text: row.get("text")?,
        since_version: row.get("since_version")?,
        until_version: row.get("until_version")?,
        applied_by,
        applied_at: row.time("applied_at")?,
    })
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT f.name, f.text, f.since_version, f.until_version, f.applied_at, p.id, p.kind, p.name AS by_name ",
            "FROM policy_files f LEFT JOIN principals p ON p.id = f.applied_by_id ",
            $rest
        )
    };
}

/// The files that are in force, by name.
pub async fn files(tx: &mut Tx) -> Result<Vec<PolicyRow>, StoreError> {
    let rows = tx.rows(select!("WHERE f.until_version IS NULL ORDER BY f.name"), []).await?;
    rows.iter().map(read).collect()
}

/// A file as it stood and stands, the newest first; at most so many.
pub async fn versions(tx: &mut Tx, name: &str, most: u32) -> Result<Vec<PolicyRow>, StoreError> {
    let rows =
        tx.rows(select!("WHERE f.name = $1 ORDER BY f.since_version DESC LIMIT $2"), values![name, most]).await?;
    rows.iter().map(read).collect()
}

/// The files that were in force at a version, by name.
pub async fn files_at(tx: &mut Tx, version: i64) -> Result<Vec<PolicyRow>, StoreError> {
    let rows = tx
        .rows(
            select!(
                "WHERE f.since_version <= $1 AND (f.until_version IS NULL OR f.until_version > $1) ORDER BY f.name"
            ),
            values![version],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Begins the next version, of this hash; gives its number. The files that differ are written after it.
pub async fn next_version(tx: &mut Tx, hash: &str) -> Result<i64, StoreError> {
    let row = tx
        .row(
            "UPDATE policy_state SET revision = revision + 1, version = version + 1, hash = $1 WHERE id = 1 \
             RETURNING version",
            values![hash],
        )
        .await?;
    row.ok_or_else(|| StoreError::corrupt("policy state", "it is gone"))?.get("version")
}

/// A file stands so from this version on, instead of what it was.
pub async fn put(
    tx: &mut Tx,
    name: &str,
    text: &str,
    version: i64,
    by: Option<&PrincipalId>,
    now: Micros,
) -> Result<(), StoreError> {
    end(tx, name, version).await?;
    tx.execute(
        "INSERT INTO policy_files (name, text, applied_by_id, applied_at, since_version) VALUES ($1, $2, $3, $4, $5)",
        values![name, text, by, now, version],
    )
    .await?;
    Ok(())
}

/// From this version on there is no such file.
pub async fn end(tx: &mut Tx, name: &str, version: i64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE policy_files SET until_version = $2 WHERE name = $1 AND until_version IS NULL",
        values![name, version],
    )
    .await?;
    Ok(())
}
