//! The control stream: the lease, the connections to serve, the gateways to attach to, and what is to end.

use crate::{
    gates::Bound,
    registry::End,
    scan, suited, trial,
    worker::{Common, Connection},
};
use postern_peer::Pauses;
use postern_proto::v1::{
    ClientError, ConnectionSet, ConnectionSpec, ConnectorHello, ConnectorMessage, GatewaySet, GrantExtension,
    Heartbeat, SignedGrantExtension, SignedPolicyBundle, connector_command::Command,
    connector_control_client::ConnectorControlClient, connector_message::Message,
};
use postern_types::time::Micros;
use postern_wire::error::Report;
use secrecy::SecretString;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        watch,
    },
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

/// The longest command: a policy bundle of 4 MiB of text, and the tags of the connections.
const MAX_COMMAND_BYTES: usize = 64 << 20;

const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// Between two attempts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Says things to the control plane. While there is no stream they are dropped: each new stream begins with
/// the whole state.
#[derive(Clone, Debug)]
pub struct Control {
    messages: UnboundedSender<Message>,
    connected: Arc<AtomicBool>,
}

impl Control {
    /// And the other end, for [`run`].
    #[must_use]
    pub fn new() -> (Self, UnboundedReceiver<Message>) {
        let (messages, received) = mpsc::unbounded_channel();
        (Self { messages, connected: Arc::default() }, received)
    }

    /// Says something.
    pub fn say(&self, message: Message) {
        let _ = self.messages.send(message);
    }

