//! Session tickets, policy bundles and decisions on statement reviews: signed by the control plane, checked by the connector.

use crate::{
    seal::{SealError, Sealer},
    store::{Store, StoreError, kv},
};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use bytes::Bytes;
use postern_proto::v1::{
    EXTENSION_CONTEXT, GrantExtension, POLICIES_CONTEXT, PolicyBundle, REVIEW_CONTEXT, ReviewDecision,
    SignedGrantExtension, SignedPolicyBundle, SignedReviewDecision, SignedTicket, TICKET_CONTEXT, Ticket,
};
use std::time::Duration;
use thiserror::Error;
use zeroize::Zeroizing;

/// How long a ticket may be used after it was signed.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// Name of the row that holds the tickets' key.
const TICKET_KEY: &str = "ticket.ed25519";

/// Name of the row that holds the key by which the audit is signed.
const AUDIT_KEY: &str = "audit.ed25519";

/// A signing key that cannot be loaded.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It cannot be made, or what was opened is no key.
    #[error("the signing key `{0}` cannot be made or read")]
    Key(&'static str),
}

/// Signs with one Ed25519 key, which is in the store, sealed, and shared by all replicas.
#[derive(Debug)]
pub struct Signer {
    key: Ed25519KeyPair,
}

impl Signer {
    /// The signer of tickets; its key is made at the first start.
    ///
    /// # Errors
    /// When the key cannot be read or made.
    pub async fn load(store: &Store, sealer: &Sealer) -> Result<Self, KeyError> {
        Self::load_named(store, sealer, TICKET_KEY).await
    }

    /// The signer of the audit; its key is made at the first start.
    ///
    /// # Errors
    /// When the key cannot be read or made.
    pub async fn load_audit(store: &Store, sealer: &Sealer) -> Result<Self, KeyError> {
        Self::load_named(store, sealer, AUDIT_KEY).await
    }

    async fn load_named(store: &Store, sealer: &Sealer, name: &'static str) -> Result<Self, KeyError> {
        let make = || -> Result<Zeroizing<Vec<u8>>, KeyError> {
            let key = Ed25519KeyPair::generate().map_err(|_| KeyError::Key(name))?;
            let document = key.to_pkcs8().map_err(|_| KeyError::Key(name))?;
            Ok(Zeroizing::new(document.as_ref().to_vec()))
        };
        let document = kv::get_or_create(store, sealer, name, make).await?;
        let key = Ed25519KeyPair::from_pkcs8(&document).map_err(|_| KeyError::Key(name))?;
        Ok(Self { key })
    }

    /// The raw public key, 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> Bytes {
        Bytes::copy_from_slice(self.key.public_key().as_ref())
    }

    /// Signs a ticket for one connector.
    #[must_use]
    pub fn sign(&self, ticket: &Ticket) -> SignedTicket {
        let (ticket, signature) = self.sign_for(TICKET_CONTEXT, ticket);
        SignedTicket { ticket, signature }
    }

    /// Signs a policy bundle for one connector.
    #[must_use]
    pub fn sign_policies(&self, bundle: &PolicyBundle) -> SignedPolicyBundle {
        let (bundle, signature) = self.sign_for(POLICIES_CONTEXT, bundle);
        SignedPolicyBundle { bundle, signature }
    }

    /// Signs for one connector that a grant ends later.
    #[must_use]
    pub fn sign_extension(&self, extension: &GrantExtension) -> SignedGrantExtension {
        let (extension, signature) = self.sign_for(EXTENSION_CONTEXT, extension);
        SignedGrantExtension { extension, signature }
    }

    /// Signs what was decided on a statement, for one session.
    #[must_use]
    pub fn sign_review(&self, decision: &ReviewDecision) -> SignedReviewDecision {
        let (decision, signature) = self.sign_for(REVIEW_CONTEXT, decision);
        SignedReviewDecision { decision, signature }
    }

    /// The message as bytes, and the signature over them after `context`.
    fn sign_for(&self, context: &'static [u8], message: &impl prost::Message) -> (Bytes, Bytes) {
        let signed = [context, &message.encode_to_vec()].concat();
        let signature = Bytes::copy_from_slice(self.key.sign(&signed).as_ref());
        (Bytes::from(signed).slice(context.len()..), signature)
    }
}

