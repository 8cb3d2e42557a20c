//! Requests, votes, grants and their credentials.

use super::{Row, StoreError, Tx};
use crate::{budgets::Balance, values};
use postern_api::{
    access::{GrantStatus, RequestStatus, Verdict, Vote},
    identity::PrincipalRef,
};
use postern_proto::v1::Usage;
use postern_types::{
    id::{CredentialId, GrantId, PrincipalId, RequestId, SessionId},
    time::Micros,
};
use std::time::Duration;

/// The most requests or grants that are listed.
const MAX_LISTED: i64 = 1000;

/// A request, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// Its id.
    pub id: RequestId,
    /// The connection's name.
    pub connection: String,
    /// The access role's name.
    pub role: String,
    /// How long; once approved, how long was approved.
    pub duration: Duration,
    /// Why.
    pub reason: String,
    /// The ticket behind it.
    pub ticket: Option<String>,
    /// Who asks.
    pub requester: PrincipalRef,
    /// For whom.
    pub on_behalf_of: Option<PrincipalRef>,
    /// Where it stands.
    pub status: RequestStatus,
    /// When it was made.
    pub created_at: Micros,
    /// When it expires if nobody answers.
    pub expires_at: Micros,
    /// How many have to say yes.
    pub approvals_needed: u32,
    /// Of which groups; empty: admins.
    pub reviewer_groups: Vec<String>,
    /// By which rule it was approved or sent to review.
    pub policy_reason: String,
    /// The grant, once approved.
    pub grant_id: Option<GrantId>,
    /// When it left `pending`.
    pub decided_at: Option<Micros>,
}

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

/// How a status is stored.
#[must_use]
pub fn status_text(status: RequestStatus) -> &'static str {
    match status {
        RequestStatus::Pending => "pending",
        RequestStatus::Approved => "approved",
        RequestStatus::Denied => "denied",
        RequestStatus::Expired => "expired",
        RequestStatus::Withdrawn => "withdrawn",
    }
}

fn parse_status(text: &str) -> Result<RequestStatus, StoreError> {
    Ok(match text {
        "pending" => RequestStatus::Pending,
        "approved" => RequestStatus::Approved,
        "denied" => RequestStatus::Denied,
        "expired" => RequestStatus::Expired,
        "withdrawn" => RequestStatus::Withdrawn,
        other => return Err(StoreError::corrupt("status", other)),
    })
}

macro_rules! select_requests {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.connection, r.access_role, r.duration_us, r.reason, r.ticket, r.status, r.created_at, ",
            "r.expires_at, r.approvals_needed, r.reviewer_groups, r.policy_reason, r.grant_id, r.decided_at, ",
            "p.id AS p_id, p.kind AS p_kind, p.name AS p_name, o.id AS o_id, o.kind AS o_kind, o.name AS o_name ",
            "FROM requests r JOIN principals p ON p.id = r.requester_id LEFT JOIN principals o ON o.id = r.on_behalf_of_id ",
            $rest
        )
    };
}

macro_rules! select_grants {
    ($rest:literal) => {
        concat!(
            "SELECT g.id, g.request_id, g.connection, g.access_role, g.reason, g.starts_at, g.ends_at, g.verifier, ",
            "g.revoked_at, g.revoke_reason, g.ended_at, g.budget, g.used_statements, g.used_rows_read, ",
            "g.used_rows_written, g.used_bytes_out, ",
            "p.id AS p_id, p.kind AS p_kind, p.name AS p_name, o.id AS o_id, o.kind AS o_kind, o.name AS o_name, ",
            "b.id AS b_id, b.kind AS b_kind, b.name AS b_name ",
            "FROM grants g JOIN principals p ON p.id = g.principal_id LEFT JOIN principals o ON o.id = g.on_behalf_of_id ",
            "LEFT JOIN principals b ON b.id = g.revoked_by_id ",
            $rest
        )
    };
}

fn read_principal(row: &Row) -> Result<PrincipalRef, StoreError> {
    Ok(PrincipalRef { kind: row.parse("p_kind")?, id: row.parse("p_id")?, name: row.get("p_name")? })
}

