//! A PostgreSQL client written by hand: it shows each message as it came, and sends whatever bytes it is told to.

pub mod tls;

use bytes::{Buf, BytesMut};
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use std::{collections::BTreeMap, io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Whatever is awaited comes within this, or the test fails.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Codes that stand in place of a protocol version.
pub const SSL_REQUEST: i32 = 80_877_103;
/// Asks for GSSAPI encryption.
pub const GSSENC_REQUEST: i32 = 80_877_104;
/// Cancels.
pub const CANCEL_REQUEST: i32 = 80_877_102;

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// How to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// In clear.
    None,
    /// SSLRequest first.
    Negotiated,
    /// At once, with ALPN.
    Direct,
}

/// One message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub tag: u8,
    /// What follows its length.
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an ErrorResponse or NoticeResponse.
    #[must_use]
    pub fn field(&self, code: u8) -> Option<String> {
        self.body.split(|byte| *byte == 0).find_map(|field| {
            let (first, text) = field.split_first()?;
            (*first == code).then(|| String::from_utf8_lossy(text).into_owned())
        })
    }

    /// The SQLSTATE of an error.
    #[must_use]
    pub fn sqlstate(&self) -> String {
        self.field(b'C').unwrap_or_else(|| panic!("{self:?} has no SQLSTATE"))
    }

    /// The columns of a DataRow, as text.
    #[must_use]
    pub fn columns(&self) -> Vec<Option<String>> {
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        self.values().into_iter().map(|value| value.map(text)).collect()
    }

    /// The columns of a DataRow, as bytes.
    #[must_use]
    pub fn values(&self) -> Vec<Option<Vec<u8>>> {
        let mut rest = self.body.as_slice();
        (0..rest.get_i16())
            .map(|_| {
                let length = usize::try_from(rest.get_i32()).ok()?;
                let (value, after) = rest.split_at(length);
                rest = after;
                Some(value.to_vec())
            })
            .collect()
    }
}

/// Who connects, to what.
#[derive(Clone, Debug)]
pub struct Login {
    /// The minor version of protocol 3.
    pub minor: i16,
    /// The grant.
    pub user: String,
    /// Its secret.
    pub secret: String,
    /// The database; none when empty.
    pub database: String,
    /// Other startup parameters.
    pub parameters: Vec<(String, String)>,
    /// Binds the exchange to the TLS channel.
    pub plus: bool,
}

impl Login {
    /// From a URL of `postern url`.
    #[must_use]
    pub fn of_url(url: &str) -> Self {
        let rest = url.split_once("://").unwrap().1;
        let (login, rest) = rest.split_once('@').unwrap();
        let (user, secret) = login.split_once(':').unwrap();
        let database = rest.split_once('/').unwrap().1.split('?').next().unwrap();
        Self {
            minor: 0,
            user: user.to_owned(),
            secret: secret.to_owned(),
            database: database.to_owned(),
            parameters: Vec::new(),
            plus: false,
        }
    }

    /// The StartupMessage.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        let mut body = 0x0003_0000_i32.to_be_bytes().to_vec();
        body[2..].copy_from_slice(&self.minor.to_be_bytes());
        let mut put = |name: &str, value: &str| {
            for text in [name, value] {
                body.extend_from_slice(text.as_bytes());
                body.push(0);
            }
        };
        put("user", &self.user);
        if !self.database.is_empty() {
            put("database", &self.database);
        }
        for (name, value) in &self.parameters {
            put(name, value);
        }
        body.push(0);
        packet(&body)
    }
}

/// What the server said before it was ready.
#[derive(Clone, Debug, Default)]
pub struct Greeting {
    /// ParameterStatus.
    pub parameters: BTreeMap<String, String>,
    /// BackendKeyData: the process.
    pub pid: i32,
    /// BackendKeyData: the secret.
    pub secret: Vec<u8>,
    /// NegotiateProtocolVersion: the minor version and the options that are unknown.
    pub negotiated: Option<(i32, Vec<String>)>,
    /// Mechanisms that were offered.
    pub mechanisms: Vec<String>,
}

