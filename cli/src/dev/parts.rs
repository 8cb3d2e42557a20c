//! Starting the parts in their order, and ending them in the other. Each is started as its own command would
//! start it; they know of each other by addresses, join tokens and certificates only.

use super::{
    DevArgs,
    cluster::{self, Cluster},
    database::{CONNECTION, CONNECTOR, Database},
    folder::{DataFolder, Ready, ReadyConnection, Tokens},
};
use crate::{
    client::{Client, ClientArgs, parse_base},
    failure::Failure,
    serve,
};
use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use postern_api::{
    access::{Connection, ConnectionStatus},
    document::{Apply, Changes, Source, SourcedDocument},
    fleet::{CreateJoinToken, CreatedJoinToken, Part, PartKind},
    identity::PrincipalKind,
};
use postern_control_plane::{Core, config::SslMode};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// The user whose token approves, and the agent whose token asks.
const ADMIN: &str = "admin";
const AGENT: &str = "agent";

/// The gateway's name.
const GATEWAY: &str = "dev";

/// How long the connector may take to attach.
const ATTACH_DEADLINE: Duration = Duration::from_secs(20);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How long each part may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// What runs so far.
#[derive(Default)]
pub struct Parts {
    cluster: Option<Cluster>,
    control_plane: Option<postern_control_plane::Running>,
    gateway: Option<postern_gateway::Running>,
    agent: Option<postern_agent::Running>,
}

impl Parts {
    /// Starts everything and waits until it is ready.
    ///
    /// Cancel safe: what runs is known, and [`Parts::stop`] ends it.
    pub async fn start(&mut self, data: &DataFolder, args: &DevArgs, files: Option<Apply>) -> Result<Ready, Failure> {
        let (pg, http) = (loopback(args.pg_port), loopback(args.http_port));
        for (address, option) in [(pg, "--pg-port"), (http, "--http-port")] {
            require_free(address, option)?;
        }
        let metrics = serve::metrics()?;
        let tokens = data.tokens()?;
        let core_ready = self.start_control_plane(data.path(), http, &metrics, &tokens).await?;
        let database = match &args.postgres {
            Some(url) => {
                // An earlier start may have been without --postgres, and killed.
                cluster::clean_up(data.path()).await?;
                Database::of_url(url)?
            }
            None => self.start_cluster(data.path()).await?,
        };
        let api = api(core_ready.http, &tokens)?;
        let names = state_connections(&api, &database, files).await?;
        self.start_gateway(&api, data.path(), pg, core_ready.grpc, &metrics).await?;
        self.start_agent(&api, data.path(), &database, &names, &metrics).await?;
        let connections = attached(&api).await?;
        let running = self.gateway.as_ref().context("the gateway has ended")?;
        Ok(ready(&tokens, core_ready, running.client_addr, &connections))
    }

    async fn start_control_plane(
        &mut self,
        data: &Path,
        http: SocketAddr,
        metrics: &PrometheusHandle,
        tokens: &Tokens,
    ) -> anyhow::Result<CoreReady> {
        let mut config = postern_control_plane::Config::new(data.join("control-plane"), http, loopback(0));
        config.metrics = Some(metrics.clone());
        // The gateway's certificate is one that nobody can verify, and on loopback nobody has to: drivers without TLS
        // are let in too.
        config.clients.sslmode = SslMode::Prefer;
        let running = postern_control_plane::start(config).await.context("the control plane cannot start")?;
        let (core, http, grpc) = (running.core.clone(), running.http_addr, running.grpc_addr);
        self.control_plane = Some(running);
        first_principals(&core, tokens).await.context("cannot make the users of the demo")?;
        let audit_public_key = core.audit_public_key();
        Ok(CoreReady { http, grpc, audit_public_key })
    }

    async fn start_cluster(&mut self, data: &Path) -> anyhow::Result<Database> {
        let cluster = self.cluster.insert(Cluster::start(data).await.context("cannot make a demo database")?);
        cluster.seed().await?;
        Ok(Database::of_cluster(cluster))
    }

