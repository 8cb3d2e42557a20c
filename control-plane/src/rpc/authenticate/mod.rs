//! One client's authentication: the proof, and the ticket that it buys. [`token`]: where the proof is a token; [`certificate`]:
//! where it needs one beside it; [`words`]: what a client reads that gets none.
//!
//! Nothing about a grant is told before its secret is proved: an unknown one is played to the end, and a wrong
//! proof gets the same answer from both.

mod certificate;
mod token;
mod words;

use super::store_failed;
use crate::{
    Core,
    audit::{self, Event},
    budgets::Balance,
    connections,
    grants::{self, LoginGrant},
    identity::scram::{Challenge, ClientFirst, Mechanism, ScramError, Verifier},
    problem::shorten,
    store::{
        StoreError, access, identities, policies,
        sessions::{self, NewSession},
    },
    ticket,
};
use aws_lc_rs::rand;
use bytes::Bytes;
use postern_api::{document::ApplicationName, fleet::PartKind};
use postern_peer::possession::is_bounded;
use postern_policy::Moment;
use postern_proto::v1::{
    AttachedConnector, AuthBegin, AuthRefused, AuthRequest, AuthResponse, AuthSuccess, ClientError, Ticket,
    auth_request::Request as Said, auth_response::Response as Answer,
};
use postern_types::{
    id::{SessionId, TokenId},
    time::Micros,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, Streaming};
use words::{elsewhere, malformed, no_connector, obstacle, over, too_many};
use zeroize::Zeroizing;

/// How long a client may take from one message to the next.
const DEADLINE: Duration = Duration::from_secs(60);

/// Longest user or database name that is looked at.
const MAX_NAME: usize = 256;

/// A connector whose control stream broke has it again within two seconds, unless something is wrong.
const REATTACH_TRIES: u32 = 20;
const REATTACH_PAUSE: Duration = Duration::from_millis(100);

/// A session that has not begun within this will not: its ticket is over, and so is the time to open it.
const UNOPENED: Duration = Duration::from_secs(60);

/// Most connectors of one gateway that are looked at.
const MAX_ATTACHED: usize = 4096;

/// One attempt of one client.
pub struct Attempt {
    /// The control plane.
    pub core: Arc<Core>,
    /// Of which unknown users' salts are made.
    pub decoy_secret: Arc<Zeroizing<Vec<u8>>>,
    /// The gateway that the client came to.
    pub gateway_id: String,
    /// The hashes of the certificates that the gateway's clients may see.
    pub bindings: Vec<Bytes>,
}

/// Why there is no session.
enum Failure {
    /// Told to the client.
    Answer(Box<Answer>),
    /// Ours, or the gateway's.
    Status(Status),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Status(store_failed(error))
    }
}

impl From<Answer> for Failure {
    fn from(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}

/// How a client has proved that a grant is its own.
struct Proof {
    /// By which mechanism.
    method: &'static str,
    /// The server's own proof, for AuthenticationSASLFinal.
    server_final: Bytes,
    /// The token, where it was one.
    token: Option<TokenId>,
    /// The certificate, where one was needed beside that: its SHA-256.
    certificate: Option<String>,
}

impl Proof {
    /// As tickets and the audit name it.
    fn named(&self) -> String {
        let beside = if self.certificate.is_some() { "+certificate" } else { "" };
        format!("{}{beside}", self.method)
    }
}

/// Where a client's answers go.
type Responses = mpsc::Sender<Result<AuthResponse, Status>>;

impl Attempt {
    /// Runs the exchange to its end.
    pub async fn run(self, mut requests: Streaming<AuthRequest>, responses: Responses) {
        let ended = self.exchange(&mut requests, &responses).await;
        let (outcome, last) = match ended {
            Ok(success) => ("success", Ok(Answer::Success(success))),
            Err(Failure::Answer(answer)) => (outcome(&answer), Ok(*answer)),
            Err(Failure::Status(status)) => ("error", Err(status)),
        };
        metrics::counter!("postern_authentications_total", "outcome" => outcome).increment(1);
        // The client may be gone.
        let _ = responses.send(last.map(|answer| AuthResponse { response: Some(answer) })).await;
    }

