//! The control stream: who this gateway is, and what it is told.

use crate::{
    session::authenticate::report,
    worker::{Arrival, Common},
};
use postern_peer::Pauses;
use postern_proto::v1::{
    GatewayHeartbeat, GatewayHello, GatewayMessage, gateway_command::Command as Told,
    gateway_control_client::GatewayControlClient, gateway_message::Message,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// Between two attempts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where this gateway is found.
#[derive(Clone, Debug)]
pub struct Advertised {
    /// By connectors.
    pub connectors: String,
    /// By clients.
    pub clients: String,
}

/// Keeps the stream up for ever. `connected` says whether it is.
pub async fn run(
    common: Common,
    workers: Vec<UnboundedSender<Arrival>>,
    advertised: Advertised,
    connected: Arc<AtomicBool>,
) {
    let mut pauses = Pauses::new(SHORTEST_PAUSE, LONGEST_PAUSE);
    loop {
        let attached = attach(&common, &workers, &advertised, &connected).await;
        let was_connected = connected.swap(false, Ordering::Relaxed);
        if was_connected {
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
            () = common.attach_now.notified() => {}
            () = common.stop.cancelled() => return,
        }
    }
}

async fn attach(
    common: &Common,
    workers: &[UnboundedSender<Arrival>],
    advertised: &Advertised,
    connected: &AtomicBool,
) -> Result<(), Status> {
    let (outgoing, messages) = mpsc::channel(16);
    let hello = GatewayHello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        region: common.config.region.clone(),
        connector_address: advertised.connectors.clone(),
        client_address: advertised.clients.clone(),
        channel_bindings: vec![common.certificate.load().channel_binding.clone().into()],
    };
    let say = |message| GatewayMessage { message: Some(message) };
    let gone = |_| Status::unavailable("the control stream was closed");
    outgoing.send(say(Message::Hello(hello))).await.map_err(gone)?;
    let mut control = GatewayControlClient::new(common.channel.clone());
    let mut commands = control.attach(ReceiverStream::new(messages)).await?.into_inner();
    let mut beat = interval(HEARTBEAT_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counter = 0;
    loop {
        tokio::select! {
            command = commands.message() => {
                let Some(command) = command? else { return Ok(()) };
                // One of a newer control plane: it is passed over.
                let Some(command) = command.command else { continue };
                if matches!(command, Told::Welcome(_)) {
                    connected.store(true, Ordering::Relaxed);
                }
                obey(common, workers, command);
            }
            _ = beat.tick() => {
                counter += 1;
                outgoing.send(say(Message::Heartbeat(GatewayHeartbeat { counter }))).await.map_err(gone)?;
            }
            // The control plane is told of it by a new hello.
            () = common.certificate_changed.notified() => return Ok(()),
            () = common.stop.cancelled() => return Ok(()),
        }
    }
}

fn obey(common: &Common, workers: &[UnboundedSender<Arrival>], command: Told) {
    match command {
        Told::Welcome(welcome) => {
            tracing::info!(gateway = welcome.gateway_id, "attached to the control plane");
            for id in welcome.revoked_identity_ids {
                revoke(common, workers, id);
            }
        }
        Told::Heartbeat(_) => {}
        Told::EndSession(end) => common.sessions.end_session(&end.session_id, &report(end.error.unwrap_or_default())),
        Told::EndGrant(end) => common.sessions.end_grant(&end.grant_id, &report(end.error.unwrap_or_default())),
        // Another gateway's client; a key that is not ours is somebody else's.
        Told::Cancel(key) => drop(common.sessions.cancel(key.pid, &key.secret)),
        Told::RevokedIdentity(revoked) => revoke(common, workers, revoked.identity_id),
    }
}

fn revoke(common: &Common, workers: &[UnboundedSender<Arrival>], id: String) {
    if common.revoked.lock().insert(id.clone()) {
        for worker in workers {
            let _ = worker.send(Arrival::Revoked(id.clone()));
        }
    }
}
