//! Secrets at rest: sealed under the master key, each bound to the name of the row that holds it, so that none
//! can be moved to another's place.

use crate::config::{Config, ConfigError};
use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use secrecy::{ExposeSecret, SecretString};
use std::{io::Write, path::Path};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// What a sealed value begins with, so that another form can follow one day.
const VERSION: u8 = 1;

const NONCE_BYTES: usize = 24;

const KEY_BYTES: usize = 32;

/// The file of the master key in the data folder, where the configuration names no other place.
const KEY_FILE: &str = "master.key";

/// The master key or a sealed value cannot be used.
#[derive(Debug, Error)]
pub enum SealError {
    /// The place that the configuration names cannot be read.
    #[error(transparent)]
    Source(#[from] ConfigError),
    /// The key's file cannot be made or read.
    #[error("the master key's file {path} cannot be made or read")]
    File {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not 32 bytes in base64.
    #[error("the master key must be 32 bytes in base64 (make one with `openssl rand -base64 32`)")]
    Key,
    /// It was sealed under another key or for another place, or was changed.
    #[error("the sealed value `{name}` cannot be opened: it was sealed under another master key or was changed")]
    Open {
        /// Which.
        name: String,
    },
    /// Sealing failed.
    #[error("the value `{name}` cannot be sealed")]
    Seal {
        /// Which.
        name: String,
    },
    /// The system's random generator failed.
    #[error("the system's random generator failed")]
    Random,
}

/// Seals and opens. Cheap to share, never printed.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// The sealer of this configuration: with the key that it names, or with the one in the data folder, which
    /// is made at the first start.
    ///
    /// # Errors
    /// When the key cannot be read or made.
    pub async fn load(config: &Config) -> Result<Self, SealError> {
        let text = match &config.master_key {
            Some(source) => source.read("master_key").await?,
            None => read_or_create(&config.data_dir.join(KEY_FILE))?,
        };
        Self::from_base64(&text)
    }

    /// A sealer for a key in base64.
    ///
    /// # Errors
    /// When it is not 32 bytes.
    pub fn from_base64(text: &SecretString) -> Result<Self, SealError> {
        let bytes = Zeroizing::new(BASE64.decode(text.expose_secret().trim()).map_err(|_| SealError::Key)?);
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| SealError::Key)?;
        Ok(Self { cipher })
    }

    /// Seals a value for the place `name`.
    ///
    /// # Errors
    /// When the system's generator fails.
    pub fn seal(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0u8; NONCE_BYTES];
        rand::fill(&mut nonce).map_err(|_| SealError::Random)?;
        let payload = Payload { msg: value, aad: name.as_bytes() };
        let sealed = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| SealError::Seal { name: name.to_owned() })?;
        Ok([&[VERSION], nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for the place `name`.
    ///
    /// # Errors
    /// When it was sealed under another key or for another place, or was changed.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let parts = || {
            let (version, rest) = sealed.split_first()?;
            let (nonce, ciphertext) = rest.split_at_checked(NONCE_BYTES)?;
            (*version == VERSION).then_some((nonce, ciphertext))
        };
        parts()
            .and_then(|(nonce, ciphertext)| {
                let payload = Payload { msg: ciphertext, aad: name.as_bytes() };
                self.cipher.decrypt(XNonce::from_slice(nonce), payload).ok()
            })
            .map(Zeroizing::new)
            .ok_or_else(|| SealError::Open { name: name.to_owned() })
    }
}

/// The key's file; made first if there is none, whole or not at all, for its owner only.
fn read_or_create(path: &Path) -> Result<SecretString, SealError> {
    let error = |source| SealError::File { path: path.display().to_string(), source };
    match std::fs::read_to_string(path) {
        Ok(text) => return Ok(SecretString::from(text)),
        Err(problem) if problem.kind() != std::io::ErrorKind::NotFound => {
            return Err(error(problem));
        }
        Err(_) => {}
    }
    let mut key = [0u8; KEY_BYTES];
    rand::fill(&mut key).map_err(|_| SealError::Random)?;
    let text = Zeroizing::new(BASE64.encode(key));
    key.zeroize();
    create(path, &text).map_err(error)?;
    // Read back: had another process made one meanwhile, that one counts.
    std::fs::read_to_string(path).map(SecretString::from).map_err(error)
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("new.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    // A link, not a rename: it never replaces a key that is there already.
    let linked = match std::fs::hard_link(&temporary, path) {
        Err(problem) if problem.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    std::fs::remove_file(&temporary)?;
    linked?;
    // Without its folder's entry the key would be lost to a power cut, and all that is sealed with it.
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::from_base64(&SecretString::from(BASE64.encode([byte; KEY_BYTES]))).unwrap()
    }

    #[test]
    fn opens_only_what_it_sealed_for_that_place() {
        let sealed = sealer(1).seal("ca.key", b"secret").unwrap();
        assert_eq!(**sealer(1).open("ca.key", &sealed).unwrap(), *b"secret");
        assert!(sealer(1).open("ticket.key", &sealed).is_err());
        assert!(sealer(2).open("ca.key", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer(1).open("ca.key", &changed).is_err(), "byte {at}");
            assert!(sealer(1).open("ca.key", &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_ne!(sealed, sealer(1).seal("ca.key", b"secret").unwrap());
    }

    #[test]
    fn keys_that_are_none() {
        for bad in ["", "short", "AAAA", &BASE64.encode([0; 31]), &BASE64.encode([0; 33])] {
            let error = Sealer::from_base64(&SecretString::from(bad.to_owned())).unwrap_err();
            assert!(matches!(error, SealError::Key), "{bad}");
        }
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        let first = read_or_create(&path).unwrap();
        let second = read_or_create(&path).unwrap();
        assert_eq!(first.expose_secret(), second.expose_secret());
        Sealer::from_base64(&first).unwrap();
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
