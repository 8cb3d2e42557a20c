//! Who acts: whoami, users, agents, groups.

use super::extract::{Answer, Body};
use crate::{
    Core, apply, connections,
    identity::{Caller, directory},
    problem::Problem,
    stops,
};
use axum::{
    Json,
    extract::{Path, State},
};
use postern_api::{
    access::BecauseOf,
    document::{AgentDocument, Apply, Changes, GroupDocument, Source, SourcedDocument, UserDocument},
    error::ErrorBody,
    identity::{Agent, Group, PrincipalName, Stopped, User, Whoami},
};
use postern_types::time::Micros;
use serde::Serialize;
use std::sync::Arc;

/// Who the caller is.
#[utoipa::path(get, path = "/whoami", tag = "identity", security(("token" = [])),
    responses((status = 200, body = Whoami), (status = "default", body = ErrorBody)))]
pub(super) async fn whoami(State(core): State<Arc<Core>>, caller: Caller) -> Answer<Whoami> {
    let reviewer = connections::reviews_any(&core.store, &caller.actor).await?;
    Ok(Json(caller.whoami(reviewer)))
}

/// All users.
#[utoipa::path(get, path = "/users", tag = "identity", security(("token" = [])),
    responses((status = 200, body = Vec<User>), (status = "default", body = ErrorBody)))]
pub(super) async fn users(State(core): State<Arc<Core>>, caller: Caller) -> Answer<Vec<User>> {
    Ok(Json(directory::users(&core.store, &caller.actor).await?))
}

/// Makes or changes a user.
#[utoipa::path(post, path = "/users", tag = "identity", security(("token" = [])), request_body = UserDocument,
    responses((status = 200, body = Changes), (status = "default", body = ErrorBody)))]
pub(super) async fn put_user(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Body(body): Body<UserDocument>,
) -> Answer<Changes> {
    put(&core, &caller, "User", &body).await
}

/// All agents.
#[utoipa::path(get, path = "/agents", tag = "identity", security(("token" = [])),
    responses((status = 200, body = Vec<Agent>), (status = "default", body = ErrorBody)))]
pub(super) async fn agents(State(core): State<Arc<Core>>, caller: Caller) -> Answer<Vec<Agent>> {
    Ok(Json(directory::agents(&core.store, &caller.actor).await?))
}

/// Makes or changes an agent.
#[utoipa::path(post, path = "/agents", tag = "identity", security(("token" = [])), request_body = AgentDocument,
    responses((status = 200, body = Changes), (status = "default", body = ErrorBody)))]
pub(super) async fn put_agent(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Body(body): Body<AgentDocument>,
) -> Answer<Changes> {
    put(&core, &caller, "Agent", &body).await
}

/// All groups.
#[utoipa::path(get, path = "/groups", tag = "identity", security(("token" = [])),
    responses((status = 200, body = Vec<Group>), (status = "default", body = ErrorBody)))]
pub(super) async fn groups(State(core): State<Arc<Core>>, caller: Caller) -> Answer<Vec<Group>> {
    Ok(Json(directory::groups(&core.store, &caller.actor).await?))
}

/// Makes or changes a group.
#[utoipa::path(post, path = "/groups", tag = "identity", security(("token" = [])), request_body = GroupDocument,
    responses((status = 200, body = Changes), (status = "default", body = ErrorBody)))]
pub(super) async fn put_group(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Body(body): Body<GroupDocument>,
) -> Answer<Changes> {
    put(&core, &caller, "Group", &body).await
}

/// Stops a principal everywhere: its grants and sessions end, its requests are withdrawn, and it gets nothing new.
#[utoipa::path(post, path = "/principals/{principal}/stop", tag = "identity", security(("token" = [])),
    params(("principal" = String, Path, description = "`agent:ci` or `user:alice`")), request_body = BecauseOf,
    responses((status = 200, body = Stopped), (status = "default", body = ErrorBody)))]
pub(super) async fn stop(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(principal): Path<String>,
    Body(body): Body<BecauseOf>,
) -> Answer<Stopped> {
    let (name, reason) = (named("principal", &principal)?, body.reason.as_deref());
    let (stopped, effects) = stops::stop(&core.store, &caller.actor, &name, reason, Micros::now()).await?;
    core.perform(effects);
    Ok(Json(stopped))
}

/// Lets a principal that was stopped get access again.
#[utoipa::path(post, path = "/principals/{principal}/resume", tag = "identity", security(("token" = [])),
    params(("principal" = String, Path, description = "`agent:ci` or `user:alice`")), request_body = BecauseOf,
    responses((status = 200, body = Stopped), (status = "default", body = ErrorBody)))]
pub(super) async fn resume(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(principal): Path<String>,
    Body(body): Body<BecauseOf>,
) -> Answer<Stopped> {
    let (name, reason) = (named("principal", &principal)?, body.reason.as_deref());
    Ok(Json(stops::resume(&core.store, &caller.actor, &name, reason, Micros::now()).await?))
}

pub(super) fn named(field: &str, text: &str) -> Result<PrincipalName, Problem> {
    text.parse().map_err(|message: String| Problem::invalid(field, message))
}

/// One object is a document like any other.
async fn put(core: &Core, caller: &Caller, kind: &str, body: &impl Serialize) -> Answer<Changes> {
    let mut document = serde_json::to_value(body).map_err(Problem::fault)?;
    if let Some(fields) = document.as_object_mut() {
        fields.insert("kind".to_owned(), kind.into());
    }
    let documents = vec![SourcedDocument { source: Source::default(), document }];
    let body = Apply { documents, policies: Vec::new(), merge: false };
    let (changes, effects) = apply::apply(&core.store, &caller.actor, &body, Micros::now()).await?;
    core.perform(effects);
    Ok(Json(changes))
}
