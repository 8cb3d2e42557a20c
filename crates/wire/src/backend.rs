//! Views of the messages that a server sends.

use crate::{
    ProtocolError,
    frame::{Reader, put_message},
};

/// Rows that a CommandComplete's tag counts: the number at its end (`INSERT 0 5`, `SELECT 100`), if any.
#[must_use]
pub fn tag_rows(body: &[u8]) -> Option<u64> {
    let tag = body.strip_suffix(&[0]).unwrap_or(body);
    let last = tag.rsplit(|b| *b == b' ').next()?;
    if last.len() == tag.len() || last.is_empty() {
        return None;
    }
    std::str::from_utf8(last).ok()?.parse().ok()
}

/// `BackendKeyData`.
#[derive(Clone, PartialEq, Eq)]
pub struct BackendKey {
    /// The backend's process id.
    pub pid: i32,
    /// 4 bytes in protocol 3.0, up to 256 in 3.2.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendKey").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Reads a `BackendKeyData`.
///
/// # Errors
/// When it has no pid or its secret has not 4 to 256 bytes.
pub fn backend_key(body: &[u8]) -> Result<BackendKey, ProtocolError> {
    let mut reader = Reader::new(b'K', body);
    let pid = reader.i32()?;
    let secret = reader.rest().to_vec();
    if !(4..=256).contains(&secret.len()) {
        return Err(ProtocolError::Malformed { tag: b'K' });
    }
    Ok(BackendKey { pid, secret })
}

/// Appends a `BackendKeyData`.
pub fn put_backend_key(out: &mut Vec<u8>, key: &BackendKey) {
    put_message(out, b'K', |out| {
        out.extend_from_slice(&key.pid.to_be_bytes());
        out.extend_from_slice(&key.secret);
    });
}

/// One column of a `RowDescription`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name that the client sees.
    pub name: String,
    /// The table it comes from, 0 if none.
    pub table_oid: u32,
    /// The attribute number in that table, 0 if none.
    pub attribute: i16,
    /// The type's OID.
    pub type_oid: u32,
    /// The type's modifier, -1 if it has none.
    pub modifier: i32,
    /// 0 text, 1 binary.
    pub format: u16,
}

/// Reads a `RowDescription`.
///
/// # Errors
/// When the fields do not fit the body exactly.
pub fn row_description(body: &[u8]) -> Result<Vec<Column>, ProtocolError> {
    let mut reader = Reader::new(b'T', body);
    let count = reader.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let name = String::from_utf8_lossy(reader.cstr()?).into_owned();
        let table_oid = reader.i32()?.cast_unsigned();
        let attribute = reader.u16()?.cast_signed();
        let type_oid = reader.i32()?.cast_unsigned();
        let _size = reader.u16()?;
        let modifier = reader.i32()?;
        let format = reader.u16()?;
        columns.push(Column { name, table_oid, attribute, type_oid, modifier, format });
    }
    reader.end()?;
    Ok(columns)
}

/// Reads a `DataRow`: each value, or `None` for NULL.
///
/// # Errors
/// When the fields do not fit the body exactly.
pub fn data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, ProtocolError> {
    let mut reader = Reader::new(b'D', body);
    let count = reader.u16()?;
    let mut values = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let value = match reader.i32()? {
            -1 => None,
            length => {
                let length = usize::try_from(length).map_err(|_| ProtocolError::Malformed { tag: b'D' })?;
                Some(reader.bytes(length)?)
            }
        };
        values.push(value);
    }
    reader.end()?;
    Ok(values)
}

/// `NegotiateProtocolVersion`: the newest minor version that is spoken, and the options that are not known.
pub fn put_negotiate_version(out: &mut Vec<u8>, minor: u16, unknown: &[&str]) {
    put_message(out, b'v', |out| {
        // PostgreSQL sends the whole version, major included (`PG_PROTOCOL(3, minor)`).
        out.extend_from_slice(&[0, 3]);
        out.extend_from_slice(&minor.to_be_bytes());
        let count = i32::try_from(unknown.len()).unwrap_or(0);
        out.extend_from_slice(&count.to_be_bytes());
        for name in unknown {
            crate::frame::put_cstr(out, name.as_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        let cases = [
            ("SELECT 3\0", Some(3)),
            ("INSERT 0 5\0", Some(5)),
            ("UPDATE 0\0", Some(0)),
            ("BEGIN\0", None),
            ("CREATE TABLE\0", None),
            ("COPY 18446744073709551615\0", Some(u64::MAX)),
            ("", None),
            ("X \0", None),
        ];
        for (tag, rows) in cases {
            assert_eq!(tag_rows(tag.as_bytes()), rows, "{tag}");
        }
    }

    #[test]
    fn rows_are_strict() {
        assert_eq!(data_row(b"\0\x02\0\0\0\x01a\xff\xff\xff\xff"), Ok(vec![Some(&b"a"[..]), None]));
        for bad in [&b"\0\x01\0\0\0\x02a"[..], b"\0\x01\xff\xff\xff\xfe", b"\0\0x"] {
            assert!(data_row(bad).is_err(), "{bad:?}");
        }
        assert!(backend_key(b"\0\0\0\x01abc").is_err());
        assert!(!format!("{:?}", backend_key(b"\0\0\0\x01secret").unwrap()).contains("115"));
    }
}
