//! Grants and their credentials.

use super::{Row, StoreError, Tx};
use crate::{budgets::Balance, values};
use postern_api::{access::GrantStatus, identity::PrincipalRef};
use postern_proto::v1::Usage;
use postern_types::{
    id::{CredentialId, GrantId, PrincipalId, RequestId, SessionId},
    time::Micros,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{net::IpAddr, time::Duration};

/// The most requests or grants that are listed.
pub(super) const MAX_LISTED: i64 = 1000;

/// A grant, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// Its id; also the PostgreSQL user name of its URL.
    pub id: GrantId,
    /// The request of which it is the outcome.
    pub request_id: RequestId,
    /// The connection's name.
    pub connection: String,
    /// The access role's name.
    pub role: String,
    /// Who has it.
    pub principal: PrincipalRef,
    /// For whom.
    pub on_behalf_of: Option<PrincipalRef>,
    /// Why it was asked for.
    pub reason: String,
    /// When it began.
    pub starts_at: Micros,
    /// When it ends by itself.
    pub ends_at: Micros,
    /// What proves the URL's secret, once the URL was asked for.
    pub verifier: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<Micros>,
    /// Who revoked it; absent when Postern did.
    pub revoked_by: Option<PrincipalRef>,
    /// Why.
    pub revoke_reason: Option<String>,
    /// When its end was recorded.
    pub ended_at: Option<Micros>,
    /// Its budget, if it has one.
    pub balance: Option<Balance>,
    /// The relations that it is for; none: whatever its role reaches.
    pub relations: Vec<String>,
    /// The only address from which clients may come.
    pub bound_address: Option<IpAddr>,
    /// Whether the address of the first client becomes that.
    pub binds_first_use: bool,
    /// The only job that may use it, as `issuer subject`.
    pub bound_job: Option<String>,
    /// The certificate without which nobody may use it: its SHA-256, in hexadecimal.
    pub bound_certificate: Option<String>,
}

impl GrantRow {
    /// Where it stands at that time.
    #[must_use]
    pub fn status(&self, now: Micros) -> GrantStatus {
        if self.revoked_at.is_some() {
            GrantStatus::Revoked
        } else if now >= self.ends_at || self.ended_at.is_some() {
            GrantStatus::Expired
        } else {
            GrantStatus::Open
        }
    }
}

macro_rules! select_grants {
    ($rest:literal) => {
        concat!(
            "SELECT g.id, g.request_id, g.connection, g.access_role, g.reason, g.starts_at, g.ends_at, g.verifier, ",
            "g.revoked_at, g.revoke_reason, g.ended_at, g.budget, g.used_statements, g.used_rows_read, ",
            "g.used_rows_written, g.used_bytes_out, g.relations, g.bound_address, g.binds_first_use, g.bound_job, ",
            "g.bound_certificate, ",
            "p.id AS p_id, p.kind AS p_kind, p.name AS p_name, o.id AS o_id, o.kind AS o_kind, o.name AS o_name, ",
            "b.id AS b_id, b.kind AS b_kind, b.name AS b_name ",
            "FROM grants g JOIN principals p ON p.id = g.principal_id LEFT JOIN principals o ON o.id = g.on_behalf_of_id ",
            "LEFT JOIN principals b ON b.id = g.revoked_by_id ",
            $rest
        )
    };
}

pub(super) fn read_principal(row: &Row) -> Result<PrincipalRef, StoreError> {
    Ok(PrincipalRef { kind: row.parse("p_kind")?, id: row.parse("p_id")?, name: row.get("p_name")? })
}

pub(super) fn read_principal_opt(
    row: &Row,
    id: &'static str,
    kind: &'static str,
    name: &'static str,
) -> Result<Option<PrincipalRef>, StoreError> {
    let Some(id) = row.parse_opt(id)? else {
        return Ok(None);
    };
    Ok(Some(PrincipalRef { id, kind: row.parse(kind)?, name: row.get(name)? }))
}

fn read_grant(row: &Row) -> Result<GrantRow, StoreError> {
    Ok(GrantRow {
        id: row.parse("id")?,
        request_id: row.parse("request_id")?,
        connection: row.get("connection")?,
        role: row.get("access_role")?,
        principal: read_principal(row)?,
        on_behalf_of: read_principal_opt(row, "o_id", "o_kind", "o_name")?,
        reason: row.get("reason")?,
        starts_at: row.time("starts_at")?,
        ends_at: row.time("ends_at")?,
        verifier: row.get("verifier")?,
        revoked_at: row.time_opt("revoked_at")?,
        revoked_by: read_principal_opt(row, "b_id", "b_kind", "b_name")?,
        revoke_reason: row.get("revoke_reason")?,
        ended_at: row.time_opt("ended_at")?,
        balance: read_balance(row)?,
        relations: read_json(row, "relations")?,
        bound_address: row.parse_opt("bound_address")?,
        binds_first_use: row.get("binds_first_use")?,
        bound_job: row.get("bound_job")?,
        bound_certificate: row.get("bound_certificate")?,
    })
}

