//! Policies, which are files, and connections that are frozen.

use crate::identity::{PrincipalName, PrincipalRef};
use postern_types::time::Micros;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::ToSchema;

/// A file of policies, as `plan` and `apply` take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// The file's name, without folders: `20-bounded-writes.cedar`. Unique.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// A file of policies that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// The file's name.
    pub name: String,
    /// The version of all policies since which it stands so; 0: it comes with Postern and holds until a file is applied.
    pub version: u64,
    /// Who applied it; absent: whoever started the control plane.
    pub applied_by: Option<PrincipalRef>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub applied_at: Option<Micros>,
    /// What stands in it; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A file of policies as it stood from one version of all policies until another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyVersion {
    /// Since which version it stood so.
    pub version: u64,
    /// Since which it stands so no more; absent: it is in force.
    pub until_version: Option<u64>,
    /// Who applied it; absent: whoever started the control plane.
    pub applied_by: Option<PrincipalRef>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub applied_at: Micros,
    /// What stood in it.
    pub text: String,
}

/// What is wrong with a file of policies, or doubtful in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyProblem {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The policy's `@id`, where it is known which.
    #[serde(default)]
    pub policy: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// A connection on which nobody changes anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Freeze {
    /// Who froze it.
    pub by: Option<PrincipalRef>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Micros,
    /// Why.
    pub reason: Option<String>,
}

/// The answer to `POST /connections/{name}/freeze` and `…/unfreeze`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Frozen {
    /// The connection's name.
    pub connection: String,
    /// The freeze that is in force; absent: there is none.
    pub freeze: Option<Freeze>,
}

/// The body of `POST /policies/test`: what would policies say if this were run? It is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// Who would run it. The groups are those of now.
    pub principal: PrincipalName,
    /// On which connection.
    pub connection: String,
    /// By which access role; may be left out where the connection has one.
    #[serde(default)]
    pub role: Option<String>,
    /// The reason of the grant.
    #[serde(default)]
    pub reason: Option<String>,
    /// When; now, where it is left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Micros>,
    /// The client's address; 0.0.0.0, where it is left out.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub client_address: Option<IpAddr>,
    /// The client's `search_path`; else the login's.
    #[serde(default)]
    pub search_path: Option<String>,
    /// The statements; at most 1 MiB.
    pub sql: String,
    /// Files of policies as they are to be: each stands beside those that are in force, or in the place of the one of its
    /// name. Nothing is changed.
    #[serde(default)]
    pub policies: Vec<PolicyFile>,
}

/// The answer to `POST /policies/test`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyTested {
    /// What becomes of the whole: it is allowed if each statement is.
    pub outcome: PolicyOutcome,
    /// The version of the policies that are in force; those that were tried with them have none.
    pub policy_version: u64,
    /// Each statement, in their order; none where the text is not understood.
    pub statements: Vec<StatementTested>,
    /// Why the text is not understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<SqlProblem>,
    /// What is doubtful in the policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<PolicyProblem>,
}

/// What policies say of one statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatementTested {
    /// The statement.
    pub sql: String,
    /// What becomes of it.
    pub outcome: PolicyOutcome,
    /// Why, for people.
    pub text: String,
    /// Why a read-only access role may not run it, whatever policies say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<SqlProblem>,
    /// The decision, the policies behind each access, and all facts that they have read.
    #[schema(value_type = Object)]
    pub explanation: serde_json::Value,
}

/// What becomes of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyOutcome {
    /// It runs.
    Allowed,
    /// It needs a review. This version cannot ask for one, so that it does not run.
    Held,
    /// It does not run.
    Denied,
    /// It does not run, since it cannot be told what it would do.
    NotUnderstood,
}

/// What is wrong with a statement, in the words of PostgreSQL's errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SqlProblem {
    /// The code that the client gets.
    pub sqlstate: String,
    /// What is wrong.
    pub message: String,
    /// More, or empty.
    pub detail: String,
    /// What to do.
    pub hint: String,
    /// Where in the text, in characters from 1, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
}

/// The body of `POST /policies/replay`: how would the newest recorded statements be decided by changed policies?
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyReplay {
    /// Files of policies as they are to be, as for `POST /policies/test`; none: those in force.
    #[serde(default)]
    pub policies: Vec<PolicyFile>,
    /// Those on this connection only.
    #[serde(default)]
    pub connection: Option<String>,
    /// From then on.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Micros>,
    /// Before then.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Micros>,
    /// The newest so many (10,000, which is the most).
    #[serde(default)]
    pub limit: Option<u32>,
}

/// The answer to `POST /policies/replay`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyReplayed {
    /// How many were decided anew.
    pub decided: u32,
    /// How many could not be, since policies were not asked when they were sent.
    pub undecided: u32,
    /// Those that would be decided otherwise, newest first.
    pub differing: Vec<Differing>,
    /// What is doubtful in the policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<PolicyProblem>,
}

/// A recorded statement that would be decided otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Differing {
    /// The event's id.
    pub id: String,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub at: Micros,
    /// Who, by name.
    pub principal: Option<String>,
    /// The connection's name.
    pub connection: Option<String>,
    /// The access role's name.
    pub role: Option<String>,
    /// The text.
    pub sql: Option<String>,
    /// What the policies of then say.
    pub was: Decided,
    /// What the changed ones say.
    pub would_be: Decided,
}

/// What policies say of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decided {
    /// What becomes of it.
    pub outcome: PolicyOutcome,
    /// The same, with limits, reviewers or the reason, for people.
    pub text: String,
    /// The policies that say so.
    pub policies: Vec<String>,
}
