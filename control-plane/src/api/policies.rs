//! Policies and freezes. Policies are changed by `apply`.

use super::extract::{Answer, Body};
use crate::{Core, freezes, identity::Caller, policies};
use axum::{
    Json,
    extract::{Path, State},
};
use postern_api::{
    access::BecauseOf,
    error::ErrorBody,
    policy::{Frozen, Policy, PolicyReplay, PolicyReplayed, PolicyTest, PolicyTested, PolicyVersion},
};
use postern_types::time::Micros;
use std::sync::Arc;

/// The files of policies that are in force, without their texts.
#[utoipa::path(get, path = "/policies", tag = "policies", security(("token" = [])),
    responses((status = 200, body = Vec<Policy>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(core): State<Arc<Core>>, caller: Caller) -> Answer<Vec<Policy>> {
    Ok(Json(policies::list(&core.store, &caller.actor).await?))
}

/// A file of policies that is in force, with its text.
#[utoipa::path(get, path = "/policies/{name}", tag = "policies", security(("token" = [])),
    params(("name" = String, Path)),
    responses((status = 200, body = Policy), (status = "default", body = ErrorBody)))]
pub(super) async fn show(State(core): State<Arc<Core>>, caller: Caller, Path(name): Path<String>) -> Answer<Policy> {
    Ok(Json(policies::get(&core.store, &caller.actor, &name).await?))
}

/// A file of policies as it stands and stood, the newest 100 versions; none of one that comes with Postern.
#[utoipa::path(get, path = "/policies/{name}/versions", tag = "policies", security(("token" = [])),
    params(("name" = String, Path)),
    responses((status = 200, body = Vec<PolicyVersion>), (status = "default", body = ErrorBody)))]
pub(super) async fn versions(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Vec<PolicyVersion>> {
    Ok(Json(policies::versions(&core.store, &caller.actor, &name).await?))
}

/// What policies would say of a statement, and why. It is not run, and nothing is changed.
#[utoipa::path(post, path = "/policies/test", tag = "policies", security(("token" = [])), request_body = PolicyTest,
    responses((status = 200, body = PolicyTested), (status = "default", body = ErrorBody)))]
pub(super) async fn test(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Body(body): Body<PolicyTest>,
) -> Answer<PolicyTested> {
    Ok(Json(policies::trial::test(&core, &caller.actor, body, Micros::now()).await?))
}

/// How the newest recorded statements would be decided by changed policies. Nothing is run and nothing is changed; that
/// the audit was searched is itself an event.
#[utoipa::path(post, path = "/policies/replay", tag = "policies", security(("token" = [])),
    request_body = PolicyReplay,
    responses((status = 200, body = PolicyReplayed), (status = "default", body = ErrorBody)))]
pub(super) async fn replay(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Body(body): Body<PolicyReplay>,
) -> Answer<PolicyReplayed> {
    Ok(Json(policies::replay::replay(&core.store, &caller.actor, body, Micros::now()).await?))
}

/// Freezes a connection: from now on nobody changes anything there.
#[utoipa::path(post, path = "/connections/{name}/freeze", tag = "policies", security(("token" = [])),
    params(("name" = String, Path)), request_body = BecauseOf,
    responses((status = 200, body = Frozen), (status = "default", body = ErrorBody)))]
pub(super) async fn freeze(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(name): Path<String>,
    Body(body): Body<BecauseOf>,
) -> Answer<Frozen> {
    let (frozen, effects) =
        freezes::freeze(&core.store, &caller.actor, &name, body.reason.as_deref(), Micros::now()).await?;
    core.perform(effects);
    Ok(Json(frozen))
}

/// Lifts the freeze of a connection.
#[utoipa::path(post, path = "/connections/{name}/unfreeze", tag = "policies", security(("token" = [])),
    params(("name" = String, Path)), request_body = BecauseOf,
    responses((status = 200, body = Frozen), (status = "default", body = ErrorBody)))]
pub(super) async fn unfreeze(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(name): Path<String>,
    Body(body): Body<BecauseOf>,
) -> Answer<Frozen> {
    let (frozen, effects) =
        freezes::unfreeze(&core.store, &caller.actor, &name, body.reason.as_deref(), Micros::now()).await?;
    core.perform(effects);
    Ok(Json(frozen))
}
