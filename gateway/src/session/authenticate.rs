//! The client's proof, relayed: the control plane judges it and answers a right one with a ticket.
//!
//! Whoever gives a grant's id as the user has its secret, and proves it by SCRAM. Anybody else can have a token alone: it
//! comes by OAUTHBEARER ([RFC 7628](https://www.rfc-editor.org/rfc/rfc7628)) or, where the configuration says so, in the
//! place of a password; under TLS only.

use super::EndOfClient;
use crate::{client::Client, worker::Worker};
use postern_proto::v1::{
    AuthBegin, AuthRefused, AuthRequest, AuthResponse, AuthSuccess, ClientError, auth_request::Request,
    auth_response::Response, gateway_control_client::GatewayControlClient,
};
use postern_types::id::{CredentialId, GrantId};
use postern_wire::{ProtocolError, error::Report, frame, startup::StartupMessage};
use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

/// The most that a client's message may have: an issuer's token of 16 KiB fits.
const MAX_SASL_BYTES: usize = 20 * 1024;

/// A client waits about two seconds for a gateway that is about to attach to its control plane again.
const ATTACH_TRIES: u32 = 20;
const ATTACH_PAUSE: Duration = Duration::from_millis(100);

const CLEARTEXT_PASSWORD: i32 = 3;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

/// What a client is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// These mechanisms, the preferred one first.
    Sasl(&'static [&'static str]),
    /// A token in the place of a password.
    Password,
}

impl Offer {
    /// libpq takes SCRAM before a token, and -PLUS before anything: to whoever cannot have a secret it is not offered.
    fn to(user: &str, tls: bool, token_as_password: bool) -> Self {
        let has_secret = user.parse::<GrantId>().is_ok() || user.parse::<CredentialId>().is_ok();
        match (has_secret, tls) {
            (true, true) => Self::Sasl(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "OAUTHBEARER"]),
            (false, true) if token_as_password => Self::Password,
            // The decoy's hint is for those whose driver knows no tokens.
            (false, true) => Self::Sasl(&["OAUTHBEARER", "SCRAM-SHA-256"]),
            (_, false) => Self::Sasl(&["SCRAM-SHA-256"]),
        }
    }

    fn binds_channel(self) -> bool {
        matches!(self, Self::Sasl([first, ..]) if *first == "SCRAM-SHA-256-PLUS")
    }

    /// Asks, and reads what the client begins with: its mechanism and first message.
    async fn ask(self, client: &mut Client) -> Result<(String, Vec<u8>), EndOfClient> {
        let mut out = Vec::new();
        match self {
            Self::Sasl(mechanisms) => put_authentication(&mut out, SASL, |out| {
                mechanisms.iter().for_each(|mechanism| frame::put_cstr(out, mechanism.as_bytes()));
                out.push(0);
            }),
            Self::Password => put_authentication(&mut out, CLEARTEXT_PASSWORD, |_| ()),
        }
        client.write_all(&out).await?;
        client.flush().await?;
        let body = read_message(client).await?;
        match self {
            Self::Sasl(mechanisms) => initial_response(mechanisms, &body),
            Self::Password => {
                let mut reader = frame::Reader::new(b'p', &body);
                let token = reader.cstr()?.to_vec();
                reader.end()?;
                Ok(("password".to_owned(), token))
            }
        }
    }
}

