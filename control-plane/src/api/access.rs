//! Connections, requests, grants.

use super::{
    extract::{Answer, Body, Parameters},
    principals::named,
};
use crate::{
    Core, connections, grants,
    hub::changes::{Waited::Ended, until_changed},
    identity::Caller,
    problem::Problem,
    requests,
};
use axum::{
    Json,
    extract::{Path, State},
};
use postern_api::{
    access::{
        Approve, BecauseOf, Close, Connection, CreateComment, CreateCredential, CreateRequest, Credential, Deny,
        Extend, Grant, GrantsQuery, Request, RequestStatus, RequestsQuery, RevokeAll, Verdict, WaitQuery,
    },
    error::ErrorBody,
    event::Subject,
    standing::CreateStanding,
    ways::{EffectiveAccess, Reach, ReachQuery, WaysIn, WaysInQuery},
};
use postern_types::time::Micros;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// The longest that one call waits for something to be decided.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);

/// What the caller can ask for. Admins see every connection.
#[utoipa::path(get, path = "/connections", tag = "access", security(("token" = [])),
    responses((status = 200, body = Vec<Connection>), (status = "default", body = ErrorBody)))]
pub(super) async fn connections(State(core): State<Arc<Core>>, caller: Caller) -> Answer<Vec<Connection>> {
    Ok(Json(connections::list(&core, &caller.actor, Micros::now()).await?))
}

/// Which access roles of a connection the caller gets, how, and why.
#[utoipa::path(get, path = "/connections/{name}/access", tag = "access", security(("token" = [])),
    params(("name" = String, Path), WaysInQuery),
    responses((status = 200, body = WaysIn), (status = "default", body = ErrorBody)))]
pub(super) async fn ways_in(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(query): Parameters<WaysInQuery>,
) -> Answer<WaysIn> {
    let on_behalf_of = query.on_behalf_of.as_deref();
    Ok(Json(requests::ways::to(&core.store, &caller.actor, &name, on_behalf_of, Micros::now()).await?))
}

/// Who can reach a connection, by which of its access roles, and why.
#[utoipa::path(get, path = "/connections/{name}/principals", tag = "access", security(("token" = [])),
    params(("name" = String, Path), ReachQuery),
    responses((status = 200, body = Reach), (status = "default", body = ErrorBody)))]
pub(super) async fn reach(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(query): Parameters<ReachQuery>,
) -> Answer<Reach> {
    let after = query.after.as_deref().map(|text| named("after", text)).transpose()?;
    Ok(Json(requests::reach::on(&core.store, &caller.actor, &name, after.as_ref(), Micros::now()).await?))
}

/// What somebody can reach, and why.
#[utoipa::path(get, path = "/principals/{principal}/access", tag = "access", security(("token" = [])),
    params(("principal" = String, Path, description = "`agent:ci` or `user:alice`")),
    responses((status = 200, body = EffectiveAccess), (status = "default", body = ErrorBody)))]
pub(super) async fn effective(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(principal): Path<String>,
) -> Answer<EffectiveAccess> {
    let name = named("principal", &principal)?;
    Ok(Json(requests::reach::of(&core.store, &caller.actor, &name, Micros::now()).await?))
}

/// Asks for access.
#[utoipa::path(post, path = "/requests", tag = "access", security(("token" = [])), request_body = CreateRequest,
    responses((status = 200, body = Request), (status = "default", body = ErrorBody)))]
pub(super) async fn create_request(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Body(body): Body<CreateRequest>,
) -> Answer<Request> {
    let lifetime = core.config.request_lifetime;
    let (request, effects) = requests::submit(&core.store, &caller.actor, &body, lifetime, Micros::now()).await?;
    core.perform(effects);
    Ok(Json(request))
}

/// Requests that the caller may see: their own, those that they review; admins and auditors all.
#[utoipa::path(get, path = "/requests", tag = "access", security(("token" = [])), params(RequestsQuery),
    responses((status = 200, body = Vec<Request>), (status = "default", body = ErrorBody)))]
pub(super) async fn requests(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Parameters(query): Parameters<RequestsQuery>,
) -> Answer<Vec<Request>> {
    Ok(Json(requests::list(&core.store, &caller.actor, &query).await?))
}

