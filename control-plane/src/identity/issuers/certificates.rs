//! Certificates by which machines prove which they are ([RFC 8705](https://www.rfc-editor.org/rfc/rfc8705)): whose one is, by
//! what the documents say now. That whoever shows one has its key, the TLS handshake has proved.

use crate::problem::shorten;
use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use postern_api::issuer::{ClaimIs, IssuerAgent, IssuerDocument, Proof};
use postern_types::time::Micros;
use rustls::{
    CertificateError, Error as TlsError, RootCertStore,
    crypto::aws_lc_rs as provider,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};
use thiserror::Error;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    parse_x509_certificate,
    time::ASN1Time,
    x509::{AttributeTypeAndValue, X509Name},
};

/// What conditions name of a certificate.
pub const NAMES: [&str; 3] = ["uri", "dns", "subject"];

/// The most that the names of all authorities may have: they are in one message of each handshake.
const MAX_SUBJECT_BYTES: usize = 16 * 1024;

/// The most authorities of one document.
const MAX_AUTHORITIES: usize = 100;

/// What a client has shown of itself under TLS: its own certificate, whose key it has proved to have, and those between it and
/// an authority. Nothing, by default.
#[derive(Clone, Debug, Default)]
pub struct Shown(Arc<[CertificateDer<'static>]>);

impl Shown {
    /// This chain, the client's own certificate first.
    #[must_use]
    pub fn chain(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self(certificates.into())
    }

    /// The SHA-256 of the client's own certificate, in hexadecimal; none: it has shown nothing.
    #[must_use]
    pub fn thumbprint(&self) -> Option<String> {
        self.0.first().map(|own| HEXLOWER.encode(digest::digest(&digest::SHA256, own).as_ref()))
    }
}

/// Why a certificate is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// There is none.
    #[error("none was shown")]
    Missing,
    /// It is not the one that it has to be.
    #[error("it is another one")]
    Another,
    /// It cannot be read.
    #[error("it cannot be read")]
    Malformed,
    /// No document's authority has signed it.
    #[error("it is signed by no authority that is trusted here")]
    Untrusted,
    /// Something else is wrong with it, or with those between it and an authority.
    #[error("{0}")]
    Invalid(String),
    /// It is genuine, and nobody's here.
    #[error("it is genuine, and its names are those of no agent here")]
    Nobody,
    /// It is genuine, and of another agent than it has to be.
    #[error("it is another agent's")]
    AnotherAgents,
}

/// Whose a certificate is.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// By which document.
    pub(super) issuer: &'a IssuerDocument,
    /// Which of its agents.
    pub(super) entry: &'a IssuerAgent,
    /// What the machine is called: the first of its names.
    pub(super) subject: String,
    /// The names that decided, for the record.
    pub(super) told: Value,
    /// Its SHA-256.
    pub(super) thumbprint: String,
    /// When it ends.
    pub(super) ends_at: Micros,
}

/// Whose the certificate is that was shown: the first agent of the first document that know it. `agent`: it has to be this
/// one's.
pub(super) fn whose<'a>(
    issuers: &'a [IssuerDocument],
    shown: &Shown,
    agent: Option<&str>,
    now: Micros,
) -> Result<Known<'a>, Refused> {
    let [own, between @ ..] = &*shown.0 else { return Err(Refused::Missing) };
    let (_, parsed) = parse_x509_certificate(own).map_err(|_| Refused::Malformed)?;
    let names = Names::of(&parsed)?;
    let mut refused = Refused::Untrusted;
    for issuer in issuers {
        let Some(Proof::Certificates(pem)) = issuer.proof() else { continue };
        match verify(pem, own, between, now) {
            Ok(()) => {}
            // Another document may trust another authority of that name.
            Err(Refused::Untrusted) => continue,
            Err(error) => {
                refused = error;
                continue;
            }
        }
        let Some(entry) = issuer.agents.iter().find(|entry| names.fit(entry)) else {
            refused = Refused::Nobody;
            continue;
        };
        if agent.is_some_and(|agent| agent != entry.agent) {
            return Err(Refused::AnotherAgents);
        }
        return Ok(Known {
            issuer,
            entry,
            subject: names.first(),
            told: names.told(entry),
            thumbprint: shown.thumbprint().unwrap_or_default(),
            ends_at: Micros(parsed.validity().not_after.timestamp().saturating_mul(1_000_000)),
        });
    }
    Err(refused)
}

