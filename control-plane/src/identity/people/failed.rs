//! Why somebody is not signed in, and what is done about it.

use super::{
    NO_GROUPS, NotAdmitted, SignIns, remove,
    saml::{MetadataError, Unbelieved},
};
use crate::{
    Core,
    identity::issuers::{keys::KeysError, verify::Refused},
    seal::SealError,
    store::{StoreError, external_identities},
};
use postern_types::time::Micros;
use serde_json::json;
use thiserror::Error;

/// Why somebody is not signed in.
#[derive(Debug, Error)]
pub enum SignInFailed {
    /// There is none of that name.
    #[error("there is no such identity provider")]
    UnknownProvider,
    /// It would lead elsewhere.
    #[error("`return_to` is no page of this console")]
    ReturnTo,
    /// Nobody could be sent back.
    #[error("the control plane does not know its own address: set `http.public_url`")]
    NoAddress,
    /// Too many have begun.
    #[error("too many sign-ins have been begun just now; try again in a few minutes")]
    TooMany,
    /// It is not the one that was begun here.
    #[error("the sign-in was not begun in this browser, was finished already, or took too long; begin again")]
    State,
    /// It comes from another.
    #[error("the answer is not from the provider at which the sign-in was begun")]
    MixUp,
    /// It said no.
    #[error("the provider refused: {0}")]
    Provider(String),
    /// What it says by SAML is not believed.
    #[error("the provider's answer is refused")]
    Answer(#[from] Unbelieved),
    /// Nobody here has asked for it: also what a provider sends of itself.
    #[error("the provider's answer is to no sign-in that was begun here, or to one that is over; begin at the console")]
    Unasked,
    /// Its token is no good.
    #[error("the provider's token is refused")]
    Token(#[from] Refused),
    /// What it says of groups cannot be had.
    #[error("the provider names more groups than it lists, and its userinfo endpoint does not list them either")]
    OverAge,
    /// Nobody who may come in.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// It does not answer, or not as it has to.
    #[error("the provider cannot be asked; try again shortly")]
    Unavailable(#[source] Unavailable),
    /// Postern's own fault.
    #[error("the control plane failed")]
    Fault(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SignInFailed {
    /// A fault of Postern's own.
    pub(super) fn fault(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Fault(Box::new(cause))
    }

    /// Whether Postern itself failed, and not whoever wants to sign in.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Fault(_) | Self::NotAdmitted(NotAdmitted::Fault(_)))
    }
}

impl From<StoreError> for SignInFailed {
    fn from(error: StoreError) -> Self {
        Self::fault(error)
    }
}

impl From<SealError> for SignInFailed {
    fn from(error: SealError) -> Self {
        Self::fault(error)
    }
}

impl From<Unavailable> for SignInFailed {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl From<MetadataError> for SignInFailed {
    fn from(error: MetadataError) -> Self {
        Self::Unavailable(Unavailable::Metadata(error))
    }
}

impl From<KeysError> for SignInFailed {
    fn from(error: KeysError) -> Self {
        Self::Unavailable(Unavailable::Keys(error))
    }
}

/// Why a provider cannot be asked.
#[derive(Debug, Error)]
pub enum Unavailable {
    /// What it publishes cannot be had.
    #[error("what it publishes cannot be had")]
    Keys(#[source] KeysError),
    /// Its metadata cannot be had, or are not good.
    #[error("its metadata cannot be used")]
    Metadata(#[source] MetadataError),
    /// It publishes no such address, or one to which nothing is sent.
    #[error("its `{0}` {1}")]
    Endpoint(&'static str, String),
    /// The client's secret.
    #[error(transparent)]
    Secret(#[from] crate::config::ConfigError),
    /// An answer that is none.
    #[error("its `{0}` answered {1}")]
    Answered(&'static str, String),
}

impl SignIns {
    /// What is done when somebody is not signed in: it is recorded, and, as at a refresh, whom the provider has taken all
    /// groups from is removed.
    pub(super) async fn failed(
        &self,
        core: &Core,
        provider: &str,
        subject: Option<&str>,
        error: &SignInFailed,
        now: Micros,
    ) -> Result<(), StoreError> {
        self.refused(core, provider, subject, error, now).await?;
        match (error, subject) {
            (SignInFailed::NotAdmitted(NotAdmitted::NoGroups), Some(subject)) => {
                turned_away(core, provider, subject, now).await
            }
            _ => Ok(()),
        }
    }

    /// Records why somebody is not signed in.
    pub(super) async fn refused(
        &self,
        core: &Core,
        provider: &str,
        subject: Option<&str>,
        error: &SignInFailed,
        now: Micros,
    ) -> Result<(), StoreError> {
        if error.is_fault() {
            return Ok(());
        }
        let why = crate::api::chain(error);
        let detail = json!({ "provider": crate::problem::shorten(provider), "subject": subject, "why": why });
        self.refusals.record(&core.store, "sign-in", &detail, now).await
    }
}

/// The user whom the provider has taken all groups from, removed if there is one.
async fn turned_away(core: &Core, provider: &str, subject: &str, now: Micros) -> Result<(), StoreError> {
    let mut tx = core.store.begin().await?;
    let Some(identity) = external_identities::by_subject(&mut tx, provider, subject).await? else { return Ok(()) };
    let effects = remove(&mut tx, &identity.principal_id, NO_GROUPS, now).await?;
    tx.commit().await?;
    core.perform(effects);
    Ok(())
}
