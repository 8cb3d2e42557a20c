//! Postern's own API tokens: random, shown once, kept by fingerprint.

use super::{Actor, Caller};
use crate::{
    audit::{self, Event},
    problem::{Problem, shorten},
    rights::{Action, Resource, authorize},
    store::{
        Store, StoreError, Tx,
        principals::{self, PrincipalRow},
        sign_ins,
        tokens::{self, GivenFor},
    },
};
use postern_api::identity::{CreateToken, CreatedToken, PrincipalKind, PrincipalRef, Token, WhoamiToken};
use postern_types::{
    id::TokenId,
    time::{Micros, parse_duration},
    token,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::time::Duration;

/// What an API token begins with, so that scanners for leaked secrets know it.
pub const PREFIX: &str = "postern_";

/// How exact `last_used_at` is: a write for each call would cost more than it says.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// The most access roles that a token is narrowed to.
const MAX_PLACES: usize = 100;

/// The longest bearer token that is looked up.
const MAX_BEARER_BYTES: usize = 512;

/// What a token is narrowed to that is good for SCIM. No access role is written so.
const SCIM: &str = "scim";

/// Whether a token that is narrowed to this is good for SCIM, and for nothing else.
#[must_use]
pub fn is_for_scim(may: &[String]) -> bool {
    may.iter().any(|place| place == SCIM)
}

/// Who comes with this token. One for SCIM is nobody's anywhere else.
pub(super) async fn authenticate(
    store: &Store,
    bearer: &SecretString,
    now: Micros,
) -> Result<Option<Caller>, StoreError> {
    of_bearer(store, bearer, now, false).await
}

/// The directory that comes with this token.
pub(super) async fn directory_client(
    store: &Store,
    bearer: &SecretString,
    now: Micros,
) -> Result<Option<Actor>, StoreError> {
    let caller = of_bearer(store, bearer, now, true).await?;
    Ok(caller.map(|caller| caller.actor).filter(Actor::is_directory))
}

async fn of_bearer(
    store: &Store,
    bearer: &SecretString,
    now: Micros,
    for_scim: bool,
) -> Result<Option<Caller>, StoreError> {
    if bearer.expose_secret().len() > MAX_BEARER_BYTES {
        return Ok(None);
    }
    let mut tx = store.read().await?;
    let Some(token) = tokens::by_fingerprint(&mut tx, &token::fingerprint(bearer)).await? else {
        return Ok(None);
    };
    if token.may.as_deref().is_some_and(is_for_scim) != for_scim {
        return Ok(None);
    }
    caller(store, tx, token, now).await
}

/// Who comes with this token, which is not revoked; none when it is expired or its principal disabled.
pub(super) async fn caller(store: &Store, mut tx: Tx, token: Token, now: Micros) -> Result<Option<Caller>, StoreError> {
    if token.expires_at.is_some_and(|end| now >= end) {
        return Ok(None);
    }
    let Some(actor) = actor(&mut tx, &token.principal).await? else {
        return Ok(None);
    };
    let job = tokens::job(&mut tx, &token.id).await?;
    let on_behalf_of = match tokens::behalf(&mut tx, &token.id).await? {
        None => None,
        Some(both) => match proved(&mut tx, &both, now).await? {
            Some(user) => Some(user),
            None => return Ok(None),
        },
    };
    let (by_sign_in, signed_in) = sign_ins::of_token(&mut tx, &token.id, now).await?;
    if by_sign_in && signed_in.is_none() {
        return Ok(None);
    }
    let actor = Actor { may: token.may.clone(), on_behalf_of, signed_in, job, ..actor };
    drop(tx);
    if token.last_used_at.is_none_or(|last| now.since(last) >= TOUCH_EVERY) {
        let mut tx = store.begin().await?;
        tokens::touch(&mut tx, &token.id, now).await?;
        tx.commit().await?;
    }
    let token = WhoamiToken { id: token.id, expires_at: token.expires_at, last_used_at: Some(now), may: token.may };
    Ok(Some(Caller { actor, token }))
}

/// The user of the first of these tokens, if both are still good.
async fn proved(tx: &mut Tx, both: &[TokenId; 2], now: Micros) -> Result<Option<PrincipalRef>, StoreError> {
    let mut user = None;
    for id in both {
        let token = tokens::by_id(tx, id).await?.filter(|token| token.expires_at.is_none_or(|end| now < end));
        let Some(token) = token else { return Ok(None) };
        let (by_sign_in, signed_in) = sign_ins::of_token(tx, id, now).await?;
        if by_sign_in && signed_in.is_none() {
            return Ok(None);
        }
        if actor(tx, &token.principal).await?.is_none() {
            return Ok(None);
        }
        user.get_or_insert(token.principal);
    }
    Ok(user)
}

/// The principal as an actor, unless it is disabled.
pub async fn actor(tx: &mut Tx, principal: &PrincipalRef) -> Result<Option<Actor>, StoreError> {
    let Some(row) = principals::by_id(tx, &principal.id).await? else {
        return Ok(None);
    };
    if row.disabled {
        return Ok(None);
    }
    let groups = principals::groups_of(tx, &row.principal.id).await?;
    Ok(Some(unnarrowed(row, groups)))
}

/// A principal as an actor who has come with nothing that narrows it.
pub fn unnarrowed(row: PrincipalRow, groups: Vec<String>) -> Actor {
    let is_user = row.principal.kind == PrincipalKind::User;
    Actor {
        principal: row.principal,
        groups,
        admin: row.admin && is_user,
        auditor: row.auditor && is_user,
        may: None,
        on_behalf_of: None,
        must_prove: row.proves_behalf,
        job: None,
        signed_in: None,
    }
}

/// Makes a token; its secret is in the answer and nowhere else.
///
/// # Errors
/// When the caller may not, or a field is wrong.
pub async fn create(store: &Store, caller: &Actor, body: &CreateToken, now: Micros) -> Result<CreatedToken, Problem> {
    let name = body.name.trim();
    if name.is_empty() || name.chars().count() > 100 {
        return Err(Problem::invalid("name", "say in 1 to 100 characters what the token is for"));
    }
    let lifetime = body.expires.as_deref().map(parse_duration).transpose();
    let lifetime = lifetime.map_err(|error| Problem::invalid("expires", error.to_string()))?;

    let mut tx = store.begin().await?;
    let principal = match &body.principal {
        None => caller.principal.clone(),
        Some(of) => match principals::by_name(&mut tx, of.kind, &of.name).await? {
            Some(row) => row.principal,
            // Whoever may not make tokens for others learns nothing about who there is.
            None if caller.admin => return Err(Problem::not_found(of.kind.as_str(), &of.name)),
            None => return Err(Problem::forbidden("only an admin makes tokens for others")),
        },
    };
    authorize(caller, Action::Create, &Resource::Token { owner: &principal })?;
    // Else a narrowed token would be worth as much as a wide one.
    if caller.may.is_some() {
        return Err(Problem::forbidden("a token that is narrowed to some roles cannot make tokens"));
    }
    match &body.may {
        Some(may) if is_for_scim(may) => for_scim(caller, &principal, may)?,
        Some(may) => checked_places("may", may)?,
        None => {}
    }
    let expires_at = lifetime.map(|lifetime| now.plus(lifetime));
    let new = New { principal: &principal, name, expires_at, may: body.may.as_deref(), given: GivenFor::Nothing };
    let (token, secret) = insert(&mut tx, &new, now).await?;
    record(&mut tx, "token.created", Some(&caller.principal), &token, now).await?;
    tx.commit().await?;
    Ok(CreatedToken {
        id: token.id,
        token: secret.expose_secret().to_owned(),
        principal: token.principal,
        name: token.name,
        expires_at: token.expires_at,
    })
}

/// Whoever has such a token says who there is: only admins give it away, and to nothing that does anything else.
fn for_scim(caller: &Actor, principal: &PrincipalRef, may: &[String]) -> Result<(), Problem> {
    if !caller.admin {
        return Err(Problem::forbidden("only an admin makes tokens for SCIM"));
    }
    if may.len() > 1 {
        return Err(Problem::invalid("may", "a token for SCIM is good for nothing else: leave the rest out"));
    }
    if principal.kind != PrincipalKind::Agent {
        return Err(Problem::invalid(
            "principal",
            "a directory is an agent: make one, and name it by `--for agent:NAME`",
        ));
    }
    Ok(())
}

/// A token that is to be.
pub struct New<'a> {
    /// Whose.
    pub principal: &'a PrincipalRef,
    /// What it is for.
    pub name: &'a str,
    /// When it ends; None: when it is deleted.
    pub expires_at: Option<Micros>,
    /// What it is narrowed to, as `connection/role`.
    pub may: Option<&'a [String]>,
    /// For what it is given.
    pub given: GivenFor<'a>,
}

