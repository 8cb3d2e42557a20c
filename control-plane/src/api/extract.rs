//! What handlers take and give: callers, bodies, queries, failures.

use super::web::{self, Cookie};
use crate::{
    Core,
    identity::{self, Caller, issuers::certificates::Shown},
    problem::Problem,
};
use axum::{
    Json,
    body::Bytes,
    extract::{ConnectInfo, FromRequest, FromRequestParts, Query, Request, rejection::BytesRejection},
    http::{Extensions, HeaderMap, StatusCode, header::AUTHORIZATION, request::Parts},
    response::{IntoResponse, Response},
};
use postern_api::error::{ApiError, ErrorBody, ErrorCode};
use postern_types::time::Micros;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use std::{convert::Infallible, sync::Arc};

/// Why nobody comes with a token.
pub(super) const NO_CALLER: &str =
    "the token is unknown, expired, revoked, for SCIM alone, or bound to a certificate that was not shown";

/// What a handler answers when it does not do what was asked.
pub struct Failure(Problem);

/// What a handler answers.
pub(super) type Answer<T> = Result<Json<T>, Failure>;

impl<P: Into<Problem>> From<P> for Failure {
    fn from(problem: P) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = match self.0 {
            Problem::Told(error) => *error,
            Problem::Fault(cause) => {
                tracing::error!(error = chain(cause.as_ref()), "a call of the API failed");
                ApiError {
                    code: ErrorCode::Internal,
                    message: "the control plane failed; its log says why".to_owned(),
                    detail: None,
                    hint: Some("try again; if it stays so, tell whoever runs Postern".to_owned()),
                    field: None,
                    document: None,
                    continue_at: None,
                    problems: Vec::new(),
                }
            }
        };
        let status = status(error.code);
        let mut response = (status, Json(ErrorBody { error })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert("www-authenticate", axum::http::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden | ErrorCode::Reauthenticate => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Invalid => StatusCode::BAD_REQUEST,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error and its causes, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The token that a call brings.
pub(super) fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let (scheme, bearer) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| SecretString::from(bearer.trim().to_owned()))
}

/// The certificates that whoever calls has shown to this listener. One behind a balancer that ends TLS has shown none.
pub(super) fn shown(extensions: &Extensions) -> Shown {
    extensions.get::<ConnectInfo<Shown>>().map(|info| info.0.clone()).unwrap_or_default()
}

impl FromRequestParts<Arc<Core>> for Shown {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Core>) -> Result<Self, Infallible> {
        Ok(shown(&parts.extensions))
    }
}

/// Every handler that takes a [`Caller`] is for those who have a token, or a browser's session in its place, and for
/// nobody else.
impl FromRequestParts<Arc<Core>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, Failure> {
        if let Some(bearer) = bearer(&parts.headers) {
            let caller = identity::authenticate(&core.store, &bearer, &shown(&parts.extensions), Micros::now()).await?;
            return caller.ok_or_else(|| Problem::unauthenticated(NO_CALLER).into());
        }
        let Some(cookie) = Cookie::Session.read(&parts.headers, &core.config) else {
            return Err(Problem::unauthenticated("this needs a token").into());
        };
        web::require_console(parts, &core.config)?;
        let caller = identity::web::authenticate(&core.store, &cookie, Micros::now()).await?;
        caller.ok_or_else(|| Problem::unauthenticated("the browser's session is over; sign in again").into())
    }
}

/// A JSON body; none at all counts as an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Core>> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, core: &Arc<Core>) -> Result<Self, Failure> {
        let too_large = |_: BytesRejection| Problem::too_large("the body is too large or was cut off");
        let bytes = Bytes::from_request(request, core).await.map_err(too_large)?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Self).map_err(|error| malformed("body", &error.to_string()).into())
    }
}

/// The query part of the address.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Core>> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Core>) -> Result<Self, Failure> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(malformed("query", &chain(&rejection)).into()),
        }
    }
}

/// serde names the field that is unknown or missing in backquotes.
fn malformed(what: &str, message: &str) -> Problem {
    let field = message.split('`').nth(1).filter(|_| message.contains("field")).unwrap_or(what);
    Problem::invalid(field, message)
}