/// The ticket, if one of these keys signed it.
#[must_use]
pub fn verify(keys: &[Bytes], signed: &SignedTicket) -> Option<Ticket> {
    verify_as(TICKET_CONTEXT, keys, &signed.ticket, &signed.signature)
}

/// The policy bundle, if one of these keys signed it.
#[must_use]
pub fn verify_policies(keys: &[Bytes], signed: &SignedPolicyBundle) -> Option<PolicyBundle> {
    verify_as(POLICIES_CONTEXT, keys, &signed.bundle, &signed.signature)
}

/// The decision, if one of these keys signed it.
#[must_use]
pub fn verify_review(keys: &[Bytes], signed: &SignedReviewDecision) -> Option<ReviewDecision> {
    verify_as(REVIEW_CONTEXT, keys, &signed.decision, &signed.signature)
}

fn verify_as<M: prost::Message + Default>(
    context: &[u8],
    keys: &[Bytes],
    message: &Bytes,
    signature: &Bytes,
) -> Option<M> {
    let signed = [context, message].concat();
    let genuine = |key: &Bytes| UnparsedPublicKey::new(&ED25519, key).verify(&signed, signature).is_ok();
    keys.iter().any(genuine).then(|| M::decode(message.clone()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn only_what_was_signed_is_a_ticket() {
        let signer = Signer { key: Ed25519KeyPair::generate().unwrap() };
        let other = Signer { key: Ed25519KeyPair::generate().unwrap() };
        let ticket = Ticket { session_id: "ses_1".to_owned(), read_only: true, ..Ticket::default() };
        let signed = signer.sign(&ticket);
        assert_eq!(verify(&[other.public_key(), signer.public_key()], &signed), Some(ticket.clone()));
        assert_eq!(verify(&[other.public_key()], &signed), None);
        let wider = Ticket { read_only: false, ..ticket.clone() };
        let forged = SignedTicket { ticket: wider.encode_to_vec().into(), ..signed.clone() };
        assert_eq!(verify(&[signer.public_key()], &forged), None);
        // A signature over the bare bytes is one for something else.
        let bare = signer.key.sign(&signed.ticket);
        let moved = SignedTicket { signature: Bytes::copy_from_slice(bare.as_ref()), ..signed };
        assert_eq!(verify(&[signer.public_key()], &moved), None);
        // Nor is one over a bundle, whatever it reads as.
        let SignedPolicyBundle { bundle, signature } = signer.sign_policies(&PolicyBundle::default());
        let keys = [signer.public_key()];
        assert!(
            verify_policies(&keys, &SignedPolicyBundle { bundle: bundle.clone(), signature: signature.clone() })
                .is_some()
        );
        assert_eq!(verify(&keys, &SignedTicket { ticket: bundle, signature }), None);
        // Nor one over a decision on a statement.
        let decision = ReviewDecision { session_id: "ses_1".to_owned(), ..ReviewDecision::default() };
        let SignedReviewDecision { decision: bytes, signature } = signer.sign_review(&decision);
        let decided = SignedReviewDecision { decision: bytes.clone(), signature: signature.clone() };
        assert_eq!(verify_review(&keys, &decided), Some(decision));
        assert_eq!(verify_review(&[other.public_key()], &decided), None);
        assert_eq!(verify(&keys, &SignedTicket { ticket: bytes.clone(), signature: signature.clone() }), None);
        assert_eq!(verify_policies(&keys, &SignedPolicyBundle { bundle: bytes, signature }), None);
    }
}
