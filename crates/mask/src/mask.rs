//! The masks, and which type each suits.

use crate::{
    types::{Most, Type},
    value::hash_digits,
};
use std::fmt;

/// The shortest text whose hash tells values apart: 8 characters of base 32 are 40 bits.
const SHORTEST_HASH: u32 = 8;

/// What is done to a value.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mask {
    /// Text becomes `[redacted]`, everything else NULL.
    Redact,
    /// NULL.
    Null,
    /// Text keeps its last characters.
    Partial {
        /// How many.
        keep: u16,
    },
    /// Of an e-mail address the first letter and the last label of its domain are kept.
    Email,
    /// A keyed hash: equal values stay equal.
    Hash,
    /// The first of January of its year.
    DateYear,
    /// A number within a tenth of it, a day within 90 days of it: always the same for the same value.
    Noise,
}

impl Mask {
    /// Those that suit a type.
    pub fn suiting(ty: &Type) -> impl Iterator<Item = Self> {
        const ALL: [Mask; 7] =
            [Mask::Redact, Mask::Null, Mask::Partial { keep: 4 }, Mask::Email, Mask::Hash, Mask::DateYear, Mask::Noise];
        ALL.into_iter().filter(move |mask| mask.suits(ty).is_ok())
    }

    /// As files and messages name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Null => "null",
            Self::Partial { .. } => "partial",
            Self::Email => "email",
            Self::Hash => "hash",
            Self::DateYear => "date_year",
            Self::Noise => "noise",
        }
    }

    /// Whether values of this type can be masked so.
    ///
    /// # Errors
    /// When they cannot, with a sentence for the admin.
    pub fn suits(self, ty: &Type) -> Result<(), Unsuited> {
        let suited = match (self, ty) {
            (Self::Redact | Self::Null, _) => true,
            (_, Type::Array(element)) => return self.suits(element),
            (Self::Partial { .. } | Self::Email, Type::Text(_)) => true,
            (Self::Hash, Type::Text(text)) => match text.most {
                Most::Characters(most) | Most::Bytes(most) if most < SHORTEST_HASH => {
                    return Err(Unsuited { mask: self, why: Why::TooShort(most) });
                }
                _ => true,
            },
            (Self::Hash, Type::Numeric(precision)) if hash_digits(*precision) == 0 => {
                return Err(Unsuited { mask: self, why: Why::NoIntegerPart });
            }
            (Self::Hash, Type::Int(_) | Type::Numeric(_) | Type::Uuid | Type::Bytea) => true,
            (Self::DateYear, Type::Date | Type::Timestamp | Type::TimestampTz) => true,
            (
                Self::Noise,
                Type::Int(_)
                | Type::Float4
                | Type::Float8
                | Type::Numeric(_)
                | Type::Date
                | Type::Timestamp
                | Type::TimestampTz,
            ) => true,
            _ => false,
        };
        if suited { Ok(()) } else { Err(Unsuited { mask: self, why: Why::Type }) }
    }

    /// The types that it suits, for a message.
    const fn for_types(self) -> &'static str {
        match self {
            Self::Redact | Self::Null => "every type",
            Self::Partial { .. } | Self::Email => "text types",
            Self::Hash => "text types, integers, numeric, uuid and bytea",
            Self::DateYear => "date and timestamp types",
            Self::Noise => "numbers, date and timestamp types",
        }
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partial { keep } => write!(f, "partial: {keep}"),
            _ => f.write_str(self.as_str()),
        }
    }
}

/// A mask that a type cannot have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unsuited {
    mask: Mask,
    why: Why,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Why {
    Type,
    TooShort(u32),
    NoIntegerPart,
}

impl std::error::Error for Unsuited {}

impl fmt::Display for Unsuited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mask, why } = self;
        match why {
            Why::Type => write!(
                f,
                "the mask {} is for {} and arrays of them; use redact or null, which mask every type",
                mask.as_str(),
                mask.for_types()
            ),
            Why::TooShort(most) => write!(
                f,
                "a hash needs at least {SHORTEST_HASH} characters to keep values apart, and this column has {most}; \
                 use redact or null"
            ),
            Why::NoIntegerPart => {
                f.write_str("the hash of a number is a whole number, and this column has next to none before the point; use noise, redact or null")
            }
        }
    }
}
