//! Who is attached, and what they have to be told: the control plane's only state that is not in the store.
//!
//! Each attached connector and gateway has a bounded queue of commands. One that does not keep up is cut off; when
//! it attaches again, everything is compared with the store, so that no command is ever lost for good. What is
//! said here is said after the change behind it was committed.
//!
//! In reading order: this module (peers and what is said to them), [`event`] (the same said between replicas),
//! [`task`] (what runs beside: replicas' events, refreshed sets, housekeeping), [`bundle`] (what connectors decide by), [`ask`]
//! (questions that connectors answer), [`changes`] (what has changed, for those who wait).

pub mod ask;
pub mod bundle;
pub mod changes;
pub mod event;
pub mod task;

use crate::{
    seal::Sealer,
    store::{Store, StoreError, identities},
    ticket::Signer,
};
use event::Event;
use parking_lot::Mutex;
use postern_proto::v1::{
    AttachedConnector, CancelKey, ClientError, ConnectionHealth, ConnectionSet, ConnectorCommand, EndGrant, EndSession,
    GatewayCommand, GatewaySet, GrantExtension, Revoked, RevokedIdentity, connector_command, gateway_command,
};
use postern_types::{
    id::{GrantId, SessionId},
    time::Micros,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

/// Commands that wait for one peer. More means that it does not read.
pub const QUEUE: usize = 256;

/// Events that wait for the store to take them to other replicas.
const OUTBOX: usize = 4096;

/// A connector's queue.
pub type ConnectorQueue = mpsc::Sender<Result<ConnectorCommand, Status>>;

/// A gateway's queue.
pub type GatewayQueue = mpsc::Sender<Result<GatewayCommand, Status>>;

/// Knows who is attached here. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    /// Opens the database credentials that connectors are told.
    sealer: Arc<Sealer>,
    /// Signs what connectors decide by.
    signer: Arc<Signer>,
    state: Mutex<State>,
    /// The sets of connections and gateways may have changed.
    refresh: Notify,
    /// To other replicas; taken by the task. None on SQLite.
    outbox: Option<mpsc::Sender<Event>>,
    outbox_end: Mutex<Option<mpsc::Receiver<Event>>>,
    /// The outbox was full: others have to compare everything with the store.
    overflowed: AtomicBool,
    /// To callers that wait.
    changes: broadcast::Sender<changes::Change>,
    /// The reviews for which connectors' sessions may have to be told.
    reviews: Mutex<BTreeSet<String>>,
    review_changed: Notify,
    /// Where people find the console.
    public_url: Option<String>,
    /// Takes turns among connectors that serve the same connection.
    turn: AtomicUsize,
    /// Counts questions to connectors.
    questions: AtomicU64,
    /// This process, so that it does not act on its own events twice.
    replica: String,
}

#[derive(Default)]
struct State {
    connectors: HashMap<ConnectorKey, ConnectorPeer>,
    gateways: HashMap<String, GatewayPeer>,
    revoked: HashSet<String>,
}

/// A connector's process: two of them under one identity are two peers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectorKey {
    /// The identity.
    pub id: String,
    /// The process.
    pub incarnation: String,
}

impl ConnectorKey {
    fn of(attached: &AttachedConnector) -> Self {
        Self { id: attached.connector_id.clone(), incarnation: attached.incarnation.clone() }
    }
}

struct ConnectorPeer {
    attachment: String,
    name: String,
    queue: ConnectorQueue,
    connections: ConnectionSet,
    gateways: GatewaySet,
    policies: bundle::Told,
    attached_gateways: Vec<String>,
    health: HashMap<String, ConnectionHealth>,
    live: HashSet<String>,
    questions: ask::Questions,
    _attached: DropGuard,
}

struct GatewayPeer {
    attachment: String,
    region: String,
    queue: GatewayQueue,
    channel_bindings: Vec<bytes::Bytes>,
    _attached: DropGuard,
}

