//! A control plane on loopback, and the connectors and gateways that talk to it over TLS.

use bytes::Bytes;
use postern_api::{
    access::{RequestKind, RequestStatus},
    document::{AccessRole, ConnectionDocument},
    fleet::PartKind,
    identity::{PrincipalKind, PrincipalRef},
    quorum::{Quorum, QuorumMode},
};
use postern_control_plane::{
    Config, Running,
    config::{SecretSource, StoreSetting},
    fleet,
    identity::scram::Verifier,
    start,
    store::{access, connections, principals, requests, tokens::Machine},
};
use postern_peer::{Keeper, Kind};
use postern_proto::v1::{
    AttachedConnector, AuthBegin, AuthRequest, ConnectorCommand, ConnectorHello, ConnectorMessage, ConnectorWelcome,
    GatewayCommand, GatewayHello, GatewayMessage, GatewayWelcome, SignedPolicyBundle, auth_request::Request as Say,
    auth_response::Response as Answer, connector_command::Command as ToConnector,
    connector_control_client::ConnectorControlClient, connector_message::Message as FromConnector,
    gateway_command::Command as ToGateway, gateway_control_client::GatewayControlClient,
    gateway_message::Message as FromGateway,
};
use postern_types::{
    id::{GrantId, PrincipalId, RequestId},
    time::Micros,
    token,
};
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, time::Duration};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

/// Far more than anything here takes, so that a hang fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The hash that the gateways of these tests show as their certificate's.
pub const BINDING: &[u8] = b"hash of the gateway's certificate";

pub struct Plane {
    pub running: Running,
    folder: TempDir,
}

/// A grant, and the secret that proves it.
pub struct Grant {
    pub id: GrantId,
    pub secret: SecretString,
    pub principal: PrincipalRef,
}

impl Plane {
    pub async fn start() -> Self {
        Self::start_on(StoreSetting::DefaultSqlite, tempfile::tempdir().unwrap()).await
    }

    pub async fn start_on(store: StoreSetting, folder: TempDir) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(folder.path().to_owned(), any, any);
        config.store = store;
        let secret = SecretSource::File(folder.path().join("slack-signing"));
        config.notifications.secrets.insert("slack-signing".to_owned(), secret);
        Self { running: start(config).await.unwrap(), folder }
    }

    /// Stopped and started again on the same data and address.
    pub async fn restart(self) -> Self {
        let mut config = self.running.core.config.clone();
        config.grpc.listen = self.running.grpc_addr;
        self.running.shutdown().await;
        Self { running: start(config).await.unwrap(), folder: self.folder }
    }

    pub fn addresses(&self) -> Vec<String> {
        vec![self.running.grpc_addr.to_string()]
    }

    pub fn folder(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub async fn join_token(&self, kind: PartKind, name: &str) -> SecretString {
        let lifetime = Duration::from_secs(60);
        let created = fleet::make(&self.running.core, None, kind, name, lifetime, Micros::now()).await.unwrap();
        SecretString::from(created.token)
    }

    pub async fn enrol(&self, kind: PartKind, name: &str) -> Keeper {
        let token = self.join_token(kind, name).await;
        let part = match kind {
            PartKind::Connector => Kind::Connector,
            PartKind::Gateway => Kind::Gateway,
        };
        let folder = self.folder(&format!("{name}-{}", RequestId::new()));
        timeout(PATIENCE, Keeper::obtain(part, folder, self.addresses(), Some(&token))).await.unwrap().unwrap()
    }

    pub fn channel(&self, keeper: &Keeper) -> Channel {
        let addresses = self.addresses();
        keeper.channel(move || addresses.clone())
    }

    pub async fn connection(&self, name: &str, connector: &str) {
        let role =
            AccessRole { database_role: Some("shop_reader".to_owned()), read_only: true, ..AccessRole::default() };
        let document = ConnectionDocument {
            name: name.to_owned(),
            database: format!("postgresql://127.0.0.1:5432/{name}_db"),
            connector: connector.to_owned(),
            roles: BTreeMap::from([("read".to_owned(), role)]),
            ..ConnectionDocument::default()
        };
        let mut tx = self.running.core.store.begin().await.unwrap();
        connections::put(&mut tx, &document, Micros::now()).await.unwrap();
        tx.commit().await.unwrap();
        self.running.core.hub.connections_changed();
    }

    pub async fn grant(&self, connection: &str, ends_in: Duration) -> Grant {
        let now = Micros::now();
        let id = PrincipalId::new();
        let principal = PrincipalRef { kind: PrincipalKind::Agent, name: format!("agent-{id}"), id };
        let row = principals::PrincipalRow {
            principal: principal.clone(),
            admin: false,
            auditor: false,
            disabled: false,
            owner: None,
            proves_behalf: false,
            sign_in: None,
            created_at: now,
        };
        let request = requests::RequestRow {
            id: RequestId::new(),
            connection: connection.to_owned(),
            role: "read".to_owned(),
            duration: ends_in,
            reason: "a test".to_owned(),
            ticket: None,
            requester: principal.clone(),
            on_behalf_of: None,
            status: RequestStatus::Approved,
            created_at: now,
            expires_at: now.plus(ends_in),
            approvals_needed: 0,
            reviewer_groups: Vec::new(),
            policy_reason: String::new(),
            grant_id: None,
            decided_at: Some(now),
            kind: RequestKind::Access,
            quorum: Quorum { mode: QuorumMode::All, needs: Vec::new() },
            relations: Vec::new(),
            client_address: None,
            machine: Machine::default(),
            recurring: None,
            closed: None,
        };
        let grant = access::GrantRow {
            id: GrantId::new(),
            request_id: request.id.clone(),
            connection: connection.to_owned(),
            role: "read".to_owned(),
            principal: principal.clone(),
            on_behalf_of: None,
            reason: "a test".to_owned(),
            starts_at: now,
            ends_at: now.plus(ends_in),
            verifier: None,
            revoked_at: None,
            revoked_by: None,
            revoke_reason: None,
            ended_at: None,
            balance: None,
            relations: Vec::new(),
            bound_address: None,
            binds_first_use: false,
            bound_job: None,
            bound_certificate: None,
        };
        let secret = token::generate("").unwrap();
        let mut tx = self.running.core.store.begin().await.unwrap();
        principals::insert(&mut tx, &row, None).await.unwrap();
        requests::insert_request(&mut tx, &request).await.unwrap();
        access::insert_grant(&mut tx, &grant).await.unwrap();
        let verifier = Verifier::derive(&secret).unwrap().to_string();
        access::set_verifier(&mut tx, &grant.id, &verifier).await.unwrap();
        tx.commit().await.unwrap();
        Grant { id: grant.id, secret, principal }
    }
}

