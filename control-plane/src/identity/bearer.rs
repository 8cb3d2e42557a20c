//! What a client says in the SASL mechanism OAUTHBEARER ([RFC 7628](https://www.rfc-editor.org/rfc/rfc7628)), as PostgreSQL
//! speaks it from version 18 on, and what it is answered.

use secrecy::SecretString;
use serde_json::json;
use thiserror::Error;

/// Parts keys and values.
const KVSEP: u8 = 0x01;

/// What a client sends once it has read why its token was refused.
pub const DUMMY: &[u8] = &[KVSEP];

/// Why a message is not read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("malformed OAUTHBEARER message: {0}")]
pub struct Malformed(&'static str);

/// The token that a client's first message carries; none: it asks where tokens are to be had.
///
/// # Errors
/// When the message is malformed.
pub fn read(message: &[u8]) -> Result<Option<SecretString>, Malformed> {
    let message = std::str::from_utf8(message).map_err(|_| Malformed("it is not UTF-8"))?;
    if message.contains('\0') {
        return Err(Malformed("it contains a zero byte"));
    }
    let (flag, rest) = message.split_once(',').ok_or(Malformed("no channel binding flag"))?;
    if !matches!(flag, "n" | "y") {
        return Err(Malformed("the mechanism binds no channel"));
    }
    let (authzid, rest) = rest.split_once(',').ok_or(Malformed("no authorization identity"))?;
    if !authzid.is_empty() {
        return Err(Malformed("an authorization identity is not supported"));
    }
    let separator = char::from(KVSEP);
    let pairs = rest.strip_prefix(separator).ok_or(Malformed("no key and value"))?;
    let pairs = pairs.strip_suffix(separator).ok_or(Malformed("it does not end"))?;
    let mut auth = None;
    for pair in pairs.split_terminator(separator) {
        let (key, value) = pair.split_once('=').ok_or(Malformed("a key has no value"))?;
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(Malformed("a key is not of letters"));
        }
        if key == "auth" && auth.replace(value).is_some() {
            return Err(Malformed("there are two tokens"));
        }
    }
    match auth.ok_or(Malformed("no token"))? {
        "" => Ok(None),
        value => token(value).map(Some),
    }
}

/// RFC 6750, section 2.1: `Bearer` in any case, one space or more, the token.
fn token(value: &str) -> Result<SecretString, Malformed> {
    let (scheme, token) = value.split_once(' ').ok_or(Malformed("the token has no scheme"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Malformed("the token's scheme is another than Bearer"));
    }
    let token = token.trim_start_matches(' ');
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    let body = token.trim_end_matches('=');
    if body.is_empty() || !body.bytes().all(is_of_token) {
        return Err(Malformed("the token is empty or has characters that none has"));
    }
    Ok(SecretString::from(token.to_owned()))
}

/// Why there is no session, and where tokens are to be had: `issuer` is the control plane's address.
#[must_use]
pub fn refusal(issuer: &str) -> String {
    json!({ "status": "invalid_token", "openid-configuration": format!("{issuer}/.well-known/openid-configuration") })
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_fuzz::{mangled, proptest, target};
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    fn check(message: &str, expect: Result<Option<&str>, &'static str>) {
        let found = read(message.as_bytes());
        let found = found.as_ref().map(|token| token.as_ref().map(|token| token.expose_secret()));
        assert_eq!(found.map_err(|malformed| malformed.0), expect, "{message:?}");
    }

    #[test]
    fn messages() {
        check("n,,\x01auth=Bearer abc-._~+/1==\x01\x01", Ok(Some("abc-._~+/1==")));
        check("y,,\x01host=h\x01port=5432\x01auth=bEARER  abc\x01\x01", Ok(Some("abc")));
        check("n,,\x01auth=\x01\x01", Ok(None));
        for (message, why) in [
            ("", "no channel binding flag"),
            ("n", "no channel binding flag"),
            ("p=tls-server-end-point,,\x01auth=Bearer abc\x01\x01", "the mechanism binds no channel"),
            ("n\x01auth=Bearer abc\x01\x01", "no channel binding flag"),
            ("n,", "no authorization identity"),
            ("n,a=admin,\x01auth=Bearer abc\x01\x01", "an authorization identity is not supported"),
            ("n,,auth=Bearer abc\x01\x01", "no key and value"),
            ("n,,\x01auth=Bearer abc", "it does not end"),
            ("n,,\x01", "it does not end"),
            ("n,,\x01\x01", "no token"),
            ("n,,\x01auth\x01\x01", "a key has no value"),
            ("n,,\x01=Bearer abc\x01\x01", "a key is not of letters"),
            ("n,,\x01au th=Bearer abc\x01\x01", "a key is not of letters"),
            ("n,,\x01host=h\x01\x01", "no token"),
            ("n,,\x01auth=Bearer abc\x01auth=Bearer abd\x01\x01", "there are two tokens"),
            ("n,,\x01auth=\x01auth=Bearer abc\x01\x01", "there are two tokens"),
            ("n,,\x01auth=abc\x01\x01", "the token has no scheme"),
            ("n,,\x01auth=Basic abc\x01\x01", "the token's scheme is another than Bearer"),
            ("n,,\x01auth=Bearer \x01\x01", "the token is empty or has characters that none has"),
            ("n,,\x01auth=Bearer a b\x01\x01", "the token is empty or has characters that none has"),
            ("n,,\x01auth=Bearer a\u{e9}\x01\x01", "the token is empty or has characters that none has"),
            ("n,,\x01auth=Bearer ==\x01\x01", "the token is empty or has characters that none has"),
            ("n,,\x01auth=Bearer a=b\x01\x01", "the token is empty or has characters that none has"),
            ("n,,\x01auth=Bearer abc\0\x01\x01", "it contains a zero byte"),
        ] {
            check(message, Err(why));
        }
        assert_eq!(read(b"n,,\x01auth=Bearer \xff\x01\x01").unwrap_err(), Malformed("it is not UTF-8"));
    }

    target!(fuzz_bearer, mangled(Just(b"n,,\x01auth=Bearer abc\x01\x01".to_vec())), |message| {
        if let Ok(Some(token)) = read(&message) {
            let token = token.expose_secret().as_bytes();
            prop_assert!(message.windows(token.len()).any(|window| window == token), "what was not sent");
        }
        Ok(())
    });
}