    async fn start_gateway(
        &mut self,
        api: &Client,
        data: &Path,
        clients: SocketAddr,
        control_plane: SocketAddr,
        metrics: &PrometheusHandle,
    ) -> Result<(), Failure> {
        let folder = data.join("gateway");
        let token = join_token(api, PartKind::Gateway, GATEWAY, &folder).await?;
        let config = setting(json!({
            "data_dir": folder, "join_token": token, "control_plane": { "address": control_plane.to_string() },
            "clients": { "listen": clients, "client_tls": "optional" }, "connectors": { "listen": loopback(0) },
        }))?;
        let running = postern_gateway::start(config, Some(metrics.clone())).await;
        self.gateway = Some(running.context("the gateway cannot start")?);
        Ok(())
    }

    async fn start_agent(
        &mut self,
        api: &Client,
        data: &Path,
        database: &Database,
        names: &[String],
        metrics: &PrometheusHandle,
    ) -> Result<(), Failure> {
        let gateway = self.gateway.as_ref().context("the gateway has ended")?.connector_addr;
        let folder = data.join("connector");
        let token = join_token(api, PartKind::Connector, CONNECTOR, &folder).await?;
        let config = setting(json!({
            "data_dir": folder, "join_token": token, "gateways": [gateway.to_string()],
            "connections": database.connector_setting(names.iter().map(String::as_str)),
        }))?;
        let running = postern_agent::start(config, Some(metrics.clone())).await;
        self.agent = Some(running.context("the connector cannot start")?);
        Ok(())
    }

    /// Ends everything. The connector goes first: it hands in its last audit records through the gateway.
    pub async fn stop(self) {
        if let Some(agent) = self.agent {
            within("connector", agent.shutdown(Duration::ZERO)).await;
        }
        if let Some(gateway) = self.gateway {
            within("gateway", gateway.shutdown(Duration::ZERO)).await;
        }
        if let Some(control_plane) = self.control_plane {
            within("control plane", control_plane.shutdown()).await;
        }
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

async fn within(part: &str, end: impl Future<Output = ()>) {
    if timeout(STOP_DEADLINE, end).await.is_err() {
        tracing::warn!(part, "has not ended in time");
    }
}

/// What the control plane says of itself once it runs.
struct CoreReady {
    http: SocketAddr,
    grpc: SocketAddr,
    audit_public_key: String,
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn require_free(address: SocketAddr, option: &str) -> Result<(), Failure> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::failed(format!("cannot listen on {address}: {error}"))
            .hint(format!("Choose another port with {option}."))),
    }
}

fn setting<T: DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    serde_json::from_value(value).context("a part does not take its settings")
}

fn api(http: SocketAddr, tokens: &Tokens) -> Result<Client, Failure> {
    let args = ClientArgs::default();
    Client::with_token(&args, parse_base(&format!("http://{http}"))?, tokens.admin.clone())
}

/// The admin, the agent and their tokens: everything else goes through the API as the admin. Whoever is there
/// already stays as they are.
async fn first_principals(core: &Core, tokens: &Tokens) -> anyhow::Result<()> {
    let user = PrincipalKind::User;
    core.bootstrap_principal_token(user, ADMIN, &["admins", "dba"], true, true, &tokens.admin).await?;
    let agent = PrincipalKind::Agent;
    core.bootstrap_principal_token(agent, AGENT, &["agents"], false, false, &tokens.agent).await?;
    Ok(())
}

fn sourced(document: Value) -> SourcedDocument {
    let source = Source { file: Some("postern dev".to_owned()), line: None, index: None };
    SourcedDocument { source, document }
}

/// States what the files say, and the demo as they change it, in one step: a role that was stated one way and then
/// the other would end its grants at each start. Gives the names of all connections that the connector serves.
async fn state_connections(api: &Client, database: &Database, files: Option<Apply>) -> Result<Vec<String>, Failure> {
    let mut demo = sourced(database.document());
    let mut others = Vec::new();
    let (documents, policies) = files.map(|files| (files.documents, files.policies)).unwrap_or_default();
    for file in documents {
        if is_demo(&file.document) {
            merge(&mut demo.document, file.document);
            // Should it be wrong, it is wrong there.
            demo.source = file.source;
        } else {
            others.push(file);
        }
    }
    if !others.is_empty() || !policies.is_empty() {
        let _: Changes = api.post("apply", &Apply { documents: others, policies, merge: true }).await?;
    }
    let _: Changes = api.post("apply", &Apply { documents: vec![demo], policies: Vec::new(), merge: false }).await?;
    let connections: Vec<Connection> = api.get("connections").await?;
    let served = connections.into_iter().filter(|connection| connection.connector == CONNECTOR);
    Ok(served.map(|connection| connection.name).collect())
}

