//! Requests, votes and comments.

use super::{
    Row, StoreError, Tx,
    access::{MAX_LISTED, read_json, read_principal, read_principal_opt, to_json},
    tokens::Machine,
};
use crate::values;
use postern_api::{
    access::{Closed, Comment, RequestKind, RequestStatus, Verdict, Vote},
    identity::PrincipalRef,
    quorum::{Need, Quorum, QuorumMode},
    standing::Recurring,
};
use postern_types::{
    id::{GrantId, PrincipalId, RequestId},
    time::Micros,
};
use std::{net::IpAddr, time::Duration};

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
    /// The grant, once approved; an extension's from the start.
    pub grant_id: Option<GrantId>,
    /// When it left `pending`.
    pub decided_at: Option<Micros>,
    /// What is asked for.
    pub kind: RequestKind,
    /// Whose consent is needed.
    pub quorum: Quorum,
    /// The relations that are needed; none: whatever the role reaches.
    pub relations: Vec<String>,
    /// The address from which clients will come.
    pub client_address: Option<IpAddr>,
    /// Which machine asks, as its token says.
    pub machine: Machine,
    /// Of a standing approval: until when, and at which times.
    pub recurring: Option<Recurring>,
    /// Who ended a standing approval, or closed the review of break-glass.
    pub closed: Option<Closed>,
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

/// How a kind is stored.
#[must_use]
pub fn kind_text(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Access => "access",
        RequestKind::Extension => "extension",
        RequestKind::Standing => "standing",
        RequestKind::BreakGlass => "break-glass",
    }
}

fn parse_kind(text: &str) -> Result<RequestKind, StoreError> {
    Ok(match text {
        "access" => RequestKind::Access,
        "extension" => RequestKind::Extension,
        "standing" => RequestKind::Standing,
        "break-glass" => RequestKind::BreakGlass,
        other => return Err(StoreError::corrupt("kind", other)),
    })
}

macro_rules! select_requests {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.connection, r.access_role, r.duration_us, r.reason, r.ticket, r.status, r.created_at, ",
            "r.expires_at, r.approvals_needed, r.reviewer_groups, r.policy_reason, r.grant_id, r.decided_at, r.kind, ",
            "r.quorum, r.relations, r.client_address, r.job, r.certificate, r.recurring, r.closed_at, r.close_reason, ",
            "p.id AS p_id, p.kind AS p_kind, p.name AS p_name, o.id AS o_id, o.kind AS o_kind, o.name AS o_name, ",
            "c.id AS c_id, c.kind AS c_kind, c.name AS c_name ",
            "FROM requests r JOIN principals p ON p.id = r.requester_id LEFT JOIN principals o ON o.id = r.on_behalf_of_id ",
            "LEFT JOIN principals c ON c.id = r.closed_by_id ",
            $rest
        )
    };
}

fn read_request(row: &Row) -> Result<RequestRow, StoreError> {
    let duration_us = row.get::<i64>("duration_us")?;
    let approvals_needed = u32::try_from(row.get::<i64>("approvals_needed")?)
        .map_err(|error| StoreError::corrupt("approvals_needed", error))?;
    let reviewer_groups: Vec<String> = read_json(row, "reviewer_groups")?;
    let quorum = match row.get::<Option<String>>("quorum")? {
        Some(text) => serde_json::from_str(&text).map_err(|error| StoreError::corrupt("quorum", error))?,
        // Of before there was this column.
        None => {
            let need = Need { groups: reviewer_groups.clone(), count: approvals_needed };
            Quorum { mode: QuorumMode::All, needs: vec![need] }
        }
    };
    let recurring = row.get::<Option<String>>("recurring")?.map(|text| serde_json::from_str(&text)).transpose();
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
        approvals_needed,
        reviewer_groups,
        policy_reason: row.get("policy_reason")?,
        grant_id: row.parse_opt("grant_id")?,
        decided_at: row.time_opt("decided_at")?,
        kind: parse_kind(&row.get::<String>("kind")?)?,
        quorum,
        relations: read_json(row, "relations")?,
        client_address: row.parse_opt("client_address")?,
        machine: Machine { job: row.get("job")?, certificate: row.get("certificate")? },
        recurring: recurring.map_err(|error| StoreError::corrupt("recurring", error))?,
        closed: read_closed(row)?,
    })
}

fn read_closed(row: &Row) -> Result<Option<Closed>, StoreError> {
    let Some(at) = row.time_opt("closed_at")? else { return Ok(None) };
    Ok(Some(Closed { by: read_principal_opt(row, "c_id", "c_kind", "c_name")?, at, reason: row.get("close_reason")? }))
}

/// Writes a new request.
pub async fn insert_request(tx: &mut Tx, row: &RequestRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO requests (id, connection, access_role, duration_us, reason, ticket, requester_id, on_behalf_of_id, \
         status, created_at, expires_at, approvals_needed, reviewer_groups, policy_reason, grant_id, decided_at, kind, \
         quorum, relations, client_address, job, certificate, recurring, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
         0)",
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
            to_json("reviewer_groups", &row.reviewer_groups)?,
            &row.policy_reason,
            row.grant_id.as_ref(),
            row.decided_at,
            kind_text(row.kind),
            to_json("quorum", &row.quorum)?,
            to_json("relations", &row.relations)?,
            row.client_address.map(|address| address.to_string()),
            row.machine.job.as_deref(),
            row.machine.certificate.as_deref(),
            row.recurring.as_ref().map(|recurring| to_json("recurring", recurring)).transpose()?,
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

/// Which requests are listed. What is absent is any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Where they stand.
    pub status: Option<RequestStatus>,
    /// What they ask for.
    pub kind: Option<RequestKind>,
    /// By or for this principal.
    pub concerns: Option<&'a PrincipalId>,
    /// Only those whose review is open though access was given.
    pub to_review: bool,
}