    async fn exchange(
        &self,
        requests: &mut Streaming<AuthRequest>,
        responses: &Responses,
    ) -> Result<AuthSuccess, Failure> {
        let Said::Begin(begin) = next(requests).await? else {
            return Err(Status::invalid_argument("the first message must be AuthBegin").into());
        };
        let chain = begin.client_certificates.iter().map(AsRef::as_ref);
        if begin.attached.len() > MAX_ATTACHED || begin.database.len() > MAX_NAME || !is_bounded(chain) {
            return Err(Status::invalid_argument("the AuthBegin cannot be used").into());
        }
        if let Some(means) = token::Means::of(&begin.mechanism) {
            return self.by_token(&begin, means, requests, responses).await;
        }
        let first = self.read_first(&begin)?;
        // Longer ones name nothing that Postern made.
        let login = if begin.user.len() <= MAX_NAME {
            grants::login(&self.core.store, &begin.user, Micros::now()).await?
        } else {
            None
        };
        let verifier = match &login {
            Some(login) => login.verifier.parse().map_err(|error| StoreError::corrupt("verifier", error))?,
            None => Verifier::decoy(&self.decoy_secret, &begin.user),
        };
        let (challenge, server_first) =
            first.challenge(verifier).map_err(|error| Status::internal(error.to_string()))?;
        let answer = AuthResponse { response: Some(Answer::ServerFirst(server_first.into_bytes().into())) };
        responses.send(Ok(answer)).await.map_err(|_| Status::cancelled("the client is gone"))?;

        let Said::ClientFinal(client_final) = next(requests).await? else {
            return Err(Status::invalid_argument("the second message must be the client's final message").into());
        };
        let (login, proved) = self.verify(&begin, login, challenge, &client_final).await?;
        self.open(&begin, login, proved).await
    }

    fn read_first(&self, begin: &AuthBegin) -> Result<ClientFirst, Failure> {
        let malformed = |error| Failure::from(Answer::Malformed(malformed(&error)));
        let mechanism: Mechanism = begin.mechanism.parse().map_err(malformed)?;
        // What the client saw has to be a certificate of that very gateway.
        let binding = &begin.channel_binding;
        if begin.tls && !binding.is_empty() && !self.bindings.contains(binding) {
            return Err(Status::failed_precondition("the certificate is none that the gateway told of").into());
        }
        let binding: &[u8] = if begin.tls { binding } else { &[] };
        ClientFirst::read(mechanism, binding, &begin.client_first).map_err(malformed)
    }

    async fn verify(
        &self,
        begin: &AuthBegin,
        login: Option<LoginGrant>,
        challenge: Challenge,
        client_final: &[u8],
    ) -> Result<(LoginGrant, Proof), Failure> {
        match (challenge.verify(client_final), login) {
            (Ok(proved), Some(login)) => {
                let server_final = proved.server_final.into_bytes().into();
                Ok((login, Proof { method: proved.mechanism.as_str(), server_final, token: None, certificate: None }))
            }
            // A decoy is proved by nobody.
            (Ok(_), None) | (Err(ScramError::BadProof), None) => Err(self.bad_proof(begin).into()),
            (Err(ScramError::BadProof), Some(login)) => {
                let detail = json!({
                    "client_address": begin.client_address, "gateway": self.gateway_id,
                    "credential": login.credential_id,
                });
                self.record("login.failed", &login, login.grant_id.as_str(), &detail).await?;
                Err(self.bad_proof(begin).into())
            }
            (Err(error), _) => Err(Answer::Malformed(malformed(&error)).into()),
        }
    }

    /// The same for an unknown grant and for a wrong secret.
    fn bad_proof(&self, begin: &AuthBegin) -> Answer {
        let console = self.core.config.http.public_url.as_deref();
        let console = console.map(|url| format!(", or the console at {url}")).unwrap_or_default();
        let error = ClientError {
            sqlstate: "28P01".to_owned(),
            message: format!("authentication failed for \"{}\"", shorten(&begin.user)),
            detail: "There is no such grant, or its secret is another.".to_owned(),
            hint: format!(
                "`postern connections` lists what you can ask for, `postern request CONNECTION --role ROLE --for 10m \
                 --reason \"…\"` asks, and `postern url CONNECTION` gives an open grant's URL{console}"
            ),
        };
        Answer::BadProof(AuthRefused { error: Some(error), server_final: Bytes::new() })
    }