fn is_demo(document: &Value) -> bool {
    let text = |key| document.get(key).and_then(Value::as_str);
    text("kind") == Some("Connection") && text("name") == Some(CONNECTION)
}

/// What `from` states goes before what `into` had; what it does not mention stays.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A join token for a part that has no identity yet, and none for one that has: the identity is good for as long
/// as the control plane knows it.
async fn join_token(api: &Client, kind: PartKind, name: &str, folder: &Path) -> Result<Option<Value>, Failure> {
    let resource = format!("{}s", kind.as_str());
    let parts: Vec<Part> = api.get(&resource).await?;
    let known = parts.iter().any(|part| part.name == name && part.revoked_at.is_none());
    if known && folder.join("identity.json").exists() {
        return Ok(None);
    }
    let body = CreateJoinToken { kind, name: name.to_owned(), expires: Some("5m".to_owned()) };
    let created: CreatedJoinToken = api.post("join-tokens", &body).await?;
    Ok(Some(json!({ "value": created.token })))
}

/// Waits until sessions can be had. A database that is down does not hinder: it may come up, or be recreated.
async fn attached(api: &Client) -> Result<Vec<Connection>, Failure> {
    let deadline = Instant::now() + ATTACH_DEADLINE;
    loop {
        let connections: Vec<Connection> = api.get("connections").await?;
        let demo = connections.iter().find(|connection| connection.name == CONNECTION);
        match demo.map(|demo| (demo.status, &demo.problem)) {
            Some((ConnectionStatus::Up, _)) => return Ok(connections),
            Some((ConnectionStatus::DatabaseDown, problem)) => {
                tracing::warn!(connection = CONNECTION, problem, "the database cannot be reached yet");
                return Ok(connections);
            }
            _ if Instant::now() >= deadline => {
                return Err(Failure::failed(format!(
                    "the connector has not attached within {} s",
                    ATTACH_DEADLINE.as_secs()
                )));
            }
            _ => sleep(LOOK).await,
        }
    }
}

fn ready(tokens: &Tokens, core: CoreReady, clients: SocketAddr, connections: &[Connection]) -> Ready {
    let shown = |secret: &SecretString| secrecy::ExposeSecret::expose_secret(secret).to_owned();
    Ready {
        http_url: format!("http://{}", core.http),
        pg_host: clients.ip().to_string(),
        pg_port: clients.port(),
        admin_token: shown(&tokens.admin),
        agent_token: shown(&tokens.agent),
        audit_public_key: core.audit_public_key,
        connections: connections
            .iter()
            .map(|connection| ReadyConnection {
                name: connection.name.clone(),
                roles: connection.roles.iter().map(|role| role.name.clone()).collect(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_states_only_what_it_sets() {
        let mut demo = json!({
            "kind": "Connection", "name": "demo",
            "roles": { "read": { "mode": "login", "approvals": 1 }, "all": { "mode": "login" } },
            "tags": { "public.a.b": "pii.email" },
        });
        let file = json!({
            "kind": "Connection", "name": "demo",
            "roles": { "read": { "approvals": 0 }, "audit": { "mode": "shared" } },
            "masks": { "pii.email": "email" },
        });
        assert!(is_demo(&file));
        merge(&mut demo, file);
        assert_eq!(
            demo,
            json!({
                "kind": "Connection", "name": "demo",
                "roles": {
                    "read": { "mode": "login", "approvals": 0 }, "all": { "mode": "login" }, "audit": { "mode": "shared" },
                },
                "tags": { "public.a.b": "pii.email" }, "masks": { "pii.email": "email" },
            })
        );
    }
}
