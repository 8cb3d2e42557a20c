//! Finds what looks like personal or payment data in text, by what it looks like alone: a guess, and no more. What is masked
//! for certain is masked by tag.

mod numbers;
mod words;

use std::{fmt, ops::Range};

/// What is looked for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Detector {
    /// An e-mail address.
    Email,
    /// The number of a payment card, by its length, first digits and check digit.
    Card,
    /// An international bank account number, by its country's length and check digits.
    Iban,
    /// A telephone number with its country, or as written in North America.
    Phone,
    /// A US social security number, or a taxpayer's number of the same form.
    Ssn,
    /// A key or token that is told by its form: of well-known services, JSON web tokens, private keys.
    Token,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Email, Self::Card, Self::Iban, Self::Phone, Self::Ssn, Self::Token];

    /// As commands and messages name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Phone => "phone",
            Self::Ssn => "ssn",
            Self::Token => "token",
        }
    }

    /// Where it finds anything in a text, from left to right.
    pub fn spans(self, text: &str) -> impl Iterator<Item = Range<usize>> {
        Spans { detector: self, text: text.as_bytes(), at: 0 }
    }

    /// The end of what begins here.
    fn end(self, text: &[u8], at: usize) -> Option<usize> {
        match self {
            Self::Email => words::email(text, at),
            Self::Card => numbers::card(text, at),
            Self::Iban => numbers::iban(text, at),
            Self::Phone => numbers::phone(text, at),
            Self::Ssn => numbers::ssn(text, at),
            Self::Token => words::token(text, at),
        }
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

struct Spans<'a> {
    detector: Detector,
    text: &'a [u8],
    at: usize,
}

impl Iterator for Spans<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        while self.at < self.text.len() {
            let at = self.at;
            if let Some(end) = self.detector.end(self.text, at) {
                self.at = end.max(at + 1);
                return Some(at..end);
            }
            self.at += 1;
        }
        None
    }
}

/// The byte here, or a blank beyond the ends.
fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(b' ')
}

fn before(text: &[u8], at: usize) -> u8 {
    at.checked_sub(1).map_or(b' ', |at| byte(text, at))
}

/// Whether a byte may be part of a word, which is then a longer one than what was found. Letters beyond ASCII are.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// The end of the bytes of a kind from here on.
fn skip(text: &[u8], from: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| !is(byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::Detector;

    fn found(text: &str) -> Vec<(&'static str, &str)> {
        let spans = |detector: Detector| detector.spans(text).map(move |span| (detector.as_str(), &text[span]));
        Detector::ALL.into_iter().flat_map(spans).collect()
    }

    #[test]
    fn what_is_found() {
        for (detector, text) in [
            ("email", "ada.lovelace+x@mail.example.org"),
            ("email", "jörg@müller.example"),
            ("email", "o'neil@example.com"),
            ("card", "4111111111111111"),
            ("card", "4111 1111 1111 1111"),
            ("card", "5500-0000-0000-0004"),
            ("card", "378282246310005"),
            ("card", "3782 822463 10005"),
            ("iban", "DE89370400440532013000"),
            ("iban", "GB29 NWBK 6016 1331 9268 19"),
            ("phone", "+49 30 901820"),
            ("phone", "+1-200-555-0100"),
            ("phone", "+442079460000"),
            ("phone", "(212) 555-0123"),
            ("phone", "212-555-0123"),
            ("ssn", "123-45-6789"),
            ("token", "ghp_0123456789abcdefABCDEF0123456789abcd"),
            ("token", "AKIAIOSFODNN7EXAMPLE"),
            ("token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            ("token", "-----BEGIN PRIVATE KEY-----"),
        ] {
            assert_eq!(found(text), [(detector, text)], "{text}");
            let inside = format!("see {text}, and more");
            assert_eq!(found(&inside), [(detector, text)], "{inside}");
        }
        assert_eq!(found("a@b.example;c@d.example"), [("email", "a@b.example"), ("email", "c@d.example")]);
    }

    #[test]
    fn what_is_not() {
        for text in [
            "",
            "@",
            "a@b",
            "a@b.",
            "@example.com",
            "4111111111111112",
            "411111111111111",
            "0000000000000000",
            "94111111111111111",
            "4111-1111-1111-1111-1",
            "DE89370400440532013001",
            "XX89370400440532013000",
            "DE89 3704 ",
            "DE89 3704  0044 0532 0130 00",
            "XDE89370400440532013000",
            "2024-01-01",
            "2024-01-01 12:30:00.123456+02:00",
            "123456789",
            "000-45-6789",
            "123-45-67890",
            "1123-45-6789",
            "12.50",
            "1,234,567.89",
            "SKU-00123",
            "192.168.10.12",
            "d41d8cd98f00b204e9800998ecf8427e",
            "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "11111111-4111-1111-1111-111111111111",
            "ghp_short",
            "v1.2.3-4",
            "+1",
            "1+1 212",
            "1-212-555",
            "sk-it",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    mod fuzz {
        use super::Detector;
        use postern_fuzz::{proptest, target, text};
        use proptest::prelude::*;

        target!(fuzz_spans, text("a@b.example 4111 1111-1DE89+1(2)ghp_ü", 60), |text| {
            for detector in Detector::ALL {
                let mut last = 0;
                for span in detector.spans(&text) {
                    prop_assert!(last <= span.start && span.start < span.end && text.get(span.clone()).is_some());
                    last = span.end;
                }
            }
            Ok(())
        });
    }
}
