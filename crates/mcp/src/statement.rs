//! A statement through a gateway, and as much of its answer as is shown.

mod answer;

pub(crate) use answer::{Answered, ResultSet};

use crate::{Refusal, gateway, tools::Call};
use answer::{Answer, Step};
use bytes::BytesMut;
use postern_dial::{Connection, Target};
use postern_wire::{frame, frontend};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, interval_at, sleep_until, timeout},
};

/// Bytes asked for in one read.
const READ_BYTES: usize = 64 << 10;

/// The longest message of the server's: nobody reads a longer value here.
const MAX_MESSAGE: usize = 16 << 20;

/// The most that is read, nearly all of it to be passed over, so that a statement comes to its own end.
const MAX_READ: usize = 64 << 20;

/// How often a client hears that its statement goes on: its own patience is often a minute.
const BEAT: Duration = Duration::from_secs(5);

/// How long a statement may take to end once it was asked to.
const CANCEL_WITHIN: Duration = Duration::from_secs(10);

/// What is to run.
pub(crate) struct Statement {
    pub(crate) sql: String,
    /// The values of `$1`, `$2`…
    pub(crate) params: Vec<Option<String>>,
    /// It is several statements, in one transaction unless they say otherwise.
    pub(crate) script: bool,
    /// Of each result.
    pub(crate) max_rows: u32,
}

impl Statement {
    fn messages(&self) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::new();
        if self.script {
            frontend::put_query(&mut out, &self.sql);
            return Ok(out);
        }
        let count = u16::try_from(self.params.len()).map_err(|_| Refusal::invalid("params", "they are too many"))?;
        frame::put_message(&mut out, b'P', |out| {
            frame::put_cstr(out, b"");
            frame::put_cstr(out, self.sql.as_bytes());
            out.extend_from_slice(&[0, 0]);
        });
        frame::put_message(&mut out, b'B', |out| {
            // No name of a portal, none of a statement, all values as text.
            out.extend_from_slice(&[0, 0, 0, 0]);
            out.extend_from_slice(&count.to_be_bytes());
            for value in &self.params {
                let length = value.as_ref().map_or(-1, |text| i32::try_from(text.len()).unwrap_or(i32::MAX));
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(value.as_deref().unwrap_or_default().as_bytes());
            }
            out.extend_from_slice(&[0, 0]);
        });
        frame::put_message(&mut out, b'D', |out| out.extend_from_slice(b"P\0"));
        // One more than is shown, by which it is known that there are more.
        let rows = self.max_rows.saturating_add(1);
        frame::put_message(&mut out, b'E', |out| {
            out.push(0);
            out.extend_from_slice(&rows.to_be_bytes());
        });
        frame::put_message(&mut out, b'S', |_| {});
        Ok(out)
    }
}

/// Why a statement was asked to end.
#[derive(Clone, Copy, PartialEq)]
enum Stopped {
    ByClient,
    ByTime,
}

/// A session for one statement.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) target: Target,
}

impl Session {
    /// Runs it to its end. A client that gives up, or the end of its time, cancels it at the server: while it waits for people,
    /// that withdraws it.
    pub(crate) async fn run(
        mut self,
        statement: &Statement,
        within: Duration,
        call: &mut Call,
    ) -> Result<Answered, Refusal> {
        self.send(&statement.messages()?).await?;
        let mut answer = Answer::new(statement.max_rows);
        let (mut buffer, mut read_bytes) = (BytesMut::new(), 0);
        let (mut end, mut stopped) = (Instant::now() + within, None);
        let mut beat = interval_at(Instant::now() + BEAT, BEAT);
        loop {
            while let Some(message) = next(&mut buffer)? {
                match answer.message(&message)? {
                    Step::Read => {}
                    Step::Tell(text) => call.tell(&text).await,
                    Step::RefuseCopy => self.refuse_copy(statement).await?,
                    Step::Done => {
                        self.close().await;
                        return answer.end().map_err(|error| because(error, stopped, within));
                    }
                }
            }
            buffer.reserve(READ_BYTES);
            tokio::select! {
                read = self.connection.io.read_buf(&mut buffer) => match read {
                    Ok(0) => return Err(answer.failure.take().unwrap_or_else(|| lost("the server closed it"))),
                    Ok(bytes) => read_bytes += bytes,
                    Err(error) => return Err(answer.failure.take().unwrap_or_else(|| lost(&error.to_string()))),
                },
                () = call.cancelled(), if stopped.is_none() => {
                    (stopped, end) = (Some(Stopped::ByClient), Instant::now() + CANCEL_WITHIN);
                    self.cancel().await;
                }
                () = sleep_until(end) => {
                    if stopped.is_some() {
                        return Err(lost("the statement did not end when it was cancelled"));
                    }
                    (stopped, end) = (Some(Stopped::ByTime), Instant::now() + CANCEL_WITHIN);
                    self.cancel().await;
                }
                _ = beat.tick() => call.tell(answer.doing()).await,
            }
            if read_bytes > MAX_READ {
                return Err(too_much());
            }
        }
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), Refusal> {
        let io = &mut self.connection.io;
        io.write_all(message).await.map_err(|error| lost(&error.to_string()))?;
        io.flush().await.map_err(|error| lost(&error.to_string()))
    }

