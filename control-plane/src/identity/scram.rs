//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), as PostgreSQL speaks it.
//!
//! An exchange is a chain of states, each consumed by the step to the next: [`ClientFirst`] is read,
//! [`ClientFirst::challenge`] gives a [`Challenge`] and what to send, [`Challenge::verify`] gives [`Proved`].
//! A user that does not exist is played with [`Verifier::decoy`], which nobody can prove.

use aws_lc_rs::{
    constant_time,
    digest::{self, SHA256, SHA256_OUTPUT_LEN},
    hmac, pbkdf2, rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, num::NonZeroU32, str::FromStr};
use thiserror::Error;

/// PostgreSQL's own number of iterations.
const ITERATIONS: NonZeroU32 = match NonZeroU32::new(4096) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};

/// Most iterations that are accepted in a stored verifier.
const MAX_ITERATIONS: u32 = 10_000_000;

const SALT_BYTES: usize = 16;

/// Bytes of randomness in the server's part of the nonce.
const NONCE_BYTES: usize = 18;

/// Longest message of a client that is read.
const MAX_MESSAGE_BYTES: usize = 4096;

type Key = [u8; SHA256_OUTPUT_LEN];

/// Why an exchange cannot go on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ScramError {
    /// The client broke the protocol.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// The client asked for a mechanism that is not offered.
    #[error("the client selected an authentication mechanism that is not offered")]
    UnknownMechanism,
    /// The client believes that the server cannot bind the channel, which it offered: someone is between.
    #[error("SCRAM channel binding negotiation failed")]
    Negotiation,
    /// The client saw another certificate than the gateway's.
    #[error("SCRAM channel binding check failed")]
    ChannelBinding,
    /// The proof is wrong.
    #[error("the proof is wrong")]
    BadProof,
    /// The system's random generator failed.
    #[error("the system's random generator failed")]
    Random,
}

/// A verifier that cannot be made or read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VerifierError {
    /// Only printable ASCII needs no normalization, and Postern makes no other secrets.
    #[error("the secret is empty or not printable ASCII")]
    Secret,
    /// Not `SCRAM-SHA-256$iterations:salt$stored:server`.
    #[error("the SCRAM verifier cannot be read")]
    Format,
    /// The system's random generator failed.
    #[error("the system's random generator failed")]
    Random,
}

/// What proves a secret without being it, as PostgreSQL keeps it in `pg_authid`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
    decoy: bool,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier for a secret, with a fresh salt.
    ///
    /// # Errors
    /// When the secret is not printable ASCII, or the system's generator fails.
    pub fn derive(secret: &SecretString) -> Result<Self, VerifierError> {
        let mut salt = vec![0u8; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| VerifierError::Random)?;
        Self::with_salt(secret, salt, ITERATIONS)
    }

    fn with_salt(secret: &SecretString, salt: Vec<u8>, iterations: NonZeroU32) -> Result<Self, VerifierError> {
        let secret = secret.expose_secret().as_bytes();
        if secret.is_empty() || !secret.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            return Err(VerifierError::Secret);
        }
        let mut salted: Key = [0; SHA256_OUTPUT_LEN];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, secret, &mut salted);
        let client_key = mac(&salted, b"Client Key");
        let server_key = mac(&salted, b"Server Key");
        zeroize::Zeroize::zeroize(&mut salted);
        Ok(Self { iterations, salt, stored_key: sha256(&client_key), server_key, decoy: false })
    }

    /// The verifier that an unknown user is played with: the same for the same user each time, so that asking
    /// twice shows nothing, and provable by nobody.
    #[must_use]
    pub fn decoy(server_secret: &[u8], user: &str) -> Self {
        let part = |label: &[u8]| mac(server_secret, &[label, b"\0", user.as_bytes()].concat());
        let salt = part(b"salt").into_iter().take(SALT_BYTES).collect();
        Self {
            iterations: ITERATIONS,
            salt,
            stored_key: part(b"stored key"),
            server_key: part(b"server key"),
            decoy: true,
        }
    }

    /// Whether nobody can prove it.
    #[must_use]
    pub fn is_decoy(&self) -> bool {
        self.decoy
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            BASE64.encode(&self.salt),
            BASE64.encode(self.stored_key),
            BASE64.encode(self.server_key)
        )
    }
}

