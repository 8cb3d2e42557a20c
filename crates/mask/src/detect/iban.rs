//! International bank account numbers (ISO 13616).

use super::ends;

/// How long those of a country are, by the registry: countries by length.
const LENGTHS: [(usize, &str); 16] = [
    (15, "NO"),
    (16, "BE"),
    (18, "DK FI FO GL NL SD"),
    (19, "MK SI"),
    (20, "AT BA EE KZ LT LU MN XK"),
    (21, "CH HR LI LV"),
    (22, "BG BH CR DE GB GE IE ME RS VA"),
    (23, "AE GI IL IQ OM SO TL"),
    (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
    (25, "LY PT ST"),
    (26, "IS TR"),
    (27, "FR GR IT MC MR SM"),
    (28, "AL AZ BY CY DO GT HU LB NI PL SV"),
    (29, "BR EG PS QA UA"),
    (30, "JO KW MU"),
    (31, "MT SC"),
];

/// With single spaces between groups. How many bytes it takes.
pub(super) fn iban(text: &[u8]) -> Option<usize> {
    let [a, b, ..] = text else { return None };
    let country = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
    let (length, _) =
        LENGTHS.iter().find(|(_, countries)| countries.split(' ').any(|known| known.as_bytes() == country))?;
    // The first four characters count last, so their part of the remainder is kept apart.
    let (mut front, mut rest, mut at) = (0u32, 0u32, 0);
    for place in 0..*length {
        if place > 0 && text.get(at) == Some(&b' ') {
            at += 1;
        }
        let byte = text.get(at)?.to_ascii_uppercase();
        let value = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'A'..=b'Z' if !matches!(place, 2 | 3) => u32::from(byte - b'A') + 10,
            _ => return None,
        };
        let remainder = if place < 4 { &mut front } else { &mut rest };
        *remainder = (*remainder * if value < 10 { 10 } else { 100 } + value) % 97;
        at += 1;
    }
    // Two letters and two digits are six digits.
    let checked = (rest * (1_000_000 % 97) + front) % 97 == 1;
    (checked && ends(text.get(at..)?)).then_some(at)
}
