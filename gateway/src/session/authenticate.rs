//! SCRAM, relayed: the control plane holds the verifier and answers a right proof with a ticket.

use super::EndOfClient;
use crate::{client::Client, worker::Worker};
use postern_proto::v1::{
    AuthBegin, AuthRefused, AuthRequest, AuthResponse, AuthSuccess, ClientError, auth_request::Request,
    auth_response::Response, gateway_control_client::GatewayControlClient,
};
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

/// The most that a SASL message may have: a nonce and a proof are far below.
const MAX_SASL_BYTES: usize = 8 * 1024;

/// A client waits about two seconds for a gateway that is about to attach to its control plane again.
const ATTACH_TRIES: u32 = 20;
const ATTACH_PAUSE: Duration = Duration::from_millis(100);

const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

pub(super) async fn authenticate(
    worker: &Rc<Worker>,
    client: &mut Client,
    message: &StartupMessage,
    address: SocketAddr,
) -> Result<AuthSuccess, EndOfClient> {
    let mut out = Vec::new();
    put_authentication(&mut out, SASL, |out| {
        if client.is_tls() {
            frame::put_cstr(out, b"SCRAM-SHA-256-PLUS");
        }
        frame::put_cstr(out, b"SCRAM-SHA-256");
        out.push(0);
    });
    client.write_all(&out).await?;
    client.flush().await?;
    let (mechanism, client_first) = initial_response(&read_message(client).await?)?;
    let user = message.get("user").unwrap_or_default().to_owned();
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
        channel_binding: if client.is_tls() { worker.channel_binding().into() } else { Default::default() },
    };
    let (requests, mut responses) = begin_exchange(worker, begin).await?;
    match next(&mut responses).await? {
        Response::ServerFirst(first) => {
            out.clear();
            put_authentication(&mut out, SASL_CONTINUE, |out| out.extend_from_slice(&first));
            client.write_all(&out).await?;
            client.flush().await?;
        }
        response => return Err(refused(worker, client, address, &user, response).await),
    }
    let client_final = read_message(client).await?;
    let request = AuthRequest { request: Some(Request::ClientFinal(client_final.into())) };
    requests.send(request).await.map_err(|_| unavailable())?;
    match next(&mut responses).await? {
        Response::Success(success) => {
            out.clear();
            put_authentication(&mut out, SASL_FINAL, |out| out.extend_from_slice(&success.server_final));
            client.write_all(&out).await?;
            Ok(success)
        }
        response => Err(refused(worker, client, address, &user, response).await),
    }
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
            tracing::info!(client = %address, ?delay, "a wrong secret");
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

fn initial_response(body: &[u8]) -> Result<(String, Vec<u8>), EndOfClient> {
    let mut reader = frame::Reader::new(b'p', body);
    let mechanism = String::from_utf8_lossy(reader.cstr()?).into_owned();
    if !matches!(mechanism.as_str(), "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS") {
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
        let mechanism = prop::sample::select(vec!["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "MD5", ""]);
        (mechanism, text("n,=r", 30)).prop_map(|(mechanism, first)| initial(mechanism, &first))
    }

    target!(fuzz_initial_responses, mangled(sent()), |body| {
        // Taken in one form only: the fields, written again, are the same bytes.
        if let Ok((mechanism, first)) = initial_response(&body) {
            prop_assert!(mechanism.starts_with("SCRAM-SHA-256"));
            let length = u32::try_from(first.len()).unwrap().to_be_bytes();
            prop_assert_eq!([mechanism.as_bytes(), b"\0", &length, &first].concat(), body);
        }
        Ok(())
    });
}
