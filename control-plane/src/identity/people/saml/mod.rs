//! Signing in by SAML 2.0 (the Web Browser SSO Profile), begun here: the question goes by redirect, the answer comes by POST.
//!
//! Whether an answer is what the provider has said to this very question is decided by `saml-rs`; `own` says how strictly,
//! `metadata` by whose keys, `answer` what is read of it. A form that another site sends brings no cookie of ours. So what it
//! proves waits, under a secret, for the browser that has asked: the redirect to it brings the cookie along.

mod answer;
mod metadata;
mod own;

pub use answer::Unbelieved;
pub(super) use metadata::Sides;
pub use metadata::{MetadataError, check_metadata};

use super::{
    Begun, SignInFailed, SignIns, Verified, begin,
    browser::{LONGEST, Sent, Wanted, secret},
    by_name,
};
use crate::{Core, store::one_time};
use postern_api::provider::{IdentityProviderDocument, Saml};
use postern_types::{time::Micros, token};
use saml_rs::{ForceAuthn, RelayStateParam, SsoResponseBinding, StartSso};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use url::Url;

/// How long a browser has to come for what was proved: it is sent there at once.
const TO_COME: Duration = Duration::from_secs(60);

/// Kinds of what is good for once.
const QUESTION: &str = "saml-question";
const PROVED: &str = "saml-proved";
const SEEN: &str = "saml-seen";

/// What a provider has a browser send.
#[derive(Clone, Deserialize)]
pub struct Form {
    /// Its answer, in Base64.
    #[serde(rename = "SAMLResponse")]
    response: String,
    /// What it was asked with. What a provider sends of itself has none, or one of its own.
    #[serde(rename = "RelayState", default)]
    relay_state: SecretString,
}

/// A question that was asked.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    provider: String,
    id: String,
    /// The fingerprint of the browser's cookie.
    browser: String,
    return_to: String,
    fresh: bool,
    acr: Vec<String>,
    begun_at: Micros,
}

/// What was proved, for the browser that has asked.
#[derive(Debug, Serialize, Deserialize)]
struct Proved {
    question: Question,
    subject: String,
    name: String,
    email: Option<String>,
    groups: Vec<String>,
    acr: Option<String>,
    authenticated_at: Option<Micros>,
    session: Option<String>,
    expires_at: Micros,
}

/// The provider of that name that speaks SAML.
async fn provider(core: &Core, name: &str) -> Result<(IdentityProviderDocument, Saml), SignInFailed> {
    let document = by_name(core, name).await?;
    let saml = document.saml.clone().ok_or(SignInFailed::UnknownProvider)?;
    Ok((document, saml))
}

impl SignIns {
    /// What a provider's administrator is given: as what Postern is known there.
    ///
    /// # Errors
    /// When there is no such provider, or it cannot be told what it wants.
    pub async fn metadata(&self, core: &Core, name: &str, now: Micros) -> Result<String, SignInFailed> {
        let (_, saml) = provider(core, name).await?;
        let place = own::place(core, name)?;
        let known = self.saml.provider(&saml, now).await?;
        Ok(self.saml.own(core, &place, &known, false).await?.metadata_xml().to_owned())
    }

    pub(super) async fn sent_by_saml(
        &self,
        core: &Core,
        name: &str,
        saml: &Saml,
        wanted: &Wanted,
        return_to: String,
        now: Micros,
    ) -> Result<Sent, SignInFailed> {
        let place = own::place(core, name)?;
        let known = self.saml.provider(saml, now).await?;
        let side = self.saml.own(core, &place, &known, false).await?;
        let (relay_state, browser) = (secret()?, secret()?);
        let started = RelayStateParam::try_from_option(Some(relay_state.expose_secret())).and_then(|relay_state| {
            let mut options = StartSso::redirect().relay_state(relay_state).response_binding(SsoResponseBinding::Post);
            if wanted.fresh {
                options = options.force_authn(ForceAuthn::Required);
            }
            side.start_sso(&known, options)
        });
        let started = started.map_err(SignInFailed::fault)?;
        let location = Url::parse(started.outbound.redirect_url().map_err(SignInFailed::fault)?);
        let question = Question {
            provider: name.to_owned(),
            id: started.pending.request_id().as_str().to_owned(),
            browser: token::fingerprint(&browser),
            return_to,
            fresh: wanted.fresh,
            acr: wanted.ways().unwrap_or_default(),
            begun_at: now,
        };
        let text = serde_json::to_string(&question).map_err(SignInFailed::fault)?;
        let mut tx = core.store.begin().await?;
        let place = token::fingerprint(&relay_state);
        let kept = one_time::put(&mut tx, QUESTION, &place, &text, now.plus(LONGEST), now).await?;
        tx.commit().await?;
        if !kept {
            return Err(SignInFailed::TooMany);
        }
        Ok(Sent { location: location.map_err(SignInFailed::fault)?, browser })
    }

