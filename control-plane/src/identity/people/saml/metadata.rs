//! A provider's side: its metadata, which an admin vouches for by applying it, or, where it is fetched, by applying its address.

use super::own::{Key, side};
use crate::{Core, api::chain, identity::people::SignInFailed, outward};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use postern_api::provider::Saml;
use postern_types::time::Micros;
use reqwest::Client;
use saml_rs::{
    IdpDescriptor, MetadataTrustPolicy, Sp,
    constants::{Binding, CertUse},
    xml::{ExtractorField, extract},
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::sync::{Mutex, OnceCell};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, public_key::PublicKey};

/// How long what was fetched is good: a key that a provider withdraws is refused after that.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// The longest metadata that is read. That of whole federations is longer, and is no provider's.
const MAX_BYTES: usize = 256 * 1024;

/// The shortest key by which a provider may sign.
const MIN_RSA_BITS: usize = 2048;

/// A provider's metadata cannot be used.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// It did not answer.
    #[error("{0} cannot be reached")]
    Unreachable(String, #[source] reqwest::Error),
    /// It answered something else.
    #[error("{0} answered {1}")]
    Answered(String, String),
    /// They are not what is needed.
    #[error("{0}")]
    Bad(String),
}

type Fetched = Arc<Mutex<Option<(Instant, Arc<IdpDescriptor>)>>>;

/// Both sides of sign-ins: what providers publish, and Postern's own key. One provider's metadata are fetched by one caller at a
/// time; the others wait for them.
pub(in crate::identity::people) struct Sides {
    client: Client,
    fetched: Mutex<HashMap<String, Fetched>>,
    key: OnceCell<Key>,
}

impl Sides {
    pub(in crate::identity::people) fn new(client: Client) -> Self {
        Self { client, fetched: Mutex::default(), key: OnceCell::new() }
    }

    /// A provider.
    pub(super) async fn provider(&self, saml: &Saml, now: Micros) -> Result<Arc<IdpDescriptor>, MetadataError> {
        let url = match (&saml.metadata, &saml.metadata_url) {
            (Some(text), _) => return read(text, now).map(Arc::new),
            (None, Some(url)) => url,
            (None, None) => return Err(MetadataError::Bad("there are none".to_owned())),
        };
        let fetched = Arc::clone(self.fetched.lock().await.entry(url.clone()).or_default());
        let mut fetched = fetched.lock().await;
        if let Some((at, known)) = fetched.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(read(&self.fetch(url).await?, now)?);
        *fetched = Some((Instant::now(), Arc::clone(&known)));
        Ok(known)
    }

    async fn fetch(&self, url: &str) -> Result<String, MetadataError> {
        let answered = |what: String| MetadataError::Answered(url.to_owned(), what);
        let address = outward::address(url).map_err(|problem| answered(format!("nothing: it {problem}")))?;
        let response = self.client.get(address).send().await;
        let response = response.map_err(|error| MetadataError::Unreachable(url.to_owned(), error.without_url()))?;
        if !response.status().is_success() {
            return Err(answered(response.status().to_string()));
        }
        let body = outward::body(response, MAX_BYTES).await.map_err(|error| answered(chain(&error)))?;
        String::from_utf8(body).map_err(|_| answered("what is no text in UTF-8".to_owned()))
    }

    /// Postern, as this provider knows it. `opens`: the answer is encrypted.
    pub(super) async fn own(
        &self,
        core: &Core,
        place: &str,
        provider: &IdpDescriptor,
        opens: bool,
    ) -> Result<saml_rs::Saml<Sp>, SignInFailed> {
        let key = self.key.get_or_try_init(|| Key::load(&core.store, &core.sealer)).await?;
        let signs = provider.metadata().is_want_authn_requests_signed();
        side(place, key, signs, opens).map_err(SignInFailed::fault)
    }
}

/// Whether people can sign in at the provider whose metadata these are.
///
/// # Errors
/// Says why not.
pub fn check_metadata(text: &str, now: Micros) -> Result<(), String> {
    read(text, now).map(drop).map_err(|error| error.to_string())
}

fn read(text: &str, now: Micros) -> Result<IdpDescriptor, MetadataError> {
    let bad = |problem: String| MetadataError::Bad(problem);
    if text.len() > MAX_BYTES {
        return Err(bad(format!("at most {MAX_BYTES} bytes: give the metadata of this one provider")));
    }
    let unread = |error| bad(format!("it is not the metadata of an identity provider: {error}"));
    let provider =
        IdpDescriptor::from_metadata_xml(text, MetadataTrustPolicy::UnsignedForCompatibility).map_err(unread)?;
    let until = ExtractorField::new("until", &["EntityDescriptor"]).attrs(&["validUntil"]);
    let until = extract(text, &[until]).map_err(unread)?;
    if let Some(until) = until.get_str("until") {
        let until: jiff::Timestamp = until.parse().map_err(|_| bad("`validUntil` is no time".to_owned()))?;
        if until.as_microsecond() <= now.0 {
            return Err(bad(format!("it was valid until {until}: get it anew from the provider")));
        }
    }
    let place = provider.metadata().get_single_sign_on_service(Binding::Redirect);
    let place = place.ok_or_else(|| bad("it has no `SingleSignOnService` by HTTP-Redirect".to_owned()))?;
    outward::address(&place).map_err(|problem| bad(format!("its `SingleSignOnService` {problem}")))?;
    let mut suits = 0;
    for certificate in provider.metadata().x509_certificates(CertUse::Signing) {
        suits += usize::from(is_suited(&certificate).map_err(|problem| bad(problem.to_owned()))?);
    }
    if suits == 0 {
        return Err(bad("it has no certificate with an RSA key by which the provider signs".to_owned()));
    }
    Ok(provider)
}

/// Whether signatures by a certificate's key are looked at: those of RSA are. One that is too short spoils all, since whoever
/// has found it out signs as the provider.
fn is_suited(certificate: &str) -> Result<bool, &'static str> {
    let text: String = certificate.split_whitespace().collect();
    let der = BASE64.decode(text).map_err(|_| "one of its certificates is not Base64")?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| "one of its certificates cannot be read")?;
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < MIN_RSA_BITS => {
            Err("one of its keys is shorter than 2048 bits: have the provider make a longer one")
        }
        Ok(PublicKey::RSA(_)) => Ok(true),
        _ => Ok(false),
    }
}
