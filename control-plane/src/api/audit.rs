//! The audit.

use super::extract::{Answer, Failure, Parameters};
use crate::{
    Core,
    audit::{
        self,
        export::{self, Format},
    },
    identity::Caller,
};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    response::IntoResponse,
};
use postern_api::{
    audit::{AuditEvent, AuditQuery},
    error::ErrorBody,
};
use postern_types::time::Micros;
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;

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

/// All events that match, newest first, as CSV: the search's parameters but `limit`. The export is itself an event.
#[utoipa::path(get, path = "/audit/events.csv", tag = "audit", security(("token" = [])), params(AuditQuery),
    responses((status = 200, body = String, content_type = "text/csv"), (status = "default", body = ErrorBody)))]
pub(super) async fn csv(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Parameters(query): Parameters<AuditQuery>,
) -> Result<impl IntoResponse, Failure> {
    file(&core, &caller, query, Format::Csv).await
}

/// The same, an event a line.
#[utoipa::path(get, path = "/audit/events.jsonl", tag = "audit", security(("token" = [])), params(AuditQuery),
    responses((status = 200, body = String, content_type = "application/jsonl"), (status = "default", body = ErrorBody)))]
pub(super) async fn json_lines(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Parameters(query): Parameters<AuditQuery>,
) -> Result<impl IntoResponse, Failure> {
    file(&core, &caller, query, Format::JsonLines).await
}

async fn file(
    core: &Arc<Core>,
    caller: &Caller,
    query: AuditQuery,
    format: Format,
) -> Result<impl IntoResponse + use<>, Failure> {
    let pieces = export::begin(&core.store, &core.exports, &caller.actor, (query, format), Micros::now()).await?;
    let (kind, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"audit.csv\""),
        Format::JsonLines => ("application/jsonl", "attachment; filename=\"audit.jsonl\""),
    };
    let head = [(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, name)];
    Ok((head, Body::from_stream(ReceiverStream::new(pieces))))
}
