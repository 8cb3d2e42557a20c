//! One value: what a mask makes of it, in text and in binary format.
//!
//! By type: [`text`], [`number`] with [`decimal`], [`date`] with [`calendar`], [`bytes`]; [`mod@array`] masks each element, [`row`] what detectors find in the
//! fields of a composite.
//! Keyed masks take the digest of one canonical form of a value, so that its text and its binary form are masked alike.

mod array;
mod bytes;
mod calendar;
mod date;
mod decimal;
mod number;
mod row;
mod text;

use crate::{
    detect::{self, Detectors, Found},
    key::{DIGEST_BYTES, Key, Purpose},
    mask::Mask,
    types::Type,
};
use std::{cell::Cell, io::Write};

pub(crate) use decimal::hash_digits;
pub use text::REDACTED;

/// The most that a mask looks at. A longer value is redacted whatever its mask, so that a session's memory has a bound.
pub const LONGEST_VALUE: usize = 1024 * 1024;

/// How a value is written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Format {
    /// As its type prints.
    Text,
    /// As its type sends.
    Binary,
}

/// How a client's text is encoded (`client_encoding`), as far as finding characters in it needs to be known.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    Utf8,
    /// A byte is a character, the lower half of them ASCII: LATIN1 and its kin.
    SingleByte,
    /// Several bytes may be a character, each of them outside ASCII: the EUC encodings. Also SQL_ASCII, of which nothing
    /// is known. Text that is all ASCII is understood, other text is redacted.
    Multibyte,
    /// The same, but bytes of ASCII may be the end of a character: BIG5, GB18030, GBK, JOHAB, SJIS, UHC; and whatever is
    /// not known. COPY data in them is not understood.
    AsciiInside,
}

impl Encoding {
    /// By the name that the server reports as `client_encoding`.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let plain: String =
            name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect();
        match plain.as_str() {
            "UTF8" | "UNICODE" => Self::Utf8,
            "EUCCN" | "EUCJP" | "EUCJIS2004" | "EUCKR" | "EUCTW" | "SQLASCII" | "MULEINTERNAL" => Self::Multibyte,
            "KOI8R" | "KOI8U" => Self::SingleByte,
            _ if ["LATIN", "ISO8859", "WIN"].iter().any(|family| plain.starts_with(family)) => {
                // By their code pages' numbers, Windows has some of the others.
                let east_asian = ["932", "936", "949", "950"].iter().any(|page| plain.ends_with(page));
                if east_asian { Self::AsciiInside } else { Self::SingleByte }
            }
            _ => Self::AsciiInside,
        }
    }

    /// Whether bytes that look like ASCII are ASCII, wherever they stand in this text.
    pub(crate) fn shows_ascii(self, text: &[u8]) -> bool {
        self != Self::AsciiInside || text.is_ascii()
    }
}

/// What was appended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Put {
    /// What takes the value's place.
    Value,
    /// The value as it was: nothing was found in it.
    Same,
    /// Nothing: the value is NULL.
    Null,
}

/// What is done to the values of a column.
#[derive(Clone, Debug)]
enum How {
    Mask(Mask, Key),
    /// What is found in them is replaced, the rest stays.
    Detect(Detectors),
}

/// Masks the values of one column.
#[derive(Clone, Debug)]
pub struct Masker {
    how: How,
    ty: Type,
    encoding: Encoding,
    /// Values that were masked.
    values: Cell<u64>,
    found: Cell<Found>,
}

/// What was done to the values of a column.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Done {
    /// Values that were masked: neither NULLs nor those in which nothing was found.
    pub values: u64,
    /// What was found in values, where they were looked through.
    pub found: Found,
}

impl Done {
    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { values: self.values + other.values, found: self.found.and(other.found) }
    }
}

impl Masker {
    /// With a mask that does not suit the type, values are redacted. With none they derive from masked ones, and all become
    /// NULL: which of them are NULL would answer any question. Text is taken for UTF-8.
    #[must_use]
    pub fn new(mask: Option<Mask>, ty: Type, key: &Key) -> Self {
        let mask = match mask {
            None => Mask::Null,
            Some(mask) if mask.suits(&ty).is_ok() => mask,
            Some(_) => Mask::Redact,
        };
        Self::how(How::Mask(mask, key.clone()), ty)
    }

    /// For a column without a tag: replaces what is found in its values. Nothing is looked for in types other than text,
    /// JSON, composites and arrays of them: there is no masker for those. What is too long to be looked at is redacted.
    #[must_use]
    pub fn detecting(kinds: Detectors, ty: Type) -> Option<Self> {
        let element = if let Type::Array(element) = &ty { element } else { &ty };
        let is_text = matches!(element, Type::Text(_) | Type::Json | Type::Jsonb | Type::Row);
        is_text.then(|| Self::how(How::Detect(kinds), ty))
    }

    fn how(how: How, ty: Type) -> Self {
        Self { how, ty, encoding: Encoding::Utf8, values: Cell::default(), found: Cell::default() }
    }

