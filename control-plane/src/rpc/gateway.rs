//! What gateways say and are told.

use super::{
    authenticate,
    connector::{SEEN_INTERVAL, detached},
    enrolment::bounded,
    first, peer, store_failed,
};
use crate::{
    Core,
    hub::QUEUE,
    store::{
        identities::{self, Attachment},
        kv,
    },
    ticket::KeyError,
};
use aws_lc_rs::rand;
use postern_proto::v1::{
    AuthRequest, AuthResponse, CancelKey, ForwardCancelResponse, GatewayCommand, GatewayHello, GatewayMessage,
    GatewayWelcome, RevokedIdentity, gateway_command::Command, gateway_control_server::GatewayControl,
    gateway_message::Message,
};
use postern_types::time::Micros;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use zeroize::Zeroizing;

/// Name of the row that holds the secret of which unknown users' salts are made.
const DECOY_SECRET: &str = "scram.decoy";

/// Longest secret of a cancel request, in protocol 3.2.
const MAX_CANCEL_SECRET: usize = 256;

/// Most certificates that one gateway shows to its clients, and the longest hash of one.
const MAX_BINDINGS: usize = 64;

/// The service.
pub struct Service {
    core: Arc<Core>,
    decoy_secret: Arc<Zeroizing<Vec<u8>>>,
}

impl Service {
    /// Of this control plane; its secret is made at the first start.
    ///
    /// # Errors
    /// When the secret cannot be read or made.
    pub async fn load(core: Arc<Core>) -> Result<Self, KeyError> {
        let make = || {
            let mut secret = Zeroizing::new(vec![0u8; 32]);
            rand::fill(&mut secret).map_err(|_| KeyError::Key(DECOY_SECRET))?;
            Ok::<_, KeyError>(secret)
        };
        let decoy_secret = Arc::new(kv::get_or_create(&core.store, &core.sealer, DECOY_SECRET, make).await?);
        Ok(Self { core, decoy_secret })
    }
}

#[tonic::async_trait]
impl GatewayControl for Service {
    type AttachStream = ReceiverStream<Result<GatewayCommand, Status>>;
    type AuthenticateStream = ReceiverStream<Result<AuthResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<GatewayMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = peer::authorize(&self.core, request.extensions(), "GatewayControl/Attach").await?;
        let mut messages = request.into_inner();
        let Some(Message::Hello(hello)) = first(&mut messages).await?.message else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let (attached, commands) = attach(Arc::clone(&self.core), peer.id, hello).await?;
        tokio::spawn(attached.run(messages));
        Ok(Response::new(ReceiverStream::new(commands)))
    }

    async fn authenticate(
        &self,
        request: Request<Streaming<AuthRequest>>,
    ) -> Result<Response<Self::AuthenticateStream>, Status> {
        let peer = peer::authorize(&self.core, request.extensions(), "GatewayControl/Authenticate").await?;
        // Its certificates are known from its Hello.
        let bindings = self
            .core
            .hub
            .channel_bindings(&peer.id)
            .ok_or_else(|| Status::failed_precondition("the gateway is not attached to this control plane"))?;
        let (responses, stream) = mpsc::channel(2);
        let attempt = authenticate::Attempt {
            core: Arc::clone(&self.core),
            decoy_secret: Arc::clone(&self.decoy_secret),
            gateway_id: peer.id,
            bindings,
        };
        tokio::spawn(attempt.run(request.into_inner(), responses));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn forward_cancel(&self, request: Request<CancelKey>) -> Result<Response<ForwardCancelResponse>, Status> {
        let peer = peer::authorize(&self.core, request.extensions(), "GatewayControl/ForwardCancel").await?;
        let key = request.into_inner();
        if key.secret.len() > MAX_CANCEL_SECRET {
            return Err(Status::invalid_argument("the secret is too long"));
        }
        self.core.hub.cancel(&peer.id, &key);
        Ok(Response::new(ForwardCancelResponse {}))
    }
}

