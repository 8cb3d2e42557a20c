//! Connections as a caller sees them: what they can ask for, whether it is up, and how to connect.

use crate::{
    Core,
    grants::{self, Claimed},
    identity::Actor,
    problem::Problem,
    quorum,
    rights::{self, Action, Resource, is_allowed, is_reviewer},
    store::{
        Store, StoreError,
        connections::{self, ConnectionRow},
        freezes,
        identities::{self, IdentityRow},
    },
};
use postern_api::{
    access::{Approval, Connection, ConnectionRole, ConnectionStatus, Credential, CredentialUse},
    document::{AccessRole, RoleMode},
    fleet::PartKind,
};
use postern_proto::v1;
use postern_types::{id::GrantId, time::Micros};
use secrecy::ExposeSecret;

/// The largest root certificate file that is handed to clients.
const MAX_ROOT_BYTES: usize = 256 * 1024;

/// What the caller can ask for; an admin sees every connection with all roles.
///
/// # Errors
/// When the store fails.
pub async fn list(core: &Core, actor: &Actor, now: Micros) -> Result<Vec<Connection>, Problem> {
    let mut tx = core.store.read().await?;
    let rows = connections::list(&mut tx).await?;
    let connectors = identities::list(&mut tx, PartKind::Connector).await?;
    let mut frozen = freezes::all(&mut tx).await?;
    drop(tx);
    let sees_all = is_allowed(actor, Action::See, &Resource::Configuration);
    let mut visible = Vec::new();
    for row in rows {
        let roles: Vec<_> = row.document.roles.iter().filter_map(|(name, role)| shown(actor, name, role)).collect();
        if roles.is_empty() && !sees_all {
            continue;
        }
        let (status, problem) = state(core, &row, &connectors, now);
        let freeze = frozen.remove(row.name());
        let (name, connector) = (row.document.name, row.document.connector);
        visible.push(Connection { name, connector, status, problem, freeze, roles });
    }
    Ok(visible)
}

fn shown(actor: &Actor, name: &str, role: &AccessRole) -> Option<ConnectionRole> {
    let resource = rights::role(role);
    if !is_allowed(actor, Action::See, &resource) {
        return None;
    }
    let quorum = role.quorum();
    let approval = match (is_allowed(actor, Action::Create, &resource), &quorum) {
        (false, _) => Approval::NotAllowed,
        (true, None) => Approval::Auto,
        (true, Some(_)) => Approval::Review,
    };
    Some(ConnectionRole {
        name: name.to_owned(),
        mode: role.mode,
        read_only: role.read_only,
        max_duration: role.max_duration.clone(),
        reviewers: role.reviewers.groups(),
        quorum,
        break_glass: is_allowed(actor, Action::BreakGlass, &resource),
        approval,
    })
}

fn state(
    core: &Core,
    row: &ConnectionRow,
    connectors: &[IdentityRow],
    now: Micros,
) -> (ConnectionStatus, Option<String>) {
    let name = &row.document.connector;
    let serves = |connector: &&IdentityRow| {
        connector.name == *name && connector.revoked_at.is_none() && connector.is_attached(now)
    };
    if !connectors.iter().any(|connector| serves(&connector)) {
        return (ConnectionStatus::NoConnector, Some(format!("no connector of the name `{name}` is attached")));
    }
    // Health is known to the replica at which the connector is attached; elsewhere no news is good news.
    let live = core.hub.live();
    let said: Vec<_> = live
        .connectors
        .iter()
        .filter(|live| live.name == *name)
        .filter_map(|live| live.health.get(row.name()))
        .collect();
    match said.first() {
        Some(health) if said.iter().all(|health| !health.reachable) => {
            let problem = (!health.problem.is_empty()).then(|| health.problem.clone());
            (
                ConnectionStatus::DatabaseDown,
                problem.or_else(|| Some("the connector cannot reach the database".to_owned())),
            )
        }
        _ => (ConnectionStatus::Up, None),
    }
}

