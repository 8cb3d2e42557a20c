//! Users and groups that directories keep over SCIM.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_api::identity::{PrincipalKind, PrincipalRef};
use postern_types::{id::PrincipalId, time::Micros};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// A user that a directory keeps.
#[derive(Clone, Debug)]
pub struct UserRow {
    /// The user; the id is the resource's too.
    pub principal: PrincipalRef,
    /// The agent as which the directory comes.
    pub client_id: PrincipalId,
    /// The directory's word: whether they may act.
    pub active: bool,
    /// The word of documents: whether they are disabled in any case.
    pub held: bool,
    /// The resource, without what is computed.
    pub document: Map<String, Value>,
    /// When the directory made it.
    pub created_at: Micros,
    /// When it last changed it.
    pub updated_at: Micros,
    /// When it deleted it.
    pub deleted_at: Option<Micros>,
}

/// A group that a directory keeps.
#[derive(Clone, Debug)]
pub struct GroupRow {
    /// The resource's id.
    pub id: String,
    /// The group's name.
    pub name: String,
    /// As the directory knows it.
    pub external_id: Option<String>,
    /// When the directory made it.
    pub created_at: Micros,
    /// When it last changed it.
    pub updated_at: Micros,
}

/// Which of a directory's resources are looked for; None: whatever it is.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The resource's id.
    pub id: Option<String>,
    /// A name, in lower case.
    pub name: Option<String>,
    /// As the directory knows it.
    pub external_id: Option<String>,
}

macro_rules! select_users {
    ($rest:literal) => {
        concat!(
            "SELECT s.principal_id, s.client_id, s.active, s.held, s.document, s.created_at, s.updated_at, s.deleted_at, ",
            "p.name FROM scim_users s JOIN principals p ON p.id = s.principal_id ",
            $rest
        )
    };
}

macro_rules! select_groups {
    ($rest:literal) => {
        concat!("SELECT g.id, g.name, g.external_id, g.created_at, g.updated_at FROM scim_groups g ", $rest)
    };
}

fn read_user(row: &Row) -> Result<UserRow, StoreError> {
    let document = serde_json::from_str(&row.get::<String>("document")?);
    Ok(UserRow {
        principal: PrincipalRef { kind: PrincipalKind::User, id: row.parse("principal_id")?, name: row.get("name")? },
        client_id: row.parse("client_id")?,
        active: row.get("active")?,
        held: row.get("held")?,
        document: document.map_err(|error| StoreError::corrupt("document", error))?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        deleted_at: row.time_opt("deleted_at")?,
    })
}

