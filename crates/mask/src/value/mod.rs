//! One value: what a mask makes of it, in text and in binary format.

use crate::{
    key::Key,
    mask::Mask,
    types::{Most, Text, Type},
};

/// What text is replaced by.
pub const REDACTED: &str = "[redacted]";

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
    /// A byte is a character: LATIN1 and its kin.
    SingleByte,
    /// Another, or none known: only ASCII is understood.
    Other,
}

/// What was appended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Put {
    /// A value.
    Value,
    /// Nothing: the value is NULL.
    Null,
}

/// Masks the values of one column.
#[derive(Clone, Debug)]
pub struct Masker {
    mask: Mask,
    ty: Type,
}

impl Masker {
    /// With no mask, or with one that does not suit the type, values are redacted.
    #[must_use]
    pub fn new(mask: Option<Mask>, ty: Type, _key: &Key) -> Self {
        let mask = mask.filter(|mask| mask.suits(&ty).is_ok()).unwrap_or(Mask::Redact);
        Self { mask, ty }
    }

    /// Appends what takes the place of a value that is not NULL.
    pub fn put(&self, _format: Format, _value: &[u8], out: &mut Vec<u8>) -> Put {
        match (self.mask, &self.ty) {
            (Mask::Null, _) => Put::Null,
            (_, Type::Text(text)) => redact(*text, out),
            _ => Put::Null,
        }
    }

    /// Appends what takes the place of a value that is too long to be looked at.
    pub(crate) fn put_unseen(&self, out: &mut Vec<u8>) -> Put {
        match (self.mask, &self.ty) {
            (Mask::Null, _) => Put::Null,
            (_, Type::Text(text)) => redact(*text, out),
            _ => Put::Null,
        }
    }

    /// Whether what it makes does not depend on the value.
    pub(crate) fn is_blind(&self) -> bool {
        matches!(self.mask, Mask::Redact | Mask::Null)
    }
}

fn redact(text: Text, out: &mut Vec<u8>) -> Put {
    let most = match text.most {
        Most::Any => REDACTED.len(),
        Most::Characters(most) | Most::Bytes(most) => usize::try_from(most).unwrap_or(usize::MAX),
    };
    out.extend_from_slice(REDACTED.as_bytes().get(..most).unwrap_or(REDACTED.as_bytes()));
    Put::Value
}
