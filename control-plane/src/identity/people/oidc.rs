//! Signing in by OpenID Connect: a code with PKCE, bound to the browser that began; and what the provider says of somebody.
//!
//! Follows [RFC 9700](https://www.rfc-editor.org/rfc/rfc9700), the best current practice: redirect addresses are exact and one
//! for each provider, codes are bound by PKCE and by `nonce`, answers say from whom they are (RFC 9207).

use super::{
    Begun, LEEWAY, NotAdmitted, SignIns, Verified, begin,
    browser::State,
    failed::{SignInFailed, Unavailable},
};
use crate::{
    Core,
    identity::issuers::{
        claim,
        keys::{KeysError, Known},
        verify::{self, Claims, Expected, Refused},
    },
    outward,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use postern_api::provider::{IdentityProviderDocument, Oidc};
use postern_types::time::Micros;
use reqwest::{
    RequestBuilder,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::sync::Arc;
use url::{Url, form_urlencoded};

/// The kinds of a token that says who somebody is; an access token is none.
const ID_TOKEN: &[&str] = &["jwt"];

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// What a browser brings back.
#[derive(Deserialize)]
pub struct Answer {
    /// What the tokens are fetched with.
    pub code: Option<SecretString>,
    /// Which sign-in it is.
    pub state: Option<SecretString>,
    /// From whom.
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
}

/// What the token endpoint gives.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) id_token: Option<SecretString>,
    pub(super) access_token: Option<SecretString>,
    pub(super) refresh_token: Option<SecretString>,
}

/// What a sign-in has to be beyond what the document says.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    /// Begun then: proved not before.
    pub(super) not_before: Option<Micros>,
    /// In one of these ways; empty: any.
    pub(super) acr: &'a [String],
}

impl SignIns {
    /// Signs somebody in by what their browser brings back. `browser` is the cookie that was set when they began. Gives the
    /// page on which they began.
    ///
    /// # Errors
    /// Why not; recorded, within bounds.
    pub async fn complete(
        &self,
        core: &Core,
        provider: &str,
        answer: &Answer,
        browser: Option<&SecretString>,
        now: Micros,
    ) -> Result<(Begun, String), SignInFailed> {
        let mut subject = None;
        let done = self.attempt(core, provider, answer, browser, &mut subject, now).await;
        if let Err(error) = &done {
            self.failed(core, provider, subject.as_deref(), error, now).await?;
        }
        done
    }

    async fn attempt(
        &self,
        core: &Core,
        name: &str,
        answer: &Answer,
        browser: Option<&SecretString>,
        subject: &mut Option<String>,
        now: Micros,
    ) -> Result<(Begun, String), SignInFailed> {
        let state = State::take(&core.store, name, answer.state.as_ref(), browser, now).await?;
        let (provider, oidc) = by_name(core, name).await?;
        let known = self.published(&oidc).await?;
        match &answer.iss {
            Some(issuer) if *issuer != oidc.url => return Err(SignInFailed::MixUp),
            None if known.discovery.authorization_response_iss_parameter_supported => return Err(SignInFailed::MixUp),
            _ => {}
        }
        if let Some(error) = &answer.error {
            return Err(SignInFailed::Provider(crate::problem::shorten(error)));
        }
        let code = answer.code.as_ref().ok_or_else(|| SignInFailed::Provider("it gave no code".to_owned()))?;
        let redirect = core.callback_url(name).ok_or(SignInFailed::NoAddress)?;
        let grant = [
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", redirect.as_str()),
            ("code_verifier", state.verifier.as_str()),
        ];
        let tokens = self.tokens(core, &oidc, &known, &grant).await?;
        let id_token = tokens.id_token.as_ref().ok_or(Refused::Claim("id_token", "is missing"))?;
        let claims = self.id_token(&oidc, id_token, now).await?;
        *subject = claims.get("sub").and_then(Value::as_str).map(crate::problem::shorten);
        if claims.get("nonce").and_then(Value::as_str) != Some(&state.nonce) {
            return Err(Refused::Claim("nonce", "is another sign-in's").into());
        }
        let claims = self.completed(&provider, &oidc, &known, &tokens, claims).await?;
        let terms = Terms { not_before: state.fresh.then_some(state.begun_at), acr: &state.acr };
        let verified = verified(&provider, &oidc, &claims, tokens, terms)?;
        Ok((begin(&core.store, &core.sealer, &verified, now).await?, state.return_to))
    }

    /// What a provider publishes of itself.
    pub(super) async fn published(&self, oidc: &Oidc) -> Result<Arc<Known>, KeysError> {
        self.keys.of(&oidc.url, |_| true).await
    }

