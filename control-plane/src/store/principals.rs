//! Users, agents and groups.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_api::identity::{PrincipalKind, PrincipalRef};
use postern_types::{id::PrincipalId, time::Micros};
use std::collections::HashMap;

/// A user or an agent, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalRow {
    /// Id, kind and name.
    pub principal: PrincipalRef,
    /// May change everything; users only.
    pub admin: bool,
    /// May read the whole audit; users only.
    pub auditor: bool,
    /// May do nothing.
    pub disabled: bool,
    /// The name of the user who answers for an agent.
    pub owner: Option<String>,
    /// Whether an agent acts on behalf of those alone of whom that is proved.
    pub proves_behalf: bool,
    /// The identity provider at which a user signs in.
    pub sign_in: Option<String>,
    /// When it was first applied.
    pub created_at: Micros,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.kind, p.name, p.admin, p.auditor, p.disabled, o.name AS owner, p.proves_behalf, p.sign_in, p.created_at ",
            "FROM principals p LEFT JOIN principals o ON o.id = p.owner_id ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<PrincipalRow, StoreError> {
    Ok(PrincipalRow {
        principal: PrincipalRef { kind: row.parse("kind")?, id: row.parse("id")?, name: row.get("name")? },
        admin: row.get("admin")?,
        auditor: row.get("auditor")?,
        disabled: row.get("disabled")?,
        owner: row.get("owner")?,
        proves_behalf: row.get("proves_behalf")?,
        sign_in: row.get("sign_in")?,
        created_at: row.time("created_at")?,
    })
}

/// The principal of that id.
pub async fn by_id(tx: &mut Tx, id: &PrincipalId) -> Result<Option<PrincipalRow>, StoreError> {
    tx.row(select!("WHERE p.id = $1"), values![id]).await?.as_ref().map(read).transpose()
}

/// The principal of that kind and name.
pub async fn by_name(tx: &mut Tx, kind: PrincipalKind, name: &str) -> Result<Option<PrincipalRow>, StoreError> {
    let row = tx.row(select!("WHERE p.kind = $1 AND p.name = $2"), values![kind.as_str(), name]).await?;
    row.as_ref().map(read).transpose()
}

/// A user of that name in lower case, however it is written.
pub async fn user_by_folded_name(tx: &mut Tx, name: &str) -> Result<Option<PrincipalRow>, StoreError> {
    let row = tx.row(select!("WHERE p.kind = 'user' AND LOWER(p.name) = $1 ORDER BY p.id"), values![name]).await?;
    row.as_ref().map(read).transpose()
}

/// All principals of a kind, newest first.
pub async fn list(tx: &mut Tx, kind: PrincipalKind) -> Result<Vec<PrincipalRow>, StoreError> {
    let rows =
        tx.rows(select!("WHERE p.kind = $1 ORDER BY p.created_at DESC, p.id DESC"), values![kind.as_str()]).await?;
    rows.iter().map(read).collect()
}

/// Nobody else locks that principal until the transaction is over.
pub async fn lock(tx: &mut Tx, id: &PrincipalId) -> Result<(), StoreError> {
    tx.execute("UPDATE principals SET disabled = disabled WHERE id = $1", values![id]).await?;
    Ok(())
}

/// Writes a principal that is not there yet.
pub async fn insert(tx: &mut Tx, row: &PrincipalRow, owner: Option<&PrincipalId>) -> Result<(), StoreError> {
    let PrincipalRow { principal, admin, auditor, disabled, proves_behalf, sign_in, created_at, .. } = row;
    tx.execute(
        "INSERT INTO principals (id, kind, name, admin, auditor, disabled, owner_id, proves_behalf, sign_in, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        values![
            &principal.id,
            principal.kind.as_str(),
            &principal.name,
            *admin,
            *auditor,
            *disabled,
            owner,
            *proves_behalf,
            sign_in.as_deref(),
            *created_at
        ],
    )
    .await?;
    Ok(())
}

/// Writes what can change of a principal.
pub async fn update(tx: &mut Tx, row: &PrincipalRow, owner: Option<&PrincipalId>) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE principals SET admin = $2, auditor = $3, disabled = $4, owner_id = $5, proves_behalf = $6, sign_in = $7 \
         WHERE id = $1",
        values![
            &row.principal.id,
            row.admin,
            row.auditor,
            row.disabled,
            owner,
            row.proves_behalf,
            row.sign_in.as_deref()
        ],
    )
    .await?;
    Ok(())
}

