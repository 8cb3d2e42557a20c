//! Digests of what an answer is for: of parts whose lengths are in them, so that none can pass for another.

use aws_lc_rs::digest::{Context, SHA256};

/// One that is being made.
pub struct Digest(Context);

impl Digest {
    /// Of what: no two kinds have a digest in common.
    #[must_use]
    pub fn new(of: &str) -> Self {
        let mut digest = Self(Context::new(&SHA256));
        digest.put(b"postern statement review 1");
        digest.put(of.as_bytes());
        digest
    }

    /// One more part.
    pub fn put(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    /// A list of parts, as one.
    pub fn put_all(&mut self, parts: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        let mut all = Vec::new();
        for part in parts {
            let part = part.as_ref();
            all.extend((part.len() as u64).to_be_bytes());
            all.extend(part);
        }
        self.put(&all);
    }

    /// The types of parameters.
    pub fn put_types(&mut self, types: &[u32]) {
        self.put_all(types.iter().map(|oid| oid.to_be_bytes()));
    }

    /// The digest.
    #[must_use]
    pub fn done(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |kind: &str, parts: &[&str]| {
            let mut digest = Digest::new(kind);
            parts.iter().for_each(|part| digest.put(part.as_bytes()));
            digest.done()
        };
        let list = |parts: &[&str]| {
            let mut digest = Digest::new("key");
            digest.put_all(parts);
            digest.done()
        };
        assert_eq!(of("key", &["a", "b"]), of("key", &["a", "b"]));
        assert_ne!(of("key", &["a", "b"]), of("key", &["ab"]));
        assert_ne!(of("key", &["a", "b"]), of("shape", &["a", "b"]));
        assert_ne!(list(&["a", "b"]), list(&["ab", ""]));
    }
}
