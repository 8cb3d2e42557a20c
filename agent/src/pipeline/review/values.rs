//! The values that a statement is bound with, as people are asked to agree to them.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-BIND>

use super::digest::Digest;
use postern_wire::{ProtocolError, frame::Reader, frontend};
use std::ops::Range;

/// One literal or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Null,
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

impl Value<'_> {
    /// Puts it into a digest, with its form.
    pub fn put(self, digest: &mut Digest) {
        match self {
            Self::Null => digest.put(b"null"),
            Self::Text(bytes) => {
                digest.put(b"text");
                digest.put(bytes);
            }
            Self::Binary(bytes) => {
                digest.put(b"binary");
                digest.put(bytes);
            }
        }
    }

    /// As people see it: of a long one the first so many bytes.
    #[must_use]
    pub fn shown(self, most: usize) -> String {
        let cut = |text: String, whole: bool| if whole { text } else { format!("{text}…") };
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Text(bytes) => {
                let text = String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)).into_owned();
                cut(text, bytes.len() <= most)
            }
            Self::Binary(bytes) => {
                let most = most / 2;
                let shown = bytes.get(..most).unwrap_or(bytes);
                let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
                cut(format!("\\x{hex}"), bytes.len() <= most)
            }
        }
    }
}

/// The values of one Bind.
#[derive(Debug)]
pub struct Values<'a> {
    /// Behind the names: formats, values, formats of the results.
    bytes: &'a [u8],
    /// Where the values stand in it, lengths included.
    values: Range<usize>,
    formats: Vec<u16>,
    parts: Vec<Option<&'a [u8]>>,
}

impl<'a> Values<'a> {
    /// Of a Bind's body.
    ///
    /// # Errors
    /// When it is not one.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let tag = b'B';
        let bytes = body.get(frontend::bind(body)?.length()..).unwrap_or_default();
        let mut reader = Reader::new(tag, bytes);
        let count = reader.u16()?;
        let formats = (0..count).map(|_| reader.u16()).collect::<Result<Vec<_>, _>>()?;
        let count = reader.u16()?;
        let start = bytes.len() - reader.rest().len();
        let mut parts = Vec::new();
        for _ in 0..count {
            let length = reader.i32()?;
            parts.push(match usize::try_from(length) {
                Ok(length) => Some(reader.bytes(length)?),
                Err(_) => None,
            });
        }
        let end = bytes.len() - reader.rest().len();
        Ok(Self { bytes, values: start..end, formats, parts })
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// All but the values.
    #[must_use]
    pub fn formats(&self) -> Vec<u8> {
        let (before, after) = (self.bytes.get(..self.values.start), self.bytes.get(self.values.end..));
        [before.unwrap_or_default(), after.unwrap_or_default()].concat()
    }

    /// The values, in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        self.parts.iter().enumerate().map(|(at, part)| {
            // One format is for all, none is text.
            let format = if self.formats.len() == 1 { self.formats.first() } else { self.formats.get(at) };
            match part {
                None => Value::Null,
                Some(bytes) if format == Some(&1) => Value::Binary(bytes),
                Some(bytes) => Value::Text(bytes),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_their_formats() {
        let body = b"p\0s\0\0\x02\0\x01\0\0\0\x03\0\0\0\x02\0\x2a\0\0\0\x01x\xff\xff\xff\xff\0\0";
        let read = Values::read(body).unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), [Value::Binary(&[0, 42]), Value::Text(b"x"), Value::Null]);
        assert_eq!(read.formats(), b"\0\x02\0\x01\0\0\0\x03\0\0");
        assert!((0..body.len() - 2).all(|end| Values::read(&body[..end]).is_err()));
        let one_for_all = Values::read(b"\0\0\0\x01\0\x01\0\x01\0\0\0\x01y\0\0").unwrap();
        assert_eq!(one_for_all.iter().collect::<Vec<_>>(), [Value::Binary(b"y")]);
    }

    #[test]
    fn long_ones_are_cut() {
        assert_eq!(Value::Text(b"abc").shown(3), "abc");
        assert_eq!(Value::Text(b"abcd").shown(3), "abc…");
        assert_eq!(Value::Binary(&[1, 2]).shown(4), "\\x0102");
        assert_eq!(Value::Binary(&[1, 2, 3]).shown(4), "\\x0102…");
        assert_eq!(Value::Null.shown(4), "NULL");
    }
}
