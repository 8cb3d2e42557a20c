//! Whether people who have signed in are still there: the provider is asked again and again, by a refresh token that changes
//! each time. Whom it refuses, or names no group of any more, is removed.

use super::{
    NO_GROUPS, NotAdmitted, SignInFailed, admit, end,
    oidc::{Terms, Tokens, by_name, verified},
    place, remove,
};
use crate::{
    Core,
    identity::issuers::{
        claim,
        keys::Known,
        verify::{Claims, Refused},
    },
    store::{
        StoreError,
        sign_ins::{self, SignInRow},
    },
};
use postern_api::provider::{IdentityProviderDocument, Oidc, SignedIn};
use postern_types::time::Micros;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// How often it is looked for those whose turn it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Those that are asked for at once.
const AT_ONCE: u32 = 32;

/// How long a provider may be out of reach before nobody is signed in by it any more.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What a provider answers whose user is gone, or who has taken back what it gave (RFC 6749, section 5.2).
const GONE: &str = "invalid_grant";

/// Asks providers until the process stops.
pub async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match once(&core).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(error = crate::api::chain(&error), "sign-ins cannot be checked; trying on");
            }
            Err(_) => {}
        }
    }
}

async fn once(core: &Arc<Core>) -> Result<(), StoreError> {
    let now = Micros::now();
    over(core, now).await?;
    loop {
        let mut tx = core.store.read().await?;
        let due = sign_ins::unchecked_since(&mut tx, now.minus(core.config.identity.check_every), AT_ONCE).await?;
        drop(tx);
        let more = due.len() == AT_ONCE as usize;
        let mut checks = JoinSet::new();
        for row in due {
            let core = Arc::clone(core);
            checks.spawn(async move { check(&core, &row, now).await });
        }
        while let Some(done) = checks.join_next().await {
            done.unwrap_or_else(|error| {
                tracing::error!(%error, "a sign-in's check was cut off");
                Ok(())
            })?;
        }
        if !more {
            return Ok(());
        }
    }
}

/// Ends those whose time is over.
async fn over(core: &Core, now: Micros) -> Result<(), StoreError> {
    let mut tx = core.store.read().await?;
    let due = sign_ins::overdue(&mut tx, now, AT_ONCE).await?;
    drop(tx);
    if due.is_empty() {
        return Ok(());
    }
    let mut tx = core.store.begin().await?;
    for row in due {
        end(&mut tx, &row, "its time is over", now).await?;
    }
    tx.commit().await
}

/// What becomes of a sign-in.
enum Outcome {
    /// The provider does not vouch for them.
    Gone(String),
    /// It could not be asked.
    Unknown(SignInFailed),
}

async fn check(core: &Core, row: &SignInRow, now: Micros) -> Result<(), StoreError> {
    let mut tx = core.store.begin().await?;
    let mine = sign_ins::claim_check(&mut tx, row, now).await?;
    tx.commit().await?;
    if !mine {
        return Ok(());
    }
    let outcome = match ask(core, row, now).await {
        Ok(()) => return Ok(()),
        Err(outcome) => outcome,
    };
    let mut tx = core.store.begin().await?;
    let effects = match outcome {
        Outcome::Gone(why) => remove(&mut tx, &row.principal_id, &why, now).await?,
        Outcome::Unknown(error) => {
            let SignedIn { id, provider, .. } = &row.signed_in;
            tracing::warn!(sign_in = %id, provider, error = crate::api::chain(&error), "a sign-in cannot be checked");
            if now.since(row.verified_at) < PATIENCE {
                return Ok(());
            }
            end(&mut tx, row, "the identity provider could not be asked for too long", now).await?;
            Vec::new()
        }
    };
    tx.commit().await?;
    core.perform(effects);
    Ok(())
}