fn read_principal_opt(
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

fn read_request(row: &Row) -> Result<RequestRow, StoreError> {
    let groups = row.get::<String>("reviewer_groups")?;
    let duration_us = row.get::<i64>("duration_us")?;
    Ok(RequestRow {
        id: row.parse("id")?,
        connection: row.get("connection")?,
        role: row.get("access_role")?,
        duration: Duration::from_micros(
            u64::try_from(duration_us).map_err(|error| StoreError::corrupt("duration_us", error))?,
        ),
        reason: row.get("reason")?,
        ticket: row.get("ticket")?,
        requester: read_principal(row)?,
        on_behalf_of: read_principal_opt(row, "o_id", "o_kind", "o_name")?,
        status: parse_status(&row.get::<String>("status")?)?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        approvals_needed: u32::try_from(row.get::<i64>("approvals_needed")?)
            .map_err(|error| StoreError::corrupt("approvals_needed", error))?,
        reviewer_groups: serde_json::from_str(&groups)
            .map_err(|error| StoreError::corrupt("reviewer_groups", error))?,
        policy_reason: row.get("policy_reason")?,
        grant_id: row.parse_opt("grant_id")?,
        decided_at: row.time_opt("decided_at")?,
    })
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
    })
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

/// Writes a new request.
pub async fn insert_request(tx: &mut Tx, row: &RequestRow) -> Result<(), StoreError> {
    let groups =
        serde_json::to_string(&row.reviewer_groups).map_err(|error| StoreError::corrupt("reviewer_groups", error))?;
    tx.execute(
        "INSERT INTO requests (id, connection, access_role, duration_us, reason, ticket, requester_id, on_behalf_of_id, \
         status, created_at, expires_at, approvals_needed, reviewer_groups, policy_reason, grant_id, decided_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0)",
        values![
            &row.id,
            &row.connection,
            &row.role,
            duration_us(row.duration),
            &row.reason,
            row.ticket.clone(),
            &row.requester.id,
            row.on_behalf_of.as_ref().map(|user| &user.id),
            status_text(row.status),
            row.created_at,
            row.expires_at,
            row.approvals_needed,
            groups,
            &row.policy_reason,
            row.grant_id.as_ref(),
            row.decided_at,
        ],
    )
    .await?;
    Ok(())
}

/// The request of that id.
pub async fn request(tx: &mut Tx, id: &RequestId) -> Result<Option<RequestRow>, StoreError> {
    tx.row(select_requests!("WHERE r.id = $1"), values![id]).await?.as_ref().map(read_request).transpose()
}

/// The request of that id, which nobody else can change until the transaction is over.
pub async fn lock_request(tx: &mut Tx, id: &RequestId) -> Result<Option<RequestRow>, StoreError> {
    tx.execute("UPDATE requests SET version = version + 1 WHERE id = $1", values![id]).await?;
    request(tx, id).await
}

/// Requests, newest first, of one status or of any.
pub async fn list_requests(tx: &mut Tx, status: Option<RequestStatus>) -> Result<Vec<RequestRow>, StoreError> {
    let rows = tx
        .rows(
            select_requests!("WHERE ($1 IS NULL OR r.status = $1) ORDER BY r.created_at DESC, r.id DESC LIMIT $2"),
            values![status.map(status_text), MAX_LISTED],
        )
        .await?;
    rows.iter().map(read_request).collect()
}

/// Requests by or for one principal, newest first.
pub async fn list_requests_of(
    tx: &mut Tx,
    principal: &PrincipalId,
    status: Option<RequestStatus>,
) -> Result<Vec<RequestRow>, StoreError> {
    let rows = tx
        .rows(
            select_requests!(
                "WHERE (r.requester_id = $1 OR r.on_behalf_of_id = $1) AND ($2 IS NULL OR r.status = $2) \
                 ORDER BY r.created_at DESC, r.id DESC LIMIT $3"
            ),
            values![principal, status.map(status_text), MAX_LISTED],
        )
        .await?;
    rows.iter().map(read_request).collect()
}

/// How many requests of a principal are pending.
pub async fn pending_of(tx: &mut Tx, requester: &PrincipalId) -> Result<i64, StoreError> {
    let row = tx
        .row("SELECT COUNT(*) AS n FROM requests WHERE requester_id = $1 AND status = 'pending'", values![requester])
        .await?;
    row.map_or(Ok(0), |row| row.get("n"))
}