/// Makes and stores a token, and gives its secret, which is kept nowhere.
///
/// # Errors
/// When the store or the system's random generator fails.
pub async fn insert(tx: &mut Tx, new: &New<'_>, now: Micros) -> Result<(Token, SecretString), Problem> {
    let secret = token::generate(PREFIX).map_err(Problem::fault)?;
    let token = Token {
        id: TokenId::new(),
        principal: new.principal.clone(),
        name: new.name.to_owned(),
        created_at: now,
        expires_at: new.expires_at,
        last_used_at: None,
        may: new.may.map(<[String]>::to_vec),
    };
    tokens::insert(tx, &token, &token::fingerprint(&secret), new.given).await?;
    Ok((token, secret))
}

/// What a token is narrowed to: at least one `connection/role`.
///
/// # Errors
/// When it is something else.
pub fn checked_places(field: &str, places: &[String]) -> Result<(), Problem> {
    let good = |place: &String| place.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
    match places.iter().find(|place| !good(place)) {
        Some(place) => Err(Problem::invalid(field, format!("`{}` is no access role", shorten(place)))
            .hint("write it as `connection/role`")),
        None if places.is_empty() || places.len() > MAX_PLACES => {
            Err(Problem::invalid(field, format!("name 1 to {MAX_PLACES} access roles, as `connection/role`")))
        }
        None => Ok(()),
    }
}

