//! Statement reviews: a statement that policies permit if people agree waits at its connector until they have.
//!
//! In reading order: this module (who sees them, taking one back, comments), [`ask`] (what connectors ask, claim and
//! leave), [`vote`] (what reviewers answer), [`due`] (what time does), [`tell`] (as connectors are told), [`show`] (as the
//! API shows them).
//!
//! Each transition is one transaction that holds the review's row, checks where it stands, writes, and records what it
//! did. Sessions that wait are told by the hub, after the commit.

pub mod ask;
pub mod due;
mod show;
pub mod tell;
pub mod vote;

use crate::{
    audit::{self, Event},
    grants::{checked_reason, parse_id},
    identity::Actor,
    problem::Problem,
    rights::{Action, Resource, authorize, is_allowed},
    store::{
        Store, StoreError, Tx,
        reviews::{self as rows, ReviewRow},
    },
};
use postern_api::{
    identity::PrincipalRef,
    review::{Review, ReviewComment, ReviewStatus},
};
use postern_types::{id::ReviewId, time::Micros};
use serde_json::{Value, json};

/// The most comments on one review.
const MAX_COMMENTS: usize = 200;

/// Reviews that the caller may see, newest first.
///
/// # Errors
/// When the store fails.
pub async fn list(
    store: &Store,
    actor: &Actor,
    status: Option<ReviewStatus>,
    mine: bool,
    public_url: Option<&str>,
) -> Result<Vec<Review>, Problem> {
    let mut tx = store.read().await?;
    let mut reviews = Vec::new();
    for row in rows::list(&mut tx, status, mine.then_some(&actor.principal.id)).await? {
        if is_allowed(actor, Action::See, &resource(&row, &answering(&row))) {
            reviews.push(show::whole(&mut tx, row, public_url).await?);
        }
    }
    Ok(reviews)
}

/// One review that the caller may see.
///
/// # Errors
/// When there is none.
pub async fn get(store: &Store, actor: &Actor, id: &ReviewId, public_url: Option<&str>) -> Result<Review, Problem> {
    let mut tx = store.read().await?;
    let row = rows::by_id(&mut tx, id).await?.ok_or_else(|| missing(id))?;
    authorize(actor, Action::See, &resource(&row, &answering(&row))).map_err(|_| missing(id))?;
    Ok(show::whole(&mut tx, row, public_url).await?)
}

/// How one stands that the caller may see.
///
/// # Errors
/// When there is none.
pub async fn status(store: &Store, actor: &Actor, id: &ReviewId) -> Result<ReviewStatus, Problem> {
    let mut tx = store.read().await?;
    let row = rows::by_id(&mut tx, id).await?.ok_or_else(|| missing(id))?;
    authorize(actor, Action::See, &resource(&row, &answering(&row))).map_err(|_| missing(id))?;
    Ok(row.status)
}

/// Takes a review back, or an approval that was not used.
///
/// # Errors
/// When it is not the caller's, or over.
pub async fn withdraw(
    store: &Store,
    actor: &Actor,
    id: &ReviewId,
    public_url: Option<&str>,
    now: Micros,
) -> Result<Review, Problem> {
    let mut tx = store.begin().await?;
    let row = locked(&mut tx, actor, id).await?;
    authorize(actor, Action::Withdraw, &resource(&row, &answering(&row)))?;
    if row.status != ReviewStatus::Withdrawn {
        open(&row, now)?;
        let because = format!("{} took it back", actor.principal.name);
        close(&mut tx, &row, ReviewStatus::Withdrawn, Some(&because), Some(&actor.principal), now).await?;
    }
    let review = loaded(&mut tx, id, public_url).await?;
    tx.commit().await?;
    Ok(review)
}

