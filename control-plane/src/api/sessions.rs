//! Clients' sessions.

use super::extract::{Answer, Body, Parameters};
use crate::{Core, grants::parse_id, identity::Caller, sessions};
use axum::{
    Json,
    extract::{Path, State},
};
use postern_api::{
    access::BecauseOf,
    error::ErrorBody,
    session::{Session, SessionsQuery},
};
use postern_types::time::Micros;
use std::sync::Arc;

/// The caller's sessions; admins and auditors see everybody's.
#[utoipa::path(get, path = "/sessions", tag = "sessions", security(("token" = [])), params(SessionsQuery),
    responses((status = 200, body = Vec<Session>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Parameters(query): Parameters<SessionsQuery>,
) -> Answer<Vec<Session>> {
    Ok(Json(sessions::list(&core.store, &caller.actor, query.status).await?))
}

/// One session.
#[utoipa::path(get, path = "/sessions/{id}", tag = "sessions", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = Session), (status = "default", body = ErrorBody)))]
pub(super) async fn show(State(core): State<Arc<Core>>, caller: Caller, Path(id): Path<String>) -> Answer<Session> {
    Ok(Json(sessions::get(&core.store, &caller.actor, &parse_id("session", &id)?).await?))
}

/// Ends a session; its grant stays.
#[utoipa::path(post, path = "/sessions/{id}/kill", tag = "sessions", security(("token" = [])), params(("id" = String, Path)),
    request_body = BecauseOf, responses((status = 200, body = Session), (status = "default", body = ErrorBody)))]
pub(super) async fn kill(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<BecauseOf>,
) -> Answer<Session> {
    let id = parse_id("session", &id)?;
    let (session, effects) =
        sessions::kill(&core.store, &caller.actor, &id, body.reason.as_deref(), Micros::now()).await?;
    core.perform(effects);
    Ok(Json(session))
}
