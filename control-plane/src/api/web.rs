//! Browsers: a session by cookie, and what keeps other sites from using it.

use super::extract::{Body, Failure};
use crate::{
    Core,
    config::Config,
    connections,
    identity::{Caller, web},
    problem::Problem,
};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{COOKIE, HOST, ORIGIN, SET_COOKIE},
        request::Parts,
    },
    response::{AppendHeaders, IntoResponse},
};
use postern_api::{error::ErrorBody, identity::Whoami, web::CreateWebSession};
use postern_types::time::Micros;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// What the console sends with each call that changes something: another site's form cannot, and its scripts may not.
const CONSOLE_HEADER: &str = "x-postern-console";

/// A call that comes from the console's own pages.
pub(super) struct FromConsole;

impl FromRequestParts<Arc<Core>> for FromConsole {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, Failure> {
        require_console(parts, &core.config)?;
        Ok(Self)
    }
}

/// Begins a session: the answer sets its cookie.
#[utoipa::path(post, path = "/web/session", tag = "web", request_body = CreateWebSession,
    responses((status = 200, body = Whoami), (status = "default", body = ErrorBody)))]
pub(super) async fn begin(
    State(core): State<Arc<Core>>,
    _: FromConsole,
    Body(body): Body<CreateWebSession>,
) -> Result<impl IntoResponse, Failure> {
    let token = SecretString::from(body.token.trim().to_owned());
    let (caller, secret) = web::begin(&core.store, &token, Micros::now()).await?;
    let reviewer = connections::reviews_any(&core.store, &caller.actor).await?;
    let cookie = set_cookie(&core.config, secret.expose_secret(), web::LONGEST.as_secs())?;
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), Json(caller.whoami(reviewer))))
}

/// Ends the session.
#[utoipa::path(delete, path = "/web/session", tag = "web",
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(super) async fn end(
    State(core): State<Arc<Core>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Failure> {
    if let Some(secret) = cookie(&headers, &core.config) {
        web::end(&core.store, &caller, &secret, Micros::now()).await?;
    }
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(SET_COOKIE, set_cookie(&core.config, "", 0)?)])))
}

/// The session's secret, if a browser sent one.
pub(super) fn cookie(headers: &HeaderMap, config: &Config) -> Option<SecretString> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == cookie_name(config)).map(|(_, value)| SecretString::from(value.to_owned()))
}

/// A cookie is sent by the browser whoever makes it call: what another site makes it send counts for nothing.
///
/// # Errors
/// When the call does not come from the console's own pages, or that cannot be told.
pub(super) fn require_console(parts: &Parts, config: &Config) -> Result<(), Problem> {
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let site_is_own = header("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let safe = matches!(parts.method, Method::GET | Method::HEAD);
    let meant = safe || (header(CONSOLE_HEADER).is_some() && header(ORIGIN.as_str()).is_some());
    let origin_is_own = header(ORIGIN.as_str()).is_none_or(|origin| is_own_origin(origin, parts, config));
    if site_is_own && meant && origin_is_own {
        return Ok(());
    }
    Err(Problem::forbidden("this call does not come from the console's own pages").hint(
        "open the console at its own address (behind a proxy, set `http.public_url`); programs send \
         `Authorization: Bearer TOKEN`",
    ))
}

fn is_own_origin(origin: &str, parts: &Parts, config: &Config) -> bool {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str));
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    let own =
        host.is_some_and(|host| origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) == Some(host));
    let public = config.http.public_url.as_deref().map(|url| url.trim_end_matches('/'));
    own || public == Some(origin)
}

/// Browsers take a `__Host-` cookie only from the host itself, over HTTPS. On loopback there is plain HTTP too.
fn cookie_name(config: &Config) -> &'static str {
    if is_https(config) { "__Host-postern" } else { "postern" }
}

fn is_https(config: &Config) -> bool {
    config.http.tls.is_some() || config.http.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
}

fn set_cookie(config: &Config, value: &str, seconds: u64) -> Result<HeaderValue, Problem> {
    let name = cookie_name(config);
    let secure = if is_https(config) { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}"))
        .map_err(Problem::fault)
}