    /// The proof was right: a session, or what stands in its way.
    async fn open(&self, begin: &AuthBegin, login: LoginGrant, mut proved: Proof) -> Result<AuthSuccess, Failure> {
        let now = Micros::now();
        let obstacle = match obstacle(begin, &login, now) {
            None => self.certify(begin, &login, &mut proved, now).await?,
            obstacle => obstacle,
        };
        let found = match obstacle {
            Some(error) => Err(error),
            None => self.connector(begin, &login, now).await?.ok_or_else(|| no_connector(&login)),
        };
        let connector = match found {
            Ok(connector) => connector,
            Err(error) => return Err(self.refuse(begin, &login, error, &proved).await?.into()),
        };
        let session_id = SessionId::new();
        let authorized = self.authorize(begin, &login, &proved, &session_id, &connector, now).await?;
        let policy_version = match authorized {
            Ok(version) => version,
            Err(error) => return Err(self.refuse(begin, &login, error, &proved).await?.into()),
        };
        let ticket = self.ticket(begin, &login, &proved, &session_id, &connector, now)?;
        let ticket = Ticket { policy_version, ..ticket };
        Ok(AuthSuccess {
            server_final: proved.server_final,
            ticket: Some(self.core.tickets.sign(&ticket)),
            session_id: session_id.to_string(),
            grant_id: login.grant_id.to_string(),
            connector: Some(connector),
            grant_ends_at_us: login.ends_at.0,
        })
    }

    /// Writes the session and its event; gives the version of the policies, or why there can be no session.
    async fn authorize(
        &self,
        begin: &AuthBegin,
        login: &LoginGrant,
        proved: &Proof,
        session_id: &SessionId,
        connector: &AttachedConnector,
        now: Micros,
    ) -> Result<Result<u64, ClientError>, StoreError> {
        let client_address = super::enrolment::bounded(&begin.client_address);
        let auth_method = proved.named();
        let session = NewSession {
            id: session_id,
            grant_id: &login.grant_id,
            principal_id: &login.principal.id,
            on_behalf_of_id: login.on_behalf_of.as_ref().map(|user| &user.id),
            connection: login.connection.name(),
            role: &login.role_name,
            client_address: &client_address,
            gateway_id: &self.gateway_id,
            connector_id: &connector.connector_id,
            incarnation: &connector.incarnation,
            auth_method: &auth_method,
        };
        let detail = json!({
            "grant": login.grant_id, "connection": session.connection, "role": session.role,
            "on_behalf_of": login.on_behalf_of, "client_address": session.client_address,
            "gateway": session.gateway_id, "connector": session.connector_id,
            "auth_method": session.auth_method, "credential": login.credential_id, "token": proved.token,
            "certificate": proved.certificate,
        });
        let mut tx = self.core.store.begin().await?;
        if !sessions::authorize(&mut tx, &session, now).await? {
            return Ok(Err(over(login, "the grant ended just now".to_owned())));
        }
        if login.is_bound {
            let client = Moment::client(&begin.client_address);
            // One that is not understood is no address.
            if client.is_unspecified() || !access::bind_address(&mut tx, &login.grant_id, client).await? {
                return Ok(Err(elsewhere(login)));
            }
        }
        if let Some(most) = login.balance.as_ref().and_then(|balance| balance.budget.sessions) {
            let since = Micros(now.0.saturating_sub(i64::try_from(UNOPENED.as_micros()).unwrap_or(i64::MAX)));
            if access::lock_sessions(&mut tx, &login.grant_id, session_id, since).await? >= i64::from(most) {
                return Ok(Err(too_many(login, most)));
            }
        }
        let version = policies::state(&mut tx).await?.version;
        let event = Event::new(now, "session.authorized", Some(&login.principal), session_id.as_str(), &detail);
        audit::append_control(&mut tx, event).await?;
        tx.commit().await?;
        u64::try_from(version).map(Ok).map_err(|error| StoreError::corrupt("policy version", error))
    }

    fn ticket(
        &self,
        begin: &AuthBegin,
        login: &LoginGrant,
        proved: &Proof,
        session_id: &SessionId,
        connector: &AttachedConnector,
        now: Micros,
    ) -> Result<Ticket, Status> {
        let mut ticket_id = [0u8; 16];
        rand::fill(&mut ticket_id).map_err(|_| Status::internal("the system's random generator failed"))?;
        Ok(Ticket {
            ticket_id: Bytes::copy_from_slice(&ticket_id),
            session_id: session_id.to_string(),
            grant_id: login.grant_id.to_string(),
            principal: Some(audit::principal(&login.principal)),
            on_behalf_of: login.on_behalf_of.as_ref().map(audit::principal),
            connection: login.connection.name().to_owned(),
            access_role: login.role_name.clone(),
            connector_id: connector.connector_id.clone(),
            connector_incarnation: connector.incarnation.clone(),
            gateway_id: self.gateway_id.clone(),
            issued_at_us: now.0,
            expires_at_us: now.plus(ticket::LIFETIME).0,
            grant_ends_at_us: login.ends_at.0,
            role_mode: connections::mode(&login.role).into(),
            database_role: login.role.database_role.clone().unwrap_or_default(),
            enforce_masks: login.role.enforce_masks,
            read_only: login.role.read_only,
            settings: connections::settings(&login.role),
            prefix_application_name: login.role.application_name == ApplicationName::Prefix,
            // Known to whoever wrote the session, who fills it in.
            policy_version: 0,
            client_address: super::enrolment::bounded(&begin.client_address),
            auth_method: proved.named(),
            reason: login.reason.clone(),
            groups: login.groups.clone(),
            request_ticket: login.ticket.clone().unwrap_or_default(),
            budget: login.balance.as_ref().and_then(Balance::of_ticket),
            relations: login.relations.clone(),
        })
    }