    /// The statement wants data from us; there is none to give.
    async fn refuse_copy(&mut self, statement: &Statement) -> Result<(), Refusal> {
        let mut message = Vec::new();
        frame::put_message(&mut message, b'f', |out| {
            frame::put_cstr(out, b"there is no data to copy here: use INSERT")
        });
        if !statement.script {
            // The one that was sent came while data was expected, and counts for nothing.
            frame::put_message(&mut message, b'S', |_| {});
        }
        self.send(&message).await
    }

    async fn cancel(&self) {
        if let Some(key) = &self.connection.key {
            // When the request does not arrive, the statement goes on until we go.
            let _ = timeout(CANCEL_WITHIN, postern_dial::cancel(&self.target, &self.connection.host, key)).await;
        }
    }

    async fn close(mut self) {
        // The statement is over: a connection that broke now has lost nothing.
        let _ = self.send(frontend::TERMINATE).await;
        let _ = self.connection.io.shutdown().await;
    }
}

/// A message of the server's, once it is all there.
fn next(buffer: &mut BytesMut) -> Result<Option<BytesMut>, Refusal> {
    let Some(header) = frame::header(buffer).map_err(protocol)? else { return Ok(None) };
    if header.body > MAX_MESSAGE {
        return Err(too_much());
    }
    Ok((buffer.len() >= header.total()).then(|| buffer.split_to(header.total())))
}

/// The server's error, which of a statement that was cancelled says only that it was.
fn because(error: Refusal, stopped: Option<Stopped>, within: Duration) -> Refusal {
    match stopped {
        Some(Stopped::ByTime) if error.sqlstate.as_deref() == Some("57014") => {
            let hint = "Ask for less at once, or give a longer `timeout_seconds`.";
            let message = format!("the statement was not done within {} s, and was cancelled", within.as_secs());
            Refusal { code: "timeout".into(), message: message.into(), ..error }.hint(hint)
        }
        Some(Stopped::ByClient) => Refusal { code: "cancelled".into(), ..error },
        _ => error,
    }
}

fn protocol(error: postern_wire::ProtocolError) -> Refusal {
    Refusal::unavailable(format!("the server does not speak PostgreSQL's protocol: {error}"))
}

fn lost(why: &str) -> Refusal {
    Refusal::unavailable(format!("the connection was lost: {why}"))
        .hint("What the statement writes may have been done: look before you send it again.")
}

fn too_much() -> Refusal {
    Refusal::new("too_large", "the answer is larger than is read here, and the connection was closed within it").hint(
        "Select fewer and shorter columns, with a LIMIT. What the statement writes may have been done: look before you send it again.",
    )
}

pub(crate) async fn open(
    credential: &postern_api::access::Credential,
    root: Option<std::path::PathBuf>,
    own: Option<postern_dial::OwnCertificate>,
) -> Result<Session, Refusal> {
    let (connection, target) = gateway::connect(credential, root, own, "postern mcp").await?;
    Ok(Session { connection, target })
}
