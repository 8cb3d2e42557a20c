//! libpq's TLS modes, in rustls.

use crate::target::{OwnCertificate, Target};
use aws_lc_rs::digest;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    path::Path,
    str::FromStr,
    sync::{Arc, OnceLock},
};
use thiserror::Error;

/// `sslmode`, as libpq has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// If the server refuses otherwise. Not verified.
    Allow,
    /// If the server offers it. Not verified.
    #[default]
    Prefer,
    /// Always; verified as by `VerifyCa` only where a root certificate is given.
    Require,
    /// Always, with a certificate that a trusted authority signed.
    VerifyCa,
    /// Always, with such a certificate in the host's name.
    VerifyFull,
}

impl FromStr for TlsMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return Err(()),
        })
    }
}

/// TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file of root certificates cannot be read or holds none.
    #[error("the root certificates cannot be read")]
    Roots(#[source] rustls::pki_types::pem::Error),
    /// The file of one's own certificate or key cannot be read.
    #[error("the client certificate or its key cannot be read")]
    Own(#[source] rustls::pki_types::pem::Error),
    /// rustls refuses them.
    #[error("TLS cannot be set up")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How certificates are checked for this mode.
pub(crate) fn client_config(mode: TlsMode, target: &Target) -> Result<ClientConfig, TlsError> {
    let roots = target.root_certificate.as_deref();
    let provider = Arc::new(provider::default_provider());
    let setup = |error: Box<dyn std::error::Error + Send + Sync>| TlsError::Setup(error);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| setup(e.into()))?;
    let check = match (mode, roots) {
        (TlsMode::VerifyFull, _) => Check::Name,
        (TlsMode::VerifyCa, _) | (TlsMode::Require, Some(_)) => Check::Chain,
        _ => Check::Nothing,
    };
    let verifier = Verifier { provider: Arc::clone(&provider), check, chain: chain(&provider, check, roots)? };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &target.own_certificate {
        None => builder.with_no_client_auth(),
        Some(OwnCertificate { certificate, key }) => {
            let chain =
                CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).map_err(TlsError::Own)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(TlsError::Own)?;
            builder.with_client_auth_cert(chain, key).map_err(|e| setup(e.into()))?
        }
    };
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

fn chain(
    provider: &Arc<CryptoProvider>,
    check: Check,
    roots: Option<&Path>,
) -> Result<Option<Arc<WebPkiServerVerifier>>, TlsError> {
    if check == Check::Nothing {
        return Ok(None);
    }
    let mut store = RootCertStore::empty();
    match roots {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path).map_err(TlsError::Roots)? {
                let certificate = certificate.map_err(TlsError::Roots)?;
                store.add(certificate).map_err(|e| TlsError::Setup(e.into()))?;
            }
        }
        None => {
            store.add_parsable_certificates(system_roots().iter().cloned());
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .map(Some)
        .map_err(|e| TlsError::Setup(e.into()))
}

/// The system's certificates. Read once: it takes milliseconds, on a thread that serves sessions.
fn system_roots() -> &'static [CertificateDer<'static>] {
    static ROOTS: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| rustls_native_certs::load_native_certs().certs)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    Chain,
    Name,
}

/// Checks as much as the mode says; the handshake's signatures always.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    check: Check,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(leaf, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. },
            )) if self.check == Check::Chain => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The channel binding of a server's certificate (RFC 5929, `tls-server-end-point`): its hash by the algorithm
/// of its signature, SHA-256 where that is MD5 or SHA-1. `None` where the algorithm names no hash.
#[must_use]
pub fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let algorithm = match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        // RSA and ECDSA with MD5, SHA-1 or SHA-256.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => &digest::SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &digest::SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}
