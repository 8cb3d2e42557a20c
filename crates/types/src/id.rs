//! Ids are newtypes over a prefix and a ULID in lower case (`grt_01j…`): sortable by time, safe in URLs,
//! file names and PostgreSQL role names, and not to be confused with each other.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// Text that is not an id of the wanted kind.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not {what}: expected `{prefix}_` and 26 letters and digits")]
pub struct ParseIdError {
    text: String,
    what: &'static str,
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What each id of this kind begins with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, never given before.
            #[must_use]
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                Self(format!("{}_{}", $prefix, ulid::Ulid::generate().to_string().to_ascii_lowercase()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let valid = text
                    .strip_prefix(concat!($prefix, "_"))
                    .is_some_and(|rest| rest.len() == 26 && rest.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
                if valid {
                    Ok(Self(text.to_owned()))
                } else {
                    // Bounded: what a peer sent is echoed in errors.
                    let text = text.chars().take(64).collect();
                    Err(ParseIdError { text, what: $what, prefix: $prefix })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id!(/** A user or an agent. */ PrincipalId, "prn", "a principal's id");
id!(/** A request for access. */ RequestId, "req", "a request's id");
id!(/** A statement that waits for people. */ ReviewId, "rev", "a review's id");
id!(/** A grant; also the PostgreSQL user name of its URL. */ GrantId, "grt", "a grant's id");
id!(/** One secret of a grant. */ CredentialId, "crd", "a credential's id");
id!(/** A client's session. */ SessionId, "ses", "a session's id");
id!(/** An API token, not its secret. */ TokenId, "tok", "a token's id");
id!(/** That somebody has signed in at an identity provider. */ SignInId, "sgn", "a sign-in's id");
id!(/** A browser's session, not its cookie. */ WebSessionId, "web", "a browser session's id");
id!(/** A connector's identity. */ ConnectorId, "con", "a connector's id");
id!(/** A gateway's identity. */ GatewayId, "gwy", "a gateway's id");
id!(/** A join token, not its secret. */ JoinTokenId, "jtk", "a join token's id");
id!(/** One message to one receiver of notifications. */ DeliveryId, "ntf", "a delivery's id");
id!(/** A segment of an outbox. */ SegmentId, "seg", "a segment's id");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_others() {
        let id = GrantId::new();
        assert_eq!(id.as_str().parse::<GrantId>().unwrap(), id);
        assert!(id.as_str().parse::<SessionId>().is_err());
        for bad in ["", "grt_", "grt_01J", "grt_01ARZ3NDEKTSV4RRFFQ69G5FAV", "grt_01arz3ndektsv4rrffq69g5fa'"] {
            assert!(bad.parse::<GrantId>().is_err(), "{bad}");
        }
    }
}
