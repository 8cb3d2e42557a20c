//! The certificate authority of connectors, gateways and the control plane itself.
//!
//! Its key and certificate are made at the first start and kept sealed in the store, so that all replicas issue
//! alike. Of a certificate request only the public key is taken: what a certificate says is decided here.

pub mod tls;

use crate::{
    seal::{SealError, Sealer},
    store::{Store, StoreError, kv},
};
use aws_lc_rs::digest;
use postern_api::fleet::PartKind;
use postern_proto::{CONTROL_PLANE_SERVER_NAME, GATEWAY_SERVER_NAME, IDENTITY_URI_PREFIX};
use postern_types::time::Micros;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use zeroize::Zeroizing;

/// Name of the row that holds the authority's key and certificate.
const ROOT: &str = "ca.root";

/// How long the root is good.
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How far another machine's clock may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Longest certificate request that is read.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// The kinds of key that are certified.
const KEY_KINDS: [&SignatureAlgorithm; 3] =
    [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];

/// The authority failed, or was asked for what it does not do.
#[derive(Debug, Error)]
pub enum CaError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root cannot be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A certificate cannot be made.
    #[error("a certificate cannot be made")]
    Issue(#[source] rcgen::Error),
    /// The stored root cannot be read.
    #[error("the stored certificate authority cannot be read")]
    Corrupt,
    /// The certificate request cannot be read, or is not signed by its own key.
    #[error("the certificate request cannot be read or is not signed by its own key")]
    Request,
    /// The key of the request is of a kind that is not certified.
    #[error("the certificate request's key must be ECDSA P-256, P-384 or Ed25519")]
    KeyKind,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// TLS cannot be set up: the verifier of client certificates.
    #[error("the verifier of client certificates cannot be set up")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

impl From<rcgen::Error> for CaError {
    fn from(error: rcgen::Error) -> Self {
        Self::Issue(error)
    }
}

/// A certificate that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// DER; its chain is the root, which its holder has.
    pub certificate: CertificateDer<'static>,
    /// When it ends.
    pub not_after: Micros,
}

/// The authority: issues certificates, and is known by the hash of its own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    fingerprint: String,
    lifetime: Duration,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority in the store, made at the first start. `lifetime` is that of the certificates it issues.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub async fn load(store: &Store, sealer: &Sealer, lifetime: Duration) -> Result<Self, CaError> {
        let stored = kv::get_or_create(store, sealer, ROOT, make_root).await?;
        let (key, root) = split_root(&stored).ok_or(CaError::Corrupt)?;
        let root = CertificateDer::from(root.to_vec());
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(key)).map_err(|_| CaError::Corrupt)?;
        let issuer = Issuer::from_ca_cert_der(&root, key)?;
        let fingerprint = data_encoding::HEXLOWER.encode(digest::digest(&digest::SHA256, &root).as_ref());
        Ok(Self { issuer, root, fingerprint, lifetime })
    }

    /// The root certificate, DER.
    #[must_use]
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// SHA-256 of the root certificate's DER in lower-case hexadecimal, as join tokens carry it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// How long the certificates of connectors and gateways are good.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A certificate for a connector or gateway, for the key of its request.
    ///
    /// # Errors
    /// When the request cannot be read, is not signed by its own key, or its key is of another kind.
    pub fn issue(&self, kind: PartKind, id: &str, request: &[u8]) -> Result<Issued, CaError> {
        if request.len() > MAX_REQUEST_BYTES {
            return Err(CaError::Request);
        }
        let request = CertificateSigningRequestParams::from_der(&request.into()).map_err(|_| CaError::Request)?;
        if !KEY_KINDS.contains(&request.public_key.algorithm()) {
            return Err(CaError::KeyKind);
        }
        let uri = spiffe_uri(kind, id);
        let mut names = vec![SanType::URI(uri.try_into()?)];
        let mut usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if kind == PartKind::Gateway {
            // A gateway is also the server that connectors dial.
            names.push(SanType::DnsName(GATEWAY_SERVER_NAME.try_into()?));
            usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        self.leaf(id, names, usages, &request.public_key)
    }

    /// A certificate and its key for the control plane's own listener.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn issue_server(&self) -> Result<(Issued, PrivateKeyDer<'static>), CaError> {
        let key = KeyPair::generate()?;
        let names = vec![SanType::DnsName(CONTROL_PLANE_SERVER_NAME.try_into()?)];
        let issued = self.leaf("control plane", names, vec![ExtendedKeyUsagePurpose::ServerAuth], &key)?;
        Ok((issued, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    fn leaf(
        &self,
        common_name: &str,
        names: Vec<SanType>,
        usages: Vec<ExtendedKeyUsagePurpose>,
        key: &impl PublicKeyData,
    ) -> Result<Issued, CaError> {
        let mut params = params(common_name, self.lifetime);
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let not_after = Micros(params.not_after.unix_timestamp().saturating_mul(1_000_000));
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Issued { certificate: certificate.into(), not_after })
    }
}

/// The URI by which a certificate names its holder.
#[must_use]
pub fn spiffe_uri(kind: PartKind, id: &str) -> String {
    format!("{IDENTITY_URI_PREFIX}{}/{id}", kind.as_str())
}

fn params(common_name: &str, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Postern");
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    // Whole seconds: a certificate has no finer ones.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let at = |seconds: u64| (UNIX_EPOCH + Duration::from_secs(seconds)).into();
    params.not_before = at(now.saturating_sub(CLOCK_SKEW.as_secs()));
    params.not_after = at(now.saturating_add(lifetime.as_secs()));
    params
}

/// `u32 BE length of key`, key (PKCS#8), certificate: one value, so that no replica sees half of it.
fn make_root() -> Result<Zeroizing<Vec<u8>>, CaError> {
    let key = KeyPair::generate()?;
    let mut params = params("Postern certificate authority", ROOT_LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = params.self_signed(&key)?;
    let key = Zeroizing::new(key.serialize_der());
    let length = u32::try_from(key.len()).map_err(|_| CaError::Corrupt)?;
    Ok(Zeroizing::new([&length.to_be_bytes(), key.as_slice(), root.der()].concat()))
}

fn split_root(stored: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = stored.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
