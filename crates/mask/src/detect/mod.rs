//! Sensitive values by what they look like, for text that carries no tag: evidence for a scan, and a second layer where
//! nobody has said what a column holds.
//!
//! [`digits`] finds cards, telephone and social security numbers, [`iban`] account numbers, [`token`] keys and tokens;
//! [`json`] masks what stands in the strings and numbers of a document. Each byte is looked at a bounded number of
//! times. They err on the side of finding nothing: a value that is not in one of these forms passes.

mod digits;
mod iban;
mod json;
mod token;

pub use json::mask_json;

use std::{fmt, iter, ops::Range};

/// Of an address, before and after the `@` (RFC 5321).
const LONGEST_LOCAL: usize = 64;
const LONGEST_DOMAIN: usize = 255;

/// What is found.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Detector {
    /// An e-mail address.
    Email,
    /// The number of a payment card, with its check digit.
    Card,
    /// An account number, with its check digits.
    Iban,
    /// A telephone number: international, or of North America with its usual separators.
    Phone,
    /// A social security number of the United States.
    Ssn,
    /// A key, a token or another credential.
    Token,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Email, Self::Card, Self::Iban, Self::Phone, Self::Ssn, Self::Token];

    /// As files and messages name it.
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

    /// Where it finds anything in a text, from front to back.
    pub fn spans(self, text: &str) -> impl Iterator<Item = Range<usize>> {
        find(text.as_bytes(), Detectors::from_iter([self])).map(|span| span.start..span.end)
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Detectors(u8);

impl Detectors {
    /// Whether it is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is one of them.
    #[must_use]
    pub const fn has(self, kind: Detector) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl FromIterator<Detector> for Detectors {
    fn from_iter<T: IntoIterator<Item = Detector>>(kinds: T) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}

/// How much was found, of each kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Found([u64; Detector::ALL.len()]);

impl Found {
    /// The kinds of which something was found, and how often.
    pub fn kinds(self) -> impl Iterator<Item = (Detector, u64)> {
        iter::zip(Detector::ALL, self.0).filter(|(_, count)| *count > 0)
    }

    /// All together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.0.iter().sum()
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        iter::zip(&mut self.0, other.0).for_each(|(count, more)| *count += more);
        self
    }
}

impl FromIterator<Detector> for Found {
    fn from_iter<T: IntoIterator<Item = Detector>>(kinds: T) -> Self {
        let mut found = Self::default();
        for kind in kinds {
            iter::zip(Detector::ALL, &mut found.0)
                .filter(|(known, _)| *known == kind)
                .for_each(|(_, count)| *count += 1);
        }
        found
    }
}

/// Where something was found, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Its first byte.
    pub start: usize,
    /// After its last byte.
    pub end: usize,
    /// What it is.
    pub kind: Detector,
}

/// What is found in a text whose ASCII is ASCII, from front to back and without overlaps.
pub fn find(text: &[u8], kinds: Detectors) -> impl Iterator<Item = Span> + '_ {
    Find { text, kinds, at: 0, floor: 0 }
}

/// Appends the text with what is found in it replaced by its kind, `[email]`. What was found.
pub fn mask_spans(text: &[u8], kinds: Detectors, out: &mut Vec<u8>) -> Found {
    let mut copied = 0;
    let replaced = find(text, kinds).map(|Span { start, end, kind }| {
        out.extend_from_slice(text.get(copied..start).unwrap_or_default());
        put_name(kind, out);
        copied = end;
        kind
    });
    let found = replaced.collect();
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    found
}

fn put_name(kind: Detector, out: &mut Vec<u8>) {
    out.push(b'[');
    out.extend_from_slice(kind.as_str().as_bytes());
    out.push(b']');
}

struct Find<'a> {
    text: &'a [u8],
    kinds: Detectors,
    at: usize,
    /// Where the last span ended.
    floor: usize,
}

impl Iterator for Find<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        while let Some(byte) = self.text.get(self.at) {
            let found = self.found_at(*byte);
            self.at += 1;
            if let Some(span) = found {
                (self.at, self.floor) = (span.end, span.end);
                return Some(span);
            }
        }
        None
    }
}

impl Find<'_> {
    fn found_at(&self, byte: u8) -> Option<Span> {
        if byte == b'@' {
            return if self.kinds.has(Detector::Email) { self.email() } else { None };
        }
        // The others begin where a word does.
        let before = self.at.checked_sub(1).filter(|before| *before >= self.floor);
        let before = before.and_then(|before| self.text.get(before)).copied();
        if before.is_some_and(is_word) {
            return None;
        }
        let rest = self.text.get(self.at..)?;
        let spans = |kind, length: Option<usize>| {
            let end = self.at + length.filter(|_| self.kinds.has(kind))?;
            Some(Span { start: self.at, end, kind })
        };
        match byte {
            b'0'..=b'9' | b'+' | b'(' if !matches!(before, Some(b'-' | b'.')) => {
                spans(Detector::Card, digits::card(rest))
                    .or_else(|| spans(Detector::Ssn, digits::ssn(rest)))
                    .or_else(|| spans(Detector::Phone, digits::phone(rest)))
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'-' if !matches!(before, Some(b'-' | b'_')) => {
                spans(Detector::Token, token::token(rest)).or_else(|| spans(Detector::Iban, iban::iban(rest)))
            }
            _ => None,
        }
    }

    /// Around an `@`.
    fn email(&self) -> Option<Span> {
        let before = self.text.get(self.floor..self.at)?;
        let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+-'".contains(byte) || !byte.is_ascii();
        let local = before.iter().rev().take(LONGEST_LOCAL).take_while(|byte| is_local(byte)).count();
        // Not in the middle of a character of UTF-8.
        let is_inner = |byte: &&u8| **byte & 0xc0 == 0x80;
        let local = local - before.get(before.len() - local..)?.iter().take_while(is_inner).count();
        let after = self.text.get(self.at + 1..)?;
        let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let length = after.iter().take(LONGEST_DOMAIN).take_while(|byte| is_domain(byte)).count();
        let domain = after.get(..length)?;
        // What ends a sentence is not part of it.
        let last = domain.iter().rposition(u8::is_ascii_alphanumeric)?;
        let domain = domain.get(..=last)?;
        let dot = domain.iter().rposition(|byte| *byte == b'.')?;
        let label = domain.get(dot + 1..)?;
        let fits = local > 0 && dot > 0 && label.len() >= 2 && label.iter().all(u8::is_ascii_alphabetic);
        fits.then_some(Span { start: self.at - local, end: self.at + 1 + domain.len(), kind: Detector::Email })
    }
}

/// A letter or digit, or part of one that is not ASCII.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

/// Whether what begins here is no part of the word before it.
fn ends(rest: &[u8]) -> bool {
    !rest.first().is_some_and(|byte| is_word(*byte))
}
