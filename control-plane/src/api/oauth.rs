//! Where machines exchange their platform's token for one of Postern's: OAuth 2.0 Token Exchange (RFC 8693).

use super::extract::chain;
use crate::{
    Core,
    identity::issuers::{ACCESS_TOKEN, NotExchanged},
};
use axum::{
    Form, Json, Router,
    extract::{State, rejection::FormRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use postern_api::issuer::{ExchangeError, ExchangedToken};
use postern_types::time::Micros;
use secrecy::SecretString;
use serde::Deserialize;
use std::sync::Arc;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The types that a JSON Web Token of a platform goes by.
const SUBJECT_TYPES: [&str; 3] =
    ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token", ACCESS_TOKEN];

pub(super) fn routes() -> Router<Arc<Core>> {
    Router::new().route("/oauth/token", post(exchange))
}

/// What is not read here is ignored, as RFC 6749 says.
#[derive(Deserialize)]
struct Exchange {
    grant_type: String,
    subject_token: Option<SecretString>,
    subject_token_type: Option<String>,
    requested_token_type: Option<String>,
    actor_token: Option<SecretString>,
}

enum Failed {
    Request(&'static str, String),
    NotExchanged(NotExchanged),
}

async fn exchange(
    State(core): State<Arc<Core>>,
    form: Result<Form<Exchange>, FormRejection>,
) -> Result<Json<ExchangedToken>, Failed> {
    let invalid = |description: String| Failed::Request("invalid_request", description);
    let Form(form) = form.map_err(|rejection| invalid(chain(&rejection)))?;
    if form.grant_type != GRANT_TYPE {
        return Err(Failed::Request("unsupported_grant_type", format!("grant_type is `{GRANT_TYPE}`")));
    }
    if form.requested_token_type.is_some_and(|wanted| wanted != ACCESS_TOKEN) {
        return Err(invalid(format!("requested_token_type is `{ACCESS_TOKEN}`")));
    }
    if form.actor_token.is_some() {
        return Err(invalid("there is no actor_token here: a machine's token is its own".to_owned()));
    }
    let kind = form.subject_token_type.unwrap_or_default();
    if !SUBJECT_TYPES.contains(&kind.as_str()) {
        return Err(invalid(format!("subject_token_type is one of {}", SUBJECT_TYPES.join(", "))));
    }
    let token = form.subject_token.ok_or_else(|| invalid("subject_token is missing".to_owned()))?;
    let exchanged = core.exchange.exchange(&core.store, &token, Micros::now()).await;
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
            // RFC 8693, section 2.2.2: whatever is wrong with the token.
            Self::NotExchanged(error) => (StatusCode::BAD_REQUEST, "invalid_request", error.to_string()),
        };
        (status, Json(ExchangeError { error: error.to_owned(), error_description: description })).into_response()
    }
}
