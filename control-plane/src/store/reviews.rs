//! Statement reviews, their votes and comments, and the sessions that wait for them.

use super::{Row, StoreError, Tx, access::read_json_opt};
use crate::values;
use postern_api::{
    event::Subject,
    identity::{BehalfProof, PrincipalRef},
    review::{Proposal, ReviewComment, ReviewStatus, ReviewVote},
};
use postern_proto::v1::ReviewedStatement;
use postern_types::{
    id::{GrantId, PrincipalId, ReviewId, SessionId},
    time::Micros,
};
use prost::Message as _;
use serde::{Serialize, de::DeserializeOwned};

/// The most reviews that are listed: each holds a whole statement.
const MAX_LISTED: i64 = 500;

/// A review, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ReviewRow {
    /// Its id.
    pub id: ReviewId,
    /// Under which grant.
    pub grant_id: GrantId,
    /// Why that was asked for.
    pub reason: String,
    /// The ticket behind it.
    pub ticket: Option<String>,
    /// In which session the statement was sent first.
    pub session_id: SessionId,
    /// Who asks.
    pub principal: PrincipalRef,
    /// For whom.
    pub on_behalf_of: Option<PrincipalRef>,
    /// How that was proved when the grant was asked for. It is not written.
    pub behalf_proof: Option<BehalfProof>,
    /// The user who answers for the agent whose statement it is, as it is now. It is not written.
    pub owner: Option<PrincipalId>,
    /// The connection's name.
    pub connection: String,
    /// The access role's name.
    pub role: String,
    /// Of all that an answer is for.
    pub key: Vec<u8>,
    /// Of the same without literals; empty where none can be left free.
    pub shape: Vec<u8>,
    /// The literals' digests.
    pub literals: Vec<Vec<u8>>,
    /// What reviewers are shown.
    pub statement: ReviewedStatement,
    /// Where it stands.
    pub status: ReviewStatus,
    /// When others may answer too.
    pub escalate_at: Option<Micros>,
    /// Who: members of these groups.
    pub escalate_to: Vec<String>,
    /// Since when they may.
    pub escalated_at: Option<Micros>,
    /// When it was opened.
    pub created_at: Micros,
    /// When it expires, unanswered or unused.
    pub expires_at: Micros,
    /// When it was decided.
    pub decided_at: Option<Micros>,
    /// What was approved.
    pub decision: Option<Proposal>,
    /// When it was used, last.
    pub claimed_at: Option<Micros>,
    /// How many times.
    pub uses: i64,
    /// Whether a client left with its ticket, and may come back.
    pub has_ticket: bool,
    /// Why it was closed where no reviewer did it; by which rule it was approved.
    pub because: Option<String>,
}

/// A session that has asked and not left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Which.
    pub session: SessionId,
    /// The connector in which it lives.
    pub connector: String,
    /// The process of it.
    pub incarnation: String,
    /// For which review.
    pub review: ReviewId,
    /// What it has asked.
    pub key: Vec<u8>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.grant_id, r.session_id, r.connection, r.access_role, r.key, r.shape, r.literals, ",
            "r.statement, r.status, r.escalate_at, r.escalate_to, r.escalated_at, r.created_at, r.expires_at, ",
            "r.decided_at, r.decision, r.claimed_at, r.uses, r.has_ticket, r.because, g.reason, q.ticket, q.behalf_proof, ",
            "p.id AS p_id, p.kind AS p_kind, p.name AS p_name, p.owner_id, o.id AS o_id, o.kind AS o_kind, o.name AS o_name ",
            "FROM reviews r JOIN grants g ON g.id = r.grant_id JOIN requests q ON q.id = g.request_id ",
            "JOIN principals p ON p.id = r.principal_id LEFT JOIN principals o ON o.id = r.on_behalf_of_id ",
            $rest
        )
    };
}

