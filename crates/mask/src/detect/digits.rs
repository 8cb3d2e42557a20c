//! What is made of digits. Each says how many bytes it takes from the start of the text.

use super::ends;

/// Digits of a card.
const LONGEST_CARD: usize = 19;
const SHORTEST_CARD: usize = 13;

/// Digits of a number in E.164, and the fewest that are taken for one.
const LONGEST_PHONE: usize = 15;
const SHORTEST_PHONE: usize = 8;

/// With single spaces or hyphens between digits. Of a longer row of groups, the longest that is right.
pub(super) fn card(text: &[u8]) -> Option<usize> {
    let mut digits = [0u8; LONGEST_CARD];
    let (mut count, mut at, mut found) = (0, 0, None);
    while let Some(byte @ b'0'..=b'9') = text.get(at) {
        *digits.get_mut(count)? = byte - b'0';
        (count, at) = (count + 1, at + 1);
        let rest = text.get(at..).unwrap_or_default();
        let card = digits.get(..count)?;
        if count >= SHORTEST_CARD && ends(rest) && is_issued(card) && luhn(card) {
            found = Some(at);
        }
        if count == LONGEST_CARD {
            break;
        }
        if matches!(rest, [b' ' | b'-', b'0'..=b'9', ..]) {
            at += 1;
        }
    }
    found
}

/// Whether a network has cards that begin so and are so long.
fn is_issued(card: &[u8]) -> bool {
    match card {
        [4, ..] => matches!(card.len(), 13 | 16 | 19),
        [3, 4 | 7, ..] => card.len() == 15,
        [3, 0 | 6 | 8 | 9, ..] => (14..=19).contains(&card.len()),
        [5, ..] | [2, 2..=7, ..] => card.len() == 16,
        [6, ..] | [3, 5, ..] => (16..=19).contains(&card.len()),
        _ => false,
    }
}

fn luhn(card: &[u8]) -> bool {
    let sum: u32 = card
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(*digit) * (1 + u32::from(place % 2 == 1));
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// `123-45-6789`, of numbers that are given out; those that begin with 9 are given to taxpayers without another.
pub(super) fn ssn(text: &[u8]) -> Option<usize> {
    let [a, b, c, first, d, e, second, f, g, h, i, rest @ ..] = text else { return None };
    let (area, group, serial) = ([*a, *b, *c], [*d, *e], [*f, *g, *h, *i]);
    let is_number = [&area[..], &group, &serial].concat().iter().all(u8::is_ascii_digit);
    let separated = first == second && matches!(first, b'-' | b' ');
    let given = area != *b"000" && area != *b"666" && group != *b"00" && serial != *b"0000";
    (is_number && separated && given && ends(rest) && !rest.starts_with(b"-")).then_some(11)
}

/// `+49 30 123456`, or `(212) 555-0123` and its kin.
pub(super) fn phone(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'+' => international(text),
        _ => north_american(text),
    }
}

fn international(text: &[u8]) -> Option<usize> {
    let (mut count, mut at, mut end) = (0, 1, 1);
    while let Some(byte) = text.get(at) {
        match byte {
            b'0' if count == 0 => return None,
            b'0'..=b'9' => {
                count += 1;
                end = at + 1;
            }
            // One separator, or a closing and one more: `+44 (20) 7946`.
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' if count > 0 && at - end < 2 => {}
            _ => break,
        }
        if count > LONGEST_PHONE {
            return None;
        }
        at += 1;
    }
    (count >= SHORTEST_PHONE && ends(text.get(end..)?)).then_some(end)
}

fn north_american(text: &[u8]) -> Option<usize> {
    let (area, rest, opened) = match text {
        [b'(', a, b, c, b')', b' ', rest @ ..] | [b'(', a, b, c, b')', rest @ ..] => ([*a, *b, *c], rest, true),
        [a, b, c, rest @ ..] => ([*a, *b, *c], rest, false),
        _ => return None,
    };
    let (separator, rest) = match rest {
        [first @ (b'-' | b'.' | b' '), rest @ ..] if !opened => (Some(*first), rest),
        rest if opened => (None, rest),
        _ => return None,
    };
    let [d, e, f, second @ (b'-' | b'.' | b' '), g, h, i, j, after @ ..] = rest else { return None };
    let digits = [area[0], area[1], area[2], *d, *e, *f, *g, *h, *i, *j];
    let given = digits.iter().all(u8::is_ascii_digit) && matches!((area[0], d), (b'2'..=b'9', b'2'..=b'9'));
    let same = separator.is_none_or(|first| first == *second);
    (given && same && ends(after) && !after.starts_with(b"-")).then_some(text.len() - after.len())
}
