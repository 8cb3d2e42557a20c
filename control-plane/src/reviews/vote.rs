//! What reviewers answer.

use super::{answering, close, loaded, locked, open, record, resource};
use crate::{
    grants::checked_reason,
    identity::{Actor, people, tokens},
    problem::Problem,
    quorum::{self, Standing},
    rights::{Action, authorize, is_allowed},
    store::{
        Store, StoreError, Tx, access, connections,
        reviews::{self as rows, ReviewRow},
    },
};
use postern_api::{
    access::GrantStatus,
    document::ReviewTerms,
    identity::PrincipalRef,
    quorum::{Need, Quorum, QuorumMode},
    review::{ApproveReview, Proposal, Review, ReviewStatus, ReviewVote},
};
use postern_proto::v1::{ReviewedStatement, ReviewersNeeded, effect_preview::Result as Tried};
use postern_types::{id::ReviewId, time::Micros};
use serde_json::json;

/// The longest text that is approved in place of another, in bytes.
const MAX_EDITED: usize = 64 << 10;

/// What a reviewer says.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// Yes, to this.
    Approve(&'a ApproveReview),
    /// No, and why.
    Deny(&'a str),
}

/// A reviewer's answer. One that they gave before is replaced while the review waits: a reviewer counts once.
///
/// # Errors
/// When there is no such review, the caller may not answer it, or it waits no more.
pub async fn answer(
    store: &Store,
    actor: &Actor,
    id: &ReviewId,
    answer: Answer<'_>,
    public_url: Option<&str>,
    now: Micros,
) -> Result<Review, Problem> {
    let mut tx = store.begin().await?;
    let row = locked(&mut tx, actor, id).await?;
    let action = if matches!(answer, Answer::Approve(_)) { Action::Approve } else { Action::Deny };
    authorize(actor, action, &resource(&row, &answering(&row)))?;
    if action == Action::Approve {
        people::check_fresh_on(&mut tx, actor, &row.connection, now).await?;
    }
    let votes = rows::votes(&mut tx, id).await?;
    let vote = vote(&row, &actor.principal, answer, now)?;
    // The same answer twice counts once, and is no error: whoever repeats it did not hear that it was heard.
    let same = |before: &ReviewVote| before.reviewer.id == vote.reviewer.id && before.approves == vote.approves;
    if votes.iter().any(same) {
        return loaded(&mut tx, id, public_url).await;
    }
    if row.status != ReviewStatus::Pending {
        return Err(Problem::conflict(format!("the review is {} already", row.status.as_str())));
    }
    open(&row, now)?;
    rows::put_vote(&mut tx, id, &vote).await?;
    match &vote.approves {
        None => close(&mut tx, &row, ReviewStatus::Denied, vote.reason.as_deref(), Some(&actor.principal), now).await?,
        Some(proposal) => approve(&mut tx, &row, actor, proposal, vote.reason.as_deref(), now).await?,
    }
    let review = loaded(&mut tx, id, public_url).await?;
    tx.commit().await?;
    Ok(review)
}

fn vote(row: &ReviewRow, reviewer: &PrincipalRef, answer: Answer<'_>, now: Micros) -> Result<ReviewVote, Problem> {
    let (approves, reason) = match answer {
        Answer::Approve(body) => (Some(proposal(row, body)?), checked_reason(body.reason.as_deref())?),
        Answer::Deny(reason) => (None, checked_reason(Some(reason))?),
    };
    if approves.is_none() && reason.is_none() {
        return Err(Problem::invalid("reason", "say why: whoever asks reads it"));
    }
    Ok(ReviewVote { reviewer: reviewer.clone(), approves, reason: reason.map(str::to_owned), at: now })
}

/// What a reviewer agrees to, if the statement can be held to it.
fn proposal(row: &ReviewRow, body: &ApproveReview) -> Result<Proposal, Problem> {
    let statement = &row.statement;
    let edited_sql = body.edited_sql.as_deref().map(str::trim).filter(|sql| *sql != statement.sql.trim());
    if let Some(sql) = edited_sql {
        edited(statement, sql)?;
        if body.for_grant {
            return Err(Problem::invalid("for_grant", "another text is approved for once")
                .hint("deny it and say what to send, or approve the text for once"));
        }
    }
    if body.max_rows.is_some() && !statement.boundable {
        let problem = Problem::invalid("max_rows", "this statement cannot be held to a number of rows");
        return Err(problem.detail(statement.not_boundable_because.clone()));
    }
    if !body.for_grant && !body.free.is_empty() {
        return Err(Problem::invalid("free", "literals are left free in an approval for the grant")
            .hint("add `for_grant` (`--for-grant`)"));
    }
    if body.for_grant {
        free(row, &body.free)?;
    }
    // What was shown is what is approved; what another text would do was not.
    let shown = if edited_sql.is_none() { counted(statement) } else { None };
    let mut free = body.free.clone();
    free.sort();
    free.dedup();
    Ok(Proposal {
        max_rows: body.max_rows.or(shown),
        edited_sql: edited_sql.map(str::to_owned),
        for_grant: body.for_grant,
        free,
    })
}

fn edited(statement: &ReviewedStatement, sql: &str) -> Result<(), Problem> {
    if !statement.editable {
        return Err(Problem::invalid(
            "edited_sql",
            "this statement has parameters or returns rows: its client expects its own text",
        )
        .hint("deny it, and say what to send instead"));
    }
    if sql.is_empty() || sql.len() > MAX_EDITED || sql.contains('\0') {
        return Err(Problem::invalid("edited_sql", format!("a statement has from 1 to {MAX_EDITED} bytes")));
    }
    Ok(())
}

fn free(row: &ReviewRow, names: &[String]) -> Result<(), Problem> {
    let literals = &row.statement.literals;
    if row.shape.is_empty() || row.literals.len() != literals.len() {
        return Err(Problem::invalid("for_grant", "this statement can be approved for once only")
            .hint("approve it without `for_grant`"));
    }
    for name in names {
        if !literals.iter().any(|literal| literal.name == *name) {
            let known: Vec<_> = literals.iter().map(|literal| literal.name.as_str()).collect();
            return Err(Problem::invalid("free", format!("the statement has no literal `{name}`"))
                .hint(format!("there is {}", known.join(", "))));
        }
    }
    Ok(())
}

/// The rows that reviewers are shown, where they were counted and the statement can be held to them.
fn counted(statement: &ReviewedStatement) -> Option<u64> {
    match &statement.preview.as_ref()?.result {
        Some(Tried::Effect(effect)) if effect.exact && statement.boundable => Some(effect.rows),
        _ => None,
    }
}

/// Counts a yes, with those of others to the same text.
async fn approve(
    tx: &mut Tx,
    row: &ReviewRow,
    actor: &Actor,
    proposal: &Proposal,
    reason: Option<&str>,
    now: Micros,
) -> Result<(), Problem> {
    let mut agreed = Vec::new();
    let mut voters = Vec::new();
    for vote in rows::votes(tx, &row.id).await? {
        let Some(other) = vote.approves.filter(|other| other.edited_sql == proposal.edited_sql) else { continue };
        // As things are now: somebody who was disabled, left the group or answers for the agent since counts no more.
        let voter = tokens::actor(tx, &vote.reviewer).await?;
        voters.extend(voter.filter(|voter| is_allowed(voter, Action::Approve, &resource(row, &answering(row)))));
        agreed.push(other);
    }
    let decided = quorum::standing(&quorum_of(row), &voters) == Standing::Met;
    let detail = json!({ "approves": proposal, "reason": reason, "decided": decided });
    record(tx, "review.approved", Some(&actor.principal), row, detail, now).await?;
    if !decided {
        return Ok(());
    }
    let decision = strictest(&agreed);
    let ends_at = still_possible(tx, row, now).await?;
    let expires_at =
        if decision.for_grant { ends_at } else { ends_at.min(now.plus(terms(tx, &row.connection).await?.valid())) };
    rows::approve(tx, &row.id, &decision, expires_at, now).await?;
    Ok(())
}

/// Whose consent is needed. Once others may answer too, they stand for anybody.
fn quorum_of(row: &ReviewRow) -> Quorum {
    let others = if row.escalated_at.is_some() { row.escalate_to.as_slice() } else { &[] };
    let need = |needed: &ReviewersNeeded| Need {
        groups: std::iter::once(&needed.group).chain(others).cloned().collect(),
        count: needed.count,
    };
    Quorum { mode: QuorumMode::All, needs: row.statement.reviewers.iter().map(need).collect() }
}

/// Of what several agree to, what all agree to.
fn strictest(proposals: &[Proposal]) -> Proposal {
    let first = proposals.first().cloned().unwrap_or_default();
    proposals.iter().skip(1).fold(first, |held, next| Proposal {
        max_rows: match (held.max_rows, next.max_rows) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        },
        for_grant: held.for_grant && next.for_grant,
        free: held.free.into_iter().filter(|name| next.free.contains(name)).collect(),
        edited_sql: held.edited_sql,
    })
}

/// What held when it was asked for has to hold when it is approved. Gives when the grant ends.
async fn still_possible(tx: &mut Tx, row: &ReviewRow, now: Micros) -> Result<Micros, Problem> {
    let grant = access::grant(tx, &row.grant_id).await?;
    match grant {
        Some(grant) if grant.status(now) == GrantStatus::Open => Ok(grant.ends_at),
        _ => Err(Problem::conflict("the grant under which it was asked for is over")),
    }
}

/// How statements wait on a connection.
pub(super) async fn terms(tx: &mut Tx, connection: &str) -> Result<ReviewTerms, StoreError> {
    let connection = connections::by_name(tx, connection).await?;
    Ok(connection.and_then(|connection| connection.document.reviews).unwrap_or_default())
}