/// How an access role becomes a database role, as the protocol writes it.
#[must_use]
pub fn mode(role: &AccessRole) -> v1::RoleMode {
    match role.mode {
        RoleMode::Ephemeral => v1::RoleMode::Ephemeral,
        RoleMode::Login => v1::RoleMode::Login,
        RoleMode::Shared => v1::RoleMode::Shared,
    }
}

/// An access role's settings, as the protocol writes them.
#[must_use]
pub fn settings(role: &AccessRole) -> Vec<v1::Setting> {
    let setting = |(name, value): (&String, &String)| v1::Setting { name: name.clone(), value: value.clone() };
    role.settings.iter().map(setting).collect()
}

/// Whether the actor reviews for any access role.
///
/// # Errors
/// When the store fails.
pub async fn reviews_any(store: &Store, actor: &Actor) -> Result<bool, StoreError> {
    let mut tx = store.read().await?;
    let rows = connections::list(&mut tx).await?;
    let mut roles = rows.iter().flat_map(|row| row.document.roles.values());
    Ok(roles.any(|role| role.quorum().is_some_and(|quorum| is_reviewer(actor, &quorum::groups(&quorum)))))
}

/// A fresh secret of a grant, with everything that is needed to connect.
///
/// # Errors
/// When there is no such open grant of the caller's, or no gateway to connect to.
pub async fn credential(
    core: &Core,
    actor: &Actor,
    id: &GrantId,
    purpose: CredentialUse,
    now: Micros,
) -> Result<Credential, Problem> {
    // Before the secret is replaced: one that nobody was told would end the use of the one before it for nothing.
    grants::get(&core.store, actor, id).await?;
    let (host, port) = gateway(core, now).await?;
    let root_certificate_pem = root(core).await?;
    let Claimed { grant, credential_id, secret } = grants::claim(&core.store, actor, id, purpose, now).await?;
    Ok(Credential {
        user: credential_id.as_ref().map_or_else(|| grant.id.to_string(), ToString::to_string),
        id: credential_id,
        secret: secret.expose_secret().to_owned(),
        host,
        port,
        database: grant.connection,
        sslmode: core.config.clients.sslmode.as_str().to_owned(),
        root_certificate_pem,
        expires_at: grant.ends_at,
    })
}

/// Where clients connect: the configured address, else that of the gateway that was heard of last.
async fn gateway(core: &Core, now: Micros) -> Result<(String, u16), Problem> {
    let address = match &core.config.clients.address {
        Some(address) => Some(address.clone()),
        None => {
            let mut tx = core.store.read().await?;
            let gateways = identities::list(&mut tx, PartKind::Gateway).await?;
            let up = gateways.into_iter().filter(|gateway| gateway.revoked_at.is_none() && gateway.is_attached(now));
            up.max_by_key(|gateway| gateway.attached_seen_at).and_then(|gateway| gateway.client_address)
        }
    };
    let address = address.ok_or_else(|| {
        Problem::unavailable("no gateway is attached").hint("try again; an admin sees the gateways' state")
    })?;
    split(&address).ok_or_else(|| Problem::unavailable(format!("the gateway's address `{address}` is not host:port")))
}

/// `host:port`, where an IPv6 address is in brackets.
fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
}

async fn root(core: &Core) -> Result<Option<String>, Problem> {
    let Some(path) = &core.config.clients.root_certificate else { return Ok(None) };
    let pem = tokio::fs::read_to_string(path).await.map_err(Problem::fault)?;
    if pem.len() > MAX_ROOT_BYTES {
        return Err(Problem::too_large("the file of clients.root_certificate is too large"));
    }
    Ok(Some(pem))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn addresses() {
        assert_eq!(split("gw.example.com:5432"), Some(("gw.example.com".to_owned(), 5432)));
        assert_eq!(split("[::1]:15432"), Some(("::1".to_owned(), 15432)));
        for bad in ["gw", ":5432", "gw:x", "gw:99999"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
