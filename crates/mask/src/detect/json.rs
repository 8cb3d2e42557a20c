//! Documents: what is found in a string is replaced inside it, a number that holds something becomes `null`.

use super::{Detectors, Found, find, put_name};

/// Appends the document with what was found in it replaced, names of members too. What was found; `None` for what is
/// not JSON.
#[must_use]
pub fn mask_json(text: &[u8], kinds: Detectors, out: &mut Vec<u8>) -> Option<Found> {
    let (mut rest, mut found) = (text, Found::default());
    let (mut plain, mut places) = (Vec::new(), Vec::new());
    while let Some((first, after)) = rest.split_first() {
        let length = match first {
            b'"' => {
                let length = read_string(rest, &mut plain, &mut places)?;
                found = found.and(put_string(rest.get(..length)?, &plain, &places, kinds, out));
                length
            }
            b'-' | b'0'..=b'9' => {
                let is_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
                let length = rest.iter().take_while(|byte| is_number(byte)).count();
                let number = rest.get(..length)?;
                let held: Found = find(number, kinds).map(|span| span.kind).collect();
                out.extend_from_slice(if held.total() > 0 { b"null" } else { number });
                found = found.and(held);
                length
            }
            byte => {
                out.push(*byte);
                rest.len() - after.len()
            }
        };
        rest = rest.get(length..)?;
    }
    Some(found)
}

/// Reads a string with its quotes: what it stands for, and where each byte of that begins. How long it is.
fn read_string(text: &[u8], plain: &mut Vec<u8>, places: &mut Vec<usize>) -> Option<usize> {
    plain.clear();
    places.clear();
    let mut at = 1;
    loop {
        let start = at;
        match text.get(at)? {
            b'"' => {
                places.push(at);
                return Some(at + 1);
            }
            b'\\' => {
                let (character, length) = escape(text.get(at..)?)?;
                plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                at += length;
            }
            byte => {
                plain.push(*byte);
                at += 1;
            }
        }
        places.resize(plain.len(), start);
    }
}

/// An escape: its character and its length.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let simple = match text.get(1)? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(text),
        byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
        _ => return None,
    };
    Some((simple, 2))
}

fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = std::str::from_utf8(text.get(at..at + 4)?).ok()?;
        // `from_str_radix` takes a sign, too.
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(2)?;
    if let Some(character) = char::from_u32(first.into()) {
        return Some((character, 6));
    }
    let second = if text.get(6..8)? == b"\\u" { unit(8)? } else { return None };
    let character = char::decode_utf16([first, second]).next()?.ok()?;
    Some((character, 12))
}

/// Appends a string. Outside of what was found it stays as it is written, escapes too.
fn put_string(raw: &[u8], plain: &[u8], places: &[usize], kinds: Detectors, out: &mut Vec<u8>) -> Found {
    let place = |at: usize| places.get(at).copied().unwrap_or(raw.len());
    let mut copied = 0;
    let replaced = find(plain, kinds).map(|span| {
        out.extend_from_slice(raw.get(copied..place(span.start)).unwrap_or_default());
        put_name(span.kind, out);
        copied = place(span.end);
        span.kind
    });
    let found = replaced.collect();
    out.extend_from_slice(raw.get(copied..).unwrap_or_default());
    found
}