pub(super) async fn authenticate(
    worker: &Rc<Worker>,
    client: &mut Client,
    message: &StartupMessage,
    address: SocketAddr,
) -> Result<AuthSuccess, EndOfClient> {
    let user = message.get("user").unwrap_or_default().to_owned();
    let offer = Offer::to(&user, client.is_tls(), worker.config.clients.token_as_password);
    let (mechanism, client_first) = offer.ask(client).await?;
    // This thread, or the connectors, may have just started.
    for _ in 0..ATTACH_TRIES {
        if !worker.tunnels.attached().is_empty() {
            break;
        }
        tokio::time::sleep(ATTACH_PAUSE).await;
    }
    let begin = AuthBegin {
        user: user.clone(),
        database: message.get("database").unwrap_or_default().to_owned(),
        mechanism,
        client_first: client_first.into(),
        client_address: address.to_string(),
        tls: client.is_tls(),
        attached: worker.tunnels.attached(),
        channel_binding: if offer.binds_channel() { worker.channel_binding().into() } else { Default::default() },
        client_certificates: client.certificates().iter().map(|certificate| certificate.to_vec().into()).collect(),
    };
    let (requests, mut responses) = begin_exchange(worker, begin).await?;
    let mut response = next(&mut responses).await?;
    if let Response::ServerFirst(first) = &response {
        send(client, SASL_CONTINUE, first).await?;
        let client_final = read_message(client).await?;
        let request = AuthRequest { request: Some(Request::ClientFinal(client_final.into())) };
        requests.send(request).await.map_err(|_| unavailable())?;
        response = next(&mut responses).await?;
    }
    match response {
        Response::Success(success) => {
            // Sent with what follows.
            if !success.server_final.is_empty() {
                let mut out = Vec::new();
                put_authentication(&mut out, SASL_FINAL, |out| out.extend_from_slice(&success.server_final));
                client.write_all(&out).await?;
            }
            Ok(success)
        }
        response => Err(refused(worker, client, address, &user, response).await),
    }
}

async fn send(client: &mut Client, code: i32, body: &[u8]) -> Result<(), EndOfClient> {
    let mut out = Vec::new();
    put_authentication(&mut out, code, |out| out.extend_from_slice(body));
    client.write_all(&out).await?;
    client.flush().await?;
    Ok(())
}

async fn begin_exchange(
    worker: &Rc<Worker>,
    begin: AuthBegin,
) -> Result<(mpsc::Sender<AuthRequest>, Streaming<AuthResponse>), EndOfClient> {
    let mut tries = 0;
    loop {
        // An exchange has two messages.
        let (requests, outgoing) = mpsc::channel(2);
        let request = AuthRequest { request: Some(Request::Begin(begin.clone())) };
        requests.send(request).await.map_err(|_| unavailable())?;
        let mut control = GatewayControlClient::new(worker.channel.clone());
        match control.authenticate(ReceiverStream::new(outgoing)).await {
            Ok(responses) => return Ok((requests, responses.into_inner())),
            // It has just come back, and the control stream still pauses between two attempts.
            Err(status) if status.code() == Code::FailedPrecondition && tries < ATTACH_TRIES => {
                tries += 1;
                worker.attach_now.notify_one();
                tokio::time::sleep(ATTACH_PAUSE).await;
            }
            Err(status) => {
                tracing::warn!(error = %status, "the control plane did not answer an authentication");
                return Err(unavailable());
            }
        }
    }
}

async fn next(responses: &mut Streaming<AuthResponse>) -> Result<Response, EndOfClient> {
    let response = responses.message().await.map_err(|status| {
        tracing::warn!(error = %status, "the control plane broke an authentication off");
        unavailable()
    })?;
    response.and_then(|response| response.response).ok_or_else(unavailable)
}

fn unavailable() -> EndOfClient {
    EndOfClient::Refused(Report::new(
        "57P03",
        "the gateway cannot reach its control plane, without which no session begins",
        "Try again shortly; if it lasts, tell the operators of Postern.",
    ))
}

/// What the client is told, after the delay that failed proofs have earned.
async fn refused(
    worker: &Rc<Worker>,
    client: &mut Client,
    address: SocketAddr,
    user: &str,
    response: Response,
) -> EndOfClient {
    let AuthRefused { error, server_final } = match response {
        Response::BadProof(refused) => {
            let delay = worker.throttle.failed(address.ip(), user, Instant::now());
            tracing::info!(client = %address, ?delay, "a wrong secret or token");
            tokio::time::sleep(delay).await;
            refused
        }
        Response::Refused(refused) | Response::Malformed(refused) => refused,
        Response::ServerFirst(_) | Response::Success(_) => return unavailable(),
    };
    if !server_final.is_empty() {
        let mut out = Vec::new();
        put_authentication(&mut out, SASL_FINAL, |out| out.extend_from_slice(&server_final));
        if let Err(error) = client.write_all(&out).await {
            return error.into();
        }
    }
    EndOfClient::Refused(report(error.unwrap_or_default()))
}

