//! Credentials of databases, for connectors.

use super::extract::{Answer, Body, Failure};
use crate::{Core, credentials, identity::Caller};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use postern_api::{
    database::{DatabaseCredential, SetDatabaseCredential},
    error::ErrorBody,
};
use postern_types::time::Micros;
use secrecy::SecretString;
use std::sync::Arc;

/// The logins of a connection that have a password here. The passwords are never shown.
#[utoipa::path(get, path = "/connections/{name}/credentials", tag = "credentials", security(("token" = [])),
    params(("name" = String, Path)),
    responses((status = 200, body = Vec<DatabaseCredential>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Vec<DatabaseCredential>> {
    Ok(Json(credentials::list(&core.store, &caller.actor, &name).await?))
}

/// Sets the password with which the connector logs in as a database role.
#[utoipa::path(put, path = "/connections/{name}/credentials/{login}", tag = "credentials", security(("token" = [])),
    params(("name" = String, Path), ("login" = String, Path)), request_body = SetDatabaseCredential,
    responses((status = 200, body = DatabaseCredential), (status = "default", body = ErrorBody)))]
pub(super) async fn set(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path((name, login)): Path<(String, String)>,
    Body(body): Body<SetDatabaseCredential>,
) -> Answer<DatabaseCredential> {
    let password = SecretString::from(body.password);
    let (credential, effects) =
        credentials::set(&core.store, &core.sealer, &caller.actor, &name, &login, &password, Micros::now()).await?;
    core.perform(effects);
    Ok(Json(credential))
}

/// Removes a password. Sessions that run go on.
#[utoipa::path(delete, path = "/connections/{name}/credentials/{login}", tag = "credentials", security(("token" = [])),
    params(("name" = String, Path), ("login" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(super) async fn remove(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path((name, login)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let effects = credentials::remove(&core.store, &caller.actor, &name, &login, Micros::now()).await?;
    core.perform(effects);
    Ok(StatusCode::NO_CONTENT)
}
