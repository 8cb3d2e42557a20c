//! What a provider has said in answer to a question, if it has.

use super::{
    Form, Proved, Question,
    own::{MAX_XML_BYTES, answers_at},
};
use crate::{
    identity::people::{LEEWAY, NotAdmitted, SignInFailed},
    problem::shorten,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use postern_api::provider::{IdentityProviderDocument, Saml};
use postern_types::time::Micros;
use saml_rs::{
    BrowserInput, ClockSkew, FormField, IdpDescriptor, MessageId, NameIdFormat, PendingAuthnRequest, RelayStateParam,
    ReplayCache, ReplayKey, ReplayPolicy, SamlError, SamlInstant, SamlValidationContext, Sp, SsoResponse,
    SsoResponseBinding, SsoSession,
    xml::{ExtractorField, extract},
};
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// The longest that a message is remembered: it answers a question, which is open for minutes.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// How long a sign-in lasts where the provider does not say: it is not asked again.
const UNTOLD: Duration = Duration::from_secs(3600);

/// What has an assertion in it that is not to be read on the way.
const ENCRYPTED: &str = "EncryptedAssertion";

/// Why it is not believed what a provider seems to say.
#[derive(Debug, Error)]
pub enum Unbelieved {
    /// It cannot be one.
    #[error("it is not the form that a provider sends, or is too long")]
    Form,
    /// It is none.
    #[error("it is not a text in Base64, or is too long")]
    Text,
    /// What parsers read in different ways.
    #[error("it has a document type, a comment or raw text in it, which no provider writes")]
    Markup,
    /// It is not signed, or not for this, or not now.
    #[error("{0}")]
    Refused(String),
    /// There is something to choose.
    #[error("it has more than one assertion")]
    Several,
    /// It was taken before.
    #[error("it was taken before")]
    Replayed,
    /// It names nobody.
    #[error("its NameID is another each time or empty; name an attribute that names the user (`saml.user`)")]
    Nameless,
    /// It tells something of them alone.
    #[error("it does not say that they have signed in (`AuthnStatement`)")]
    NotSignedIn,
    /// They were asked to.
    #[error("they have not signed in anew, as was asked for")]
    Stale,
    /// In another way.
    #[error("the way of signing in is not among those that are asked for")]
    OtherWay,
}

/// What was taken, until when it has to be remembered.
#[derive(Default)]
pub(super) struct Seen(Vec<(ReplayKey, SystemTime)>);

impl ReplayCache for Seen {
    fn check_and_store(&mut self, key: ReplayKey, until: SystemTime) -> Result<(), SamlError> {
        self.0.push((key, until));
        Ok(())
    }
}

impl Seen {
    /// Names of the messages, with their times.
    pub(super) fn names(&self, now: Micros) -> impl Iterator<Item = (String, Micros)> {
        self.0.iter().map(move |(key, until)| {
            let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
            let until = Micros(i64::try_from(until).unwrap_or(i64::MAX)).plus(LEEWAY);
            (key.cache_key(), until.min(now.plus(REMEMBERED)))
        })
    }
}

/// The message, if it is one that can be looked at, and whether what it says is encrypted.
pub(super) fn text(form: &Form) -> Result<(String, bool), Unbelieved> {
    if form.response.len() > 2 * MAX_XML_BYTES {
        return Err(Unbelieved::Text);
    }
    let encoded: String = form.response.split_ascii_whitespace().collect();
    let bytes = BASE64.decode(encoded).map_err(|_| Unbelieved::Text)?;
    let text = String::from_utf8(bytes).map_err(|_| Unbelieved::Text)?;
    if text.is_empty() || text.len() > MAX_XML_BYTES {
        return Err(Unbelieved::Text);
    }
    check_markup(&text)?;
    let encrypted = text.contains(ENCRYPTED);
    Ok((text, encrypted))
}

/// Document types have entities; where a comment or raw text parts a name, some readers take one half for the whole.
fn check_markup(text: &str) -> Result<(), Unbelieved> {
    if text.contains("<!") { Err(Unbelieved::Markup) } else { Ok(()) }
}

/// What the provider says, if it has signed that, to this very question, for us, now, and says nothing besides.
pub(super) fn verified(
    side: &saml_rs::Saml<Sp>,
    provider: &IdpDescriptor,
    place: &str,
    question: &str,
    (text, relay_state): (&str, &str),
    now: Micros,
) -> Result<(SsoSession, Seen), SignInFailed> {
    let mut seen = Seen::default();
    let mut finished = || {
        let relayed = RelayStateParam::try_from_option(Some(relay_state))?;
        let asked = PendingAuthnRequest::try_new(
            MessageId::try_new(question)?,
            relayed,
            answers_at(place)?,
            SsoResponseBinding::Post,
            provider.entity_id().clone(),
        )?;
        let fields =
            vec![FormField::new("SAMLResponse", BASE64.encode(text)), FormField::new("RelayState", relay_state)];
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(now.0).unwrap_or(0));
        let skew = i64::try_from(LEEWAY.as_millis()).unwrap_or(0);
        let context = SamlValidationContext::new(at, ReplayPolicy::RequireCache(&mut seen))
            .with_clock_skew(ClockSkew::from_millis(-skew, skew));
        side.finish_sso(provider, &asked, BrowserInput::<SsoResponse>::post(fields), context)
    };
    let session = finished().map_err(|error| match error {
        SamlError::StatusNotSuccess { top, second } => {
            let status = second.unwrap_or(top);
            SignInFailed::Provider(shorten(status.rsplit(':').next().unwrap_or_default()))
        }
        other => Unbelieved::Refused(shorten(&other.to_string())).into(),
    })?;
    // Also of what was encrypted.
    check_markup(&session.raw_flow().saml_content)?;
    let assertions = seen.0.iter().filter(|(key, _)| matches!(key, ReplayKey::AssertionId(_)));
    if assertions.count() != 1 || session.raw_flow().saml_content.contains(ENCRYPTED) {
        return Err(Unbelieved::Several.into());
    }
    Ok((session, seen))
}