/// A control plane's error in our own terms.
pub fn report(error: ClientError) -> Report {
    let ClientError { sqlstate, message, detail, hint } = error;
    Report { sqlstate, message, detail, hint }
}

/// The body of a `p` message.
async fn read_message(client: &mut Client) -> Result<Vec<u8>, EndOfClient> {
    let mut header = [0u8; frame::HEADER_BYTES];
    client.read_exact(&mut header).await?;
    let Some(header) = frame::header(&header)? else {
        return Err(EndOfClient::Done);
    };
    let (tag, length) = (header.tag, header.body);
    match tag {
        b'p' => {}
        // A client that gives up says so.
        b'X' => return Err(EndOfClient::Done),
        _ => return Err(ProtocolError::Unexpected { tag }.into()),
    }
    if length > MAX_SASL_BYTES {
        return Err(ProtocolError::TooLarge { tag, length, limit: MAX_SASL_BYTES }.into());
    }
    let mut body = vec![0u8; length];
    client.read_exact(&mut body).await?;
    Ok(body)
}

fn initial_response(offered: &[&str], body: &[u8]) -> Result<(String, Vec<u8>), EndOfClient> {
    let mut reader = frame::Reader::new(b'p', body);
    let mechanism = String::from_utf8_lossy(reader.cstr()?).into_owned();
    if !offered.contains(&mechanism.as_str()) {
        return Err(ProtocolError::Malformed { tag: b'p' }.into());
    }
    let length = usize::try_from(reader.i32()?).map_err(|_| ProtocolError::Malformed { tag: b'p' })?;
    let first = reader.bytes(length)?.to_vec();
    reader.end()?;
    Ok((mechanism, first))
}

/// Appends an Authentication message.
pub fn put_authentication(out: &mut Vec<u8>, code: i32, fill: impl FnOnce(&mut Vec<u8>)) {
    frame::put_message(out, b'R', |out| {
        out.extend_from_slice(&code.to_be_bytes());
        fill(out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_fuzz::{mangled, proptest, target, text};
    use proptest::prelude::*;

    fn initial(mechanism: &str, first: &str) -> Vec<u8> {
        let length = i32::try_from(first.len()).unwrap();
        [mechanism.as_bytes(), b"\0", &length.to_be_bytes(), first.as_bytes()].concat()
    }

    fn sent() -> impl Strategy<Value = Vec<u8>> {
        let mechanism = prop::sample::select(vec!["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "MD5", ""]);
        (mechanism, text("n,=r", 30)).prop_map(|(mechanism, first)| initial(mechanism, &first))
    }

    #[test]
    fn tokens_are_asked_for_under_tls_and_of_whoever_has_no_secret() {
        let grant = GrantId::new().to_string();
        for password in [false, true] {
            let secret = Offer::to(&grant, true, password);
            assert_eq!(secret, Offer::Sasl(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "OAUTHBEARER"]));
            assert!(secret.binds_channel());
            for user in [grant.as_str(), "read"] {
                assert_eq!(Offer::to(user, false, password), Offer::Sasl(&["SCRAM-SHA-256"]));
            }
        }
        assert_eq!(Offer::to("read", true, false), Offer::Sasl(&["OAUTHBEARER", "SCRAM-SHA-256"]));
        assert_eq!(Offer::to("read", true, true), Offer::Password);
        assert!(!Offer::to("read", true, false).binds_channel());
    }

    target!(fuzz_initial_responses, mangled(sent()), |body| {
        // Taken in one form only: the fields, written again, are the same bytes.
        let offered = ["SCRAM-SHA-256", "OAUTHBEARER"];
        if let Ok((mechanism, first)) = initial_response(&offered, &body) {
            prop_assert!(offered.contains(&mechanism.as_str()));
            let length = u32::try_from(first.len()).unwrap().to_be_bytes();
            prop_assert_eq!([mechanism.as_bytes(), b"\0", &length, &first].concat(), body);
        }
        Ok(())
    });
}
