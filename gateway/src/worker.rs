//! A thread of the data path: its sessions, its tunnels, nothing shared with the others but what begins and
//! ends sessions.

use crate::{
    config::Config,
    session,
    sessions::Sessions,
    throttle::Throttle,
    tls::ClientCertificate,
    tunnels::{self, Tunnels},
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use postern_ops::thread;
use postern_peer::Keeper;
use postern_proto::v1::{CancelKey, gateway_control_client::GatewayControlClient};
use std::{cell::RefCell, collections::HashSet, io, net::SocketAddr, rc::Rc, sync::Arc};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    sync::{Notify, mpsc},
    task::spawn_local,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Bytes read from a client at once; one buffer a thread.
const SCRATCH_BYTES: usize = 64 * 1024;

/// Bytes of a thread's stack.
const STACK_BYTES: usize = 2 << 20;

/// Connections that have not become sessions yet, for each thread.
const MAX_UNAUTHENTICATED: usize = 2_000;

/// What all threads of a gateway have in common.
#[derive(Clone)]
pub struct Common {
    /// The configuration.
    pub config: Arc<Config>,
    /// This gateway's identity.
    pub keeper: Keeper,
    /// To the control plane.
    pub channel: Channel,
    /// The certificate that clients see.
    pub certificate: Arc<ArcSwap<ClientCertificate>>,
    /// It was replaced: the control plane must hear of it.
    pub certificate_changed: Arc<Notify>,
    /// The control plane answers, yet does not know that this gateway is attached: the control stream is to be
    /// opened without a pause.
    pub attach_now: Arc<Notify>,
    /// All sessions.
    pub sessions: Sessions,
    /// Failed proofs.
    pub throttle: Arc<Throttle>,
    /// Connectors whose certificate is no longer good.
    pub revoked: Arc<Mutex<HashSet<String>>>,
    /// Where the control plane's requests are sent from.
    pub main: Handle,
    /// No more connections are accepted.
    pub drain: CancellationToken,
    /// Ends everything.
    pub stop: CancellationToken,
    /// How many threads there are: told to connectors.
    pub workers: usize,
}

/// What a thread is handed.
pub enum Arrival {
    /// A client.
    Client(std::net::TcpStream, SocketAddr),
    /// A connector's tunnel, before its TLS handshake.
    Tunnel(std::net::TcpStream),
    /// An identity was revoked: its tunnels end.
    Revoked(String),
}

/// One thread's state.
pub struct Worker {
    common: Common,
    /// This thread's number.
    pub index: usize,
    /// The tunnels of this thread.
    pub tunnels: Tunnels,
    /// For reading from clients; borrowed only while one is polled.
    pub scratch: RefCell<Vec<u8>>,
    unauthenticated: RefCell<usize>,
}

impl std::ops::Deref for Worker {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl Worker {
    /// TLS for clients, with the certificate of now.
    pub fn client_tls(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.certificate.load().config))
    }

    /// The channel binding of that certificate.
    pub fn channel_binding(&self) -> Vec<u8> {
        self.certificate.load().channel_binding.clone()
    }

    /// Cancels a session's statement, here or, by way of the control plane, on another gateway.
    pub async fn cancel(&self, pid: i32, secret: Vec<u8>) {
        if let Some(sent) = self.sessions.cancel(pid, &secret) {
            // An error means that the session is over.
            let _ = sent.await;
            return;
        }
        let mut control = GatewayControlClient::new(self.channel.clone());
        self.main.spawn(async move {
            if let Err(status) = control.forward_cancel(CancelKey { pid, secret: secret.into() }).await {
                tracing::debug!(error = %status, "a cancel request could not be forwarded");
            }
        });
    }
}

/// Starts a thread and gives the way to hand it connections.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(common: Common, index: usize) -> io::Result<mpsc::UnboundedSender<Arrival>> {
    let (arrivals, received) = mpsc::unbounded_channel();
    thread::spawn(format!("gateway-{index}"), STACK_BYTES, move || {
        let worker = Rc::new(Worker {
            tunnels: Tunnels::default(),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            unauthenticated: RefCell::new(0),
            index,
            common,
        });
        run(worker, received)
    })?;
    Ok(arrivals)
}

async fn run(worker: Rc<Worker>, mut arrivals: mpsc::UnboundedReceiver<Arrival>) {
    loop {
        let arrival = tokio::select! {
            arrival = arrivals.recv() => arrival,
            () = worker.stop.cancelled() => None,
        };
        let Some(arrival) = arrival else { break };
        match arrival {
            Arrival::Client(stream, address) => {
                if *worker.unauthenticated.borrow() >= MAX_UNAUTHENTICATED {
                    metrics::counter!("postern_gateway_clients_dropped_total").increment(1);
                    continue;
                }
                match TcpStream::from_std(stream) {
                    Ok(stream) => drop(spawn_local(serve_client(Rc::clone(&worker), stream, address))),
                    Err(error) => {
                        tracing::warn!(%error, "a client's connection could not be taken over")
                    }
                }
            }
            Arrival::Tunnel(stream) => match TcpStream::from_std(stream) {
                Ok(stream) => drop(spawn_local(tunnels::serve(Rc::clone(&worker), stream))),
                Err(error) => {
                    tracing::warn!(%error, "a tunnel's connection could not be taken over")
                }
            },
            Arrival::Revoked(id) => worker.tunnels.remove_identity(&id),
        }
    }
}

async fn serve_client(worker: Rc<Worker>, stream: TcpStream, address: SocketAddr) {
    *worker.unauthenticated.borrow_mut() += 1;
    let pending = Pending(Rc::clone(&worker));
    session::serve(worker, stream, address, pending).await;
}

/// Counts a connection as long as it is not a session.
pub struct Pending(Rc<Worker>);

impl Drop for Pending {
    fn drop(&mut self) {
        *self.0.unauthenticated.borrow_mut() -= 1;
    }
}