    /// Takes a provider's answer, which is None where it cannot be read. Gives what the browser that has asked comes with for
    /// what was proved.
    ///
    /// # Errors
    /// Why it is not believed; recorded, within bounds.
    pub async fn answered(
        &self,
        core: &Core,
        name: &str,
        form: Option<Form>,
        now: Micros,
    ) -> Result<SecretString, SignInFailed> {
        let done = self.prove(core, name, form, now).await;
        if let Err(error) = &done {
            self.failed(core, name, None, error, now).await?;
        }
        done
    }

    async fn prove(
        &self,
        core: &Core,
        name: &str,
        form: Option<Form>,
        now: Micros,
    ) -> Result<SecretString, SignInFailed> {
        let (document, saml) = provider(core, name).await?;
        let form = form.ok_or(Unbelieved::Form)?;
        let mut tx = core.store.begin().await?;
        let question = one_time::take(&mut tx, QUESTION, &token::fingerprint(&form.relay_state), now).await?;
        // Whatever comes of the answer, the question is answered.
        tx.commit().await?;
        let question: Question =
            serde_json::from_str(&question.ok_or(SignInFailed::Unasked)?).map_err(SignInFailed::fault)?;
        if question.provider != name {
            return Err(SignInFailed::MixUp);
        }
        let (text, encrypted) = answer::text(&form)?;
        let place = own::place(core, name)?;
        let known = self.saml.provider(&saml, now).await?;
        let side = self.saml.own(core, &place, &known, encrypted).await?;
        let id = question.id.clone();
        // Canonical forms, digests and signatures of a long text take their time.
        let verified = tokio::task::spawn_blocking(move || {
            let message = (text.as_str(), form.relay_state.expose_secret());
            answer::verified(&side, &known, &place, &id, message, now)
        });
        let (session, seen) = verified.await.map_err(SignInFailed::fault)??;
        let proved = answer::proved(&document, &saml, question, &session, now)?;
        let text = serde_json::to_string(&proved).map_err(SignInFailed::fault)?;
        let code = secret()?;
        let mut tx = core.store.begin().await?;
        for (message, until) in seen.names(now) {
            if !one_time::put(&mut tx, SEEN, &format!("{name} {message}"), "", until, now).await? {
                return Err(Unbelieved::Replayed.into());
            }
        }
        let kept = one_time::put(&mut tx, PROVED, &token::fingerprint(&code), &text, now.plus(TO_COME), now).await?;
        tx.commit().await?;
        if kept { Ok(code) } else { Err(SignInFailed::TooMany) }
    }

    /// Lets in the browser that has asked, known by its cookie. Gives the page on which it began.
    ///
    /// # Errors
    /// When it is another, or who was proved does not come in; recorded, within bounds.
    pub async fn finish(
        &self,
        core: &Core,
        name: &str,
        code: &SecretString,
        browser: Option<&SecretString>,
        now: Micros,
    ) -> Result<(Begun, String), SignInFailed> {
        let mut subject = None;
        let done = let_in(core, name, code, browser, &mut subject, now).await;
        if let Err(error) = &done {
            self.failed(core, name, subject.as_deref(), error, now).await?;
        }
        done
    }
}

async fn let_in(
    core: &Core,
    name: &str,
    code: &SecretString,
    browser: Option<&SecretString>,
    subject: &mut Option<String>,
    now: Micros,
) -> Result<(Begun, String), SignInFailed> {
    let (document, _) = provider(core, name).await?;
    let mut tx = core.store.begin().await?;
    let text = one_time::take(&mut tx, PROVED, &token::fingerprint(code), now).await?;
    tx.commit().await?;
    let proved: Proved = serde_json::from_str(&text.ok_or(SignInFailed::State)?).map_err(SignInFailed::fault)?;
    let question = proved.question;
    if browser.map(token::fingerprint).as_ref() != Some(&question.browser) {
        return Err(SignInFailed::State);
    }
    if question.provider != name {
        return Err(SignInFailed::MixUp);
    }
    *subject = Some(crate::problem::shorten(&proved.subject));
    let verified = Verified {
        provider: &document,
        subject: proved.subject,
        name: proved.name,
        email: proved.email,
        groups: proved.groups,
        acr: proved.acr,
        authenticated_at: proved.authenticated_at,
        session: proved.session,
        expires_at: Some(proved.expires_at),
        refresh_token: None,
        id_token: None,
    };
    Ok((begin(&core.store, &core.sealer, &verified, now).await?, question.return_to))
}
