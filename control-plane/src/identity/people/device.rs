//! Signing a command line in from a browser ([RFC 8628](https://www.rfc-editor.org/rfc/rfc8628)). The control plane itself is
//! the authorization server, so that it works with every identity provider: whoever is signed in to the console says yes to
//! the code that their command line shows, and it gets a token that ends with that sign-in.

use super::token_of;
use crate::{
    audit::{self, Event},
    identity::Actor,
    problem::Problem,
    store::{
        Store, StoreError,
        device_logins::{self, DeviceLoginRow},
        principals, providers, sign_ins,
    },
};
use aws_lc_rs::rand;
use postern_api::provider::{DeviceAuthorization, DeviceLogin};
use postern_types::{time::Micros, token};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::time::Duration;
use thiserror::Error;

/// How long somebody may take to say yes.
const LIFETIME: Duration = Duration::from_secs(600);

/// How long one that is over is remembered, so that its command line is told so.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How long a command line waits between two calls, in seconds, and how much longer after one that came too soon.
const INTERVAL: i64 = 5;

/// Letters that make no words and are not taken for each other, as RFC 8628, section 6.1, proposes.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// Letters of a code: 34 bits, for ten minutes, and to be typed by somebody who is signed in.
const CODE_LETTERS: usize = 8;

/// What a device code begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "posterndev_";

