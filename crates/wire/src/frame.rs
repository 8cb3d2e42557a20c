//! A message is a tag byte, a big-endian length that counts itself and the body, and the body.

use crate::ProtocolError;

/// Bytes before a tagged message's body.
pub const HEADER_BYTES: usize = 5;

/// PostgreSQL's own limit on a message (`PQ_LARGE_MESSAGE_LIMIT`, `MaxAllocSize - 1`).
pub const MAX_BODY_BYTES: usize = 0x3fff_fffe;

/// A tagged message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message's type.
    pub tag: u8,
    /// Bytes that follow the header.
    pub body: usize,
}

impl Header {
    /// Bytes of the whole message.
    #[must_use]
    pub fn total(self) -> usize {
        HEADER_BYTES + self.body
    }
}

/// The header at the start of `bytes`, or `None` while it is not all there.
///
/// # Errors
/// When the length is under 4 or over PostgreSQL's own limit: the peer is not in step and never will be.
pub fn header(bytes: &[u8]) -> Result<Option<Header>, ProtocolError> {
    let Some(&[tag, a, b, c, d]) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]);
    let body = usize::try_from(length)
        .ok()
        .and_then(|length| length.checked_sub(4))
        .filter(|body| *body <= MAX_BODY_BYTES)
        .ok_or(ProtocolError::Length { tag, length })?;
    Ok(Some(Header { tag, body }))
}

/// Reads big-endian fields off the front of a body. Each method fails when the body is too short.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    tag: u8,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Over the body of a message with this tag (named in errors).
    #[must_use]
    pub fn new(tag: u8, body: &'a [u8]) -> Self {
        Self { tag, rest: body }
    }

    fn malformed(&self) -> ProtocolError {
        ProtocolError::Malformed { tag: self.tag }
    }

    /// One byte.
    ///
    /// # Errors
    /// When the body is at its end.
    pub fn u8(&mut self) -> Result<u8, ProtocolError> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(*first)
    }

    /// A 16-bit integer.
    ///
    /// # Errors
    /// When the body is too short.
    pub fn u16(&mut self) -> Result<u16, ProtocolError> {
        let (first, rest) = self.rest.split_first_chunk().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*first))
    }

    /// A 32-bit integer.
    ///
    /// # Errors
    /// When the body is too short.
    pub fn i32(&mut self) -> Result<i32, ProtocolError> {
        let (first, rest) = self.rest.split_first_chunk().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(i32::from_be_bytes(*first))
    }

    /// A string that ends with NUL, without it. A missing NUL never reads into the next frame.
    ///
    /// # Errors
    /// When there is no NUL in the body.
    pub fn cstr(&mut self) -> Result<&'a [u8], ProtocolError> {
        let end = memchr::memchr(0, self.rest).ok_or_else(|| self.malformed())?;
        let (text, rest) = self.rest.split_at_checked(end).ok_or_else(|| self.malformed())?;
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(text)
    }

    /// This many bytes.
    ///
    /// # Errors
    /// When the body is too short.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (first, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(first)
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Requires that everything was read.
    ///
    /// # Errors
    /// When something is left.
    pub fn end(&self) -> Result<(), ProtocolError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}

/// Appends a whole message: `fill` writes the body.
pub fn put_message(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    put_untagged(out, fill);
}

/// Appends a length that counts itself and what `fill` writes.
pub fn put_untagged(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out);
    // A message of ours is far below 4 GiB.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a string and its NUL. A NUL inside ends it: the peer would read no further anyway.
pub fn put_cstr(out: &mut Vec<u8>, text: &[u8]) {
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    out.extend_from_slice(text.get(..end).unwrap_or_default());
    out.push(0);
}

/// Follows message bounds in a stream without looking into bodies.
#[derive(Clone, Debug, Default)]
pub struct Boundary {
    /// Bytes of the current message still to come.
    remaining: usize,
    /// Part of a header that the stream has shown so far.
    partial: [u8; HEADER_BYTES],
    have: usize,
}

impl Boundary {
    /// True when the stream is between two messages.
    #[must_use]
    pub fn is_at(&self) -> bool {
        self.remaining == 0 && self.have == 0
    }

    /// Bytes of the current message's body that are still to come; zero too inside a header.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Takes the stream's next bytes.
    ///
    /// # Errors
    /// When a length is impossible.
    pub fn advance(&mut self, mut bytes: &[u8]) -> Result<(), ProtocolError> {
        while !bytes.is_empty() {
            let skip = self.remaining.min(bytes.len());
            self.remaining -= skip;
            bytes = bytes.get(skip..).unwrap_or_default();
            // The common case: a whole header is there.
            if self.have == 0
                && let Some(header) = header(bytes)?
            {
                self.remaining = header.body;
                bytes = bytes.get(HEADER_BYTES..).unwrap_or_default();
                continue;
            }
            while self.have < HEADER_BYTES {
                let Some((first, rest)) = bytes.split_first() else {
                    return Ok(());
                };
                if let Some(slot) = self.partial.get_mut(self.have) {
                    *slot = *first;
                }
                self.have += 1;
                bytes = rest;
            }
            if let Some(header) = header(&self.partial)? {
                self.remaining = header.body;
            }
            self.have = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let check = |bytes: &[u8], expect: Result<Option<(u8, usize)>, ()>| {
            let got = header(bytes).map(|h| h.map(|h| (h.tag, h.body))).map_err(|_| ());
            assert_eq!(got, expect, "{bytes:?}");
        };
        check(b"", Ok(None));
        check(b"Q\0\0\0", Ok(None));
        check(b"Q\0\0\0\x04", Ok(Some((b'Q', 0))));
        check(b"Q\0\0\x01\x00rest", Ok(Some((b'Q', 252))));
        check(b"Q\0\0\0\x03", Err(()));
        check(b"Q\0\0\0\0", Err(()));
        check(b"Q\xff\xff\xff\xff", Err(()));
        check(b"Q\x40\0\0\x03", Err(()));
    }

    #[test]
    fn boundary_split_at_every_byte() {
        let mut stream = Vec::new();
        for body in [0usize, 1, 4, 5, 300] {
            put_message(&mut stream, b'D', |out| out.resize(out.len() + body, b'x'));
        }
        for cut in 0..=stream.len() {
            let mut whole = Boundary::default();
            whole.advance(&stream[..cut]).unwrap();
            let at = whole.is_at();
            let mut single = Boundary::default();
            for byte in &stream[..cut] {
                single.advance(&[*byte]).unwrap();
            }
            assert_eq!(single.is_at(), at, "cut at {cut}");
            whole.advance(&stream[cut..]).unwrap();
            assert!(whole.is_at(), "cut at {cut}");
        }
    }
}
