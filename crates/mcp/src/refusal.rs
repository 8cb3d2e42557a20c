//! Why something was not done: the fields of PostgreSQL's errors, which REST and `--json` have too.

use postern_api::error::ApiError;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Display;

/// Why something was not done. Never holds a secret.
// Boxed texts keep results small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Refusal {
    /// The kind: `sql` for what a statement failed with, `cancelled`, `timeout`, or one of the REST API's.
    pub code: Box<str>,
    /// One sentence.
    pub message: Box<str>,
    /// More, where there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
    /// The next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<Box<str>>,
    /// The argument that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<Box<str>>,
    /// PostgreSQL's code of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<Box<str>>,
    /// The review by which people answer the statement: see `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<Box<str>>,
}

impl Refusal {
    /// Of this kind.
    pub fn new(code: &str, message: impl Into<Box<str>>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            detail: None,
            hint: None,
            field: None,
            sqlstate: None,
            review: None,
        }
    }

    /// An argument is wrong.
    pub fn invalid(field: &str, message: impl Into<Box<str>>) -> Self {
        Self { field: Some(field.into()), ..Self::new("invalid", message) }
    }

    /// A part that is needed cannot be reached.
    pub fn unavailable(message: impl Into<Box<str>>) -> Self {
        Self::new("unavailable", message)
    }

    /// A fault of Postern's own.
    pub fn internal(error: &impl Display) -> Self {
        Self::new("internal", format!("an answer could not be read or written: {error}"))
            .hint("Is the command of the same version as the control plane?")
    }

    /// With the next step.
    #[must_use]
    pub fn hint(self, hint: impl Into<Box<str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let code = serde_json::to_value(error.code).ok();
        let code = code.as_ref().and_then(|code| code.as_str()).unwrap_or("internal");
        let ApiError { message, detail, hint, field, .. } = error;
        let [detail, hint, field] = [detail, hint, field].map(|text| text.map(Into::into));
        Self { detail, hint, field, ..Self::new(code, message) }
    }
}
