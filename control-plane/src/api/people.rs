//! Where browsers go to sign in at an identity provider and come back from it, and what providers call: addresses outside of
//! the API, since browsers are sent there.

use super::{
    extract::{Failure, chain},
    web::Cookie,
};
use crate::{
    Core,
    identity::people::{NotAdmitted, SignInFailed, Wanted, oidc::Answer},
    problem::Problem,
};
use axum::{
    Form, Json, Router,
    extract::{
        Path, Query, State,
        rejection::{FormRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{AppendHeaders, Html, IntoResponse, Response},
    routing::{get, post},
};
use postern_api::issuer::ExchangeError;
use postern_types::time::Micros;
use secrecy::SecretString;
use serde::Deserialize;
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Core>> {
    Router::new()
        .route("/oauth/login/{provider}", get(login))
        .route("/oauth/callback/{provider}", get(callback))
        .route("/oauth/backchannel-logout/{provider}", post(backchannel_logout))
        .route("/oauth/frontchannel-logout/{provider}", get(frontchannel_logout))
}

/// A page for somebody who is not signed in. Its words are Postern's own.
pub(super) struct Refused(pub(super) SignInFailed);

impl From<SignInFailed> for Refused {
    fn from(error: SignInFailed) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let status = match &error {
            fault if fault.is_fault() => {
                tracing::error!(error = chain(fault), "somebody could not sign in");
                StatusCode::INTERNAL_SERVER_ERROR
            }
            SignInFailed::Unavailable(_) | SignInFailed::TooMany | SignInFailed::NoAddress => {
                tracing::warn!(error = chain(&error), "somebody could not sign in");
                StatusCode::SERVICE_UNAVAILABLE
            }
            SignInFailed::UnknownProvider => StatusCode::NOT_FOUND,
            SignInFailed::ReturnTo => StatusCode::BAD_REQUEST,
            _ => StatusCode::FORBIDDEN,
        };
        let next = match &error {
            SignInFailed::NotAdmitted(NotAdmitted::Taken(_) | NotAdmitted::Another(_) | NotAdmitted::Elsewhere(_)) => {
                "An admin says where a user signs in, by sign_in in its document."
            }
            SignInFailed::NotAdmitted(_) => "An admin can say why: the audit has it.",
            _ => "The audit says more.",
        };
        let page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Not signed in – Postern</title>\
             <h1>You are not signed in</h1><p>{}.</p><p>{next}</p><p><a href=\"/\">To the console</a></p>",
            escaped(&error.to_string())
        );
        let policy = HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'");
        let headers = [
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        (status, headers, Html(page)).into_response()
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

async fn login(
    State(core): State<Arc<Core>>,
    Path(provider): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(wanted) = wanted.map_err(|_| Refused(SignInFailed::ReturnTo).into_response())?;
    let sent = core.people.send(&core, &provider, &wanted, Micros::now()).await;
    let sent = sent.map_err(|error| Refused(error).into_response())?;
    let cookie = Cookie::Login.set(&core.config, &sent.browser).map_err(failed)?;
    see_other(sent.location.as_str(), [cookie]).map_err(failed)
}

async fn callback(
    State(core): State<Arc<Core>>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    answer: Result<Query<Answer>, QueryRejection>,
) -> Result<Response, Response> {
    // What is there twice is nobody's.
    let Query(answer) = answer.unwrap_or(Query(Answer { code: None, state: None, iss: None, error: None }));
    let browser = Cookie::Login.read(&headers, &core.config);
    let done = core.people.complete(&core, &provider, &answer, browser.as_ref(), Micros::now()).await;
    let (begun, page) = done.map_err(|error| Refused(error).into_response())?;
    let session = Cookie::Session.set(&core.config, &begun.cookie).map_err(failed)?;
    let over = Cookie::Login.clear(&core.config).map_err(failed)?;
    see_other(&page, [session, over]).map_err(failed)
}

pub(super) fn failed(problem: Problem) -> Response {
    Failure::from(problem).into_response()
}

pub(super) fn see_other<const N: usize>(location: &str, cookies: [HeaderValue; N]) -> Result<Response, Problem> {
    let location = HeaderValue::from_str(location).map_err(Problem::fault)?;
    let headers = [
        (header::LOCATION, location),
        // The address before has a code, or the page that somebody was on.
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    let cookies = AppendHeaders(cookies.map(|cookie| (header::SET_COOKIE, cookie)));
    Ok((StatusCode::SEE_OTHER, headers, cookies).into_response())
}

#[derive(Deserialize)]
struct LogoutForm {
    logout_token: SecretString,
}

async fn backchannel_logout(
    State(core): State<Arc<Core>>,
    Path(provider): Path<String>,
    form: Result<Form<LogoutForm>, FormRejection>,
) -> Response {
    let refused = |status, error: &str, description: String| {
        (status, Json(ExchangeError { error: error.to_owned(), error_description: description })).into_response()
    };
    let Ok(Form(form)) = form else {
        return refused(StatusCode::BAD_REQUEST, "invalid_request", "logout_token is missing".to_owned());
    };
    match core.people.left(&core, &provider, &form.logout_token, Micros::now()).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) if error.is_fault() => {
            tracing::error!(error = chain(&error), "a provider's logout failed");
            refused(StatusCode::INTERNAL_SERVER_ERROR, "server_error", error.to_string())
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, "invalid_request", error.to_string()),
    }
}

#[derive(Deserialize)]
struct LogoutQuery {
    iss: String,
    sid: String,
}

/// In a frame of the provider's page: there is nothing to see.
async fn frontchannel_logout(
    State(core): State<Arc<Core>>,
    Path(provider): Path<String>,
    query: Result<Query<LogoutQuery>, QueryRejection>,
) -> StatusCode {
    let Ok(Query(LogoutQuery { iss, sid })) = query else { return StatusCode::BAD_REQUEST };
    match core.people.left_in_browser(&core, &provider, (&iss, &sid), Micros::now()).await {
        Ok(()) => StatusCode::OK,
        Err(error) if error.is_fault() => {
            tracing::error!(error = chain(&error), "a provider's logout failed");
            StatusCode::INTERNAL_SERVER_ERROR
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}