/// Who that is, and how they have signed in.
pub(super) fn proved(
    document: &IdentityProviderDocument,
    saml: &Saml,
    question: Question,
    session: &SsoSession,
    now: Micros,
) -> Result<Proved, SignInFailed> {
    let values = |name: &str| session.attributes().get(name).map(|attribute| attribute.values()).unwrap_or_default();
    let one = |name: &str| match values(name) {
        [value] => Some(value.as_str().to_owned()),
        _ => None,
    };
    let name_id = session.name_id();
    let lasting = !matches!(name_id.format(), Some(NameIdFormat::Transient)) && !name_id.value().trim().is_empty();
    let name = match &saml.user {
        Some(attribute) => one(attribute).ok_or_else(|| NotAdmitted::NoName(attribute.clone()))?,
        None if lasting => name_id.value().to_owned(),
        None => return Err(Unbelieved::Nameless.into()),
    };
    if session.authn_sessions().is_empty() {
        return Err(Unbelieved::NotSignedIn.into());
    }
    let signed_in = session.authn_sessions().iter();
    let authenticated_at = signed_in.clone().filter_map(|at| micros(at.authn_instant()?)).min().map(|at| at.min(now));
    if question.fresh && authenticated_at.is_none_or(|at| at < question.begun_at.minus(LEEWAY)) {
        return Err(Unbelieved::Stale.into());
    }
    let acr = way(session);
    if !question.acr.is_empty() && !acr.as_ref().is_some_and(|acr| question.acr.contains(acr)) {
        return Err(Unbelieved::OtherWay.into());
    }
    let end = signed_in.clone().filter_map(|at| micros(at.not_on_or_after()?)).min();
    let groups = document.groups.as_ref().map(|groups| values(&groups.claim)).unwrap_or_default();
    Ok(Proved {
        subject: if lasting { name_id.value().to_owned() } else { name.clone() },
        name,
        email: saml.email.as_deref().and_then(one),
        groups: groups.iter().map(|value| value.as_str().to_owned()).collect(),
        acr,
        authenticated_at,
        session: signed_in.clone().find_map(|at| Some(at.session_index()?.as_str().to_owned())),
        expires_at: end.unwrap_or_else(|| now.plus(UNTOLD)),
        question,
    })
}

fn micros(instant: &SamlInstant) -> Option<Micros> {
    instant.as_str().parse::<jiff::Timestamp>().ok().map(|at| Micros(at.as_microsecond()))
}

/// How they have signed in. There is one assertion, and it is signed itself: it is read there.
fn way(session: &SsoSession) -> Option<String> {
    let path = ["Response", "Assertion", "AuthnStatement", "AuthnContext", "AuthnContextClassRef"];
    let read = extract(&session.raw_flow().saml_content, &[ExtractorField::new("way", &path)]).ok()?;
    read.get_str("way").map(str::to_owned)
}
