//! Notifications and what is under way to their receivers.

use super::extract::{Answer, Parameters};
use crate::{Core, identity::Caller, notify::manage};
use axum::{
    Json,
    extract::{Path, State},
};
use postern_api::{
    error::ErrorBody,
    notification::{DeliveriesQuery, Delivery, Notification},
};
use postern_types::time::Micros;
use std::sync::Arc;

/// All notifications.
#[utoipa::path(get, path = "/notifications", tag = "notifications", security(("token" = [])),
    responses((status = 200, body = Vec<Notification>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(core): State<Arc<Core>>, caller: Caller) -> Answer<Vec<Notification>> {
    Ok(Json(manage::list(&core.store, &caller.actor).await?))
}

/// Has a receiver that was disabled get messages again.
#[utoipa::path(post, path = "/notifications/{name}/enable", tag = "notifications", security(("token" = [])), params(("name" = String, Path)),
    responses((status = 200, body = Notification), (status = "default", body = ErrorBody)))]
pub(super) async fn enable(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Notification> {
    Ok(Json(manage::enable(&core.store, &caller.actor, &name, Micros::now()).await?))
}

/// Messages to receivers, newest first: those that wait, were delivered, were given up.
#[utoipa::path(get, path = "/notification-deliveries", tag = "notifications", security(("token" = [])), params(DeliveriesQuery),
    responses((status = 200, body = Vec<Delivery>), (status = "default", body = ErrorBody)))]
pub(super) async fn deliveries(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Parameters(query): Parameters<DeliveriesQuery>,
) -> Answer<Vec<Delivery>> {
    Ok(Json(manage::deliveries(&core.store, &caller.actor, &query).await?))
}

/// Has a message that was given up tried again.
#[utoipa::path(post, path = "/notification-deliveries/{id}/retry", tag = "notifications", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = Delivery), (status = "default", body = ErrorBody)))]
pub(super) async fn retry(State(core): State<Arc<Core>>, caller: Caller, Path(id): Path<String>) -> Answer<Delivery> {
    Ok(Json(manage::retry(&core.store, &caller.actor, &id, Micros::now()).await?))
}
