//! Nothing is opened without a ticket: signed by the control plane, for this very process, fresh, unused.

use crate::signed::is_genuine;
use parking_lot::Mutex;
use postern_proto::v1::{
    EXTENSION_CONTEXT, GrantExtension, SignedGrantExtension, SignedTicket, TICKET_CONTEXT, Ticket,
};
use postern_types::time::Micros;
use prost::Message;
use std::{collections::HashMap, time::Duration};
use thiserror::Error;

/// Clocks of control plane and connector may differ by this much.
const SKEW: Duration = Duration::from_secs(5);

/// No ticket is good for longer than this, whatever it says.
const MAX_LIFE: Duration = Duration::from_secs(60);

/// Why a ticket is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TicketError {
    /// Not signed by a key of the control plane, or not a ticket.
    #[error("the ticket's signature is not the control plane's")]
    Signature,
    /// For another connector or an earlier process.
    #[error("the ticket is for another connector")]
    Audience,
    /// Arrived by another gateway.
    #[error("the ticket is for another gateway")]
    Gateway,
    /// Too old, or its grant is over.
    #[error("the ticket has expired")]
    Expired,
    /// Seen before.
    #[error("the ticket was used before")]
    Used,
}

/// Verifies tickets for one process.
#[derive(Debug)]
pub struct Verifier {
    connector_id: String,
    incarnation: String,
    used: Mutex<HashMap<Vec<u8>, Micros>>,
}

impl Verifier {
    /// For this process.
    #[must_use]
    pub fn new(connector_id: String, incarnation: String) -> Self {
        Self { connector_id, incarnation, used: Mutex::default() }
    }

    /// Takes a ticket: it can't be taken again.
    ///
    /// # Errors
    /// When any of its conditions does not hold.
    pub fn take(
        &self,
        signed: &SignedTicket,
        keys: &[Vec<u8>],
        gateway_id: &str,
        now: Micros,
    ) -> Result<Ticket, TicketError> {
        if !is_genuine(TICKET_CONTEXT, &signed.ticket, &signed.signature, keys) {
            return Err(TicketError::Signature);
        }
        let ticket = Ticket::decode(signed.ticket.clone()).map_err(|_| TicketError::Signature)?;
        if ticket.connector_id != self.connector_id || ticket.connector_incarnation != self.incarnation {
            return Err(TicketError::Audience);
        }
        if ticket.gateway_id != gateway_id {
            return Err(TicketError::Gateway);
        }
        let issued = Micros(ticket.issued_at_us);
        let expires = Micros(ticket.expires_at_us.min(issued.plus(MAX_LIFE).0));
        if now > expires.plus(SKEW) || issued > now.plus(SKEW) || now >= Micros(ticket.grant_ends_at_us) {
            return Err(TicketError::Expired);
        }
        let mut used = self.used.lock();
        used.retain(|_, forget_at| *forget_at >= now);
        if used.insert(ticket.ticket_id.to_vec(), expires.plus(SKEW)).is_some() {
            return Err(TicketError::Used);
        }
        Ok(ticket)
    }

