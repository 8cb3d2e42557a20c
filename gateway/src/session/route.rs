//! From a ticket to a stream of the connector, and the client's greeting.

use super::{EndOfClient, authenticate::put_authentication};
use crate::{client::Client, sessions::Registration, worker::Worker};
use aws_lc_rs::rand;
use postern_proto::v1::{AuthSuccess, SessionOpen, Setting};
use postern_tunnel::Stream;
use postern_wire::{
    backend::{self, BackendKey},
    error::Report,
    frame,
    startup::{MAX_MINOR, StartupMessage},
};
use prost::Message;
use std::{io, rc::Rc, time::Duration};
use tokio::{io::AsyncWriteExt, time::timeout};

/// The connector has this long to open the database.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);

/// The most that a server says before its first ReadyForQuery.
const MAX_GREETING_BYTES: usize = 256 * 1024;

/// Bytes of a cancel key's secret: four in protocol 3.0, any number up to 256 from 3.2 on.
const SECRET_BYTES_3_0: usize = 4;
const SECRET_BYTES_3_2: usize = 32;

pub(super) async fn route(
    worker: &Rc<Worker>,
    client: &mut Client,
    message: &StartupMessage,
    accepted: &AuthSuccess,
    registration: &Registration,
) -> Result<Stream, EndOfClient> {
    let minor = message.minor.min(MAX_MINOR);
    let open = SessionOpen {
        ticket: accepted.ticket.clone(),
        protocol_minor: u32::from(minor),
        startup_parameters: message
            .parameters
            .iter()
            .filter(|(name, _)| {
                !matches!(name.as_str(), "user" | "database" | "replication") && !name.starts_with("_pq_.")
            })
            .map(|(name, value)| Setting { name: name.clone(), value: value.clone() })
            .collect(),
    };
    let connector = accepted.connector.as_ref().ok_or_else(no_connector)?;
    let tunnel = worker.tunnels.get(connector).ok_or_else(no_connector)?;
    let stream = tunnel.open(&open.encode_to_vec()).map_err(|_| no_connector())?;
    let greeting = tokio::select! {
        greeting = timeout(OPEN_DEADLINE, greeting(&stream)) => greeting.map_err(|_| no_connector())??,
        // It may have been waiting in a queue.
        () = client.gone() => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
    };
    let mut out = Vec::new();
    put_authentication(&mut out, 0, |_| {});
    rewrite_greeting(&greeting, minor, registration, &mut out)?;
    client.write_all(&out).await?;
    client.flush().await?;
    Ok(stream)
}

fn no_connector() -> EndOfClient {
    EndOfClient::Refused(Report::new(
        "08006",
        "no connector that serves this database can be reached from this gateway",
        "Try again shortly; if it lasts, the connector next to the database is down.",
    ))
}

/// Everything up to and with ReadyForQuery, and no byte more, which is the relay's; or the connector's refusal, which
/// is passed on.
async fn greeting(stream: &Stream) -> Result<Vec<u8>, EndOfClient> {
    let mut greeting = Vec::new();
    loop {
        stream.readable().await.map_err(|_| no_connector())?;
        let end = stream.consume(|bytes| {
            let before = greeting.len();
            greeting.extend_from_slice(bytes);
            let end = end_of_greeting(&greeting);
            let taken = end.as_ref().ok().copied().flatten().unwrap_or(greeting.len());
            greeting.truncate(taken);
            (taken.saturating_sub(before), end)
        })?;
        if greeting.len() > MAX_GREETING_BYTES {
            return Err(no_connector());
        }
        if end.is_some() {
            return Ok(greeting);
        }
    }
}

/// Where the greeting ends, once that has come.
fn end_of_greeting(greeting: &[u8]) -> Result<Option<usize>, EndOfClient> {
    let mut rest = greeting;
    while let Some(header) = frame::header(rest)? {
        let Some((whole, after)) = rest.split_at_checked(header.total()) else {
            break;
        };
        rest = after;
        match header.tag {
            b'Z' => return Ok(Some(greeting.len() - rest.len())),
            b'E' => return Err(EndOfClient::Refused(passed_on(whole))),
            _ => {}
        }
    }
    Ok(None)
}

fn passed_on(response: &[u8]) -> Report {
    let body = response.get(frame::HEADER_BYTES..).unwrap_or_default();
    let text = |code| String::from_utf8_lossy(postern_wire::error::field(body, code).unwrap_or_default()).into_owned();
    Report { sqlstate: text(b'C'), message: text(b'M'), detail: text(b'D'), hint: text(b'H') }
}

/// Copies the greeting with a cancel key of our own in place of the connector's, which has the backend's process
/// id and no secret.
fn rewrite_greeting(
    greeting: &[u8],
    minor: u16,
    registration: &Registration,
    out: &mut Vec<u8>,
) -> Result<(), EndOfClient> {
    let mut rest = greeting;
    while let Some(header) = frame::header(rest)? {
        let Some((message, after)) = rest.split_at_checked(header.total()) else {
            break;
        };
        rest = after;
        if header.tag == b'K' {
            let pid = backend::backend_key(message.get(frame::HEADER_BYTES..).unwrap_or_default())?.pid;
            backend::put_backend_key(out, &cancel_key(pid, minor, registration)?);
        } else {
            out.extend_from_slice(message);
        }
    }
    Ok(())
}

fn cancel_key(pid: i32, minor: u16, registration: &Registration) -> Result<BackendKey, EndOfClient> {
    let length = if minor >= 2 { SECRET_BYTES_3_2 } else { SECRET_BYTES_3_0 };
    loop {
        let mut secret = vec![0u8; length];
        rand::fill(&mut secret).map_err(|_| EndOfClient::Done)?;
        let key = BackendKey { pid, secret };
        if registration.set_cancel_key(&key) {
            return Ok(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_fuzz::{mangled, proptest, target};
    use postern_wire::error::Severity;
    use proptest::{collection::vec, prelude::*};

    fn sent() -> impl Strategy<Value = Vec<u8>> {
        let message = (prop::sample::select(&b"SKNZ"[..]), vec(any::<u8>(), 0..12)).prop_map(|(tag, body)| {
            let mut out = Vec::new();
            frame::put_message(&mut out, tag, |out| out.extend_from_slice(&body));
            out
        });
        let refusal = Just(Report::new("28P01", "no", "ask").encode(Severity::Fatal));
        vec(prop_oneof![8 => message, 1 => refusal], 0..8).prop_map(|messages| messages.concat())
    }

    target!(fuzz_greetings, mangled(sent()), |bytes| {
        let verdicts: Vec<_> = (0..=bytes.len()).map(|end| end_of_greeting(&bytes[..end])).collect();
        let Some(first) = verdicts.iter().position(|verdict| !matches!(verdict, Ok(None))) else { return Ok(()) };
        for verdict in &verdicts[first..] {
            prop_assert_eq!(format!("{verdict:?}"), format!("{:?}", verdicts[first]), "more bytes changed it");
        }
        if let Ok(Some(end)) = &verdicts[first] {
            prop_assert_eq!(*end, first, "it could have been known before");
        }
        Ok(())
    });
}
