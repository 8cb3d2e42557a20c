//! Certificates of clients, where these may show one and need none: at the gateways' door and at the control plane's HTTPS.
//!
//! The handshake proves one thing: whoever shows a certificate has its key. By whom it is signed, for what, and until when, the
//! control plane judges when something is asked for that needs it: by what its documents say then, with words that can be
//! read and a record of why. So clients that show a certificate which is meant for another server are not turned away.

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use std::sync::Arc;

/// The most certificates that a client may show: its own and those between it and an authority.
pub const MAX_CERTIFICATES: usize = 8;

/// The most that they may have together.
pub const MAX_BYTES: usize = 32 * 1024;

/// Whether a chain is short enough to be looked at.
#[must_use]
pub fn is_bounded<'a>(chain: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let counted = chain.into_iter().fold((0, 0), |(count, bytes), der| (count + 1, bytes + der.len()));
    counted.0 <= MAX_CERTIFICATES && counted.1 <= MAX_BYTES
}

/// Asks for a certificate, and has whoever shows one prove the possession of its key.
#[derive(Debug)]
pub struct Possession {
    provider: Arc<CryptoProvider>,
    authorities: Vec<DistinguishedName>,
}

impl Possession {
    /// Asks for a certificate of one of these authorities; of any, where there are none. It is a hint for who has several.
    #[must_use]
    pub fn new(provider: Arc<CryptoProvider>, authorities: Vec<DistinguishedName>) -> Arc<Self> {
        Arc::new(Self { provider, authorities })
    }
}

impl ClientCertVerifier for Possession {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if is_bounded(intermediates.iter().chain([leaf]).map(AsRef::as_ref)) {
            return Ok(ClientCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
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