    /// The same for text in this encoding.
    #[must_use]
    pub fn in_encoding(self, encoding: Encoding) -> Self {
        Self { encoding, ..self }
    }

    /// What it has done so far.
    #[must_use]
    pub fn done(&self) -> Done {
        Done { values: self.values.get(), found: self.found.get() }
    }

    /// Appends what takes the place of a value that is not NULL, and counts it.
    pub fn put(&self, format: Format, value: &[u8], out: &mut Vec<u8>) -> Put {
        let put = self.masked(format, value, out);
        self.values.set(self.values.get() + u64::from(put != Put::Same));
        put
    }

    fn masked(&self, format: Format, value: &[u8], out: &mut Vec<u8>) -> Put {
        if self.is_blind() || value.len() > LONGEST_VALUE {
            return self.unseen(out);
        }
        let start = out.len();
        let masked = match &self.ty {
            Type::Array(element) => match format {
                Format::Text => array::text(self, element, value, out),
                Format::Binary => array::binary(self, element, value, out),
            },
            ty => self.scalar(ty, format, value, out),
        };
        if masked.is_some() {
            let is_same = matches!(self.how, How::Detect(_)) && out.get(start..) == Some(value);
            return if is_same { Put::Same } else { Put::Value };
        }
        out.truncate(start);
        Put::Null
    }

    /// Appends what takes the place of a value that was not looked at, and counts it.
    pub(crate) fn put_unseen(&self, out: &mut Vec<u8>) -> Put {
        self.values.set(self.values.get() + 1);
        self.unseen(out)
    }

    fn unseen(&self, out: &mut Vec<u8>) -> Put {
        match (&self.how, &self.ty) {
            (How::Mask(Mask::Null, _), _) => Put::Null,
            (_, Type::Text(text)) => {
                text::redact(*text, out);
                Put::Value
            }
            _ => Put::Null,
        }
    }

    /// Whether what it makes does not depend on the value.
    pub(crate) fn is_blind(&self) -> bool {
        matches!(self.how, How::Mask(Mask::Redact | Mask::Null, _))
    }

    /// A value that is no array; `None` where it is not understood, or its mask has no answer.
    fn scalar(&self, ty: &Type, format: Format, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mask = match &self.how {
            How::Mask(mask, _) => *mask,
            How::Detect(kinds) => return self.detected(*kinds, ty, format, value, out),
        };
        match ty {
            Type::Text(text) => {
                self.text(mask, *text, value, out);
                Some(())
            }
            Type::Int(width) => self.int(mask, *width, format, value, out),
            Type::Float4 | Type::Float8 => self.float(mask, ty, format, value, out),
            Type::Numeric(precision) => self.numeric(mask, *precision, format, value, out),
            Type::Date | Type::Timestamp | Type::TimestampTz => self.date(mask, ty, format, value, out),
            Type::Uuid => self.uuid(mask, format, value, out),
            Type::Bytea => self.bytea(mask, format, value, out),
            Type::Json | Type::Jsonb | Type::Array(_) | Type::Row | Type::Other => None,
        }
    }

    /// A value in which something may be found.
    fn detected(&self, kinds: Detectors, ty: &Type, format: Format, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let is_clear = self.encoding.shows_ascii(value);
        let count = |found| self.found.set(self.found.get().and(found));
        match (ty, format) {
            (Type::Text(text), _) => {
                let start = out.len();
                if is_clear {
                    count(detect::mask_spans(value, kinds, out));
                }
                // A name in its place may be longer than what was found.
                if !is_clear || (out.len() - start > value.len() && !text.takes(out.len() - start)) {
                    out.truncate(start);
                    text::redact(*text, out);
                }
                Some(())
            }
            (Type::Jsonb, Format::Binary) if is_clear => {
                // The version of the form: 1, and then it is text.
                let text = value.strip_prefix(&[1])?;
                out.push(1);
                detect::mask_json(text, kinds, out).map(count)
            }
            // Quotes are doubled in it, and nothing else is written otherwise.
            (Type::Row, Format::Text) if is_clear => {
                count(detect::mask_spans(value, kinds, out));
                Some(())
            }
            (Type::Row, Format::Binary) => row::binary(self, kinds, value, out),
            (Type::Json | Type::Jsonb, _) if is_clear => detect::mask_json(value, kinds, out).map(count),
            _ => None,
        }
    }

    fn digest(&self, purpose: Purpose, value: &[u8]) -> Option<[u8; DIGEST_BYTES]> {
        match &self.how {
            How::Mask(_, key) => Some(key.digest(purpose, value)),
            How::Detect(_) => None,
        }
    }

    /// A keyed number for what `canonical` writes.
    fn number(&self, purpose: Purpose, canonical: std::fmt::Arguments<'_>, scratch: &mut Vec<u8>) -> Option<u128> {
        let start = scratch.len();
        scratch.write_fmt(canonical).ok()?;
        let digest = self.digest(purpose, scratch.get(start..)?)?;
        scratch.truncate(start);
        digest.first_chunk().map(|first| u128::from_be_bytes(*first))
    }
}
