//! People who sign in at an identity provider: what it says of them becomes a user here, with a session that ends when the
//! provider does not vouch for them any more.
//!
//! `browser`: where somebody is sent, and that it is they who come back; [`oidc`]: what OpenID Connect says of them; [`saml`]:
//! what SAML does; `failed`: what becomes of it if not; `admit`: which user that is; `refresh`: whether they are still there;
//! `logout`: that they have left; [`device`]: command lines.

mod admit;
mod browser;
pub mod device;
mod failed;
mod logout;
pub mod oidc;
mod refresh;
pub mod saml;

pub use admit::{NotAdmitted, admit, remove};
pub use browser::{LONGEST as LONGEST_LOGIN, Wanted};
pub use failed::{SignInFailed, Unavailable};
pub use refresh::run as keep_checking;
pub use saml::check_metadata;

use super::{Actor, issuers::keys::Keys, refusals::Refusals, tokens, web};
use crate::{
    Core,
    audit::{self, Event},
    problem::Problem,
    seal::Sealer,
    store::{
        Store, StoreError, Tx, connections, principals, providers,
        sign_ins::{self, SignInRow},
        tokens::{self as token_rows, GivenFor},
    },
};
use postern_api::{
    document::ReviewTerms,
    identity::PrincipalRef,
    provider::{IdentityProviderDocument, SignedIn},
};
use postern_types::{
    id::{PrincipalId, SignInId},
    time::{Micros, format_duration, parse_duration},
};
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::time::Duration;
use url::form_urlencoded;

/// How far a provider's clock may be from ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// Signs people in.
pub struct SignIns {
    client: Client,
    keys: Keys,
    saml: saml::Sides,
    refusals: Refusals,
}

impl SignIns {
    /// One that knows nothing of providers yet, and asks them by this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let refusals = Refusals::new("sign_in.refused", "postern_sign_ins_refused_total");
        Self { keys: Keys::new(client.clone()), saml: saml::Sides::new(client.clone()), client, refusals }
    }
}

/// The provider of that name.
async fn by_name(core: &Core, name: &str) -> Result<IdentityProviderDocument, SignInFailed> {
    let mut tx = core.store.read().await?;
    providers::by_name(&mut tx, name).await?.ok_or(SignInFailed::UnknownProvider)
}

/// What a provider has proved of somebody, by whatever protocol.
#[derive(Debug)]
pub struct Verified<'a> {
    /// The provider.
    pub provider: &'a IdentityProviderDocument,
    /// As it knows them, for ever.
    pub subject: String,
    /// What they are called.
    pub name: String,
    /// Their mail address.
    pub email: Option<String>,
    /// Their groups, as the provider names them.
    pub groups: Vec<String>,
    /// How they have signed in.
    pub acr: Option<String>,
    /// When they have proved who they are; None: the provider does not say.
    pub authenticated_at: Option<Micros>,
    /// The provider's name for its session.
    pub session: Option<String>,
    /// When it is over at the latest; None: when the longest session is.
    pub expires_at: Option<Micros>,
    /// What the provider is asked with whether they are still there.
    pub refresh_token: Option<SecretString>,
    /// The provider's own token, for signing out there.
    pub id_token: Option<SecretString>,
}

/// Somebody who has signed in.
pub struct Begun {
    /// The user.
    pub user: PrincipalRef,
    /// The cookie of the browser's session.
    pub cookie: SecretString,
}

/// Lets somebody in whom a provider has proved: the user, made at the first time, and a new browser's session.
///
/// # Errors
/// When it is nobody who may come in.
pub async fn begin(store: &Store, sealer: &Sealer, verified: &Verified<'_>, now: Micros) -> Result<Begun, NotAdmitted> {
    let mut tx = store.begin().await?;
    let user = admit(&mut tx, verified, now).await?;
    let longest = now.plus(web::LONGEST);
    let id = SignInId::new();
    let signed_in = SignedIn {
        id: id.clone(),
        provider: verified.provider.name.clone(),
        authenticated_at: verified.authenticated_at,
        acr: verified.acr.clone(),
    };
    let sealed = |what: &str, token: &Option<SecretString>| {
        let seal = |token: &SecretString| sealer.seal(&place(what, &id), token.expose_secret().as_bytes());
        token.as_ref().map(seal).transpose().map_err(NotAdmitted::fault)
    };
    let row = SignInRow {
        principal_id: user.id.clone(),
        subject: verified.subject.clone(),
        provider_session: verified.session.clone(),
        created_at: now,
        expires_at: verified.expires_at.map_or(longest, |end| end.min(longest)),
        refresh_token: sealed("refresh", &verified.refresh_token)?,
        id_token: sealed("id", &verified.id_token)?,
        verified_at: now,
        checked_at: now,
        signed_in,
    };
    sign_ins::insert(&mut tx, &row).await?;
    let name = format!("signed in at {}", verified.provider.name);
    let token = token_of(&mut tx, &user, &row, &name, now).await.map_err(NotAdmitted::fault)?.0;
    let cookie = web::insert(&mut tx, &token.id, now).await.map_err(NotAdmitted::fault)?;
    let detail = json!({
        "provider": verified.provider.name, "subject": verified.subject, "email": verified.email, "acr": verified.acr,
        "authenticated_at": verified.authenticated_at, "expires_at": row.expires_at,
        "rechecked": row.refresh_token.is_some(),
    });
    audit::append_control(&mut tx, Event::new(now, "user.signed_in", Some(&user), id.as_str(), &detail)).await?;
    tx.commit().await?;
    Ok(Begun { user, cookie })
}

