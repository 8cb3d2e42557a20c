//! Where programs get a token of Postern's: machines for their platform's (OAuth 2.0 Token Exchange, RFC 8693) or by a
//! certificate (RFC 8705), people's command lines by way of the console (Device Authorization Grant, RFC 8628); and where clients find that.

use super::extract::chain;
use crate::{
    Core,
    identity::{
        behalf,
        issuers::{ACCESS_TOKEN, NotExchanged, certificates::Shown},
        people::device::{self, NotGiven},
    },
};
use axum::{
    Form, Json, Router,
    extract::{State, rejection::FormRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use postern_api::{
    issuer::{CERTIFICATE_GRANT, ExchangeError, ExchangedToken},
    provider::{DEVICE_GRANT, DeviceAuthorization},
};
use postern_types::time::Micros;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The types that a JSON Web Token of a platform goes by.
const SUBJECT_TYPES: [&str; 3] =
    ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token", ACCESS_TOKEN];

pub(super) fn routes() -> Router<Arc<Core>> {
    let metadata = |suffix: &str| format!("/.well-known/{suffix}");
    Router::new()
        .route("/oauth/token", post(token))
        .route("/oauth/device_authorization", post(device_authorization))
        // libpq reads either, at the address that it is told when it asks for a token.
        .route(&metadata("openid-configuration"), get(discover))
        .route(&metadata("oauth-authorization-server"), get(discover))
}

/// Where clients get tokens ([RFC 8414](https://www.rfc-editor.org/rfc/rfc8414)).
async fn discover(State(core): State<Arc<Core>>) -> Json<Value> {
    let issuer = core.config.issuer();
    // Who ends TLS elsewhere sees no client's certificate.
    let sees_certificates = core.config.http.tls.is_some();
    let (mut grants, mut methods) = (vec![GRANT_TYPE, DEVICE_GRANT], vec!["none"]);
    if sees_certificates {
        grants.push(CERTIFICATE_GRANT);
        methods.push("tls_client_auth");
    }
    Json(json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth/token"),
        "device_authorization_endpoint": format!("{issuer}/oauth/device_authorization"),
        "grant_types_supported": grants,
        "token_endpoint_auth_methods_supported": methods,
        "tls_client_certificate_bound_access_tokens": sees_certificates,
        "response_types_supported": [],
    }))
}

/// What is not read here is ignored, as RFC 6749 says.
#[derive(Deserialize)]
struct Exchange {
    grant_type: String,
    subject_token: Option<SecretString>,
    subject_token_type: Option<String>,
    requested_token_type: Option<String>,
    actor_token: Option<SecretString>,
    device_code: Option<SecretString>,
    actor_token_type: Option<String>,
    client_id: Option<String>,
}

