//! What a part keeps of itself between starts.

use postern_proto::v1 as proto;
use postern_types::time::Micros;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};
use thiserror::Error;

const FILE: &str = "identity.json";

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Next to a database.
    Connector,
    /// A front door.
    Gateway,
    /// The control plane.
    ControlPlane,
}

impl Kind {
    /// As certificates and messages name it.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "connector" => Some(Self::Connector),
            "gateway" => Some(Self::Gateway),
            "control-plane" => Some(Self::ControlPlane),
            _ => None,
        }
    }
}

/// The identity cannot be read or written.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The file.
    #[error("the identity file in the data folder cannot be read or written")]
    Io(#[from] io::Error),
    /// Its content.
    #[error("the identity file in the data folder is damaged; remove it and enrol again with a new join token")]
    Damaged(#[from] serde_json::Error),
    /// What the control plane sent.
    #[error("the control plane sent an identity that cannot be used: {0}")]
    Unusable(&'static str),
}

/// A certificate, its key, and whom to trust. Its `Debug` shows no key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// What this part is.
    pub kind: Kind,
    /// Its id, as in the certificate.
    pub id: String,
    /// Its name.
    pub name: String,
    /// DER, leaf first.
    chain: Vec<Vec<u8>>,
    /// PKCS#8, DER.
    key: Vec<u8>,
    /// DER.
    ca: Vec<u8>,
    /// Raw Ed25519 keys by which tickets are verified.
    pub ticket_keys: Vec<Vec<u8>>,
    /// When the certificate was got.
    pub obtained_at: Micros,
    /// When it expires.
    pub expires_at: Micros,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("kind", &self.kind).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Identity {
    /// From what the control plane sent and the key that it was made for.
    pub(crate) fn from_proto(identity: proto::Identity, key: Vec<u8>) -> Result<Self, IdentityError> {
        let kind = Kind::from_name(&identity.kind).ok_or(IdentityError::Unusable("its kind is unknown"))?;
        if identity.certificate_chain.is_empty() || identity.ca_certificate.is_empty() {
            return Err(IdentityError::Unusable("it has no certificate"));
        }
        Ok(Self {
            kind,
            id: identity.id,
            name: identity.name,
            chain: identity.certificate_chain.iter().map(|der| der.to_vec()).collect(),
            key,
            ca: identity.ca_certificate.to_vec(),
            ticket_keys: identity.ticket_keys.iter().map(|key| key.to_vec()).collect(),
            obtained_at: Micros::now(),
            expires_at: Micros(identity.not_after_us),
        })
    }

    /// The identity kept in this folder, if there is one.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load(folder: &Path) -> Result<Option<Self>, IdentityError> {
        match fs::read(folder.join(FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether this folder holds an identity that is still good, so that no join token is needed.
    #[must_use]
    pub fn is_kept(folder: &Path) -> bool {
        Self::load(folder).ok().flatten().is_some_and(|identity| identity.expires_at > Micros::now())
    }

    /// Keeps it, readable by the owner alone; the file is replaced as a whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let new = folder.join("identity.json.new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&new, folder.join(FILE))?;
        Ok(())
    }

    /// The certificate chain for TLS.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().cloned().map(CertificateDer::from).collect()
    }

    /// The private key for TLS.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// The authority that signs all parts.
    #[must_use]
    pub fn ca(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.ca.clone())
    }
}
