//! Connectors and gateways, and how they join.

use postern_types::{id::JoinTokenId, time::Micros};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What can be enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartKind {
    /// The process next to a database.
    Connector,
    /// The front door of a region.
    Gateway,
}

impl PartKind {
    /// As written in JSON and in a certificate's URI.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connector => "connector",
            Self::Gateway => "gateway",
        }
    }
}

/// The body of `POST /join-tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateJoinToken {
    /// What may join with it.
    pub kind: PartKind,
    /// Under which name.
    pub name: String,
    /// How long it is good: `1h` when absent.
    #[serde(default)]
    pub expires: Option<String>,
}

/// A join token as it is shown once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedJoinToken {
    /// Not the secret.
    #[schema(value_type = String)]
    pub id: JoinTokenId,
    /// The secret, good for one enrolment. It is shown this once.
    pub token: String,
    /// What may join with it.
    pub kind: PartKind,
    /// Under which name.
    pub name: String,
    /// Until when it is good.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Micros,
}

/// An enrolled connector or gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Part {
    /// `con_…` or `gwy_…`: what it is revoked by.
    pub id: String,
    /// Connector or gateway.
    pub kind: PartKind,
    /// The name under which it was enrolled.
    pub name: String,
    /// Whether its control stream is up.
    pub attached: bool,
    /// When its control stream was last heard of, to the half minute; absent while none is up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub seen_at: Option<Micros>,
    /// What it runs, as it said when it attached.
    pub version: Option<String>,
    /// A gateway's region.
    pub region: Option<String>,
    /// A gateway's address for clients.
    pub client_address: Option<String>,
    /// A gateway's address for connectors.
    pub connector_address: Option<String>,
    /// When it was enrolled.
    #[schema(value_type = String, format = DateTime)]
    pub enrolled_at: Micros,
    /// When its certificate ends unless it is renewed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub certificate_expires_at: Option<Micros>,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Micros>,
}