/// A column of JSON.
pub(super) fn read_json<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(&row.get::<String>(column)?).map_err(|error| StoreError::corrupt(column, error))
}

/// For a column of JSON.
pub(super) fn to_json(column: &'static str, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::corrupt(column, error))
}

fn read_balance(row: &Row) -> Result<Option<Balance>, StoreError> {
    let Some(budget) = row.get::<Option<String>>("budget")? else { return Ok(None) };
    let count = |column| {
        let count = row.get::<i64>(column)?;
        u64::try_from(count).map_err(|error| StoreError::corrupt(column, error))
    };
    let used = Usage {
        statements: count("used_statements")?,
        rows_read: count("used_rows_read")?,
        rows_written: count("used_rows_written")?,
        bytes_out: count("used_bytes_out")?,
    };
    Balance::read(&budget, used).map(Some)
}

/// Writes a new grant.
pub async fn insert_grant(tx: &mut Tx, row: &GrantRow) -> Result<(), StoreError> {
    let budget = row.balance.as_ref().map(|balance| to_json("budget", &balance.budget)).transpose()?;
    tx.execute(
        "INSERT INTO grants (id, request_id, connection, access_role, principal_id, on_behalf_of_id, reason, starts_at, \
         ends_at, budget, relations, bound_address, binds_first_use, bound_job, bound_certificate) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        values![
            &row.id,
            &row.request_id,
            &row.connection,
            &row.role,
            &row.principal.id,
            row.on_behalf_of.as_ref().map(|user| &user.id),
            &row.reason,
            row.starts_at,
            row.ends_at,
            budget,
            to_json("relations", &row.relations)?,
            row.bound_address.map(|address| address.to_string()),
            row.binds_first_use,
            row.bound_job.as_deref(),
            row.bound_certificate.as_deref(),
        ],
    )
    .await?;
    Ok(())
}

/// Adds what a session has used to its grant's account.
pub async fn use_up(tx: &mut Tx, session: &str, used: &Usage) -> Result<(), StoreError> {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    tx.execute(
        "UPDATE grants SET used_statements = used_statements + $2, used_rows_read = used_rows_read + $3, \
         used_rows_written = used_rows_written + $4, used_bytes_out = used_bytes_out + $5 \
         WHERE id = (SELECT grant_id FROM sessions WHERE id = $1)",
        values![
            session,
            count(used.statements),
            count(used.rows_read),
            count(used.rows_written),
            count(used.bytes_out),
        ],
    )
    .await?;
    Ok(())
}

/// How many sessions a grant has, but for one; nobody else can open another until the transaction is over. Those that
/// were let in before `since` and have not begun do not count: their tickets are worth nothing any more.
pub async fn lock_sessions(
    tx: &mut Tx,
    grant: &GrantId,
    but_for: &SessionId,
    since: Micros,
) -> Result<i64, StoreError> {
    tx.execute("UPDATE grants SET ended_at = ended_at WHERE id = $1", values![grant]).await?;
    let row = tx
        .row(
            "SELECT COUNT(*) AS n FROM sessions WHERE grant_id = $1 AND id <> $2 \
             AND (status = 'active' OR (status = 'authorized' AND started_at > $3))",
            values![grant, but_for, since],
        )
        .await?;
    row.map_or(Ok(0), |row| row.get("n"))
}

/// The grant of that id.
pub async fn grant(tx: &mut Tx, id: &GrantId) -> Result<Option<GrantRow>, StoreError> {
    tx.row(select_grants!("WHERE g.id = $1"), values![id]).await?.as_ref().map(read_grant).transpose()
}

/// All grants of everybody, newest first.
pub async fn list_grants(tx: &mut Tx) -> Result<Vec<GrantRow>, StoreError> {
    let rows = tx.rows(select_grants!("ORDER BY g.starts_at DESC, g.id DESC LIMIT $1"), values![MAX_LISTED]).await?;
    rows.iter().map(read_grant).collect()
}

/// The grants of one principal, or for one, newest first.
pub async fn list_grants_of(tx: &mut Tx, principal: &PrincipalId) -> Result<Vec<GrantRow>, StoreError> {
    let rows = tx
        .rows(
            select_grants!(
                "WHERE g.principal_id = $1 OR g.on_behalf_of_id = $1 ORDER BY g.starts_at DESC, g.id DESC LIMIT $2"
            ),
            values![principal, MAX_LISTED],
        )
        .await?;
    rows.iter().map(read_grant).collect()
}

/// The grants of a principal that have not ended.
pub async fn unended_grants_of(tx: &mut Tx, principal: &PrincipalId) -> Result<Vec<GrantRow>, StoreError> {
    let rows = tx
        .rows(
            select_grants!(
                "WHERE (g.principal_id = $1 OR g.on_behalf_of_id = $1) AND g.ended_at IS NULL ORDER BY g.id"
            ),
            values![principal],
        )
        .await?;
    rows.iter().map(read_grant).collect()
}

/// The grants of a connection that have not ended.
pub async fn unended_grants_on(tx: &mut Tx, connection: &str) -> Result<Vec<GrantRow>, StoreError> {
    let rows = tx
        .rows(select_grants!("WHERE g.connection = $1 AND g.ended_at IS NULL ORDER BY g.id"), values![connection])
        .await?;
    rows.iter().map(read_grant).collect()
}