/// What an attached connector looks like from outside.
#[derive(Clone, Debug, Default)]
pub struct LiveConnector {
    /// The identity's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The process.
    pub incarnation: String,
    /// The gateways to which its tunnels are up.
    pub gateways: Vec<String>,
    /// What it said of the databases, by connection; a connection that is missing was not tried yet.
    pub health: HashMap<String, ConnectionHealth>,
    /// How many sessions it carries.
    pub sessions: usize,
}

/// Who is attached here.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Connectors' processes.
    pub connectors: Vec<LiveConnector>,
    /// Gateways' ids.
    pub gateways: Vec<String>,
}

/// What a connector is told when it attaches.
pub struct NewConnector {
    /// Who.
    pub key: ConnectorKey,
    /// Names the control stream.
    pub attachment: String,
    /// The name under which it was enrolled.
    pub name: String,
    /// Where commands go.
    pub queue: ConnectorQueue,
    /// The connections that its welcome holds.
    pub connections: ConnectionSet,
    /// The gateways that its welcome holds.
    pub gateways: GatewaySet,
    /// The policies that its welcome holds.
    pub policies: bundle::Told,
    /// The sessions that it says are live.
    pub live: Vec<String>,
}

impl Hub {
    /// A hub to which nobody is attached. [`task::run`] has to run beside it.
    ///
    /// # Errors
    /// When the revoked identities cannot be read.
    pub async fn new(
        store: Store,
        sealer: Arc<Sealer>,
        signer: Arc<Signer>,
        public_url: Option<String>,
    ) -> Result<Self, StoreError> {
        let (outbox, outbox_end) = if store.postgres().is_some() {
            let (sender, receiver) = mpsc::channel(OUTBOX);
            (Some(sender), Some(receiver))
        } else {
            (None, None)
        };
        let hub = Self {
            inner: Arc::new(Inner {
                store,
                sealer,
                signer,
                state: Mutex::default(),
                refresh: Notify::new(),
                outbox,
                outbox_end: Mutex::new(outbox_end),
                overflowed: AtomicBool::new(false),
                changes: broadcast::Sender::new(changes::BEHIND),
                reviews: Mutex::default(),
                review_changed: Notify::new(),
                public_url,
                turn: AtomicUsize::new(0),
                questions: AtomicU64::new(1),
                replica: ulid::Ulid::generate().to_string(),
            }),
        };
        hub.load_revoked().await?;
        Ok(hub)
    }

    async fn load_revoked(&self) -> Result<(), StoreError> {
        let mut tx = self.inner.store.read().await?;
        let revoked = identities::revoked(&mut tx, Micros::now()).await?;
        // Added, never taken away: an identity is revoked for good.
        self.inner.state.lock().revoked.extend(revoked);
        Ok(())
    }

    /// Ends all sessions of a grant, wherever they are.
    pub fn end_grant(&self, grant: &GrantId, error: ClientError) {
        self.tell(Event::EndGrant { grant: grant.to_string(), error: error.into() });
    }

    /// The sessions of a grant end later, wherever they are.
    pub fn extend_grant(&self, grant: &GrantId, ends_at: Micros) {
        self.tell(Event::GrantExtended { grant: grant.to_string(), ends_at });
    }

    /// Ends a session, wherever it is.
    pub fn end_session(&self, session: &SessionId, error: ClientError) {
        self.tell(Event::EndSession { session: session.to_string(), error: error.into() });
    }

    /// Connectors are told of their connections and of what they decide by, those of them for which anything differs.
    pub fn connections_changed(&self) {
        self.tell(Event::SetsChanged);
    }

    /// Cuts a connector or gateway off, and has the gateways close its tunnels.
    pub fn identity_revoked(&self, id: &str) {
        self.tell(Event::IdentityRevoked { id: id.to_owned() });
    }

