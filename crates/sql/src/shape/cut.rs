//! Cuts the literals out of a text that is plain enough that nothing can be taken for one that is none.
//!
//! It is not PostgreSQL's scanner, and need not be: it accepts only what that scanner can read in one way, whichever
//! version and settings it has. Two texts of one shape consist of the same tokens but for the values of their literals:
//! where a token ends depends on bytes that both have, since before and after each literal stands none that could belong
//! to it.

use std::ops::Range;

/// The longest text that has a shape. What is longer is mostly data, and takes long to hash.
pub(crate) const MAX_TEXT_BYTES: usize = 16 * 1024;

/// The most digits that a number may have. So it is an int4 whatever its value.
const MAX_DIGITS: usize = 9;

/// What stands in a shape in a number's place, and in a string's: bytes that no text with a shape has.
const NUMBER: u8 = 1;
const STRING: u8 = 2;

/// A shape, and the literals that were cut out. Its buffers are used again for each text.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// The text with a marker in each literal's place.
    pub(crate) shape: Vec<u8>,
    /// Where the literals stand, in their order.
    pub(crate) literals: Vec<Range<usize>>,
}

impl Cut {
    /// Whether a text has a shape; it is here afterwards.
    pub(crate) fn cut(&mut self, text: &[u8]) -> bool {
        self.shape.clear();
        self.literals.clear();
        text.len() <= MAX_TEXT_BYTES && self.tokens(text).is_some()
    }

    fn tokens(&mut self, text: &[u8]) -> Option<()> {
        let (mut at, mut copied) = (0, 0);
        // The byte before, where it is part of the token before.
        let mut before = b' ';
        while let Some(&byte) = text.get(at) {
            let next = text.get(at + 1).copied().unwrap_or(b' ');
            let end = match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => skip(text, at, is_word),
                b' ' | b'\t' | b'\n' | b'\r' => at + 1,
                // They begin comments.
                b'-' if next == b'-' => return None,
                b'/' if next == b'*' => return None,
                b'(' | b')' | b'[' | b']' | b',' | b'.' | b':' => at + 1,
                b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=' | b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&'
                | b'|' | b'`' | b'?' => at + 1,
                b'0'..=b'9' => {
                    let end = skip(text, at, |byte| byte.is_ascii_digit());
                    let joined = is_joined(before) || before == b'.' || is_joined_after(text, end);
                    if joined || end - at > MAX_DIGITS {
                        return None;
                    }
                    self.literal(text, copied, at..end, NUMBER);
                    copied = end;
                    end
                }
                b'\'' => {
                    let end = quoted(text, at)?;
                    // With white space between them, two may be one.
                    let following = text.get(skip(text, end, is_blank));
                    if is_joined(before) || is_joined_after(text, end) || following == Some(&b'\'') {
                        return None;
                    }
                    self.literal(text, copied, at..end, STRING);
                    copied = end;
                    end
                }
                b'"' => {
                    let end = quoted(text, at)?;
                    if is_joined(before) || is_joined_after(text, end) {
                        return None;
                    }
                    end
                }
                b';' if skip(text, at + 1, is_blank) == text.len() => text.len(),
                // Dollar quotes, parameters, backslashes, other white space, what is not ASCII, a second statement.
                _ => return None,
            };
            before = text.get(end.checked_sub(1)?).copied()?;
            at = end;
        }
        self.shape.extend_from_slice(text.get(copied..)?);
        Some(())
    }

    fn literal(&mut self, text: &[u8], copied: usize, literal: Range<usize>, marker: u8) {
        self.shape.extend_from_slice(text.get(copied..literal.start).unwrap_or_default());
        self.shape.push(marker);
        self.literals.push(literal);
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether what follows this byte may belong to it: `E'…'`, `U&'…'`, `a1`, `'a''b'`.
fn is_joined(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'\'' | b'"' | b'&')
}

/// Whether the byte here may belong to the literal before it: `1e5`, `1.5`, `1_000`, `'a'b`.
fn is_joined_after(text: &[u8], end: usize) -> bool {
    text.get(end).is_some_and(|&byte| is_word(byte) || matches!(byte, b'\'' | b'"' | b'.'))
}

/// The end of the bytes of a kind from here on.
fn skip(text: &[u8], from: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| !is(byte)).unwrap_or(rest.len())
}