macro_rules! select_waits {
    ($rest:literal) => {
        concat!(
            "SELECT w.session_id, w.review_id, w.key, s.connector_id, s.incarnation ",
            "FROM review_waits w JOIN sessions s ON s.id = w.session_id ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<ReviewRow, StoreError> {
    let statement = row.get::<Vec<u8>>("statement")?;
    let on_behalf_of = match row.parse_opt("o_id")? {
        Some(id) => Some(PrincipalRef { id, kind: row.parse("o_kind")?, name: row.get("o_name")? }),
        None => None,
    };
    Ok(ReviewRow {
        id: row.parse("id")?,
        grant_id: row.parse("grant_id")?,
        reason: row.get("reason")?,
        ticket: row.get("ticket")?,
        session_id: row.parse("session_id")?,
        principal: PrincipalRef { kind: row.parse("p_kind")?, id: row.parse("p_id")?, name: row.get("p_name")? },
        on_behalf_of,
        behalf_proof: read_json_opt(row, "behalf_proof")?,
        owner: row.parse_opt("owner_id")?,
        connection: row.get("connection")?,
        role: row.get("access_role")?,
        key: row.get("key")?,
        shape: row.get("shape")?,
        literals: from_json("literals", &row.get::<String>("literals")?)?,
        statement: ReviewedStatement::decode(statement.as_slice())
            .map_err(|error| StoreError::corrupt("statement", error))?,
        status: row.parse("status")?,
        escalate_at: row.time_opt("escalate_at")?,
        escalate_to: from_json("escalate_to", &row.get::<String>("escalate_to")?)?,
        escalated_at: row.time_opt("escalated_at")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        decided_at: row.time_opt("decided_at")?,
        decision: row.get::<Option<String>>("decision")?.map(|text| from_json("decision", &text)).transpose()?,
        claimed_at: row.time_opt("claimed_at")?,
        uses: row.get("uses")?,
        has_ticket: row.get("has_ticket")?,
        because: row.get("because")?,
    })
}

fn read_wait(row: &Row) -> Result<Wait, StoreError> {
    Ok(Wait {
        session: row.parse("session_id")?,
        connector: row.get("connector_id")?,
        incarnation: row.get("incarnation")?,
        review: row.parse("review_id")?,
        key: row.get("key")?,
    })
}

fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(what, error))
}

fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::corrupt(what, error))
}

/// Writes a new review.
pub async fn insert(tx: &mut Tx, row: &ReviewRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO reviews (id, grant_id, session_id, principal_id, on_behalf_of_id, connection, access_role, key, \
         shape, literals, statement, status, escalate_at, escalate_to, created_at, expires_at, decided_at, for_grant, \
         decision, uses, has_ticket, because, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, 0, FALSE, $20, 0)",
        values![
            &row.id,
            &row.grant_id,
            &row.session_id,
            &row.principal.id,
            row.on_behalf_of.as_ref().map(|user| &user.id),
            &row.connection,
            &row.role,
            row.key.as_slice(),
            row.shape.as_slice(),
            to_json("literals", &row.literals)?,
            row.statement.encode_to_vec(),
            row.status.as_str(),
            row.escalate_at,
            to_json("escalate_to", &row.escalate_to)?,
            row.created_at,
            row.expires_at,
            row.decided_at,
            row.decision.as_ref().is_some_and(|decision| decision.for_grant),
            row.decision.as_ref().map(|decision| to_json("decision", decision)).transpose()?,
            row.because.clone(),
        ],
    )
    .await?;
    Ok(())
}

/// The review of that id.
pub async fn by_id(tx: &mut Tx, id: &ReviewId) -> Result<Option<ReviewRow>, StoreError> {
    tx.row(select!("WHERE r.id = $1"), values![id]).await?.as_ref().map(read).transpose()
}

/// The review of that id, which nobody else can change until the transaction is over.
pub async fn lock(tx: &mut Tx, id: &ReviewId) -> Result<Option<ReviewRow>, StoreError> {
    tx.execute("UPDATE reviews SET version = version + 1 WHERE id = $1", values![id]).await?;
    by_id(tx, id).await
}

/// Nobody else can open a review under that grant until the transaction is over.
pub async fn lock_grant(tx: &mut Tx, grant: &GrantId) -> Result<(), StoreError> {
    tx.execute("UPDATE grants SET ended_at = ended_at WHERE id = $1", values![grant]).await?;
    Ok(())
}

