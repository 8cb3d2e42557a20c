//! Connectors and gateways: how they are let in and shut out.

use crate::{
    Core,
    audit::{self, Event},
    effects::Effect,
    grants::checked_reason,
    identity::Actor,
    problem::Problem,
    rights::{Action, Resource, authorize},
    store::{
        Store, identities,
        join_tokens::{self, UsedToken},
    },
};
use postern_api::{
    fleet::{CreateJoinToken, CreatedJoinToken, Part, PartKind},
    identity::PrincipalRef,
};
use postern_types::{
    id::JoinTokenId,
    time::{Micros, parse_duration},
    token,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::time::Duration;

/// How long a join token is good when nobody says.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// The longest that a join token is good.
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest name.
const MAX_NAME: usize = 63;

/// What each join token begins with.
const PREFIX: &str = "postern_join_";

/// Makes a join token.
///
/// # Errors
/// When a field is wrong or the caller may not.
pub async fn create_join_token(
    core: &Core,
    actor: &Actor,
    body: &CreateJoinToken,
    now: Micros,
) -> Result<CreatedJoinToken, Problem> {
    authorize(actor, Action::Create, &Resource::Fleet)?;
    let lifetime = body.expires.as_deref().map_or(Ok(DEFAULT_LIFETIME), parse_duration);
    let lifetime = lifetime.map_err(|error| Problem::invalid("expires", error.to_string()))?;
    if lifetime > MAX_LIFETIME {
        return Err(Problem::invalid("expires", "at most 7d"));
    }
    make(core, Some(&actor.principal), body.kind, &body.name, lifetime, now).await
}

/// The same, on behalf of whoever started this process.
///
/// # Errors
/// When the name is none or the store fails.
pub async fn make(
    core: &Core,
    actor: Option<&PrincipalRef>,
    kind: PartKind,
    name: &str,
    lifetime: Duration,
    now: Micros,
) -> Result<CreatedJoinToken, Problem> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(good) {
        return Err(Problem::invalid("name", format!("a name has 1 to {MAX_NAME} letters, digits, `-`, `_`, `.`")));
    }
    // The second part tells whoever joins by which authority it will know the control plane.
    let secret = token::generate(PREFIX).map_err(Problem::fault)?;
    let secret = SecretString::from(format!("{}_{}", secret.expose_secret(), core.ca.fingerprint()));
    let token = UsedToken { id: JoinTokenId::new(), kind, name: name.to_owned() };
    let expires_at = now.plus(lifetime);
    let mut tx = core.store.begin().await?;
    join_tokens::insert(&mut tx, &token, &token::fingerprint(&secret), now, expires_at).await?;
    let detail = json!({ "kind": kind, "name": name, "expires_at": expires_at });
    audit::append_control(&mut tx, Event::new(now, "join_token.created", actor, token.id.as_str(), &detail)).await?;
    tx.commit().await?;
    Ok(CreatedJoinToken { id: token.id, token: secret.expose_secret().to_owned(), kind, name: token.name, expires_at })
}

/// All connectors or gateways, newest first.
///
/// # Errors
/// When the caller may not see them.
pub async fn list(store: &Store, actor: &Actor, kind: PartKind, now: Micros) -> Result<Vec<Part>, Problem> {
    authorize(actor, Action::See, &Resource::Fleet)?;
    let mut tx = store.read().await?;
    let rows = identities::list(&mut tx, kind).await?;
    Ok(rows.into_iter().map(|row| row.into_part(now)).collect())
}

/// Refuses a connector or gateway from now on.
///
/// # Errors
/// When there is none of that id or the caller may not.
pub async fn revoke(
    store: &Store,
    actor: &Actor,
    kind: PartKind,
    id: &str,
    reason: Option<&str>,
    now: Micros,
) -> Result<(Part, Vec<Effect>), Problem> {
    authorize(actor, Action::End, &Resource::Fleet)?;
    let reason = checked_reason(reason)?;
    let missing = || Problem::not_found(kind.as_str(), id);
    let mut tx = store.begin().await?;
    let before = identities::by_id(&mut tx, id).await?.filter(|row| row.kind == kind).ok_or_else(missing)?;
    let mut effects = Vec::new();
    if identities::revoke(&mut tx, kind, id, now).await? {
        let detail = json!({ "name": before.name, "reason": reason });
        let action = format!("{}.revoked", kind.as_str());
        audit::append_control(&mut tx, Event::new(now, &action, Some(&actor.principal), id, &detail)).await?;
        effects.push(Effect::IdentityRevoked(id.to_owned()));
    }
    let row = identities::by_id(&mut tx, id).await?.ok_or_else(missing)?;
    tx.commit().await?;
    Ok((row.into_part(now), effects))
}