    /// A connector with a tunnel at this client's gateway that serves the connection. One whose control stream is on
    /// its way back, as when the gateway that passed it on has gone, is waited for.
    async fn connector(
        &self,
        begin: &AuthBegin,
        login: &LoginGrant,
        now: Micros,
    ) -> Result<Option<AttachedConnector>, StoreError> {
        for _ in 0..REATTACH_TRIES {
            // Asked first: one that attaches in between is found in the next round.
            let may_come = self.core.hub.misses_any(&begin.attached);
            let found = self.find_connector(begin, login, now).await?;
            if found.is_some() || !may_come {
                return Ok(found);
            }
            tokio::time::sleep(REATTACH_PAUSE).await;
        }
        self.find_connector(begin, login, now).await
    }

    async fn find_connector(
        &self,
        begin: &AuthBegin,
        login: &LoginGrant,
        now: Micros,
    ) -> Result<Option<AttachedConnector>, StoreError> {
        let hub = &self.core.hub;
        let document = &login.connection.document;
        let choose = || hub.choose(&begin.attached, &document.connector, &document.name);
        if let Some(chosen) = choose() {
            return Ok(Some(chosen));
        }
        // The connection may be newer than what the connector was told last.
        hub.refresh_sets().await?;
        if let Some(chosen) = choose() {
            return Ok(Some(chosen));
        }
        if self.core.store.postgres().is_none() || begin.attached.is_empty() {
            return Ok(None);
        }
        // Its control stream may be another replica's.
        let mut tx = self.core.store.read().await?;
        let rows = identities::list(&mut tx, PartKind::Connector).await?;
        let fits = |candidate: &&AttachedConnector| {
            rows.iter().any(|row| {
                row.id == candidate.connector_id
                    && row.name == document.connector
                    && row.revoked_at.is_none()
                    && row.is_attached(now)
                    && row.incarnation.as_deref() == Some(candidate.incarnation.as_str())
            })
        };
        Ok(begin.attached.iter().find(fits).cloned())
    }

    async fn refuse(
        &self,
        begin: &AuthBegin,
        login: &LoginGrant,
        error: ClientError,
        proved: &Proof,
    ) -> Result<Answer, StoreError> {
        let detail = json!({
            "sqlstate": error.sqlstate, "message": error.message, "client_address": begin.client_address,
            "gateway": self.gateway_id, "auth_method": proved.named(), "credential": login.credential_id,
            "token": proved.token, "certificate": proved.certificate,
        });
        self.record("login.refused", login, login.grant_id.as_str(), &detail).await?;
        Ok(Answer::Refused(AuthRefused { error: Some(error), server_final: proved.server_final.clone() }))
    }

    async fn record(
        &self,
        action: &str,
        login: &LoginGrant,
        subject: &str,
        detail: &serde_json::Value,
    ) -> Result<(), StoreError> {
        let mut tx = self.core.store.begin().await?;
        // Who failed to prove a secret is not known: the grant's principal is the subject's, not the actor.
        let actor = (action != "login.failed").then_some(&login.principal);
        audit::append_control(&mut tx, Event::new(Micros::now(), action, actor, subject, detail)).await?;
        tx.commit().await
    }
}

async fn next(requests: &mut Streaming<AuthRequest>) -> Result<Said, Status> {
    timeout(DEADLINE, requests.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the client took too long"))??
        .and_then(|request| request.request)
        .ok_or_else(|| Status::cancelled("the client is gone"))
}

fn outcome(answer: &Answer) -> &'static str {
    match answer {
        Answer::Success(_) | Answer::ServerFirst(_) => "success",
        Answer::BadProof(_) => "bad_proof",
        Answer::Refused(_) => "refused",
        Answer::Malformed(_) => "malformed",
    }
}
