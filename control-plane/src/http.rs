//! The HTTP listener: plain on loopback, TLS elsewhere.

use crate::{
    Core,
    api::chain,
    config::{Config, TlsFiles},
    identity::issuers::{self, certificates::Shown},
    store::Store,
};
use axum::{
    Router,
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use parking_lot::Mutex;
use postern_peer::possession::Possession;
use rustls::{
    DistinguishedName,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
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
    https: Option<Https>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Binds the listener.
pub(crate) async fn bind(config: &Config) -> io::Result<Bound> {
    let https = match &config.http.tls {
        Some(files) => Some(Https::load(files).await?),
        None => None,
    };
    let listener = TcpListener::bind(config.http.listen).await?;
    let address = listener.local_addr()?;
    Ok(Bound { listener, https, address })
}

/// Serves until `stop`; then lets calls that run finish.
pub(crate) async fn serve(bound: Bound, core: Arc<Core>, stop: CancellationToken) {
    let store = core.store.clone();
    let router = crate::api::router(core, stop.clone());
    let served = match bound.https {
        None => run(bound.listener, router, stop).await,
        Some(https) => run(Tls::start(bound.listener, https, store, stop.clone()), router, stop).await,
    };
    if let Err(error) = served {
        tracing::error!(%error, "the HTTP listener failed");
    }
}

async fn run<L: Listener<Addr: std::fmt::Debug>>(listener: L, router: Router, stop: CancellationToken) -> io::Result<()>
where
    Shown: for<'a> Connected<IncomingStream<'a, L>>,
{
    let router = router.into_make_service_with_connect_info::<Shown>();
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

impl Connected<IncomingStream<'_, TcpListener>> for Shown {
    fn connect_info(_: IncomingStream<'_, TcpListener>) -> Self {
        Self::default()
    }
}

impl Connected<IncomingStream<'_, Tls>> for Shown {
    fn connect_info(stream: IncomingStream<'_, Tls>) -> Self {
        let (_, tls) = stream.io().get_ref();
        Self::chain(tls.peer_certificates().unwrap_or_default().to_vec())
    }
}

/// The listener's TLS. Clients are asked for a certificate as long as a document has authorities, and for one of these: a
/// browser asks its user which to show of those that suit.
struct Https {
    provider: Arc<CryptoProvider>,
    certificate: Arc<SingleCertAndKey>,
    /// For the authorities of which a certificate is asked for; none: of nobody.
    current: Mutex<(Option<Vec<Vec<u8>>>, TlsAcceptor)>,
}

impl Https {
    async fn load(files: &TlsFiles) -> io::Result<Self> {
        let read = |path: std::path::PathBuf| async move {
            tokio::fs::read(&path)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        };
        let invalid =
            |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, format!("http.tls: {error}"));
        let pem = read(files.certificate.clone()).await?;
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| invalid(&error))?;
        let key = PrivateKeyDer::from_pem_slice(&read(files.key.clone()).await?).map_err(|error| invalid(&error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = CertifiedKey::from_der(chain, key, &provider).map_err(|error| invalid(&error))?;
        let certificate = Arc::new(SingleCertAndKey::from(certificate));
        let acceptor = acceptor(&provider, &certificate, None).map_err(|error| invalid(&error))?;
        Ok(Self { provider, certificate, current: Mutex::new((None, acceptor)) })
    }

    /// For the next connection, by what the documents say now.
    async fn now(&self, store: &Store) -> TlsAcceptor {
        let asked_for = match issuers::asked_for(store).await {
            Ok(asked_for) => asked_for,
            Err(error) => {
                tracing::warn!(error = chain(&error), "it cannot be read which certificates to ask clients for");
                return self.current.lock().1.clone();
            }
        };
        let mut current = self.current.lock();
        if current.0 != asked_for {
            match acceptor(&self.provider, &self.certificate, asked_for.clone()) {
                Ok(made) => *current = (asked_for, made),
                Err(error) => tracing::error!(%error, "clients cannot be asked for certificates"),
            }
        }
        current.1.clone()
    }
}

fn acceptor(
    provider: &Arc<CryptoProvider>,
    certificate: &Arc<SingleCertAndKey>,
    asked_for: Option<Vec<Vec<u8>>>,
) -> Result<TlsAcceptor, rustls::Error> {
    let builder =
        rustls::ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let builder = match asked_for {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let authorities = authorities.into_iter().map(DistinguishedName::from).collect();
            builder.with_client_cert_verifier(Possession::new(Arc::clone(provider), authorities))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::<SingleCertAndKey>::clone(certificate));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Gives connections whose handshake is done; handshakes run beside each other, so that a slow one holds up none.
struct Tls {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl Tls {
    fn start(listener: TcpListener, https: Https, store: Store, stop: CancellationToken) -> Self {
        let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let (sender, ready) = mpsc::channel(1);
        tokio::spawn(async move {
            stop.run_until_cancelled(accept(listener, Arc::new(https), store, sender)).await;
        });
        Self { ready, address }
    }
}

async fn accept(
    listener: TcpListener,
    https: Arc<Https>,
    store: Store,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
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
        let (https, store, ready) = (Arc::clone(&https), store.clone(), ready.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let accepted = async { https.now(&store).await.accept(stream).await };
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, accepted).await {
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