/// Whether one of these authorities has signed it, for a client, and all is good now.
fn verify(pem: &str, own: &CertificateDer<'_>, between: &[CertificateDer<'_>], now: Micros) -> Result<(), Refused> {
    let seconds = now.0 / 1_000_000;
    let mut roots = RootCertStore::empty();
    for authority in read(pem).unwrap_or_default() {
        // Of an authority itself that is not looked at otherwise.
        let is_good = parse_x509_certificate(&authority)
            .is_ok_and(|(_, it)| ASN1Time::from_timestamp(seconds).is_ok_and(|now| it.validity().is_valid_at(now)));
        if is_good {
            roots.add(authority).map_err(|_| Refused::Untrusted)?;
        }
    }
    if roots.is_empty() {
        return Err(Refused::Untrusted);
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider::default_provider())).build();
    let verifier = verifier.map_err(|error| Refused::Invalid(error.to_string()))?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    verifier.verify_client_cert(own, between, time).map(drop).map_err(|error| reason(&error))
}

fn reason(error: &TlsError) -> Refused {
    let TlsError::InvalidCertificate(error) = error else { return Refused::Malformed };
    let why = match error {
        CertificateError::UnknownIssuer => return Refused::Untrusted,
        CertificateError::BadEncoding => return Refused::Malformed,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its time, or its authority's, is over",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its time, or its authority's, has not begun"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for clients (extended key usage)"
        }
        CertificateError::BadSignature => "it is signed by another key than its authority's",
        other => return Refused::Invalid(format!("its chain cannot be verified: {}", shorten(&format!("{other:?}")))),
    };
    Refused::Invalid(why.to_owned())
}

/// The authorities of a document.
///
/// # Errors
/// What is wrong with it.
pub fn authorities(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    if pem.contains("PRIVATE KEY-----") {
        return Err("there is a private key in it, which belongs nowhere but at the authority".to_owned());
    }
    let authorities = read(pem)?;
    if authorities.is_empty() || authorities.len() > MAX_AUTHORITIES {
        return Err(format!("give 1 to {MAX_AUTHORITIES} certificates, in PEM"));
    }
    for (at, der) in authorities.iter().enumerate() {
        let number = at + 1;
        let (_, parsed) = parse_x509_certificate(der).map_err(|_| format!("certificate {number} cannot be read"))?;
        if !parsed.is_ca() {
            return Err(format!(
                "certificate {number}, of `{}`, is no authority's",
                shorten(&parsed.subject().to_string())
            ));
        }
        RootCertStore::empty().add(der.clone()).map_err(|error| format!("certificate {number} is refused: {error}"))?;
    }
    Ok(authorities)
}

/// The names of the authorities of these documents, as clients are told them; none where they are too many, which is for a
/// certificate of anybody's.
pub(super) fn subjects(issuers: &[IssuerDocument]) -> Vec<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    for issuer in issuers {
        if let Some(Proof::Certificates(pem)) = issuer.proof() {
            roots.add_parsable_certificates(read(pem).unwrap_or_default());
        }
    }
    let subjects: Vec<Vec<u8>> = roots.subjects().iter().map(|subject| subject.as_ref().to_vec()).collect();
    let bytes: usize = subjects.iter().map(Vec::len).sum();
    if bytes > MAX_SUBJECT_BYTES { Vec::new() } else { subjects }
}

fn read(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("it is no PEM: {error}"))
}

/// What a certificate calls its owner.
#[derive(Debug)]
struct Names {
    uri: Vec<String>,
    dns: Vec<String>,
    subject: Option<String>,
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Result<Self, Refused> {
        let alternative = certificate.subject_alternative_name().map_err(|_| Refused::Malformed)?;
        let mut names = Self { uri: Vec::new(), dns: Vec::new(), subject: distinguished(certificate.subject()) };
        for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::URI(uri) => names.uri.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => names.dns.push((*dns).to_owned()),
                _ => {}
            }
        }
        Ok(names)
    }

    /// The names of this kind, one of [`NAMES`].
    fn named(&self, kind: &str) -> &[String] {
        match kind {
            "uri" => &self.uri,
            "dns" => &self.dns,
            "subject" => self.subject.as_slice(),
            _ => &[],
        }
    }

    fn one_that_is(&self, (kind, wanted): (&String, &ClaimIs)) -> Option<&String> {
        self.named(kind).iter().find(|name| wanted.is_text(name))
    }

    /// Whether all conditions hold.
    fn fit(&self, entry: &IssuerAgent) -> bool {
        !entry.when.is_empty() && entry.when.iter().all(|condition| self.one_that_is(condition).is_some())
    }

    fn told(&self, entry: &IssuerAgent) -> Value {
        let told =
            entry.when.iter().filter_map(|condition| Some((condition.0.clone(), json!(self.one_that_is(condition)?))));
        Value::Object(told.collect::<Map<_, _>>())
    }

    fn first(&self) -> String {
        let names = NAMES.iter().find_map(|kind| self.named(kind).first());
        names.map(|name| shorten(name)).unwrap_or_default()
    }
}