impl FromStr for Verifier {
    type Err = VerifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (parameters, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
            let (iterations, salt) = parameters.split_once(':')?;
            let (stored, server) = keys.split_once(':')?;
            let iterations: NonZeroU32 = iterations.parse().ok()?;
            let key = |text: &str| BASE64.decode(text).ok()?.try_into().ok();
            Some(Self {
                iterations,
                salt: BASE64.decode(salt).ok()?,
                stored_key: key(stored)?,
                server_key: key(server)?,
                decoy: false,
            })
        };
        read()
            .filter(|verifier| !verifier.salt.is_empty() && verifier.iterations.get() <= MAX_ITERATIONS)
            .ok_or(VerifierError::Format)
    }
}

/// Which of the two mechanisms a client chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// `SCRAM-SHA-256`.
    Plain,
    /// `SCRAM-SHA-256-PLUS`: bound to the TLS connection.
    Plus,
}

impl Mechanism {
    /// As tickets and the audit name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "scram-sha-256",
            Self::Plus => "scram-sha-256-plus",
        }
    }
}

impl FromStr for Mechanism {
    type Err = ScramError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "SCRAM-SHA-256" => Ok(Self::Plain),
            "SCRAM-SHA-256-PLUS" => Ok(Self::Plus),
            _ => Err(ScramError::UnknownMechanism),
        }
    }
}

/// The client's first message, read and found in order.
#[derive(Debug)]
pub struct ClientFirst {
    mechanism: Mechanism,
    /// What `c=` of the client's final message has to be.
    expected_binding: Vec<u8>,
    bare: String,
    nonce: String,
}

/// The server's challenge was sent; the client's proof is awaited.
#[derive(Debug)]
pub struct Challenge {
    mechanism: Mechanism,
    expected_binding: Vec<u8>,
    verifier: Verifier,
    /// `client-first-message-bare,server-first-message`.
    transcript: String,
    nonce: String,
}

/// The client proved its secret.
#[derive(Debug)]
pub struct Proved {
    /// The mechanism by which it did.
    pub mechanism: Mechanism,
    /// The server's own proof, to be sent in AuthenticationSASLFinal.
    pub server_final: String,
}

impl ClientFirst {
    /// Reads the first message. `binding` is the hash of the certificate that the client saw: empty where the
    /// mechanism with channel binding was not offered.
    ///
    /// # Errors
    /// When the message is malformed, or its channel binding does not fit mechanism and connection.
    pub fn read(mechanism: Mechanism, binding: &[u8], message: &[u8]) -> Result<Self, ScramError> {
        let message = text(message)?;
        let (flag, rest) = message.split_once(',').ok_or(ScramError::Malformed("no channel binding flag"))?;
        let (authzid, bare) = rest.split_once(',').ok_or(ScramError::Malformed("no authorization identity"))?;
        check_flag(mechanism, flag, !binding.is_empty())?;
        if !authzid.is_empty() {
            return Err(ScramError::Malformed("an authorization identity is not supported"));
        }
        let mut attributes = bare.split(',');
        // The name is ignored, as PostgreSQL does: the startup packet's user counts. A mandatory extension
        // (`m=`) would stand in its place.
        attribute('n', attributes.next()).map_err(|_| ScramError::Malformed("no user name"))?;
        let nonce = attribute('r', attributes.next())?;
        if nonce.is_empty() || !nonce.bytes().all(is_nonce_byte) {
            return Err(ScramError::Malformed("the nonce is empty or not printable"));
        }
        check_extensions(attributes)?;
        let mut expected_binding = format!("{flag},{authzid},").into_bytes();
        if mechanism == Mechanism::Plus {
            expected_binding.extend_from_slice(binding);
        }
        Ok(Self { mechanism, expected_binding, nonce: nonce.to_owned(), bare: bare.to_owned() })
    }

    /// The challenge to this client, and the message that carries it.
    ///
    /// # Errors
    /// When the system's random generator fails.
    pub fn challenge(self, verifier: Verifier) -> Result<(Challenge, String), ScramError> {
        let mut random = [0u8; NONCE_BYTES];
        rand::fill(&mut random).map_err(|_| ScramError::Random)?;
        Ok(self.challenge_with(verifier, &BASE64.encode(random)))
    }

    fn challenge_with(self, verifier: Verifier, server_nonce: &str) -> (Challenge, String) {
        let nonce = format!("{}{server_nonce}", self.nonce);
        let message = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let transcript = format!("{},{message}", self.bare);
        let challenge = Challenge {
            mechanism: self.mechanism,
            expected_binding: self.expected_binding,
            verifier,
            transcript,
            nonce,
        };
        (challenge, message)
    }
}

