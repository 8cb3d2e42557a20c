//! Users, agents and groups as an admin sees them, and the first ones of an installation.

use super::{Actor, tokens};
use crate::{
    audit::{self, Event},
    problem::Problem,
    rights::{Action, Resource, authorize},
    store::{
        Store, StoreError,
        principals::{self, PrincipalRow},
        stops, tokens as token_rows,
    },
};
use postern_api::identity::{Agent, Group, PrincipalKind, PrincipalRef, Stop, User};
use postern_types::{id::PrincipalId, time::Micros};
use secrecy::SecretString;
use serde_json::json;

/// All users, newest first.
///
/// # Errors
/// When the caller may not see them.
pub async fn users(store: &Store, caller: &Actor) -> Result<Vec<User>, Problem> {
    let mut users = Vec::new();
    for Known { row, groups, stopped, last_used_at } in rows(store, caller, PrincipalKind::User).await? {
        let PrincipalRow {
            principal: PrincipalRef { id, name, .. },
            admin,
            auditor,
            disabled,
            sign_in,
            created_at,
            ..
        } = row;
        users.push(User { id, name, groups, admin, auditor, disabled, sign_in, stopped, last_used_at, created_at });
    }
    Ok(users)
}

/// All agents, newest first.
///
/// # Errors
/// When the caller may not see them.
pub async fn agents(store: &Store, caller: &Actor) -> Result<Vec<Agent>, Problem> {
    let mut agents = Vec::new();
    for Known { row, groups, stopped, last_used_at } in rows(store, caller, PrincipalKind::Agent).await? {
        let PrincipalRow { principal: PrincipalRef { id, name, .. }, owner, disabled, created_at, .. } = row;
        agents.push(Agent { id, name, groups, owner, disabled, stopped, last_used_at, created_at });
    }
    Ok(agents)
}

/// A principal, and what is known of it besides.
struct Known {
    row: PrincipalRow,
    groups: Vec<String>,
    stopped: Option<Stop>,
    last_used_at: Option<Micros>,
}

async fn rows(store: &Store, caller: &Actor, kind: PrincipalKind) -> Result<Vec<Known>, Problem> {
    authorize(caller, Action::See, &Resource::Configuration)?;
    let mut tx = store.read().await?;
    let mut groups = principals::groups_of_all(&mut tx).await?;
    let (mut stops, uses) = (stops::all(&mut tx).await?, token_rows::last_uses(&mut tx).await?);
    let rows = principals::list(&mut tx, kind).await?.into_iter().map(|row| {
        let id = &row.principal.id;
        let (groups, stopped) = (groups.remove(id).unwrap_or_default(), stops.remove(id));
        Known { last_used_at: uses.get(id).copied(), groups, stopped, row }
    });
    Ok(rows.collect())
}

/// All groups, newest first.
///
/// # Errors
/// When the caller may not see them.
pub async fn groups(store: &Store, caller: &Actor) -> Result<Vec<Group>, Problem> {
    authorize(caller, Action::See, &Resource::Configuration)?;
    let mut tx = store.read().await?;
    let mut groups = Vec::new();
    for (name, created_at) in principals::groups(&mut tx).await? {
        let members = principals::members(&mut tx, &name).await?;
        groups.push(Group { name, members, created_at });
    }
    Ok(groups)
}

/// A principal that is there from the start.
#[derive(Clone, Debug)]
pub struct Founder<'a> {
    /// Person or agent.
    pub kind: PrincipalKind,
    /// Its name.
    pub name: &'a str,
    /// The groups that it is in.
    pub groups: &'a [&'a str],
    /// May change everything; users only.
    pub admin: bool,
    /// May read the whole audit; users only.
    pub auditor: bool,
}

/// Makes a principal unless it is there, puts it into its groups, and stores the given token unless it was ever
/// stored. Done again, it changes nothing.
///
/// # Errors
/// When the store fails.
pub async fn found(
    store: &Store,
    founder: &Founder<'_>,
    token: &SecretString,
    now: Micros,
) -> Result<PrincipalRef, StoreError> {
    let Founder { kind, name, groups, admin, auditor } = *founder;
    let is_user = kind == PrincipalKind::User;
    let mut tx = store.begin().await?;
    let principal = match principals::by_name(&mut tx, kind, name).await? {
        Some(row) => row.principal,
        None => {
            let principal = PrincipalRef { kind, id: PrincipalId::new(), name: name.to_owned() };
            let row = PrincipalRow {
                principal: principal.clone(),
                admin: admin && is_user,
                auditor: auditor && is_user,
                disabled: false,
                owner: None,
                proves_behalf: false,
                sign_in: None,
                created_at: now,
            };
            principals::insert(&mut tx, &row, None).await?;
            for group in groups {
                principals::ensure_group(&mut tx, group, now).await?;
                principals::add_member(&mut tx, group, &principal.id).await?;
            }
            let detail = json!({ "groups": groups, "admin": row.admin, "auditor": row.auditor });
            let event = Event::new(now, &format!("{kind}.created"), None, &format!("{kind}/{name}"), &detail);
            audit::append_control(&mut tx, event).await?;
            principal
        }
    };
    tokens::store_given(&mut tx, &principal, "bootstrap", token, now).await?;
    tx.commit().await?;
    Ok(principal)
}

/// Whether there is no user yet: a new installation.
///
/// # Errors
/// When the store fails.
pub async fn is_empty(store: &Store) -> Result<bool, StoreError> {
    let mut tx = store.read().await?;
    Ok(principals::list(&mut tx, PrincipalKind::User).await?.is_empty())
}