fn read_group(row: &Row) -> Result<GroupRow, StoreError> {
    Ok(GroupRow {
        id: row.get("id")?,
        name: row.get("name")?,
        external_id: row.get("external_id")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

/// A user as any directory keeps it, or kept it before it deleted it.
pub async fn user(tx: &mut Tx, id: &PrincipalId) -> Result<Option<UserRow>, StoreError> {
    tx.row(select_users!("WHERE s.principal_id = $1"), values![id]).await?.as_ref().map(read_user).transpose()
}

/// The users of a directory that are looked for, oldest first.
pub async fn users(tx: &mut Tx, client: &PrincipalId, wanted: &Wanted) -> Result<Vec<UserRow>, StoreError> {
    let rows = tx
        .rows(
            select_users!(
                "WHERE s.client_id = $1 AND s.deleted_at IS NULL AND ($2 IS NULL OR s.principal_id = $2) \
                 AND ($3 IS NULL OR LOWER(p.name) = $3) AND ($4 IS NULL OR s.external_id = $4) \
                 ORDER BY s.created_at, s.principal_id"
            ),
            values![client, wanted.id.clone(), wanted.name.clone(), wanted.external_id.clone()],
        )
        .await?;
    rows.iter().map(read_user).collect()
}

/// The names of all users of a directory.
pub async fn user_names(tx: &mut Tx, client: &PrincipalId) -> Result<HashMap<String, PrincipalRef>, StoreError> {
    let rows = tx
        .rows(
            "SELECT s.principal_id, p.name FROM scim_users s JOIN principals p ON p.id = s.principal_id \
             WHERE s.client_id = $1 AND s.deleted_at IS NULL",
            values![client],
        )
        .await?;
    let named = |row: &Row| {
        let principal =
            PrincipalRef { kind: PrincipalKind::User, id: row.parse("principal_id")?, name: row.get("name")? };
        Ok((principal.id.to_string(), principal))
    };
    rows.iter().map(named).collect()
}

/// Writes a user as its directory wants it: a new one, one that it had deleted, or one that it changes.
pub async fn put_user(tx: &mut Tx, row: &UserRow) -> Result<(), StoreError> {
    let document = Value::Object(row.document.clone()).to_string();
    tx.execute(
        "INSERT INTO scim_users (principal_id, client_id, external_id, active, held, document, created_at, updated_at, \
         deleted_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (principal_id) DO UPDATE SET \
         external_id = $3, active = $4, held = $5, document = $6, created_at = $7, updated_at = $8, deleted_at = $9",
        values![
            &row.principal.id,
            &row.client_id,
            row.document.get("externalId").and_then(Value::as_str),
            row.active,
            row.held,
            document,
            row.created_at,
            row.updated_at,
            row.deleted_at
        ],
    )
    .await?;
    Ok(())
}

/// Notes whether documents say that a user is disabled.
pub async fn hold(tx: &mut Tx, id: &PrincipalId, held: bool) -> Result<(), StoreError> {
    tx.execute("UPDATE scim_users SET held = $2 WHERE principal_id = $1", values![id, held]).await?;
    Ok(())
}

/// The groups of a directory that are looked for, oldest first.
pub async fn groups(tx: &mut Tx, client: &PrincipalId, wanted: &Wanted) -> Result<Vec<GroupRow>, StoreError> {
    let rows = tx
        .rows(
            select_groups!(
                "WHERE g.client_id = $1 AND ($2 IS NULL OR g.id = $2) AND ($3 IS NULL OR LOWER(g.name) = $3) \
                 AND ($4 IS NULL OR g.external_id = $4) ORDER BY g.created_at, g.id"
            ),
            values![client, wanted.id.clone(), wanted.name.clone(), wanted.external_id.clone()],
        )
        .await?;
    rows.iter().map(read_group).collect()
}

/// Nobody else locks that group until the transaction is over.
pub async fn lock_group(tx: &mut Tx, id: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE scim_groups SET updated_at = updated_at WHERE id = $1", values![id]).await?;
    Ok(())
}

/// Writes a group as its directory wants it: a new one, or one that it changes.
pub async fn put_group(tx: &mut Tx, client: &PrincipalId, row: &GroupRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO scim_groups (id, name, client_id, external_id, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (id) DO UPDATE SET name = $2, external_id = $4, updated_at = $6",
        values![&row.id, &row.name, client, row.external_id.as_deref(), row.created_at, row.updated_at],
    )
    .await?;
    Ok(())
}

/// Lets go of a group; the group itself stays.
pub async fn forget_group(tx: &mut Tx, id: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM scim_groups WHERE id = $1", values![id]).await?;
    Ok(())
}

/// Which of a directory's users are in a group, by id.
pub async fn members(tx: &mut Tx, client: &PrincipalId, group: &str) -> Result<Vec<String>, StoreError> {
    let rows = tx
        .rows(
            "SELECT m.principal_id FROM group_members m JOIN scim_users s ON s.principal_id = m.principal_id \
             WHERE m.group_name = $2 AND s.client_id = $1 AND s.deleted_at IS NULL ORDER BY m.principal_id",
            values![client, group],
        )
        .await?;
    rows.iter().map(|row| row.get("principal_id")).collect()
}

/// The groups of its directory that a user is in: id and name.
pub async fn groups_of(tx: &mut Tx, user: &PrincipalId) -> Result<Vec<(String, String)>, StoreError> {
    let rows = tx
        .rows(
            "SELECT g.id, g.name FROM scim_groups g JOIN group_members m ON m.group_name = g.name \
             JOIN scim_users s ON s.principal_id = m.principal_id AND s.client_id = g.client_id \
             WHERE m.principal_id = $1 AND s.deleted_at IS NULL ORDER BY g.name",
            values![user],
        )
        .await?;
    rows.iter().map(|row| Ok((row.get("id")?, row.get("name")?))).collect()
}

/// The name of the agent whose directory keeps a group, unless the agent is disabled.
pub async fn keeper_of(tx: &mut Tx, group: &str) -> Result<Option<String>, StoreError> {
    let row = tx
        .row(
            "SELECT c.name FROM scim_groups g JOIN principals c ON c.id = g.client_id \
             WHERE g.name = $1 AND NOT c.disabled",
            values![group],
        )
        .await?;
    row.map(|row| row.get("name")).transpose()
}