impl Challenge {
    /// Checks the client's final message.
    ///
    /// # Errors
    /// [`ScramError::BadProof`] when it is well-formed and proves nothing, another when it is malformed.
    pub fn verify(self, message: &[u8]) -> Result<Proved, ScramError> {
        let message = text(message)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed("no proof"))?;
        let mut attributes = without_proof.split(',');
        let binding = BASE64
            .decode(attribute('c', attributes.next())?)
            .map_err(|_| ScramError::Malformed("the channel binding is not base64"))?;
        let nonce = attribute('r', attributes.next())?;
        check_extensions(attributes)?;
        if constant_time::verify_slices_are_equal(nonce.as_bytes(), self.nonce.as_bytes()).is_err() {
            return Err(ScramError::Malformed("the nonce is not the one of this exchange"));
        }
        if constant_time::verify_slices_are_equal(&binding, &self.expected_binding).is_err() {
            return Err(ScramError::ChannelBinding);
        }
        let proof: Key = BASE64
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(ScramError::Malformed("the proof is not 32 bytes of base64"))?;

        let transcript = format!("{},{without_proof}", self.transcript);
        let signature = mac(&self.verifier.stored_key, transcript.as_bytes());
        let mut client_key = proof;
        for (byte, mask) in client_key.iter_mut().zip(signature) {
            *byte ^= mask;
        }
        let right = constant_time::verify_slices_are_equal(&sha256(&client_key), &self.verifier.stored_key).is_ok();
        if !right || self.verifier.decoy {
            return Err(ScramError::BadProof);
        }
        let server_signature = mac(&self.verifier.server_key, transcript.as_bytes());
        let server_final = format!("v={}", BASE64.encode(server_signature));
        Ok(Proved { mechanism: self.mechanism, server_final })
    }
}

/// What the client says of channel binding has to fit what it chose and what it was offered.
fn check_flag(mechanism: Mechanism, flag: &str, offered: bool) -> Result<(), ScramError> {
    match (mechanism, flag) {
        (Mechanism::Plain, "n") => Ok(()),
        (Mechanism::Plain, "y") if !offered => Ok(()),
        (Mechanism::Plain, "y") => Err(ScramError::Negotiation),
        (Mechanism::Plus, "p=tls-server-end-point") if offered => Ok(()),
        (Mechanism::Plus, "p=tls-server-end-point") => Err(ScramError::UnknownMechanism),
        (Mechanism::Plus, flag) if flag.starts_with("p=") => {
            Err(ScramError::Malformed("unsupported type of channel binding"))
        }
        (Mechanism::Plus, "n" | "y") => Err(ScramError::Malformed("channel binding was chosen and its data left out")),
        (Mechanism::Plain, flag) if flag.starts_with("p=") => {
            Err(ScramError::Malformed("channel binding data without the mechanism for it"))
        }
        _ => Err(ScramError::Malformed("unknown channel binding flag")),
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(ScramError::Malformed("the message is too long"));
    }
    if message.contains(&0) {
        return Err(ScramError::Malformed("the message contains a zero byte"));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("the message is not UTF-8"))
}

/// The value of `letter=value`.
fn attribute(letter: char, part: Option<&str>) -> Result<&str, ScramError> {
    part.and_then(|part| part.strip_prefix(letter)?.strip_prefix('='))
        .ok_or(ScramError::Malformed("an attribute is missing or out of order"))
}

/// Extensions that nobody has defined are ignored, as long as they have the form of one.
fn check_extensions<'a>(parts: impl Iterator<Item = &'a str>) -> Result<(), ScramError> {
    for part in parts {
        let mut bytes = part.bytes();
        // `p` ends a message, so it is no extension.
        let is_name = |byte: u8| byte.is_ascii_alphabetic() && byte != b'p';
        let well_formed = bytes.next().is_some_and(is_name) && bytes.next() == Some(b'=');
        if !well_formed {
            return Err(ScramError::Malformed("an extension is malformed"));
        }
    }
    Ok(())
}

fn is_nonce_byte(byte: u8) -> bool {
    (0x21..0x7f).contains(&byte) && byte != b','
}

fn mac(key: &[u8], message: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    to_key(tag.as_ref())
}

fn sha256(bytes: &[u8]) -> Key {
    to_key(digest::digest(&SHA256, bytes).as_ref())
}

/// SHA-256 gives exactly so many bytes.
fn to_key(bytes: &[u8]) -> Key {
    let mut key = [0; SHA256_OUTPUT_LEN];
    for (to, from) in key.iter_mut().zip(bytes) {
        *to = *from;
    }
    key
}

#[cfg(test)]
#[path = "scram_tests.rs"]
mod tests;
