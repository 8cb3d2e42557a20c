//! The HTTP listener: plain on loopback, TLS elsewhere.

use crate::{
    Core,
    config::{Config, TlsFiles},
};
use axum::{Router, serve::Listener};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes at once: more wait in the kernel's queue.
const MAX_HANDSHAKES: usize = 256;

/// How long to wait after a failed accept: the usual cause, too many open files, does not pass in no time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener, before anything is served.
pub(crate) struct Bound {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Binds the listener.
pub(crate) async fn bind(config: &Config) -> io::Result<Bound> {
    let tls = match &config.http.tls {
        Some(files) => Some(acceptor(files).await?),
        None => None,
    };
    let listener = TcpListener::bind(config.http.listen).await?;
    let address = listener.local_addr()?;
    Ok(Bound { listener, tls, address })
}

/// Serves until `stop`; then lets calls that run finish.
pub(crate) async fn serve(bound: Bound, core: Arc<Core>, stop: CancellationToken) {
    let router = crate::api::router(core, stop.clone());
    let served = match bound.tls {
        None => run(bound.listener, router, stop).await,
        Some(acceptor) => run(Tls::start(bound.listener, acceptor, stop.clone()), router, stop).await,
    };
    if let Err(error) = served {
        tracing::error!(%error, "the HTTP listener failed");
    }
}

async fn run<L: Listener<Addr: std::fmt::Debug>>(
    listener: L,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn acceptor(files: &TlsFiles) -> io::Result<TlsAcceptor> {
    let read = |path: std::path::PathBuf| async move {
        tokio::fs::read(&path)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    let invalid =
        |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, format!("http.tls: {error}"));
    let chain = CertificateDer::pem_slice_iter(&read(files.certificate.clone()).await?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| invalid(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&read(files.key.clone()).await?).map_err(|error| invalid(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| invalid(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Gives connections whose handshake is done; handshakes run beside each other, so that a slow one holds up none.
struct Tls {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl Tls {
    fn start(listener: TcpListener, acceptor: TlsAcceptor, stop: CancellationToken) -> Self {
        let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let (sender, ready) = mpsc::channel(1);
        tokio::spawn(async move {
            stop.run_until_cancelled(accept(listener, acceptor, sender)).await;
        });
        Self { ready, address }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>) {
    let permits = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                // Fails when the listener is gone, and the connection with it.
                let _ = ready.send((stream, peer)).await;
            }
        });
    }
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The process stops: there is no further connection.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
