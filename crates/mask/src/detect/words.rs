//! What is told by its letters.

use super::{before, byte, is_word, skip};

/// What keys and tokens of well-known services begin with, and how many letters follow at least.
const PREFIXES: &[(&[u8], usize)] = &[
    (b"ghp_", 36),
    (b"gho_", 36),
    (b"ghu_", 36),
    (b"ghs_", 36),
    (b"ghr_", 36),
    (b"github_pat_", 22),
    (b"glpat-", 20),
    (b"npm_", 36),
    (b"pypi-", 32),
    (b"xoxb-", 20),
    (b"xoxp-", 20),
    (b"xoxa-", 20),
    (b"xoxs-", 20),
    (b"sk_live_", 16),
    (b"sk_test_", 16),
    (b"rk_live_", 16),
    (b"rk_test_", 16),
    (b"whsec_", 24),
    (b"sk-", 32),
    (b"AIza", 35),
    (b"ya29.", 20),
    (b"hvs.", 24),
    (b"dop_v1_", 64),
    (b"SG.", 40),
];

/// Access keys' ids of one service: so many capitals and digits, and no more.
const ACCESS_KEYS: [&[u8]; 2] = [b"AKIA", b"ASIA"];
const ACCESS_KEY_LETTERS: usize = 20;

/// What a JSON object begins with in base 64.
const JSON: &[u8] = b"eyJ";

const PEM: &[u8] = b"-----BEGIN ";
const PEM_PRIVATE: &[u8] = b"PRIVATE KEY-----";

/// The longest that stands before an address's `@`, and the longest name after it.
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 253;

pub(super) fn email(text: &[u8], at: usize) -> Option<usize> {
    let is_local = |byte| is_word(byte) || b".+-%'!#$&*/=?^`{|}~".contains(&byte);
    // From a letter on, and from its first: `'ada@example.com'` is one in quotes.
    if !is_word(byte(text, at))
        || is_word(before(text, at))
        || (is_local(before(text, at)) && before(text, at) != b'\'')
    {
        return None;
    }
    let sign = skip(text, at, is_local);
    if byte(text, sign) != b'@' || sign - at > MAX_LOCAL || before(text, sign) == b'.' {
        return None;
    }
    let mut end = sign + 1;
    let mut labels = 0;
    loop {
        let label = skip(text, end, |byte| (is_word(byte) && byte != b'_') || byte == b'-');
        let (begins, ends) = (byte(text, end), before(text, label));
        if label == end || begins == b'-' || ends == b'-' {
            return None;
        }
        labels += 1;
        let top = text.get(end..label)?;
        end = label;
        // The dot at a sentence's end is none of the domain's.
        let goes_on = byte(text, end) == b'.' && is_word(byte(text, end + 1));
        if !goes_on {
            let is_top = top.len() > 1 && top.iter().all(|byte| !byte.is_ascii_digit());
            return (labels > 1 && is_top && end - sign <= MAX_DOMAIN).then_some(end);
        }
        end += 1;
    }
}

pub(super) fn token(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    if rest.starts_with(PEM) {
        let line = skip(text, at + PEM.len(), |byte| byte.is_ascii_uppercase() || byte == b' ' || byte == b'-');
        return text.get(at..line)?.ends_with(PEM_PRIVATE).then_some(line);
    }
    if is_word(before(text, at)) || before(text, at) == b'-' {
        return None;
    }
    if rest.starts_with(JSON) {
        return json_web_token(text, at);
    }
    let letters = skip(text, at, |byte| byte.is_ascii_alphanumeric());
    if ACCESS_KEYS.iter().any(|prefix| rest.starts_with(prefix)) {
        let capitals = skip(text, at, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        let whole = capitals == letters && letters - at == ACCESS_KEY_LETTERS && !is_word(byte(text, letters));
        return whole.then_some(letters);
    }
    let (prefix, least) = PREFIXES.iter().find(|(prefix, _)| rest.starts_with(prefix))?;
    let end = skip(text, at + prefix.len(), |byte| is_token(byte) || byte == b'.');
    // The dot at a sentence's end is none of it.
    let end = if before(text, end) == b'.' { end - 1 } else { end };
    (end >= at + prefix.len() + least).then_some(end)
}

/// Three parts in base 64, the first two of them JSON objects.
fn json_web_token(text: &[u8], at: usize) -> Option<usize> {
    let claims = skip(text, at, is_token);
    if byte(text, claims) != b'.' || !text.get(claims + 1..)?.starts_with(JSON) {
        return None;
    }
    let signature = skip(text, claims + 1, is_token);
    if byte(text, signature) != b'.' {
        return None;
    }
    let end = skip(text, signature + 1, is_token);
    (end > signature + 1).then_some(end)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}