/// The ids of pending requests whose time is over, at most `limit`.
pub async fn overdue_requests(tx: &mut Tx, now: Micros, limit: u32) -> Result<Vec<RequestId>, StoreError> {
    let rows = tx
        .rows(
            "SELECT id FROM requests WHERE status = 'pending' AND expires_at <= $1 ORDER BY expires_at LIMIT $2",
            values![now, limit],
        )
        .await?;
    rows.iter().map(|row| row.parse("id")).collect()
}

/// Writes that a request is decided.
pub async fn decide_request(
    tx: &mut Tx,
    id: &RequestId,
    status: RequestStatus,
    at: Micros,
    granted: Option<(&GrantId, Duration)>,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE requests SET status = $2, decided_at = $3, grant_id = $4, duration_us = COALESCE($5, duration_us) WHERE id = $1",
        values![
            id,
            status_text(status),
            at,
            granted.map(|(grant, _)| grant),
            granted.map(|(_, duration)| duration_us(duration)),
        ],
    )
    .await?;
    Ok(())
}

/// Writes that less time is to be granted than was asked for.
pub async fn shorten_request(tx: &mut Tx, id: &RequestId, duration: Duration) -> Result<(), StoreError> {
    tx.execute("UPDATE requests SET duration_us = $2 WHERE id = $1", values![id, duration_us(duration)]).await?;
    Ok(())
}

/// Writes a vote; false when that reviewer voted before.
pub async fn insert_vote(tx: &mut Tx, request: &RequestId, vote: &Vote) -> Result<bool, StoreError> {
    let verdict = match vote.verdict {
        Verdict::Approve => "approve",
        Verdict::Deny => "deny",
    };
    let written = tx
        .execute(
            "INSERT INTO votes (request_id, reviewer_id, verdict, reason, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            values![request, &vote.reviewer.id, verdict, vote.reason.clone(), vote.at],
        )
        .await?;
    Ok(written > 0)
}

/// The votes on a request, oldest first.
pub async fn votes(tx: &mut Tx, request: &RequestId) -> Result<Vec<Vote>, StoreError> {
    let rows = tx
        .rows(
            "SELECT v.verdict, v.reason, v.at, p.id AS p_id, p.kind AS p_kind, p.name AS p_name \
             FROM votes v JOIN principals p ON p.id = v.reviewer_id WHERE v.request_id = $1 ORDER BY v.at, p.id",
            values![request],
        )
        .await?;
    let vote = |row: &Row| {
        let verdict = match row.get::<String>("verdict")?.as_str() {
            "approve" => Verdict::Approve,
            "deny" => Verdict::Deny,
            other => return Err(StoreError::corrupt("verdict", other)),
        };
        Ok(Vote { reviewer: read_principal(row)?, verdict, reason: row.get("reason")?, at: row.time("at")? })
    };
    rows.iter().map(vote).collect()
}

/// Writes a new grant.
pub async fn insert_grant(tx: &mut Tx, row: &GrantRow) -> Result<(), StoreError> {
    let budget = row.balance.as_ref().map(|balance| serde_json::to_string(&balance.budget)).transpose();
    let budget = budget.map_err(|error| StoreError::corrupt("budget", error))?;
    tx.execute(
        "INSERT INTO grants (id, request_id, connection, access_role, principal_id, on_behalf_of_id, reason, starts_at, \
         ends_at, budget) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
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
            select_grants!("WHERE (g.principal_id = $1 OR g.on_behalf_of_id = $1) AND g.ended_at IS NULL"),
            values![principal],
        )
        .await?;
    rows.iter().map(read_grant).collect()
}

/// The grants of a connection that have not ended.
pub async fn unended_grants_on(tx: &mut Tx, connection: &str) -> Result<Vec<GrantRow>, StoreError> {
    let rows = tx.rows(select_grants!("WHERE g.connection = $1 AND g.ended_at IS NULL"), values![connection]).await?;
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

/// Writes that a grant's time is over; false when it had ended before.
pub async fn expire_grant(tx: &mut Tx, id: &GrantId, now: Micros) -> Result<bool, StoreError> {
    let changed =
        tx.execute("UPDATE grants SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL", values![id, now]).await?;
    Ok(changed > 0)
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

fn duration_us(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