/// One request; with `wait`, once it is decided or the time is over.
#[utoipa::path(get, path = "/requests/{id}", tag = "access", security(("token" = [])), params(("id" = String, Path), WaitQuery),
    responses((status = 200, body = Request), (status = "default", body = ErrorBody)))]
pub(super) async fn request(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(query): Parameters<WaitQuery>,
) -> Answer<Request> {
    let id = requests::id(&id)?;
    let wait = Duration::from_secs(query.wait.unwrap_or(0).into()).min(MAX_WAIT);
    let deadline = Instant::now() + wait;
    let mut changes = core.hub.changes();
    loop {
        let request = requests::get(&core.store, &caller.actor, &id).await?;
        if request.status != RequestStatus::Pending || Instant::now() >= deadline {
            return Ok(Json(request));
        }
        let changed = until_changed(&mut changes, Subject::Request, id.as_str());
        if timeout_at(deadline, changed).await == Ok(Ended) {
            return Ok(Json(request));
        }
    }
}

/// Says yes.
#[utoipa::path(post, path = "/requests/{id}/approve", tag = "access", security(("token" = [])), params(("id" = String, Path)),
    request_body = Approve, responses((status = 200, body = Request), (status = "default", body = ErrorBody)))]
pub(super) async fn approve(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Approve>,
) -> Answer<Request> {
    let answer = requests::Answer {
        verdict: Verdict::Approve,
        reason: body.reason.as_deref(),
        duration: body.duration.as_deref(),
        relations: &body.relations,
    };
    review(&core, &caller, &id, answer).await
}

/// Says no.
#[utoipa::path(post, path = "/requests/{id}/deny", tag = "access", security(("token" = [])), params(("id" = String, Path)),
    request_body = Deny, responses((status = 200, body = Request), (status = "default", body = ErrorBody)))]
pub(super) async fn deny(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Deny>,
) -> Answer<Request> {
    if body.reason.trim().is_empty() {
        return Err(Problem::invalid("reason", "say why: the requester reads it").into());
    }
    let (verdict, reason) = (Verdict::Deny, Some(body.reason.as_str()));
    review(&core, &caller, &id, requests::Answer { verdict, reason, duration: None, relations: &[] }).await
}

async fn review(core: &Core, caller: &Caller, id: &str, answer: requests::Answer<'_>) -> Answer<Request> {
    let id = requests::id(id)?;
    let (request, effects) = requests::review(&core.store, &caller.actor, &id, answer, Micros::now()).await?;
    core.perform(effects);
    Ok(Json(request))
}

/// Takes a request back.
#[utoipa::path(post, path = "/requests/{id}/withdraw", tag = "access", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = Request), (status = "default", body = ErrorBody)))]
pub(super) async fn withdraw(State(core): State<Arc<Core>>, caller: Caller, Path(id): Path<String>) -> Answer<Request> {
    let id = requests::id(&id)?;
    Ok(Json(requests::withdraw(&core.store, &caller.actor, &id, Micros::now()).await?))
}

/// Says something about a request.
#[utoipa::path(post, path = "/requests/{id}/comments", tag = "access", security(("token" = [])), params(("id" = String, Path)),
    request_body = CreateComment, responses((status = 200, body = Request), (status = "default", body = ErrorBody)))]
pub(super) async fn comment(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<CreateComment>,
) -> Answer<Request> {
    let id = requests::id(&id)?;
    Ok(Json(requests::comment(&core.store, &caller.actor, &id, &body.text, Micros::now()).await?))
}

/// Closes the review of break-glass.
#[utoipa::path(post, path = "/requests/{id}/close", tag = "access", security(("token" = [])), params(("id" = String, Path)),
    request_body = Close, responses((status = 200, body = Request), (status = "default", body = ErrorBody)))]
pub(super) async fn close(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Close>,
) -> Answer<Request> {
    let id = requests::id(&id)?;
    Ok(Json(requests::close(&core.store, &caller.actor, &id, &body.reason, Micros::now()).await?))
}