/// Reviews, newest first, of one status or of any; of one principal, and for it, or of everybody.
pub async fn list(
    tx: &mut Tx,
    status: Option<ReviewStatus>,
    of: Option<&PrincipalId>,
) -> Result<Vec<ReviewRow>, StoreError> {
    let rows = tx
        .rows(
            select!(
                "WHERE ($1 IS NULL OR r.status = $1) AND ($2 IS NULL OR r.principal_id = $2 OR r.on_behalf_of_id = $2) \
                 ORDER BY r.created_at DESC, r.id DESC LIMIT $3"
            ),
            values![status.map(ReviewStatus::as_str), of, MAX_LISTED],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Whose statement an answer is for.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// Who sends it.
    pub principal: &'a PrincipalId,
    /// For whom.
    pub on_behalf_of: Option<&'a PrincipalId>,
    /// The connection's name.
    pub connection: &'a str,
    /// The access role's name.
    pub role: &'a str,
}

/// The review for once that waits for an answer, or whose approval was not used yet: an approved one before one that
/// waits.
pub async fn open_of_key(
    tx: &mut Tx,
    whose: Whose<'_>,
    key: &[u8],
    now: Micros,
) -> Result<Option<ReviewId>, StoreError> {
    let row = tx
        .row(
            "SELECT id FROM reviews WHERE principal_id = $1 AND COALESCE(on_behalf_of_id, '') = COALESCE($2, '') \
             AND connection = $3 AND access_role = $4 AND key = $5 AND status IN ('pending', 'approved') \
             AND NOT for_grant AND expires_at > $6 ORDER BY status, created_at DESC LIMIT 1",
            values![whose.principal, whose.on_behalf_of, whose.connection, whose.role, key, now],
        )
        .await?;
    row.map(|row| row.parse("id")).transpose()
}

/// What was approved for a grant and this shape, newest first.
pub async fn of_shape(tx: &mut Tx, grant: &GrantId, shape: &[u8], now: Micros) -> Result<Vec<ReviewRow>, StoreError> {
    let rows = tx
        .rows(
            select!(
                "WHERE r.grant_id = $1 AND r.shape = $2 AND r.status = 'approved' AND r.for_grant AND r.expires_at > $3 \
                 ORDER BY r.created_at DESC LIMIT 100"
            ),
            values![grant, shape, now],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// How many reviews of a principal wait for an answer.
pub async fn pending_of(tx: &mut Tx, principal: &PrincipalId) -> Result<i64, StoreError> {
    let row = tx
        .row("SELECT COUNT(*) AS n FROM reviews WHERE principal_id = $1 AND status = 'pending'", values![principal])
        .await?;
    row.map_or(Ok(0), |row| row.get("n"))
}

/// Writes what was approved, and until when it can be used.
pub async fn approve(
    tx: &mut Tx,
    id: &ReviewId,
    decision: &Proposal,
    expires_at: Micros,
    now: Micros,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE reviews SET status = 'approved', decision = $2, for_grant = $3, expires_at = $4, decided_at = $5 \
         WHERE id = $1",
        values![id, to_json("decision", decision)?, decision.for_grant, expires_at, now],
    )
    .await?;
    Ok(())
}

/// Writes that a review is over: denied, expired or withdrawn.
pub async fn close(
    tx: &mut Tx,
    id: &ReviewId,
    status: ReviewStatus,
    because: Option<&str>,
    now: Micros,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE reviews SET status = $2, because = $3, decided_at = $4 WHERE id = $1",
        values![id, status.as_str(), because, now],
    )
    .await?;
    Ok(())
}

/// Writes that an approval is used.
pub async fn used(tx: &mut Tx, id: &ReviewId, status: ReviewStatus, now: Micros) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE reviews SET status = $2, claimed_at = $3, uses = uses + 1 WHERE id = $1",
        values![id, status.as_str(), now],
    )
    .await?;
    Ok(())
}

/// Writes that others may answer too.
pub async fn escalated(tx: &mut Tx, id: &ReviewId, now: Micros) -> Result<(), StoreError> {
    tx.execute("UPDATE reviews SET escalated_at = $2 WHERE id = $1", values![id, now]).await?;
    Ok(())
}

/// Reviews for which something is due: they have expired, others may answer from now on, or their grant or session was
/// ended. At most `limit`.
pub async fn due(tx: &mut Tx, now: Micros, limit: u32) -> Result<Vec<ReviewId>, StoreError> {
    let rows = tx
        .rows(
            "SELECT r.id FROM reviews r JOIN grants g ON g.id = r.grant_id JOIN sessions s ON s.id = r.session_id \
             WHERE r.status IN ('pending', 'approved') AND (r.expires_at <= $1 OR g.ended_at IS NOT NULL \
             OR (s.status = 'ended' AND s.end_reason = 'killed') \
             OR (r.status = 'pending' AND r.escalate_at <= $1 AND r.escalated_at IS NULL)) \
             ORDER BY r.expires_at LIMIT $2",
            values![now, limit],
        )
        .await?;
    rows.iter().map(|row| row.parse("id")).collect()
}

/// Writes a reviewer's vote in place of the one before.
pub async fn put_vote(tx: &mut Tx, review: &ReviewId, vote: &ReviewVote) -> Result<(), StoreError> {
    let proposal = vote.approves.as_ref().map(|proposal| to_json("proposal", proposal)).transpose()?;
    tx.execute(
        "INSERT INTO review_votes (review_id, reviewer_id, verdict, reason, proposal, at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (review_id, reviewer_id) DO UPDATE SET verdict = excluded.verdict, reason = excluded.reason, \
         proposal = excluded.proposal, at = excluded.at",
        values![
            review,
            &vote.reviewer.id,
            if proposal.is_some() { "approve" } else { "deny" },
            vote.reason.clone(),
            proposal,
            vote.at
        ],
    )
    .await?;
    Ok(())
}

