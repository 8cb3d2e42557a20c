//! What a client is told of errors and notices of statements that touch something masked. Their texts may carry values
//! (`invalid input syntax for type integer: "078-05-1120"`), and even which of them comes may tell something of one.
//!
//! What passes as it is comes from before the server has looked at values, or has nothing to do with them. What a function
//! raises may be anything, and has a context.

use postern_wire::error::{self, Report, Severity};

const HINT: &str = "What the server said may carry the value of a masked column. Leave the masked columns out of what \
                    failed, or ask for an access role that shows them.";

/// The classes of the connection, of the state of transactions and cursors, of resources and of the operator.
const PASSES: [&[u8]; 10] = [b"08", b"24", b"25", b"26", b"34", b"3D", b"40", b"53", b"55", b"57"];

/// Those that a client acts on, whatever they are about. Constraints: that there was a violation is told.
const CODE_STAYS: [&[u8]; 9] = [b"08", b"0A", b"23", b"25", b"40", b"44", b"53", b"55", b"57"];

/// About the statement's text, though the server does not say where: missing privileges, an ON CONFLICT without index,
/// a parameter without type, the name of a cursor or prepared statement that there is already.
const ABOUT_THE_TEXT: [&[u8]; 5] = [b"42501", b"42P03", b"42P05", b"42P10", b"42P18"];

/// What is told in the place of an error, with its severity; `None`: it is told as it is.
pub fn instead(body: &[u8]) -> Option<(Report, Severity)> {
    if is_harmless(body) {
        return None;
    }
    let code = error::field(body, b'C').unwrap_or_default();
    let (code, message) = match code.get(..2) {
        Some(b"23" | b"44") => (code, "the statement violates a constraint, of which the rest is withheld"),
        Some(class) if CODE_STAYS.contains(&class) => (code, "the statement has failed, and why is withheld"),
        _ => (&b"22000"[..], "the statement has failed on a value, and why is withheld"),
    };
    let severity = if error::field(body, b'V') == Some(b"FATAL") { Severity::Fatal } else { Severity::Error };
    Some((Report::new(&String::from_utf8_lossy(code), message, HINT), severity))
}

/// Whether nothing in an error or notice can be of a value. Of one that is not all there that is not known.
pub fn is_harmless(body: &[u8]) -> bool {
    let code = error::field(body, b'C').unwrap_or_default();
    let has = |field| error::field(body, field).is_some();
    // An empty field begins with its code, so that two NULs are the end.
    if !body.ends_with(&[0, 0]) || has(b'W') || has(b'q') || has(b'p') {
        return false;
    }
    match code.get(..2).unwrap_or_default() {
        // The server says where in the text only of what it finds in the text.
        b"42" => has(b'P') || ABOUT_THE_TEXT.contains(&code),
        // Drivers know by the routine that they have to prepare the statement again.
        b"0A" => has(b'P') || error::field(body, b'R') == Some(b"RevalidateCachedQuery"),
        class => PASSES.contains(&class),
    }
}

/// Whether an error or notice of a Bind is about the values that the client has sent for parameters, or about constants of
/// the text, and not what a function has raised.
pub fn is_of_parameters(body: &[u8]) -> bool {
    let of_portal = |context: &[u8]| context.starts_with(b"unnamed portal") || context.starts_with(b"portal \"");
    body.ends_with(&[0, 0]) && error::field(body, b'W').is_none_or(of_portal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(fields: &[(u8, &str)]) -> Vec<u8> {
        let mut body: Vec<u8> =
            fields.iter().flat_map(|(code, text)| [&[*code], text.as_bytes(), b"\0"].concat()).collect();
        body.push(0);
        body
    }

    /// What is told of an error with this code and these other fields: its code, or `None` for the error itself.
    fn told(code: &str, more: &[(u8, &str)]) -> Option<String> {
        let fields = [&[(b'V', "ERROR"), (b'C', code), (b'M', "it says secret")], more].concat();
        let (report, _) = instead(&body(&fields))?;
        assert!(!report.message.contains("secret") && report.detail.is_empty() && !report.hint.is_empty());
        Some(report.sqlstate)
    }

    #[test]
    fn what_may_carry_a_value_is_withheld() {
        let check = |code: &str, more: &[(u8, &str)], expect: Option<&str>| {
            assert_eq!(told(code, more).as_deref(), expect, "{code} {more:?}");
        };
        let at = (b'P', "8");
        check("42703", &[at], None);
        // regclass and tsquery raise these while the statement runs.
        check("42P01", &[], Some("22000"));
        check("42601", &[], Some("22000"));
        check("42501", &[], None);
        check("42P05", &[], None);
        check("0A000", &[], Some("0A000"));
        check("0A000", &[at], None);
        check("0A000", &[(b'R', "RevalidateCachedQuery")], None);
        check("22P02", &[at], Some("22000"));
        check("22012", &[], Some("22000"));
        check("21000", &[], Some("22000"));
        check("P0001", &[], Some("22000"));
        check("XX000", &[], Some("22000"));
        check("23505", &[(b'D', "Key (email)=(secret) already exists."), (b'n', "secret_key")], Some("23505"));
        check("44000", &[], Some("44000"));
        check("57014", &[], None);
        check("40P01", &[], None);
        check("40P01", &[(b'W', "while updating tuple (0,1)")], Some("40P01"));
        check("42501", &[(b'W', "PL/pgSQL function f() line 1 at RAISE")], Some("22000"));
        check("42703", &[(b'p', "8"), (b'q', "SELECT 'secret'")], Some("22000"));
        check("", &[], Some("22000"));
    }

    #[test]
    fn what_is_not_all_there_is_withheld() {
        let whole = body(&[(b'C', "57014"), (b'M', ""), (b'W', "it says secret")]);
        for cut in 0..whole.len() {
            assert!(instead(&whole[..cut]).is_some(), "{cut}");
        }
        assert!(is_harmless(&body(&[(b'C', "57014"), (b'M', "")])));
    }

    #[test]
    fn a_bind_says_what_is_wrong_with_its_values() {
        let said = |context: &str| is_of_parameters(&body(&[(b'C', "22P02"), (b'M', "m"), (b'W', context)]));
        assert!(said("unnamed portal with parameter $1 = 'x'") && said("portal \"p\" with parameter $1"));
        assert!(!said("SQL function \"f\" during startup"));
        let without = body(&[(b'C', "22P02"), (b'M', "m")]);
        assert!(is_of_parameters(&without) && !is_of_parameters(&without[..without.len() - 1]));
    }

    #[test]
    fn the_sessions_last_word_stays_one() {
        let fatal = |code| body(&[(b'V', "FATAL"), (b'C', code), (b'M', "it says secret")]);
        assert!(instead(&fatal("57P01")).is_none());
        assert_eq!(instead(&fatal("XX000")).unwrap().1, Severity::Fatal);
    }
}