/// An attached connector.
pub struct Connector {
    pub keeper: Keeper,
    pub incarnation: String,
    pub welcome: ConnectorWelcome,
    pub channel: Channel,
    say: mpsc::Sender<ConnectorMessage>,
    commands: Streaming<ConnectorCommand>,
}

impl Connector {
    pub async fn attach(plane: &Plane, keeper: Keeper, incarnation: &str, live: &[&str]) -> Result<Self, Status> {
        let (say, messages) = mpsc::channel(16);
        let hello = ConnectorHello {
            version: "test".to_owned(),
            incarnation: incarnation.to_owned(),
            live_sessions: live.iter().map(|&session| session.to_owned()).collect(),
        };
        say.send(ConnectorMessage { message: Some(FromConnector::Hello(hello)) }).await.unwrap();
        let channel = plane.channel(&keeper);
        let mut client = ConnectorControlClient::new(channel.clone());
        let mut commands = client.attach(ReceiverStream::new(messages)).await?.into_inner();
        let Some(ToConnector::Welcome(welcome)) = next(&mut commands).await?.and_then(|first| first.command) else {
            panic!("the first command is not Welcome")
        };
        let incarnation = incarnation.to_owned();
        Ok(Self { keeper, incarnation, welcome, channel, say, commands })
    }

    pub async fn say(&self, message: FromConnector) {
        self.say.send(ConnectorMessage { message: Some(message) }).await.unwrap();
    }

    /// The next command but for policies, which may come at any time; none when the stream ended.
    pub async fn told(&mut self) -> Result<Option<ToConnector>, Status> {
        loop {
            match next(&mut self.commands).await?.and_then(|command| command.command) {
                Some(ToConnector::Policies(_)) => {}
                command => return Ok(command),
            }
        }
    }

    /// The next command that is not about gateways.
    pub async fn told_first(&mut self) -> ToConnector {
        loop {
            match next(&mut self.commands).await.unwrap().and_then(|command| command.command) {
                Some(ToConnector::Gateways(_)) => {}
                Some(command) => return command,
                None => panic!("the stream ended"),
            }
        }
    }

    /// The policies that come next.
    pub async fn told_policies(&mut self) -> SignedPolicyBundle {
        loop {
            match next(&mut self.commands).await.unwrap().and_then(|command| command.command) {
                Some(ToConnector::Policies(signed)) => return signed,
                Some(_) => {}
                None => panic!("the stream ended"),
            }
        }
    }

    /// The next command that is none of the sets, which may come at any time.
    pub async fn told_beside_sets(&mut self) -> ToConnector {
        loop {
            match self.told().await.unwrap().expect("the stream ended") {
                ToConnector::Connections(_) | ToConnector::Gateways(_) => {}
                command => return command,
            }
        }
    }

    pub fn attached(&self) -> AttachedConnector {
        let id = self.keeper.identity().id.clone();
        AttachedConnector { connector_id: id, incarnation: self.incarnation.clone() }
    }
}

/// An attached gateway.
pub struct Gateway {
    pub keeper: Keeper,
    pub welcome: GatewayWelcome,
    pub channel: Channel,
    _say: mpsc::Sender<GatewayMessage>,
    commands: Streaming<GatewayCommand>,
}

