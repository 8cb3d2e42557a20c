//! Connect, negotiate TLS, authenticate, and read up to the first ReadyForQuery.

use crate::{
    target::{Host, Target},
    tls::{self, TlsMode, tls_server_end_point},
};
use bytes::{Buf, BytesMut};
use postern_wire::{
    ProtocolError,
    backend::{self, BackendKey},
    error, frame, startup,
};
use postgres_protocol::authentication::{md5_hash, sasl};
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// The most that a server may send before the session is ready.
const MAX_GREETING_BYTES: usize = 256 * 1024;

/// A connection could not be had. No variant shows an address or a secret.
#[derive(Debug, Error)]
pub enum DialError {
    /// The network, or the server closed the connection.
    #[error("the database cannot be reached")]
    Io(#[from] io::Error),
    /// TLS.
    #[error("TLS with the database failed: {0}")]
    Tls(String),
    /// The server is not PostgreSQL, or speaks it wrongly.
    #[error("the database does not speak PostgreSQL's protocol")]
    Protocol(#[from] ProtocolError),
    /// The way of authentication, or a secret, is missing.
    #[error("the database asks for {0}")]
    Authentication(&'static str),
    /// The server's answer is an error.
    #[error("the database refused the connection: {message} ({sqlstate})")]
    Server {
        /// Its code.
        sqlstate: String,
        /// Its text.
        message: String,
        /// The whole ErrorResponse, to be passed on where that is right.
        response: Vec<u8>,
    },
}

/// A stream to a server.
#[derive(Debug)]
pub enum Io {
    /// TCP in clear.
    Tcp(TcpStream),
    /// A local socket.
    Unix(UnixStream),
    /// TCP under TLS.
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Unix(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Unix(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Tls(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_flush(cx),
            Self::Unix(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Self::Unix(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

/// A session with a server, ready for its first query.
#[derive(Debug)]
pub struct Connection {
    /// The stream, at a message's bound in both directions.
    pub io: Io,
    /// What the server said between AuthenticationOk and ReadyForQuery, both excluded, BackendKeyData left out:
    /// ParameterStatus and notices, as whole messages.
    pub greeting: Vec<u8>,
    /// To cancel what the session runs.
    pub key: Option<BackendKey>,
    /// The host that answered.
    pub host: Host,
}

/// Connects to the first host that lets us in.
///
/// Not cancel safe, yet nothing is left behind: the socket is closed.
///
/// # Errors
/// The last host's.
pub async fn connect(target: &Target) -> Result<Connection, DialError> {
    let mut last = DialError::Io(io::ErrorKind::NotFound.into());
    for host in &target.hosts {
        match connect_host(target, host).await {
            Ok(connection) => return Ok(connection),
            // A server that answered has answered for all.
            Err(error @ (DialError::Server { .. } | DialError::Authentication(_))) => {
                return Err(error);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_host(target: &Target, host: &Host) -> Result<Connection, DialError> {
    if target.tls != TlsMode::Allow {
        return login(target, host, open(target, host, target.tls).await?).await;
    }
    let plain = open(target, host, TlsMode::Disable).await?;
    match login(target, host, plain).await {
        Err(DialError::Server { sqlstate, .. }) if sqlstate == "28000" => {
            login(target, host, open(target, host, TlsMode::Require).await?).await
        }
        result => result,
    }
}

/// Asks the server to cancel what a session runs. The server says nothing to it.
///
/// # Errors
/// When it cannot be reached.
pub async fn cancel(target: &Target, host: &Host, key: &BackendKey) -> Result<(), DialError> {
    let mut io = open(target, host, target.tls).await?;
    io.write_all(&startup::encode_cancel(key.pid, &key.secret)).await?;
    io.flush().await?;
    // The server closes once it has passed the signal on.
    let mut end = [0u8; 1];
    let _ = io.read(&mut end).await;
    Ok(())
}

async fn open(target: &Target, host: &Host, mode: TlsMode) -> Result<Io, DialError> {
    let (name, port) = match host {
        Host::Unix(folder, port) => {
            let stream = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await?;
            return Ok(Io::Unix(stream));
        }
        Host::Tcp(name, port) => (name, *port),
    };
    let mut stream = TcpStream::connect((name.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    if matches!(mode, TlsMode::Disable | TlsMode::Allow) {
        return Ok(Io::Tcp(stream));
    }
    stream.write_all(&startup::encode_ssl_request()).await?;
    // Exactly one byte: whatever else came before the handshake would be an injection (CVE-2021-23222).
    match stream.read_u8().await? {
        b'S' => {}
        _ if mode == TlsMode::Prefer => return Ok(Io::Tcp(stream)),
        _ => return Err(DialError::Tls("the server offers none".to_owned())),
    }
    let config = tls::client_config(mode, target).map_err(|e| DialError::Tls(e.to_string()))?;
    let server = ServerName::try_from(name.clone()).map_err(|e| DialError::Tls(e.to_string()))?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await
        .map_err(|e| DialError::Tls(e.to_string()))?;
    Ok(Io::Tls(Box::new(stream)))
}

/// Reads whole messages with a bound.
struct Reader {
    buffer: BytesMut,
}

impl Reader {
    async fn next(&mut self, io: &mut Io) -> Result<(u8, BytesMut), DialError> {
        loop {
            if let Some(header) = frame::header(&self.buffer)? {
                if header.body > MAX_GREETING_BYTES {
                    let (tag, length) = (header.tag, header.body);
                    return Err(ProtocolError::TooLarge { tag, length, limit: MAX_GREETING_BYTES }.into());
                }
                if self.buffer.len() >= header.total() {
                    let mut message = self.buffer.split_to(header.total());
                    message.advance(frame::HEADER_BYTES);
                    return Ok((header.tag, message));
                }
            }
            if io.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

async fn login(target: &Target, host: &Host, mut io: Io) -> Result<Connection, DialError> {
    let mut parameters = vec![("user", target.user.as_str()), ("database", target.database())];
    parameters.extend(target.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    io.write_all(&startup::encode(target.minor, &parameters)).await?;
    io.flush().await?;
    let mut reader = Reader { buffer: BytesMut::new() };
    authenticate(target, &mut io, &mut reader).await?;
    let mut greeting = Vec::new();
    let mut key = None;
    loop {
        let (tag, body) = reader.next(&mut io).await?;
        match tag {
            b'Z' => break,
            b'K' => key = Some(backend::backend_key(&body)?),
            b'E' => return Err(server_error(&body)),
            b'S' | b'N' if greeting.len() < MAX_GREETING_BYTES => {
                frame::put_message(&mut greeting, tag, |out| out.extend_from_slice(&body));
            }
            tag => return Err(ProtocolError::Unexpected { tag }.into()),
        }
    }
    Ok(Connection { io, greeting, key, host: host.clone() })
}

fn server_error(body: &[u8]) -> DialError {
    let text = |code| String::from_utf8_lossy(error::field(body, code).unwrap_or_default()).into_owned();
    let mut response = Vec::new();
    frame::put_message(&mut response, b'E', |out| out.extend_from_slice(body));
    DialError::Server { sqlstate: text(b'C'), message: text(b'M'), response }
}

async fn authenticate(target: &Target, io: &mut Io, reader: &mut Reader) -> Result<(), DialError> {
    let password = || target.password.as_ref().ok_or(DialError::Authentication("a password, and none is configured"));
    loop {
        let (tag, body) = reader.next(io).await?;
        match tag {
            // An older server: it speaks 3.0, which differs in nothing that is used here.
            b'v' | b'N' => continue,
            b'E' => return Err(server_error(&body)),
            b'R' => {}
            tag => return Err(ProtocolError::Unexpected { tag }.into()),
        }
        let mut fields = frame::Reader::new(b'R', &body);
        match fields.i32()? {
            0 => return Ok(()),
            3 => match io {
                Io::Tcp(_) => {
                    return Err(DialError::Authentication("the password in clear, which needs TLS"));
                }
                _ => send_password(io, password()?.expose_secret().as_bytes()).await?,
            },
            5 => {
                let salt = fields.bytes(4)?.try_into().unwrap_or_default();
                let hash = md5_hash(target.user.as_bytes(), password()?.expose_secret().as_bytes(), salt);
                send_password(io, hash.as_bytes()).await?;
            }
            10 => scram(fields, password()?, io, reader).await?,
            _ => {
                return Err(DialError::Authentication("a way of authentication that is not supported"));
            }
        }
    }
}

async fn send_password(io: &mut Io, password: &[u8]) -> Result<(), DialError> {
    let mut message = Vec::new();
    frame::put_message(&mut message, b'p', |out| frame::put_cstr(out, password));
    io.write_all(&message).await?;
    io.flush().await?;
    Ok(())
}

async fn scram(
    mut fields: frame::Reader<'_>,
    password: &SecretString,
    io: &mut Io,
    reader: &mut Reader,
) -> Result<(), DialError> {
    let mut plus = false;
    let mut plain = false;
    loop {
        match fields.cstr()? {
            b"" => break,
            b"SCRAM-SHA-256" => plain = true,
            b"SCRAM-SHA-256-PLUS" => plus = true,
            _ => {}
        }
    }
    let end_point = match io {
        Io::Tls(stream) => {
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            certificates.first().and_then(|leaf| tls_server_end_point(leaf))
        }
        _ => None,
    };
    let (mechanism, binding) = match end_point {
        Some(hash) if plus => ("SCRAM-SHA-256-PLUS", sasl::ChannelBinding::tls_server_end_point(hash)),
        Some(_) if plain => ("SCRAM-SHA-256", sasl::ChannelBinding::unrequested()),
        _ if plain => ("SCRAM-SHA-256", sasl::ChannelBinding::unsupported()),
        _ => {
            return Err(DialError::Authentication("a way of authentication that is not supported"));
        }
    };
    let mut exchange = sasl::ScramSha256::new(password.expose_secret().as_bytes(), binding);
    let mut message = Vec::new();
    frame::put_message(&mut message, b'p', |out| {
        frame::put_cstr(out, mechanism.as_bytes());
        let first = exchange.message();
        out.extend_from_slice(&i32::try_from(first.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(first);
    });
    io.write_all(&message).await?;
    io.flush().await?;
    let body = sasl_body(reader.next(io).await?, 11)?;
    exchange.update(&body)?;
    message.clear();
    frame::put_message(&mut message, b'p', |out| out.extend_from_slice(exchange.message()));
    io.write_all(&message).await?;
    io.flush().await?;
    let body = sasl_body(reader.next(io).await?, 12)?;
    exchange.finish(&body)?;
    Ok(())
}

fn sasl_body((tag, body): (u8, BytesMut), step: i32) -> Result<BytesMut, DialError> {
    match tag {
        b'E' => Err(server_error(&body)),
        b'R' => {
            let mut fields = frame::Reader::new(tag, &body);
            if fields.i32()? != step {
                return Err(ProtocolError::Malformed { tag }.into());
            }
            Ok(fields.rest().into())
        }
        tag => Err(ProtocolError::Unexpected { tag }.into()),
    }
}
