//! What a database's columns seem to hold.

use super::extract::{Answer, Body};
use crate::{Core, identity::Caller, scan};
use axum::{
    Json,
    extract::{Path, State},
};
use postern_api::{
    error::ErrorBody,
    scan::{Scan, Scanned},
};
use postern_types::time::Micros;
use std::sync::Arc;

/// Which columns seem to hold personal or payment data, and the tags that are proposed for them. Nothing is changed; that
/// it was asked is itself an event.
#[utoipa::path(post, path = "/connections/{name}/scan", tag = "policies", security(("token" = [])),
    params(("name" = String, Path)), request_body = Scan,
    responses((status = 200, body = Scanned), (status = "default", body = ErrorBody)))]
pub(super) async fn scan(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(name): Path<String>,
    Body(body): Body<Scan>,
) -> Answer<Scanned> {
    Ok(Json(scan::scan(&core, &caller.actor, &name, body, Micros::now()).await?))
}
