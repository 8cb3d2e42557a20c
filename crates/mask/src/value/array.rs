//! Arrays: each element is masked, bounds and NULLs stay.

use super::{Format, Masker};
use crate::{fields::put_field, types::Type, value::Put};

/// PostgreSQL's own limit (`MAXDIM`).
const MOST_DIMENSIONS: u32 = 6;

/// Of the binary form: an element of length -1 is NULL, and the header says whether there is one.
const NULL: [u8; 4] = (-1i32).to_be_bytes();
const HAS_NULL: [u8; 4] = 1i32.to_be_bytes();

/// What came last in an array's text.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Last {
    Opening,
    Comma,
    /// An element or an inner array.
    Item,
}

/// `{a,"b c",NULL}`, with bounds in front where they do not begin at 1: `[0:1]={a,b}`.
pub(super) fn text(masker: &Masker, element: &Type, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if !masker.encoding.shows_ascii(value) {
        return None;
    }
    let mut rest = value;
    if value.starts_with(b"[") {
        let end = value.iter().position(|byte| *byte == b'=')?;
        let (bounds, body) = value.split_at_checked(end + 1)?;
        if !bounds.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b':' | b'[' | b']' | b'=')) {
            return None;
        }
        out.extend_from_slice(bounds);
        rest = body;
    }
    let (mut given, mut masked) = (Vec::new(), Vec::new());
    let mut depth = 0u32;
    let mut last = Last::Opening;
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'{' if last != Last::Item && depth < MOST_DIMENSIONS => {
                depth += 1;
                last = Last::Opening;
            }
            b'}' if last != Last::Comma && depth > 0 => {
                depth -= 1;
                last = Last::Item;
            }
            b',' if last == Last::Item && depth > 0 => last = Last::Comma,
            _ if last == Last::Item || depth == 0 => return None,
            _ => {
                given.clear();
                masked.clear();
                let (null, after) = take_element(rest, &mut given)?;
                let put = if null { None } else { masker.scalar(element, Format::Text, &given, &mut masked) };
                match put {
                    None => out.extend_from_slice(b"NULL"),
                    Some(()) => put_element(&masked, out),
                }
                rest = after;
                last = Last::Item;
                continue;
            }
        }
        out.push(*first);
        rest = after;
        if depth == 0 {
            break;
        }
    }
    (last == Last::Item && depth == 0 && rest.is_empty()).then_some(())
}

/// Reads an element into `given`. Whether it is NULL, and what comes after it.
fn take_element<'a>(text: &'a [u8], given: &mut Vec<u8>) -> Option<(bool, &'a [u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| matches!(byte, b',' | b'}'))?;
        let (element, rest) = text.split_at_checked(end)?;
        if element.is_empty() || element.iter().any(|byte| needs_quotes(*byte)) {
            return None;
        }
        given.extend_from_slice(element);
        return Some((element.eq_ignore_ascii_case(b"NULL"), rest));
    };
    loop {
        match rest {
            [b'"', after @ ..] => return Some((false, after)),
            [b'\\', escaped, after @ ..] => {
                given.push(*escaped);
                rest = after;
            }
            [byte, after @ ..] if *byte != b'\\' => {
                given.push(*byte);
                rest = after;
            }
            _ => return None,
        }
    }
}

/// As `array_out` decides it.
fn needs_quotes(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn put_element(element: &[u8], out: &mut Vec<u8>) {
    let bare = !element.is_empty()
        && !element.eq_ignore_ascii_case(b"NULL")
        && !element.iter().any(|byte| needs_quotes(*byte));
    if bare {
        out.extend_from_slice(element);
        return;
    }
    out.push(b'"');
    for byte in element {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// A count of dimensions, whether there are NULLs, the element's type, a length and a lower bound for each dimension, and
/// the elements as the fields of a row.
pub(super) fn binary(masker: &Masker, element: &Type, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (dimensions, rest) = value.split_first_chunk()?;
    let dimensions = u32::from_be_bytes(*dimensions);
    if dimensions > MOST_DIMENSIONS {
        return None;
    }
    let (bounds, mut rest) = rest.split_at_checked(8 + 8 * usize::try_from(dimensions).ok()?)?;
    let (flag, bounds) = bounds.split_first_chunk::<4>()?;
    let lengths =
        bounds.get(4..)?.as_chunks::<8>().0.iter().map(|[a, b, c, d, ..]| u32::from_be_bytes([*a, *b, *c, *d]));
    let lengths: u64 = lengths.fold(1, |product, length| product.saturating_mul(length.into()));
    let mut count = if dimensions == 0 { 0 } else { lengths };
    out.extend_from_slice(&dimensions.to_be_bytes());
    let flag_at = out.len();
    out.extend_from_slice(flag);
    out.extend_from_slice(bounds);
    let mut nulls = *flag == HAS_NULL;
    while count > 0 {
        count -= 1;
        let (length, after) = rest.split_first_chunk()?;
        if *length == NULL {
            out.extend_from_slice(&NULL);
            rest = after;
            continue;
        }
        let (given, after) = after.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
        rest = after;
        put_field(out, |out| match masker.scalar(element, Format::Binary, given, out) {
            Some(()) => Put::Value,
            None => {
                nulls = true;
                Put::Null
            }
        });
    }
    if nulls {
        out.get_mut(flag_at..flag_at + 4)?.copy_from_slice(&HAS_NULL);
    }
    rest.is_empty().then_some(())
}
