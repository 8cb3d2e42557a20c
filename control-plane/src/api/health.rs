//! What is not for callers of the API: probes, metrics, and what is not there.

use super::extract::{Failure, chain};
use crate::{Core, problem::Problem};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Core>> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// Whether calls can be served: the store answers.
async fn ready(State(core): State<Arc<Core>>) -> (StatusCode, &'static str) {
    match core.store.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(error = chain(&error), "the store does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
    }
}

async fn metrics(State(core): State<Arc<Core>>) -> impl IntoResponse {
    match core.config.metrics.as_ref() {
        Some(metrics) => {
            metrics.run_upkeep();
            ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()).into_response()
        }
        None => Failure::from(Problem::unavailable("this process records no metrics")).into_response(),
    }
}

pub(super) fn not_found(uri: &axum::http::Uri) -> Failure {
    Problem::not_found("resource", uri.path()).hint("the API is described at /api/v1/openapi.json").into()
}
