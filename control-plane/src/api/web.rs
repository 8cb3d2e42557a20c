//! Browsers: a session by cookie, and what keeps other sites from using it.

use super::extract::{Answer, Body, Failure, recorded};
use crate::{
    Core,
    config::Config,
    connections,
    grants::parse_id,
    identity::{
        Caller,
        people::{LONGEST_LOGIN, login_path},
        web,
    },
    problem::Problem,
    store::providers,
};
use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{COOKIE, HOST, ORIGIN, SET_COOKIE},
        request::Parts,
    },
    response::{AppendHeaders, IntoResponse},
};
use postern_api::{
    error::ErrorBody,
    identity::Whoami,
    provider::{ProviderChoice, SignedOut, WebSession},
    web::CreateWebSession,
};
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
        recorded(core, parts, require_console(parts, &core.config)).await?;
        Ok(Self)
    }
}

/// Begins a session: the answer sets its cookie.
#[utoipa::path(post, path = "/web/session", tag = "web", request_body = CreateWebSession,
    responses((status = 200, body = Whoami), (status = "default", body = ErrorBody)))]
pub(super) async fn begin(
    State(core): State<Arc<Core>>,
    _: FromConsole,
    parts: Parts,
    Body(body): Body<CreateWebSession>,
) -> Result<impl IntoResponse, Failure> {
    let token = SecretString::from(body.token.trim().to_owned());
    let begun = web::begin(&core.store, &token, Micros::now()).await;
    let (caller, secret) = recorded(&core, &parts, begun).await?;
    let reviewer = connections::reviews_any(&core.store, &caller.actor).await?;
    let cookie = Cookie::Session.set(&core.config, &secret)?;
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), Json(caller.whoami(reviewer))))
}

/// Ends the session, and the sign-in by which it was begun.
#[utoipa::path(delete, path = "/web/session", tag = "web",
    responses((status = 200, body = SignedOut), (status = "default", body = ErrorBody)))]
pub(super) async fn end(
    State(core): State<Arc<Core>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Failure> {
    let now = Micros::now();
    if let Some(secret) = Cookie::Session.read(&headers, &core.config) {
        web::end(&core.store, &caller, &secret, now).await?;
    }
    let continue_at = match &caller.actor.signed_in {
        Some(signed_in) => core.people.sign_out(&core, &signed_in.id, now).await?,
        None => None,
    };
    Ok((AppendHeaders([(SET_COOKIE, Cookie::Session.clear(&core.config)?)]), Json(SignedOut { continue_at })))
}

/// Where people can sign in.
#[utoipa::path(get, path = "/web/providers", tag = "web",
    responses((status = 200, body = Vec<ProviderChoice>), (status = "default", body = ErrorBody)))]
pub(super) async fn providers(State(core): State<Arc<Core>>) -> Answer<Vec<ProviderChoice>> {
    let mut tx = core.store.read().await?;
    let known = providers::list(&mut tx).await?.into_iter();
    Ok(Json(known.map(|known| ProviderChoice { login: login_path(&known.name), name: known.name }).collect()))
}

/// The caller's sessions in browsers.
#[utoipa::path(get, path = "/web/sessions", tag = "web", security(("token" = [])),
    responses((status = 200, body = Vec<WebSession>), (status = "default", body = ErrorBody)))]
pub(super) async fn sessions(
    State(core): State<Arc<Core>>,
    caller: Caller,
    headers: HeaderMap,
) -> Answer<Vec<WebSession>> {
    let own = Cookie::Session.read(&headers, &core.config);
    Ok(Json(web::list(&core.store, &caller.actor, own.as_ref(), Micros::now()).await?))
}

/// Ends all of the caller's sessions in browsers, and the sign-ins by which they were begun.
#[utoipa::path(delete, path = "/web/sessions", tag = "web", security(("token" = [])),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(super) async fn end_all(State(core): State<Arc<Core>>, caller: Caller) -> Result<StatusCode, Failure> {
    web::end_all(&core.store, &caller.actor, Micros::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends one of the caller's sessions in browsers.
#[utoipa::path(delete, path = "/web/sessions/{id}", tag = "web", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(super) async fn end_one(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    web::end_one(&core.store, &caller.actor, &parse_id("web session", &id)?, Micros::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a browser keeps for Postern: secrets, out of the reach of scripts.
#[derive(Clone, Copy)]
pub(super) enum Cookie {
    /// Of its session.
    Session,
    /// That it has begun to sign in.
    Login,
}

impl Cookie {
    /// Browsers take a `__Host-` cookie only from the host itself, over HTTPS. On loopback there is plain HTTP too.
    fn name(self, config: &Config) -> &'static str {
        match (self, is_https(config)) {
            (Self::Session, true) => "__Host-postern",
            (Self::Session, false) => "postern",
            (Self::Login, true) => "__Host-postern-login",
            (Self::Login, false) => "postern-login",
        }
    }

    /// The secret, if a browser sent one.
    pub(super) fn read(self, headers: &HeaderMap, config: &Config) -> Option<SecretString> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let found = pairs.find(|(name, _)| *name == self.name(config));
        found.map(|(_, value)| SecretString::from(value.to_owned()))
    }

    /// What sets it.
    pub(super) fn set(self, config: &Config, secret: &SecretString) -> Result<HeaderValue, Problem> {
        let longest = match self {
            Self::Session => web::LONGEST,
            Self::Login => LONGEST_LOGIN,
        };
        self.header(config, secret.expose_secret(), longest.as_secs())
    }

    /// What removes it.
    pub(super) fn clear(self, config: &Config) -> Result<HeaderValue, Problem> {
        self.header(config, "", 0)
    }

    fn header(self, config: &Config, value: &str, seconds: u64) -> Result<HeaderValue, Problem> {
        let name = self.name(config);
        let secure = if is_https(config) { "; Secure" } else { "" };
        let same_site = match self {
            Self::Session => "Strict",
            // Whoever signs in comes back from another site.
            Self::Login => "Lax",
        };
        HeaderValue::from_str(&format!(
            "{name}={value}; Path=/; HttpOnly; SameSite={same_site}; Max-Age={seconds}{secure}"
        ))
        .map_err(Problem::fault)
    }
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

fn is_https(config: &Config) -> bool {
    config.http.tls.is_some() || config.http.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
}
