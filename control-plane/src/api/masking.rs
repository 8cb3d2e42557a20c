//! What of connections is masked, and what masks show.

use super::extract::{Answer, Body};
use crate::{Core, identity::Caller, masking};
use axum::{
    Json,
    extract::{Path, State},
};
use postern_api::{
    error::ErrorBody,
    masking::{MaskedConnection, TriedMask, TryMask},
};
use std::sync::Arc;

/// The tags and masks of a connection, as they were applied.
#[utoipa::path(get, path = "/connections/{name}/masking", tag = "policies", security(("token" = [])),
    params(("name" = String, Path)),
    responses((status = 200, body = MaskedConnection), (status = "default", body = ErrorBody)))]
pub(super) async fn show(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<MaskedConnection> {
    Ok(Json(masking::of(&core.store, &caller.actor, &name).await?))
}

/// What a mask shows of a value that somebody has made up. Nothing is read, changed or recorded.
#[utoipa::path(post, path = "/masks/try", tag = "policies", security(("token" = [])), request_body = TryMask,
    responses((status = 200, body = TriedMask), (status = "default", body = ErrorBody)))]
pub(super) async fn sample(caller: Caller, Body(body): Body<TryMask>) -> Answer<TriedMask> {
    Ok(Json(masking::sample(&caller.actor, &body)?))
}