/// Asks, and takes what the provider says now.
async fn ask(core: &Core, row: &SignInRow, now: Micros) -> Result<(), Outcome> {
    let unknown = |error: SignInFailed| Outcome::Unknown(error);
    let (provider, oidc) = by_name(core, &row.signed_in.provider).await.map_err(unknown)?;
    let people = &core.people;
    let known = people.published(&oidc).await.map_err(|error| Outcome::Unknown(error.into()))?;
    let tokens = fetch(core, row, &oidc, &known).await?;
    let (tokens, claims) = claims(core, row, &provider, &oidc, &known, tokens, now).await?;
    let kept = tokens.refresh_token.clone();
    let verified = match verified(&provider, &oidc, &claims, tokens, Terms { not_before: None, acr: &[] }) {
        Ok(verified) => verified,
        Err(error) => return Err(Outcome::Gone(error.to_string())),
    };
    let fault = |error: StoreError| Outcome::Unknown(error.into());
    let mut tx = core.store.begin().await.map_err(fault)?;
    if let Err(error) = admit(&mut tx, &verified, now).await {
        return Err(match error {
            NotAdmitted::NoGroups => Outcome::Gone(NO_GROUPS.to_owned()),
            fault @ NotAdmitted::Fault(_) => Outcome::Unknown(fault.into()),
            other => Outcome::Gone(other.to_string()),
        });
    }
    if let Some(token) = kept {
        let sealed = core.sealer.seal(&place("refresh", &row.signed_in.id), token.expose_secret().as_bytes());
        let sealed = sealed.map_err(|error| Outcome::Unknown(SignInFailed::fault(error)))?;
        sign_ins::verified(&mut tx, &row.signed_in.id, sealed, now).await.map_err(fault)?;
    }
    tx.commit().await.map_err(fault)
}

/// New tokens for the refresh token, which is theirs too where the provider keeps it.
async fn fetch(core: &Core, row: &SignInRow, oidc: &Oidc, known: &Known) -> Result<Tokens, Outcome> {
    let fault = |cause: Box<dyn std::error::Error + Send + Sync>| Outcome::Unknown(SignInFailed::Fault(cause));
    let sealed = row.refresh_token.as_deref().unwrap_or_default();
    let opened =
        core.sealer.open(&place("refresh", &row.signed_in.id), sealed).map_err(|error| fault(Box::new(error)))?;
    let text = String::from_utf8(opened.to_vec()).map_err(|error| fault(Box::new(error.utf8_error())))?;
    let token = SecretString::from(text);
    let grant = [("grant_type", "refresh_token"), ("refresh_token", token.expose_secret())];
    match core.people.tokens(core, oidc, known, &grant).await {
        Ok(tokens) => Ok(Tokens { refresh_token: tokens.refresh_token.or(Some(token)), ..tokens }),
        Err(SignInFailed::Provider(error)) if error == GONE => {
            Err(Outcome::Gone("the identity provider does not vouch for them any more".to_owned()))
        }
        Err(error) => Err(Outcome::Unknown(error)),
    }
}

/// What the provider says of them now: by a new token, or by its userinfo endpoint.
async fn claims(
    core: &Core,
    row: &SignInRow,
    provider: &IdentityProviderDocument,
    oidc: &Oidc,
    known: &Known,
    tokens: Tokens,
    now: Micros,
) -> Result<(Tokens, Claims), Outcome> {
    let told = match &tokens.id_token {
        Some(token) => core.people.id_token(oidc, token, now).await.map_err(Outcome::Unknown)?,
        // Of whom the userinfo endpoint has to speak.
        None => Claims::from_iter([("sub".to_owned(), Value::from(row.subject.clone()))]),
    };
    if told.get("sub").and_then(Value::as_str) != Some(&row.subject) {
        // OpenID Connect Core 1.0, section 12.2.
        let error = Refused::Claim("sub", "is somebody else than has signed in");
        return Err(Outcome::Gone(error.to_string()));
    }
    let lacks = |name: &str| claim(&told, name).is_none();
    let groups = provider.groups.as_ref().is_some_and(|groups| lacks(&groups.claim));
    let needed = tokens.id_token.is_none() || groups || lacks(&oidc.user);
    let oidc =
        Oidc { userinfo: oidc.userinfo || (needed && known.discovery.userinfo_endpoint.is_some()), ..oidc.clone() };
    let claims = core.people.completed(provider, &oidc, known, &tokens, told).await.map_err(Outcome::Unknown)?;
    Ok((tokens, claims))
}