/// Why there is no token (yet).
#[derive(Debug, Error)]
pub enum NotGiven {
    /// Nobody has answered.
    #[error("nobody has answered yet")]
    Pending,
    /// Asked again too soon.
    #[error("wait five seconds more between two calls")]
    SlowDown,
    /// Somebody said no.
    #[error("somebody said no")]
    Denied,
    /// Nobody has answered in time, or it was answered and the token was given, or the sign-in is over.
    #[error("the code is over; begin again")]
    Expired,
    /// Nobody could say yes.
    #[error("nobody signs in to this control plane at an identity provider")]
    NoProvider,
    /// Too many wait.
    #[error("too many command lines wait to be signed in; try again in a few minutes")]
    TooMany,
    /// Postern's own fault.
    #[error("the control plane failed")]
    Fault(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for NotGiven {
    fn from(error: StoreError) -> Self {
        Self::Fault(Box::new(error))
    }
}

/// A command line asks to be signed in. `console`: where that is.
///
/// # Errors
/// When nobody could say yes, or too many wait.
pub async fn ask(store: &Store, console: &str, now: Micros) -> Result<DeviceAuthorization, NotGiven> {
    let secret = token::generate(PREFIX).map_err(|error| NotGiven::Fault(Box::new(error)))?;
    let mut tx = store.begin().await?;
    if providers::list(&mut tx).await?.is_empty() {
        return Err(NotGiven::NoProvider);
    }
    let row = DeviceLoginRow {
        fingerprint: token::fingerprint(&secret),
        user_code: user_code()?,
        created_at: now,
        expires_at: now.plus(LIFETIME),
        interval_seconds: INTERVAL,
        polled_at: None,
        denied: false,
        sign_in: None,
    };
    if !device_logins::insert(&mut tx, &row, now.minus(REMEMBERED)).await? {
        return Err(NotGiven::TooMany);
    }
    tx.commit().await?;
    let page = format!("{console}/device");
    Ok(DeviceAuthorization {
        device_code: secret.expose_secret().to_owned(),
        verification_uri_complete: format!("{page}?code={}", row.user_code),
        verification_uri: page,
        user_code: row.user_code,
        expires_in: LIFETIME.as_secs(),
        interval: INTERVAL.unsigned_abs(),
    })
}

/// The command line calls for its token, which it gets once. Gives it and how long it lives.
///
/// # Errors
/// Why there is none.
pub async fn fetch(store: &Store, code: &SecretString, now: Micros) -> Result<(SecretString, Duration), NotGiven> {
    let mut tx = store.begin().await?;
    let row = device_logins::by_fingerprint(&mut tx, &token::fingerprint(code)).await?.ok_or(NotGiven::Expired)?;
    if row.denied {
        return Err(NotGiven::Denied);
    }
    if row.expires_at <= now {
        return Err(NotGiven::Expired);
    }
    let interval = Duration::from_secs(row.interval_seconds.unsigned_abs());
    if row.polled_at.is_some_and(|last| now.since(last) < interval) {
        device_logins::polled(&mut tx, &row.fingerprint, row.interval_seconds.saturating_add(INTERVAL), now).await?;
        tx.commit().await?;
        return Err(NotGiven::SlowDown);
    }
    let Some(sign_in) = &row.sign_in else {
        device_logins::polled(&mut tx, &row.fingerprint, row.interval_seconds, now).await?;
        tx.commit().await?;
        return Err(NotGiven::Pending);
    };
    if !device_logins::remove(&mut tx, &row.fingerprint).await? {
        return Err(NotGiven::Expired);
    }
    let sign_in = sign_ins::open(&mut tx, sign_in, now).await?.ok_or(NotGiven::Expired)?;
    let user = principals::by_id(&mut tx, &sign_in.principal_id).await?.ok_or(NotGiven::Expired)?.principal;
    let name = format!("command line, signed in at {}", sign_in.signed_in.provider);
    let given = token_of(&mut tx, &user, &sign_in, &name, now).await;
    let (given, secret) = given.map_err(|problem| NotGiven::Fault(Box::new(problem)))?;
    let detail = json!({ "sign_in": sign_in.signed_in.id, "expires_at": given.expires_at });
    audit::append_control(&mut tx, Event::new(now, "device.signed_in", Some(&user), given.id.as_str(), &detail))
        .await?;
    tx.commit().await?;
    Ok((secret, sign_in.expires_at.since(now)))
}

/// The command line that shows this code and waits.
///
/// # Errors
/// When there is none, or the caller cannot sign one in.
pub async fn waiting(store: &Store, actor: &Actor, code: &str, now: Micros) -> Result<DeviceLogin, Problem> {
    signs_in(actor)?;
    let mut tx = store.read().await?;
    let row = device_logins::waiting(&mut tx, &normal(code), now).await?.ok_or_else(|| missing(code))?;
    Ok(DeviceLogin { user_code: row.user_code, created_at: row.created_at })
}

/// Somebody says whether the command line that shows this code is signed in as them.
///
/// # Errors
/// As [`waiting`].
pub async fn answer(store: &Store, actor: &Actor, code: &str, yes: bool, now: Micros) -> Result<DeviceLogin, Problem> {
    let sign_in = signs_in(actor)?;
    let mut tx = store.begin().await?;
    let row = device_logins::waiting(&mut tx, &normal(code), now).await?.ok_or_else(|| missing(code))?;
    if !device_logins::answer(&mut tx, &row.fingerprint, yes.then_some(sign_in)).await? {
        return Err(missing(code));
    }
    let action = if yes { "device.approved" } else { "device.denied" };
    let detail = json!({ "user_code": row.user_code, "asked_at": row.created_at });
    audit::append_control(&mut tx, Event::new(now, action, Some(&actor.principal), sign_in.as_str(), &detail)).await?;
    tx.commit().await?;
    Ok(DeviceLogin { user_code: row.user_code, created_at: row.created_at })
}

/// What a command line's token would end with.
fn signs_in(actor: &Actor) -> Result<&postern_types::id::SignInId, Problem> {
    let signed_in = actor.signed_in.as_ref().map(|signed_in| &signed_in.id);
    signed_in.ok_or_else(|| {
        Problem::forbidden("only who has signed in at an identity provider signs a command line in")
            .hint("with an API token: `postern login --token -`")
    })
}

fn missing(code: &str) -> Problem {
    Problem::not_found("command line that waits with the code", code)
        .hint("run `postern login` again: a code is good for ten minutes")
}

/// As it is kept, however somebody has typed it.
fn normal(code: &str) -> String {
    let letters: String = code.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase()).collect();
    match letters.split_at_checked(CODE_LETTERS / 2) {
        Some((one, other)) => format!("{one}-{other}"),
        None => letters,
    }
}

fn user_code() -> Result<String, NotGiven> {
    let mut letters = String::with_capacity(CODE_LETTERS);
    while letters.len() < CODE_LETTERS {
        let mut byte = [0u8; 1];
        rand::fill(&mut byte).map_err(|_| NotGiven::Fault(Box::new(token::RandomError)))?;
        // Twelve whole alphabets fit: what is beyond would make some letters likelier.
        let [byte] = byte;
        let letter = (byte < 240).then(|| LETTERS.get(usize::from(byte) % LETTERS.len())).flatten();
        letters.extend(letter.map(|letter| char::from(*letter)));
    }
    Ok(normal(&letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let code = user_code().unwrap();
        assert_eq!((code.len(), &code[4..5]), (9, "-"), "{code}");
        assert!(code.bytes().all(|letter| letter == b'-' || LETTERS.contains(&letter)));
        assert_ne!(code, user_code().unwrap());
        for typed in [" bcdf ghjk", "BCDFGHJK", "bcdf-ghjk"] {
            assert_eq!(normal(typed), "BCDF-GHJK");
        }
        for other in ["", "B", "é", "BCDF-GHJKL"] {
            assert_ne!(normal(other), "BCDF-GHJK");
        }
    }
}
