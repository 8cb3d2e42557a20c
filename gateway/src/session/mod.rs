//! One client from its first byte to its last: startup → authenticate → route → relay.

pub mod authenticate;
mod relay;
mod route;
mod startup;

use crate::{
    sessions::Command,
    worker::{Pending, Worker},
};
use postern_wire::{
    ProtocolError,
    error::{Report, Severity},
};
use std::{io, net::SocketAddr, rc::Rc, time::Duration};
use thiserror::Error;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc, time::timeout};

use crate::client::Client;

/// From the first byte to the end of authentication: PostgreSQL's `authentication_timeout`.
const AUTHENTICATION_DEADLINE: Duration = Duration::from_secs(60);

/// A client that is being refused has this long to take the answer.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);

/// Why a connection ended before it became a session.
#[derive(Debug, Error)]
enum EndOfClient {
    /// It went away, or TLS failed.
    #[error("the client's connection failed")]
    Io(#[from] io::Error),
    /// It is told why.
    #[error("refused: {}", .0.message)]
    Refused(Report),
    /// It wanted nothing more (a cancel request).
    #[error("done")]
    Done,
}

impl From<ProtocolError> for EndOfClient {
    fn from(error: ProtocolError) -> Self {
        Self::Refused(Report::new("08P01", error.to_string(), "This port speaks the PostgreSQL protocol, version 3."))
    }
}

/// Serves one client to its end.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream, address: SocketAddr, pending: Pending) {
    let mut client = None;
    let opened = timeout(AUTHENTICATION_DEADLINE, open(&worker, &mut client, stream, address)).await;
    drop(pending);
    let opened = opened.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
    match (opened, client) {
        (Ok(session), Some(client)) => relay::relay(&worker, client, session).await,
        (Err(EndOfClient::Refused(report)), Some(client)) => {
            tracing::debug!(client = %address, sqlstate = report.sqlstate, reason = report.message, "client refused");
            metrics::counter!("postern_gateway_clients_refused_total", "sqlstate" => report.sqlstate.clone())
                .increment(1);
            let _ = timeout(REFUSAL_DEADLINE, refuse(client, &report)).await;
        }
        // libpq takes a cancel request for failed unless TLS ends in good order.
        (Err(EndOfClient::Done), Some(mut client)) => drop(timeout(REFUSAL_DEADLINE, client.shutdown()).await),
        (Err(error), _) => tracing::debug!(client = %address, %error, "client gone"),
        (Ok(_), None) => {}
    }
}

/// The steps before the relay. `client` is filled as soon as there is somebody to answer.
async fn open(
    worker: &Rc<Worker>,
    client: &mut Option<Client>,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<relay::Session, EndOfClient> {
    let message = startup::startup(worker, client, stream).await?;
    let client = client.as_mut().ok_or(EndOfClient::Done)?;
    let accepted = authenticate::authenticate(worker, client, &message, address).await?;
    let (commands, received) = mpsc::unbounded_channel::<Command>();
    let registration = worker.sessions.register(accepted.session_id.clone(), accepted.grant_id.clone(), commands);
    let stream = route::route(worker, client, &message, &accepted, &registration).await?;
    Ok(relay::Session { stream, commands: received, registration })
}

async fn refuse(mut client: Client, report: &Report) -> io::Result<()> {
    client.write_all(&report.encode(Severity::Fatal)).await?;
    client.flush().await?;
    client.shutdown().await
}
