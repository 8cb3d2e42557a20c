//! Searching the audit.

use crate::identity::{PrincipalKind, PrincipalRef};
use postern_types::time::Micros;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// A statement: decided, and ended once it has.
    Statement,
    /// A session's beginning or end.
    Session,
    /// A login, request, vote, grant, change of configuration, search…
    Control,
    /// A statement that a connector sent for its own purposes, on a connection of its own.
    Connector,
}

/// One event. Which fields are there follows from its type; the others are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEvent {
    /// Unique, and the same in each search.
    pub id: String,
    /// When it happened; of a statement, when it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub at: Micros,
    /// What it is about.
    pub r#type: EventType,
    /// The session's id.
    pub session: Option<String>,
    /// The statement's number in its session, from 1.
    pub seq: Option<u64>,
    /// Who, by name.
    pub principal: Option<String>,
    /// Person or agent.
    pub principal_kind: Option<PrincipalKind>,
    /// For which user, by name.
    pub on_behalf_of: Option<String>,
    /// Under which grant.
    pub grant: Option<String>,
    /// The connection's name.
    pub connection: Option<String>,
    /// The access role's name.
    pub role: Option<String>,
    /// The database's own role.
    pub database_role: Option<String>,
    /// From where.
    pub client_address: Option<String>,
    /// What the client called itself.
    pub application_name: Option<String>,
    /// The statement, verbatim (at most 1 MiB of it).
    pub sql: Option<String>,
    /// How it came: `query`, `parse`, `execute`, `function_call`.
    pub kind: Option<String>,
    /// `allow` or `deny`.
    pub decision: Option<String>,
    /// Which version of the policies decided; null where they were not asked.
    #[serde(default)]
    pub policy_version: Option<u64>,
    /// The policies that decided: of what was denied those that denied it (none: no policy permits it), else all that
    /// permitted it. Null where they were not asked.
    #[serde(default)]
    pub policies: Option<Vec<String>>,
    /// The review by which it ran, or was refused; null where the policies asked nobody.
    #[serde(default)]
    pub review_id: Option<String>,
    /// What each statement of the text was decided by, as policies were told; where it was asked for.
    #[schema(value_type = Vec<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Vec<serde_json::Value>>,
    /// The values of the parameters, where a policy has them recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binds: Option<Binds>,
    /// What became of masked columns in its results; where it uses any, and once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masking: Option<Masking>,
    /// What the connector asked the session's backend by itself for its sake: `names`, `settings`, `counts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<String>,
    /// `ok`, `error`, `skipped`, `prepared` or `unknown`; null while it runs.
    pub outcome: Option<String>,
    /// Rows returned or affected.
    pub rows: Option<u64>,
    /// Bytes of the result.
    pub bytes: Option<u64>,
    /// How long it ran, in milliseconds.
    pub duration_ms: Option<f64>,
    /// The error's code, if it failed.
    pub sqlstate: Option<String>,
    /// What happened: `request.approved`, `session.opened`…
    pub action: Option<String>,
    /// Who did it in the control plane.
    pub actor: Option<PrincipalRef>,
    /// What it was done to: an id or `kind/name`.
    pub subject: Option<String>,
    /// Facts, by action; of a refused statement, the reason.
    #[schema(value_type = Object)]
    pub detail: Option<serde_json::Value>,
}

/// What of a statement's results was masked, and what was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Masking {
    /// The columns that were masked.
    pub columns: Vec<MaskedColumn>,
    /// How many values were, or had something found in them; NULL is none.
    pub values: u64,
    /// Masked columns whose values policies let it show.
    pub shown: Vec<ShownColumn>,
    /// How often which detector found anything in columns without a tag: it was replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detected: BTreeMap<String, u64>,
}

/// A column of a result whose values were masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaskedColumn {
    /// Its name in the result.
    pub name: String,
    /// The masked columns that it derives from: `public.customers.email`.
    pub columns: Vec<String>,
    /// Their tags.
    pub tags: Vec<String>,
    /// The mask: `email`, `partial: 4`; `redact` of what only derives from them.
    pub mask: String,
    /// Its values that were masked.
    #[serde(default)]
    pub values: u64,
}

/// A masked column whose values were shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShownColumn {
    /// Which: `public.customers.email`.
    pub column: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The policies that permit it.
    pub policies: Vec<String>,
}

/// The values with which a statement was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Binds {
    /// The first of them, in their order.
    pub values: Vec<Bind>,
    /// How many more there are, which are over the bound.
    pub omitted: u32,
}

/// One value, as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BoundValue)]
pub struct Bind {
    /// Of a value in text format, the text; of one in binary format, its bytes in base64; null: NULL.
    pub value: Option<String>,
    /// `text` or `binary`.
    pub format: BindFormat,
    /// The length in bytes of the whole, where `value` is only its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
}

/// In which of PostgreSQL's formats a value came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BindFormat {
    /// As text. Bytes that are not UTF-8 are shown as U+FFFD.
    Text,
    /// As the type's binary form.
    Binary,
}

/// Which types of event to look for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventTypes {
    /// Statements.
    #[default]
    Statement,
    /// Sessions' beginnings and ends.
    Session,
    /// What happened in the control plane.
    Control,
    /// What connectors did in databases for their own purposes.
    Connector,
    /// Everything.
    All,
}

/// How many events a search gives when it does not say.
pub const DEFAULT_LIMIT: u32 = 100;

/// The most events that one search gives.
pub const MAX_LIMIT: u32 = 10_000;

/// The query of `GET /audit/events`. Filters are joined by *and*.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// The newest so many (100; at most 10,000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Which types of event.
    #[serde(default)]
    #[param(inline)]
    pub r#type: EventTypes,
    /// A principal's name or id; of a control event, its actor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// An agent's name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The name or id of the user for whom an agent acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// A connection's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// A session's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// A grant's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// Part of the statement, of the subject or of the detail, whatever its case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// An error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// `ok`, `error`, `skipped`, `prepared`, `unknown`, or `running`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// A statement's kind: `query`, `parse`, `execute`, `function_call`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `allow` or `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// A table or the like that statements use, as policies know it: `public.orders`, or `orders` of any schema. Statements
    /// of a grant to which everything is permitted are not understood, and not found by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// From then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Micros>,
    /// Before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Micros>,
    /// What happened: `request.approved`, or all of `request.`; of a statement what it does, with `table` to that:
    /// `read`, `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Also give what statements were decided by.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub facts: bool,
}
