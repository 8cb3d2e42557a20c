//! Which user somebody is whom a provider has proved, and that they are one no more.

use super::Verified;
use crate::{
    apply::check,
    audit::{self, Event},
    effects::Effect,
    stops,
    store::{
        StoreError, Tx, external_identities,
        principals::{self, PrincipalRow},
        scim,
    },
};
use postern_api::{
    identity::{PrincipalKind, PrincipalRef},
    provider::ProviderGroups,
};
use postern_types::{id::PrincipalId, time::Micros};
use serde_json::json;
use std::collections::BTreeSet;
use thiserror::Error;

/// The most groups that somebody is in by what a provider says.
const MAX_GROUPS: usize = 1000;

/// Why somebody whom a provider has proved does not come in.
#[derive(Debug, Error)]
pub enum NotAdmitted {
    /// In no group that counts here.
    #[error("the provider names no group of theirs that counts here")]
    NoGroups,
    /// What they are called is no name here.
    #[error("what the provider calls them cannot be a user's name here")]
    Name,
    /// They are not called anything.
    #[error("the provider does not say what they are called: there is no claim `{0}`")]
    NoName(String),
    /// Somebody else has the name.
    #[error("there is a user of that name who does not sign in there")]
    Taken(String),
    /// Somebody else at the provider had the name before.
    #[error("the user of that name is somebody else at the provider")]
    Another(String),
    /// A document says that the user signs in elsewhere, or nowhere.
    #[error("the user does not sign in there any more")]
    Elsewhere(String),
    /// An admin has disabled the user.
    #[error("the user is disabled")]
    Disabled(String),
    /// Postern's own fault.
    #[error("the control plane failed")]
    Fault(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl NotAdmitted {
    /// A fault of Postern's own.
    pub fn fault(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Fault(Box::new(cause))
    }
}

impl From<StoreError> for NotAdmitted {
    fn from(error: StoreError) -> Self {
        Self::fault(error)
    }
}

/// The user that somebody is, made at their first time, with the groups that the provider says now. A user whom documents or
/// another provider have made is theirs only if its document says so (`sign_in`).
///
/// # Errors
/// When it is nobody who may come in.
pub async fn admit(tx: &mut Tx, verified: &Verified<'_>, now: Micros) -> Result<PrincipalRef, NotAdmitted> {
    let provider = verified.provider;
    let groups = provider.groups.as_ref().map(|named| groups_here(named, &verified.groups));
    if groups.as_ref().is_some_and(Vec::is_empty) {
        return Err(NotAdmitted::NoGroups);
    }
    let known = external_identities::by_subject(tx, &provider.name, &verified.subject).await?;
    let row = match &known {
        Some(identity) => {
            principals::lock(tx, &identity.principal_id).await?;
            principals::by_id(tx, &identity.principal_id).await?
        }
        None => unclaimed(tx, verified).await?,
    };
    let user = match row {
        None => create(tx, verified, now).await?,
        Some(row) if row.sign_in.as_deref() != Some(&provider.name) => {
            let name = row.principal.name;
            return Err(if known.is_some() { NotAdmitted::Elsewhere(name) } else { NotAdmitted::Taken(name) });
        }
        Some(row) if row.disabled => {
            // What the provider has taken it gives back; what an admin has taken it does not.
            if known.is_none_or(|identity| identity.removed_at.is_none()) {
                return Err(NotAdmitted::Disabled(row.principal.name));
            }
            principals::set_disabled(tx, &row.principal.id, false).await?;
            row.principal
        }
        Some(row) => row.principal,
    };
    let email = verified.email.as_deref();
    external_identities::put(tx, &provider.name, &verified.subject, &user.id, email, now).await?;
    if let Some(groups) = groups {
        regroup(tx, &user, &groups, &provider.name, now).await?;
    }
    Ok(user)
}

/// The user of that name, if there is one and nobody else at a provider is it.
async fn unclaimed(tx: &mut Tx, verified: &Verified<'_>) -> Result<Option<PrincipalRow>, NotAdmitted> {
    check::named("user", &verified.name).map_err(|_| NotAdmitted::Name)?;
    let Some(row) = principals::by_name(tx, PrincipalKind::User, &verified.name).await? else { return Ok(None) };
    principals::lock(tx, &row.principal.id).await?;
    if external_identities::of(tx, &row.principal.id).await?.is_some() {
        return Err(NotAdmitted::Another(row.principal.name));
    }
    Ok(Some(row))
}

async fn create(tx: &mut Tx, verified: &Verified<'_>, now: Micros) -> Result<PrincipalRef, StoreError> {
    let principal = PrincipalRef { kind: PrincipalKind::User, id: PrincipalId::new(), name: verified.name.clone() };
    let row = PrincipalRow {
        principal: principal.clone(),
        admin: false,
        auditor: false,
        disabled: false,
        owner: None,
        proves_behalf: false,
        sign_in: Some(verified.provider.name.clone()),
        created_at: now,
    };
    principals::insert(tx, &row, None).await?;
    let detail = json!({ "provider": verified.provider.name, "subject": verified.subject });
    audit::append_control(tx, Event::new(now, "user.created", None, &format!("user/{}", principal.name), &detail))
        .await?;
    Ok(principal)
}

/// Puts a user into exactly these groups, but for those of a directory, which says alone who is in them.
async fn regroup(
    tx: &mut Tx,
    user: &PrincipalRef,
    groups: &[String],
    provider: &str,
    now: Micros,
) -> Result<(), StoreError> {
    let before = principals::groups_of(tx, &user.id).await?;
    let mut wanted = BTreeSet::new();
    for group in before.iter().chain(groups) {
        let (is_in, is_named) = (before.contains(group), groups.contains(group));
        if is_in && is_named || (is_in != is_named && is_in == scim::keeper_of(tx, group).await?.is_some()) {
            wanted.insert(group.clone());
        }
    }
    let wanted: Vec<String> = wanted.into_iter().collect();
    if before == wanted {
        return Ok(());
    }
    principals::set_groups(tx, &user.id, &wanted, now).await?;
    let detail = json!({ "provider": provider, "from": before, "to": wanted });
    audit::append_control(tx, Event::new(now, "user.regrouped", None, &format!("user/{}", user.name), &detail)).await
}

/// The provider's groups as they are named here; what can be no name is left out.
fn groups_here(named: &ProviderGroups, groups: &[String]) -> Vec<String> {
    let here = groups.iter().filter(|group| !group.is_empty()).filter_map(|group| {
        if named.names.is_empty() {
            let name = format!("{}{group}", named.prefix);
            check::named("groups", &name).is_ok().then_some(name)
        } else {
            named.names.get(group).cloned()
        }
    });
    // Sorted, as the store gives them.
    here.collect::<BTreeSet<_>>().into_iter().take(MAX_GROUPS).collect()
}

/// The provider vouches for a user no more: they are disabled, with all that this ends, until they sign in again.
///
/// # Errors
/// When the store fails.
pub async fn remove(tx: &mut Tx, id: &PrincipalId, because: &str, now: Micros) -> Result<Vec<Effect>, StoreError> {
    principals::lock(tx, id).await?;
    let Some(row) = principals::by_id(tx, id).await?.filter(|row| !row.disabled) else { return Ok(Vec::new()) };
    principals::set_disabled(tx, id, true).await?;
    external_identities::set_removed(tx, id, Some(now)).await?;
    let subject = format!("user/{}", row.principal.name);
    audit::append_control(tx, Event::new(now, "user.removed", None, &subject, &json!({ "why": because }))).await?;
    stops::disabled_in(tx, &row.principal, None, &format!("was removed: {because}"), now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(named: serde_json::Value, groups: &[&str]) -> Vec<String> {
        let named = serde_json::from_value(named).unwrap();
        groups_here(&named, &groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn groups_of_a_provider() {
        let all = ["dba", "ops", "dba", "no name", "", "/shop/dba", "-x"];
        assert_eq!(here(json!({ "claim": "groups" }), &all), ["dba", "ops"]);
        assert_eq!(here(json!({ "claim": "groups", "prefix": "corp-" }), &all), ["corp--x", "corp-dba", "corp-ops"]);
        let names = json!({ "claim": "groups", "names": { "/shop/dba": "dba", "no name": "named" } });
        assert_eq!(here(names, &all), ["dba", "named"]);
        assert!(here(json!({ "claim": "groups", "names": { "x": "y" } }), &all).is_empty());
    }
}
