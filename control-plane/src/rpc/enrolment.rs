//! How a connector or gateway gets its certificate, and the next one.

use super::{peer, store_failed};
use crate::{
    Core,
    audit::{self, Event},
    ca::{CaError, Issued},
    store::{identities, join_tokens},
};
use bytes::Bytes;
use postern_api::fleet::PartKind;
use postern_proto::v1::{
    EnrolRequest, EnrolResponse, Identity, RenewRequest, RenewResponse, enrolment_server::Enrolment,
    renewal_server::Renewal,
};
use postern_types::{
    id::{ConnectorId, GatewayId},
    time::Micros,
    token,
};
use secrecy::SecretString;
use serde_json::json;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Enrolment and renewal.
#[derive(Clone)]
pub struct Service {
    core: Arc<Core>,
}

impl Service {
    /// Of this control plane.
    #[must_use]
    pub fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    fn identity(&self, kind: PartKind, id: String, name: String, issued: &Issued) -> Identity {
        Identity {
            kind: kind.as_str().to_owned(),
            id,
            name,
            certificate_chain: vec![Bytes::copy_from_slice(&issued.certificate)],
            ca_certificate: Bytes::copy_from_slice(self.core.ca.root()),
            ticket_keys: vec![self.core.tickets.public_key()],
            not_after_us: issued.not_after.0,
        }
    }
}

#[tonic::async_trait]
impl Enrolment for Service {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let address = peer::address(request.extensions()).map(|address| address.to_string());
        let EnrolRequest { join_token, certificate_request, version } = request.into_inner();
        let fingerprint = token::fingerprint(&SecretString::from(join_token));
        let now = Micros::now();
        let mut tx = self.core.store.begin().await.map_err(store_failed)?;
        let Some(used) = join_tokens::claim(&mut tx, &fingerprint, now).await.map_err(store_failed)? else {
            return Err(Status::unauthenticated(
                "the join token is unknown, used or expired: make a new one, each is good once",
            ));
        };
        let id = match used.kind {
            PartKind::Connector => ConnectorId::new().to_string(),
            PartKind::Gateway => GatewayId::new().to_string(),
        };
        // Given up with the transaction, the token can be used again by the one whose request was bad.
        let issued = self.core.ca.issue(used.kind, &id, &certificate_request).map_err(refuse)?;
        identities::insert(&mut tx, &id, used.kind, &used.name, now, issued.not_after).await.map_err(store_failed)?;
        join_tokens::set_identity(&mut tx, &used.id, &id).await.map_err(store_failed)?;
        let detail = json!({
            "kind": used.kind, "name": used.name, "join_token": used.id, "version": bounded(&version),
            "address": address,
        });
        audit::append_control(&mut tx, Event::new(now, "identity.enrolled", None, &id, &detail))
            .await
            .map_err(store_failed)?;
        tx.commit().await.map_err(store_failed)?;
        tracing::info!(kind = used.kind.as_str(), name = used.name, id, "enrolled");
        let identity = self.identity(used.kind, id, used.name, &issued);
        Ok(Response::new(EnrolResponse { identity: Some(identity) }))
    }
}

#[tonic::async_trait]
impl Renewal for Service {
    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let peer = peer::authorize(&self.core, request.extensions(), "Renewal/Renew").await?;
        let issued =
            self.core.ca.issue(peer.kind, &peer.id, &request.into_inner().certificate_request).map_err(refuse)?;
        let now = Micros::now();
        let mut tx = self.core.store.begin().await.map_err(store_failed)?;
        if !identities::renewed(&mut tx, &peer.id, issued.not_after).await.map_err(store_failed)? {
            return Err(peer::revoked());
        }
        let row = identities::by_id(&mut tx, &peer.id).await.map_err(store_failed)?.ok_or_else(peer::revoked)?;
        let detail = json!({ "kind": peer.kind, "name": row.name, "certificate_expires_at": issued.not_after });
        audit::append_control(&mut tx, Event::new(now, "identity.renewed", None, &peer.id, &detail))
            .await
            .map_err(store_failed)?;
        tx.commit().await.map_err(store_failed)?;
        let identity = self.identity(peer.kind, peer.id, row.name, &issued);
        Ok(Response::new(RenewResponse { identity: Some(identity) }))
    }
}

/// A request that cannot be read is the caller's doing; all else is ours.
fn refuse(error: CaError) -> Status {
    match error {
        CaError::Request | CaError::KeyKind => Status::invalid_argument(error.to_string()),
        error => {
            tracing::error!(error = &error as &dyn std::error::Error, "a certificate cannot be issued");
            Status::internal("the certificate cannot be issued")
        }
    }
}

/// What a peer says of itself, bounded before it is kept.
pub(super) fn bounded(text: &str) -> String {
    const MAX: usize = 100;
    text.chars().filter(|letter| !letter.is_control()).take(MAX).collect()
}
