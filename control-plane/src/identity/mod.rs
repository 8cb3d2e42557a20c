//! Who acts. A caller comes with a bearer token; what kind of token it is, is decided here and nowhere else. A browser
//! comes with a cookie in a token's place ([`web`]).
//!
//! There are Postern's own API tokens ([`tokens`]), for which machines exchange those of their platform, or which they get by a
//! certificate ([`issuers`]), and which people get who sign in at an identity provider ([`people`]). An agent gets one on [`behalf`] of a person. A further source is
//! one more in [`authenticate`]: it gives the same [`Caller`], whose principal has a row in the store.

pub mod bearer;
pub mod behalf;
pub mod directory;
pub mod issuers;
pub mod people;
pub(crate) mod refusals;
pub mod scram;
pub mod tokens;
pub mod web;

use crate::store::{Store, StoreError, access::GrantRow, tokens::Machine};
use issuers::{Exchange, NotExchanged, certificates::Shown};
use postern_api::{
    identity::{PrincipalKind, PrincipalRef, Whoami, WhoamiToken},
    provider::SignedIn,
};
use postern_types::time::Micros;
use secrecy::{ExposeSecret, SecretString};

/// Somebody who acts, and what decides what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub principal: PrincipalRef,
    /// The groups that they are in.
    pub groups: Vec<String>,
    /// May change everything. Never set for an agent.
    pub admin: bool,
    /// May read the whole audit. Never set for an agent.
    pub auditor: bool,
    /// What their token is narrowed to, as `connection/role`; None: to nothing.
    pub may: Option<Vec<String>>,
    /// For whom an agent acts, as that person's token has proved; None: for nobody, or it says so itself.
    pub on_behalf_of: Option<PrincipalRef>,
    /// Whether it acts for those alone of whom that is proved.
    pub must_prove: bool,
    /// Which machine they are, as they have proved it for their token.
    pub machine: Machine,
    /// How they have signed in at an identity provider; None: they have not.
    pub signed_in: Option<SignedIn>,
}

impl Actor {
    /// Whether their token is good for this access role.
    #[must_use]
    pub fn reaches(&self, connection: &str, role: &str) -> bool {
        let is = |place: &String| place.split_once('/') == Some((connection, role));
        self.may.as_ref().is_none_or(|may| may.iter().any(is))
    }

    /// Whether their token is good for a grant of theirs: for whom they act, and which machine they are.
    #[must_use]
    pub fn may_use(&self, grant: &GrantRow) -> bool {
        let user = grant.on_behalf_of.as_ref();
        let acts_for = match &self.on_behalf_of {
            Some(proved) => Some(proved) == user,
            None => user.is_none() || !self.must_prove,
        };
        let is = |bound: &Option<String>, own: &Option<String>| bound.is_none() || bound == own;
        acts_for && is(&grant.bound_job, &self.machine.job) && is(&grant.bound_certificate, &self.machine.certificate)
    }

    /// Whether the actor is in any of these groups.
    #[must_use]
    pub fn is_in_any(&self, groups: &[String]) -> bool {
        groups.iter().any(|group| self.groups.contains(group))
    }

    /// Whether they are a directory, whose token is good for saying who there is, and for nothing else.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.principal.kind == PrincipalKind::Agent && self.may.as_deref().is_some_and(tokens::is_for_scim)
    }
}

/// An actor and the token with which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// With which token.
    pub token: WhoamiToken,
}

/// Who comes with this bearer token and has shown these certificates; none when it is unknown, expired or revoked, or bound to
/// another certificate, or its principal disabled.
///
/// # Errors
/// When the store fails.
pub async fn authenticate(
    store: &Store,
    bearer: &SecretString,
    shown: &Shown,
    now: Micros,
) -> Result<Option<Caller>, StoreError> {
    tokens::authenticate(store, bearer, shown, now).await
}

/// Who comes with this token, which is Postern's own or one of an issuer's: that is exchanged on the spot.
///
/// # Errors
/// Why an issuer's is not exchanged.
pub async fn whose(
    exchange: &Exchange,
    store: &Store,
    token: &SecretString,
    shown: &Shown,
    now: Micros,
) -> Result<Option<Caller>, NotExchanged> {
    if token.expose_secret().starts_with(tokens::PREFIX) {
        return Ok(authenticate(store, token, shown, now).await?);
    }
    let exchanged = exchange.exchange(store, token, now).await?;
    Ok(authenticate(store, &SecretString::from(exchanged.access_token), shown, now).await?)
}

/// The directory that comes with this bearer token, if it is good for SCIM.
///
/// # Errors
/// When the store fails.
pub async fn directory_client(store: &Store, bearer: &SecretString, now: Micros) -> Result<Option<Actor>, StoreError> {
    tokens::directory_client(store, bearer, now).await
}

impl Caller {
    /// The answer to `whoami`.
    #[must_use]
    pub fn whoami(&self, reviewer: bool) -> Whoami {
        use postern_api::identity::Role;
        let Actor { principal, groups, admin, auditor, on_behalf_of, signed_in, .. } = self.actor.clone();
        let roles = [(admin, Role::Admin), (reviewer, Role::Reviewer), (auditor, Role::Auditor)];
        Whoami {
            kind: principal.kind,
            id: principal.id,
            name: principal.name,
            groups,
            roles: roles.into_iter().filter_map(|(has, role)| has.then_some(role)).collect(),
            token: self.token.clone(),
            on_behalf_of,
            signed_in,
        }
    }
}
