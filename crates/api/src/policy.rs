//! Policies, which are files, and connections that are frozen.

use crate::identity::PrincipalRef;
use postern_types::time::Micros;
use serde::{Deserialize, Serialize};
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
