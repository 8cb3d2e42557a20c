//! A frame: `u32 stream`, `u8 kind`, `u24 length` (all big-endian), payload.

use thiserror::Error;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 8;

/// Longest payload. Data is cut to it by the sender; a preamble is shorter by far.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Begins a stream; the payload is the session's preamble.
    Open,
    /// Bytes of a stream.
    Data,
    /// `u32`: so many more bytes may be sent.
    Window,
    /// The sender sends no more on this stream.
    Finish,
    /// The stream is over in both directions, whatever is still under way.
    Reset,
    /// The client asked to cancel what runs in this session.
    Cancel,
    /// To be answered by Pong.
    Ping,
    /// Answers Ping.
    Pong,
    /// The sender accepts or opens no more streams; those that run may finish.
    GoAway,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Data => 2,
            Self::Window => 3,
            Self::Finish => 4,
            Self::Reset => 5,
            Self::Cancel => 6,
            Self::Ping => 7,
            Self::Pong => 8,
            Self::GoAway => 9,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let all = [
            Self::Open,
            Self::Data,
            Self::Window,
            Self::Finish,
            Self::Reset,
            Self::Cancel,
            Self::Ping,
            Self::Pong,
            Self::GoAway,
        ];
        all.into_iter().find(|kind| kind.code() == code)
    }
}

/// A peer's bytes are not the tunnel's protocol: the connection ends.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// No such kind.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// Over [`MAX_PAYLOAD`], or not the length that the kind has.
    #[error("a frame of kind {kind:?} has an impossible length of {length}")]
    Length {
        /// The kind.
        kind: Kind,
        /// Its length.
        length: usize,
    },
}

/// One frame, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The stream, 0 for the connection itself.
    pub stream: u32,
    /// What it says.
    pub kind: Kind,
    /// The rest.
    pub payload: &'a [u8],
}

/// The first frame of `bytes` and the bytes that it takes, or `None` while it is not all there.
///
/// # Errors
/// As soon as the header shows that it can't be a frame.
pub fn parse(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((&[a, b, c, d, code, x, y, z], rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let kind = Kind::from_code(code).ok_or(FrameError::Kind(code))?;
    let length = usize::try_from(u32::from_be_bytes([0, x, y, z])).unwrap_or(usize::MAX);
    let fits = match kind {
        Kind::Open | Kind::Data => length <= MAX_PAYLOAD,
        Kind::Window => length == 4,
        _ => length == 0,
    };
    if !fits {
        return Err(FrameError::Length { kind, length });
    }
    let stream = u32::from_be_bytes([a, b, c, d]);
    Ok(rest.get(..length).map(|payload| (Frame { stream, kind, payload }, HEADER_BYTES + length)))
}

/// Appends a frame. The payload is at most [`MAX_PAYLOAD`]; senders cut it.
pub fn put(out: &mut Vec<u8>, stream: u32, kind: Kind, payload: &[u8]) {
    debug_assert!(payload.len() <= MAX_PAYLOAD);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&stream.to_be_bytes());
    out.push(kind.code());
    out.extend_from_slice(length.get(1..).unwrap_or_default());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_at_every_byte() {
        let mut bytes = Vec::new();
        put(&mut bytes, 7, Kind::Data, b"hello");
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        let (frame, length) = parse(&bytes).unwrap().unwrap();
        assert_eq!((frame.stream, frame.kind, frame.payload, length), (7, Kind::Data, &b"hello"[..], bytes.len()));
    }

    #[test]
    fn impossible_headers_are_refused_at_once() {
        for bad in [
            *b"\0\0\0\x01\x00\0\0\0",
            *b"\0\0\0\x01\x0a\0\0\0",
            *b"\0\0\0\x01\x02\x01\0\x01",
            *b"\0\0\0\x01\x03\0\0\x05",
            *b"\0\0\0\x01\x04\0\0\x01",
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }
}