    /// The claims of a token that says who somebody is, if the provider has signed it for us.
    pub(super) async fn id_token(
        &self,
        oidc: &Oidc,
        token: &SecretString,
        now: Micros,
    ) -> Result<Claims, SignInFailed> {
        let claims = self.signed(oidc, token, ID_TOKEN, true, now).await?;
        let several = claims.get("aud").and_then(Value::as_array).is_some_and(|audiences| audiences.len() > 1);
        match claims.get("azp") {
            None if several => Err(Refused::Claim("azp", "is missing, and it is made for several").into()),
            Some(party) if party.as_str() != Some(&oidc.client_id) => {
                Err(Refused::Claim("azp", "is somebody else").into())
            }
            _ => Ok(claims),
        }
    }

    /// The claims of a token of one of these kinds, if the provider has signed it for us.
    pub(super) async fn signed(
        &self,
        oidc: &Oidc,
        token: &SecretString,
        kinds: &[&str],
        names_subject: bool,
        now: Micros,
    ) -> Result<Claims, SignInFailed> {
        let token = token.expose_secret();
        let (header, issuer) = verify::read(token, kinds)?;
        if issuer != oidc.url {
            return Err(Refused::Claim("iss", "is another issuer").into());
        }
        let known = self.keys.of(&oidc.url, |keys| verify::has_key(keys, &header)).await?;
        let seconds = u64::try_from(now.0 / 1_000_000).unwrap_or(0);
        let expected = Expected { issuer: &oidc.url, audience: &oidc.client_id, names_subject };
        Ok(verify::verify(token, &header, &known.keys, &expected, seconds)?)
    }

    /// The claims, with those of the userinfo endpoint where they are needed: a document says so, or the groups are too many
    /// for the token.
    pub(super) async fn completed(
        &self,
        provider: &IdentityProviderDocument,
        oidc: &Oidc,
        known: &Known,
        tokens: &Tokens,
        mut claims: Claims,
    ) -> Result<Claims, SignInFailed> {
        let name = provider.groups.as_ref().map(|groups| groups.claim.as_str());
        let over_age = name.is_some_and(|name| is_over_age(&claims, name));
        if oidc.userinfo || over_age {
            let subject = claims.get("sub").cloned();
            for (name, value) in self.userinfo(known, tokens, subject.as_ref()).await? {
                claims.entry(name).or_insert(value);
            }
        }
        if over_age && name.is_some_and(|name| claim(&claims, name).is_none()) {
            return Err(SignInFailed::OverAge);
        }
        Ok(claims)
    }

    async fn userinfo(&self, known: &Known, tokens: &Tokens, subject: Option<&Value>) -> Result<Claims, SignInFailed> {
        const NAME: &str = "userinfo_endpoint";
        let url = endpoint(NAME, known.discovery.userinfo_endpoint.as_deref())?;
        let missing = || Unavailable::Endpoint(NAME, "needs an access token, which it did not give".to_owned());
        let token = tokens.access_token.as_ref().ok_or_else(missing)?;
        let request = self.client.get(url).bearer_auth(token.expose_secret());
        let (status, body) = answer(NAME, request).await?;
        if !status.is_success() {
            return Err(Unavailable::Answered(NAME, status.to_string()).into());
        }
        let claims: Claims = read(NAME, &body)?;
        // OpenID Connect Core 1.0, section 5.3.4: else it is of somebody else.
        if claims.get("sub") != subject || subject.is_none() {
            return Err(Refused::Claim("sub", "is somebody else at the userinfo endpoint").into());
        }
        Ok(claims)
    }

    /// What the token endpoint gives for this.
    pub(super) async fn tokens(
        &self,
        core: &Core,
        oidc: &Oidc,
        known: &Known,
        grant: &[(&str, &str)],
    ) -> Result<Tokens, SignInFailed> {
        const NAME: &str = "token_endpoint";
        let url = endpoint(NAME, known.discovery.token_endpoint.as_deref())?;
        let secret = match &oidc.client_secret {
            Some(name) => Some(core.config.provider_secret(name).await.map_err(Unavailable::Secret)?),
            None => None,
        };
        let in_header = secret.as_ref().filter(|_| known.discovery.takes_secret_in_header());
        let mut request = self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let mut form = grant.to_vec();
        match (in_header, &secret) {
            (Some(secret), _) => request = request.header(AUTHORIZATION, basic(&oidc.client_id, secret)),
            (None, Some(secret)) => {
                form.extend([("client_id", oidc.client_id.as_str()), ("client_secret", secret.expose_secret())]);
            }
            (None, None) => form.push(("client_id", &oidc.client_id)),
        }
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let (status, body) = answer(NAME, request.body(form)).await?;
        if status.is_success() {
            return Ok(read(NAME, &body)?);
        }
        #[derive(Deserialize)]
        struct Failed {
            error: String,
        }
        match serde_json::from_slice::<Failed>(&body) {
            Ok(failed) if status.is_client_error() => {
                Err(SignInFailed::Provider(crate::problem::shorten(&failed.error)))
            }
            _ => Err(Unavailable::Answered(NAME, status.to_string()).into()),
        }
    }
}

