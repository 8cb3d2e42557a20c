//! The connector: the process next to the database. It dials out, and nothing listens on its side. It opens a
//! database connection only for a ticket of the control plane's, hands each statement to one place where it is
//! inspected, decided and recorded, and passes it on.
//!
//! In reading order: [`control`] (what the control plane says) and [`gateways`] → [`tunnels`] → [`session`]
//! (ticket, database, relay) → [`pipeline`] (inspect, decide, record, forward) → [`outbox`]; beside them
//! [`worker`] (threads), [`roles`] (database roles for one session), [`rules`] (what statements are decided by), [`masked`] (which columns are masked), [`probes`] (what grants may ask about these), [`trial`] (what a statement would do, for whoever tries policies), [`scan`] (what columns seem to hold), [`suited`] (whether masks suit columns), [`registry`] (how sessions are ended), [`reviews`] (whose statements wait for people), [`budgets`] (what grants may use up), [`gates`] (how many sessions a connection has), [`journal`] (what the connector does in databases by itself), [`lease`], [`ticket`], [`config`].

mod budgets;
mod catalogs;
pub mod config;
mod control;
mod gates;
mod gateways;
mod journal;
mod lease;
mod masked;
mod outbox;
mod pipeline;
mod probes;
mod registry;
mod reviews;
mod roles;
mod rules;
mod scan;
mod session;
mod signed;
mod suited;
mod ticket;
mod trial;
mod tunnels;
mod worker;

pub use config::Config;

use arc_swap::ArcSwap;
use metrics_exporter_prometheus::PrometheusHandle;
use postern_peer::{EnrolError, Keeper, Kind};
use postern_types::{id::SegmentId, time::Micros};
use postern_wire::error::Report;
use registry::End;
use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Sessions that were told to end have this long.
const END_DEADLINE: Duration = Duration::from_secs(3);

/// The last records have this long to reach the control plane; what does not is shipped by the next start.
const SHIP_DEADLINE: Duration = Duration::from_secs(2);

