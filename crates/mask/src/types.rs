//! What has to be known of a column's type.

/// A type, as far as masks tell types apart. Of a domain, what it is over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Type {
    /// `text` and what is like it.
    Text(Text),
    /// `int2`, `int4`, `int8`.
    Int(Width),
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`, with its precision if it is declared.
    Numeric(Option<Precision>),
    /// `date`
    Date,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    TimestampTz,
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// An array of one of these, of any number of dimensions.
    Array(Box<Self>),
    /// A composite value, or an anonymous record: nothing but detectors looks into it.
    Row,
    /// Any other type: its values are replaced by NULL.
    Other,
}

/// A type of text.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Text {
    /// How long it may be.
    pub most: Most,
    /// Whether spaces at its end mean nothing, as in `char(n)`.
    pub padded: bool,
}

impl Text {
    /// Whether so many bytes of ASCII fit.
    pub(crate) fn takes(self, bytes: usize) -> bool {
        match self.most {
            Most::Any => true,
            Most::Characters(most) | Most::Bytes(most) => u32::try_from(bytes).is_ok_and(|bytes| bytes <= most),
        }
    }
}

/// How long a text may be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Most {
    /// As long as any value.
    #[default]
    Any,
    /// As declared: `varchar(20)`.
    Characters(u32),
    /// As the type has it: `name`, `"char"`.
    Bytes(u32),
}

/// How wide an integer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Width {
    /// 16 bits
    Two,
    /// 32 bits
    Four,
    /// 64 bits
    Eight,
}

/// `numeric(digits, scale)`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Precision {
    /// All of them.
    pub digits: u16,
    /// Those after the point. Never more than `digits`.
    pub scale: u16,
}

/// What PostgreSQL adds to a declared length in a type's modifier (`VARHDRSZ`).
const MODIFIER_OFFSET: i32 = 4;

impl Type {
    /// A built-in type by its object id and its modifier (-1 if it has none), as RowDescription and `pg_attribute` give
    /// them. An array's modifier is that of its elements.
    #[must_use]
    pub fn of(oid: u32, modifier: i32) -> Self {
        if let Some(element) = element(oid) {
            return Self::of(element, modifier).into_array();
        }
        let declared = u32::try_from(modifier.saturating_sub(MODIFIER_OFFSET)).ok();
        let most = declared.map_or(Most::Any, Most::Characters);
        match oid {
            16 => Self::Other,
            17 => Self::Bytea,
            18 => Self::Text(Text { most: Most::Bytes(1), padded: false }),
            // NAMEDATALEN, less the NUL at its end.
            19 => Self::Text(Text { most: Most::Bytes(63), padded: false }),
            20 => Self::Int(Width::Eight),
            21 => Self::Int(Width::Two),
            23 => Self::Int(Width::Four),
            25 => Self::text(),
            114 => Self::Json,
            700 => Self::Float4,
            701 => Self::Float8,
            1042 => Self::Text(Text { most, padded: true }),
            1043 => Self::Text(Text { most, padded: false }),
            1082 => Self::Date,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1700 => numeric(modifier),
            2249 => Self::Row,
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            _ => Self::Other,
        }
    }

    /// Text of any length: `text`, `citext`.
    #[must_use]
    pub fn text() -> Self {
        Self::Text(Text::default())
    }

    /// An array of this.
    #[must_use]
    pub fn into_array(self) -> Self {
        match self {
            // Of a value of which nothing can be kept, its bounds are not kept either.
            Self::Other => Self::Other,
            element => Self::Array(Box::new(element)),
        }
    }
}

/// The element of a built-in array type.
const fn element(array: u32) -> Option<u32> {
    Some(match array {
        1001 => 17,
        1002 => 18,
        1003 => 19,
        1016 => 20,
        1005 => 21,
        1007 => 23,
        1009 => 25,
        199 => 114,
        1021 => 700,
        1022 => 701,
        1014 => 1042,
        1015 => 1043,
        1182 => 1082,
        1115 => 1114,
        1185 => 1184,
        1231 => 1700,
        2287 => 2249,
        2951 => 2950,
        3807 => 3802,
        _ => return None,
    })
}

/// The modifier holds precision and scale, the latter since PostgreSQL 15 as a signed number of 11 bits.
fn numeric(modifier: i32) -> Type {
    let Ok(packed) = u32::try_from(modifier.saturating_sub(MODIFIER_OFFSET)) else {
        return Type::Numeric(None);
    };
    let digits = u16::try_from(packed >> 16).unwrap_or(0);
    let scale = packed & 0x7ff;
    match u16::try_from(scale) {
        // A negative scale, or one beyond the digits: rounded to what a mask does not know how to make.
        Ok(scale) if scale <= digits && scale < 0x400 => Type::Numeric(Some(Precision { digits, scale })),
        _ => Type::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers() {
        let text = |most, padded| Type::Text(Text { most, padded });
        assert_eq!(Type::of(25, -1), Type::text());
        assert_eq!(Type::of(1043, 24), text(Most::Characters(20), false));
        assert_eq!(Type::of(1043, -1), Type::text());
        assert_eq!(Type::of(1042, 5), text(Most::Characters(1), true));
        assert_eq!(Type::of(1015, 24), text(Most::Characters(20), false).into_array());
        assert_eq!(Type::of(1700, -1), Type::Numeric(None));
        assert_eq!(Type::of(1700, (10 << 16) + 2 + 4), Type::Numeric(Some(Precision { digits: 10, scale: 2 })));
        // numeric(3, -2) and numeric(2, 5)
        assert_eq!(Type::of(1700, (3 << 16) + 0x7fe + 4), Type::Other);
        assert_eq!(Type::of(1700, (2 << 16) + 5 + 4), Type::Other);
        assert_eq!(Type::of(3904, -1), Type::Other);
    }
}
