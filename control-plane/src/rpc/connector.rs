//! What connectors say and are told.

use super::{enrolment::bounded, first, peer, store_failed};
use crate::{
    Core,
    audit::{self, Appended, Event},
    hub::{ConnectorKey, NewConnector, QUEUE, bundle, task},
    reviews::ask,
    store::{
        StoreError,
        identities::{self, Attachment},
        sessions,
    },
};
use postern_proto::v1::{
    AuditAck, AuditSegment, ConnectorCommand, ConnectorHello, ConnectorMessage, ConnectorWelcome, ReviewAsk,
    ReviewClaim, ReviewClaimed, SessionClosed, SessionOpened, connector_command::Command,
    connector_control_server::ConnectorControl, connector_message::Message, review_claimed::Result as Claimed,
};
use postern_types::{id::SessionId, time::Micros};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How often the store is told that a stream is up; well below what it takes for dead.
pub(super) const SEEN_INTERVAL: Duration = Duration::from_secs(15);

/// How long after its authorization a session may not have been opened yet.
const OPENING: Duration = Duration::from_secs(60);

/// Acknowledgements that wait for the connector to read them.
const ACK_QUEUE: usize = 32;

/// Longest id of a segment.
const MAX_SEGMENT_ID: usize = 128;

/// Most sessions that one process says are live.
const MAX_LIVE: usize = 100_000;

/// The service.
pub struct Service {
    core: Arc<Core>,
}

impl Service {
    /// Of this control plane.
    #[must_use]
    pub fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[tonic::async_trait]
impl ConnectorControl for Service {
    type AttachStream = ReceiverStream<Result<ConnectorCommand, Status>>;
    type AppendAuditStream = ReceiverStream<Result<AuditAck, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<ConnectorMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = peer::authorize(&self.core, request.extensions(), "ConnectorControl/Attach").await?;
        let mut messages = request.into_inner();
        let Some(Message::Hello(hello)) = first(&mut messages).await?.message else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let (attached, commands) = attach(Arc::clone(&self.core), peer.id, hello).await?;
        tokio::spawn(attached.run(messages));
        Ok(Response::new(ReceiverStream::new(commands)))
    }

