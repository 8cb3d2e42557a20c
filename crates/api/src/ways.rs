//! Which ways in to a connection somebody has, and why: the answer to `postern whoami --on`.

use crate::{
    document::{Bind, RoleMode},
    identity::PrincipalRef,
};
use postern_types::{id::GrantId, time::Micros};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The query of `GET /connections/{name}/access`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WaysInQuery {
    /// The user for whom an agent would ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
}

/// The answer to `GET /connections/{name}/access`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaysIn {
    /// The connection's name.
    pub connection: String,
    /// Who would ask.
    pub principal: PrincipalRef,
    /// The groups that they are in.
    pub groups: Vec<String>,
    /// For whom.
    pub on_behalf_of: Option<PrincipalRef>,
    /// The access roles that they may know of, by name.
    pub roles: Vec<WayIn>,
}

/// An access role, and what it is to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WayIn {
    /// The access role's name.
    pub role: String,
    /// How it becomes a database role.
    pub mode: RoleMode,
    /// That role; absent: the one login that the connector has.
    pub database_role: Option<String>,
    /// Whether nothing but reading is let through.
    pub read_only: bool,
    /// The longest that can be asked for.
    pub max_duration: String,
    /// What its grants are bound to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bind: Vec<Bind>,
    /// Why it may be asked for, or not.
    pub because: String,
    /// What the answer to a request would be.
    pub answer: Foreseen,
    /// The rule that answers it.
    pub rule: String,
    /// Whether policies let a session begin by it now.
    pub connects: bool,
    /// The policies that say so.
    pub policies: Vec<String>,
    /// The newest open grant.
    pub grant: Option<OpenGrant>,
}

/// What the answer to a request would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Foreseen {
    /// A grant at once.
    Granted,
    /// People are asked.
    Review,
    /// It is refused.
    Denied,
}

/// A grant that is there already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenGrant {
    /// Its id.
    #[schema(value_type = String)]
    pub id: GrantId,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Micros,
}