    /// Passes a cancel request on to the other gateways of the region of the one that it came to; without effect
    /// when that one is not attached here.
    pub fn cancel(&self, from: &str, key: &CancelKey) {
        let region = self.inner.state.lock().gateways.get(from).map(|gateway| gateway.region.clone());
        if let Some(region) = region {
            self.tell(Event::Cancel { from: from.to_owned(), region, pid: key.pid, secret: key.secret.to_vec() });
        }
    }

    fn tell(&self, event: Event) {
        self.act(&event);
        if let Some(outbox) = &self.inner.outbox
            && outbox.try_send(event).is_err()
        {
            self.inner.overflowed.store(true, Ordering::Release);
        }
    }

    /// Does what an event says, to the peers that are attached here.
    fn act(&self, event: &Event) {
        match event {
            Event::EndGrant { grant, error } => {
                let end = EndGrant { grant_id: grant.clone(), error: Some(error.clone().into()) };
                self.tell_connectors(|_| connector_command::Command::EndGrant(end.clone()));
                self.tell_gateways(&gateway_command::Command::EndGrant(end));
            }
            Event::EndSession { session, error } => {
                let end = EndSession { session_id: session.clone(), error: Some(error.clone().into()) };
                self.tell_connectors(|_| connector_command::Command::EndSession(end.clone()));
                self.tell_gateways(&gateway_command::Command::EndSession(end));
            }
            Event::GrantExtended { grant, ends_at } => {
                self.tell_connectors(|key| self.extension(key, grant, *ends_at));
            }
            Event::SetsChanged => self.inner.refresh.notify_one(),
            Event::IdentityRevoked { id } => self.cut_off(id),
            Event::Cancel { from, region, pid, secret } => {
                let command = gateway_command::Command::Cancel(CancelKey { pid: *pid, secret: secret.clone().into() });
                for (id, gateway) in &self.inner.state.lock().gateways {
                    if id != from && gateway.region == *region {
                        // A gateway that is behind misses it: a cancel request promises nothing.
                        let _ = gateway.queue.try_send(Ok(GatewayCommand { command: Some(command.clone()) }));
                    }
                }
            }
            Event::Changed { subject, ids } => self.note_changes(*subject, ids),
            // Compared with the store by the task.
            Event::Recheck => {}
        }
    }

    /// That a grant ends later, for that connector.
    fn extension(&self, key: &ConnectorKey, grant: &str, ends_at: Micros) -> connector_command::Command {
        let extension = GrantExtension {
            grant_id: grant.to_owned(),
            ends_at_us: ends_at.0,
            connector_id: key.id.clone(),
            connector_incarnation: key.incarnation.clone(),
        };
        connector_command::Command::GrantExtended(self.inner.signer.sign_extension(&extension))
    }

    fn tell_connectors(&self, command: impl Fn(&ConnectorKey) -> connector_command::Command) {
        self.inner.state.lock().connectors.retain(|key, peer| {
            let sent = peer.queue.try_send(Ok(ConnectorCommand { command: Some(command(key)) })).is_ok();
            if !sent {
                tracing::warn!(connector = %key.id, "the connector does not read its commands and is cut off");
            }
            sent
        });
        self.count();
    }

    fn tell_gateways(&self, command: &gateway_command::Command) {
        self.inner.state.lock().gateways.retain(|id, peer| {
            let sent = peer.queue.try_send(Ok(GatewayCommand { command: Some(command.clone()) })).is_ok();
            if !sent {
                tracing::warn!(gateway = %id, "the gateway does not read its commands and is cut off");
            }
            sent
        });
        self.count();
    }