/// The provider of that name that speaks OpenID Connect.
pub(super) async fn by_name(core: &Core, name: &str) -> Result<(IdentityProviderDocument, Oidc), SignInFailed> {
    let provider = super::by_name(core, name).await?;
    let oidc = provider.oidc.clone().ok_or(SignInFailed::UnknownProvider)?;
    Ok((provider, oidc))
}

/// Who somebody is by their claims.
pub(super) fn verified<'a>(
    provider: &'a IdentityProviderDocument,
    oidc: &Oidc,
    claims: &Claims,
    tokens: Tokens,
    terms: Terms<'_>,
) -> Result<Verified<'a>, SignInFailed> {
    let text = |name: &str| claim(claims, name).and_then(Value::as_str).map(str::to_owned);
    let acr = text("acr");
    for wanted in [&oidc.acr, terms.acr] {
        if !wanted.is_empty() && !acr.as_ref().is_some_and(|acr| wanted.contains(acr)) {
            return Err(Refused::Claim("acr", "is not among the ways of signing in that are asked for").into());
        }
    }
    let seconds = claims.get("auth_time").and_then(Value::as_i64);
    let authenticated_at = seconds.map(|seconds| Micros(seconds.saturating_mul(1_000_000)));
    if let Some(begun) = terms.not_before
        && authenticated_at.is_none_or(|at| at < begun.minus(LEEWAY))
    {
        return Err(Refused::Claim("auth_time", "is before it was asked for").into());
    }
    // Else anybody could claim to be whose address that is.
    if oidc.user == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(Refused::Claim("email_verified", "is not true").into());
    }
    // A provider that cannot be asked again vouches for as long as its token says.
    let end = claims.get("exp").and_then(Value::as_i64).map(|seconds| Micros(seconds.saturating_mul(1_000_000)));
    Ok(Verified {
        provider,
        subject: text("sub").ok_or(Refused::Claim("sub", "names nobody"))?,
        name: text(&oidc.user).ok_or_else(|| NotAdmitted::NoName(oidc.user.clone()))?,
        email: text("email"),
        groups: provider.groups.as_ref().map(|groups| texts(claim(claims, &groups.claim))).unwrap_or_default(),
        acr,
        authenticated_at,
        session: text("sid"),
        expires_at: if tokens.refresh_token.is_some() { None } else { end },
        refresh_token: tokens.refresh_token,
        id_token: tokens.id_token,
    })
}

/// Whether the groups are told elsewhere than in the token (OpenID Connect Core 1.0, section 5.6.2).
fn is_over_age(claims: &Claims, name: &str) -> bool {
    let first = name.trim_start_matches('/').split('/').next().unwrap_or(name);
    let elsewhere = claims.get("_claim_names").and_then(Value::as_object);
    claim(claims, name).is_none() && elsewhere.is_some_and(|names| names.contains_key(first))
}

/// A list of texts, or one.
fn texts(value: Option<&Value>) -> Vec<String> {
    let list = match value {
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    list.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// An address that the provider publishes, if something may be sent there.
pub(super) fn endpoint(name: &'static str, url: Option<&str>) -> Result<Url, Unavailable> {
    let url = url.ok_or_else(|| Unavailable::Endpoint(name, "is missing".to_owned()))?;
    outward::address(url).map_err(|problem| Unavailable::Endpoint(name, problem.to_owned()))
}

async fn answer(name: &'static str, request: RequestBuilder) -> Result<(reqwest::StatusCode, Vec<u8>), Unavailable> {
    let failed = |problem: String| Unavailable::Answered(name, problem);
    let response = request.send().await.map_err(|error| failed(crate::api::chain(&error.without_url())))?;
    let status = response.status();
    let body = outward::body(response, MAX_ANSWER_BYTES).await.map_err(|error| failed(crate::api::chain(&error)))?;
    Ok((status, body))
}

fn read<T: DeserializeOwned>(name: &'static str, body: &[u8]) -> Result<T, Unavailable> {
    // Without the cause, which could quote a token.
    serde_json::from_slice(body).map_err(|_| Unavailable::Answered(name, "what cannot be read".to_owned()))
}

/// RFC 6749, section 2.3.1: both parts are encoded as in a form.
fn basic(id: &str, secret: &SecretString) -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", BASE64.encode(format!("{}:{}", encoded(id), encoded(secret.expose_secret()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_are_told_elsewhere() {
        let claims = |value: Value| value.as_object().unwrap().clone();
        let elsewhere = json!({ "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": {} } });
        assert!(is_over_age(&claims(elsewhere.clone()), "groups"));
        assert!(!is_over_age(&claims(elsewhere), "roles"));
        assert!(!is_over_age(&claims(json!({ "groups": [], "_claim_names": { "groups": "src1" } })), "groups"));
        assert!(!is_over_age(&claims(json!({})), "groups"));
    }

    #[test]
    fn a_secret_in_a_header() {
        let header = basic("a:b", &SecretString::from("p+q r".to_owned()));
        assert_eq!(header, format!("Basic {}", BASE64.encode("a%3Ab:p%2Bq+r")));
    }
}