/// Grants whose time is over and whose end is not yet recorded, at most `limit`.
pub async fn overdue_grants(tx: &mut Tx, now: Micros, limit: u32) -> Result<Vec<GrantRow>, StoreError> {
    let rows = tx
        .rows(
            select_grants!("WHERE g.ended_at IS NULL AND g.ends_at <= $1 ORDER BY g.ends_at LIMIT $2"),
            values![now, limit],
        )
        .await?;
    rows.iter().map(read_grant).collect()
}

/// When the next grant or request ends by itself, if there is one.
pub async fn next_end(tx: &mut Tx) -> Result<Option<Micros>, StoreError> {
    let row = tx
        .row(
            "SELECT MIN(at) AS at FROM (SELECT ends_at AS at FROM grants WHERE ended_at IS NULL \
             UNION ALL SELECT expires_at AS at FROM requests WHERE status = 'pending') ends",
            [],
        )
        .await?;
    row.map_or(Ok(None), |row| row.time_opt("at"))
}

/// Writes that a grant's time is over; false when it had ended before, or was extended.
pub async fn expire_grant(tx: &mut Tx, id: &GrantId, now: Micros) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE grants SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL AND ends_at <= $2",
            values![id, now],
        )
        .await?;
    Ok(changed > 0)
}

/// Writes that a grant ends so much later; none when it has ended.
pub async fn extend_grant(
    tx: &mut Tx,
    id: &GrantId,
    by: Duration,
    now: Micros,
) -> Result<Option<GrantRow>, StoreError> {
    let changed = tx
        .execute(
            "UPDATE grants SET ends_at = ends_at + $2, extended = TRUE \
             WHERE id = $1 AND ended_at IS NULL AND revoked_at IS NULL AND ends_at > $3",
            values![id, i64::try_from(by.as_micros()).unwrap_or(i64::MAX), now],
        )
        .await?;
    if changed == 0 { Ok(None) } else { grant(tx, id).await }
}

/// Whether a client may come from this address to a grant. Where the first one's is to be the only one, it is that from
/// now on.
pub async fn bind_address(tx: &mut Tx, id: &GrantId, address: IpAddr) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE grants SET bound_address = CASE WHEN binds_first_use THEN $2 ELSE bound_address END \
             WHERE id = $1 AND (bound_address = $2 OR bound_address IS NULL)",
            values![id, address.to_string()],
        )
        .await?;
    Ok(changed > 0)
}

/// The grants that a principal has open for a role of a connection, the one that lasts longest first.
pub async fn open_grants_for(
    tx: &mut Tx,
    principal: &PrincipalId,
    connection: &str,
    role: &str,
    now: Micros,
) -> Result<Vec<GrantRow>, StoreError> {
    let rows = tx
        .rows(
            select_grants!(
                "WHERE g.principal_id = $1 AND g.connection = $2 AND g.access_role = $3 AND g.ended_at IS NULL \
                 AND g.ends_at > $4 ORDER BY g.ends_at DESC, g.id DESC"
            ),
            values![principal, connection, role, now],
        )
        .await?;
    rows.iter().map(read_grant).collect()
}

/// Writes that a grant was revoked; false when it had ended before.
pub async fn revoke_grant(
    tx: &mut Tx,
    id: &GrantId,
    by: Option<&PrincipalId>,
    reason: Option<&str>,
    now: Micros,
) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE grants SET revoked_at = $2, revoked_by_id = $3, revoke_reason = $4, ended_at = $2 \
             WHERE id = $1 AND ended_at IS NULL",
            values![id, now, by, reason],
        )
        .await?;
    Ok(changed > 0)
}

/// Replaces what proves the grant's URL.
pub async fn set_verifier(tx: &mut Tx, id: &GrantId, verifier: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE grants SET verifier = $2 WHERE id = $1", values![id, verifier]).await?;
    Ok(())
}

/// Writes a further credential of a grant.
pub async fn insert_credential(
    tx: &mut Tx,
    id: &CredentialId,
    grant: &GrantId,
    verifier: &str,
    now: Micros,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO credentials (id, grant_id, verifier, created_at) VALUES ($1, $2, $3, $4)",
        values![id, grant, verifier, now],
    )
    .await?;
    Ok(())
}

/// How many further credentials a grant has.
pub async fn count_credentials(tx: &mut Tx, grant: &GrantId) -> Result<i64, StoreError> {
    let row = tx.row("SELECT COUNT(*) AS n FROM credentials WHERE grant_id = $1", values![grant]).await?;
    row.map_or(Ok(0), |row| row.get("n"))
}

/// The grant of a further credential, and what proves it.
pub async fn credential(tx: &mut Tx, id: &CredentialId) -> Result<Option<(GrantId, String)>, StoreError> {
    let row = tx.row("SELECT grant_id, verifier FROM credentials WHERE id = $1", values![id]).await?;
    row.map(|row| Ok((row.parse("grant_id")?, row.get("verifier")?))).transpose()
}
