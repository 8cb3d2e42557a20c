//! Where a browser is sent to sign in, and that whoever comes back is who was sent.

use super::{SignIns, by_name, failed::SignInFailed, oidc::endpoint};
use crate::{
    Core,
    store::{Store, one_time},
};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use postern_api::provider::{Oidc, Protocol};
use postern_types::{time::Micros, token};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use url::Url;

/// How long somebody may take to sign in at the provider.
pub const LONGEST: Duration = Duration::from_secs(600);

/// The kind under which states are kept.
const KIND: &str = "sign-in";

/// The longest page that somebody is sent back to.
const MAX_PAGE_BYTES: usize = 2000;

/// The most ways of signing in that are asked for at once.
const MAX_ACR: usize = 20;

/// A sign-in that was begun.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    provider: String,
    /// The fingerprint of the browser's cookie.
    browser: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    pub(super) return_to: String,
    pub(super) fresh: bool,
    pub(super) acr: Vec<String>,
    pub(super) begun_at: Micros,
}

/// What somebody wants who begins to sign in.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    /// The page of the console to come back to.
    pub return_to: Option<String>,
    /// Prove again who they are.
    #[serde(default)]
    pub fresh: bool,
    /// In one of these ways, parted by spaces.
    pub acr: Option<String>,
}

impl Wanted {
    /// The ways of signing in that are wanted; None: whichever.
    pub(super) fn ways(&self) -> Option<Vec<String>> {
        let acr = self.acr.as_ref()?;
        Some(acr.split_whitespace().take(MAX_ACR).map(str::to_owned).collect())
    }
}

/// Where the browser is sent.
pub struct Sent {
    /// The provider's address.
    pub location: Url,
    /// The cookie by which the browser is known when it comes back.
    pub browser: SecretString,
}

impl State {
    /// The sign-in that comes back, once, in the browser that began it and from the provider that it was sent to.
    pub(super) async fn take(
        store: &Store,
        provider: &str,
        state: Option<&SecretString>,
        browser: Option<&SecretString>,
        now: Micros,
    ) -> Result<Self, SignInFailed> {
        let (Some(state), Some(browser)) = (state, browser) else { return Err(SignInFailed::State) };
        let mut tx = store.begin().await?;
        let text = one_time::take(&mut tx, KIND, &token::fingerprint(state), now).await?;
        tx.commit().await?;
        let state: Self = serde_json::from_str(&text.ok_or(SignInFailed::State)?).map_err(SignInFailed::fault)?;
        if state.browser != token::fingerprint(browser) {
            return Err(SignInFailed::State);
        }
        if state.provider != provider {
            return Err(SignInFailed::MixUp);
        }
        Ok(state)
    }
}

impl SignIns {
    /// Where a browser goes to sign in.
    ///
    /// # Errors
    /// Why nowhere; recorded, within bounds.
    pub async fn send(&self, core: &Core, name: &str, wanted: &Wanted, now: Micros) -> Result<Sent, SignInFailed> {
        let sent = self.sent(core, name, wanted, now).await;
        if let Err(error) = &sent {
            self.refused(core, name, None, error, now).await?;
        }
        sent
    }

    async fn sent(&self, core: &Core, name: &str, wanted: &Wanted, now: Micros) -> Result<Sent, SignInFailed> {
        let return_to = wanted.return_to.clone().unwrap_or_else(|| "/".to_owned());
        if !is_page(&return_to) {
            return Err(SignInFailed::ReturnTo);
        }
        let provider = by_name(core, name).await?;
        match provider.protocol() {
            Some(Protocol::Oidc(oidc)) => self.sent_by_oidc(core, name, oidc, wanted, return_to, now).await,
            Some(Protocol::Saml(saml)) => self.sent_by_saml(core, name, saml, wanted, return_to, now).await,
            None => Err(SignInFailed::UnknownProvider),
        }
    }

