//! Which gateways there are, and to which of them tunnels are up.

use crate::{
    control::Control,
    tunnels::{Event, Wanted},
};
use postern_proto::v1::{GatewayAttachments, connector_message::Message};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Threads of one gateway are at most this many, whatever it says.
const MAX_GATEWAY_WORKERS: usize = 256;

/// Keeps the set of tunnels as `addresses` says, for ever.
pub async fn run(
    mut addresses: watch::Receiver<Vec<String>>,
    threads: Vec<mpsc::UnboundedSender<Wanted>>,
    control: Control,
    stop: CancellationToken,
) {
    let (events, mut received) = mpsc::unbounded_channel();
    let mut gateways: HashMap<String, CancellationToken> = HashMap::new();
    let mut up: BTreeMap<(String, usize), String> = BTreeMap::new();
    let mut asked: BTreeSet<(String, usize)> = BTreeSet::new();
    let want = |address: &str, gateway_worker: usize, token: &CancellationToken, next: usize| {
        let wanted =
            Wanted { address: address.to_owned(), gateway_worker, stop: token.clone(), events: events.clone() };
        if let Some(thread) = threads.get(next % threads.len().max(1)) {
            // The thread ends only with the process.
            let _ = thread.send(wanted);
        }
    };
    loop {
        let now: BTreeSet<String> = addresses.borrow_and_update().iter().cloned().collect();
        gateways.retain(|address, token| {
            let stays = now.contains(address);
            if !stays {
                token.cancel();
                asked.retain(|(asked, _)| asked != address);
            }
            stays
        });
        for address in &now {
            if !gateways.contains_key(address) {
                let token = stop.child_token();
                want(address, 0, &token, asked.len());
                asked.insert((address.clone(), 0));
                gateways.insert(address.clone(), token);
            }
        }
        tokio::select! {
            changed = addresses.changed() => if changed.is_err() { return },
            Some(event) = received.recv() => {
                match event {
                    Event::Up { address, gateway_worker, gateway_id, workers } => {
                        for other in 1..workers.min(MAX_GATEWAY_WORKERS) {
                            if let Some(token) = gateways.get(&address)
                                && asked.insert((address.clone(), other))
                            {
                                want(&address, other, token, asked.len() - 1);
                            }
                        }
                        up.insert((address, gateway_worker), gateway_id);
                    }
                    Event::Down { address, gateway_worker } => drop(up.remove(&(address, gateway_worker))),
                }
                let gateway_ids: BTreeSet<_> = up.values().cloned().collect();
                metrics::gauge!("postern_connector_gateways").set(gateway_ids.len() as f64);
                control.attached(GatewayAttachments { gateway_ids: gateway_ids.into_iter().collect() });
            }
            () = stop.cancelled() => return,
        }
    }
}

impl Control {
    fn attached(&self, attachments: GatewayAttachments) {
        self.say(Message::GatewayAttachments(attachments));
    }
}
