//! Queries of our own on a connection that nobody else uses yet.

use crate::{Connection, DialError, Io};
use bytes::{Buf, BytesMut};
use postern_wire::{backend, error, frame, frontend};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What all rows of one query may take together.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// A row in text form.
pub type Row = Vec<Option<String>>;

impl Connection {
    /// What the server said of one of its settings when the session began.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut rest = self.greeting.as_slice();
        while let Ok(Some(header)) = frame::header(rest) {
            let (message, after) = rest.split_at_checked(header.total())?;
            rest = after;
            let mut texts = message.get(frame::HEADER_BYTES..)?.split(|byte| *byte == 0);
            if header.tag == b'S' && texts.next() == Some(name.as_bytes()) {
                return texts.next().and_then(|value| std::str::from_utf8(value).ok());
            }
        }
        None
    }
}

/// Runs a query string and gives the rows of all its statements.
///
/// Not cancel safe: the connection is then of no more use.
///
/// # Errors
/// When the connection fails, the server refuses, or the answer is too long or not text.
pub async fn rows(io: &mut Io, sql: &str) -> Result<Vec<Row>, DialError> {
    let mut out = Vec::new();
    frontend::put_query(&mut out, sql);
    io.write_all(&out).await?;
    io.flush().await?;
    let (mut buffer, mut rows, mut taken, mut failed) = (BytesMut::new(), Vec::new(), 0, None);
    loop {
        while let Some(header) = frame::header(&buffer)? {
            taken += if header.total() <= buffer.len() { header.total() } else { 0 };
            if taken.max(header.total()) > MAX_ANSWER_BYTES {
                return Err(io::Error::other("the answer is too long").into());
            }
            let Some(message) = buffer.get(..header.total()) else { break };
            let body = message.get(frame::HEADER_BYTES..).unwrap_or_default();
            match header.tag {
                b'D' => rows.push(text(body)?),
                b'E' => failed = Some(refusal(message, body)),
                b'Z' => return failed.map_or(Ok(rows), Err),
                _ => {}
            }
            buffer.advance(header.total());
        }
        if io.read_buf(&mut buffer).await? == 0 {
            return Err(failed.unwrap_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into()));
        }
    }
}

fn text(body: &[u8]) -> Result<Row, DialError> {
    let owned = |value: &[u8]| String::from_utf8(value.to_vec()).map_err(io::Error::other);
    let values = backend::data_row(body)?;
    Ok(values.into_iter().map(|value| value.map(owned).transpose()).collect::<Result<_, _>>()?)
}

fn refusal(message: &[u8], body: &[u8]) -> DialError {
    let field = |code| String::from_utf8_lossy(error::field(body, code).unwrap_or_default()).into_owned();
    DialError::Server { sqlstate: field(b'C'), message: field(b'M'), response: message.to_vec() }
}
