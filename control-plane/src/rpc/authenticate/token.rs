//! A token as the proof: in the SASL mechanism OAUTHBEARER, or in the place of a password. It is Postern's own, or one of
//! an issuer's that is exchanged on the spot. It is neither kept nor logged.

use super::{Attempt, Failure, Proof, Responses, certificate, next};
use crate::{
    audit::{self, Event},
    door,
    identity::{
        self, Caller, bearer,
        issuers::{NotExchanged, certificates::Shown},
    },
    problem::shorten,
};
use bytes::Bytes;
use postern_policy::Moment;
use postern_proto::v1::{
    AuthBegin, AuthRefused, AuthRequest, AuthResponse, AuthSuccess, ClientError, auth_request::Request as Said,
    auth_response::Response as Answer,
};
use postern_types::time::Micros;
use secrecy::SecretString;
use serde_json::json;
use tonic::{Status, Streaming};

/// How a token comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// In the SASL mechanism.
    OauthBearer,
    /// In the place of a password.
    Password,
}

impl Means {
    /// By the name of a mechanism; none: the proof is no token.
    pub(super) fn of(mechanism: &str) -> Option<Self> {
        match mechanism {
            "OAUTHBEARER" => Some(Self::OauthBearer),
            "password" => Some(Self::Password),
            _ => None,
        }
    }

    /// As tickets and the audit name it.
    fn method(self) -> &'static str {
        match self {
            Self::OauthBearer => "oauthbearer",
            Self::Password => "token-as-password",
        }
    }
}

/// Why a token proves nothing.
enum Unproved {
    /// There is none: the client asks where to get one.
    Asks,
    /// It is not accepted.
    Refused(String),
    /// Who would have to be asked about it cannot be asked.
    Unavailable(String),
}

impl Attempt {
    pub(super) async fn by_token(
        &self,
        begin: &AuthBegin,
        means: Means,
        requests: &mut Streaming<AuthRequest>,
        responses: &Responses,
    ) -> Result<AuthSuccess, Failure> {
        // Whoever listens in would have it.
        if !begin.tls {
            return Err(malformed("a token is taken under TLS only", "connect with sslmode=verify-full").into());
        }
        let now = Micros::now();
        let token = match means {
            Means::Password => Some(SecretString::from(String::from_utf8_lossy(&begin.client_first).into_owned())),
            Means::OauthBearer => {
                let read = bearer::read(&begin.client_first);
                read.map_err(|error| malformed(&error.to_string(), "use a driver that speaks OAUTHBEARER (RFC 7628)"))?
            }
        };
        let caller = match token {
            Some(token) => self.caller(&token, &certificate::shown(begin), now).await?,
            None => Err(Unproved::Asks),
        };
        match caller {
            Ok(caller) => self.with_token(begin, means, &caller, now).await,
            Err(unproved) => {
                let answer = self.unproved(begin, means, unproved, now).await?;
                if means == Means::OauthBearer {
                    self.say_why(requests, responses).await?;
                }
                Err(answer.into())
            }
        }
    }

    /// Whose token it is.
    async fn caller(
        &self,
        token: &SecretString,
        shown: &Shown,
        now: Micros,
    ) -> Result<Result<Caller, Unproved>, Failure> {
        let whose = identity::whose(&self.core.exchange, &self.core.store, token, shown, now).await;
        Ok(match whose {
            Ok(Some(caller)) => Ok(caller),
            Ok(None) => {
                let why = "the token is unknown, expired or revoked, or bound to a certificate that was not shown";
                Err(Unproved::Refused(why.to_owned()))
            }
            Err(error @ NotExchanged::Fault(_)) => return Err(Status::internal(error.to_string()).into()),
            Err(error @ NotExchanged::Keys(_)) => Err(Unproved::Unavailable(error.to_string())),
            Err(error) => Err(Unproved::Refused(error.to_string())),
        })
    }

    /// The token is good: a session by a grant of its principal's.
    async fn with_token(
        &self,
        begin: &AuthBegin,
        means: Means,
        caller: &Caller,
        now: Micros,
    ) -> Result<AuthSuccess, Failure> {
        let client = Moment::client(&begin.client_address);
        let named = door::Named { user: &begin.user, database: &begin.database, client };
        match door::grant(&self.core, &caller.actor, named, now).await? {
            Ok(login) => {
                let token = Some(caller.token.id.clone());
                let certificate = caller.token.certificate.clone();
                let proved = Proof { method: means.method(), server_final: Bytes::new(), token, certificate };
                self.open(begin, login, proved).await
            }
            Err(error) => {
                let detail = json!({
                    "sqlstate": error.sqlstate, "message": error.message, "auth_method": means.method(),
                    "user": shorten(&begin.user), "database": shorten(&begin.database),
                    "client_address": begin.client_address, "gateway": self.gateway_id,
                });
                let principal = Some(&caller.actor.principal);
                let event = Event::new(now, "login.refused", principal, caller.token.id.as_str(), &detail);
                let mut tx = self.core.store.begin().await?;
                audit::append_control(&mut tx, event).await?;
                tx.commit().await?;
                Err(Answer::Refused(AuthRefused { error: Some(error), server_final: Bytes::new() }).into())
            }
        }
    }

    /// What a client with such a token reads. Refusals are recorded within bounds; that somebody asks is none.
    async fn unproved(
        &self,
        begin: &AuthBegin,
        means: Means,
        unproved: Unproved,
        now: Micros,
    ) -> Result<Answer, Failure> {
        let issuer = self.core.config.issuer();
        let get = format!("get one with `postern login --url {issuer}`, or `postern tokens create`");
        let (sqlstate, message) = match &unproved {
            Unproved::Asks => ("28000", "a token is needed to connect".to_owned()),
            Unproved::Refused(why) => ("28000", why.clone()),
            Unproved::Unavailable(why) => ("57P03", why.clone()),
        };
        let error =
            ClientError { sqlstate: sqlstate.to_owned(), message: message.clone(), detail: String::new(), hint: get };
        let refused = AuthRefused { error: Some(error), server_final: Bytes::new() };
        if !matches!(unproved, Unproved::Refused(_)) {
            return Ok(Answer::Refused(refused));
        }
        let detail = json!({
            "why": message, "auth_method": means.method(), "user": shorten(&begin.user),
            "database": shorten(&begin.database), "client_address": begin.client_address,
            "gateway": self.gateway_id,
        });
        self.core.refused_tokens.record(&self.core.store, "login", &detail, now).await?;
        Ok(Answer::BadProof(refused))
    }

    /// [RFC 7628, section 3.2.3](https://www.rfc-editor.org/rfc/rfc7628#section-3.2.3): the client reads why, and says that
    /// it has.
    async fn say_why(&self, requests: &mut Streaming<AuthRequest>, responses: &Responses) -> Result<(), Failure> {
        let why = bearer::refusal(&self.core.config.issuer());
        let answer = AuthResponse { response: Some(Answer::ServerFirst(why.into_bytes().into())) };
        responses.send(Ok(answer)).await.map_err(|_| Status::cancelled("the client is gone"))?;
        match next(requests).await? {
            Said::ClientFinal(said) if said == bearer::DUMMY => Ok(()),
            _ => Err(malformed("the client did not end a refused OAUTHBEARER exchange", "").into()),
        }
    }
}

fn malformed(message: &str, hint: &str) -> Answer {
    let error = ClientError {
        sqlstate: "08P01".to_owned(),
        message: message.to_owned(),
        detail: String::new(),
        hint: hint.to_owned(),
    };
    Answer::Malformed(AuthRefused { error: Some(error), server_final: Bytes::new() })
}
