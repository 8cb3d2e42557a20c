//! Up to the StartupMessage: TLS as negotiated or direct, GSSAPI refused, cancel requests taken.
//!
//! Everything is read exactly, never ahead, so that nothing sent in clear can pass for something sent under TLS.

use super::EndOfClient;
use crate::{client::Client, config::ClientTls, worker::Worker};
use postern_wire::{
    ProtocolError, backend,
    error::Report,
    startup::{self, MAX_MINOR, Startup, StartupMessage},
};
use std::rc::Rc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The first byte of a TLS handshake record: no PostgreSQL packet begins with it, since it would be too long.
const TLS_HANDSHAKE: u8 = 0x16;

/// Encryption requests before the StartupMessage: libpq sends at most two.
const MAX_REQUESTS: usize = 4;

pub(super) async fn startup(
    worker: &Rc<Worker>,
    client: &mut Option<Client>,
    stream: TcpStream,
) -> Result<StartupMessage, EndOfClient> {
    let mut first = [0u8; 1];
    if stream.peek(&mut first).await? == 0 {
        return Err(EndOfClient::Done);
    }
    *client = Some(if first == [TLS_HANDSHAKE] { direct_tls(worker, stream).await? } else { Client::Plain(stream) });
    for _ in 0..MAX_REQUESTS {
        let Some(connection) = client.as_mut() else {
            break;
        };
        match read_packet(connection).await? {
            Startup::SslRequest => match client.take() {
                Some(Client::Plain(mut stream)) => {
                    stream.write_all(b"S").await?;
                    let stream = worker.client_tls().accept(stream).await?;
                    *client = Some(Client::Tls(Box::new(stream)));
                }
                tls => {
                    *client = tls;
                    return Err(ProtocolError::Startup("TLS is in use already").into());
                }
            },
            Startup::GssEncRequest => {
                connection.write_all(b"N").await?;
                connection.flush().await?;
            }
            Startup::Cancel { pid, secret } => {
                worker.cancel(pid, secret).await;
                return Err(EndOfClient::Done);
            }
            Startup::Session(message) => {
                let tls = connection.is_tls();
                check(worker, tls, &message)?;
                negotiate(connection, &message).await?;
                return Ok(message);
            }
        }
    }
    Err(ProtocolError::Startup("too many encryption requests").into())
}

/// PostgreSQL 17's direct TLS: the application protocol must be named, so that another protocol's client cannot
/// be made to talk to a database.
async fn direct_tls(worker: &Rc<Worker>, stream: TcpStream) -> Result<Client, EndOfClient> {
    let stream = worker.client_tls().accept(stream).await?;
    if stream.get_ref().1.alpn_protocol() != Some(b"postgresql") {
        return Err(EndOfClient::Done);
    }
    Ok(Client::Tls(Box::new(stream)))
}

async fn read_packet(client: &mut Client) -> Result<Startup, EndOfClient> {
    let mut packet = vec![0u8; 4];
    client.read_exact(&mut packet).await?;
    let length = startup::packet_length(&packet)?.unwrap_or(packet.len());
    packet.resize(length, 0);
    client.read_exact(packet.get_mut(4..).unwrap_or_default()).await?;
    Ok(startup::parse(&packet)?)
}

fn check(worker: &Rc<Worker>, tls: bool, message: &StartupMessage) -> Result<(), EndOfClient> {
    if !tls && worker.config.clients.client_tls == ClientTls::Required {
        return Err(EndOfClient::Refused(Report::new(
            "28000",
            "this gateway takes connections under TLS only",
            "Connect with sslmode=verify-full, as the URL of `postern url` has it.",
        )));
    }
    let replication = message.get("replication").unwrap_or("off");
    if !matches!(replication, "off" | "false" | "no" | "0" | "f" | "n") {
        return Err(EndOfClient::Refused(Report::new(
            "0A000",
            "replication connections are refused",
            "Postern passes on statements that it can understand; replication has none.",
        )));
    }
    if message.get("user").is_none_or(str::is_empty) {
        return Err(EndOfClient::Refused(Report::new(
            "28000",
            "no user name was sent",
            "The user name is the id of a grant: `postern url CONNECTION --role ROLE` prints the whole URL. With a token it is \
             the access role's name.",
        )));
    }
    Ok(())
}

/// A newer minor version or an unknown protocol option is answered by what is spoken here.
async fn negotiate(client: &mut Client, message: &StartupMessage) -> Result<(), EndOfClient> {
    let unknown: Vec<_> =
        message.parameters.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("_pq_.")).collect();
    if message.minor > MAX_MINOR || !unknown.is_empty() {
        let mut out = Vec::new();
        backend::put_negotiate_version(&mut out, message.minor.min(MAX_MINOR), &unknown);
        client.write_all(&out).await?;
    }
    Ok(())
}
