//! Text: the same bytes in both formats.

use super::{Encoding, Masker};
use crate::{
    key::Purpose,
    mask::Mask,
    types::{Most, Text},
};
use data_encoding::BASE32_NOPAD;

/// What text is replaced by.
pub const REDACTED: &str = "[redacted]";

/// In place of what is not shown, however long it was, since a length tells of short secrets.
const STARS: &[u8] = b"****";

/// Of a digest: 128 bits are 26 characters of base 32.
const HASH_BYTES: usize = 16;
const HASH_CHARACTERS: usize = 26;

/// The longest label that is taken for a top-level domain.
const LONGEST_LABEL: usize = 18;

impl Masker {
    pub(super) fn text(&self, text: Text, value: &[u8], out: &mut Vec<u8>) {
        let value = match value.iter().rposition(|byte| *byte != b' ') {
            Some(last) if text.padded => value.get(..=last).unwrap_or(value),
            _ => value,
        };
        let masked = match self.mask {
            Mask::Partial { keep } => self.partial(usize::from(keep), text, value, out),
            Mask::Email => self.email(text, value, out),
            Mask::Hash => self.hash_text(text, value, out),
            _ => None,
        };
        if masked.is_none() {
            redact(text, out);
        }
    }

    /// As peers do, the last characters of whatever is longer. What is no longer is not shown at all.
    fn partial(&self, keep: usize, text: Text, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let kept = last(self.encoding, value, keep)?;
        let stars = match text.most {
            Most::Any => STARS.len(),
            // There is room: what is kept is shorter than a value that fits.
            Most::Characters(most) => as_length(most).saturating_sub(if kept.is_empty() { 0 } else { keep }),
            Most::Bytes(most) => as_length(most).saturating_sub(kept.len()),
        };
        out.extend_from_slice(STARS.get(..stars).unwrap_or(STARS));
        out.extend_from_slice(kept);
        Some(())
    }

    /// `j***@***.com`. Of the domain only what cannot be a person's or a company's name.
    fn email(&self, text: Text, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let at = value.iter().rposition(|byte| *byte == b'@')?;
        let (local, domain) = value.split_at_checked(at)?;
        let first = first(self.encoding, local)?;
        let start = out.len();
        out.extend_from_slice(first);
        out.extend_from_slice(b"***@***");
        let dot = domain.iter().rposition(|byte| *byte == b'.');
        if let Some(label) = dot.and_then(|dot| domain.get(dot + 1..))
            && (2..=LONGEST_LABEL).contains(&label.len())
            && label.iter().all(u8::is_ascii_alphabetic)
        {
            out.push(b'.');
            out.extend_from_slice(label);
        }
        let most = match text.most {
            Most::Any => return Some(()),
            // After its first character it is ASCII.
            Most::Characters(most) => as_length(most) + first.len() - 1,
            Most::Bytes(most) => as_length(most).max(first.len()),
        };
        out.truncate(start.saturating_add(most));
        Some(())
    }

    fn hash_text(&self, text: Text, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let digest = self.key.digest(Purpose::Hash, value);
        let mut hash = [0; HASH_CHARACTERS];
        BASE32_NOPAD.encode_mut(digest.get(..HASH_BYTES)?, &mut hash);
        hash.make_ascii_lowercase();
        out.extend_from_slice(cut(&hash, text));
        Some(())
    }
}

/// Appends what stands for any text.
pub(super) fn redact(text: Text, out: &mut Vec<u8>) {
    out.extend_from_slice(cut(REDACTED.as_bytes(), text));
}

/// As much of what is ASCII as the type takes.
fn cut(ascii: &[u8], text: Text) -> &[u8] {
    match text.most {
        Most::Any => ascii,
        Most::Characters(most) | Most::Bytes(most) => ascii.get(..as_length(most)).unwrap_or(ascii),
    }
}

fn as_length(most: u32) -> usize {
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// The last characters of what is longer, nothing of what is not; `None` where characters cannot be told.
fn last(encoding: Encoding, value: &[u8], count: usize) -> Option<&[u8]> {
    if count == 0 {
        return Some(&[]);
    }
    let start = match encoding {
        Encoding::Utf8 if !value.is_ascii() => {
            std::str::from_utf8(value).ok()?.char_indices().rev().nth(count - 1).map_or(0, |(at, _)| at)
        }
        Encoding::Multibyte | Encoding::AsciiInside if !value.is_ascii() => return None,
        _ => value.len().saturating_sub(count),
    };
    if start == 0 { Some(&[]) } else { value.get(start..) }
}

/// The first character, if it is a letter or digit.
fn first(encoding: Encoding, value: &[u8]) -> Option<&[u8]> {
    let length = match encoding {
        Encoding::Utf8 => {
            let first = std::str::from_utf8(value).ok()?.chars().next()?;
            first.is_alphanumeric().then_some(first.len_utf8())?
        }
        Encoding::SingleByte => {
            value.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii()).then_some(1)?
        }
        Encoding::Multibyte | Encoding::AsciiInside => {
            (value.is_ascii() && value.first()?.is_ascii_alphanumeric()).then_some(1)?
        }
    };
    value.get(..length)
}
