//! The gateway: the regional front door. It speaks PostgreSQL's protocol to clients, relays their proof to the
//! control plane, and then bytes between them and the connector that serves their database. It holds no secret
//! that opens a database and decodes no row.
//!
//! In reading order, along the path: [`listen`] → [`worker`] → [`session`] (startup, authenticate, route,
//! relay) → [`tunnels`]; beside it [`sessions`] (who can be cancelled or ended), [`throttle`] (guessing),
//! [`control`] (what the control plane says), [`config`], [`tls`].

mod client;
pub mod config;
mod control;
mod listen;
mod session;
mod sessions;
mod throttle;
mod tls;
mod tunnels;
mod worker;

pub use config::Config;

use arc_swap::ArcSwap;
use metrics_exporter_prometheus::PrometheusHandle;
use postern_peer::{EnrolError, Keeper, Kind};
use postern_wire::error::Report;
use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use thiserror::Error;
use tokio::{net::TcpListener, runtime::Handle};
use tokio_util::sync::CancellationToken;

/// Sessions that were told to end have this long.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(3);

/// A gateway could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address, or the system.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was configured.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Threads.
    #[error("the data path's threads cannot be started")]
    Threads(#[source] io::Error),
    /// Joining.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The join token's source.
    #[error(transparent)]
    Secret(#[from] postern_ops::secret::SecretError),
    /// The certificate for clients.
    #[error(transparent)]
    Certificate(#[from] tls::CertificateError),
}

/// A gateway that runs.
pub struct Running {
    /// Where clients connect.
    pub client_addr: SocketAddr,
    /// Where connectors connect.
    pub connector_addr: SocketAddr,
    sessions: sessions::Sessions,
    drain: CancellationToken,
    stop: CancellationToken,
}

/// Starts a gateway: enrols it if it has no identity yet, then listens.
///
/// # Errors
/// When the configuration cannot be carried out.
pub async fn start(config: Config, metrics: Option<PrometheusHandle>) -> Result<Running, StartError> {
    let token = match &config.join_token {
        Some(source) if postern_peer::Identity::load(&config.data_dir).ok().flatten().is_none() => {
            Some(source.read().await?)
        }
        _ => None,
    };
    let addresses = vec![config.control_plane.address.clone()];
    let keeper = Keeper::obtain(Kind::Gateway, config.data_dir.clone(), addresses.clone(), token.as_ref()).await?;
    let channel = keeper.channel(move || addresses.clone());
    let certificate = Arc::new(ArcSwap::from_pointee(tls::ClientCertificate::load(config.clients.tls.as_ref())?));
    let (clients, client_addr) = bind(config.clients.listen).await?;
    let (connectors, connector_addr) = bind(config.connectors.listen).await?;
    let workers = config.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let common = worker::Common {
        config: Arc::new(config),
        keeper: keeper.clone(),
        channel: channel.clone(),
        certificate,
        certificate_changed: Arc::default(),
        attach_now: Arc::default(),
        sessions: sessions::Sessions::default(),
        throttle: Arc::default(),
        revoked: Arc::new(parking_lot::Mutex::new(HashSet::new())),
        main: Handle::current(),
        drain: CancellationToken::new(),
        stop: CancellationToken::new(),
        workers,
    };
    let threads = (0..workers).map(|index| worker::spawn(common.clone(), index)).collect::<Result<Vec<_>, _>>();
    let threads = threads.map_err(StartError::Threads)?;
    let connected = Arc::new(AtomicBool::new(false));
    if let Some(listener) = &common.config.metrics {
        let connected = Arc::clone(&connected);
        let ready = Arc::new(move || connected.load(Ordering::Relaxed));
        postern_ops::http::serve(listener.listen, metrics, ready, common.stop.clone())
            .await
            .map_err(|source| StartError::Listen { address: listener.listen, source })?;
    }
    let advertised = control::Advertised {
        connectors: common.config.connectors.advertise.clone().unwrap_or_else(|| connector_addr.to_string()),
        clients: common.config.clients.advertise.clone().unwrap_or_else(|| client_addr.to_string()),
    };
    tokio::spawn(control::run(common.clone(), threads.clone(), advertised, connected));
    tokio::spawn(listen::clients(clients, common.clone(), threads.clone()));
    tokio::spawn(listen::connectors(connectors, common.clone(), threads));
    tokio::spawn(tls::watch(common.clone()));
    let stop = common.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = keeper.renew_forever(channel) => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(Running { client_addr, connector_addr, sessions: common.sessions, drain: common.drain, stop: common.stop })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

impl Running {
    /// Accepts no more clients, lets sessions finish for up to `drain`, tells the rest that the gateway is going,
    /// and stops.
    pub async fn shutdown(self, drain: Duration) {
        self.drain.cancel();
        let idle = async || {
            while self.sessions.count() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(drain, idle()).await;
        self.sessions.end_all(&Report::new(
            "57P01",
            "the gateway is shutting down",
            "Connect again: another gateway, or this one after its restart, will serve you.",
        ));
        let _ = tokio::time::timeout(SHUTDOWN_DEADLINE, idle()).await;
        self.stop.cancel();
    }
}
