//! What older servers read otherwise than the newest grammar does.
//!
//! Where an older server answers with a syntax error nothing is lost, since nothing runs. What matters is text that it
//! accepts with another meaning: `1_000` was the number 1 with the alias `_000` before 16, `json_scalar(x)` a call of a
//! user's function before 17.

use pg_query::protobuf::Token;

use crate::{
    context::Lexing,
    facts::{Cause, Refusal},
    guards,
};

/// The newest major version whose grammar the parser knows.
pub const NEWEST: u16 = 18;
/// The oldest major version that is supported.
pub const OLDEST: u16 = 13;

/// Refuses lexemes that this major version reads otherwise.
pub(crate) fn check_lexemes(text: &str, lexing: Lexing, major: u16) -> Result<(), Refusal> {
    if major >= 16 || !may_have_new_number(text.as_bytes()) {
        return Ok(());
    }
    // The scanner knows only one reading of literals, so that it could take a number for part of a string.
    if lexing != Lexing::default() {
        return Err(newer("a number with a letter or an underscore", 16, major, None));
    }
    // A string that the scanner cannot read is the parser's to refuse.
    let Ok(scanned) = pg_query::scan(text) else { return Ok(()) };
    for token in &scanned.tokens {
        let numeric = matches!(token.token(), Token::Iconst | Token::Fconst | Token::Param);
        let (Ok(start), Ok(end)) = (usize::try_from(token.start), usize::try_from(token.end)) else { continue };
        let lexeme = text.get(start..end).unwrap_or_default();
        let new = lexeme.contains('_') || lexeme.get(1..2).is_some_and(|c| "xXoObB".contains(c));
        if numeric && new && guards::stops(guards::NUMBERS) {
            return Err(newer(&format!("the number {lexeme}"), 16, major, Some(start)));
        }
    }
    Ok(())
}

/// Whether a digit is followed by what makes a number new. Cheap, and true too often rather than too seldom.
fn may_have_new_number(bytes: &[u8]) -> bool {
    bytes.array_windows().any(|[first, second]| {
        first.is_ascii_digit() && matches!(second, b'_' | b'x' | b'X' | b'o' | b'O' | b'b' | b'B')
    })
}

/// Refuses a construct where the server is older than it.
pub(crate) fn require(what: &str, since: u16, major: u16) -> Result<(), Refusal> {
    if major >= since || !guards::stops(guards::WORDS) { Ok(()) } else { Err(newer(what, since, major, None)) }
}

fn newer(what: &str, since: u16, major: u16, position: Option<usize>) -> Refusal {
    Refusal {
        cause: Cause::Unresolved,
        message: format!(
            "{what} means something else to this server: PostgreSQL knows it since {since}, this is {major}"
        ),
        hint: "Write it in a form that the server's version knows.".into(),
        position,
    }
}
