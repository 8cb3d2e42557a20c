//! How much is asked, decided and run.

use super::extract::{Answer, Parameters};
use crate::{Core, identity::Caller, overview};
use axum::{Json, extract::State};
use postern_api::{
    error::ErrorBody,
    overview::{Overview, OverviewQuery},
};
use postern_types::time::Micros;
use std::sync::Arc;

/// Counts of requests, answers, held statements, statements and masked values, over time; for admins and auditors.
#[utoipa::path(get, path = "/overview", tag = "audit", security(("token" = [])), params(OverviewQuery),
    responses((status = 200, body = Overview), (status = "default", body = ErrorBody)))]
pub(super) async fn show(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Parameters(query): Parameters<OverviewQuery>,
) -> Answer<Overview> {
    Ok(Json(overview::of(&core.store, &caller.actor, &query, Micros::now()).await?))
}
