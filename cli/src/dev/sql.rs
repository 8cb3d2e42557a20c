//! Running SQL on a connection of our own, for what it does and not for its rows.

use anyhow::{Context, bail};
use bytes::BytesMut;
use postern_dial::Connection;
use postern_wire::{error, frame, frontend};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs one query string. The first error ends it.
///
/// Not cancel safe: the connection is then of no more use.
pub async fn run(connection: &mut Connection, sql: &str) -> anyhow::Result<()> {
    let mut message = Vec::new();
    frontend::put_query(&mut message, sql);
    connection.io.write_all(&message).await?;
    connection.io.flush().await?;
    let mut buffer = BytesMut::new();
    let mut failure = None;
    loop {
        while let Some(header) = frame::header(&buffer)? {
            if buffer.len() < header.total() {
                break;
            }
            let whole = buffer.split_to(header.total());
            let body = whole.get(frame::HEADER_BYTES..).unwrap_or_default();
            match (header.tag, failure.take()) {
                (b'Z', None) => return Ok(()),
                (b'Z', Some(text)) => bail!("{text}"),
                (b'E', None) => failure = Some(describe(body)),
                (_, earlier) => failure = earlier,
            }
        }
        if connection.io.read_buf(&mut buffer).await.context("the connection was lost")? == 0 {
            bail!("{}", failure.unwrap_or_else(|| "the server closed the connection".to_owned()));
        }
    }
}

fn describe(body: &[u8]) -> String {
    let text = |code: u8| error::field(body, code).map(String::from_utf8_lossy).unwrap_or_default();
    format!("{} ({})", text(b'M'), text(b'C'))
}