/// The place that a sign-in's secret is sealed for.
fn place(what: &str, id: &SignInId) -> String {
    format!("sign-in/{what}/{id}")
}

/// A token that ends with a sign-in.
async fn token_of(
    tx: &mut Tx,
    user: &PrincipalRef,
    row: &SignInRow,
    name: &str,
    now: Micros,
) -> Result<(postern_api::identity::Token, SecretString), Problem> {
    let given = GivenFor::SignIn(&row.signed_in.id);
    let new = tokens::New { principal: user, name, expires_at: Some(row.expires_at), may: None, given };
    tokens::insert(tx, &new, now).await
}

/// Ends a sign-in, and with it the tokens and browsers' sessions that were given by it. `because` is recorded.
///
/// # Errors
/// When the store fails.
pub async fn end(tx: &mut Tx, row: &SignInRow, because: &str, now: Micros) -> Result<(), StoreError> {
    let SignedIn { id, provider, .. } = &row.signed_in;
    if !sign_ins::end(tx, id, now).await? {
        return Ok(());
    }
    token_rows::revoke_of_sign_in(tx, id, now).await?;
    let user = principals::by_id(tx, &row.principal_id).await?.map(|row| row.principal);
    let detail = json!({ "provider": provider, "why": because });
    audit::append_control(tx, Event::new(now, "user.signed_out", user.as_ref(), id.as_str(), &detail)).await
}

/// Ends all sign-ins of a user, as of one that is disabled.
///
/// # Errors
/// When the store fails.
pub async fn end_all(tx: &mut Tx, user: &PrincipalId, because: &str, now: Micros) -> Result<(), StoreError> {
    for row in sign_ins::open_of(tx, user).await? {
        end(tx, &row, because, now).await?;
    }
    Ok(())
}

/// The same as [`check_fresh`], of a connection by its name.
///
/// # Errors
/// When they have to sign in again, or the store fails.
pub async fn check_fresh_on(tx: &mut Tx, actor: &Actor, connection: &str, now: Micros) -> Result<(), Problem> {
    let terms = connections::by_name(tx, connection).await?.and_then(|connection| connection.document.reviews);
    terms.map_or(Ok(()), |terms| check_fresh(actor, &terms, now))
}

/// Whether whoever approves has proved who they are as the connection wants it of them.
///
/// # Errors
/// When they have to sign in again, with where.
pub fn check_fresh(actor: &Actor, terms: &ReviewTerms, now: Micros) -> Result<(), Problem> {
    let fresh = terms.fresh.as_deref().map(parse_duration).transpose().map_err(Problem::fault)?;
    if fresh.is_none() && terms.acr.is_empty() {
        return Ok(());
    }
    let wants = |what: String| Problem::reauthenticate(format!("approving on this connection needs {what}"));
    let Some(signed_in) = &actor.signed_in else {
        return Err(wants("a sign-in at an identity provider, and a token was given instead".to_owned())
            .hint("sign in to the console at your identity provider, and approve there"));
    };
    let old = fresh.filter(|fresh| signed_in.authenticated_at.is_none_or(|at| now.since(at) > *fresh));
    let other = !terms.acr.is_empty() && !signed_in.acr.as_ref().is_some_and(|acr| terms.acr.contains(acr));
    let problem = match (old, other) {
        (None, false) => return Ok(()),
        (Some(fresh), _) => wants(format!("a sign-in within {}", format_duration(fresh))),
        (None, true) => wants(format!("a sign-in by {}", terms.acr.join(" or "))),
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("fresh", "true");
    if !terms.acr.is_empty() {
        query.append_pair("acr", &terms.acr.join(" "));
    }
    let login = format!("{}?{}", login_path(&signed_in.provider), query.finish());
    Err(problem.hint("sign in again in the console, and approve there").continue_at(login))
}

/// Where a browser goes to sign in. Names of providers need no escaping.
#[must_use]
pub fn login_path(provider: &str) -> String {
    format!("/oauth/login/{provider}")
}

/// Why somebody is removed whom the provider has taken all groups from.
const NO_GROUPS: &str = "the identity provider names no group of theirs any more";