    async fn sent_by_oidc(
        &self,
        core: &Core,
        name: &str,
        oidc: &Oidc,
        wanted: &Wanted,
        return_to: String,
        now: Micros,
    ) -> Result<Sent, SignInFailed> {
        let known = self.published(oidc).await?;
        let mut location = endpoint("authorization_endpoint", known.discovery.authorization_endpoint.as_deref())?;
        let redirect = core.callback_url(name).ok_or(SignInFailed::NoAddress)?;
        let (state, browser, nonce) = (secret()?, secret()?, secret()?);
        // RFC 7636 wants 43 characters at least.
        let verifier = format!("{}{}", secret()?.expose_secret(), secret()?.expose_secret());
        let acr = wanted.ways().unwrap_or_else(|| oidc.acr.clone());
        let challenge = BASE64URL.encode(digest(&SHA256, verifier.as_bytes()).as_ref());
        {
            let mut query = location.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", &oidc.client_id)
                .append_pair("redirect_uri", &redirect)
                .append_pair("scope", &oidc.scopes.join(" "))
                .append_pair("state", state.expose_secret())
                .append_pair("nonce", nonce.expose_secret())
                .append_pair("code_challenge", &challenge)
                .append_pair("code_challenge_method", "S256");
            // OpenID Connect Core 1.0, section 11: who asks for access while somebody is away asks for consent.
            let offline = oidc.scopes.iter().any(|scope| scope == "offline_access");
            let prompts = [(wanted.fresh, "login"), (offline, "consent")];
            let prompts: Vec<&str> =
                prompts.into_iter().filter_map(|(wanted, prompt)| wanted.then_some(prompt)).collect();
            if !prompts.is_empty() {
                query.append_pair("prompt", &prompts.join(" "));
            }
            if wanted.fresh {
                query.append_pair("max_age", "0");
            }
            if !acr.is_empty() {
                query.append_pair("acr_values", &acr.join(" "));
            }
        }
        let begun = State {
            provider: name.to_owned(),
            browser: token::fingerprint(&browser),
            nonce: nonce.expose_secret().to_owned(),
            verifier,
            return_to,
            fresh: wanted.fresh,
            acr,
            begun_at: now,
        };
        let text = serde_json::to_string(&begun).map_err(SignInFailed::fault)?;
        let mut tx = core.store.begin().await?;
        let kept = one_time::put(&mut tx, KIND, &token::fingerprint(&state), &text, now.plus(LONGEST), now).await?;
        tx.commit().await?;
        if kept { Ok(Sent { location, browser }) } else { Err(SignInFailed::TooMany) }
    }
}

/// A secret of a sign-in that was begun.
pub(super) fn secret() -> Result<SecretString, SignInFailed> {
    token::generate("").map_err(SignInFailed::fault)
}

/// Whether a path is one of the console's pages: browsers take `//host` and `/\host` for another site.
fn is_page(path: &str) -> bool {
    let elsewhere = path.starts_with("//") || path.contains('\\') || path.chars().any(char::is_control);
    let for_programs = ["/api/", "/oauth/", "/saml/"].iter().any(|prefix| path.starts_with(prefix));
    path.starts_with('/') && path.len() <= MAX_PAGE_BYTES && !elsewhere && !for_programs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_console() {
        for good in
            ["/", "/inbox?item=rev_1", "/device?code=ABCD", "/a//b", "/@evil.example.com", "/%2f%2fevil.example.com"]
        {
            assert!(is_page(good), "{good}");
        }
        for bad in [
            "",
            "inbox",
            "//evil.example.com",
            "///evil.example.com",
            "/\\evil.example.com",
            "\\\\evil.example.com",
            "/\t/evil.example.com",
            "/\n/evil.example.com",
            "https://evil.example.com",
            "javascript:alert(1)",
            "/oauth/login/corp",
            "/saml/corp/acs",
            "/api/v1/whoami",
            " /inbox",
        ] {
            assert!(!is_page(bad), "{bad}");
        }
        assert!(!is_page(&format!("/{}", "x".repeat(MAX_PAGE_BYTES))));
    }
}
