//! Keys and tokens, which their issuers begin with words of their own.

use super::ends;

/// What follows a prefix.
struct Form {
    prefix: &'static [u8],
    /// Besides letters and digits.
    others: &'static [u8],
    least: usize,
    most: usize,
}

const ANY: usize = usize::MAX;

const fn form(prefix: &'static str, others: &'static str, least: usize, most: usize) -> Form {
    Form { prefix: prefix.as_bytes(), others: others.as_bytes(), least, most }
}

const FORMS: [Form; 30] = [
    // Amazon Web Services.
    form("AKIA", "", 16, 16),
    form("ASIA", "", 16, 16),
    // GitHub, GitLab, npm, PyPI.
    form("ghp_", "", 36, ANY),
    form("gho_", "", 36, ANY),
    form("ghu_", "", 36, ANY),
    form("ghs_", "", 36, ANY),
    form("ghr_", "", 36, ANY),
    form("github_pat_", "_", 22, ANY),
    form("glpat-", "-_", 20, ANY),
    form("npm_", "", 36, ANY),
    form("pypi-", "-_", 32, ANY),
    // Slack.
    form("xoxa-", "-", 10, ANY),
    form("xoxb-", "-", 10, ANY),
    form("xoxe-", "-", 10, ANY),
    form("xoxp-", "-", 10, ANY),
    form("xoxr-", "-", 10, ANY),
    form("xoxs-", "-", 10, ANY),
    form("xapp-", "-", 10, ANY),
    // Stripe.
    form("sk_live_", "", 16, ANY),
    form("sk_test_", "", 16, ANY),
    form("rk_live_", "", 16, ANY),
    form("rk_test_", "", 16, ANY),
    form("whsec_", "", 16, ANY),
    // Models.
    form("sk-", "-_", 32, ANY),
    form("hf_", "", 30, ANY),
    // Google, SendGrid, DigitalOcean, Shopify.
    form("AIza", "-_", 35, 35),
    form("ya29.", "-_", 20, ANY),
    form("SG.", "-_.", 60, ANY),
    form("dop_v1_", "", 64, 64),
    form("shpat_", "", 32, 32),
];

const BEGIN: &[u8] = b"-----BEGIN ";
const KEY: &[u8] = b"PRIVATE KEY-----";
const END: &[u8] = b"-----END ";

/// Between `-----BEGIN ` and `PRIVATE KEY-----`: `OPENSSH `, `ENCRYPTED `.
const LONGEST_KEY_KIND: usize = 24;

/// How many bytes it takes.
pub(super) fn token(text: &[u8]) -> Option<usize> {
    if text.starts_with(BEGIN) {
        return private_key(text);
    }
    if text.starts_with(b"eyJ") {
        return web_token(text);
    }
    FORMS.iter().find_map(|Form { prefix, others, least, most }| {
        let rest = text.strip_prefix(*prefix)?;
        let length = run(rest, others);
        let fits = (*least..=*most).contains(&length) && ends(rest.get(length..)?);
        fits.then_some(prefix.len() + length)
    })
}

fn run(text: &[u8], others: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || others.contains(byte)).count()
}

/// A JSON web token: header and claims, each a JSON object in base 64, and a signature.
fn web_token(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (part, (begins, least)) in [(&b"eyJ"[..], 10), (b"eyJ", 10), (b"", 10)].into_iter().enumerate() {
        if part > 0 {
            at += usize::from(text.get(at) == Some(&b'.'));
        }
        let rest = text.get(at..)?;
        let length = run(rest, b"-_");
        if length < least || !rest.starts_with(begins) {
            return None;
        }
        at += length;
    }
    Some(at)
}

/// Up to the line that ends it, or, where there is none, all that follows.
fn private_key(text: &[u8]) -> Option<usize> {
    let head = text.get(BEGIN.len()..)?;
    let head = head.get(..LONGEST_KEY_KIND + KEY.len()).unwrap_or(head);
    let kind = head.windows(KEY.len()).position(|window| window == KEY)?;
    let body = BEGIN.len() + kind + KEY.len();
    let rest = text.get(body..)?;
    let Some(end) = rest.windows(END.len()).position(|window| window == END) else {
        return Some(text.len());
    };
    let last = rest.get(end..)?;
    let line = last.windows(KEY.len()).take(LONGEST_KEY_KIND + END.len()).position(|window| window == KEY);
    Some(line.map_or(text.len(), |line| body + end + line + KEY.len()))
}
