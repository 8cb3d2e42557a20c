//! TLS 1.3 between the parts: both sides show certificates of the control plane's authority, and who a peer is
//! stands in its certificate's SPIFFE-style URI.

use crate::identity::{Identity, Kind};
use aws_lc_rs::digest;
use postern_proto::IDENTITY_URI_PREFIX;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{VerifierBuilderError, WebPkiClientVerifier},
    version::TLS13,
};
use std::sync::Arc;
use thiserror::Error as ThisError;
use tokio::{io::BufReader, net::TcpStream};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// What is read of a connection at once.
const READ_BUFFER: usize = 64 * 1024;

/// rustls asks for no more than 4 KiB at once, a quarter of a record: this asks for more on its behalf.
#[must_use]
pub fn buffered(stream: TcpStream) -> BufReader<TcpStream> {
    BufReader::with_capacity(READ_BUFFER, stream)
}

/// A configuration cannot be made from an identity.
#[derive(Debug, ThisError)]
pub enum TlsError {
    /// rustls refuses the certificate or key.
    #[error("the identity's certificate or key cannot be used")]
    Rustls(#[from] Error),
    /// The authority's certificate cannot be used.
    #[error("the authority's certificate cannot be used")]
    Verifier(#[from] VerifierBuilderError),
}

fn roots(identity: &Identity) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.ca())?;
    Ok(Arc::new(roots))
}

/// To dial another part with this identity.
///
/// # Errors
/// When the identity cannot be used.
pub fn client(identity: &Identity, alpn: &[u8]) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(identity)?)
        .with_client_auth_cert(identity.chain(), identity.key())?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

/// To be dialled by other parts, which must show a certificate.
///
/// # Errors
/// When the identity cannot be used.
pub fn server(identity: &Identity, alpn: Vec<Vec<u8>>) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(provider::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(identity)?, Arc::clone(&provider)).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain(), identity.key())?;
    config.alpn_protocols = alpn;
    // Tunnels are few and long-lived: nothing to gain from tickets.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// To enrol: the server is known only by the hash of its authority's certificate, which it must show.
pub(crate) fn enrolment(ca_sha256: [u8; 32]) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(provider::default_provider());
    let verifier = PinnedAuthority { ca_sha256, provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Trusts an authority's certificate because its hash is that of the join token.
#[derive(Debug)]
struct PinnedAuthority {
    ca_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned =
            |certificate: &&CertificateDer<'_>| digest::digest(&digest::SHA256, certificate).as_ref() == self.ca_sha256;
        let Some(authority) = intermediates.iter().find(pinned) else {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(leaf, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".to_owned()))
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

/// Who a verified certificate is: from `spiffe://postern/<kind>/<id>`.
#[must_use]
pub fn peer(certificate: &[u8]) -> Option<(Kind, String)> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    // Exactly one: two identities would be none.
    let (uri, None) = (uris.next()?, uris.next()) else {
        return None;
    };
    let (kind, id) = uri.strip_prefix(IDENTITY_URI_PREFIX)?.split_once('/')?;
    Some((Kind::from_name(kind)?, id.to_owned()))
}
