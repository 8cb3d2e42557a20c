//! Starting and stopping the control plane: its listeners and what runs beside them.

use crate::{
    config::Config,
    core::{Core, CoreError},
    grants, http, notify, requests, reviews, rpc,
    store::StoreError,
};
use postern_types::time::Micros;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// How often grants and requests are looked at whose time may be over. Sessions end within a second of it.
const EXPIRE_EVERY: Duration = Duration::from_millis(250);

/// How long calls that run have to finish when the process stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The control plane cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its own things cannot be made or read.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The HTTP listener.
    #[error("http.listen: {address} cannot be listened on")]
    Http {
        /// Which address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The gRPC listener.
    #[error(transparent)]
    Rpc(#[from] rpc::RpcError),
}

/// A control plane that runs. Dropped, it goes on; [`Running::shutdown`] ends it.
pub struct Running {
    /// What all parts share.
    pub core: Arc<Core>,
    /// Where the REST API is.
    pub http_addr: SocketAddr,
    /// Where connectors and gateways find it.
    pub grpc_addr: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    rpc: rpc::Running,
}

/// Opens the store and begins to listen. Returns when calls are answered.
///
/// # Errors
/// When something that is needed cannot be opened.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let address = config.http.listen;
    let core = Core::load(config).await?;
    let bound = http::bind(&core.config).await.map_err(|source| StartError::Http { address, source })?;
    let http_addr = bound.address;
    let stop = CancellationToken::new();
    let rpc = rpc::start(Arc::clone(&core)).await?;
    let grpc_addr = rpc.address;

    let mut tasks = JoinSet::new();
    tasks.spawn(http::serve(bound, Arc::clone(&core), stop.clone()));
    tasks.spawn(expire(Arc::clone(&core), stop.clone()));
    tasks.spawn(notify::run(Arc::clone(&core), stop.clone()));
    tracing::info!(http = %http_addr, grpc = %grpc_addr, "the control plane is up");
    Ok(Running { core, http_addr, grpc_addr, stop, tasks, rpc })
}

impl Running {
    /// Stops listening, lets calls that run finish, closes the store.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        self.rpc.shutdown().await;
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, finished).await.is_err() {
            tracing::warn!("calls that still ran were cut off");
            self.tasks.shutdown().await;
        }
        self.core.store.close().await;
    }
}

/// Marks grants and requests whose time is over, and ends the sessions of the grants.
async fn expire(core: Arc<Core>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EXPIRE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let result = expire_once(&core).await;
        // Said once for each outage, not four times a second.
        match result {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(error = crate::api::chain(&error), "what has expired cannot be marked; trying on");
            }
            Err(_) => {}
        }
    }
}

async fn expire_once(core: &Core) -> Result<(), StoreError> {
    let now = Micros::now();
    core.perform(grants::expire_due(&core.store, now).await?);
    requests::expire_due(&core.store, now).await?;
    reviews::due::run(&core.store, now).await
}
