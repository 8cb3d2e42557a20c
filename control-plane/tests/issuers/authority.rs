//! Authorities that sign machines' certificates, in tests.

use postern_control_plane::identity::issuers::certificates::Shown;
use postern_types::time::Micros;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::pki_types::CertificateDer;
use std::time::Duration;

/// What a certificate says, before it is signed.
pub type Params = CertificateParams;

/// An authority, with its key.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// One that nobody has signed but itself.
    pub fn root(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// One that says something else.
    pub fn with(name: &str, change: impl FnOnce(&mut Params)) -> Self {
        Self(CertifiedIssuer::self_signed(authority(name, change), KeyPair::generate().unwrap()).unwrap())
    }

    /// One that this one has signed.
    pub fn below(&self, name: &str, change: impl FnOnce(&mut Params)) -> Self {
        let params = authority(name, change);
        Self(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A machine's certificate.
    pub fn sign(&self, params: &Params) -> CertificateDer<'static> {
        params.signed_by(&KeyPair::generate().unwrap(), &self.0).unwrap().der().clone()
    }
}

fn authority(name: &str, change: impl FnOnce(&mut Params)) -> Params {
    let mut params = Params::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    change(&mut params);
    params
}

/// A machine of this SPIFFE id.
pub fn spiffe(id: &str) -> Params {
    let mut params = Params::default();
    params.subject_alt_names.push(SanType::URI(id.try_into().unwrap()));
    params
}

/// Good from so many seconds after now, until so many.
pub fn between(mut params: Params, from: i64, until: i64) -> Params {
    let at = |seconds: i64| {
        let since = u64::try_from(Micros::now().0 / 1_000_000 + seconds).unwrap();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(since)
    };
    (params.not_before, params.not_after) = (at(from), at(until));
    params
}

/// A chain, a client's own certificate first.
pub fn shown<const N: usize>(chain: [CertificateDer<'static>; N]) -> Shown {
    Shown::chain(chain.into())
}
