//! By what machines prove which they are: identity tokens that they exchange for one of Postern's (RFC 8693), or certificates
//! (RFC 8705).

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use utoipa::ToSchema;

/// How a client asks for a token that has shown a certificate: the grant type `client_credentials` of RFC 6749.
pub const CERTIFICATE_GRANT: &str = "client_credentials";

/// How long a token lives that was exchanged, where a document does not say.
pub const DEFAULT_TOKEN_LIFETIME: &str = "15m";

/// What tells machines apart, and which agents those are here: a platform by its signed tokens, or authorities by the
/// certificates that they sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerDocument {
    /// Unique.
    pub name: String,
    /// The claim `iss` of its tokens; its keys are found below it, as OpenID Connect Discovery says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What its tokens have to be made for: the claim `aud`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// In the place of both: the certificates of authorities, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
    /// Who its tokens or certificates are. The first whose conditions hold counts.
    pub agents: Vec<IssuerAgent>,
}

/// By what an issuer's machines prove which they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// By tokens.
    Tokens {
        /// Their claim `iss`.
        url: &'a str,
        /// Their claim `aud`.
        audience: &'a str,
    },
    /// By certificates of these authorities.
    Certificates(&'a str),
}

impl IssuerDocument {
    /// By what its machines prove which they are; none: it says neither, or both.
    #[must_use]
    pub fn proof(&self) -> Option<Proof<'_>> {
        match (self.url.as_deref(), self.audience.as_deref(), self.authorities.as_deref()) {
            (Some(url), Some(audience), None) => Some(Proof::Tokens { url, audience }),
            (None, None, Some(authorities)) => Some(Proof::Certificates(authorities)),
            _ => None,
        }
    }
}

/// Which tokens or certificates are an agent's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerAgent {
    /// The agent's name.
    pub agent: String,
    /// Claim → what it has to be. A claim within others is given as a JSON Pointer: `/kubernetes.io/namespace`. Of a
    /// certificate `uri`, `dns` and `subject`.
    pub when: BTreeMap<String, ClaimIs>,
    /// What may be asked for, as `connection/role`; absent: whatever the agent may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may: Option<Vec<String>>,
    /// How long the token lives that it gets.
    #[serde(default = "default_lifetime")]
    pub lifetime: String,
}

/// What a claim has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "a claim is compared with a text, a number, true or false, or a list of texts of which it is one"
)]
pub enum ClaimIs {
    /// Exactly so.
    Text(String),
    /// Exactly so.
    Truth(bool),
    /// Exactly so.
    Number(i64),
    /// One of these.
    OneOf(Vec<String>),
}

impl ClaimIs {
    /// Whether a text is what it has to be.
    #[must_use]
    pub fn is_text(&self, text: &str) -> bool {
        match self {
            Self::Text(wanted) => wanted == text,
            Self::OneOf(wanted) => wanted.iter().any(|wanted| wanted == text),
            Self::Truth(_) | Self::Number(_) => false,
        }
    }
}

fn default_lifetime() -> String {
    DEFAULT_TOKEN_LIFETIME.to_owned()
}

/// The answer to a token exchange (RFC 8693, section 2.2.1).
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ExchangedToken {
    /// The bearer token.
    pub access_token: String,
    /// `urn:ietf:params:oauth:token-type:access_token`
    pub issued_token_type: String,
    /// `Bearer`
    pub token_type: String,
    /// Seconds.
    pub expires_in: u64,
}

impl fmt::Debug for ExchangedToken {
    /// Without the token: what is printed ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangedToken").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// Why there is no token (RFC 6749, section 5.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExchangeError {
    /// `invalid_request`, `invalid_client`, `unsupported_grant_type`, `temporarily_unavailable`, ….
    pub error: String,
    /// For people.
    pub error_description: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_compared_with_what_is_written() {
        let document = serde_json::json!({
            "name": "github", "url": "https://token.actions.githubusercontent.com", "audience": "postern",
            "agents": [{ "agent": "ci", "when": {
                "repository": "acme/shop", "run_attempt": 1, "protected": true, "ref": ["refs/heads/main", "refs/heads/next"]
            } }],
        });
        let document: IssuerDocument = serde_json::from_value(document).unwrap();
        let [agent] = document.agents.as_slice() else { panic!("{document:?}") };
        assert_eq!((agent.may.as_deref(), agent.lifetime.as_str()), (None, "15m"));
        assert_eq!(agent.when["run_attempt"], ClaimIs::Number(1));
        assert_eq!(agent.when["protected"], ClaimIs::Truth(true));
        assert!(matches!(&agent.when["ref"], ClaimIs::OneOf(refs) if refs.len() == 2));
        assert!(serde_json::from_value::<ClaimIs>(serde_json::json!({ "like": "x" })).is_err());
    }

    #[test]
    fn an_issuers_machines_have_tokens_or_certificates() {
        let of = |url, audience, authorities| {
            let text = |given: bool| given.then(|| "x".to_owned());
            let (url, audience, authorities) = (text(url), text(audience), text(authorities));
            IssuerDocument { name: "it".to_owned(), url, audience, authorities, agents: Vec::new() }
        };
        assert_eq!(of(true, true, false).proof(), Some(Proof::Tokens { url: "x", audience: "x" }));
        assert_eq!(of(false, false, true).proof(), Some(Proof::Certificates("x")));
        for (url, audience, authorities) in [
            (false, false, false),
            (true, false, false),
            (false, true, false),
            (true, false, true),
            (false, true, true),
            (true, true, true),
        ] {
            assert_eq!(of(url, audience, authorities).proof(), None, "{url} {audience} {authorities}");
        }
    }
}
