//! The connectors' tunnels of one thread.

use crate::worker::Worker;
use postern_peer::{Kind, hello, tls};
use postern_proto::{
    TUNNEL_ALPN,
    v1::{AttachedConnector, TunnelHello, TunnelWelcome},
};
use postern_tunnel::{Mux, Role};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{io::BufReader, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

/// To shake hands and say hello.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Tunnel {
    mux: Mux,
    close: CancellationToken,
    /// Tells this tunnel from one that took its place.
    generation: u64,
}

/// By connector and incarnation.
#[derive(Default)]
pub struct Tunnels {
    generations: Cell<u64>,
    by_connector: RefCell<HashMap<(String, String), Tunnel>>,
}

impl Tunnels {
    /// Those that take new sessions.
    pub fn attached(&self) -> Vec<AttachedConnector> {
        let tunnels = self.by_connector.borrow();
        let open = tunnels.iter().filter(|(_, tunnel)| tunnel.mux.is_open());
        open.map(|((connector_id, incarnation), _)| AttachedConnector {
            connector_id: connector_id.clone(),
            incarnation: incarnation.clone(),
        })
        .collect()
    }

    /// The tunnel to this process.
    pub fn get(&self, connector: &AttachedConnector) -> Option<Mux> {
        let key = (connector.connector_id.clone(), connector.incarnation.clone());
        self.by_connector.borrow().get(&key).map(|tunnel| tunnel.mux.clone())
    }

    /// Closes every tunnel of a connector.
    pub fn remove_identity(&self, connector_id: &str) {
        for ((id, _), tunnel) in self.by_connector.borrow().iter() {
            if id == connector_id {
                tunnel.close.cancel();
            }
        }
    }
}

/// Serves one tunnel to its end.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream) {
    let (connector_id, hello, stream) = match timeout(HELLO_DEADLINE, greet(&worker, stream)).await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => return tracing::debug!(%error, "a connector's tunnel was not accepted"),
        Err(_) => return,
    };
    let (mux, driver) = postern_tunnel::connect(stream, Role::Opener);
    let close = CancellationToken::new();
    let key = (connector_id.clone(), hello.incarnation);
    let generation = worker.tunnels.generations.get();
    worker.tunnels.generations.set(generation + 1);
    let tunnel = Tunnel { mux, close: close.clone(), generation };
    if let Some(old) = worker.tunnels.by_connector.borrow_mut().insert(key.clone(), tunnel) {
        // The connector has given the old one up, or it would not dial again.
        old.close.cancel();
    }
    tracing::info!(connector = connector_id, "tunnel up");
    metrics::gauge!("postern_gateway_tunnels").increment(1.0);
    let result = tokio::select! {
        result = driver => result.map_err(|error| error.to_string()),
        () = close.cancelled() => Ok(()),
        () = worker.stop.cancelled() => Ok(()),
    };
    metrics::gauge!("postern_gateway_tunnels").decrement(1.0);
    // A newer tunnel of the same process may have taken the place.
    let mut tunnels = worker.tunnels.by_connector.borrow_mut();
    if tunnels.get(&key).is_some_and(|tunnel| tunnel.generation == generation) {
        tunnels.remove(&key);
    }
    drop(tunnels);
    match result {
        Ok(()) => tracing::info!(connector = connector_id, "tunnel closed"),
        Err(error) => tracing::warn!(connector = connector_id, error, "tunnel lost"),
    }
}

async fn greet(
    worker: &Rc<Worker>,
    stream: TcpStream,
) -> io::Result<(String, TunnelHello, TlsStream<BufReader<TcpStream>>)> {
    stream.set_nodelay(true)?;
    let alpn = postern_proto::tunnel_alpn(worker.index);
    let config = tls::server(&worker.keeper.identity(), vec![alpn]).map_err(io::Error::other)?;
    let mut stream = TlsAcceptor::from(Arc::new(config)).accept(tls::buffered(stream)).await?;
    let refused = |why: &'static str| io::Error::new(io::ErrorKind::PermissionDenied, why);
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = certificates.first().and_then(|leaf| tls::peer(leaf));
    let Some((Kind::Connector, connector_id)) = peer else {
        return Err(refused("the peer is not a connector"));
    };
    if worker.revoked.lock().contains(&connector_id) {
        return Err(refused("the connector was revoked"));
    }
    if !stream.get_ref().1.alpn_protocol().is_some_and(|protocol| protocol.starts_with(TUNNEL_ALPN)) {
        return Err(refused("the peer does not speak the tunnel's protocol"));
    }
    let hello = hello::hear(&mut stream).await?;
    let welcome = TunnelWelcome {
        gateway_id: worker.keeper.identity().id.clone(),
        workers: u32::try_from(worker.workers).unwrap_or(1),
    };
    hello::say(&mut stream, &welcome).await?;
    Ok((connector_id, hello, stream))
}
