//! The data of COPY TO STDOUT as it streams: masked values are replaced, all other bytes go on as they are.
//!
//! [`lines`] reads text and CSV, binary data is read like rows. A value is masked by what it is, not by how it is
//! escaped, so that it is the same as by any other route.

mod lines;

pub use crate::fields::RowError;
use crate::{
    fields::{Fields, Masked, Next},
    value::{Done, Encoding, Format, Masker},
};
use lines::Lines;
use postern_sql::facts::{CopyFormat, CopyOut};

/// PostgreSQL's signature of the binary form.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// The signature, flags, and the length of an extension of the header.
const HEADER_BYTES: usize = SIGNATURE.len() + 8;

/// Why data of such a form cannot be masked. The client is to be refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unsupported {
    /// A byte of a character could pass for a delimiter.
    #[error("COPY in an encoding in which parts of characters look like ASCII cannot be masked: use the encoding UTF8")]
    Encoding,
    /// It could pass for an escape, or the other way round.
    #[error("COPY as text with a backslash in its NULL string cannot be masked, except with \\N")]
    Null,
    /// The server would have refused them.
    #[error("COPY with these delimiters and quotes cannot be masked")]
    Delimiters,
}

/// Rewrites the data of one COPY.
#[derive(Debug)]
pub struct Copy(Kind);

#[derive(Debug)]
enum Kind {
    Lines(Lines),
    Binary { header: Header, fields: Fields },
}

/// Where in the header of the binary form we are.
#[derive(Debug)]
enum Header {
    Fixed(Vec<u8>),
    /// Bytes of its extension to come.
    Extension(usize),
}

impl Copy {
    /// By how the data is written, in which encoding, and the columns that are copied, in order.
    ///
    /// # Errors
    /// When data of this form cannot be told apart reliably.
    pub fn new(written: CopyOut, encoding: Encoding, columns: Vec<Option<Masker>>) -> Result<Self, Unsupported> {
        let columns = columns.into_iter().map(|masker| masker.map(|masker| masker.in_encoding(encoding)));
        Ok(Self(match written.format {
            CopyFormat::Binary => {
                let masked = |masker| Masked { masker, format: Format::Binary };
                Kind::Binary {
                    header: Header::Fixed(Vec::with_capacity(HEADER_BYTES)),
                    fields: Fields::new(columns.map(|column| column.map(masked)).collect(), Next::Count),
                }
            }
            _ => Kind::Lines(Lines::new(written, encoding, columns.collect())?),
        }))
    }

    /// What was done to each column so far.
    #[must_use]
    pub fn done(&self) -> Vec<Done> {
        let done = |masker: Option<&Masker>| masker.map(Masker::done).unwrap_or_default();
        match &self.0 {
            Kind::Lines(lines) => lines.columns().iter().map(|column| done(column.as_ref())).collect(),
            Kind::Binary { fields, .. } => {
                let maskers = fields.columns().iter().map(|column| column.as_ref().map(|column| &column.masker));
                maskers.map(done).collect()
            }
        }
    }

    /// Takes the next bytes of the data, and appends to `out` what may go on. Where the bytes end with a row, so does what
    /// is appended.
    ///
    /// # Errors
    /// When it is not what COPY writes; no more of it can be rewritten, then.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        match &mut self.0 {
            Kind::Lines(lines) => lines.feed(bytes, out),
            Kind::Binary { header, fields } => {
                header.pass(&mut bytes, out)?;
                if !bytes.is_empty() {
                    while fields.step(&mut bytes, out)? {}
                }
                Ok(())
            }
        }
    }
}

impl Header {
    fn pass(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        if let Self::Fixed(have) = self {
            let (taken, rest) = bytes.split_at_checked(HEADER_BYTES - have.len()).unwrap_or((bytes, &[]));
            *bytes = rest;
            have.extend_from_slice(taken);
            out.extend_from_slice(taken);
            let Some((signature, [_, _, _, _, a, b, c, d])) = have.split_first_chunk::<{ SIGNATURE.len() }>() else {
                return Ok(());
            };
            if signature != SIGNATURE {
                return Err(RowError::Malformed);
            }
            let extension = u32::from_be_bytes([*a, *b, *c, *d]);
            *self = Self::Extension(usize::try_from(extension).map_err(|_| RowError::Malformed)?);
        }
        if let Self::Extension(left) = self {
            let (taken, rest) = bytes.split_at_checked(*left).unwrap_or((bytes, &[]));
            *bytes = rest;
            out.extend_from_slice(taken);
            *left -= taken.len();
        }
        Ok(())
    }
}