impl Gateway {
    pub async fn attach(plane: &Plane, keeper: Keeper) -> Result<Self, Status> {
        Self::attach_in(plane, keeper, "here").await
    }

    pub async fn attach_in(plane: &Plane, keeper: Keeper, region: &str) -> Result<Self, Status> {
        let (say, messages) = mpsc::channel(16);
        let hello = GatewayHello {
            version: "test".to_owned(),
            region: region.to_owned(),
            connector_address: "127.0.0.1:7443".to_owned(),
            client_address: "127.0.0.1:5432".to_owned(),
            channel_bindings: vec![Bytes::from_static(BINDING)],
        };
        say.send(GatewayMessage { message: Some(FromGateway::Hello(hello)) }).await.unwrap();
        let channel = plane.channel(&keeper);
        let mut client = GatewayControlClient::new(channel.clone());
        let mut commands = client.attach(ReceiverStream::new(messages)).await?.into_inner();
        let Some(ToGateway::Welcome(welcome)) = next(&mut commands).await?.and_then(|first| first.command) else {
            panic!("the first command is not Welcome")
        };
        Ok(Self { keeper, welcome, channel, _say: say, commands })
    }

    pub async fn told(&mut self) -> Result<Option<ToGateway>, Status> {
        Ok(next(&mut self.commands).await?.and_then(|command| command.command))
    }

    /// What a client reads that gives this user and database and proves this secret.
    pub async fn authenticate(&self, attempt: Attempt<'_>) -> Outcome {
        let binding = if attempt.plus {
            ChannelBinding::tls_server_end_point(attempt.seen.to_vec())
        } else {
            ChannelBinding::unsupported()
        };
        let mut scram = ScramSha256::new(attempt.secret.as_bytes(), binding);
        let begin = AuthBegin {
            user: attempt.user.to_owned(),
            database: attempt.database.to_owned(),
            mechanism: if attempt.plus { SCRAM_SHA_256_PLUS } else { SCRAM_SHA_256 }.to_owned(),
            client_first: Bytes::copy_from_slice(scram.message()),
            client_address: "192.0.2.7".to_owned(),
            tls: attempt.plus,
            attached: attempt.attached,
            channel_binding: if attempt.plus { Bytes::from_static(BINDING) } else { Bytes::new() },
            client_certificates: Vec::new(),
        };
        let (say, requests) = mpsc::channel(4);
        say.send(AuthRequest { request: Some(Say::Begin(begin)) }).await.unwrap();
        let mut client = GatewayControlClient::new(self.channel.clone());
        let mut answers = client.authenticate(ReceiverStream::new(requests)).await.unwrap().into_inner();
        let answer = next(&mut answers).await.unwrap().unwrap().response.unwrap();
        let Answer::ServerFirst(server_first) = answer else {
            return Outcome { server_first: Bytes::new(), answer, server_is_genuine: false };
        };
        scram.update(&server_first).unwrap();
        let proof = Bytes::copy_from_slice(scram.message());
        say.send(AuthRequest { request: Some(Say::ClientFinal(proof)) }).await.unwrap();
        let answer = next(&mut answers).await.unwrap().unwrap().response.unwrap();
        let server_final = match &answer {
            Answer::Success(success) => success.server_final.clone(),
            Answer::Refused(refused) => refused.server_final.clone(),
            _ => Bytes::new(),
        };
        let server_is_genuine = !server_final.is_empty() && scram.finish(&server_final).is_ok();
        Outcome { server_first, answer, server_is_genuine }
    }
}

/// What a client gives.
#[derive(Clone, Default)]
pub struct Attempt<'a> {
    pub user: &'a str,
    pub database: &'a str,
    pub secret: &'a str,
    pub attached: Vec<AttachedConnector>,
    pub plus: bool,
    /// The hash of the certificate that the client saw.
    pub seen: &'a [u8],
}

impl Grant {
    pub fn attempt(&self, attached: Vec<AttachedConnector>) -> Attempt<'_> {
        Attempt {
            user: self.id.as_str(),
            secret: self.secret.expose_secret(),
            attached,
            seen: BINDING,
            ..Attempt::default()
        }
    }
}

/// How an attempt ended.
pub struct Outcome {
    pub server_first: Bytes,
    pub answer: Answer,
    /// The server proved that it knows the verifier.
    pub server_is_genuine: bool,
}

impl Outcome {
    /// The error's SQLSTATE, message and hint, and which of the refusals it is.
    pub fn refusal(self) -> (&'static str, String, String, String) {
        let (kind, refused) = match self.answer {
            Answer::BadProof(refused) => ("bad_proof", refused),
            Answer::Refused(refused) => ("refused", refused),
            Answer::Malformed(refused) => ("malformed", refused),
            other => panic!("not refused: {other:?}"),
        };
        let error = refused.error.unwrap();
        (kind, error.sqlstate, error.message, error.hint)
    }
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
    timeout(PATIENCE, stream.message()).await.expect("nothing came")
}

/// Waits until something is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let waited = timeout(PATIENCE, async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "never so: {what}");
}