    /// That a grant ends later.
    ///
    /// # Errors
    /// When it is not the control plane's word, or not for this process.
    pub fn extension(&self, signed: &SignedGrantExtension, keys: &[Vec<u8>]) -> Result<GrantExtension, TicketError> {
        if !is_genuine(EXTENSION_CONTEXT, &signed.extension, &signed.signature, keys) {
            return Err(TicketError::Signature);
        }
        let extension = GrantExtension::decode(signed.extension.clone()).map_err(|_| TicketError::Signature)?;
        if extension.connector_id != self.connector_id || extension.connector_incarnation != self.incarnation {
            return Err(TicketError::Audience);
        }
        Ok(extension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    const NOW: Micros = Micros(1_800_000_000_000_000);

    fn ticket() -> Ticket {
        Ticket {
            ticket_id: vec![1; 16].into(),
            connector_id: "con_a".into(),
            connector_incarnation: "i1".into(),
            gateway_id: "gwy_a".into(),
            issued_at_us: NOW.0,
            expires_at_us: NOW.plus(Duration::from_secs(30)).0,
            grant_ends_at_us: NOW.plus(Duration::from_secs(600)).0,
            ..Ticket::default()
        }
    }

    fn sign(key: &Ed25519KeyPair, ticket: &Ticket) -> SignedTicket {
        let ticket = ticket.encode_to_vec();
        let signature = key.sign(&[TICKET_CONTEXT, &ticket].concat());
        SignedTicket { ticket: ticket.into(), signature: signature.as_ref().to_vec().into() }
    }

    #[test]
    fn each_condition_is_needed() {
        let (key, other) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
        let keys = vec![key.public_key().as_ref().to_vec()];
        let verifier = Verifier::new("con_a".into(), "i1".into());
        let check = |signed: &SignedTicket, gateway: &str, now| verifier.take(signed, &keys, gateway, now).map(|_| ());
        let with = |change: &dyn Fn(&mut Ticket)| {
            let mut ticket = ticket();
            change(&mut ticket);
            sign(&key, &ticket)
        };
        let good = sign(&key, &ticket());
        assert_eq!(check(&sign(&other, &ticket()), "gwy_a", NOW), Err(TicketError::Signature));
        let mut forged = good.clone();
        forged.ticket = Ticket { read_only: false, access_role: "all".into(), ..ticket() }.encode_to_vec().into();
        assert_eq!(check(&forged, "gwy_a", NOW), Err(TicketError::Signature));
        assert_eq!(check(&good, "gwy_b", NOW), Err(TicketError::Gateway));
        assert_eq!(check(&with(&|t| t.connector_incarnation = "i0".into()), "gwy_a", NOW), Err(TicketError::Audience));
        assert_eq!(check(&with(&|t| t.connector_id = "con_b".into()), "gwy_a", NOW), Err(TicketError::Audience));
        assert_eq!(check(&good, "gwy_a", NOW.plus(Duration::from_secs(36))), Err(TicketError::Expired));
        assert_eq!(check(&with(&|t| t.grant_ends_at_us = NOW.0), "gwy_a", NOW), Err(TicketError::Expired));
        assert_eq!(
            check(&with(&|t| t.expires_at_us = i64::MAX), "gwy_a", NOW.plus(Duration::from_secs(70))),
            Err(TicketError::Expired)
        );
        assert_eq!(check(&good, "gwy_a", NOW), Ok(()));
        assert_eq!(check(&good, "gwy_a", NOW), Err(TicketError::Used));
    }

    #[test]
    fn a_later_end_is_the_control_planes_word_for_this_process() {
        let (key, other) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
        let keys = vec![key.public_key().as_ref().to_vec()];
        let verifier = Verifier::new("con_a".into(), "i1".into());
        let extension = |connector: &str, incarnation: &str| GrantExtension {
            grant_id: "grt_a".into(),
            ends_at_us: NOW.0,
            connector_id: connector.into(),
            connector_incarnation: incarnation.into(),
        };
        let sign = |key: &Ed25519KeyPair, context: &[u8], extension: &GrantExtension| {
            let extension = extension.encode_to_vec();
            let signature = key.sign(&[context, &extension].concat()).as_ref().to_vec().into();
            SignedGrantExtension { extension: extension.into(), signature }
        };
        let good = extension("con_a", "i1");
        let check = |signed| verifier.extension(&signed, &keys);
        assert_eq!(check(sign(&key, EXTENSION_CONTEXT, &good)), Ok(good.clone()));
        assert_eq!(check(sign(&other, EXTENSION_CONTEXT, &good)), Err(TicketError::Signature));
        assert_eq!(check(sign(&key, TICKET_CONTEXT, &good)), Err(TicketError::Signature));
        for elsewhere in [extension("con_b", "i1"), extension("con_a", "i0")] {
            assert_eq!(check(sign(&key, EXTENSION_CONTEXT, &elsewhere)), Err(TicketError::Audience));
        }
        let later = GrantExtension { ends_at_us: i64::MAX, ..good.clone() }.encode_to_vec().into();
        let forged = SignedGrantExtension { extension: later, ..sign(&key, EXTENSION_CONTEXT, &good) };
        assert_eq!(check(forged), Err(TicketError::Signature));
    }

    mod fuzz {
        use super::*;
        use postern_fuzz::{mangled, proptest, target};
        use postern_proto::v1::{SessionOpen, Setting};
        use proptest::prelude::*;
        use std::sync::LazyLock;

        static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

        fn preamble() -> SessionOpen {
            let setting = Setting { name: "client_encoding".into(), value: "UTF8".into() };
            let ticket = Some(sign(&KEY, &ticket()));
            SessionOpen { ticket, protocol_minor: 2, startup_parameters: vec![setting] }
        }

        target!(
            /// A session's preamble, from a gateway that is not what it should be.
            fuzz_preambles,
            mangled(Just(preamble().encode_to_vec())),
            |bytes| {
                let Ok(read) = SessionOpen::decode(bytes.as_slice()) else { return Ok(()) };
                prop_assert_eq!(SessionOpen::decode(read.encode_to_vec().as_slice()), Ok(read.clone()));
                let verifier = Verifier::new("con_a".into(), "i1".into());
                let keys = [KEY.public_key().as_ref().to_vec()];
                let signed = read.ticket.unwrap_or_default();
                let taken = verifier.take(&signed, &keys, "gwy_a", NOW);
                prop_assert_eq!(taken.is_ok(), signed == preamble().ticket.unwrap(), "{:?}", taken);
                Ok(())
            }
        );
    }
}