/// Says something about a review; it changes nothing.
///
/// # Errors
/// When the caller does not see it, or has nothing to say.
pub async fn comment(
    store: &Store,
    actor: &Actor,
    id: &ReviewId,
    text: &str,
    public_url: Option<&str>,
    now: Micros,
) -> Result<Review, Problem> {
    let text = checked_reason(Some(text))
        .map_err(|_| Problem::invalid("text", "a comment has at most 2000 characters"))?
        .ok_or_else(|| Problem::invalid("text", "say something"))?;
    let mut tx = store.begin().await?;
    let row = locked(&mut tx, actor, id).await?;
    if rows::comments(&mut tx, id).await?.len() >= MAX_COMMENTS {
        return Err(Problem::conflict(format!("there are {MAX_COMMENTS} comments already")));
    }
    let comment = ReviewComment { author: actor.principal.clone(), text: text.to_owned(), at: now };
    rows::insert_comment(&mut tx, id, &comment).await?;
    record(&mut tx, "review.commented", Some(&actor.principal), &row, json!({ "text": text }), now).await?;
    let review = loaded(&mut tx, id, public_url).await?;
    tx.commit().await?;
    Ok(review)
}

/// Reads a review's id.
///
/// # Errors
/// Not found, when it cannot be one.
pub fn id(text: &str) -> Result<ReviewId, Problem> {
    parse_id("review", text)
}

fn missing(id: &ReviewId) -> Problem {
    Problem::not_found("review", id.as_str()).hint("`postern reviews` lists those that you can see")
}

async fn locked(tx: &mut Tx, actor: &Actor, id: &ReviewId) -> Result<ReviewRow, Problem> {
    let row = rows::lock(tx, id).await?.ok_or_else(|| missing(id))?;
    authorize(actor, Action::See, &resource(&row, &answering(&row))).map_err(|_| missing(id))?;
    Ok(row)
}

async fn loaded(tx: &mut Tx, id: &ReviewId, public_url: Option<&str>) -> Result<Review, Problem> {
    let row = rows::by_id(tx, id).await?.ok_or_else(|| missing(id))?;
    Ok(show::whole(tx, row, public_url).await?)
}

/// The groups whose members may answer at this time.
fn answering(row: &ReviewRow) -> Vec<String> {
    let needed = row.statement.reviewers.iter().map(|needed| &needed.group);
    let escalated = row.escalate_to.iter().filter(|_| row.escalated_at.is_some());
    needed.chain(escalated).cloned().collect()
}

/// For deciding who may do what to it.
fn resource<'a>(row: &'a ReviewRow, reviewer_groups: &'a [String]) -> Resource<'a> {
    let ReviewRow { principal, on_behalf_of, owner, .. } = row;
    Resource::Review { principal, on_behalf_of: on_behalf_of.as_ref(), owner: owner.as_ref(), reviewer_groups }
}

/// Refuses what is over.
fn open(row: &ReviewRow, now: Micros) -> Result<(), Problem> {
    let state = match row.status {
        ReviewStatus::Pending | ReviewStatus::Approved if now < row.expires_at => return Ok(()),
        ReviewStatus::Pending | ReviewStatus::Approved => "expired",
        other => other.as_str(),
    };
    Err(Problem::conflict(format!("the review is {state} already")))
}

/// Ends a review that nobody approves any more, and records it.
async fn close(
    tx: &mut Tx,
    row: &ReviewRow,
    status: ReviewStatus,
    because: Option<&str>,
    by: Option<&PrincipalRef>,
    now: Micros,
) -> Result<(), StoreError> {
    rows::close(tx, &row.id, status, because, now).await?;
    let action = match status {
        ReviewStatus::Denied => "review.denied",
        ReviewStatus::Expired => "review.expired",
        _ => "review.withdrawn",
    };
    record(tx, action, by, row, json!({ "because": because, "was": row.status }), now).await
}

/// Records what was done to a review, with what identifies it and `detail`.
async fn record(
    tx: &mut Tx,
    action: &str,
    actor: Option<&PrincipalRef>,
    row: &ReviewRow,
    detail: Value,
    now: Micros,
) -> Result<(), StoreError> {
    let mut facts = json!({
        "connection": row.connection, "role": row.role, "grant": row.grant_id, "session": row.session_id,
        "principal": row.principal, "on_behalf_of": row.on_behalf_of, "statement": row.statement.tag,
    });
    if let (Value::Object(facts), Value::Object(detail)) = (&mut facts, detail) {
        facts.extend(detail);
    }
    audit::append_control(tx, Event::new(now, action, actor, row.id.as_str(), &facts)).await
}
