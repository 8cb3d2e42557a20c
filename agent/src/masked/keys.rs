//! The secrets of masks: 32 random bytes for each connection, made here and kept here. They never leave this host.

use aws_lc_rs::{
    hmac::{HMAC_SHA256, Key as Hmac, sign},
    rand,
};
use parking_lot::Mutex;
use postern_mask::Key;
use std::{
    collections::HashMap,
    fmt, fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    sync::Arc,
};

const BYTES: usize = 32;

/// The keys of all connections.
pub struct Keys {
    folder: PathBuf,
    known: Mutex<HashMap<String, Arc<Hmac>>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Those that are kept in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder, known: Mutex::default() })
    }

    /// The key for values with a tag: what has different tags cannot be compared.
    ///
    /// # Errors
    /// When the connection's secret can neither be read nor made.
    pub fn of(&self, connection: &str, tag: &str) -> io::Result<Key> {
        let secret = self.secret(connection)?;
        let mut bytes = [0; BYTES];
        for (to, from) in bytes.iter_mut().zip(sign(&secret, tag.as_bytes()).as_ref()) {
            *to = *from;
        }
        Ok(Key::new(&bytes))
    }

    /// The key for digests of what people are asked to agree to, which the control plane compares.
    ///
    /// # Errors
    /// Likewise.
    pub fn of_reviews(&self, connection: &str) -> io::Result<Hmac> {
        // No tag begins so.
        Ok(Hmac::new(HMAC_SHA256, sign(&*self.secret(connection)?, b"\0reviews").as_ref()))
    }

    fn secret(&self, connection: &str) -> io::Result<Arc<Hmac>> {
        let mut known = self.known.lock();
        if let Some(secret) = known.get(connection) {
            return Ok(Arc::clone(secret));
        }
        let secret = Arc::new(Hmac::new(HMAC_SHA256, &self.read_or_make(connection)?));
        known.insert(connection.to_owned(), Arc::clone(&secret));
        Ok(secret)
    }

    fn read_or_make(&self, connection: &str) -> io::Result<[u8; BYTES]> {
        // Letters, digits and a few signs, as the control plane has checked it; a stranger's name opens no other file.
        if connection.is_empty() || connection.starts_with('.') || connection.contains(['/', '\0']) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the connection's name is no file's name"));
        }
        let path = self.folder.join(connection);
        let mut bytes = [0; BYTES];
        match fs::File::open(&path) {
            Ok(mut file) => {
                // INVARIANT: a short file is an error, and never a weak key.
                file.read_exact(&mut bytes)?;
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        rand::fill(&mut bytes).map_err(io::Error::other)?;
        let new = self.folder.join(format!(".{connection}.new"));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(&self.folder)?.sync_all()?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_mask::{Format, Mask, Masker, Put, Type};
    use std::os::unix::fs::PermissionsExt;

    fn hash(keys: &Keys, connection: &str, tag: &str) -> Vec<u8> {
        let key = keys.of(connection, tag).unwrap();
        let mut out = Vec::new();
        let masker = Masker::new(Some(Mask::Hash), Type::text(), &key);
        assert_eq!(masker.put(Format::Text, b"ada@example.com", &mut out), Put::Value);
        out
    }

    #[test]
    fn a_key_outlives_the_process_and_is_of_one_connection_and_tag() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("masks");
        let first = hash(&Keys::open(path.clone()).unwrap(), "demo", "pii.email");
        let again = Keys::open(path.clone()).unwrap();
        assert_eq!(hash(&again, "demo", "pii.email"), first);
        assert_ne!(hash(&again, "demo", "pii.phone"), first);
        assert_ne!(hash(&again, "other", "pii.email"), first);
        let mode = fs::metadata(path.join("demo")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(path.join("short"), b"0123456789").unwrap();
        assert!(again.of("short", "pii.email").is_err());
        assert!(again.of("../demo", "pii.email").is_err());
    }
}
