//! TLS of the listener for connectors and gateways: TLS 1.3 alone, a certificate of our own authority that is
//! replaced before it ends, and client certificates of the same authority for all who have one already.

use super::{Authority, CaError};
use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use std::sync::Arc;

/// The listener's certificate, which can be replaced while it serves.
#[derive(Debug)]
pub struct ServerCertificate {
    current: ArcSwap<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertificate {
    /// A first certificate.
    ///
    /// # Errors
    /// When none can be made.
    pub fn new(ca: &Authority) -> Result<Arc<Self>, CaError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let current = ArcSwap::from(certify(ca, &provider)?);
        Ok(Arc::new(Self { current, provider }))
    }

    /// Replaces the certificate. Connections that are up keep theirs.
    ///
    /// # Errors
    /// When none can be made; the one before stays.
    pub fn renew(&self, ca: &Authority) -> Result<(), CaError> {
        self.current.store(certify(ca, &self.provider)?);
        Ok(())
    }

    /// The listener's TLS.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn server_config(self: &Arc<Self>, ca: &Authority) -> Result<Arc<ServerConfig>, CaError> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.root().clone())?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            // Who enrols has no certificate yet; each service but Enrolment asks for one.
            .allow_unauthenticated()
            .build()?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed connection would carry a client certificate that was verified long ago.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn certify(ca: &Authority, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, CaError> {
    let (issued, key) = ca.issue_server()?;
    let key = provider.key_provider.load_private_key(key)?;
    // The root is sent too: who enrols knows it by its hash alone.
    let chain = vec![issued.certificate, ca.root().clone()];
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}
