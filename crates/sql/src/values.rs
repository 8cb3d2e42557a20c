//! Whatever of a text might be a value, where it is not known what the text does.

use std::ops::Range;

use pg_query::protobuf::Token;

use crate::{context::Lexing, literals::is_literal};

/// A part of a text that might be a value, or tell one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Value {
    /// A literal.
    Literal,
    /// A name in quotes: it is a value for whoever takes one sort of quotes for the other.
    Name,
    /// A comment.
    Comment,
}

/// The literals, quoted names and comments of a text, in their order. `None` where they cannot be told: the session reads
/// literals otherwise than by default, or one has no end.
#[must_use]
pub fn values(text: &str, lexing: Lexing) -> Option<Vec<(Range<usize>, Value)>> {
    if lexing != Lexing::default() {
        return None;
    }
    let scanned = pg_query::scan(text).ok()?;
    let mut values = Vec::new();
    for token in &scanned.tokens {
        let place = usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?;
        let written = text.get(place.clone())?;
        let value = match token.token() {
            token if is_literal(token) => Value::Literal,
            Token::Ident | Token::Uident if written.contains('"') => Value::Name,
            Token::SqlComment | Token::CComment => Value::Comment,
            _ => continue,
        };
        values.push((place, value));
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::{Lexing, Value, values};

    #[test]
    fn whatever_might_be_a_value() {
        let text = "selekt 'a''b', $$c$$, E'd', 12.5, \"e\", U&\"f\", g, $1 -- h\n /* i */ from t";
        let found = values(text, Lexing::default()).unwrap();
        let found: Vec<_> = found.into_iter().map(|(place, value)| (&text[place], value)).collect();
        let (literal, name, comment) = (Value::Literal, Value::Name, Value::Comment);
        let expected = [
            ("'a''b'", literal),
            ("$$c$$", literal),
            ("E'd'", literal),
            ("12.5", literal),
            ("\"e\"", name),
            ("U&\"f\"", name),
            ("-- h", comment),
            ("/* i */", comment),
        ];
        assert_eq!(found, expected);
        assert_eq!(values("select 'open", Lexing::default()), None);
        let other = Lexing { standard_conforming_strings: false, ..Lexing::default() };
        assert_eq!(values("select 1", other), None);
    }
}