/// The end of what is in quotes and begins here, where it has only plain bytes in it.
fn quoted(text: &[u8], from: usize) -> Option<usize> {
    let quote = *text.get(from)?;
    let end = skip(text, from + 1, |byte| {
        byte != quote && byte != b'\\' && (is_blank(byte) || (b' '..=b'~').contains(&byte))
    });
    (text.get(end) == Some(&quote)).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::Cut;

    /// The shape, with `#` for a number and `$` for a string.
    fn shape(text: &str) -> Option<String> {
        let mut cut = Cut::default();
        let is = cut.cut(text.as_bytes());
        let shown =
            || String::from_utf8(cut.shape.clone()).unwrap_or_default().replace('\u{1}', "#").replace('\u{2}', "$");
        is.then(shown)
    }

    #[test]
    fn plain_literals_are_cut_out() {
        for (text, expected) in [
            (
                "SELECT abalance FROM pgbench_accounts WHERE aid = 4711",
                "SELECT abalance FROM pgbench_accounts WHERE aid = #",
            ),
            ("INSERT INTO t VALUES (1,'x'),(2, '')", "INSERT INTO t VALUES (#,$),(#, $)"),
            ("UPDATE t SET a=a+-5 WHERE b1 = 'x y\n;--/*\"' ;\n", "UPDATE t SET a=a+-# WHERE b1 = $ ;\n"),
            ("select \"A 1 'x\" from t2 where a=007", "select \"A 1 'x\" from t2 where a=#"),
            ("SELECT a[1:2], -3, @-4 FROM s.t", "SELECT a[#:#], -#, @-# FROM s.t"),
            ("SELECT 999999999", "SELECT #"),
        ] {
            assert_eq!(shape(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn whatever_is_not_plain_has_no_shape() {
        for text in [
            "SELECT 1e5",
            "SELECT 1E5",
            "SELECT 1_000",
            "SELECT 0x1",
            "SELECT 0b1",
            "SELECT 1a",
            "SELECT 1.5",
            "SELECT .5",
            "SELECT 5.",
            "SELECT 1..2",
            "SELECT 1234567890",
            "SELECT 'a''b'",
            "SELECT 'a' 'b'",
            "SELECT 'a'\n'b'",
            "SELECT 'a'b",
            "SELECT a'b'",
            "SELECT E'b'",
            "SELECT e'b'",
            "SELECT B'1'",
            "SELECT X'1'",
            "SELECT N'b'",
            "SELECT U&'b'",
            "SELECT U&\"b\"",
            "SELECT u&'b'",
            "SELECT \"a\"'b'",
            "SELECT \"a\"1",
            "SELECT \"a\"\"b\"",
            "SELECT 'a\\'",
            "SELECT a\\b",
            "SELECT $1",
            "SELECT $$a$$",
            "SELECT a$1",
            "SELECT $a1$b$a1$",
            "SELECT --1\n1",
            "SELECT 1 -- 2",
            "SELECT 1/**/",
            "SELECT 1; SELECT 2",
            "SELECT 1;;",
            ";;",
            "SELECT 'open",
            "SELECT \"open",
            "SELECT 'ä'",
            "SELECT ä",
            "SELECT 1\u{b}",
            "SELECT 1\u{c}",
            "SELECT '\u{1}'",
            "SELECT \u{1}",
            "SELECT '\0'",
            "SELECT {1}",
            "SELECT '1'2",
            "SELECT 1'2'",
            "SELECT 1\"a\"",
        ] {
            assert_eq!(shape(text), None, "{text}");
        }
        assert_eq!(shape(&"x".repeat(super::MAX_TEXT_BYTES)), Some("x".repeat(super::MAX_TEXT_BYTES)));
        assert_eq!(shape(&"x".repeat(super::MAX_TEXT_BYTES + 1)), None);
    }

    #[test]
    fn what_may_mean_something_else_has_another_shape() {
        let texts = [
            "SELECT a FROM t WHERE a = 1",
            "SELECT a FROM t WHERE a = '1'",
            "SELECT a FROM t WHERE a = -1",
            "SELECT a FROM t WHERE a =- 1",
            "SELECT a FROM t WHERE a @-1",
            "SELECT a FROM t WHERE a @- 1",
            "SELECT a FROM t WHERE a = - -1",
            "SELECT a FROM t WHERE a IN (1)",
            "SELECT a FROM t WHERE a IN (1, 2)",
            "SELECT a FROM t WHERE a = 1::text",
            "SELECT a FROM t1 WHERE a = 1",
            "SELECT a FROM T WHERE a = 1",
            "SELECT a FROM t WHERE a = 1;",
            "SELECT a FROM t WHERE a = \"1\"",
            "SELECT a FROM t WHERE a = (1)",
        ];
        let mut shapes: Vec<_> = texts.iter().filter_map(|text| shape(text)).collect();
        shapes.sort();
        shapes.dedup();
        assert_eq!(shapes.len(), texts.len());
    }
}
