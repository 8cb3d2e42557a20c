//! tokio-postgres, as a driver like any other, and psql.

use crate::raw::tls;
use std::{
    future::Future,
    pin::Pin,
    process::{Command, Output},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::AbortHandle,
};
use tokio_postgres::{
    AsyncMessage, Config, Error, SimpleQueryMessage,
    config::SslMode,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};

/// A client, and what came outside of its queries.
pub struct Client {
    client: tokio_postgres::Client,
    events: Arc<Mutex<Events>>,
    connection: AbortHandle,
}

/// What came outside of queries.
#[derive(Default)]
pub struct Events {
    /// Texts of notices, each with its detail on a line of its own.
    pub notices: Vec<String>,
    /// Channel, payload and sender.
    pub notifications: Vec<(String, String, i32)>,
    /// The error that ended the connection, with its SQLSTATE where it has one.
    pub end: Option<(String, Option<String>)>,
}

impl std::ops::Deref for Client {
    type Target = tokio_postgres::Client;
    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl std::ops::DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.client
    }
}

impl Client {
    /// Looks at what came outside of queries.
    pub fn events<T>(&self, look: impl FnOnce(&Events) -> T) -> T {
        look(&self.events.lock().unwrap())
    }

    /// Drops the connection as a process does that is killed: whatever it waits for.
    pub fn vanish(&self) {
        self.connection.abort();
    }

    /// The process that serves us, as the server says.
    pub async fn backend_pid(&self) -> i32 {
        self.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
    }

    /// The first column of the first row, as text.
    pub async fn text(&self, sql: &str) -> String {
        let messages = self.simple_query(sql).await.unwrap();
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        });
        row.unwrap_or_else(|| panic!("no row: {sql}"))
    }
}

/// An error's SQLSTATE.
#[must_use]
pub fn sqlstate(error: &Error) -> String {
    error.code().map(|code| code.code().to_owned()).unwrap_or_else(|| panic!("no SQLSTATE: {error:?}"))
}

/// Connects by a URL.
pub async fn connect(url: &str) -> Client {
    try_connect(url).await.unwrap_or_else(|error| panic!("cannot connect: {error:?}"))
}

/// Tries to connect by a URL. Certificates are not looked at: psql does that where it matters.
///
/// # Errors
/// The server's.
pub async fn try_connect(url: &str) -> Result<Client, Error> {
    // Of libpq's parameters, tokio-postgres does not know this one.
    let url = url.split("&sslrootcert=").next().unwrap();
    let url = url.replace("sslmode=verify-full", "sslmode=require");
    let config: Config = url.parse()?;
    connect_with(config).await
}

/// The same, always under TLS, and so with SCRAM-SHA-256-PLUS.
pub async fn connect_tls(url: &str) -> Client {
    let mut config: Config = url.parse().unwrap();
    config.ssl_mode(SslMode::Require);
    config.channel_binding(tokio_postgres::config::ChannelBinding::Require);
    connect_with(config).await.unwrap()
}

/// Connects as configured.
///
/// # Errors
/// The server's.
pub async fn connect_with(config: Config) -> Result<Client, Error> {
    let (client, mut connection) = config.connect(MakeTls).await?;
    let events = Arc::new(Mutex::new(Events::default()));
    let shared = Arc::clone(&events);
    let connection = tokio::spawn(async move {
        loop {
            let next = std::future::poll_fn(|cx| connection.poll_message(cx)).await;
            let mut events = shared.lock().unwrap();
            match next {
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    let detail = notice.detail().map(|detail| format!("\n{detail}")).unwrap_or_default();
                    events.notices.push(format!("{}{detail}", notice.message()));
                }
                Some(Ok(AsyncMessage::Notification(note))) => {
                    events.notifications.push((note.channel().to_owned(), note.payload().to_owned(), note.process_id()))
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let code = error.code().map(|code| code.code().to_owned());
                    events.end = Some((error.to_string(), code));
                    return;
                }
                None => {
                    events.end = Some(("closed".to_owned(), None));
                    return;
                }
            }
        }
    });
    Ok(Client { client, events, connection: connection.abort_handle() })
}

/// psql with a URL, as people type it.
#[must_use]
pub fn psql(url: &str, sql: &str) -> Output {
    psql_command(url, sql).output().expect("psql is installed")
}

/// psql with the URL's secret in its environment instead of where `ps` shows it.
#[must_use]
pub fn psql_discreetly(url: &str, sql: &str) -> Output {
    let secret = password(url);
    let url = url.replacen(&format!(":{secret}@"), "@", 1);
    psql_command(&url, sql).env("PGPASSWORD", secret).output().expect("psql is installed")
}

fn psql_command(url: &str, sql: &str) -> Command {
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
    command.args(["-v", "VERBOSITY=verbose", "-d", url, "-c", sql]);
    command
}

/// The password of a URL of `postern url`.
#[must_use]
pub fn password(url: &str) -> String {
    let authority = url.split_once("://").unwrap().1;
    let (login, _) = authority.split_once('@').unwrap();
    login.split_once(':').unwrap().1.to_owned()
}

#[derive(Clone)]
struct MakeTls;

impl<S> MakeTlsConnect<S> for MakeTls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Connect;
    type Error = std::io::Error;

    fn make_tls_connect(&mut self, _domain: &str) -> std::io::Result<Connect> {
        Ok(Connect)
    }
}

struct Connect;

impl<S> TlsConnect<S> for Connect
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { tls::connect(stream, None).await.map(Stream) })
    }
}

struct Stream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::tls_server_end_point(tls::end_point(&self.0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
