//! API tokens.

use super::extract::{Answer, Body, Failure};
use crate::{
    Core,
    grants::parse_id,
    identity::{Caller, tokens},
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postern_api::{
    error::ErrorBody,
    identity::{CreateToken, CreatedToken, Token},
};
use postern_types::time::Micros;
use std::sync::Arc;

/// The caller's tokens; admins see everybody's.
#[utoipa::path(get, path = "/tokens", tag = "tokens", security(("token" = [])),
    responses((status = 200, body = Vec<Token>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(core): State<Arc<Core>>, caller: Caller) -> Answer<Vec<Token>> {
    Ok(Json(tokens::list(&core.store, &caller.actor).await?))
}

/// Makes a token, which is shown this once.
#[utoipa::path(post, path = "/tokens", tag = "tokens", security(("token" = [])), request_body = CreateToken,
    responses((status = 200, body = CreatedToken), (status = "default", body = ErrorBody)))]
pub(super) async fn create(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Body(body): Body<CreateToken>,
) -> Answer<CreatedToken> {
    Ok(Json(tokens::create(&core.store, &caller.actor, &body, Micros::now()).await?))
}

/// Deletes a token: it is refused from now on.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "tokens", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(super) async fn delete(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    tokens::delete(&core.store, &caller.actor, &parse_id("token", &id)?, Micros::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
