//! The gRPC listener for connectors and gateways: one port under TLS 1.3, where only enrolment is open to those
//! who have no certificate yet.
//!
//! In reading order: [`peer`] (who calls), [`enrolment`] (join and renew), [`gateway`] with [`authenticate`]
//! (one client's proof), [`connector`] (control stream, audit).

mod authenticate;
mod connector;
mod enrolment;
mod gateway;
mod peer;

use crate::{
    Core,
    ca::{CaError, tls::ServerCertificate},
    hub,
    store::StoreError,
    ticket::KeyError,
};
use postern_proto::v1::{
    connector_control_server::ConnectorControlServer, enrolment_server::EnrolmentServer,
    gateway_control_server::GatewayControlServer, renewal_server::RenewalServer,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Server};

/// A TLS handshake must be done by then.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a peer may take to say who it is.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);

/// Handshakes at once; more wait in the system's queue.
const MAX_HANDSHAKES: usize = 256;

/// After an error of `accept` (out of descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A peer that does not answer a ping within this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Calls at once on one connection: an authentication of each client that is connecting through a gateway. The
/// usual 200 would let clients that say nothing more keep all others out.
const MAX_STREAMS: u32 = 10_000;

/// Data of one call, and of one connection, that may be under way.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The longest message of a service other than the audit's.
const MAX_SMALL_MESSAGE_BYTES: usize = 256 << 10;

/// Calls that run have this long when the process stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// A segment of the audit is the longest message: 32 MiB unpacked, and zstd never makes it much longer.
const MAX_MESSAGE_BYTES: usize = 33 << 20;

/// The listener cannot start.
#[derive(Debug, Error)]
pub enum RpcError {
    /// The address.
    #[error("grpc.listen: {address} cannot be listened on")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The listener's own certificate.
    #[error(transparent)]
    Certificate(#[from] CaError),
    /// A secret of the gateway service.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A listener that runs.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    core: Arc<Core>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// Listens, and keeps the hub going.
///
/// # Errors
/// When the address or the certificate cannot be had.
pub async fn start(core: Arc<Core>) -> Result<Running, RpcError> {
    let address = core.config.grpc.listen;
    let failed = |source| RpcError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let certificate = ServerCertificate::new(&core.ca)?;
    let acceptor = TlsAcceptor::from(certificate.server_config(&core.ca)?);
    let gateways = gateway::Service::load(Arc::clone(&core)).await?;
    let stop = CancellationToken::new();
    let (handshaken, connections) = mpsc::channel(MAX_HANDSHAKES);
    let mut tasks = JoinSet::new();
    tasks.spawn(hub::task::run(core.hub.clone(), stop.clone()));
    tasks.spawn(accept(listener, acceptor, handshaken, stop.clone()));
    tasks.spawn(renew(Arc::clone(&core), certificate, stop.clone()));
    let enrolment = enrolment::Service::new(Arc::clone(&core));
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(EnrolmentServer::new(enrolment.clone()).max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES))
        .add_service(RenewalServer::new(enrolment).max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES))
        .add_service(
            ConnectorControlServer::new(connector::Service::new(Arc::clone(&core)))
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(GatewayControlServer::new(gateways).max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES));
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        let served = router.serve_with_incoming_shutdown(ReceiverStream::new(connections), stopped).await;
        if let Err(error) = served {
            tracing::error!(error = &error as &dyn std::error::Error, "the gRPC listener ended");
        }
    });
    Ok(Running { address, core, stop, tasks })
}

impl Running {
    /// Ends the control streams, lets short calls finish, and stops.
    pub async fn shutdown(mut self) {
        self.core.hub.close();
        self.stop.cancel();
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_TIMEOUT, finished).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Accepts connections; each shakes hands beside the others, with a deadline.
async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handshaken: mpsc::Sender<io::Result<peer::Connection>>,
    stop: CancellationToken,
) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        // Never closed.
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { return };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, handshaken) = (acceptor.clone(), handshaken.clone());
        tokio::spawn(async move {
            let _permit = permit;
            match timeout(HANDSHAKE_DEADLINE, handshake(acceptor, stream, address)).await {
                Ok(Ok(connection)) => drop(handshaken.send(Ok(connection)).await),
                Ok(Err(error)) => tracing::debug!(peer = %address, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(peer = %address, "a TLS handshake took too long"),
            }
        });
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, address: SocketAddr) -> io::Result<peer::Connection> {
    stream.set_nodelay(true)?;
    peer::Connection::new(acceptor.accept(stream).await?, address)
}

/// Replaces the listener's certificate at a third of its life, so that a failure leaves time.
async fn renew(core: Arc<Core>, certificate: Arc<ServerCertificate>, stop: CancellationToken) {
    let mut ticks = interval(core.config.certificate_lifetime / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = certificate.renew(&core.ca) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the gRPC listener's certificate could not be renewed"
            );
        }
    }
}

/// The message with which a control stream begins, which must come soon.
async fn first<M>(messages: &mut Streaming<M>) -> Result<M, Status> {
    let first = timeout(HELLO_DEADLINE, messages.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no Hello came"))??;
    first.ok_or_else(|| Status::invalid_argument("the first message must be Hello"))
}

/// The store failed: said to the log in full, to the peer in a word.
fn store_failed(error: StoreError) -> Status {
    tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
    Status::unavailable("the control plane's store failed")
}
