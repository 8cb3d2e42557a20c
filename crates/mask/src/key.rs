//! The secret that keyed masks use.

use aws_lc_rs::{digest::SHA256_OUTPUT_LEN, hmac};
use std::{fmt, sync::Arc};

/// A connection's key. Who has it can tell whether a hash belongs to a value that they guess.
#[derive(Clone)]
pub struct Key(Arc<hmac::Key>);

/// What a digest is for. Those of different purposes say nothing of each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Hash = 1,
    Noise = 2,
}

impl Key {
    /// From 32 secret bytes.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// The keyed digest of a value.
    pub(crate) fn digest(&self, purpose: Purpose, value: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[purpose as u8]);
        context.update(value);
        let mut digest = [0; SHA256_OUTPUT_LEN];
        for (to, from) in digest.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        digest
    }

    /// The first 128 bits of it.
    pub(crate) fn number(&self, purpose: Purpose, value: &[u8]) -> u128 {
        let digest = self.digest(purpose, value);
        digest.first_chunk().map_or(0, |first| u128::from_be_bytes(*first))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}
