//! The packets that come before the first tagged message: StartupMessage, SSLRequest, GSSENCRequest,
//! CancelRequest. They have a length and a code, and no tag.

use crate::{
    ProtocolError,
    frame::{Reader, put_cstr, put_untagged},
};

/// The most that a startup packet may have: PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`.
pub const MAX_STARTUP_BYTES: usize = 10_000;

/// The newest minor version of protocol 3 that Postern speaks (PostgreSQL 18).
pub const MAX_MINOR: u16 = 2;

const CANCEL_CODE: u32 = 0x04d2_162e;
const SSL_CODE: u32 = 0x04d2_162f;
const GSSENC_CODE: u32 = 0x04d2_1630;

/// The most bytes a cancel key's secret may have (protocol 3.2).
pub const MAX_CANCEL_SECRET_BYTES: usize = 256;

/// What a client may open with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Startup {
    /// Asks for TLS; answered by one byte.
    SslRequest,
    /// Asks for GSSAPI encryption; answered by `N`.
    GssEncRequest,
    /// Wants another session's statement cancelled. No answer.
    Cancel {
        /// The process id of BackendKeyData.
        pid: i32,
        /// Its secret: 4 bytes in protocol 3.0, up to 256 in 3.2.
        secret: Vec<u8>,
    },
    /// Wants a session.
    Session(StartupMessage),
}

/// A session's startup parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartupMessage {
    /// The minor version of protocol 3 that was asked for, which may be newer than ours.
    pub minor: u16,
    /// Name and value in the client's order, protocol options (`_pq_.…`) among them.
    pub parameters: Vec<(String, String)>,
}

impl StartupMessage {
    /// The last value given for `name`, as PostgreSQL takes it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The length of the packet at the start of `bytes`, once its four bytes are there.
///
/// # Errors
/// When it is too short to be a packet or longer than [`MAX_STARTUP_BYTES`]: nothing of it is buffered.
pub fn packet_length(bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
    let Some(length) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if (8..=MAX_STARTUP_BYTES).contains(&length) {
        Ok(Some(length))
    } else {
        Err(ProtocolError::Startup("its length is impossible"))
    }
}

/// Reads one whole packet, its length included.
///
/// # Errors
/// When it is none of the four.
pub fn parse(packet: &[u8]) -> Result<Startup, ProtocolError> {
    if packet_length(packet)? != Some(packet.len()) {
        return Err(ProtocolError::Startup("its length is not its own"));
    }
    let mut reader = Reader::new(0, packet.get(4..).unwrap_or_default());
    let short = |_| ProtocolError::Startup("it is cut short");
    let (major, minor) = (reader.u16().map_err(short)?, reader.u16().map_err(short)?);
    match (u32::from(major) << 16) | u32::from(minor) {
        SSL_CODE | GSSENC_CODE if packet.len() != 8 => Err(ProtocolError::Startup("an encryption request has no body")),
        SSL_CODE => Ok(Startup::SslRequest),
        GSSENC_CODE => Ok(Startup::GssEncRequest),
        CANCEL_CODE => {
            let pid = reader.i32().map_err(short)?;
            let secret = reader.rest();
            if secret.is_empty() || secret.len() > MAX_CANCEL_SECRET_BYTES {
                return Err(ProtocolError::Startup("a cancel key has 1 to 256 bytes"));
            }
            Ok(Startup::Cancel { pid, secret: secret.to_vec() })
        }
        _ if major != 3 => Err(ProtocolError::Startup("only version 3 of the protocol is spoken")),
        _ => parameters(reader).map(|parameters| Startup::Session(StartupMessage { minor, parameters })),
    }
}

fn parameters(mut reader: Reader<'_>) -> Result<Vec<(String, String)>, ProtocolError> {
    let malformed = |_| ProtocolError::Startup("a parameter has no end");
    let utf8 = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| ProtocolError::Startup("a parameter is not UTF-8"))
    };
    let mut parameters = Vec::new();
    loop {
        let name = utf8(reader.cstr().map_err(malformed)?)?;
        if name.is_empty() {
            break;
        }
        let value = utf8(reader.cstr().map_err(malformed)?)?;
        parameters.push((name, value));
    }
    reader.end().map_err(|_| ProtocolError::Startup("something follows its end"))?;
    Ok(parameters)
}

/// A StartupMessage packet.
#[must_use]
pub fn encode(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_untagged(&mut out, |out| {
        out.extend_from_slice(&[0, 3]);
        out.extend_from_slice(&minor.to_be_bytes());
        for (name, value) in parameters {
            put_cstr(out, name.as_bytes());
            put_cstr(out, value.as_bytes());
        }
        out.push(0);
    });
    out
}

/// A CancelRequest packet.
#[must_use]
pub fn encode_cancel(pid: i32, secret: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_untagged(&mut out, |out| {
        out.extend_from_slice(&CANCEL_CODE.to_be_bytes());
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(secret);
    });
    out
}

/// An SSLRequest packet.
#[must_use]
pub fn encode_ssl_request() -> [u8; 8] {
    let mut packet = [0, 0, 0, 8, 0, 0, 0, 0];
    packet[4..].copy_from_slice(&SSL_CODE.to_be_bytes());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_round_trips() {
        let packet = encode(2, &[("user", "grt_x"), ("database", "demo"), ("_pq_.x", "1")]);
        let Startup::Session(message) = parse(&packet).unwrap() else { panic!() };
        assert_eq!((message.minor, message.get("user"), message.get("none")), (2, Some("grt_x"), None));
        assert_eq!(parse(&encode_ssl_request()), Ok(Startup::SslRequest));
        assert_eq!(parse(&encode_cancel(7, &[1; 32])), Ok(Startup::Cancel { pid: 7, secret: vec![1; 32] }));
        for cut in 0..packet.len() {
            assert!(parse(&packet[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn hostile_packets_are_refused() {
        for bad in [
            &b"\0\0\0\x07\0\x03\0\0"[..],
            b"\0\0\0\x08\0\x02\0\0",
            b"\0\0\0\x09\0\x03\0\0x",
            b"\0\0\0\x0a\0\x03\0\0\0\0",
            b"\0\0\0\x0c\x04\xd2\x16\x2e\0\0\0\x01",
            b"\0\0\0\x09\x04\xd2\x16\x2fx",
            b"GET / HTTP/1.1\r\n",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(packet_length(b"\0\0\x27\x11").is_err());
        assert_eq!(packet_length(b"\0\0\x27\x10"), Ok(Some(10_000)));
    }
}
