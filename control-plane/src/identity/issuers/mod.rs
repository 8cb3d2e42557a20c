//! Machines that prove who they are by the token that their platform gives them: it is exchanged for one of Postern's,
//! short-lived and bound to an agent (RFC 8693). So a job needs no stored secret. Or by a certificate (RFC 8705), to which the
//! token is bound that they get.
//!
//! `keys`: the public keys of issuers; `verify`: whether a token is one of theirs; `certificates`: whose a certificate is.

pub mod certificates;
pub(super) mod keys;
pub(super) mod verify;

use self::{
    certificates::{Known, Shown},
    keys::Keys,
};
use super::{refusals::Refusals, tokens};
use crate::{
    audit::{self, Event},
    problem::{Problem, shorten},
    store::{
        Store, StoreError, issuers, principals,
        tokens::{self as rows, GivenFor, Machine},
    },
};
use postern_api::{
    identity::{PrincipalKind, PrincipalRef},
    issuer::{ClaimIs, ExchangedToken, IssuerAgent, IssuerDocument, Proof},
};
use postern_types::time::{Micros, parse_duration};
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::time::Duration;
use thiserror::Error;
use verify::{Claims, Expected, Refused};

/// What [RFC 8693, section 3](https://www.rfc-editor.org/rfc/rfc8693#section-3) calls the token that is given.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The kinds of a machine's token.
const KINDS: [&str; 2] = ["jwt", "at+jwt"];

