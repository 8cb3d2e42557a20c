//! Who acts: people, agents, their groups and their tokens.

use crate::provider::SignedIn;
use postern_types::{
    id::{PrincipalId, TokenId},
    time::Micros,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use utoipa::ToSchema;

/// What a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// An AI agent, a CI job, a service account.
    Agent,
}

impl PrincipalKind {
    /// As written in JSON and in `user:alice`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PrincipalKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "user" => Ok(Self::User),
            "agent" => Ok(Self::Agent),
            _ => Err("a principal is `user` or `agent`".to_owned()),
        }
    }
}

/// Who acted or acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrincipalRef {
    /// Person or agent.
    pub kind: PrincipalKind,
    /// For ever the same.
    #[schema(value_type = String)]
    pub id: PrincipalId,
    /// Unique within the kind.
    pub name: String,
}

/// That nobody gets or uses access as somebody, or on their behalf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stop {
    /// Who stopped them.
    pub by: Option<PrincipalRef>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Micros,
    /// Why.
    pub reason: Option<String>,
}

/// The answer to `POST /principals/{principal}/stop` and `…/resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stopped {
    /// Who.
    pub principal: PrincipalRef,
    /// Absent: they may get access again.
    pub stop: Option<Stop>,
    /// How many grants ended by this.
    pub grants: u32,
    /// How many requests were withdrawn, and standing approvals ended, by this.
    pub requests: u32,
}

/// A principal by kind and name, as a caller gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalName {
    /// Person or agent.
    pub kind: PrincipalKind,
    /// Its name.
    pub name: String,
}

impl FromStr for PrincipalName {
    type Err = String;

    /// Reads `user:alice` or `agent:ci`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text.split_once(':').ok_or("write `user:NAME` or `agent:NAME`")?;
        Ok(Self { kind: kind.parse()?, name: name.to_owned() })
    }
}

/// What somebody may do beyond asking for access for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Changes connections, principals, tokens, connectors; ends any grant or session.
    Admin,
    /// Is in a group that reviews at least one access role.
    Reviewer,
    /// Reads the whole audit.
    Auditor,
}

/// The answer to `GET /whoami`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Whoami {
    /// Person or agent.
    pub kind: PrincipalKind,
    /// The caller's id.
    #[schema(value_type = String)]
    pub id: PrincipalId,
    /// The caller's name.
    pub name: String,
    /// The groups that the caller is in.
    pub groups: Vec<String>,
    /// What the caller may do beyond asking.
    pub roles: Vec<Role>,
    /// The token with which this was asked.
    pub token: WhoamiToken,
    /// For whom an agent acts, as that person's token has proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<PrincipalRef>,
    /// How the caller has signed in; absent: by a token that was made for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_in: Option<SignedIn>,
}

/// The token with which a caller came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoamiToken {
    /// Not the secret.
    #[schema(value_type = String)]
    pub id: TokenId,
    /// Absent: it does not expire.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Micros>,
    /// To the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Micros>,
    /// What may be asked for by it, as `connection/role`; absent: whatever its principal may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may: Option<Vec<String>>,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// For ever the same.
    #[schema(value_type = String)]
    pub id: PrincipalId,
    /// Unique among users.
    pub name: String,
    /// By name.
    pub groups: Vec<String>,
    /// May change everything.
    pub admin: bool,
    /// May read the whole audit.
    pub auditor: bool,
    /// May do nothing at all.
    pub disabled: bool,
    /// The identity provider at which they sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<String>,
    /// Set while nobody may get or use access as it, or on its behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stop>,
    /// When somebody last came as it, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Micros>,
    /// When it was first applied.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Micros,
}

/// An AI agent, a CI job, a service account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// For ever the same.
    #[schema(value_type = String)]
    pub id: PrincipalId,
    /// Unique among agents.
    pub name: String,
    /// By name.
    pub groups: Vec<String>,
    /// The user who answers for it.
    pub owner: Option<String>,
    /// May do nothing at all.
    pub disabled: bool,
    /// Set while nobody may get or use access as it, or on its behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stop>,
    /// When somebody last came as it, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Micros>,
    /// When it was first applied.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Micros,
}

/// A group of principals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Unique.
    pub name: String,
    /// As `user:alice` or `agent:ci`.
    pub members: Vec<String>,
    /// When it was first applied.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Micros,
}

/// The body of `POST /tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Whose it is. Absent: the caller's own.
    #[serde(default)]
    pub principal: Option<PrincipalName>,
    /// What it is for, in a few words.
    pub name: String,
    /// How long it lives: `90d`. Absent: until it is deleted.
    #[serde(default)]
    pub expires: Option<String>,
    /// What may be asked for by it, as `connection/role`; absent: whatever its principal may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may: Option<Vec<String>>,
}

/// A token as it is shown once, when it was made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// What it is listed and deleted by.
    #[schema(value_type = String)]
    pub id: TokenId,
    /// The secret. It is shown this once.
    pub token: String,
    /// Whose it is.
    pub principal: PrincipalRef,
    /// What it is for.
    pub name: String,
    /// Absent: it does not expire.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Micros>,
}

/// A token as it is listed: without its secret, which Postern does not keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// What it is deleted by.
    #[schema(value_type = String)]
    pub id: TokenId,
    /// Whose it is.
    pub principal: PrincipalRef,
    /// What it is for.
    pub name: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Micros,
    /// Absent: it does not expire.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Micros>,
    /// To the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Micros>,
    /// What may be asked for by it, as `connection/role`; absent: whatever its principal may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may: Option<Vec<String>>,
}
