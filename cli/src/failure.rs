//! What a command fails with: the fields of PostgreSQL's errors, and the exit code.

use postern_api::{
    error::{ApiError, ErrorCode},
    policy::PolicyProblem,
};
use postern_mcp::Refusal;
use serde::Serialize;
use std::{fmt, process::ExitCode};

/// Exit codes are an interface: scripts tell by them why a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did not work.
    Failed,
    /// It was called wrongly.
    Usage,
    /// Somebody or some rule said no.
    Denied,
    /// Nobody answered in time.
    Waited,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Denied => 3,
            Exit::Waited => 4,
        })
    }
}

/// Why a command failed, in the words that the user reads. Never holds a secret.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub report: Box<Report>,
}

/// The same as structure, for `--json`.
#[derive(Debug, Serialize)]
pub struct Report {
    pub code: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<PolicyProblem>,
}

impl Failure {
    fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        let report = Box::new(Report {
            code: code.to_owned(),
            message: message.into(),
            detail: None,
            hint: None,
            field: None,
            sqlstate: None,
            problems: Vec::new(),
        });
        Self { exit, report }
    }

    /// It did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, "failed", message)
    }

    /// It was called wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// Somebody or some rule said no.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(Exit::Denied, "denied", message)
    }

    /// Nobody answered in time.
    pub fn waited(message: impl Into<String>) -> Self {
        Self::new(Exit::Waited, "timeout", message)
    }

    /// With the next step.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.report.hint = Some(hint.into());
        self
    }

    /// With more to say.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.report.detail = Some(detail.into());
        self
    }

    /// With the database's own error code.
    pub fn sqlstate(mut self, sqlstate: impl Into<String>) -> Self {
        self.report.sqlstate = Some(sqlstate.into());
        self
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let exit = match error.code {
            ErrorCode::Forbidden | ErrorCode::Reauthenticate => Exit::Denied,
            _ => Exit::Failed,
        };
        let code =
            serde_json::to_value(error.code).ok().and_then(|code| code.as_str().map(str::to_owned)).unwrap_or_default();
        let document = error.document.map(|source| {
            let file = source.file.unwrap_or_else(|| "document".to_owned());
            source.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"))
        });
        let message = match document {
            Some(place) => format!("{place}: {}", error.message),
            None => error.message,
        };
        let ApiError { detail, hint, field, problems, .. } = error;
        Self { exit, report: Box::new(Report { code, message, detail, hint, field, sqlstate: None, problems }) }
    }
}

/// What a statement through a gateway failed with.
impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, detail, hint, field, sqlstate, .. } = refusal;
        let exit = if sqlstate.as_deref() == Some("42501") { Exit::Denied } else { Exit::Failed };
        let [detail, hint, field, sqlstate] = [detail, hint, field, sqlstate].map(|text| text.map(Into::into));
        let (code, message) = (code.into(), message.into());
        Self { exit, report: Box::new(Report { code, message, detail, hint, field, sqlstate, problems: Vec::new() }) }
    }
}

/// For the tools of an AI agent, which tell the same.
impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let Report { code, message, detail, hint, field, sqlstate, .. } = *failure.report;
        let [detail, hint, field, sqlstate] = [detail, hint, field, sqlstate].map(|text| text.map(Into::into));
        Self { detail, hint, field, sqlstate, ..Self::new(&code, message) }
    }
}

/// For the commands that run a part: the chain of causes is what an operator reads.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        write!(f, "error: {}", crate::output::printable(&report.message))?;
        if let Some(field) = &report.field {
            write!(f, " (field `{}`)", crate::output::printable(field))?;
        }
        if let Some(sqlstate) = &report.sqlstate {
            write!(f, " (SQLSTATE {sqlstate})")?;
        }
        for problem in &report.problems {
            write!(f, "\n  {}", place(problem))?;
        }
        if let Some(detail) = &report.detail {
            write!(f, "\n  {}", crate::output::printable(detail))?;
        }
        if let Some(hint) = &report.hint {
            write!(f, "\nhint: {}", crate::output::printable(hint))?;
        }
        Ok(())
    }
}

/// A problem as compilers write it: file, line and column first.
pub fn place(problem: &PolicyProblem) -> String {
    let PolicyProblem { file, line, column, policy, what, hint } = problem;
    let policy = policy.as_ref().map(|policy| format!("policy `{policy}`: ")).unwrap_or_default();
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    crate::output::printable(&format!("{file}:{line}:{column}: {policy}{what}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_error_names_the_file_and_the_field() {
        let error: ApiError = serde_json::from_value(serde_json::json!({
            "code": "invalid", "message": "unknown key `rols`", "field": "rols",
            "document": {"file": "a.yaml", "line": 7, "index": 2}
        }))
        .unwrap();
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(failure.to_string(), "error: a.yaml:7: unknown key `rols` (field `rols`)");
    }

    #[test]
    fn problems_of_policies_have_their_places() {
        let error: ApiError = serde_json::from_value(serde_json::json!({
            "code": "invalid", "message": "there is a problem in the policies",
            "problems": [{ "file": "a.cedar", "line": 3, "column": 8, "policy": "p", "what": "no `x`", "hint": "see" }],
        }))
        .unwrap();
        let text = Failure::from(error).to_string();
        assert_eq!(text, "error: there is a problem in the policies\n  a.cedar:3:8: policy `p`: no `x`; see");
    }

    #[test]
    fn forbidden_exits_as_denied() {
        let error: ApiError =
            serde_json::from_value(serde_json::json!({"code": "forbidden", "message": "no", "hint": "ask"})).unwrap();
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Denied);
        assert_eq!(failure.to_string(), "error: no\nhint: ask");
    }
}