/// An attached gateway, from the side that hears it.
struct Attached {
    core: Arc<Core>,
    id: String,
    attachment: String,
    /// Weak: the hub alone keeps the stream open, and ends it by letting go.
    queue: mpsc::WeakSender<Result<GatewayCommand, Status>>,
    /// The hub has let go.
    gone: CancellationToken,
}

async fn attach(
    core: Arc<Core>,
    id: String,
    hello: GatewayHello,
) -> Result<(Attached, mpsc::Receiver<Result<GatewayCommand, Status>>), Status> {
    let GatewayHello { version, region, connector_address, client_address, channel_bindings } = hello;
    let too_long = |hash: &bytes::Bytes| hash.len() > MAX_BINDINGS;
    if connector_address.is_empty() || channel_bindings.len() > MAX_BINDINGS || channel_bindings.iter().any(too_long) {
        return Err(Status::invalid_argument("the Hello cannot be used"));
    }
    let attachment = ulid::Ulid::generate().to_string();
    let region = bounded(&region);
    let note = Attachment {
        attachment: &attachment,
        version: &bounded(&version),
        region: Some(&region),
        connector_address: Some(&bounded(&connector_address)),
        client_address: Some(&bounded(&client_address)),
        incarnation: None,
    };
    let mut tx = core.store.begin().await.map_err(store_failed)?;
    if !identities::attached(&mut tx, &id, &note, Micros::now()).await.map_err(store_failed)? {
        return Err(peer::revoked());
    }
    tx.commit().await.map_err(store_failed)?;

    let (queue, commands) = mpsc::channel(QUEUE);
    let known = core.hub.revoked();
    let welcome = GatewayWelcome { gateway_id: id.clone(), revoked_identity_ids: known.clone() };
    // Before the hub has the queue, so that nothing comes before it. The queue is empty.
    let _ = queue.try_send(Ok(GatewayCommand { command: Some(Command::Welcome(welcome)) }));
    let weak = queue.downgrade();
    let gone = core.hub.attach_gateway(&id, attachment.clone(), region, queue, channel_bindings);
    // What was revoked between the welcome and the hub's having the queue.
    for revoked in core.hub.revoked().into_iter().filter(|id| !known.contains(id)) {
        let command = Command::RevokedIdentity(RevokedIdentity { identity_id: revoked });
        if let Some(queue) = weak.upgrade() {
            let _ = queue.try_send(Ok(GatewayCommand { command: Some(command) }));
        }
    }
    tracing::info!(gateway = %id, "a gateway attached");
    Ok((Attached { core, id, attachment, queue: weak, gone }, commands))
}

impl Attached {
    async fn run(self, mut messages: Streaming<GatewayMessage>) {
        let mut seen_at = Micros::now();
        while let Some(Ok(Some(message))) = self.gone.run_until_cancelled(messages.message()).await {
            // A newer gateway may say more than this control plane knows.
            if let Some(Message::Heartbeat(beat)) = message.message {
                let Some(queue) = self.queue.upgrade() else { break };
                if queue.try_send(Ok(GatewayCommand { command: Some(Command::Heartbeat(beat)) })).is_err() {
                    break;
                }
            }
            let now = Micros::now();
            if now.since(seen_at) >= SEEN_INTERVAL {
                seen_at = now;
                self.seen(now).await;
            }
        }
        tracing::info!(gateway = %self.id, "a gateway's control stream ended");
        self.core.hub.detach_gateway(&self.id, &self.attachment);
        detached(&self.core, &self.id, &self.attachment).await;
    }

    async fn seen(&self, now: Micros) {
        let noted = async {
            let mut tx = self.core.store.begin().await?;
            identities::seen(&mut tx, &self.id, &self.attachment, now).await?;
            tx.commit().await
        };
        if let Err(error) = noted.await {
            store_failed(error);
        }
    }
}