/// A distinguished name as [RFC 4514](https://www.rfc-editor.org/rfc/rfc4514) writes it, so that different names are different
/// texts; none where it is empty, or has what is not written so here.
fn distinguished(name: &X509Name<'_>) -> Option<String> {
    let parts: Option<Vec<String>> = name
        .iter_rdn()
        .map(|part| part.iter().map(attribute).collect::<Option<Vec<_>>>().map(|attributes| attributes.join("+")))
        .collect();
    let mut parts = parts?;
    parts.reverse();
    (!parts.is_empty()).then(|| parts.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let kind = match attribute.attr_type().to_id_string().as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => return None,
    };
    let value = attribute.as_str().ok().filter(|value| !value.chars().any(char::is_control))?;
    let mut text = format!("{kind}=");
    let last = value.chars().count().saturating_sub(1);
    for (at, char) in value.chars().enumerate() {
        let escaped = match char {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            '#' => at == 0,
            ' ' => at == 0 || at == last,
            _ => false,
        };
        if escaped {
            text.push('\\');
        }
        text.push(char);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_fuzz::{mangled, proptest, target};
    use proptest::prelude::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use std::sync::OnceLock;

    fn named(names: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["job.example.com".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn subject(names: &[(DnType, &str)]) -> Option<String> {
        let der = named(names);
        distinguished(parse_x509_certificate(&der).unwrap().1.subject())
    }

    /// As `openssl x509 -noout -subject -nameopt RFC2253` writes them.
    #[test]
    fn subjects_are_written_so_that_none_passes_for_another() {
        use DnType::{CommonName as CN, OrganizationName as O, OrganizationalUnitName as OU};
        assert_eq!(subject(&[(O, "Acme"), (OU, "jobs"), (CN, "nightly")]).unwrap(), "CN=nightly,OU=jobs,O=Acme");
        assert_eq!(subject(&[(CN, "nightly,O=Acme")]).unwrap(), "CN=nightly\\,O=Acme");
        assert_eq!(subject(&[(CN, " #a \\ \"b\"+c; <d> ")]).unwrap(), "CN=\\ #a \\\\ \\\"b\\\"\\+c\\; \\<d\\>\\ ");
        assert_eq!(subject(&[(CN, "#a")]).unwrap(), "CN=\\#a");
        for odd in [vec![], vec![(CN, "a\0b")], vec![(CN, "a\nb")], vec![(DnType::CustomDnType(vec![2, 5, 4, 5]), "7")]]
        {
            assert_eq!(subject(&odd), None, "{odd:?}");
        }
    }

    /// A certificate, and the document by which it is somebody's.
    fn genuine() -> &'static (Vec<u8>, IssuerDocument) {
        static GENUINE: OnceLock<(Vec<u8>, IssuerDocument)> = OnceLock::new();
        GENUINE.get_or_init(|| {
            let mut authority = CertificateParams::new(Vec::new()).unwrap();
            authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let pem = authority.self_signed(&key).unwrap().pem();
            let own = CertificateParams::new(vec!["job.example.com".to_owned()]).unwrap();
            let own = own.signed_by(&KeyPair::generate().unwrap(), &Issuer::new(authority, key)).unwrap();
            let document = json!({
                "name": "machines", "authorities": pem,
                "agents": [{ "agent": "ci", "when": { "dns": "job.example.com" } }],
            });
            (own.der().to_vec(), serde_json::from_value(document).unwrap())
        })
    }

    fn is_somebodys(der: Vec<u8>) -> bool {
        let shown = Shown::chain(vec![CertificateDer::from(der)]);
        whose(std::slice::from_ref(&genuine().1), &shown, None, Micros::now()).is_ok()
    }

    #[test]
    fn a_genuine_one_is_somebodys() {
        assert!(is_somebodys(genuine().0.clone()));
    }

    target!(fuzz_certificates, mangled(Just(genuine().0.clone())), |der| {
        prop_assert!(der == genuine().0 || !is_somebodys(der), "what was not signed");
        Ok(())
    });
}
