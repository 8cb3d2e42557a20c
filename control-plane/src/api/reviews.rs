//! Statements that wait for people.

use super::{
    access::MAX_WAIT,
    extract::{Answer, Body, Parameters},
};
use crate::{
    Core,
    hub::changes::{Waited::Ended, until_changed},
    identity::Caller,
    reviews::{self, vote},
};
use axum::{
    Json,
    extract::{Path, State},
};
use postern_api::{
    access::WaitQuery,
    error::ErrorBody,
    event::Subject,
    review::{ApproveReview, CommentOnReview, DenyReview, Review, ReviewStatus, ReviewsQuery},
};
use postern_types::time::Micros;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Reviews that the caller may see: their own, those that they answer; admins and auditors all.
#[utoipa::path(get, path = "/reviews", tag = "reviews", security(("token" = [])), params(ReviewsQuery),
    responses((status = 200, body = Vec<Review>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Parameters(query): Parameters<ReviewsQuery>,
) -> Answer<Vec<Review>> {
    Ok(Json(reviews::list(&core.store, &caller.actor, query.status, query.mine, url(&core)).await?))
}

/// One review; with `wait`, once it is decided or the time is over.
#[utoipa::path(get, path = "/reviews/{id}", tag = "reviews", security(("token" = [])), params(("id" = String, Path), WaitQuery),
    responses((status = 200, body = Review), (status = "default", body = ErrorBody)))]
pub(super) async fn show(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(query): Parameters<WaitQuery>,
) -> Answer<Review> {
    let id = reviews::id(&id)?;
    let deadline = Instant::now() + Duration::from_secs(query.wait.unwrap_or(0).into()).min(MAX_WAIT);
    let mut changes = core.hub.changes();
    loop {
        let review = reviews::get(&core.store, &caller.actor, &id, url(&core)).await?;
        if review.status != ReviewStatus::Pending || Instant::now() >= deadline {
            return Ok(Json(review));
        }
        let changed = until_changed(&mut changes, Subject::Review, id.as_str());
        if timeout_at(deadline, changed).await == Ok(Ended) {
            return Ok(Json(review));
        }
    }
}

/// Says yes: to what was shown, with a bound, to another text, or for the whole grant.
#[utoipa::path(post, path = "/reviews/{id}/approve", tag = "reviews", security(("token" = [])), params(("id" = String, Path)),
    request_body = ApproveReview, responses((status = 200, body = Review), (status = "default", body = ErrorBody)))]
pub(super) async fn approve(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<ApproveReview>,
) -> Answer<Review> {
    answer(&core, &caller, &id, vote::Answer::Approve(&body)).await
}

/// Says no.
#[utoipa::path(post, path = "/reviews/{id}/deny", tag = "reviews", security(("token" = [])), params(("id" = String, Path)),
    request_body = DenyReview, responses((status = 200, body = Review), (status = "default", body = ErrorBody)))]
pub(super) async fn deny(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<DenyReview>,
) -> Answer<Review> {
    answer(&core, &caller, &id, vote::Answer::Deny(&body.reason)).await
}

async fn answer(core: &Core, caller: &Caller, id: &str, answer: vote::Answer<'_>) -> Answer<Review> {
    let id = reviews::id(id)?;
    Ok(Json(vote::answer(&core.store, &caller.actor, &id, answer, url(core), Micros::now()).await?))
}

/// Takes a review back, or an approval that was not used.
#[utoipa::path(post, path = "/reviews/{id}/withdraw", tag = "reviews", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = Review), (status = "default", body = ErrorBody)))]
pub(super) async fn withdraw(State(core): State<Arc<Core>>, caller: Caller, Path(id): Path<String>) -> Answer<Review> {
    let id = reviews::id(&id)?;
    Ok(Json(reviews::withdraw(&core.store, &caller.actor, &id, url(&core), Micros::now()).await?))
}

/// Says something about a review; it changes nothing.
#[utoipa::path(post, path = "/reviews/{id}/comments", tag = "reviews", security(("token" = [])), params(("id" = String, Path)),
    request_body = CommentOnReview, responses((status = 200, body = Review), (status = "default", body = ErrorBody)))]
pub(super) async fn comment(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<CommentOnReview>,
) -> Answer<Review> {
    let id = reviews::id(&id)?;
    let review = reviews::comment(&core.store, &caller.actor, &id, &body.text, url(&core), Micros::now()).await?;
    Ok(Json(review))
}

fn url(core: &Core) -> Option<&str> {
    core.config.http.public_url.as_deref()
}