/// Asks for a standing approval: once reviewers have agreed, each request that it covers is granted by rule.
#[utoipa::path(post, path = "/standing", tag = "access", security(("token" = [])), request_body = CreateStanding,
    responses((status = 200, body = Request), (status = "default", body = ErrorBody)))]
pub(super) async fn create_standing(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Body(body): Body<CreateStanding>,
) -> Answer<Request> {
    let lifetime = core.config.request_lifetime;
    Ok(Json(requests::ask_standing(&core.store, &caller.actor, &body, lifetime, Micros::now()).await?))
}

/// Ends a standing approval; grants that it gave stay.
#[utoipa::path(post, path = "/standing/{id}/end", tag = "access", security(("token" = [])), params(("id" = String, Path)),
    request_body = BecauseOf, responses((status = 200, body = Request), (status = "default", body = ErrorBody)))]
pub(super) async fn end_standing(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<BecauseOf>,
) -> Answer<Request> {
    let (id, reason) = (requests::id(&id)?, body.reason.as_deref());
    Ok(Json(requests::end_standing(&core.store, &caller.actor, &id, reason, Micros::now()).await?))
}

/// The caller's open grants.
#[utoipa::path(get, path = "/grants", tag = "access", security(("token" = [])), params(GrantsQuery),
    responses((status = 200, body = Vec<Grant>), (status = "default", body = ErrorBody)))]
pub(super) async fn grants(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Parameters(query): Parameters<GrantsQuery>,
) -> Answer<Vec<Grant>> {
    let now = Micros::now();
    let rows = grants::list(&core.store, &caller.actor, query.all, now).await?;
    Ok(Json(rows.iter().map(|row| row.to_api(now)).collect()))
}

/// Ends a grant and its sessions.
#[utoipa::path(post, path = "/grants/{id}/revoke", tag = "access", security(("token" = [])), params(("id" = String, Path)),
    request_body = BecauseOf, responses((status = 200, body = Grant), (status = "default", body = ErrorBody)))]
pub(super) async fn revoke(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<BecauseOf>,
) -> Answer<Grant> {
    let (id, now) = (grants::parse_id("grant", &id)?, Micros::now());
    let (grant, effects) = grants::revoke(&core.store, &caller.actor, &id, body.reason.as_deref(), now).await?;
    core.perform(effects);
    Ok(Json(grant.to_api(now)))
}

/// Ends all grants of a connection, or of one of its roles, and their sessions.
#[utoipa::path(post, path = "/grants/revoke", tag = "access", security(("token" = [])), request_body = RevokeAll,
    responses((status = 200, body = Vec<Grant>), (status = "default", body = ErrorBody)))]
pub(super) async fn revoke_all(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Body(body): Body<RevokeAll>,
) -> Answer<Vec<Grant>> {
    let now = Micros::now();
    let (grants, effects) = grants::revoke_all(&core.store, &caller.actor, &body, now).await?;
    core.perform(effects);
    Ok(Json(grants.iter().map(|grant| grant.to_api(now)).collect()))
}

/// Asks that a grant ends later.
#[utoipa::path(post, path = "/grants/{id}/extend", tag = "access", security(("token" = [])), params(("id" = String, Path)),
    request_body = Extend, responses((status = 200, body = Request), (status = "default", body = ErrorBody)))]
pub(super) async fn extend(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Extend>,
) -> Answer<Request> {
    let (id, lifetime) = (grants::parse_id("grant", &id)?, core.config.request_lifetime);
    let (request, effects) = requests::extend(&core.store, &caller.actor, &id, &body, lifetime, Micros::now()).await?;
    core.perform(effects);
    Ok(Json(request))
}

/// Makes a secret of a grant, which is shown this once.
#[utoipa::path(post, path = "/grants/{id}/credentials", tag = "access", security(("token" = [])), params(("id" = String, Path)),
    request_body = CreateCredential, responses((status = 200, body = Credential), (status = "default", body = ErrorBody)))]
pub(super) async fn create_credential(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<CreateCredential>,
) -> Answer<Credential> {
    let id = grants::parse_id("grant", &id)?;
    Ok(Json(connections::credential(&core, &caller.actor, &id, body.r#use, Micros::now()).await?))
}
