//! What runs beside the hub: events of other replicas, the sets that connectors are told, housekeeping.

use super::{
    ConnectorKey, Hub, bundle,
    event::{self, Event},
};
use crate::{
    credentials,
    seal::Sealer,
    store::{Store, StoreError, bus, connections, identities, sessions},
};
use postern_api::document::{ConnectionDocument, DEFAULT_QUEUE_WAIT, RoleMode};
use postern_proto::v1::{
    ClientError, ConnectionSet, ConnectionSpec, ConnectorCommand, EndSession, GatewayAddress, GatewaySet, PolicyBundle,
    connector_command::Command,
};
use postern_types::{
    id::SessionId,
    time::{Micros, parse_duration},
};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long the store is left alone after it failed.
const RETRY: Duration = Duration::from_secs(1);

/// How often sessions that never opened are looked for, and sets are compared without cause.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// A session that was authorized so long ago and never opened never will be: its ticket is long void.
const UNOPENED: Duration = Duration::from_secs(120);

/// Runs until `stop`.
pub async fn run(hub: Hub, stop: CancellationToken) {
    let outbox = hub.inner.outbox_end.lock().take();
    let work = async {
        tokio::join!(
            publish(&hub, outbox),
            listen(&hub),
            refresh(&hub),
            hub.tell_changes(),
            hub.tell_waiting(),
            keep_house(&hub)
        );
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

async fn publish(hub: &Hub, outbox: Option<mpsc::Receiver<Event>>) {
    let Some(mut outbox) = outbox else { return };
    while let Some(event) = outbox.recv().await {
        deliver(hub, &event).await;
        if hub.inner.overflowed.swap(false, Ordering::AcqRel) {
            deliver(hub, &Event::Recheck).await;
        }
    }
}

/// Publishes, however long the store takes to come back.
async fn deliver(hub: &Hub, event: &Event) {
    let Some(payload) = event::encode(&hub.inner.replica, event) else { return };
    while let Err(error) = bus::publish(&hub.inner.store, &payload).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "other replicas cannot be told; trying again");
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen(hub: &Hub) {
    loop {
        match listen_once(hub).await {
            // SQLite: there is nobody else.
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "other replicas cannot be heard; trying again"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn listen_once(hub: &Hub) -> Result<(), StoreError> {
    let Some(mut listener) = bus::Listener::start(&hub.inner.store).await? else { return Ok(()) };
    // What was said while nobody listened.
    recheck(hub).await?;
    loop {
        let Some(payload) = listener.next().await? else {
            recheck(hub).await?;
            continue;
        };
        match event::decode(&payload) {
            Some((replica, _)) if replica == hub.inner.replica => {}
            Some((_, Event::Recheck)) => recheck(hub).await?,
            Some((_, event)) => hub.act(&event),
            None => tracing::warn!("another replica said what this version does not understand"),
        }
    }
}

/// Compares with the store all that may have been missed.
async fn recheck(hub: &Hub) -> Result<(), StoreError> {
    let known: Vec<String> = hub.revoked();
    hub.load_revoked().await?;
    for id in hub.revoked() {
        if !known.contains(&id) {
            hub.cut_off(&id);
        }
    }
    let live: Vec<(ConnectorKey, Vec<String>)> = {
        let state = hub.inner.state.lock();
        state.connectors.iter().map(|(key, peer)| (key.clone(), peer.live.iter().cloned().collect())).collect()
    };
    for (key, sessions) in live {
        compare(hub, &key, &sessions).await?;
    }
    hub.inner.refresh.notify_one();
    hub.missed_changes().await
}

/// Ends those of a connector's live sessions that should not be, and says of which the grant ends later than their
/// tickets may say.
///
/// # Errors
/// When the store fails.
pub async fn compare(hub: &Hub, key: &ConnectorKey, live: &[String]) -> Result<(), StoreError> {
    if live.is_empty() {
        return Ok(());
    }
    let now = Micros::now();
    let mut tx = hub.inner.store.read().await?;
    let open = sessions::open_of_connector(&mut tx, &key.id).await?;
    drop(tx);
    for session in live {
        let row = open.iter().find(|row| row.id.as_str() == session);
        match row.map_or_else(|| Some(ended()), |row| over(row, now)) {
            Some(error) => hub.end_at(key, session, error),
            None => {
                if let Some(row) = row.filter(|row| row.grant_extended) {
                    hub.say_to(key, hub.extension(key, row.grant_id.as_str(), row.grant_ends_at));
                }
            }
        }
    }
    Ok(())
}

/// What the client of a session reads whose grant is over; none while it is not.
#[must_use]
pub fn over(session: &sessions::OpenSession, now: Micros) -> Option<ClientError> {
    let message = match session.grant_revoked_at {
        Some(at) => format!("the grant was revoked at {at}"),
        None if session.grant_is_over(now) => format!("the grant expired at {}", session.grant_ends_at),
        None => return None,
    };
    Some(ClientError {
        sqlstate: "57P01".to_owned(),
        message,
        detail: String::new(),
        hint: "`postern request` asks for access again".to_owned(),
    })
}

/// What the client of a session reads that was ended while nobody could tell it.
#[must_use]
pub fn ended() -> ClientError {
    ClientError {
        sqlstate: "57P01".to_owned(),
        message: "the session was ended".to_owned(),
        detail: String::new(),
        hint: "connect again; `postern grants` shows whether the grant is still open".to_owned(),
    }
}

async fn refresh(hub: &Hub) {
    loop {
        hub.inner.refresh.notified().await;
        while let Err(error) = hub.refresh_sets().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "connectors cannot be told of their connections; trying again"
            );
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl Hub {
    /// Ends a session at the one connector where it lives.
    pub(crate) fn end_at(&self, key: &ConnectorKey, session: &str, error: ClientError) {
        let end = EndSession { session_id: session.to_owned(), error: Some(error) };
        self.say_to(key, Command::EndSession(end));
    }

    /// Says something to one connector, if it is attached here.
    fn say_to(&self, key: &ConnectorKey, command: Command) {
        let command = ConnectorCommand { command: Some(command) };
        let mut state = self.inner.state.lock();
        let sent = state.connectors.get(key).is_none_or(|peer| peer.queue.try_send(Ok(command)).is_ok());
        if !sent {
            state.connectors.remove(key);
        }
    }

    /// Tells each connector what it decides by, its connections and gateways, where they differ from what it was told
    /// last.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn refresh_sets(&self) -> Result<(), StoreError> {
        let keys: Vec<(ConnectorKey, String, i64)> = {
            let state = self.inner.state.lock();
            let peers = state.connectors.iter();
            peers.map(|(key, peer)| (key.clone(), peer.name.clone(), peer.policies.revision())).collect()
        };
        for (key, name, revision) in keys {
            let sets = sets(&self.inner.store, &self.inner.sealer, &key, &name, Some(revision)).await?;
            let Sets { connections, gateways, policies } = sets;
            let mut state = self.inner.state.lock();
            let Some(peer) = state.connectors.get_mut(&key) else { continue };
            let mut sent = true;
            // First: a connection is not served before it is known what holds there.
            if let Some(bundle) = policies
                && peer.policies.replace(&bundle)
            {
                let command = Command::Policies(self.inner.signer.sign_policies(&bundle));
                sent &= peer.queue.try_send(Ok(ConnectorCommand { command: Some(command) })).is_ok();
            }
            if peer.connections != connections {
                peer.health.retain(|name, _| connections.connections.iter().any(|spec| spec.name == *name));
                peer.connections = connections.clone();
                let command = ConnectorCommand { command: Some(Command::Connections(connections)) };
                sent &= peer.queue.try_send(Ok(command)).is_ok();
            }
            if peer.gateways != gateways {
                peer.gateways = gateways.clone();
                let command = ConnectorCommand { command: Some(Command::Gateways(gateways)) };
                sent &= peer.queue.try_send(Ok(command)).is_ok();
            }
            if !sent {
                state.connectors.remove(&key);
            }
        }
        Ok(())
    }
}

/// What a connector is told.
#[derive(Debug)]
pub struct Sets {
    /// The connections that it serves.
    pub connections: ConnectionSet,
    /// The gateways that it should attach to.
    pub gateways: GatewaySet,
    /// What it decides by; none where that is of the revision that was asked about.
    pub policies: Option<PolicyBundle>,
}

/// What the connector of that name is told, all of it at one moment. `known` is the revision of policies that it was
/// told of last.
///
/// # Errors
/// When the store fails.
pub async fn sets(
    store: &Store,
    sealer: &Sealer,
    key: &ConnectorKey,
    connector: &str,
    known: Option<i64>,
) -> Result<Sets, StoreError> {
    let mut tx = store.read().await?;
    let connections = connections::of_connector(&mut tx, connector).await?;
    let policies = bundle::bundle(&mut tx, key, &connections, known).await?;
    let mut logins = credentials::for_connector(&mut tx, sealer, connector).await?;
    let gateways = identities::reachable_gateways(&mut tx, Micros::now()).await?;
    let mut spec = |row: connections::ConnectionRow| ConnectionSpec {
        logins: logins.remove(row.name()).unwrap_or_default(),
        max_backends: row.document.max_backends.unwrap_or(0),
        queue_wait_ms: queue_wait_ms(&row.document),
        ephemeral: row.document.roles.values().any(|role| role.mode == RoleMode::Ephemeral),
        name: row.document.name,
        database_url: row.document.database,
    };
    let address =
        |row: identities::IdentityRow| Some(GatewayAddress { gateway_id: row.id, address: row.connector_address? });
    Ok(Sets {
        connections: ConnectionSet { connections: connections.into_iter().map(&mut spec).collect() },
        gateways: GatewaySet { gateways: gateways.into_iter().filter_map(address).collect() },
        policies,
    })
}

fn queue_wait_ms(document: &ConnectionDocument) -> u32 {
    // Checked when it was applied. What cannot be read waits for nothing.
    let wait = parse_duration(document.queue_wait.as_deref().unwrap_or(DEFAULT_QUEUE_WAIT)).unwrap_or_default();
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}

async fn keep_house(hub: &Hub) {
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        hub.inner.refresh.notify_one();
        if let Err(error) = end_forgotten(&hub.inner.store).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "forgotten sessions cannot be ended");
        }
    }
}

/// Ends in the store the sessions that never opened, and those whose grant is over and whose connector did not
/// say so: it is gone, and when it comes back it is told.
async fn end_forgotten(store: &Store) -> Result<(), StoreError> {
    let now = Micros::now();
    let before = Micros(now.0.saturating_sub(i64::try_from(UNOPENED.as_micros()).unwrap_or(i64::MAX)));
    let mut tx = store.read().await?;
    let forgotten: Vec<(SessionId, &'static str)> = sessions::forgotten(&mut tx, before).await?;
    drop(tx);
    if forgotten.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    for (id, reason) in &forgotten {
        sessions::end(&mut tx, id, reason, now).await?;
    }
    tx.commit().await
}