/// A connector could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Nobody to dial.
    #[error("`gateways` is empty: name at least one gateway as host:port")]
    NoGateway,
    /// Joining.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The join token's source.
    #[error(transparent)]
    Secret(#[from] postern_ops::secret::SecretError),
    /// The outbox's folder.
    #[error("the audit outbox in the data folder cannot be opened")]
    Outbox(#[source] io::Error),
    /// What is kept for masks.
    #[error("what the data folder keeps for masks (`masks`, `tagged.json`) cannot be read or made")]
    Masks(#[source] io::Error),
    /// Threads.
    #[error("the data path's threads cannot be started")]
    Threads(#[source] io::Error),
    /// The operator's listener.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was configured.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A connector that runs.
pub struct Running {
    registry: registry::Registry,
    roles: roles::Roles,
    outbox: outbox::Outbox,
    threads: Vec<std::thread::JoinHandle<()>>,
    revoked: CancellationToken,
    stop: CancellationToken,
    stop_shipping: CancellationToken,
}

/// Starts a connector: enrols it if it has no identity yet, then dials out.
///
/// # Errors
/// When the configuration cannot be carried out.
pub async fn start(config: Config, metrics: Option<PrometheusHandle>) -> Result<Running, StartError> {
    if config.gateways.is_empty() {
        return Err(StartError::NoGateway);
    }
    let token = match &config.join_token {
        Some(source) if postern_peer::Identity::load(&config.data_dir).ok().flatten().is_none() => {
            Some(source.read().await?)
        }
        _ => None,
    };
    let first = config.gateways.clone();
    let keeper = Keeper::obtain(Kind::Connector, config.data_dir.clone(), first.clone(), token.as_ref()).await?;
    let (gateways, addresses) = watch::channel(first.clone());
    let known = addresses.clone();
    let channel = keeper.channel(move || first.iter().chain(known.borrow().iter()).cloned().collect());
    let (outbox, waiting) =
        outbox::Outbox::open(config.data_dir.join("outbox"), config.outbox).map_err(StartError::Outbox)?;
    let (control, messages) = control::Control::new();
    // A new one for each process; the kind of id is of no importance.
    let incarnation: Arc<str> = SegmentId::new().as_str().into();
    let verifier = ticket::Verifier::new(keeper.identity().id.clone(), incarnation.to_string());
    let masked = masked::Known::open(&config.data_dir).map_err(StartError::Masks)?;
    let rules = rules::Current::new(keeper.identity().id.clone(), incarnation.to_string());
    let reviews = reviews::Reviews::new(&keeper.identity().id, &incarnation, control.clone());
    let (journal, works) = journal::Journal::new();
    let common = worker::Common {
        config: Arc::new(config),
        keeper: keeper.clone(),
        incarnation,
        verifier: Arc::new(verifier),
        rules: Arc::new(rules),
        catalogs: catalogs::Catalogs::new(journal.clone()),
        masked: Arc::new(masked),
        connections: Arc::new(ArcSwap::from_pointee(HashMap::new())),
        budgets: budgets::Budgets::default(),
        gates: gates::Gates::default(),
        roles: roles::Roles::new(&keeper.identity().id, journal.clone()),
        registry: registry::Registry::default(),
        reviews,
        lease: lease::Lease::default(),
        control: control.clone(),
        journal,
        outbox: outbox.clone(),
        revoked: CancellationToken::new(),
        stop: CancellationToken::new(),
    };
    let workers = common.config.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut works = Some(works);
    let threads = (0..workers.max(1))
        .map(|index| worker::spawn(common.clone(), index, works.take()))
        .collect::<Result<Vec<_>, _>>();
    let threads = threads.map_err(StartError::Threads)?;
    let (wanted, handles): (Vec<_>, Vec<_>) = threads.into_iter().map(|thread| (thread.wanted, thread.handle)).unzip();
    if let Some(listener) = &common.config.metrics {
        let control = control.clone();
        let ready = Arc::new(move || control.is_connected());
        postern_ops::http::serve(listener.listen, metrics, ready, common.stop.clone())
            .await
            .map_err(|source| StartError::Listen { address: listener.listen, source })?;
    }
    let stop_shipping = CancellationToken::new();
    tokio::spawn(outbox::shipper::run(outbox.clone(), waiting, channel.clone(), stop_shipping.clone()));
    tokio::spawn(gateways::run(addresses, wanted, control, common.stop.clone()));
    let told = control::Told { gateways, channel: channel.clone() };
    tokio::spawn(control::run(common.clone(), told, messages));
    tokio::spawn(roles::reap::forever(common.clone()));
    let stop = common.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = keeper.renew_forever(channel) => {}
            () = stop.cancelled() => {}
        }
    });
    tracing::info!(started_at = %Micros::now(), "connector started");
    Ok(Running {
        registry: common.registry,
        roles: common.roles,
        outbox,
        threads: handles,
        revoked: common.revoked,
        stop: common.stop,
        stop_shipping,
    })
}

impl Running {
    /// Waits until the control plane has revoked this connector's identity. Its sessions have been told to end.
    pub async fn revoked(&self) {
        self.revoked.cancelled().await;
    }

    /// Takes no new session, lets those that run finish for up to `drain`, ends the rest, and delivers what was
    /// recorded.
    pub async fn shutdown(self, drain: Duration) {
        self.registry.drain();
        let idle = async || {
            while !self.registry.live().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(drain, idle()).await.is_err() {
            let hint = "Connect again: another connector, or this one after its restart, will serve you.";
            let report = Report::new("57P01", "the connector is shutting down", hint);
            self.registry.end_all(&End { reason: "drain", report });
            let _ = tokio::time::timeout(END_DEADLINE, idle()).await;
        }
        self.roles.gone(END_DEADLINE).await;
        let shipped = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            while self.outbox.backlog() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(SHIP_DEADLINE, shipped).await;
        self.stop.cancel();
        self.stop_shipping.cancel();
        let threads = self.threads;
        let _ = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join()))).await;
    }
}
