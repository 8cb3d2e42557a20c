//! Effective access: what somebody can reach, and who can reach a connection, each with why. It is for those who judge
//! what was done, and for those who answer for an agent.

use super::ways::{Asker, barred, in_force};
use crate::{
    identity::{Actor, tokens::unnarrowed},
    problem::{Problem, shorten},
    rights::{self, Action, Resource, authorize, is_allowed},
    store::{Store, Tx, access, connections, principals, principals::PrincipalRow, stops, tokens},
};
use postern_api::{
    document::AccessRole,
    identity::{PrincipalKind, PrincipalName},
    ways::{EffectiveAccess, Foreseen, Reach, WayIn, WaysIn},
};
use postern_types::time::Micros;

/// The most principals that are told of at once.
const PAGE: usize = 100;

/// Explains what a principal can reach, whatever its tokens are narrowed to.
///
/// # Errors
/// When there is none whose access the caller may see.
pub async fn of(store: &Store, caller: &Actor, name: &PrincipalName, now: Micros) -> Result<EffectiveAccess, Problem> {
    let mut tx = store.read().await?;
    let row = principals::by_name(&mut tx, name.kind, &name.name).await?;
    let owner = row.as_ref().and_then(|row| row.owner.clone());
    let principal = row.as_ref().map(|row| &row.principal);
    authorize(caller, Action::See, &Resource::Reach { principal, owner: owner.as_deref() })?;
    let row = row.ok_or_else(|| Problem::not_found(name.kind.as_str(), &shorten(&name.name)))?;
    let stopped = stops::of(&mut tx, &row.principal.id).await?;
    let last_used_at = tokens::last_use(&mut tx, &row.principal.id).await?;
    let (disabled, groups) = (row.disabled, principals::groups_of(&mut tx, &row.principal.id).await?);
    let actor = unnarrowed(row, groups);
    let connections = ways_of(&mut tx, caller, &actor, disabled, now).await?;
    let Actor { principal, groups, admin, auditor, .. } = actor;
    Ok(EffectiveAccess { principal, groups, owner, admin, auditor, disabled, stopped, last_used_at, connections })
}

/// On each connection the access roles that the principal may know of, or the caller.
async fn ways_of(
    tx: &mut Tx,
    caller: &Actor,
    actor: &Actor,
    disabled: bool,
    now: Micros,
) -> Result<Vec<WaysIn>, Problem> {
    let barred = match disabled {
        true => Some(format!("{} {} is disabled", actor.principal.kind, actor.principal.name)),
        false => barred(tx, actor, None).await?,
    };
    let asker = Asker { actor, on_behalf_of: None, anybodys: true, barred };
    let all = is_allowed(caller, Action::See, &everybody());
    let sees = |role: &AccessRole| {
        let role = rights::role(role);
        all || is_allowed(actor, Action::See, &role) || is_allowed(caller, Action::See, &role)
    };
    let policies = in_force(tx).await?;
    let mut rows = connections::list(tx).await?;
    rows.sort_by(|one, other| one.name().cmp(other.name()));
    let mut found = Vec::new();
    for row in rows {
        let roles = asker.ways(tx, &policies, &row.document, sees, now).await?;
        if !roles.is_empty() {
            found.push(asker.ways_in(row.document.name, roles));
        }
    }
    Ok(found)
}

fn everybody<'a>() -> Resource<'a> {
    Resource::Reach { principal: None, owner: None }
}

/// Explains who can reach a connection: who can get one of its access roles, or has it.
///
/// # Errors
/// When there is no such connection, or the caller may not see everybody's access.
pub async fn on(
    store: &Store,
    caller: &Actor,
    connection: &str,
    after: Option<&PrincipalName>,
    now: Micros,
) -> Result<Reach, Problem> {
    authorize(caller, Action::See, &everybody())?;
    let mut tx = store.read().await?;
    let found = connections::by_name(&mut tx, connection).await?;
    let document = found.ok_or_else(|| Problem::not_found("connection", connection))?.document;
    let named: Vec<_> = document.roles.values().map(asking).collect();
    let open: Vec<_> = access::unended_grants_on(&mut tx, connection).await?;
    let mut groups = principals::groups_of_all(&mut tx).await?;
    let policies = in_force(&mut tx).await?;
    let mut reach = Reach { principals: Vec::new(), next: None };
    for row in enabled(&mut tx, after).await? {
        let groups = groups.remove(&row.principal.id).unwrap_or_default();
        // Of whom nothing can be said is not asked: most of a large directory.
        let asks =
            named.iter().any(|named| named.as_ref().is_none_or(|any| any.iter().any(|one| groups.contains(one))));
        if !asks && !open.iter().any(|grant| grant.principal.id == row.principal.id) {
            continue;
        }
        if reach.principals.len() >= PAGE {
            reach.next = reach.principals.last().map(|last| format!("{}:{}", last.principal.kind, last.principal.name));
            break;
        }
        let actor = unnarrowed(row, groups);
        let barred = barred(&mut tx, &actor, None).await?;
        let asker = Asker { actor: &actor, on_behalf_of: None, anybodys: true, barred };
        let mut roles = asker.ways(&mut tx, &policies, &document, |_| true, now).await?;
        roles.retain(is_way);
        if !roles.is_empty() {
            reach.principals.push(asker.ways_in(document.name.clone(), roles));
        }
    }
    Ok(reach)
}

/// Whose members may ask for a role, or get it in an emergency; none: anybody.
fn asking(role: &AccessRole) -> Option<Vec<String>> {
    let in_emergencies = role.break_glass.iter().flat_map(|named| &named.groups);
    (!role.groups.is_empty()).then(|| role.groups.iter().chain(in_emergencies).cloned().collect())
}

fn is_way(way: &WayIn) -> bool {
    way.answer != Foreseen::Denied || way.in_emergencies || way.grant.is_some()
}

/// Who may do anything: agents first, by name, after this one.
async fn enabled(tx: &mut Tx, after: Option<&PrincipalName>) -> Result<Vec<PrincipalRow>, Problem> {
    let mut all = Vec::new();
    for kind in [PrincipalKind::Agent, PrincipalKind::User] {
        let mut rows = principals::list(tx, kind).await?;
        rows.retain(|row| !row.disabled);
        rows.sort_by(|one, other| one.principal.name.cmp(&other.principal.name));
        all.append(&mut rows);
    }
    let place = |kind: PrincipalKind| u8::from(kind == PrincipalKind::User);
    if let Some(after) = after {
        let last = (place(after.kind), after.name.as_str());
        all.retain(|row| (place(row.principal.kind), row.principal.name.as_str()) > last);
    }
    Ok(all)
}
