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
    let is_literal = |token: Token| {
        matches!(token, Token::Sconst | Token::Usconst | Token::Iconst | Token::Fconst | Token::Bconst | Token::Xconst)
    };
    let found = scanned.tokens.iter().filter(|token| is_literal(token.token()));
    found.map(|token| Some(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::literals;
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
}
