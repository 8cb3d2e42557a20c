//! Command lines that wait to be signed in from the console.

use super::extract::Answer;
use crate::{
    Core,
    identity::{Caller, people::device},
};
use axum::{
    Json,
    extract::{Path, State},
};
use postern_api::{error::ErrorBody, provider::DeviceLogin};
use postern_types::time::Micros;
use std::sync::Arc;

/// The command line that shows this code.
#[utoipa::path(get, path = "/web/devices/{code}", tag = "web", params(("code" = String, Path)),
    responses((status = 200, body = DeviceLogin), (status = "default", body = ErrorBody)))]
pub(super) async fn show(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(code): Path<String>,
) -> Answer<DeviceLogin> {
    Ok(Json(device::waiting(&core.store, &caller.actor, &code, Micros::now()).await?))
}

/// It is the caller's: it is signed in as them.
#[utoipa::path(post, path = "/web/devices/{code}/approve", tag = "web", params(("code" = String, Path)),
    responses((status = 200, body = DeviceLogin), (status = "default", body = ErrorBody)))]
pub(super) async fn approve(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(code): Path<String>,
) -> Answer<DeviceLogin> {
    Ok(Json(device::answer(&core.store, &caller.actor, &code, true, Micros::now()).await?))
}

/// It is not.
#[utoipa::path(post, path = "/web/devices/{code}/deny", tag = "web", params(("code" = String, Path)),
    responses((status = 200, body = DeviceLogin), (status = "default", body = ErrorBody)))]
pub(super) async fn deny(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(code): Path<String>,
) -> Answer<DeviceLogin> {
    Ok(Json(device::answer(&core.store, &caller.actor, &code, false, Micros::now()).await?))
}