    async fn append_audit(
        &self,
        request: Request<Streaming<AuditSegment>>,
    ) -> Result<Response<Self::AppendAuditStream>, Status> {
        let peer = peer::authorize(&self.core, request.extensions(), "ConnectorControl/AppendAudit").await?;
        let (acks, stream) = mpsc::channel(ACK_QUEUE);
        let core = Arc::clone(&self.core);
        let mut segments = request.into_inner();
        tokio::spawn(async move {
            let mut source = audit::Source::new(peer.id.clone());
            while let Ok(Some(segment)) = segments.message().await {
                let ack = append(&core, &peer.id, &mut source, segment).await;
                let failed = ack.is_err();
                if acks.send(ack).await.is_err() || failed {
                    break;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Stores one segment; acknowledged once it is durable.
async fn append(
    core: &Core,
    connector: &str,
    source: &mut audit::Source,
    segment: AuditSegment,
) -> Result<AuditAck, Status> {
    let AuditSegment { segment_id, payload } = segment;
    if core.hub.is_revoked(connector) {
        return Err(peer::revoked());
    }
    if segment_id.is_empty() || segment_id.len() > MAX_SEGMENT_ID {
        return Err(Status::invalid_argument("the segment's id is empty or too long"));
    }
    let appended = audit::append_segment(&core.store, source, &segment_id, payload.to_vec(), Micros::now()).await;
    let result = match &appended {
        Ok(Appended::Stored) => "stored",
        Ok(Appended::Duplicate) => "duplicate",
        Err(_) => "refused",
    };
    metrics::counter!("postern_audit_segments_total", "result" => result).increment(1);
    match appended {
        Ok(_) => Ok(AuditAck { segment_id }),
        Err(error @ (StoreError::Audit(_) | StoreError::Corrupt { .. })) => {
            tracing::error!(
                connector,
                segment = bounded(&segment_id),
                error = &error as &dyn std::error::Error,
                "an audit segment is damaged or forged and is not stored"
            );
            Err(Status::invalid_argument("the audit segment is damaged or speaks of what is not this connector's"))
        }
        Err(error) => Err(store_failed(error)),
    }
}

/// An attached connector, from the side that hears it.
struct Attached {
    core: Arc<Core>,
    key: ConnectorKey,
    attachment: String,
    /// Weak: the hub alone keeps the stream open, and ends it by letting go.
    queue: mpsc::WeakSender<Result<ConnectorCommand, Status>>,
    /// The hub has let go.
    gone: CancellationToken,
}

async fn attach(
    core: Arc<Core>,
    id: String,
    hello: ConnectorHello,
) -> Result<(Attached, mpsc::Receiver<Result<ConnectorCommand, Status>>), Status> {
    let ConnectorHello { version, incarnation, live_sessions } = hello;
    if incarnation.is_empty() || incarnation.len() > MAX_SEGMENT_ID || live_sessions.len() > MAX_LIVE {
        return Err(Status::invalid_argument("the Hello cannot be used"));
    }
    let attachment = ulid::Ulid::generate().to_string();
    let name = register(&core, &id, &attachment, &bounded(&version), &incarnation).await?;
    let key = ConnectorKey { id, incarnation };
    let sets = task::sets(&core.store, &core.sealer, &key, &name, None).await.map_err(store_failed)?;
    let task::Sets { connections, gateways, policies } = sets;
    let policies = policies.unwrap_or_default();
    let (queue, commands) = mpsc::channel(QUEUE);
    let welcome = ConnectorWelcome {
        connector_id: key.id.clone(),
        name: name.clone(),
        lease_seconds: core.config.lease_seconds,
        connections: Some(connections.clone()),
        gateways: Some(gateways.clone()),
        ticket_keys: vec![core.tickets.public_key()],
        policies: Some(core.tickets.sign_policies(&policies)),
    };
    // Before the hub has the queue, so that nothing comes before it. The queue is empty.
    let _ = queue.try_send(Ok(ConnectorCommand { command: Some(Command::Welcome(welcome)) }));
    let weak = queue.downgrade();
    let gone = core.hub.attach_connector(NewConnector {
        key: key.clone(),
        attachment: attachment.clone(),
        name: name.clone(),
        queue,
        connections,
        gateways,
        policies: bundle::Told::of(&policies),
        live: live_sessions.clone(),
    });
    let attached = Attached { core, key: key.clone(), attachment, queue: weak, gone };
    // After the hub has it: what ends from here on is told by the hub, what ended before is in the store.
    if let Err(error) = attached.reconcile(&live_sessions).await {
        attached.detach().await;
        return Err(store_failed(error));
    }
    tracing::info!(connector = %key.id, name, live_sessions = live_sessions.len(), "a connector attached");
    Ok((attached, commands))
}

async fn register(core: &Core, id: &str, attachment: &str, version: &str, incarnation: &str) -> Result<String, Status> {
    let attachment = Attachment { attachment, version, incarnation: Some(incarnation), ..Attachment::default() };
    let mut tx = core.store.begin().await.map_err(store_failed)?;
    if !identities::attached(&mut tx, id, &attachment, Micros::now()).await.map_err(store_failed)? {
        return Err(peer::revoked());
    }
    let row = identities::by_id(&mut tx, id).await.map_err(store_failed)?.ok_or_else(peer::revoked)?;
    tx.commit().await.map_err(store_failed)?;
    Ok(row.name)
}

impl Attached {
    /// Compares what the connector says is live with the store, both ways.
    async fn reconcile(&self, live: &[String]) -> Result<(), StoreError> {
        let core = &self.core;
        task::compare(&core.hub, &self.key, live).await?;
        let now = Micros::now();
        let processes = core.hub.live().connectors;
        let is_attached = |incarnation: &str| {
            incarnation != self.key.incarnation
                && processes.iter().any(|process| process.id == self.key.id && process.incarnation == incarnation)
        };
        let mut tx = core.store.begin().await?;
        for row in sessions::open_of_connector(&mut tx, &self.key.id).await? {
            if is_attached(&row.incarnation) {
                continue;
            }
            let listed = live.iter().any(|session| session == row.id.as_str());
            // Its ticket may still be under way.
            let opening = !row.active && row.incarnation == self.key.incarnation && now.since(row.started_at) < OPENING;
            if listed {
                sessions::found_open(&mut tx, &row.id).await?;
            } else if !opening {
                sessions::end(&mut tx, &row.id, "lost", now).await?;
            }
        }
        tx.commit().await
    }

    async fn run(self, mut messages: Streaming<ConnectorMessage>) {
        let mut seen_at = Micros::now();
        let ended = loop {
            let Some(heard) = self.gone.run_until_cancelled(messages.message()).await else { break None };
            match heard {
                Ok(Some(message)) => {
                    if let Err(status) = self.hear(message).await {
                        break Some(status);
                    }
                }
                Ok(None) | Err(_) => break None,
            }
            let now = Micros::now();
            if now.since(seen_at) >= SEEN_INTERVAL {
                seen_at = now;
                self.seen(now).await;
            }
        };
        if let (Some(status), Some(queue)) = (ended, self.queue.upgrade()) {
            let _ = queue.try_send(Err(status));
        }
        tracing::info!(connector = %self.key.id, "a connector's control stream ended");
        self.detach().await;
    }

    /// An error ends the stream: the connector attaches again, and all is compared.
    async fn hear(&self, message: ConnectorMessage) -> Result<(), Status> {
        match message.message {
            Some(Message::Heartbeat(beat)) => {
                self.tell(Command::Heartbeat(beat))?;
            }
            Some(Message::SessionOpened(opened)) => self.session_opened(opened).await.map_err(store_failed)?,
            Some(Message::SessionClosed(closed)) => self.session_closed(closed).await.map_err(store_failed)?,
            Some(Message::GatewayAttachments(attachments)) => {
                self.core.hub.set_gateways(&self.key, attachments.gateway_ids);
            }
            Some(Message::ConnectionHealth(mut health)) => {
                health.problem = bounded(&health.problem);
                health.server_version = bounded(&health.server_version);
                self.core.hub.set_health(&self.key, health);
            }
            Some(Message::Analysed(answer)) => self.core.hub.analysed(&self.key, answer),
            Some(Message::Scanned(answer)) => self.core.hub.scanned(&self.key, answer),
            Some(Message::MasksChecked(answer)) => self.core.hub.masks_checked(&self.key, answer),
            Some(Message::Hello(_)) => return Err(Status::invalid_argument("Hello is said once")),
            Some(Message::ReviewAsk(ask)) => self.review_ask(ask).await?,
            Some(Message::ReviewClaim(claim)) => self.review_claim(claim).await?,
            Some(Message::ReviewLeft(left)) => {
                ask::left(&self.core.store, &self.key, &left, Micros::now()).await.map_err(store_failed)?;
            }
            // A newer connector says more than this control plane knows.
            None => {}
        }
        Ok(())
    }

    fn tell(&self, command: Command) -> Result<(), Status> {
        let queue = self.queue.upgrade().ok_or_else(|| Status::aborted("replaced or cut off"))?;
        let command = ConnectorCommand { command: Some(command) };
        queue.try_send(Ok(command)).map_err(|_| Status::resource_exhausted("commands are not read"))
    }

    async fn review_ask(&self, asked: ReviewAsk) -> Result<(), Status> {
        let url = self.core.config.http.public_url.as_deref();
        let stands = ask::ask(&self.core.store, &self.key, asked, url, Micros::now()).await.map_err(store_failed)?;
        self.tell(Command::ReviewStands(stands))
    }

    async fn review_claim(&self, claim: ReviewClaim) -> Result<(), Status> {
        let claimed = ask::claim(&self.core.store, &self.key, &claim, Micros::now()).await.map_err(store_failed)?;
        let result = match claimed {
            Ok(decision) => Claimed::Decision(self.core.tickets.sign_review(&decision)),
            Err(error) => Claimed::Lost(error),
        };
        let ReviewClaim { session_id, review_id, .. } = claim;
        self.tell(Command::ReviewClaimed(ReviewClaimed { session_id, review_id, result: Some(result) }))
    }

    async fn session_opened(&self, opened: SessionOpened) -> Result<(), StoreError> {
        let SessionOpened { session_id, backend_pid, database_role, application_name, .. } = opened;
        let Ok(id) = session_id.parse::<SessionId>() else { return Ok(()) };
        self.core.hub.session_opened(&self.key, &session_id);
        let mut tx = self.core.store.begin().await?;
        let (role, application) = (bounded(&database_role), bounded(&application_name));
        let noted = sessions::opened(&mut tx, &id, &self.key.id, backend_pid, &role, &application).await?;
        let row = if noted { sessions::open_session(&mut tx, &id).await? } else { None };
        tx.commit().await?;
        metrics::counter!("postern_sessions_opened_total").increment(1);
        let error = match row {
            Some(row) => task::over(&row, Micros::now()),
            None => Some(task::ended()),
        };
        if let Some(error) = error {
            self.core.hub.end_at(&self.key, &session_id, error);
        }
        Ok(())
    }

    async fn session_closed(&self, closed: SessionClosed) -> Result<(), StoreError> {
        let SessionClosed { session_id, reason, at_us, refused } = closed;
        let Ok(id) = session_id.parse::<SessionId>() else { return Ok(()) };
        self.core.hub.session_closed(&self.key, &session_id);
        let now = Micros::now();
        // The connector's clock counts where it can be right: a message may have waited.
        let at = if at_us > 0 { Micros(at_us).min(now) } else { now };
        let mut tx = self.core.store.begin().await?;
        let ended = sessions::closed(&mut tx, &id, &self.key.id, &word(&reason), at).await?;
        if let Some(told) = refused.filter(|_| ended)
            && let Some(session) = sessions::by_id(&mut tx, &id).await?
        {
            let detail = json!({
                "grant": session.grant_id, "connection": session.connection, "role": session.role,
                "principal": session.principal, "connector": self.key.id,
                "sqlstate": bounded(&told.sqlstate), "message": bounded(&told.message), "detail": bounded(&told.detail),
            });
            let event = Event::new(now, "session.refused", None, id.as_str(), &detail);
            audit::append_control(&mut tx, event).await?;
        }
        tx.commit().await
    }

    async fn seen(&self, now: Micros) {
        let noted = async {
            let mut tx = self.core.store.begin().await?;
            identities::seen(&mut tx, &self.key.id, &self.attachment, now).await?;
            tx.commit().await
        };
        if let Err(error) = noted.await {
            store_failed(error);
        }
    }

    async fn detach(&self) {
        self.core.hub.detach_connector(&self.key, &self.attachment);
        detached(&self.core, &self.key.id, &self.attachment).await;
    }
}

/// Notes in the store that a stream is over.
pub(super) async fn detached(core: &Core, id: &str, attachment: &str) {
    let noted = async {
        let mut tx = core.store.begin().await?;
        identities::detached(&mut tx, id, attachment).await?;
        tx.commit().await
    };
    if let Err(error) = noted.await {
        // Its age will tell.
        tracing::debug!(error = &error as &dyn std::error::Error, "the end of a control stream cannot be noted");
    }
}

/// A reason as it is kept: a word.
fn word(reason: &str) -> String {
    const MAX: usize = 32;
    let is_word = !reason.is_empty()
        && reason.len() <= MAX
        && reason.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-');
    if is_word { reason.to_owned() } else { "other".to_owned() }
}