    fn cut_off(&self, id: &str) {
        let refused = || Status::permission_denied("the identity was revoked");
        {
            let mut state = self.inner.state.lock();
            state.revoked.insert(id.to_owned());
            state.connectors.retain(|key, peer| {
                if key.id == id {
                    let revoked = connector_command::Command::Revoked(Revoked {});
                    let _ = peer.queue.try_send(Ok(ConnectorCommand { command: Some(revoked) }));
                    let _ = peer.queue.try_send(Err(refused()));
                }
                key.id != id
            });
            if let Some(gateway) = state.gateways.remove(id) {
                let _ = gateway.queue.try_send(Err(refused()));
            }
        }
        let revoked = RevokedIdentity { identity_id: id.to_owned() };
        self.tell_gateways(&gateway_command::Command::RevokedIdentity(revoked));
        // A gateway that is no more has to leave the connectors' set.
        self.inner.refresh.notify_one();
    }

    /// Whether an identity was revoked, as far as is known here.
    #[must_use]
    pub fn is_revoked(&self, id: &str) -> bool {
        self.inner.state.lock().revoked.contains(id)
    }

    /// The ids of revoked identities whose certificates might still be taken for good.
    #[must_use]
    pub fn revoked(&self) -> Vec<String> {
        self.inner.state.lock().revoked.iter().cloned().collect()
    }

    /// A connector attached. An older stream of the same process ends. The token is cancelled once the hub has let
    /// go of this one.
    #[must_use]
    pub fn attach_connector(&self, new: NewConnector) -> CancellationToken {
        let gone = CancellationToken::new();
        let peer = ConnectorPeer {
            attachment: new.attachment,
            name: new.name,
            queue: new.queue,
            connections: new.connections,
            gateways: new.gateways,
            policies: new.policies,
            attached_gateways: Vec::new(),
            health: HashMap::new(),
            live: new.live.into_iter().collect(),
            questions: ask::Questions::default(),
            _attached: gone.clone().drop_guard(),
        };
        self.inner.state.lock().connectors.insert(new.key, peer);
        self.count();
        // What changed since its welcome was put together.
        self.inner.refresh.notify_one();
        gone
    }

    /// A connector's stream ended; without effect when a newer one took its place.
    pub fn detach_connector(&self, key: &ConnectorKey, attachment: &str) {
        let mut state = self.inner.state.lock();
        if state.connectors.get(key).is_some_and(|peer| peer.attachment == attachment) {
            state.connectors.remove(key);
        }
        drop(state);
        self.count();
    }

    /// A gateway attached. An older stream of it ends. The token is cancelled once the hub has let go of this one.
    #[must_use]
    pub fn attach_gateway(
        &self,
        id: &str,
        attachment: String,
        region: String,
        queue: GatewayQueue,
        channel_bindings: Vec<bytes::Bytes>,
    ) -> CancellationToken {
        let gone = CancellationToken::new();
        let peer = GatewayPeer { attachment, region, queue, channel_bindings, _attached: gone.clone().drop_guard() };
        self.inner.state.lock().gateways.insert(id.to_owned(), peer);
        self.count();
        self.tell(Event::SetsChanged);
        gone
    }

    /// A gateway's stream ended; without effect when a newer one took its place.
    pub fn detach_gateway(&self, id: &str, attachment: &str) {
        let mut state = self.inner.state.lock();
        if state.gateways.get(id).is_some_and(|peer| peer.attachment == attachment) {
            state.gateways.remove(id);
        }
        drop(state);
        self.count();
    }

    fn count(&self) {
        let (connectors, gateways) = {
            let state = self.inner.state.lock();
            (state.connectors.len(), state.gateways.len())
        };
        // Far below the numbers that a float cannot hold.
        #[allow(clippy::cast_precision_loss)]
        let gauge =
            |kind: &'static str, n: usize| metrics::gauge!("postern_attached_peers", "kind" => kind).set(n as f64);
        gauge("connector", connectors);
        gauge("gateway", gateways);
    }

    /// Changes what is known of an attached connector; without effect when it is not, or no longer.
    fn with_connector(&self, key: &ConnectorKey, change: impl FnOnce(&mut ConnectorPeer)) {
        if let Some(peer) = self.inner.state.lock().connectors.get_mut(key) {
            change(peer);
        }
    }

