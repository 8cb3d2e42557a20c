//! Whether a JSON Web Token (RFC 7519) is what an issuer has signed for us, now. Follows RFC 8725, the best current
//! practices: algorithms are ours to choose, and keys are the issuer's, whatever a token says of itself.

use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use serde_json::{Map, Value};
use thiserror::Error;

/// The longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// How far the clocks of the issuer and this machine may be apart, in seconds.
const LEEWAY: u64 = 30;

/// The longest that a token may live, in seconds: what lives longer is a password.
const MAX_LIFETIME: u64 = 24 * 60 * 60;

/// OpenID Connect Core, section 2.
const MAX_SUBJECT_BYTES: usize = 255;

/// Public-key signatures: with a shared secret whoever verifies could sign.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// What is signed.
pub type Claims = Map<String, Value>;

/// Why a token is refused. None says anything that is not in the token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It is longer than any that is looked at.
    #[error("it has more than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// It cannot be read.
    #[error("it is not a signed JSON Web Token: {0}")]
    Malformed(String),
    /// By an algorithm that is not accepted.
    #[error("its algorithm is not among those accepted: {0}")]
    Algorithm(String),
    /// It asks for an extension, or is a token of another kind.
    #[error("its header has `{0}`, which is not accepted")]
    Header(&'static str),
    /// By no key of the issuer's.
    #[error("it is signed by no key that the issuer has")]
    UnknownKey,
    /// Not by the key that it names.
    #[error("its signature is wrong")]
    Signature,
    /// A claim is wrong.
    #[error("its claim `{0}` {1}")]
    Claim(&'static str, &'static str),
}

/// The header, if it is one that is accepted, and the issuer that the token says it is from. Nothing of it is proved. A token
/// that says what kind it is, is of one of these kinds.
///
/// # Errors
/// Why it is refused.
pub fn read(token: &str, kinds: &[&str]) -> Result<(Header, String), Refused> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refused::TooLong);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        ErrorKind::Json(error) if error.to_string().contains("variant") => Refused::Algorithm(error.to_string()),
        _ => Refused::Malformed(error.to_string()),
    })?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Refused::Algorithm(format!("{:?}", header.alg)));
    }
    if header.crit.is_some() {
        return Err(Refused::Header("crit"));
    }
    let kind = header.typ.as_deref().map(|typ| typ.trim_start_matches("application/").to_ascii_lowercase());
    if kind.is_some_and(|kind| !kinds.contains(&kind.as_str())) {
        return Err(Refused::Header("typ"));
    }
    let claims: Claims =
        jsonwebtoken::dangerous::insecure_decode(token).map_err(|error| Refused::Malformed(error.to_string()))?.claims;
    match claims.get("iss") {
        // A list is no issuer: that one of several is ours says nothing.
        Some(Value::String(issuer)) => Ok((header, issuer.clone())),
        _ => Err(Refused::Claim("iss", "names no issuer")),
    }
}

/// Whether there is a key that a token with this header may be signed by.
#[must_use]
pub fn has_key(keys: &JwkSet, header: &Header) -> bool {
    keys.keys.iter().any(|key| may_be(key, header))
}

fn may_be(key: &Jwk, header: &Header) -> bool {
    let common = &key.common;
    let names = match &header.kid {
        Some(kid) => common.key_id.as_ref() == Some(kid),
        None => true,
    };
    let signs = common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    let algorithm = common.key_algorithm.is_none_or(|known| known == KeyAlgorithm::from(header.alg));
    names && signs && algorithm && !matches!(key.algorithm, AlgorithmParameters::OctetKey(_))
}

/// What a token has to be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// By whom it is signed.
    pub issuer: &'a str,
    /// For whom.
    pub audience: &'a str,
    /// Whether it has to say of whom it speaks.
    pub names_subject: bool,
}

/// The claims of a token that is signed by whom and for whom it has to be, and good at this moment (`now`, in seconds).
///
/// # Errors
/// Why it is refused.
pub fn verify(
    token: &str,
    header: &Header,
    keys: &JwkSet,
    expected: &Expected<'_>,
    now: u64,
) -> Result<Claims, Refused> {
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY;
    let mut refused = Refused::UnknownKey;
    // Without a `kid` any of them may be it.
    for key in keys.keys.iter().filter(|key| may_be(key, header)) {
        let Ok(key) = DecodingKey::from_jwk(key) else { continue };
        match jsonwebtoken::decode::<Claims>(token, &key, &validation) {
            Ok(decoded) => return lives(decoded.claims, expected.names_subject, now),
            Err(error) => refused = reason(error.kind()),
        }
        if refused != Refused::Signature {
            break;
        }
    }
    Err(refused)
}

/// A token that lives for a bounded time, from about now.
fn lives(claims: Claims, names_subject: bool, now: u64) -> Result<Claims, Refused> {
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    let (end, begin) = (seconds("exp").unwrap_or(f64::INFINITY), seconds("iat"));
    let now = now as f64;
    if claims.get("iat").is_some() && begin.is_none() {
        return Err(Refused::Claim("iat", "is no time"));
    }
    let begin = begin.unwrap_or(now);
    if begin > now + LEEWAY as f64 {
        return Err(Refused::Claim("iat", "is in the future"));
    }
    if end - begin > MAX_LIFETIME as f64 {
        return Err(Refused::Claim("exp", "is more than a day after it was issued"));
    }
    match claims.get("sub") {
        Some(Value::String(subject)) if subject.len() > MAX_SUBJECT_BYTES => {
            Err(Refused::Claim("sub", "is longer than 255 characters"))
        }
        Some(Value::String(subject)) if !subject.is_empty() => Ok(claims),
        None if !names_subject => Ok(claims),
        _ => Err(Refused::Claim("sub", "names nobody")),
    }
}

fn reason(kind: &ErrorKind) -> Refused {
    match kind {
        ErrorKind::InvalidSignature => Refused::Signature,
        ErrorKind::ExpiredSignature => Refused::Claim("exp", "is over"),
        ErrorKind::ImmatureSignature => Refused::Claim("nbf", "is in the future"),
        ErrorKind::InvalidIssuer => Refused::Claim("iss", "is another issuer"),
        ErrorKind::InvalidAudience => Refused::Claim("aud", "is for somebody else"),
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => Refused::Claim("exp", "is missing"),
            "aud" => Refused::Claim("aud", "is missing"),
            _ => Refused::Claim("iss", "is missing"),
        },
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => Refused::Signature,
        other => Refused::Malformed(format!("{other:?}")),
    }
}
