//! What the control plane has signed.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

/// Whether one of these keys has signed these bytes as what the context says that they are.
pub fn is_genuine(context: &[u8], bytes: &[u8], signature: &[u8], keys: &[Vec<u8>]) -> bool {
    let message = [context, bytes].concat();
    keys.iter().any(|key| UnparsedPublicKey::new(&ED25519, key).verify(&message, signature).is_ok())
}
