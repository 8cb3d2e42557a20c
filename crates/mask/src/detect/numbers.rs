//! What is told by its digits.

use super::{before, byte, is_word, skip};

/// Countries and how long their account numbers are.
const IBANS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SC", 31),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
];

/// The shortest and the longest number of a card.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// The fewest and the most digits of a telephone number with its country.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// Whether a number may begin here: what stands before is not of it, as in `a-1`, `1.5`.
fn begins(text: &[u8], at: usize) -> bool {
    let one = before(text, at);
    let joined =
        matches!(one, b'-' | b'.' | b',' | b'+') && at.checked_sub(1).is_some_and(|at| is_word(before(text, at)));
    !is_word(one) && !joined
}

/// Whether a number may end here.
fn ends(text: &[u8], at: usize) -> bool {
    let joined = matches!(byte(text, at), b'-' | b'.' | b',') && byte(text, at + 1).is_ascii_digit();
    !is_word(byte(text, at)) && !joined
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

pub(super) fn card(text: &[u8], at: usize) -> Option<usize> {
    if !matches!(byte(text, at), b'2'..=b'6') || !begins(text, at) {
        return None;
    }
    let mut digits = Vec::with_capacity(*CARD_DIGITS.end());
    let mut end = skip(text, at, is_digit);
    digits.extend_from_slice(text.get(at..end)?);
    // In groups, of which the first has four digits.
    let parted = byte(text, end);
    if digits.len() == 4 && matches!(parted, b' ' | b'-') {
        while byte(text, end) == parted && is_digit(byte(text, end + 1)) {
            let next = skip(text, end + 1, is_digit);
            digits.extend_from_slice(text.get(end + 1..next)?);
            end = next;
        }
    }
    (CARD_DIGITS.contains(&digits.len()) && ends(text, end) && luhn(&digits)).then_some(end)
}

/// The check of a card's last digit.
fn luhn(digits: &[u8]) -> bool {
    let value = |(place, digit): (usize, &u8)| {
        let value = u32::from(digit.saturating_sub(b'0')) << (place % 2);
        if value > 9 { value - 9 } else { value }
    };
    digits.iter().rev().enumerate().map(value).sum::<u32>() % 10 == 0
}

pub(super) fn iban(text: &[u8], at: usize) -> Option<usize> {
    let country = text.get(at..at + 2)?;
    let (_, length) = IBANS.iter().find(|(code, _)| code.as_slice() == country)?;
    if !begins(text, at) || !text.get(at + 2..at + 4)?.iter().copied().all(is_digit) {
        return None;
    }
    let (mut letters, mut end) = (Vec::with_capacity(*length), at);
    while letters.len() < *length {
        match byte(text, end) {
            // In groups of four.
            b' ' if letters.len() % 4 == 0 && byte(text, end + 1).is_ascii_alphanumeric() => {}
            letter if letter.is_ascii_alphanumeric() => letters.push(letter.to_ascii_uppercase()),
            _ => return None,
        }
        end += 1;
    }
    (ends(text, end) && is_checked(&letters)).then_some(end)
}

/// ISO 7064, modulo 97: the first four letters come last, letters count from 10.
fn is_checked(letters: &[u8]) -> bool {
    let (first, rest) = letters.split_at(letters.len().min(4));
    let rest = rest.iter().chain(first).try_fold(0_u32, |sum, letter| {
        let value = char::from(*letter).to_digit(36)?;
        Some((sum * if value > 9 { 100 } else { 10 } + value) % 97)
    });
    rest == Some(1)
}

pub(super) fn phone(text: &[u8], at: usize) -> Option<usize> {
    if byte(text, at) == b'+' { international(text, at) } else { north_american(text, at) }
}

/// `+49 (0)30 901820`
fn international(text: &[u8], at: usize) -> Option<usize> {
    if is_word(before(text, at)) || !matches!(byte(text, at + 1), b'1'..=b'9') {
        return None;
    }
    let (mut digits, mut end, mut here) = (0, at, at + 1);
    loop {
        let after = skip(text, here, is_digit);
        digits += after - here;
        if after > here {
            end = after;
        }
        // Between two groups, one or two of these.
        let next = skip(text, after, |byte| matches!(byte, b' ' | b'-' | b'.' | b'(' | b')' | b'/'));
        if next == after || next > after + 2 || !is_digit(byte(text, next)) {
            break;
        }
        here = next;
    }
    (PHONE_DIGITS.contains(&digits) && !is_word(byte(text, end))).then_some(end)
}

/// `(212) 555-0123`, `212-555-0123`
fn north_american(text: &[u8], at: usize) -> Option<usize> {
    let bracket = byte(text, at) == b'(';
    let area = at + usize::from(bracket);
    if !matches!(byte(text, area), b'2'..=b'9') || !begins(text, at) {
        return None;
    }
    let mut end = digits(text, area, 3)?;
    if bracket {
        end = skip(text, literal(text, end, b")")?, |byte| byte == b' ');
    } else {
        end = literal(text, end, b"-.")?;
    }
    if !matches!(byte(text, end), b'2'..=b'9') {
        return None;
    }
    let end = digits(text, literal(text, digits(text, end, 3)?, b"-. ")?, 4)?;
    ends(text, end).then_some(end)
}

pub(super) fn ssn(text: &[u8], at: usize) -> Option<usize> {
    if !is_digit(byte(text, at)) || !begins(text, at) {
        return None;
    }
    let group = literal(text, digits(text, at, 3)?, b"-")?;
    let serial = literal(text, digits(text, group, 2)?, b"-")?;
    let end = digits(text, serial, 4)?;
    let (area, group, serial) = (text.get(at..at + 3)?, text.get(group..group + 2)?, text.get(serial..end)?);
    let never = area == b"000" || area == b"666" || group == b"00" || serial == b"0000";
    (!never && ends(text, end)).then_some(end)
}

/// The end of so many digits, and of no more.
fn digits(text: &[u8], at: usize, count: usize) -> Option<usize> {
    (skip(text, at, is_digit) == at + count).then_some(at + count)
}

/// The end of one of these.
fn literal(text: &[u8], at: usize, of: &[u8]) -> Option<usize> {
    of.contains(&byte(text, at)).then_some(at + 1)
}