/// The longest token that is given.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no token.
#[derive(Debug, Error)]
pub enum NotExchanged {
    /// The token is not accepted.
    #[error("the token is refused: {0}")]
    Refused(#[from] Refused),
    /// Nobody has said that this issuer's tokens are good here.
    #[error("the token is refused: its issuer `{0}` is not known here")]
    UnknownIssuer(String),
    /// The certificate is not accepted.
    #[error("the certificate is refused: {0}")]
    Certificate(#[from] certificates::Refused),
    /// The token is genuine, and nobody's here.
    #[error("the token is genuine, and its claims are those of no agent here")]
    Nobody,
    /// Its agent may do nothing.
    #[error("it is the agent `{0}`'s, which is disabled or gone")]
    Disabled(String),
    /// Two tokens do not make one for an agent on behalf of a person.
    #[error("the tokens are refused: {0}")]
    OnBehalf(&'static str),
    /// The issuer's keys cannot be had.
    #[error("the issuer's keys cannot be had; try again shortly")]
    Keys(#[source] keys::KeysError),
    /// Postern's own fault.
    #[error("the control plane failed")]
    Fault(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for NotExchanged {
    fn from(error: StoreError) -> Self {
        Self::Fault(Box::new(error))
    }
}

/// Exchanges tokens.
pub struct Exchange {
    keys: Keys,
    pub(super) refusals: Refusals,
}

impl Exchange {
    /// One that knows no keys yet, and fetches them by this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let refusals = Refusals::new("token.refused", "postern_token_exchanges_refused_total");
        Self { keys: Keys::new(client), refusals }
    }

    /// A token of Postern's for a machine that comes with its platform's.
    ///
    /// # Errors
    /// Why there is none; recorded, within bounds.
    pub async fn exchange(
        &self,
        store: &Store,
        subject_token: &SecretString,
        now: Micros,
    ) -> Result<ExchangedToken, NotExchanged> {
        let mut seen = Seen::default();
        let done = self.attempt(store, subject_token.expose_secret(), &mut seen, now).await;
        if let Err(error) = &done
            && !matches!(error, NotExchanged::Fault(_))
        {
            let Seen { issuer, subject } = seen;
            let detail = json!({ "issuer": issuer, "subject": subject, "why": error.to_string() });
            self.refusals.record(store, "exchange", &detail, now).await?;
        }
        done
    }

    async fn attempt(
        &self,
        store: &Store,
        token: &str,
        seen: &mut Seen,
        now: Micros,
    ) -> Result<ExchangedToken, NotExchanged> {
        let (header, url) = verify::read(token, &KINDS)?;
        seen.issuer = Some(shorten(&url));
        let mut tx = store.read().await?;
        let known = issuers::by_url(&mut tx, &url).await?;
        drop(tx);
        let unknown = || NotExchanged::UnknownIssuer(shorten(&url));
        let issuer = known.ok_or_else(unknown)?;
        let Some(Proof::Tokens { url, audience }) = issuer.proof() else { return Err(unknown()) };
        let known = self.keys.of(url, |keys| verify::has_key(keys, &header)).await;
        let known = known.map_err(NotExchanged::Keys)?;
        let seconds = u64::try_from(now.0 / 1_000_000).unwrap_or(0);
        let expected = Expected { issuer: url, audience, names_subject: true };
        let claims = verify::verify(token, &header, &known.keys, &expected, seconds)?;
        // Verified: it is a text, and no longer than a subject may be.
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        seen.subject = Some(shorten(subject));
        let entry = issuer.agents.iter().find(|entry| is(entry, &claims)).ok_or(NotExchanged::Nobody)?;
        let proved = Proved {
            issuer: &issuer,
            entry,
            subject,
            told: told(entry, &claims),
            machine: Machine { job: Some(format!("{} {subject}", issuer.name)), certificate: None },
            ends_at: None,
        };
        give(store, proved, now).await
    }

    /// A token of Postern's for a machine that has shown a certificate, and is good together with that alone. `agent`: whose
    /// it has to be.
    ///
    /// # Errors
    /// Why there is none; recorded, within bounds.
    pub async fn by_certificate(
        &self,
        store: &Store,
        shown: &Shown,
        agent: Option<&str>,
        now: Micros,
    ) -> Result<ExchangedToken, NotExchanged> {
        let mut tx = store.read().await?;
        let issuers = issuers::with_authorities(&mut tx).await?;
        drop(tx);
        let done = match certificates::whose(&issuers, shown, agent, now) {
            Ok(Known { issuer, entry, subject, told, thumbprint, ends_at }) => {
                let machine = Machine { job: None, certificate: Some(thumbprint) };
                let proved = Proved { issuer, entry, subject: &subject, told, machine, ends_at: Some(ends_at) };
                give(store, proved, now).await
            }
            Err(refused) => Err(refused.into()),
        };
        if let Err(error) = &done
            && !matches!(error, NotExchanged::Fault(_))
        {
            let detail = json!({
                "certificate": shown.thumbprint(), "agent": agent.map(shorten), "why": error.to_string(),
            });
            self.refusals.record(store, "certificate", &detail, now).await?;
        }
        done
    }
}

/// Of which authorities clients are asked for a certificate, by their names in DER: those of all documents; none: of nobody.
///
/// # Errors
/// When the store fails.
pub async fn asked_for(store: &Store) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
    let mut tx = store.read().await?;
    let issuers = issuers::with_authorities(&mut tx).await?;
    Ok((!issuers.is_empty()).then(|| certificates::subjects(&issuers)))
}

/// Whether the certificate that was shown is the one to which something of this agent's is bound, and is still good.
///
/// # Errors
/// When the store fails.
pub async fn shows(
    store: &Store,
    shown: &Shown,
    bound: &str,
    agent: &PrincipalRef,
    now: Micros,
) -> Result<Result<(), certificates::Refused>, StoreError> {
    let mut tx = store.read().await?;
    let issuers = issuers::with_authorities(&mut tx).await?;
    Ok(match certificates::whose(&issuers, shown, Some(&agent.name), now) {
        _ if shown.thumbprint().is_some_and(|own| own != bound) => Err(certificates::Refused::Another),
        whose => whose.map(drop),
    })
}

/// A machine that has proved which one it is.
struct Proved<'a> {
    /// By which document.
    issuer: &'a IssuerDocument,
    /// Which of its agents.
    entry: &'a IssuerAgent,
    /// What it is called there.
    subject: &'a str,
    /// What decided, for the record.
    told: Value,
    /// Which it is.
    machine: Machine,
    /// When its proof ends, where no token of it goes on after that.
    ends_at: Option<Micros>,
}

/// The token that a machine gets for its proof.
async fn give(store: &Store, proved: Proved<'_>, now: Micros) -> Result<ExchangedToken, NotExchanged> {
    let Proved { issuer, entry, subject, told, machine, ends_at } = proved;
    let mut tx = store.begin().await?;
    let agent = principals::by_name(&mut tx, PrincipalKind::Agent, &entry.agent).await?;
    let agent = agent.filter(|agent| !agent.disabled);
    let agent = agent.ok_or_else(|| NotExchanged::Disabled(entry.agent.clone()))?.principal;
    let lifetime = lifetime(entry).map_err(|_| StoreError::corrupt("issuer", "its lifetime cannot be read"))?;
    let lifetime = ends_at.map_or(lifetime, |end| lifetime.min(end.since(now)));
    let new = tokens::New {
        principal: &agent,
        name: &format!("{}: {}", issuer.name, shorten(subject)),
        expires_at: Some(now.plus(lifetime)),
        may: entry.may.as_deref(),
        given: GivenFor::Issuer(&issuer.name),
    };
    let (token, secret) = tokens::insert(&mut tx, &new, now).await.map_err(fault)?;
    rows::set_machine(&mut tx, &token.id, &machine).await?;
    let detail = json!({
        "issuer": issuer.name, "principal": agent, "claims": told, "certificate": machine.certificate,
        "may": entry.may, "expires_at": token.expires_at,
    });
    let event = Event::new(now, "token.exchanged", Some(&agent), token.id.as_str(), &detail);
    audit::append_control(&mut tx, event).await?;
    tx.commit().await?;
    Ok(exchanged(&secret, lifetime))
}

/// What whoever exchanged a token gets.
pub(super) fn exchanged(secret: &SecretString, lifetime: Duration) -> ExchangedToken {
    ExchangedToken {
        access_token: secret.expose_secret().to_owned(),
        issued_token_type: ACCESS_TOKEN.to_owned(),
        token_type: "Bearer".to_owned(),
        expires_in: lifetime.as_secs(),
    }
}

/// What is known of a token so far.
#[derive(Default)]
struct Seen {
    /// As it says.
    issuer: Option<String>,
    /// Whom the issuer has proved.
    subject: Option<String>,
}

fn fault(problem: Problem) -> NotExchanged {
    NotExchanged::Fault(Box::new(problem))
}

/// How long a token of this entry lives.
///
/// # Errors
/// When it is none that can be.
pub fn lifetime(entry: &IssuerAgent) -> Result<Duration, String> {
    let lifetime = parse_duration(&entry.lifetime).map_err(|error| error.to_string())?;
    if lifetime > MAX_LIFETIME {
        return Err("a token lives for 24h at most".to_owned());
    }
    Ok(lifetime)
}

/// A claim; one that begins with a slash is within others (RFC 6901).
pub(super) fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    let Some(pointer) = name.strip_prefix('/') else { return claims.get(name) };
    let mut parts = pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&parts.next()?)?;
    parts.try_fold(first, |value, part| value.as_object()?.get(&part))
}

/// Whether all conditions hold. A claim that is not there is not what it has to be.
fn is(entry: &IssuerAgent, claims: &Claims) -> bool {
    let holds = |(name, wanted): (&String, &ClaimIs)| {
        claim(claims, name).is_some_and(|value| match wanted {
            ClaimIs::Truth(truth) => value.as_bool() == Some(*truth),
            ClaimIs::Number(number) => value.as_i64() == Some(*number),
            ClaimIs::Text(_) | ClaimIs::OneOf(_) => value.as_str().is_some_and(|value| wanted.is_text(value)),
        })
    };
    !entry.when.is_empty() && entry.when.iter().all(holds)
}

/// The claims by which it was decided, for the record.
fn told(entry: &IssuerAgent, claims: &Claims) -> Value {
    let names = entry.when.keys().map(String::as_str).chain(["sub", "jti"]);
    let told = names.filter_map(|name| Some((name.to_owned(), claim(claims, name)?.clone())));
    Value::Object(told.collect())
}
