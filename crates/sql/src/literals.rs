//! Where the literals of a query string stand.

use std::ops::Range;

use pg_query::protobuf::Token;

use crate::{context::Lexing, shape::Cut};

/// The literals of a query string in their order: strings and numbers, without a number's sign. `None` where they cannot be
/// told, since the session reads them otherwise than by default, or the text is none.
///
/// Texts of one [shape](mod@crate::shape) have as many, in the same order.
#[must_use]
pub fn literals(text: &str, lexing: Lexing) -> Option<Vec<Range<usize>>> {
    let mut cut = Cut::default();
    if cut.cut(text.as_bytes()) {
        return Some(cut.literals);
    }
    if lexing != Lexing::default() {
        return None;
    }
    let scanned = pg_query::scan(text).ok()?;
    let found = scanned.tokens.iter().filter(|token| is_literal(token.token()));
    found.map(|token| Some(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?)).collect()
}

/// Whether a token is a literal.
pub(crate) const fn is_literal(token: Token) -> bool {
    matches!(token, Token::Sconst | Token::Usconst | Token::Iconst | Token::Fconst | Token::Bconst | Token::Xconst)
}

/// The number of the literal that the parser says stands here. `None` where it made a constant of something else, as of
/// what EXTRACT extracts.
pub(crate) fn number_of(literals: &[Range<usize>], text: &str, location: usize) -> Option<u32> {
    let at = literals.partition_point(|literal| literal.start < location);
    let literal = literals.get(at)?;
    // A negative number stands where its sign does.
    let signed = text.as_bytes().get(location) == Some(&b'-');
    if literal.start == location || signed { u32::try_from(at).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{literals, number_of};
    use crate::context::Lexing;

    fn texts(text: &str) -> Vec<&str> {
        literals(text, Lexing::default()).unwrap().into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn literals_are_found_in_plain_texts_and_in_others() {
        assert_eq!(texts("SELECT a FROM t WHERE a = 1 AND b = 'x'"), ["1", "'x'"]);
        assert_eq!(
            texts("SELECT E'a\\'b', 1.5, -3 /* 4 '5' */, $$x$$, $1, 'a'\n'b', B'1', U&'y'"),
            ["E'a\\'b'", "1.5", "3", "$$x$$", "'a'\n'b'", "B'1'", "U&'y'"]
        );
        let other = Lexing { standard_conforming_strings: false, ..Lexing::default() };
        assert_eq!(literals("SELECT E'x'", other), None);
    }

    #[test]
    fn a_constant_is_a_literal_only_where_it_stands() {
        let text = "SELECT extract(year FROM a), - 3, 'x' FROM t";
        let found = literals(text, Lexing::default()).unwrap();
        let at = |what: &str| number_of(&found, text, text.find(what).unwrap());
        assert_eq!((at("year"), at("- 3"), at("'x'")), (None, Some(0), Some(1)));
    }
}