/// A connection.
pub struct Raw {
    io: Box<dyn Io>,
    buffer: BytesMut,
    end_point: Option<Vec<u8>>,
}

/// A packet without a tag.
#[must_use]
pub fn packet(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes(), body].concat()
}

/// A message.
#[must_use]
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &packet(body)].concat()
}

/// A text with its end.
#[must_use]
pub fn cstr(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// A Query.
#[must_use]
pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &cstr(sql))
}

/// Parse (unnamed, no types), Bind (text), Describe, Execute.
#[must_use]
pub fn extended(sql: &str) -> Vec<u8> {
    [
        message(b'P', &[&cstr(""), &cstr(sql)[..], &[0, 0]].concat()),
        message(b'B', &[0, 0, 0, 0, 0, 0, 0, 0]),
        message(b'D', b"P\0"),
        message(b'E', &[0, 0, 0, 0, 0]),
    ]
    .concat()
}

/// A Sync.
#[must_use]
pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

impl Raw {
    /// Connects.
    pub async fn connect(port: u16, tls: Tls) -> Self {
        Self::try_connect(port, tls).await.unwrap()
    }

    /// Connects, if it can.
    ///
    /// # Errors
    /// When the connection or TLS fails.
    pub async fn try_connect(port: u16, tls: Tls) -> io::Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        if tls == Tls::None {
            return Ok(Self::over(stream, None));
        }
        if tls == Tls::Negotiated {
            stream.write_all(&packet(&SSL_REQUEST.to_be_bytes())).await?;
            assert_eq!(bounded(stream.read_u8()).await?, b'S');
        }
        let alpn = (tls == Tls::Direct).then_some(&b"postgresql"[..]);
        let stream = bounded(tls::connect(stream, alpn)).await?;
        let end_point = tls::end_point(&stream);
        Ok(Self::over(stream, Some(end_point)))
    }

    fn over(io: impl Io + 'static, end_point: Option<Vec<u8>>) -> Self {
        Self { io: Box::new(io), buffer: BytesMut::new(), end_point }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    /// Sends bytes, if the other side takes them.
    ///
    /// # Errors
    /// When it does not.
    pub async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        bounded(async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        })
        .await
    }

    /// Sends bytes however long it takes. Nothing is read meanwhile.
    pub async fn send_all_before_reading(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// Sends nothing more.
    pub async fn finish(&mut self) {
        let _ = bounded(self.io.shutdown()).await;
    }

    /// The next message.
    pub async fn read(&mut self) -> Message {
        self.try_read().await.unwrap().expect("the connection is open")
    }

    /// The next message, or none when the connection is closed.
    ///
    /// # Errors
    /// When it is reset.
    pub async fn try_read(&mut self) -> io::Result<Option<Message>> {
        loop {
            if self.buffer.len() >= 5 {
                let length = i32::from_be_bytes(self.buffer[1..5].try_into().unwrap());
                let total = 1 + usize::try_from(length).unwrap();
                if self.buffer.len() >= total {
                    let whole = self.buffer.split_to(total);
                    return Ok(Some(Message { tag: whole[0], body: whole[5..].to_vec() }));
                }
            }
            match bounded(self.io.read_buf(&mut self.buffer)).await {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // Some servers close TLS without a word.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
    }

    /// One byte that is no message.
    pub async fn read_byte(&mut self) -> u8 {
        if self.buffer.is_empty() {
            assert_ne!(bounded(self.io.read_buf(&mut self.buffer)).await.unwrap(), 0);
        }
        self.buffer.get_u8()
    }

    /// All messages up to ReadyForQuery, which is the last.
    pub async fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.read().await;
            let ready = message.tag == b'Z';
            messages.push(message);
            if ready {
                return messages;
            }
        }
    }

    /// What comes until the other side closes. Whether it closes in good order is not asked.
    pub async fn until_closed(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Ok(Some(message)) = self.try_read().await {
            messages.push(message);
        }
        messages
    }

    /// Runs a query string.
    pub async fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(&query(sql)).await;
        self.until_ready().await
    }

    /// The first column of the first row.
    pub async fn text(&mut self, sql: &str) -> String {
        let messages = self.query(sql).await;
        let row = messages.iter().find(|message| message.tag == b'D');
        row.unwrap_or_else(|| panic!("{sql}: {messages:?}")).columns()[0].clone().unwrap_or_default()
    }

    /// Logs in.
    ///
    /// # Errors
    /// The server's ErrorResponse.
    pub async fn login(&mut self, login: &Login) -> Result<Greeting, Message> {
        self.send(&login.packet()).await;
        let mut greeting = Greeting::default();
        let mut scram = None;
        loop {
            let message = self.read().await;
            let mut body = message.body.as_slice();
            match message.tag {
                b'E' => return Err(message),
                b'v' => {
                    let minor = body.get_i32();
                    let count = body.get_i32();
                    let names: Vec<_> = texts(body);
                    assert_eq!(names.len(), usize::try_from(count).unwrap());
                    greeting.negotiated = Some((minor, names));
                }
                b'R' => match body.get_i32() {
                    0 => {}
                    10 => {
                        greeting.mechanisms = texts(body);
                        scram = Some(self.first(login).await);
                    }
                    11 => {
                        let scram = scram.as_mut().unwrap();
                        scram.update(body).unwrap();
                        self.send(&crate::raw::message(b'p', scram.message())).await;
                    }
                    // A refusal may be told here, too: the ErrorResponse that follows says more.
                    12 if body.starts_with(b"e=") => {}
                    12 => scram.as_mut().unwrap().finish(body).unwrap(),
                    code => panic!("authentication {code}"),
                },
                b'S' => {
                    let pair = texts(body);
                    greeting.parameters.insert(pair[0].clone(), pair[1].clone());
                }
                b'K' => {
                    greeting.pid = body.get_i32();
                    greeting.secret = body.to_vec();
                }
                b'N' => {}
                b'Z' => return Ok(greeting),
                tag => panic!("message {:?} before ReadyForQuery", char::from(tag)),
            }
        }
    }

    async fn first(&mut self, login: &Login) -> ScramSha256 {
        let (mechanism, binding) = match (&self.end_point, login.plus) {
            (Some(end_point), true) => {
                (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(end_point.clone()))
            }
            _ => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
        };
        let scram = ScramSha256::new(login.secret.as_bytes(), binding);
        let first = scram.message();
        let length = i32::try_from(first.len()).unwrap().to_be_bytes();
        let body = [&cstr(mechanism)[..], &length, first].concat();
        self.send(&message(b'p', &body)).await;
        scram
    }
}

/// Sends a cancel request and waits until the server has closed.
pub async fn cancel(port: u16, tls: Tls, pid: i32, secret: &[u8]) {
    let mut raw = Raw::connect(port, tls).await;
    let body = [&CANCEL_REQUEST.to_be_bytes()[..], &pid.to_be_bytes(), secret].concat();
    raw.send(&packet(&body)).await;
    assert_eq!(raw.until_closed().await, Vec::new());
}

async fn bounded<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(ANSWER_WITHIN, future).await {
        Ok(result) => result,
        Err(_) => panic!("nothing came within {ANSWER_WITHIN:?}"),
    }
}

fn texts(bytes: &[u8]) -> Vec<String> {
    let mut texts: Vec<String> =
        bytes.split(|byte| *byte == 0).map(|text| String::from_utf8(text.to_vec()).unwrap()).collect();
    while texts.last().is_some_and(String::is_empty) {
        texts.pop();
    }
    // An empty value at the end is one all the same.
    if texts.len() == 1 {
        texts.push(String::new());
        if bytes.iter().filter(|byte| **byte == 0).count() < 2 {
            texts.pop();
        }
    }
    texts
}
