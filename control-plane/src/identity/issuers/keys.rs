//! The public keys of issuers: found by OpenID Connect Discovery 1.0, kept for a while, fetched anew when a token names
//! one that is not among them.

use crate::{api::chain, outward};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use reqwest::Client;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::sync::Mutex;

/// How long keys are good without being looked at again: one that an issuer withdraws is refused after that.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// Between two fetches of one issuer's keys, however many tokens name keys that it does not have.
const REST: Duration = Duration::from_secs(5);

/// The longest document that is read.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// The most keys of one issuer.
const MAX_KEYS: usize = 100;

/// Keys cannot be had.
#[derive(Debug, Error)]
pub enum KeysError {
    /// It did not answer.
    #[error("{0} cannot be reached")]
    Unreachable(String, #[source] reqwest::Error),
    /// It answered something else.
    #[error("{0} answered {1}")]
    Answered(String, String),
    /// The document is for another issuer.
    #[error("{0} is the discovery document of another issuer, `{1}`")]
    OtherIssuer(String, String),
    /// The keys are where nothing is sent.
    #[error("{0} names the address of keys that {1}")]
    NotSent(String, &'static str),
}

/// What an issuer publishes of itself (OpenID Connect Discovery 1.0). Addresses are as it gives them: nothing is sent there
/// before it is known that something may be.
#[derive(Debug, Deserialize)]
pub struct Discovery {
    issuer: String,
    jwks_uri: String,
    /// Where people sign in.
    pub authorization_endpoint: Option<String>,
    /// Where tokens are given.
    pub token_endpoint: Option<String>,
    /// Where it says more of somebody.
    pub userinfo_endpoint: Option<String>,
    /// Where people sign out.
    pub end_session_endpoint: Option<String>,
    /// Whether its answers say from whom they are (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Discovery {
    /// Whether a client's secret travels in a header, as it does where the issuer says nothing else.
    #[must_use]
    pub fn takes_secret_in_header(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_ref();
        methods.is_none_or(|methods| {
            let has = |name: &str| methods.iter().any(|method| method == name);
            has("client_secret_basic") || !has("client_secret_post")
        })
    }
}

/// What is known of an issuer.
#[derive(Debug)]
pub struct Known {
    /// What it publishes.
    pub discovery: Discovery,
    /// Its keys.
    pub keys: JwkSet,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

#[derive(Default)]
struct Kept {
    known: Option<(Instant, Arc<Known>)>,
    tried: Option<Instant>,
}

/// The keys of all issuers. An issuer's are fetched by one caller at a time; the others wait for them.
pub struct Keys {
    client: Client,
    kept: Mutex<HashMap<String, Arc<Mutex<Kept>>>>,
}

impl Keys {
    /// None is known yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, kept: Mutex::default() }
    }

    /// What is known of an issuer; fetched anew unless it is fresh and the keys `suit`.
    ///
    /// # Errors
    /// When it has to be asked and cannot be.
    pub async fn of(&self, issuer: &str, suit: impl Fn(&JwkSet) -> bool) -> Result<Arc<Known>, KeysError> {
        let kept = Arc::clone(self.kept.lock().await.entry(issuer.to_owned()).or_default());
        let mut kept = kept.lock().await;
        let known = kept.known.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, known)| Arc::clone(known));
        let rests = kept.tried.is_some_and(|at| at.elapsed() < REST);
        match known {
            Some(known) if rests || suit(&known.keys) => return Ok(known),
            _ => {}
        }
        kept.tried = Some(Instant::now());
        let known = Arc::new(self.fetch(issuer).await?);
        kept.known = Some((Instant::now(), Arc::clone(&known)));
        Ok(known)
    }

    async fn fetch(&self, issuer: &str) -> Result<Known, KeysError> {
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let discovery: Discovery = self.read(&address).await?;
        if discovery.issuer != issuer {
            return Err(KeysError::OtherIssuer(address, discovery.issuer));
        }
        outward::address(&discovery.jwks_uri).map_err(|problem| KeysError::NotSent(address, problem))?;
        let published: Published = self.read(&discovery.jwks_uri).await?;
        // One of a kind that is not known here does not spoil the others.
        let known = |key: Value| serde_json::from_value::<Jwk>(key).ok();
        let keys = JwkSet { keys: published.keys.into_iter().take(MAX_KEYS).filter_map(known).collect() };
        Ok(Known { discovery, keys })
    }

    async fn read<T: DeserializeOwned>(&self, address: &str) -> Result<T, KeysError> {
        let unreachable = |error| KeysError::Unreachable(address.to_owned(), error);
        let answered = |what: String| KeysError::Answered(address.to_owned(), what);
        let response = self.client.get(address).send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(answered(response.status().to_string()));
        }
        let body = outward::body(response, MAX_DOCUMENT_BYTES).await.map_err(|error| answered(chain(&error)))?;
        serde_json::from_slice(&body).map_err(|error| answered(format!("what cannot be read: {error}")))
    }
}
