//! Command lines that wait to be signed in from the console.

use super::extract::{Answer, recorded};
use crate::{
    Core,
    identity::{Caller, people::device},
};
use axum::{
    Json,
    extract::{Path, State},
    http::request::Parts,
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
    parts: Parts,
    Path(code): Path<String>,
) -> Answer<DeviceLogin> {
    let waiting = device::waiting(&core.store, &caller.actor, &code, Micros::now()).await;
    Ok(Json(recorded(&core, &parts, waiting).await?))
}

/// It is the caller's: it is signed in as them.
#[utoipa::path(post, path = "/web/devices/{code}/approve", tag = "web", params(("code" = String, Path)),
    responses((status = 200, body = DeviceLogin), (status = "default", body = ErrorBody)))]
pub(super) async fn approve(
    State(core): State<Arc<Core>>,
    caller: Caller,
    parts: Parts,
    Path(code): Path<String>,
) -> Answer<DeviceLogin> {
    let answered = device::answer(&core.store, &caller.actor, &code, true, Micros::now()).await;
    Ok(Json(recorded(&core, &parts, answered).await?))
}

/// It is not.
#[utoipa::path(post, path = "/web/devices/{code}/deny", tag = "web", params(("code" = String, Path)),
    responses((status = 200, body = DeviceLogin), (status = "default", body = ErrorBody)))]
pub(super) async fn deny(
    State(core): State<Arc<Core>>,
    caller: Caller,
    parts: Parts,
    Path(code): Path<String>,
) -> Answer<DeviceLogin> {
    let answered = device::answer(&core.store, &caller.actor, &code, false, Micros::now()).await;
    Ok(Json(recorded(&core, &parts, answered).await?))
}
