//! `postern exec`: one query, its rows as a table, JSON or CSV. Speaks PostgreSQL's protocol itself, so that
//! it needs no psql.

use super::{
    Context,
    grants::{self, Selection},
    url::root_certificate,
};
use crate::{
    failure::Failure,
    output::{self, Format},
    rows::Rows,
};
use postern_api::access::CredentialUse;
use postern_dial::{Connection, Target};
use postern_mcp::gateway;
use postern_wire::{backend, error, frame, frontend};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes asked for in one read.
const READ_BYTES: usize = 64 * 1024;

/// Run SQL through an open grant
///
/// Several statements in one -c run as one transaction, as with `psql -c`. With --json each result is one
/// array of objects; numbers, booleans and JSON keep their types.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern exec demo --role read -c \"select count(*) from orders\"
  postern exec demo -c \"select * from products limit 5\" --json")]
pub struct ExecArgs {
    #[command(flatten)]
    selection: Selection,
    /// The SQL
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    sql: String,
}

/// Runs `exec`.
pub async fn run(context: &Context, args: ExecArgs) -> Result<(), Failure> {
    if args.sql.contains('\0') {
        return Err(Failure::usage("SQL cannot contain a NUL character"));
    }
    let client = context.client()?;
    let (_, credential) = grants::credential(&client, &args.selection, CredentialUse::Exec).await?;
    let (root, own) = (root_certificate(&credential)?, context.client_args.own_certificate()?);
    let (connection, target) = gateway::connect(&credential, root, own, "postern exec").await?;
    Session { connection, target, format: context.format }.query(&args.sql).await
}

struct Session {
    connection: Connection,
    target: Target,
    format: Format,
}

impl Session {
    async fn query(mut self, sql: &str) -> Result<(), Failure> {
        let mut message = Vec::new();
        frontend::put_query(&mut message, sql);
        self.send(&message).await?;
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        let mut interrupted = false;
        let mut buffer = bytes::BytesMut::new();
        let mut answer = Answer::new(self.format);
        loop {
            while let Some(header) = frame::header(&buffer).map_err(protocol)? {
                if buffer.len() < header.total() {
                    break;
                }
                let whole = buffer.split_to(header.total());
                let body = whole.get(frame::HEADER_BYTES..).unwrap_or_default();
                match answer.message(header.tag, body)? {
                    Next::Read => {}
                    Next::RefuseCopy => self.refuse_copy().await?,
                    Next::Done => return self.finish(answer).await,
                }
            }
            buffer.reserve(READ_BYTES);
            tokio::select! {
                read = self.connection.io.read_buf(&mut buffer) => {
                    if read.map_err(|error| lost(&error.to_string()))? == 0 {
                        // What the server said last is why it closed.
                        return Err(answer.failure.unwrap_or_else(|| lost("the server closed it")));
                    }
                }
                _ = &mut interrupt, if !interrupted => {
                    interrupted = true;
                    self.cancel().await;
                }
            }
        }
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        let io = &mut self.connection.io;
        io.write_all(message).await.map_err(|error| lost(&error.to_string()))?;
        io.flush().await.map_err(|error| lost(&error.to_string()))
    }

    /// The statement wants data from us; there is none to give.
    async fn refuse_copy(&mut self) -> Result<(), Failure> {
        let mut message = Vec::new();
        frame::put_message(&mut message, b'f', |out| {
            frame::put_cstr(out, b"postern exec has no data to copy: use postern connect and \\copy");
        });
        self.send(&message).await
    }

    /// Ctrl-C ends the statement, not only this command. The answer is then the server's own error.
    async fn cancel(&self) {
        if let Some(key) = &self.connection.key {
            // When the request does not arrive, the statement goes on and so do we.
            let _ = postern_dial::cancel(&self.target, &self.connection.host, key).await;
        }
    }

    async fn finish(mut self, answer: Answer) -> Result<(), Failure> {
        let mut message = Vec::new();
        frame::put_message(&mut message, b'X', |_| {});
        // The query is over: a connection that broke now has lost nothing.
        let _ = self.send(&message).await;
        let _ = self.connection.io.shutdown().await;
        answer.failure.map_or(Ok(()), Err)
    }
}

fn protocol(error: postern_wire::ProtocolError) -> Failure {
    Failure::failed(format!("the server does not speak PostgreSQL's protocol: {error}"))
}

fn lost(why: &str) -> Failure {
    Failure::failed(format!("the connection was lost: {why}"))
}

/// What to do after a message.
enum Next {
    Read,
    RefuseCopy,
    Done,
}

/// What the server has answered so far.
struct Answer {
    format: Format,
    rows: Option<Rows>,
    failure: Option<Failure>,
}

impl Answer {
    fn new(format: Format) -> Self {
        Self { format, rows: None, failure: None }
    }

    fn message(&mut self, tag: u8, body: &[u8]) -> Result<Next, Failure> {
        match tag {
            b'T' => {
                let columns = backend::row_description(body).map_err(protocol)?;
                self.rows = Some(Rows::begin(self.format, columns)?);
            }
            b'D' => {
                let row = backend::data_row(body).map_err(protocol)?;
                if let Some(rows) = &mut self.rows {
                    rows.row(&row)?;
                }
            }
            b'C' => self.complete(body)?,
            b'E' => {
                if let Some(rows) = self.rows.take() {
                    rows.end()?;
                }
                self.failure = Some(gateway::refused(body).into());
            }
            b'N' => notice(body),
            // COPY … TO STDOUT: the data as it is.
            b'd' => output::write_bytes(body)?,
            b'G' => return Ok(Next::RefuseCopy),
            b'Z' => return Ok(Next::Done),
            // Parameters, notifications, the bounds of a COPY and empty queries say nothing to show.
            _ => {}
        }
        Ok(Next::Read)
    }

    fn complete(&mut self, body: &[u8]) -> Result<(), Failure> {
        if let Some(rows) = self.rows.take() {
            return rows.end();
        }
        let tag = String::from_utf8_lossy(body.strip_suffix(&[0]).unwrap_or(body)).into_owned();
        match self.format {
            Format::Json => output::json(&serde_json::json!({ "command": tag, "rows": backend::tag_rows(body) })),
            // After COPY the data has been written; its tag would be taken for a line of it.
            _ if tag.starts_with("COPY ") => {
                output::remark(tag);
                Ok(())
            }
            Format::Table => output::line(tag),
            Format::Csv => {
                output::remark(tag);
                Ok(())
            }
        }
    }
}

fn notice(body: &[u8]) {
    let text = |code: u8| error::field(body, code).map(String::from_utf8_lossy).unwrap_or_default();
    output::remark(output::printable(&format!("{}: {}", text(b'S'), text(b'M'))));
}
