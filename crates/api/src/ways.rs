//! Which ways in to connections somebody has, and why: what `postern whoami --on` and `postern access` tell.

use crate::{
    document::{Bind, RoleMode},
    identity::{PrincipalRef, Stop},
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
    /// Whether they get it at once in an emergency.
    pub in_emergencies: bool,
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
    /// On whose behalf it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<PrincipalRef>,
}

/// The answer to `GET /principals/{principal}/access`: what somebody can reach, whatever their tokens are narrowed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EffectiveAccess {
    /// Who.
    pub principal: PrincipalRef,
    /// The groups that they are in.
    pub groups: Vec<String>,
    /// The user who answers for an agent.
    pub owner: Option<String>,
    /// May change everything. That alone opens no database.
    pub admin: bool,
    /// May read the whole audit.
    pub auditor: bool,
    /// May do nothing at all.
    pub disabled: bool,
    /// Set while nobody may get or use access as it, or on its behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stop>,
    /// When somebody last came as them, to the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Micros>,
    /// By connection: the access roles that they, or whoever asks this, may know of.
    pub connections: Vec<WaysIn>,
}

/// The query of `GET /connections/{name}/principals`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReachQuery {
    /// Only those who come after this one, as `next` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The answer to `GET /connections/{name}/principals`: who can reach a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reach {
    /// Each with the access roles that they can get or have, agents first, by name.
    pub principals: Vec<WaysIn>,
    /// What `after` has to be for more; absent: these were the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
