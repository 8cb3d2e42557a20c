//! `plan` and `apply`.

use super::extract::{Answer, Body};
use crate::{Core, apply, identity::Caller};
use axum::{Json, extract::State};
use postern_api::{
    document::{Apply, Changes},
    error::ErrorBody,
};
use postern_types::time::Micros;
use std::sync::Arc;

/// What `apply` would change.
#[utoipa::path(post, path = "/plan", tag = "configuration", security(("token" = [])), request_body = Apply,
    responses((status = 200, body = Changes), (status = "default", body = ErrorBody)))]
pub(super) async fn plan(State(core): State<Arc<Core>>, caller: Caller, Body(body): Body<Apply>) -> Answer<Changes> {
    Ok(Json(apply::checked_plan(&core, &caller.actor, &body, Micros::now()).await?))
}

/// Makes everything as the documents say, or nothing.
#[utoipa::path(post, path = "/apply", tag = "configuration", security(("token" = [])), request_body = Apply,
    responses((status = 200, body = Changes), (status = "default", body = ErrorBody)))]
pub(super) async fn apply(State(core): State<Arc<Core>>, caller: Caller, Body(body): Body<Apply>) -> Answer<Changes> {
    let (changes, effects) = apply::checked_apply(&core, &caller.actor, &body, Micros::now()).await?;
    core.perform(effects);
    Ok(Json(changes))
}