enum Failed {
    Request(&'static str, String),
    NotExchanged(NotExchanged),
    NotGiven(NotGiven),
}

/// A command line asks to be signed in.
async fn device_authorization(State(core): State<Arc<Core>>) -> Result<Json<DeviceAuthorization>, Failed> {
    let console = core.own_url().ok_or_else(|| {
        Failed::Request("temporarily_unavailable", "the control plane does not know its own address".to_owned())
    })?;
    device::ask(&core.store, &console, Micros::now()).await.map(Json).map_err(Failed::NotGiven)
}

fn invalid(description: impl Into<String>) -> Failed {
    Failed::Request("invalid_request", description.into())
}

async fn token(
    State(core): State<Arc<Core>>,
    shown: Shown,
    form: Result<Form<Exchange>, FormRejection>,
) -> Result<Json<ExchangedToken>, Failed> {
    let Form(form) = form.map_err(|rejection| invalid(chain(&rejection)))?;
    match form.grant_type.as_str() {
        GRANT_TYPE => exchange(&core, form, &shown).await,
        CERTIFICATE_GRANT => {
            // An agent's name. Whoever gives none is who the certificate says.
            let agent = form.client_id.as_deref();
            let given = core.exchange.by_certificate(&core.store, &shown, agent, Micros::now()).await;
            given.map(Json).map_err(Failed::NotExchanged)
        }
        DEVICE_GRANT => {
            let code = form.device_code.ok_or_else(|| invalid("device_code is missing"))?;
            let (token, lifetime) = device::fetch(&core.store, &code, Micros::now()).await.map_err(Failed::NotGiven)?;
            Ok(Json(ExchangedToken {
                access_token: token.expose_secret().to_owned(),
                issued_token_type: ACCESS_TOKEN.to_owned(),
                token_type: "Bearer".to_owned(),
                expires_in: lifetime.as_secs(),
            }))
        }
        _ => {
            let description = format!("grant_type is `{GRANT_TYPE}`, `{CERTIFICATE_GRANT}` or `{DEVICE_GRANT}`");
            Err(Failed::Request("unsupported_grant_type", description))
        }
    }
}

async fn exchange(core: &Core, form: Exchange, shown: &Shown) -> Result<Json<ExchangedToken>, Failed> {
    if form.requested_token_type.is_some_and(|wanted| wanted != ACCESS_TOKEN) {
        return Err(invalid(format!("requested_token_type is `{ACCESS_TOKEN}`")));
    }
    let kind = form.subject_token_type.unwrap_or_default();
    if !SUBJECT_TYPES.contains(&kind.as_str()) {
        return Err(invalid(format!("subject_token_type is one of {}", SUBJECT_TYPES.join(", "))));
    }
    if form.actor_token.is_some() != form.actor_token_type.is_some() {
        return Err(invalid("actor_token and actor_token_type come together"));
    }
    if form.actor_token_type.is_some_and(|kind| !SUBJECT_TYPES.contains(&kind.as_str())) {
        return Err(invalid(format!("actor_token_type is one of {}", SUBJECT_TYPES.join(", "))));
    }
    let token = form.subject_token.ok_or_else(|| invalid("subject_token is missing"))?;
    let now = Micros::now();
    let exchanged = match form.actor_token {
        // The one acts on behalf of the other.
        Some(agent) => behalf::exchange(&core.exchange, &core.store, [&token, &agent], shown, now).await,
        None => core.exchange.exchange(&core.store, &token, now).await,
    };
    exchanged.map(Json).map_err(Failed::NotExchanged)
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let (status, error, description) = match self {
            Self::Request(error, description) => (StatusCode::BAD_REQUEST, error, description),
            Self::NotExchanged(error @ NotExchanged::Keys(_)) => {
                tracing::warn!(error = chain(&error), "no keys of an issuer of identity tokens");
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", error.to_string())
            }
            Self::NotExchanged(error @ NotExchanged::Fault(_)) => {
                tracing::error!(error = chain(&error), "a token could not be exchanged");
                (StatusCode::INTERNAL_SERVER_ERROR, "server_error", error.to_string())
            }
            // RFC 6749, section 5.2.
            Self::NotExchanged(error @ NotExchanged::Certificate(_)) => {
                (StatusCode::UNAUTHORIZED, "invalid_client", error.to_string())
            }
            Self::NotGiven(error) => {
                // RFC 8628, section 3.5.
                let (status, code) = match &error {
                    NotGiven::Pending => (StatusCode::BAD_REQUEST, "authorization_pending"),
                    NotGiven::SlowDown => (StatusCode::BAD_REQUEST, "slow_down"),
                    NotGiven::Denied => (StatusCode::BAD_REQUEST, "access_denied"),
                    NotGiven::Expired => (StatusCode::BAD_REQUEST, "expired_token"),
                    NotGiven::NoProvider => (StatusCode::BAD_REQUEST, "unauthorized_client"),
                    NotGiven::TooMany => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
                    NotGiven::Fault(_) => {
                        tracing::error!(error = chain(&error), "a command line could not be signed in");
                        (StatusCode::INTERNAL_SERVER_ERROR, "server_error")
                    }
                };
                (status, code, error.to_string())
            }
            // RFC 8693, section 2.2.2: whatever is wrong with the token.
            Self::NotExchanged(error) => (StatusCode::BAD_REQUEST, "invalid_request", error.to_string()),
        };
        (status, Json(ExchangeError { error: error.to_owned(), error_description: description })).into_response()
    }
}