    /// A session lives at a connector.
    pub fn session_opened(&self, key: &ConnectorKey, session: &str) {
        self.with_connector(key, |peer| {
            peer.live.insert(session.to_owned());
        });
    }

    /// A session lives no more.
    pub fn session_closed(&self, key: &ConnectorKey, session: &str) {
        self.with_connector(key, |peer| {
            peer.live.remove(session);
        });
    }

    /// To which gateways a connector's tunnels are up.
    pub fn set_gateways(&self, key: &ConnectorKey, gateways: Vec<String>) {
        self.with_connector(key, |peer| peer.attached_gateways = gateways);
    }

    /// What a connector says of a database. Only connections that it serves are kept.
    pub fn set_health(&self, key: &ConnectorKey, health: ConnectionHealth) {
        self.with_connector(key, |peer| {
            if peer.serves(&health.connection) {
                peer.health.insert(health.connection.clone(), health);
            }
        });
    }

    /// The hashes of the certificates that a gateway's clients may see; none when it is not attached here.
    #[must_use]
    pub fn channel_bindings(&self, gateway: &str) -> Option<Vec<bytes::Bytes>> {
        self.inner.state.lock().gateways.get(gateway).map(|peer| peer.channel_bindings.clone())
    }

    /// Of connectors with a tunnel at the client's gateway, one that is attached here, is of that name and serves
    /// the connection. One that reached the database last time goes before one that did not.
    #[must_use]
    pub fn choose(&self, attached: &[AttachedConnector], name: &str, connection: &str) -> Option<AttachedConnector> {
        let state = self.inner.state.lock();
        let fitting: Vec<_> = attached
            .iter()
            .filter_map(|candidate| {
                let peer = state.connectors.get(&ConnectorKey::of(candidate))?;
                let down = peer.health.get(connection).is_some_and(|health| !health.reachable);
                (peer.name == name && peer.serves(connection)).then_some((down, candidate))
            })
            .collect();
        let up: Vec<_> = fitting.iter().filter(|(down, _)| !down).collect();
        let turn = self.inner.turn.fetch_add(1, Ordering::Relaxed);
        let (_, chosen) = if up.is_empty() {
            fitting.get(turn.checked_rem(fitting.len())?)?
        } else {
            up.get(turn.checked_rem(up.len())?)?
        };
        Some((*chosen).clone())
    }

    /// Whether one of these has a tunnel, and no control stream here.
    #[must_use]
    pub fn misses_any(&self, attached: &[AttachedConnector]) -> bool {
        let state = self.inner.state.lock();
        attached.iter().any(|candidate| !state.connectors.contains_key(&ConnectorKey::of(candidate)))
    }

    /// Who is attached here.
    #[must_use]
    pub fn live(&self) -> Live {
        let state = self.inner.state.lock();
        let connectors = state.connectors.iter().map(|(key, peer)| LiveConnector {
            id: key.id.clone(),
            name: peer.name.clone(),
            incarnation: key.incarnation.clone(),
            gateways: peer.attached_gateways.clone(),
            health: peer.health.clone(),
            sessions: peer.live.len(),
        });
        Live { connectors: connectors.collect(), gateways: state.gateways.keys().cloned().collect() }
    }

    /// Ends all control streams: peers go to another replica, or wait for this one.
    pub fn close(&self) {
        self.end_changes();
        let mut state = self.inner.state.lock();
        for (_, peer) in state.connectors.drain() {
            let _ = peer.queue.try_send(Err(Status::unavailable("the control plane is shutting down")));
        }
        for (_, peer) in state.gateways.drain() {
            let _ = peer.queue.try_send(Err(Status::unavailable("the control plane is shutting down")));
        }
    }
}

impl ConnectorPeer {
    fn serves(&self, connection: &str) -> bool {
        self.connections.connections.iter().any(|spec| spec.name == connection)
    }
}