/// The tokens that the caller may see: an admin everybody's, others their own.
///
/// # Errors
/// When the store fails.
pub async fn list(store: &Store, caller: &Actor) -> Result<Vec<Token>, Problem> {
    let mut tx = store.read().await?;
    let own = (!caller.admin).then_some(&caller.principal.id);
    Ok(tokens::list(&mut tx, own).await?)
}

/// Deletes a token.
///
/// # Errors
/// When there is none that the caller may delete.
pub async fn delete(store: &Store, caller: &Actor, id: &TokenId, now: Micros) -> Result<(), Problem> {
    let mut tx = store.begin().await?;
    let missing = || Problem::not_found("token", id.as_str());
    let token = tokens::by_id(&mut tx, id).await?.ok_or_else(missing)?;
    authorize(caller, Action::Delete, &Resource::Token { owner: &token.principal }).map_err(|_| missing())?;
    tokens::revoke(&mut tx, id, now).await?;
    record(&mut tx, "token.deleted", Some(&caller.principal), &token, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Stores a token whose secret somebody else made, unless it was ever stored: also a deleted one stays deleted.
///
/// # Errors
/// When the store fails.
pub async fn store_given(
    tx: &mut Tx,
    principal: &PrincipalRef,
    name: &str,
    secret: &SecretString,
    now: Micros,
) -> Result<(), StoreError> {
    let fingerprint = token::fingerprint(secret);
    if tokens::is_known(tx, &fingerprint).await? {
        return Ok(());
    }
    let token = Token {
        id: TokenId::new(),
        principal: principal.clone(),
        name: name.to_owned(),
        created_at: now,
        expires_at: None,
        last_used_at: None,
        may: None,
    };
    tokens::insert(tx, &token, &fingerprint, GivenFor::Nothing).await?;
    record(tx, "token.created", None, &token, now).await
}

async fn record(
    tx: &mut Tx,
    action: &str,
    actor: Option<&PrincipalRef>,
    token: &Token,
    now: Micros,
) -> Result<(), StoreError> {
    let Token { id, principal, name, expires_at, may, .. } = token;
    let detail = json!({ "principal": principal, "name": name, "expires_at": expires_at, "may": may });
    audit::append_control(tx, Event::new(now, action, actor, id.as_str(), &detail)).await
}
