//! Connectors, gateways, join tokens.

use super::extract::{Answer, Body};
use crate::{Core, fleet, identity::Caller};
use axum::{
    Json,
    extract::{Path, State},
};
use postern_api::{
    access::BecauseOf,
    error::ErrorBody,
    fleet::{CreateJoinToken, CreatedJoinToken, Part, PartKind},
};
use postern_types::time::Micros;
use std::sync::Arc;

/// Makes a join token, which is shown this once.
#[utoipa::path(post, path = "/join-tokens", tag = "fleet", security(("token" = [])), request_body = CreateJoinToken,
    responses((status = 200, body = CreatedJoinToken), (status = "default", body = ErrorBody)))]
pub(super) async fn create_join_token(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Body(body): Body<CreateJoinToken>,
) -> Answer<CreatedJoinToken> {
    Ok(Json(fleet::create_join_token(&core, &caller.actor, &body, Micros::now()).await?))
}

/// All connectors.
#[utoipa::path(get, path = "/connectors", tag = "fleet", security(("token" = [])),
    responses((status = 200, body = Vec<Part>), (status = "default", body = ErrorBody)))]
pub(super) async fn connectors(State(core): State<Arc<Core>>, caller: Caller) -> Answer<Vec<Part>> {
    Ok(Json(fleet::list(&core.store, &caller.actor, PartKind::Connector, Micros::now()).await?))
}

/// All gateways.
#[utoipa::path(get, path = "/gateways", tag = "fleet", security(("token" = [])),
    responses((status = 200, body = Vec<Part>), (status = "default", body = ErrorBody)))]
pub(super) async fn gateways(State(core): State<Arc<Core>>, caller: Caller) -> Answer<Vec<Part>> {
    Ok(Json(fleet::list(&core.store, &caller.actor, PartKind::Gateway, Micros::now()).await?))
}

/// Refuses a connector from now on and ends its sessions.
#[utoipa::path(post, path = "/connectors/{id}/revoke", tag = "fleet", security(("token" = [])), params(("id" = String, Path)),
    request_body = BecauseOf, responses((status = 200, body = Part), (status = "default", body = ErrorBody)))]
pub(super) async fn revoke_connector(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<BecauseOf>,
) -> Answer<Part> {
    revoke(&core, &caller, PartKind::Connector, &id, body.reason.as_deref()).await
}

/// Refuses a gateway from now on and ends its sessions.
#[utoipa::path(post, path = "/gateways/{id}/revoke", tag = "fleet", security(("token" = [])), params(("id" = String, Path)),
    request_body = BecauseOf, responses((status = 200, body = Part), (status = "default", body = ErrorBody)))]
pub(super) async fn revoke_gateway(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<BecauseOf>,
) -> Answer<Part> {
    revoke(&core, &caller, PartKind::Gateway, &id, body.reason.as_deref()).await
}

async fn revoke(core: &Core, caller: &Caller, kind: PartKind, id: &str, reason: Option<&str>) -> Answer<Part> {
    let (part, effects) = fleet::revoke(&core.store, &caller.actor, kind, id, reason, Micros::now()).await?;
    core.perform(effects);
    Ok(Json(part))
}
