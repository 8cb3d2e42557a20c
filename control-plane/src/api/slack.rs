//! What Slack calls when somebody uses a message of ours.

use super::extract::Answer;
use crate::{
    Core,
    notify::slack::interactions::{self, Signed},
};
use axum::{Json, body::Bytes, extract::State, http::HeaderMap};
use postern_types::time::Micros;
use serde_json::Value;
use std::sync::Arc;

/// Where: below nothing, and not of the REST API, since its caller proves itself otherwise.
pub(super) const PATH: &str = "/integrations/slack/interactions";

/// A button was pressed, or a form filled in.
pub(super) async fn interact(State(core): State<Arc<Core>>, headers: HeaderMap, body: Bytes) -> Answer<Value> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signed =
        Signed { timestamp: header("x-slack-request-timestamp"), signature: header("x-slack-signature"), body: &body };
    Ok(Json(interactions::handle(&core, signed, Micros::now()).await?))
}
