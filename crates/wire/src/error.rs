//! What was wrong with a peer's bytes, and the error that a client reads.

use crate::frame::{Reader, put_cstr, put_message};
use thiserror::Error;

/// Bytes that are not the protocol. Each ends the connection: the peer is out of step.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProtocolError {
    /// A length that no message can have.
    #[error("message `{}` has an impossible length of {length}", char::from(*.tag).escape_default())]
    Length {
        /// The message's type.
        tag: u8,
        /// The length that it claims.
        length: u32,
    },
    /// A body whose fields do not fit its length.
    #[error("message `{}` is malformed", char::from(*.tag).escape_default())]
    Malformed {
        /// The message's type.
        tag: u8,
    },
    /// A type that is not expected here.
    #[error("message `{}` is not expected here", char::from(*.tag).escape_default())]
    Unexpected {
        /// The message's type.
        tag: u8,
    },
    /// A message over a limit of ours.
    #[error("message `{}` of {length} bytes is over the limit of {limit}", char::from(*.tag).escape_default())]
    TooLarge {
        /// The message's type.
        tag: u8,
        /// Bytes of its body.
        length: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// A startup packet that is not one.
    #[error("the startup packet is malformed: {0}")]
    Startup(&'static str),
}

/// How bad: decides whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed; the session goes on.
    Error,
    /// The session is over.
    Fatal,
    /// Information.
    Notice,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Notice => "NOTICE",
        }
    }
}

/// An error of Postern's own in PostgreSQL's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Five characters.
    pub sqlstate: String,
    /// One line.
    pub message: String,
    /// More, or empty.
    pub detail: String,
    /// What to do next, or empty.
    pub hint: String,
}

impl Report {
    /// A report without detail.
    #[must_use]
    pub fn new(sqlstate: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { sqlstate: sqlstate.to_owned(), message: message.into(), detail: String::new(), hint: hint.into() }
    }

    /// Appends it as an ErrorResponse (or NoticeResponse).
    pub fn put(&self, out: &mut Vec<u8>, severity: Severity) {
        let tag = if severity == Severity::Notice { b'N' } else { b'E' };
        put_message(out, tag, |out| {
            let fields = [
                (b'S', severity.as_str()),
                (b'V', severity.as_str()),
                (b'C', self.sqlstate.as_str()),
                (b'M', self.message.as_str()),
                (b'D', self.detail.as_str()),
                (b'H', self.hint.as_str()),
            ];
            for (code, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
                out.push(code);
                put_cstr(out, text.as_bytes());
            }
            out.push(0);
        });
    }

    /// The message alone, as bytes.
    #[must_use]
    pub fn encode(&self, severity: Severity) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out, severity);
        out
    }
}

/// One field of an ErrorResponse's or NoticeResponse's body, by its code.
#[must_use]
pub fn field(body: &[u8], code: u8) -> Option<&[u8]> {
    let mut reader = Reader::new(b'E', body);
    loop {
        let found = reader.u8().ok()?;
        if found == 0 {
            return None;
        }
        let text = reader.cstr().ok()?;
        if found == code {
            return Some(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_round_trip() {
        let report = Report::new("57P01", "the grant has ended", "ask again");
        let bytes = report.encode(Severity::Fatal);
        let body = &bytes[5..];
        assert_eq!(bytes[0], b'E');
        assert_eq!(field(body, b'C'), Some(&b"57P01"[..]));
        assert_eq!(field(body, b'S'), Some(&b"FATAL"[..]));
        assert_eq!(field(body, b'H'), Some(&b"ask again"[..]));
        assert_eq!(field(body, b'D'), None);
        assert_eq!(field(b"C12345", b'C'), None);
    }
}
