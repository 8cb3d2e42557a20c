//! The certificate that clients see. They may show one of their own.

use crate::{config::ServerTls, worker::Common};
use postern_peer::possession::Possession;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs as provider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
};
use std::{fs, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::time::interval;

/// How often the files are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(10);

/// A certificate that is in use.
pub struct ClientCertificate {
    /// rustls's form of it.
    pub config: Arc<ServerConfig>,
    /// Its `tls-server-end-point` channel binding (RFC 5929).
    pub channel_binding: Vec<u8>,
}

/// Takes up a certificate that was replaced on the disk, without touching sessions.
pub async fn watch(common: Common) {
    let Some(files) = common.config.clients.tls.clone() else { return };
    let written =
        || [&files.certificate, &files.key].map(|path| fs::metadata(path).and_then(|file| file.modified()).ok());
    let mut known = written();
    let mut ticks = interval(WATCH_EVERY);
    while common.stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = written();
        if now == known {
            continue;
        }
        match ClientCertificate::load(Some(&files)) {
            Ok(certificate) => {
                known = now;
                common.certificate.store(Arc::new(certificate));
                common.certificate_changed.notify_one();
                tracing::info!("the certificate for clients was replaced");
            }
            // Half written, perhaps: the old one stays, and it is tried again.
            Err(error) => tracing::warn!(%error, "the new certificate for clients cannot be used"),
        }
    }
}

/// The certificate cannot be used.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The files.
    #[error("the certificate or key for clients cannot be read")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// There is none in the file.
    #[error("the certificate file for clients holds no certificate")]
    Empty,
    /// rustls.
    #[error("the certificate for clients cannot be used")]
    Rustls(#[from] rustls::Error),
    /// Making one.
    #[error("a certificate for clients cannot be made")]
    Make(#[from] rcgen::Error),
    /// Its signature names no hash.
    #[error("the certificate for clients is signed by an algorithm without channel binding")]
    Binding,
}

impl ClientCertificate {
    /// Reads the configured one, or makes one that encrypts and proves nothing.
    ///
    /// # Errors
    /// When it cannot be read, made or used.
    pub fn load(tls: Option<&ServerTls>) -> Result<Self, CertificateError> {
        let (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) = match tls {
            Some(files) => {
                let chain = CertificateDer::pem_file_iter(&files.certificate)?.collect::<Result<_, _>>()?;
                (chain, PrivateKeyDer::from_pem_file(&files.key)?)
            }
            None => {
                let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
                (vec![made.cert.der().clone()], PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into())
            }
        };
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let channel_binding = postern_dial::tls_server_end_point(leaf).ok_or(CertificateError::Binding)?;
        let provider = Arc::new(provider::default_provider());
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Possession::new(provider, Vec::new()))
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self { config: Arc::new(config), channel_binding })
    }
}
