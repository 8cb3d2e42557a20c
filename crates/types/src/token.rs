//! Secrets that are shown once: API tokens, join tokens, grant secrets.
//!
//! Each has 160 bits or more from the system's generator, so that a plain SHA-256 is enough to keep it by; what
//! proves a grant over the network is kept as a SCRAM verifier instead.

use aws_lc_rs::{digest, rand};
use data_encoding::{Encoding, Specification};
use secrecy::{ExposeSecret, SecretString};

/// Bytes of randomness in a secret: 200 bits, 40 letters in base 32.
const SECRET_BYTES: usize = 25;

/// The system's random generator failed: nothing secret can be made.
#[derive(Debug, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct RandomError;

/// A fresh secret: `prefix` and 40 letters and digits, safe in a URL without escaping.
///
/// # Errors
/// When the system's generator fails.
pub fn generate(prefix: &str) -> Result<SecretString, RandomError> {
    let mut bytes = [0u8; SECRET_BYTES];
    rand::fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(SecretString::from(format!("{prefix}{}", encoding().encode(&bytes))))
}

/// What a token is kept and looked up by: SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn fingerprint(secret: &SecretString) -> String {
    let hash = digest::digest(&digest::SHA256, secret.expose_secret().as_bytes());
    data_encoding::HEXLOWER.encode(hash.as_ref())
}

/// Base 32 without padding and without letters that are taken for digits.
fn encoding() -> Encoding {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijkmnpqrstuvwxyz23456789");
    // The specification is a constant; it is valid or the tests below fail.
    specification.encoding().unwrap_or(data_encoding::BASE32_DNSSEC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_are_url_safe() {
        let (a, b) = (generate("pst_").unwrap(), generate("pst_").unwrap());
        assert_ne!(a.expose_secret(), b.expose_secret());
        assert!(a.expose_secret().bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'));
        assert_eq!(a.expose_secret().len(), 44);
        assert_ne!(fingerprint(&a), fingerprint(&b));
        assert!(encoding().encode(b"abc").bytes().all(|c| c != b'l' && c != b'o'));
    }
}
