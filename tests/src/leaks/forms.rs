//! How a statement is sent, and what came back.

use crate::raw::{self, Message, Raw};

/// How a statement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// A Query.
    Simple,
    /// Parse, Bind, Describe, Execute; values as text.
    Text,
    /// The same; values in binary.
    Binary,
    /// Parsed and described once, run twice: whole, and in parts.
    Again,
    /// `COPY (…) TO STDOUT`.
    CopyText,
    /// The same as CSV.
    CopyCsv,
    /// The same in binary.
    CopyBinary,
}

impl Form {
    /// Those that take any statement.
    pub const ANY: [Self; 4] = [Self::Simple, Self::Text, Self::Binary, Self::Again];

    /// Those that take queries.
    pub const COPY: [Self; 3] = [Self::CopyText, Self::CopyCsv, Self::CopyBinary];

    /// Sends a statement, and gives all that comes back.
    pub async fn run(self, raw: &mut Raw, sql: &str) -> Vec<Message> {
        match self {
            Self::Simple => raw.query(sql).await,
            Self::Text => send(raw, &[raw::extended(sql), raw::sync()]).await,
            Self::Binary => {
                let describe = raw::message(b'D', b"P\0");
                send(raw, &[parse("", sql), bind("", 1), describe, execute(0), raw::sync()]).await
            }
            Self::Again => again(raw, sql).await,
            Self::CopyText => raw.query(&format!("COPY ({sql}) TO STDOUT")).await,
            Self::CopyCsv => raw.query(&format!("COPY ({sql}) TO STDOUT (FORMAT csv, HEADER)")).await,
            Self::CopyBinary => raw.query(&format!("COPY ({sql}) TO STDOUT (FORMAT binary)")).await,
        }
    }
}

/// What clients do that cache statements: each run comes without a Describe.
async fn again(raw: &mut Raw, sql: &str) -> Vec<Message> {
    let describe = raw::message(b'D', b"Skept\0");
    let mut all = send(raw, &[parse("kept", sql), describe, raw::sync()]).await;
    if !all.iter().any(|message| message.tag == b'E') {
        all.extend(send(raw, &[bind("kept", 0), execute(0), raw::sync()]).await);
        all.extend(send(raw, &[bind("kept", 1), execute(1), execute(0), raw::sync()]).await);
    }
    all.extend(send(raw, &[raw::message(b'C', b"Skept\0"), raw::sync()]).await);
    all
}

async fn send(raw: &mut Raw, messages: &[Vec<u8>]) -> Vec<Message> {
    raw.send(&messages.concat()).await;
    raw.until_ready().await
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    raw::message(b'P', &[raw::cstr(name), raw::cstr(sql), vec![0, 0]].concat())
}

/// All columns in one format.
fn bind(name: &str, format: u8) -> Vec<u8> {
    raw::message(b'B', &[raw::cstr(""), raw::cstr(name), vec![0, 0, 0, 0, 0, 1, 0, format]].concat())
}

fn execute(rows: u8) -> Vec<u8> {
    raw::message(b'E', &[0, 0, 0, 0, rows])
}

/// All bytes of messages, as they came.
#[must_use]
pub fn bytes(messages: &[Message]) -> Vec<u8> {
    messages.iter().flat_map(|message| raw::message(message.tag, &message.body)).collect()
}
