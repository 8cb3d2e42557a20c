//! Clients' sessions.

use crate::identity::PrincipalRef;
use postern_types::{
    id::{GrantId, SessionId},
    time::Micros,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionStatus {
    /// The client proved itself; the database connection is being opened.
    Authorized,
    /// Open.
    Active,
    /// Over.
    Ended,
}

/// One client connection under one grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// What it is killed by.
    #[schema(value_type = String)]
    pub id: SessionId,
    /// Where it stands.
    pub status: SessionStatus,
    /// Under which grant.
    #[schema(value_type = String)]
    pub grant_id: GrantId,
    /// Who.
    pub principal: PrincipalRef,
    /// For whom.
    pub on_behalf_of: Option<PrincipalRef>,
    /// The connection's name.
    pub connection: String,
    /// The access role's name.
    pub role: String,
    /// The database's own role, once it is open.
    pub database_role: Option<String>,
    /// From where.
    pub client_address: String,
    /// Through which gateway.
    pub gateway_id: String,
    /// Through which connector.
    pub connector_id: String,
    /// The database's process, once it is open.
    pub backend_pid: Option<i32>,
    /// What the client calls itself.
    pub application_name: Option<String>,
    /// How the client proved itself.
    pub auth_method: String,
    /// When it was authorized.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Micros,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Micros>,
    /// Why, in a word: `client`, `expired`, `revoked`, `killed`…
    pub end_reason: Option<String>,
}

/// Which sessions to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionFilter {
    /// Those that are not over.
    #[default]
    Active,
    /// Those that are.
    Ended,
    /// Both.
    All,
}

/// The query of `GET /sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SessionsQuery {
    /// Which.
    #[serde(default)]
    #[param(inline)]
    pub status: SessionFilter,
}
