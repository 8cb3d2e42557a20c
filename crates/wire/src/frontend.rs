//! Views of the messages that a client sends after authentication.

use crate::{
    ProtocolError,
    frame::{Reader, put_cstr, put_message},
};

/// `Query`: a string of statements.
///
/// # Errors
/// When it has no NUL or something after it.
pub fn query(body: &[u8]) -> Result<&[u8], ProtocolError> {
    let mut reader = Reader::new(b'Q', body);
    let text = reader.cstr()?;
    reader.end()?;
    Ok(text)
}

/// `Parse`: a statement to prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Empty for the unnamed statement.
    pub name: &'a [u8],
    /// The statement's text.
    pub text: &'a [u8],
    /// The types of the parameters as far as they are declared: four bytes each, 0 where one is left open.
    pub types: &'a [u8],
}

/// Reads a `Parse`.
///
/// # Errors
/// When the fields do not fit the body exactly.
pub fn parse(body: &[u8]) -> Result<Parse<'_>, ProtocolError> {
    let mut reader = Reader::new(b'P', body);
    let (name, text) = (reader.cstr()?, reader.cstr()?);
    let count = usize::from(reader.u16()?);
    let types = reader.bytes(count * 4)?;
    reader.end()?;
    Ok(Parse { name, text, types })
}

/// The names at the start of a `Bind`; its values are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Empty for the unnamed portal.
    pub portal: &'a [u8],
    /// The prepared statement.
    pub statement: &'a [u8],
}

impl Bind<'_> {
    /// How many bytes of the body the names are.
    #[must_use]
    pub fn length(&self) -> usize {
        self.portal.len() + self.statement.len() + 2
    }
}

/// Reads the names of a `Bind` from the start of its body, which need not be all there.
///
/// # Errors
/// When a name does not end within what is there.
pub fn bind(body: &[u8]) -> Result<Bind<'_>, ProtocolError> {
    let mut reader = Reader::new(b'B', body);
    Ok(Bind { portal: reader.cstr()?, statement: reader.cstr()? })
}

/// `Execute`: a portal's name and the most rows to return (0: all).
///
/// # Errors
/// When the fields do not fit the body exactly.
pub fn execute(body: &[u8]) -> Result<(&[u8], i32), ProtocolError> {
    let mut reader = Reader::new(b'E', body);
    let portal = reader.cstr()?;
    let rows = reader.i32()?;
    reader.end()?;
    Ok((portal, rows))
}

/// What a `Describe` or `Close` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement.
    Statement(&'a [u8]),
    /// A portal.
    Portal(&'a [u8]),
}

/// Reads a `Describe` or `Close`.
///
/// # Errors
/// When the fields do not fit the body exactly, or the kind is neither `S` nor `P`.
pub fn target(tag: u8, body: &[u8]) -> Result<Target<'_>, ProtocolError> {
    let mut reader = Reader::new(tag, body);
    let kind = reader.u8()?;
    let name = reader.cstr()?;
    reader.end()?;
    match kind {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        _ => Err(ProtocolError::Malformed { tag }),
    }
}

/// A `Query` of ours.
pub fn put_query(out: &mut Vec<u8>, text: &str) {
    put_message(out, b'Q', |out| put_cstr(out, text.as_bytes()));
}

/// A `Terminate`.
pub const TERMINATE: &[u8] = b"X\0\0\0\x04";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict() {
        assert_eq!(query(b"SELECT 1\0"), Ok(&b"SELECT 1"[..]));
        assert!(query(b"SELECT 1").is_err());
        assert!(query(b"SELECT 1\0Q\0\0\0\x0aDROP\0").is_err());
        assert_eq!(parse(b"s\0SELECT $1\0\0\x01\0\0\0\x17").unwrap().text, b"SELECT $1");
        for bad in [&b"s\0SELECT 1\0"[..], b"s\0SELECT 1\0\0\x01\0\0\0", b"s\0SELECT 1\0\0\0x"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        let names = bind(b"p\0s\0\0\0").unwrap();
        assert_eq!((names.statement, names.length()), (&b"s"[..], 4));
        assert!(bind(b"p\0s").is_err());
        assert_eq!(execute(b"p\0\0\0\0\x05"), Ok((&b"p"[..], 5)));
        assert!(execute(b"p\0\0\0\0\x05x").is_err());
        assert_eq!(target(b'C', b"Ss\0"), Ok(Target::Statement(b"s")));
        assert!(target(b'C', b"Xs\0").is_err());
    }
}
