//! Postern's own side: as what it is known to a provider, what it demands of the provider's word, and the key by which it signs
//! what it asks and opens what is encrypted for it.

use crate::{
    Core,
    identity::people::SignInFailed,
    seal::Sealer,
    store::{Store, kv},
};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use saml_rs::{
    AcsEndpoint, AssertionSignaturePolicy, AudienceValidationPolicy, AuthnRequestSigningPolicy, CertificatePem,
    Credentials, EntityId, LogoutPolicy, NameIdCreationPolicy, NameIdFormat, PrivateKeyPem, ResponseSignaturePolicy,
    Saml, SamlError, Sp, SpConfig, SpValidationPolicy, XmlEncryptionPolicy, XmlPolicy, XmlSignatureProfile,
    xml::XmlLimits,
};
use zeroize::Zeroizing;

/// Name of the row that holds the key and its certificate, one after the other.
const KEY: &str = "saml.rsa";

/// How a certificate begins.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// The longest message that is read.
pub(super) const MAX_XML_BYTES: usize = 256 << 10;

/// Elements within each other: what providers write is a third as deep.
const MAX_DEPTH: usize = 48;

/// Elements of a message: thousands of groups fit.
const MAX_NODES: usize = 20_000;

/// The key of all replicas. RSA, since providers encrypt for no other.
pub(super) struct Key {
    private: PrivateKeyPem,
    certificate: CertificatePem,
}

impl Key {
    /// The key in the store, made when it is needed first.
    pub(super) async fn load(store: &Store, sealer: &Sealer) -> Result<Self, SignInFailed> {
        let stored = kv::get_or_create(store, sealer, KEY, make).await?;
        let text = std::str::from_utf8(&stored).map_err(SignInFailed::fault)?;
        let (private, certificate) = text.split_at(text.find(CERTIFICATE).unwrap_or(text.len()));
        Ok(Self { private: PrivateKeyPem::new(private), certificate: CertificatePem::new(certificate) })
    }
}

fn make() -> Result<Zeroizing<Vec<u8>>, SignInFailed> {
    let made = || {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "Postern");
        let certificate = params.self_signed(&key)?.pem();
        Ok::<_, rcgen::Error>(Zeroizing::new(format!("{}{certificate}", key.serialize_pem()).into_bytes()))
    };
    made().map_err(SignInFailed::fault)
}

/// Below which address everything is that has to do with a provider.
pub(super) fn place(core: &Core, name: &str) -> Result<String, SignInFailed> {
    let own = core.own_url().ok_or(SignInFailed::NoAddress)?;
    Ok(format!("{own}/saml/{name}"))
}

/// Where a provider has browsers post its answers.
pub(super) fn answers_at(place: &str) -> Result<AcsEndpoint, SamlError> {
    AcsEndpoint::post(format!("{place}/acs"))
}

/// Postern, as one provider knows it. `signs`: the provider wants it to sign what it asks. `opens`: the answer is encrypted.
pub(super) fn side(place: &str, key: &Key, signs: bool, opens: bool) -> Result<Saml<Sp>, SamlError> {
    // The standard is content with a signature on the response alone. That each assertion is signed itself leaves nothing to
    // wrap, and there is one shape of signatures. What is encrypted comes within a response that is signed too: nothing is
    // opened that somebody on the way has made, lest they learn from our answers what is in what they have seen.
    let validation = SpValidationPolicy {
        assertions: AssertionSignaturePolicy::RequireSigned,
        responses: if opens {
            ResponseSignaturePolicy::RequireSigned
        } else {
            ResponseSignaturePolicy::RequireForEncryptedCbc
        },
        xml_signatures: XmlSignatureProfile::StrictRsaSha2,
        authn_requests: if signs {
            AuthnRequestSigningPolicy::Sign
        } else {
            AuthnRequestSigningPolicy::DoNotSignForCompatibility
        },
        audience: AudienceValidationPolicy::Validate,
        name_id_creation: NameIdCreationPolicy::AllowCreate,
        logout: LogoutPolicy::recommended(),
    };
    let limits =
        XmlLimits { max_bytes: MAX_XML_BYTES, max_depth: MAX_DEPTH, max_nodes: MAX_NODES, ..XmlLimits::default() };
    let encryption = if opens { XmlEncryptionPolicy::encrypt_assertions() } else { XmlEncryptionPolicy::default() };
    let credentials = Credentials {
        signing_key: Some(key.private.clone()),
        signing_certificate: Some(key.certificate.clone()),
        encryption_certificate: Some(key.certificate.clone()),
        decryption_key: Some(key.private.clone()),
        ..Credentials::default()
    };
    let config = SpConfig::builder(EntityId::try_new(format!("{place}/metadata"))?)
        .acs_endpoint(answers_at(place)?)
        // Whichever the provider is set up to give.
        .name_id_format(NameIdFormat::Unspecified)
        .credentials(credentials)
        .validation(validation)
        .xml(XmlPolicy { limits, encryption, ..XmlPolicy::default() })
        .build()?;
    Saml::sp(config)
}