    /// Whether the stream is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}

/// What the control stream tells the rest.
pub struct Told {
    /// Addresses of gateways: those of the configuration until the control plane has named its own.
    pub gateways: watch::Sender<Vec<String>>,
    /// To the control plane.
    pub channel: Channel,
}

/// Keeps the stream up for ever.
pub async fn run(common: Common, told: Told, mut messages: UnboundedReceiver<Message>) {
    let mut pauses = Pauses::new(SHORTEST_PAUSE, LONGEST_PAUSE);
    let mut attachments = None;
    loop {
        let attached = tokio::select! {
            attached = attach(&common, &told, &mut messages, &mut attachments) => attached,
            () = common.stop.cancelled() => return,
        };
        if common.control.connected.swap(false, Ordering::Relaxed) {
            pauses.reset();
        }
        let after = pauses.after_failure();
        match attached {
            Ok(()) => tracing::info!(?after, "the control plane closed the control stream"),
            Err(status) => {
                tracing::warn!(error = %status.message(), ?after, "no control stream to the control plane")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(after) => {}
            () = common.stop.cancelled() => return,
        }
    }
}

async fn attach(
    common: &Common,
    told: &Told,
    messages: &mut UnboundedReceiver<Message>,
    attachments: &mut Option<Message>,
) -> Result<(), Status> {
    // What was said meanwhile is in the hello, but for the attachments.
    while let Ok(message) = messages.try_recv() {
        remember(attachments, &message);
    }
    let (outgoing, stream) = mpsc::channel(64);
    let say = |message| ConnectorMessage { message: Some(message) };
    let gone = |_| Status::unavailable("the control stream was closed");
    let hello = ConnectorHello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        incarnation: common.incarnation.to_string(),
        live_sessions: common.registry.live(),
    };
    outgoing.send(say(Message::Hello(hello))).await.map_err(gone)?;
    if let Some(message) = attachments {
        outgoing.send(say(message.clone())).await.map_err(gone)?;
    }
    let mut control = ConnectorControlClient::new(told.channel.clone()).max_decoding_message_size(MAX_COMMAND_BYTES);
    let mut commands = control.attach(ReceiverStream::new(stream)).await?.into_inner();
    let mut beat = interval(HEARTBEAT_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counter = 0;
    let mut lease_seconds = 0;
    loop {
        tokio::select! {
            command = commands.message() => {
                let Some(command) = command? else { return Ok(()) };
                // One of a newer control plane: it is passed over.
                let Some(command) = command.command else { continue };
                if let Command::Welcome(welcome) = &command {
                    lease_seconds = welcome.lease_seconds;
                    common.control.connected.store(true, Ordering::Relaxed);
                }
                common.lease.renew(lease_seconds);
                obey(common, told, command).await;
            }
            Some(message) = messages.recv() => {
                remember(attachments, &message);
                outgoing.send(say(message)).await.map_err(gone)?;
            }
            _ = beat.tick() => {
                counter += 1;
                outgoing.send(say(Message::Heartbeat(Heartbeat { counter }))).await.map_err(gone)?;
            }
        }
    }
}

fn remember(attachments: &mut Option<Message>, message: &Message) {
    if matches!(message, Message::GatewayAttachments(_)) {
        *attachments = Some(message.clone());
    }
}

/// Cancel safe: what a command says is done as a whole or not at all, and the next stream begins with everything.
async fn obey(common: &Common, told: &Told, command: Command) {
    match command {
        Command::Welcome(welcome) => {
            tracing::info!(connector = welcome.name, "attached to the control plane");
            // First: a connection is not served before it is known what holds there.
            if let Some(signed) = welcome.policies {
                decide_by(common, signed).await;
            }
            serve(common, welcome.connections.unwrap_or_default());
            attach_to(told, welcome.gateways.unwrap_or_default());
            common.reviews.attached();
        }
        Command::Heartbeat(_) => {}
        Command::Policies(signed) => decide_by(common, signed).await,
        Command::Connections(set) => serve(common, set),
        Command::Gateways(set) => attach_to(told, set),
        Command::EndSession(ended) => common.registry.end_session(&ended.session_id, &end("killed", ended.error)),
        Command::EndGrant(ended) => common.registry.end_grant(&ended.grant_id, &end("revoked", ended.error)),
        Command::GrantExtended(signed) => extend(common, &signed),
        // It takes a while, and says its answer itself.
        Command::Analyse(asked) => drop(tokio::spawn(trial::answer(common.clone(), asked))),
        Command::Scan(asked) => drop(tokio::spawn(scan::answer(common.clone(), asked))),
        Command::CheckMasks(asked) => drop(tokio::spawn(suited::answer(common.clone(), asked))),
        Command::ReviewStands(stands) => common.reviews.stands(stands),
        Command::ReviewClaimed(claimed) => {
            common.reviews.claimed(claimed, &common.keeper.identity().ticket_keys);
        }
        Command::Drain(_) => common.registry.drain(),
        Command::Revoked(_) => {
            tracing::error!("this connector's identity was revoked; all sessions end");
            let hint = "Ask for access again; another connector may serve this database.";
            let report = Report::new("57P01", "the connector's identity was revoked", hint);
            common.registry.drain();
            common.registry.end_all(&End { reason: "revoked", report });
            common.revoked.cancel();
        }
    }
}

/// Has a grant end later. What is not the control plane's word changes nothing.
fn extend(common: &Common, signed: &SignedGrantExtension) {
    match common.verifier.extension(signed, &common.keeper.identity().ticket_keys) {
        Ok(GrantExtension { grant_id, ends_at_us, .. }) => {
            let ends_at = Micros(ends_at_us);
            // First what its sessions count by, so that none of it is forgotten before them.
            common.budgets.extend(&grant_id, ends_at);
            common.masked.probes.extend(&grant_id, ends_at);
            common.registry.extend_grant(&grant_id, ends_at);
        }
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a grant's later end was refused"),
    }
}

fn end(reason: &'static str, error: Option<ClientError>) -> End {
    let ClientError { sqlstate, message, detail, hint } = error.unwrap_or_else(|| ClientError {
        sqlstate: "57P01".to_owned(),
        message: "the session was ended by an administrator".to_owned(),
        ..ClientError::default()
    });
    End { reason, report: Report { sqlstate, message, detail, hint } }
}

fn serve(common: &Common, set: ConnectionSet) {
    let bound = |spec: &ConnectionSpec| {
        let most = usize::try_from(spec.max_backends).ok().filter(|most| *most > 0);
        (spec.name.clone(), Bound { most, wait: Duration::from_millis(spec.queue_wait_ms.into()) })
    };
    common.gates.set(set.connections.iter().map(bound));
    let secret = |(login, password): (String, String)| (login, SecretString::from(password));
    let connection = |spec: ConnectionSpec| {
        let logins = spec.logins.into_iter().map(secret).collect();
        (spec.name, Connection { url: spec.database_url, logins, ephemeral: spec.ephemeral })
    };
    let connections = set.connections.into_iter().map(connection).collect();
    common.connections.store(Arc::new(connections));
    common.roles.look();
}

/// Takes a policy bundle, or keeps the one that there is.
async fn decide_by(common: &Common, signed: SignedPolicyBundle) {
    let (rules, keys) = (Arc::clone(&common.rules), common.keeper.identity().ticket_keys.clone());
    // Loading a large set takes a while: not on a thread that serves others.
    match tokio::task::spawn_blocking(move || rules.take(&signed, &keys)).await {
        Ok(Ok(rules)) => {
            tracing::info!(version = rules.version, hash = rules.policies.version(), "policies are in force");
        }
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "policies were refused; those before them stay")
        }
        Err(error) => tracing::error!(%error, "policies could not be loaded; those before them stay"),
    }
}

fn attach_to(told: &Told, set: GatewaySet) {
    let mut addresses: Vec<_> = set.gateways.into_iter().map(|gateway| gateway.address).collect();
    addresses.sort();
    addresses.dedup();
    // An empty set counts too: the last gateway was revoked, and its sessions end with its tunnels.
    told.gateways.send_if_modified(|current| {
        let changed = *current != addresses;
        *current = addresses;
        changed
    });
}
