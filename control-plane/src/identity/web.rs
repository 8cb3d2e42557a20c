//! Browsers' sessions. A person gives an API token once and gets a cookie in its place, so that no secret is within
//! the reach of a page's scripts; or they sign in at an identity provider, which gives a token that nobody sees. The session ends with its token, and by its own time-outs before.

use super::{Actor, Caller, issuers::certificates::Shown, people, tokens};
use crate::{
    audit::{self, Event},
    problem::Problem,
    store::{Store, StoreError, Tx, sign_ins, tokens as token_rows, web_sessions},
};
use postern_api::provider::WebSession;
use postern_types::{
    id::{TokenId, WebSessionId},
    time::Micros,
    token,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::time::Duration;

/// What a cookie's value begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "posternweb_";

/// A session that is not used for so long is over.
pub const IDLE: Duration = Duration::from_secs(3600);

/// A session is over after so long, however much it is used.
pub const LONGEST: Duration = Duration::from_secs(12 * 3600);

/// How exact `last_used_at` is: a write for each call would cost more than it says.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// The longest cookie that is looked up.
const MAX_COOKIE_BYTES: usize = 128;

/// Begins a session for whoever has this API token; gives the cookie's value.
///
/// # Errors
/// When the token is unknown, expired or revoked.
pub async fn begin(store: &Store, bearer: &SecretString, now: Micros) -> Result<(Caller, SecretString), Problem> {
    // One that is bound to a certificate is worth nothing in a cookie.
    let caller = tokens::authenticate(store, bearer, &Shown::default(), now).await?.ok_or_else(|| {
        Problem::unauthenticated("the token is unknown, expired or revoked, or bound to a certificate").hint(
            "paste a token as `postern tokens create` or your admin gave it; `postern dev env admin` shows the demo's",
        )
    })?;
    let mut tx = store.begin().await?;
    let secret = insert(&mut tx, &caller.token.id, now).await?;
    let event = Event::new(now, "web.login", Some(&caller.actor.principal), caller.token.id.as_str(), &json!({}));
    audit::append_control(&mut tx, event).await?;
    tx.commit().await?;
    Ok((caller, secret))
}

/// A new session for a token; gives the cookie's value, which no browser had before.
///
/// # Errors
/// When the store or the system's random generator fails.
pub(super) async fn insert(tx: &mut Tx, token: &TokenId, now: Micros) -> Result<SecretString, Problem> {
    let secret = token::generate(PREFIX).map_err(Problem::fault)?;
    web_sessions::remove_begun_before(tx, now.minus(LONGEST)).await?;
    web_sessions::insert(tx, &token::fingerprint(&secret), token, now).await?;
    Ok(secret)
}

/// Who comes with this cookie; none when the session or its token is over.
///
/// # Errors
/// When the store fails.
pub async fn authenticate(store: &Store, cookie: &SecretString, now: Micros) -> Result<Option<Caller>, StoreError> {
    if cookie.expose_secret().len() > MAX_COOKIE_BYTES {
        return Ok(None);
    }
    let fingerprint = token::fingerprint(cookie);
    let mut tx = store.read().await?;
    let Some(session) = web_sessions::by_fingerprint(&mut tx, &fingerprint).await? else {
        return Ok(None);
    };
    if now.since(session.created_at) >= LONGEST || now.since(session.last_used_at) >= IDLE {
        return Ok(None);
    }
    let Some(token) = token_rows::by_id(&mut tx, &session.token_id).await? else {
        return Ok(None);
    };
    let caller = tokens::caller(store, tx, token, &Shown::default(), now).await?;
    if caller.is_some() && now.since(session.last_used_at) >= TOUCH_EVERY {
        let mut tx = store.begin().await?;
        web_sessions::touch(&mut tx, &fingerprint, now).await?;
        tx.commit().await?;
    }
    Ok(caller)
}

/// Somebody's sessions that go on, newest first. `own`: the cookie with which they ask.
///
/// # Errors
/// When the store fails.
pub async fn list(
    store: &Store,
    actor: &Actor,
    own: Option<&SecretString>,
    now: Micros,
) -> Result<Vec<WebSession>, StoreError> {
    let own = own.map(token::fingerprint);
    let mut tx = store.read().await?;
    let mut sessions = Vec::new();
    for row in web_sessions::of(&mut tx, &actor.principal.id, now.minus(LONGEST), now.minus(IDLE)).await? {
        let (by_sign_in, signed_in) = sign_ins::of_token(&mut tx, &row.token_id, now).await?;
        if by_sign_in && signed_in.is_none() {
            continue;
        }
        sessions.push(WebSession {
            id: row.id,
            current: own.as_ref() == Some(&row.fingerprint),
            provider: signed_in.map(|signed_in| signed_in.provider),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.created_at.plus(LONGEST),
        });
    }
    Ok(sessions)
}

/// Ends one of somebody's sessions, and the sign-in by which it was begun.
///
/// # Errors
/// When they have none of that id.
pub async fn end_one(store: &Store, actor: &Actor, id: &WebSessionId, now: Micros) -> Result<(), Problem> {
    let mut tx = store.begin().await?;
    let own = web_sessions::of(&mut tx, &actor.principal.id, now.minus(LONGEST), now.minus(IDLE)).await?;
    let row = own.into_iter().find(|row| row.id == *id);
    let row = row.ok_or_else(|| Problem::not_found("web session", id.as_str()))?;
    web_sessions::remove(&mut tx, &row.fingerprint).await?;
    if let (_, Some(signed_in)) = sign_ins::of_token(&mut tx, &row.token_id, now).await?
        && let Some(sign_in) = sign_ins::open(&mut tx, &signed_in.id, now).await?
    {
        people::end(&mut tx, &sign_in, "they have ended the session", now).await?;
    }
    let detail = json!({ "session": id });
    let event = Event::new(now, "web.logout", Some(&actor.principal), row.token_id.as_str(), &detail);
    audit::append_control(&mut tx, event).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends the session of this cookie.
///
/// # Errors
/// When the store fails.
pub async fn end(store: &Store, caller: &Caller, cookie: &SecretString, now: Micros) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    if web_sessions::remove(&mut tx, &token::fingerprint(cookie)).await? {
        let event = Event::new(now, "web.logout", Some(&caller.actor.principal), caller.token.id.as_str(), &json!({}));
        audit::append_control(&mut tx, event).await?;
    }
    tx.commit().await
}
