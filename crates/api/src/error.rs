//! What every failure looks like.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of each answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What failed.
    pub error: ApiError,
}

/// What failed, in the words of PostgreSQL's errors: a caller reads it and corrects itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiError {
    /// The kind of failure, for programs.
    pub code: ErrorCode,
    /// One sentence.
    pub message: String,
    /// More, where there is more to say.
    #[serde(default)]
    pub detail: Option<String>,
    /// The next step.
    #[serde(default)]
    pub hint: Option<String>,
    /// The field that is wrong, as a path: `roles.read.max_duration`.
    #[serde(default)]
    pub field: Option<String>,
    /// The document that is wrong, for `plan` and `apply`.
    #[serde(default)]
    pub document: Option<crate::document::Source>,
    /// Where a browser goes to make it possible. It takes `return_to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_at: Option<String>,
    /// What is wrong with policies, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<crate::policy::PolicyProblem>,
}

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 401: no token, or one that is unknown, expired or revoked.
    Unauthenticated,
    /// 403: known, and not allowed.
    Forbidden,
    /// 403: allowed to whoever has just signed in, in the way that is asked for.
    Reauthenticate,
    /// 404: no such thing, or none that the caller may know of.
    NotFound,
    /// 400: the request or a field of it is wrong.
    Invalid,
    /// 409: not possible in the state that the thing is in.
    Conflict,
    /// 413: over a bound.
    TooLarge,
    /// 503: a part that is needed cannot be reached at the moment.
    Unavailable,
    /// 500: a fault of Postern.
    Internal,
}
