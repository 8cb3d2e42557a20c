//! The audit.

use super::extract::{Answer, Parameters};
use crate::{Core, audit, identity::Caller};
use axum::{Json, extract::State};
use postern_api::{
    audit::{AuditEvent, AuditQuery},
    error::ErrorBody,
};
use postern_types::time::Micros;
use std::sync::Arc;

/// The newest events that match. Auditors and admins see everybody's, others their own. The search is itself an
/// event.
#[utoipa::path(get, path = "/audit/events", tag = "audit", security(("token" = [])), params(AuditQuery),
    responses((status = 200, body = Vec<AuditEvent>), (status = "default", body = ErrorBody)))]
pub(super) async fn events(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Parameters(query): Parameters<AuditQuery>,
) -> Answer<Vec<AuditEvent>> {
    Ok(Json(audit::search::recorded(&core.store, &caller.actor, query, Micros::now()).await?))
}
