//! Keeps a tunnel up to every thread of every gateway, and takes the sessions that come through it.

use crate::{session, worker::Worker};
use postern_peer::{Kind, Pauses, hello, tls};
use postern_proto::{
    GATEWAY_SERVER_NAME, tunnel_alpn,
    v1::{TunnelHello, TunnelWelcome},
};
use postern_tunnel::{Role, TunnelError};
use rustls::pki_types::ServerName;
use std::{io, rc::Rc, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{
    io::BufReader,
    net::TcpStream,
    sync::mpsc::{self, UnboundedSender},
    task::spawn_local,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

/// To connect, shake hands and say hello.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Between two attempts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A tunnel that is to be kept up.
pub struct Wanted {
    /// `host:port` of the gateway.
    pub address: String,
    /// The gateway's thread.
    pub gateway_worker: usize,
    /// Ends it.
    pub stop: CancellationToken,
    /// Told when the tunnel is up or down.
    pub events: UnboundedSender<Event>,
}

/// What a tunnel says of itself.
#[derive(Debug)]
pub enum Event {
    /// It is up.
    Up {
        /// The gateway's address.
        address: String,
        /// The gateway's thread.
        gateway_worker: usize,
        /// The gateway's id.
        gateway_id: String,
        /// Threads that the gateway has.
        workers: usize,
    },
    /// It is down.
    Down {
        /// The gateway's address.
        address: String,
        /// The gateway's thread.
        gateway_worker: usize,
    },
}

#[derive(Debug, Error)]
enum KeepError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
}

/// Keeps one tunnel up until it is no longer wanted.
pub async fn keep(worker: Rc<Worker>, wanted: Wanted) {
    let mut pauses = Pauses::new(SHORTEST_PAUSE, LONGEST_PAUSE);
    loop {
        let mut up = false;
        let result = tokio::select! {
            result = tunnel(&worker, &wanted, &mut up) => result,
            () = wanted.stop.cancelled() => Ok(()),
            () = worker.stop.cancelled() => Ok(()),
        };
        if up {
            pauses.reset();
            let (address, gateway_worker) = (wanted.address.clone(), wanted.gateway_worker);
            let _ = wanted.events.send(Event::Down { address, gateway_worker });
        }
        if wanted.stop.is_cancelled() || worker.stop.is_cancelled() {
            return;
        }
        let after = pauses.after_failure();
        match result {
            Ok(()) => tracing::info!(gateway = wanted.address, ?after, "the gateway closed the tunnel"),
            Err(error) => {
                tracing::warn!(gateway = wanted.address, %error, ?after, "no tunnel to the gateway")
            }
        }
        tokio::time::sleep(after).await;
    }
}

async fn tunnel(worker: &Rc<Worker>, wanted: &Wanted, up: &mut bool) -> Result<(), KeepError> {
    let greeted = timeout(CONNECT_DEADLINE, greet(worker, wanted)).await.map_err(io::Error::from)?;
    let (welcome, stream) = greeted?;
    *up = true;
    tracing::info!(gateway = welcome.gateway_id, "tunnel up");
    let _ = wanted.events.send(Event::Up {
        address: wanted.address.clone(),
        gateway_worker: wanted.gateway_worker,
        gateway_id: welcome.gateway_id.clone(),
        workers: usize::try_from(welcome.workers).unwrap_or(1),
    });
    let gateway_id: Rc<str> = welcome.gateway_id.into();
    let (accept, mut accepted) = mpsc::unbounded_channel();
    let (mux, driver) = postern_tunnel::connect(stream, Role::Acceptor(accept));
    let mut driver = std::pin::pin!(driver);
    let mut draining = false;
    loop {
        tokio::select! {
            result = &mut driver => return Ok(result?),
            Some((stream, preamble)) = accepted.recv() => {
                spawn_local(session::serve(Rc::clone(worker), stream, preamble, Rc::clone(&gateway_id)));
            }
            () = worker.registry.drained(), if !draining => {
                draining = true;
                mux.go_away();
            }
        }
    }
}

async fn greet(worker: &Rc<Worker>, wanted: &Wanted) -> io::Result<(TunnelWelcome, TlsStream<BufReader<TcpStream>>)> {
    let stream = TcpStream::connect(&wanted.address).await?;
    stream.set_nodelay(true)?;
    let alpn = tunnel_alpn(wanted.gateway_worker);
    let config = tls::client(&worker.keeper.identity(), &alpn).map_err(io::Error::other)?;
    let name = ServerName::try_from(GATEWAY_SERVER_NAME).map_err(io::Error::other)?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tls::buffered(stream)).await?;
    let refused = |why: &'static str| io::Error::new(io::ErrorKind::PermissionDenied, why);
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = certificates.first().and_then(|leaf| tls::peer(leaf));
    let Some((Kind::Gateway, gateway_id)) = peer else {
        return Err(refused("the peer is not a gateway"));
    };
    hello::say(&mut stream, &TunnelHello { incarnation: worker.incarnation.to_string() }).await?;
    let welcome: TunnelWelcome = hello::hear(&mut stream).await?;
    if welcome.gateway_id != gateway_id {
        return Err(refused("its welcome names another gateway than its certificate"));
    }
    Ok((welcome, stream))
}