/// Requests, newest first.
pub async fn list_requests(tx: &mut Tx, filter: Filter<'_>) -> Result<Vec<RequestRow>, StoreError> {
    let rows = tx
        .rows(
            select_requests!(
                "WHERE ($1 IS NULL OR r.status = $1) AND ($2 IS NULL OR r.kind = $2) \
                 AND ($3 IS NULL OR r.requester_id = $3 OR r.on_behalf_of_id = $3) \
                 AND ($4 = 0 OR (r.kind = 'break-glass' AND r.closed_at IS NULL)) \
                 ORDER BY r.created_at DESC, r.id DESC LIMIT $5"
            ),
            values![
                filter.status.map(status_text),
                filter.kind.map(kind_text),
                filter.concerns,
                i64::from(filter.to_review),
                MAX_LISTED,
            ],
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
    grant: Option<&GrantId>,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE requests SET status = $2, decided_at = $3, grant_id = COALESCE($4, grant_id) WHERE id = $1",
        values![id, status_text(status), at, grant],
    )
    .await?;
    Ok(())
}

/// Writes that less is to be granted than was asked for.
pub async fn narrow_request(
    tx: &mut Tx,
    id: &RequestId,
    duration: Duration,
    relations: &[String],
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE requests SET duration_us = $2, relations = $3 WHERE id = $1",
        values![id, duration_us(duration), to_json("relations", &relations)?],
    )
    .await?;
    Ok(())
}

/// Writes that a standing approval is over, or the review of break-glass.
pub async fn close_request(
    tx: &mut Tx,
    id: &RequestId,
    by: Option<&PrincipalId>,
    reason: Option<&str>,
    now: Micros,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE requests SET closed_at = $2, closed_by_id = $3, close_reason = $4 WHERE id = $1 AND closed_at IS NULL",
        values![id, now, by, reason],
    )
    .await?;
    Ok(())
}

/// The standing approvals for one role of a connection that nobody has ended, of one principal or of everybody, newest
/// first. Without a role: for all of them.
pub async fn standing(
    tx: &mut Tx,
    connection: &str,
    role: Option<&str>,
    requester: Option<&PrincipalId>,
) -> Result<Vec<RequestRow>, StoreError> {
    let rows = tx
        .rows(
            select_requests!(
                "WHERE r.kind = 'standing' AND r.status = 'approved' AND r.closed_at IS NULL AND r.connection = $1 \
                 AND ($2 IS NULL OR r.access_role = $2) AND ($3 IS NULL OR r.requester_id = $3) \
                 ORDER BY r.created_at DESC, r.id DESC"
            ),
            values![connection, role, requester],
        )
        .await?;
    rows.iter().map(read_request).collect()
}

/// What is undecided of a principal or for one, and the standing approvals that nobody has ended.
pub async fn live_of(tx: &mut Tx, principal: &PrincipalId) -> Result<Vec<RequestRow>, StoreError> {
    let rows = tx
        .rows(
            select_requests!(
                "WHERE (r.requester_id = $1 OR r.on_behalf_of_id = $1) AND (r.status = 'pending' \
                 OR (r.kind = 'standing' AND r.status = 'approved' AND r.closed_at IS NULL)) ORDER BY r.id"
            ),
            values![principal],
        )
        .await?;
    rows.iter().map(read_request).collect()
}

/// How many comments a request has.
pub async fn count_comments(tx: &mut Tx, request: &RequestId) -> Result<i64, StoreError> {
    let row = tx.row("SELECT COUNT(*) AS n FROM request_comments WHERE request_id = $1", values![request]).await?;
    row.map_or(Ok(0), |row| row.get("n"))
}

/// Writes a comment, the one of that number.
pub async fn insert_comment(
    tx: &mut Tx,
    request: &RequestId,
    number: i64,
    author: &PrincipalId,
    text: &str,
    now: Micros,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO request_comments (request_id, number, author_id, text, at) VALUES ($1, $2, $3, $4, $5)",
        values![request, number, author, text, now],
    )
    .await?;
    Ok(())
}

/// The comments on a request, oldest first.
pub async fn comments(tx: &mut Tx, request: &RequestId) -> Result<Vec<Comment>, StoreError> {
    let rows = tx
        .rows(
            "SELECT c.text, c.at, p.id AS p_id, p.kind AS p_kind, p.name AS p_name FROM request_comments c \
             JOIN principals p ON p.id = c.author_id WHERE c.request_id = $1 ORDER BY c.number",
            values![request],
        )
        .await?;
    let comment = |row: &Row| Ok(Comment { author: read_principal(row)?, text: row.get("text")?, at: row.time("at")? });
    rows.iter().map(comment).collect()
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

fn duration_us(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