/// Gives a principal another name.
pub async fn rename(tx: &mut Tx, id: &PrincipalId, name: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE principals SET name = $2 WHERE id = $1", values![id, name]).await?;
    Ok(())
}

/// Lets a principal do nothing, or what it may again.
pub async fn set_disabled(tx: &mut Tx, id: &PrincipalId, disabled: bool) -> Result<(), StoreError> {
    tx.execute("UPDATE principals SET disabled = $2 WHERE id = $1", values![id, disabled]).await?;
    Ok(())
}

/// The groups that a principal is in, by name.
pub async fn groups_of(tx: &mut Tx, id: &PrincipalId) -> Result<Vec<String>, StoreError> {
    let rows = tx
        .rows("SELECT group_name FROM group_members WHERE principal_id = $1 ORDER BY group_name", values![id])
        .await?;
    rows.iter().map(|row| row.get("group_name")).collect()
}

/// The groups of every principal who is in any, by name.
pub async fn groups_of_all(tx: &mut Tx) -> Result<HashMap<PrincipalId, Vec<String>>, StoreError> {
    let mut all: HashMap<PrincipalId, Vec<String>> = HashMap::new();
    for row in tx.rows("SELECT principal_id, group_name FROM group_members ORDER BY group_name", []).await? {
        all.entry(row.parse("principal_id")?).or_default().push(row.get("group_name")?);
    }
    Ok(all)
}

/// Puts a principal into exactly these groups; groups that are new are made.
pub async fn set_groups(tx: &mut Tx, id: &PrincipalId, groups: &[String], now: Micros) -> Result<(), StoreError> {
    tx.execute("DELETE FROM group_members WHERE principal_id = $1", values![id]).await?;
    for group in groups {
        ensure_group(tx, group, now).await?;
        add_member(tx, group, id).await?;
    }
    Ok(())
}

/// Makes a group unless it is there.
pub async fn ensure_group(tx: &mut Tx, name: &str, now: Micros) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO principal_groups (name, created_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        values![name, now],
    )
    .await?;
    Ok(())
}

/// Puts a principal into a group.
pub async fn add_member(tx: &mut Tx, group: &str, id: &PrincipalId) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO group_members (group_name, principal_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        values![group, id],
    )
    .await?;
    Ok(())
}

/// Takes a principal out of a group.
pub async fn remove_member(tx: &mut Tx, group: &str, id: &PrincipalId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM group_members WHERE group_name = $1 AND principal_id = $2", values![group, id]).await?;
    Ok(())
}

/// Takes everybody out of a group.
pub async fn clear_members(tx: &mut Tx, group: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM group_members WHERE group_name = $1", values![group]).await?;
    Ok(())
}

/// Deletes a group; its members stay.
pub async fn delete_group(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    clear_members(tx, name).await?;
    tx.execute("DELETE FROM principal_groups WHERE name = $1", values![name]).await?;
    Ok(())
}

/// When a group was made, if it is there.
pub async fn group_created_at(tx: &mut Tx, name: &str) -> Result<Option<Micros>, StoreError> {
    let row = tx.row("SELECT created_at FROM principal_groups WHERE name = $1", values![name]).await?;
    row.map(|row| row.time("created_at")).transpose()
}

/// A group's members as `user:alice`, by kind and name.
pub async fn members(tx: &mut Tx, group: &str) -> Result<Vec<String>, StoreError> {
    let rows = tx
        .rows(
            "SELECT p.kind, p.name FROM group_members m JOIN principals p ON p.id = m.principal_id \
             WHERE m.group_name = $1 ORDER BY p.kind DESC, p.name",
            values![group],
        )
        .await?;
    rows.iter().map(|row| Ok(format!("{}:{}", row.get::<String>("kind")?, row.get::<String>("name")?))).collect()
}

/// All groups, newest first, with the time when each was made.
pub async fn groups(tx: &mut Tx) -> Result<Vec<(String, Micros)>, StoreError> {
    let rows = tx.rows("SELECT name, created_at FROM principal_groups ORDER BY created_at DESC, name", []).await?;
    rows.iter().map(|row| Ok((row.get("name")?, row.time("created_at")?))).collect()
}