/// The votes on a review, oldest first.
pub async fn votes(tx: &mut Tx, review: &ReviewId) -> Result<Vec<ReviewVote>, StoreError> {
    let rows = tx
        .rows(
            "SELECT v.reason, v.proposal, v.at, p.id, p.kind, p.name FROM review_votes v \
             JOIN principals p ON p.id = v.reviewer_id WHERE v.review_id = $1 ORDER BY v.at, p.id",
            values![review],
        )
        .await?;
    let vote = |row: &Row| {
        Ok(ReviewVote {
            reviewer: PrincipalRef { kind: row.parse("kind")?, id: row.parse("id")?, name: row.get("name")? },
            approves: row.get::<Option<String>>("proposal")?.map(|text| from_json("proposal", &text)).transpose()?,
            reason: row.get("reason")?,
            at: row.time("at")?,
        })
    };
    rows.iter().map(vote).collect()
}

/// Writes a comment.
pub async fn insert_comment(tx: &mut Tx, review: &ReviewId, comment: &ReviewComment) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO review_comments (review_id, author_id, at, text) VALUES ($1, $2, $3, $4)",
        values![review, &comment.author.id, comment.at, &comment.text],
    )
    .await?;
    Ok(())
}

/// The comments on a review, oldest first.
pub async fn comments(tx: &mut Tx, review: &ReviewId) -> Result<Vec<ReviewComment>, StoreError> {
    let rows = tx
        .rows(
            "SELECT c.text, c.at, p.id, p.kind, p.name FROM review_comments c JOIN principals p ON p.id = c.author_id \
             WHERE c.review_id = $1 ORDER BY c.at, p.id",
            values![review],
        )
        .await?;
    let comment = |row: &Row| {
        Ok(ReviewComment {
            author: PrincipalRef { kind: row.parse("kind")?, id: row.parse("id")?, name: row.get("name")? },
            text: row.get("text")?,
            at: row.time("at")?,
        })
    };
    rows.iter().map(comment).collect()
}

/// Notes that a session waits for a review, and for no other.
pub async fn put_wait(tx: &mut Tx, session: &SessionId, review: &ReviewId, key: &[u8]) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO review_waits (session_id, review_id, key) VALUES ($1, $2, $3) \
         ON CONFLICT (session_id) DO UPDATE SET review_id = excluded.review_id, key = excluded.key",
        values![session, review, key],
    )
    .await?;
    Ok(())
}

/// A client left with its ticket, and may come back.
pub async fn give_ticket(tx: &mut Tx, id: &ReviewId) -> Result<(), StoreError> {
    tx.execute("UPDATE reviews SET has_ticket = TRUE WHERE id = $1", values![id]).await?;
    Ok(())
}

/// A session waits for that review no more; false when it did not.
pub async fn end_wait(tx: &mut Tx, session: &SessionId, review: &ReviewId) -> Result<bool, StoreError> {
    let ended = tx
        .execute("DELETE FROM review_waits WHERE session_id = $1 AND review_id = $2", values![session, review])
        .await?;
    if ended > 0 {
        tx.note(Subject::Review, review.as_str());
    }
    Ok(ended > 0)
}

/// A session begins what it has asked about; false when it has not asked, or not this.
pub async fn claim_wait(tx: &mut Tx, session: &SessionId, review: &ReviewId, key: &[u8]) -> Result<bool, StoreError> {
    let ended = tx
        .execute(
            "DELETE FROM review_waits WHERE session_id = $1 AND review_id = $2 AND key = $3",
            values![session, review, key],
        )
        .await?;
    Ok(ended > 0)
}

/// The review that a session waits for.
pub async fn waited_for(tx: &mut Tx, session: &SessionId) -> Result<Option<ReviewId>, StoreError> {
    let row = tx.row("SELECT review_id FROM review_waits WHERE session_id = $1", values![session]).await?;
    row.as_ref().map(|row| row.parse("review_id")).transpose()
}

/// The sessions that wait for a review.
pub async fn waits(tx: &mut Tx, review: &ReviewId) -> Result<Vec<Wait>, StoreError> {
    let rows = tx.rows(select_waits!("WHERE w.review_id = $1 ORDER BY w.session_id"), values![review]).await?;
    rows.iter().map(read_wait).collect()
}

/// The sessions of a connector's process that wait.
pub async fn waits_at(tx: &mut Tx, connector: &str, incarnation: &str) -> Result<Vec<Wait>, StoreError> {
    let rows = tx
        .rows(select_waits!("WHERE s.connector_id = $1 AND s.incarnation = $2"), values![connector, incarnation])
        .await?;
    rows.iter().map(read_wait).collect()
}

/// Sessions that are over and never said that they left, at most `limit`.
pub async fn waits_of_ended(tx: &mut Tx, limit: u32) -> Result<Vec<Wait>, StoreError> {
    let rows = tx.rows(select_waits!("WHERE s.status = 'ended' LIMIT $1"), values![limit]).await?;
    rows.iter().map(read_wait).collect()
}
