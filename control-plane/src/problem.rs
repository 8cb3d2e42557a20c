//! Why something was not done, in the words that a caller reads.

use crate::store::StoreError;
use postern_api::{
    document::Source,
    error::{ApiError, ErrorCode},
    policy::PolicyProblem,
};
use postern_proto::v1::ClientError;
use thiserror::Error;

/// Why something was not done. What is in it may be shown to the caller, except a [`Problem::Fault`]'s cause.
#[derive(Debug, Error)]
pub enum Problem {
    /// The caller's doing, or the state of things.
    #[error("{}", .0.message)]
    Told(Box<ApiError>),
    /// Postern's own.
    #[error("the control plane failed")]
    Fault(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Problem {
    fn told(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Told(Box::new(ApiError {
            code,
            message,
            detail: None,
            hint: None,
            field: None,
            document: None,
            continue_at: None,
            problems: Vec::new(),
        }))
    }

    /// Not known who asks.
    #[must_use]
    pub fn unauthenticated(message: &str) -> Self {
        Self::told(ErrorCode::Unauthenticated, message)
            .hint("send `Authorization: Bearer TOKEN`; `postern login` stores a token, POSTERN_TOKEN sets one")
    }

    /// Known, and not allowed.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::told(ErrorCode::Forbidden, message)
    }

    /// Known, and allowed to whoever has just signed in.
    #[must_use]
    pub fn reauthenticate(message: impl Into<String>) -> Self {
        Self::told(ErrorCode::Reauthenticate, message)
    }

    /// No such thing, or none that the caller may know of.
    #[must_use]
    pub fn not_found(what: &str, name: &str) -> Self {
        Self::told(ErrorCode::NotFound, format!("there is no {what} `{}`", shorten(name)))
    }

    /// A field is wrong.
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let problem = Self::told(ErrorCode::Invalid, message);
        problem.with(|error| error.field = Some(field.into()))
    }

    /// Not possible in the state that the thing is in.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::told(ErrorCode::Conflict, message)
    }

    /// Over a bound.
    #[must_use]
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::told(ErrorCode::TooLarge, message)
    }

    /// A part that is needed cannot be reached at the moment.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::told(ErrorCode::Unavailable, message)
    }

    /// A connector could not ask a connection's database.
    #[must_use]
    pub fn of_connector(connection: &str, error: ClientError) -> Self {
        let ClientError { message, detail, hint, .. } = error;
        let problem = Self::unavailable(format!("connection `{connection}`: {message}")).hint(hint);
        if detail.is_empty() { problem } else { problem.detail(detail) }
    }

    /// A fault of Postern's own.
    pub fn fault(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Fault(Box::new(cause))
    }

    /// Policies are wrong: each of the problems is told with its place.
    #[must_use]
    pub fn policies(problems: &[postern_policy::Problem]) -> Self {
        let mut problems = problems.to_vec();
        // What is wrong for each of the actions that a policy is for is wrong once.
        problems.dedup_by(|next, one| {
            let place = |problem: &postern_policy::Problem| (problem.line, problem.column, problem.hint.clone());
            next.file == one.file && next.policy == one.policy && place(next) == place(one)
        });
        let message = match problems.len() {
            1 => "there is a problem in the policies; nothing was applied".to_owned(),
            n => format!("there are {n} problems in the policies; nothing was applied"),
        };
        let told = told(&problems);
        let left = problems.len().saturating_sub(told.len());
        let problem = Self::told(ErrorCode::Invalid, message).with(|error| error.problems = told);
        if left == 0 { problem } else { problem.detail(format!("{left} more are not told")) }
    }

    /// Adds where a browser goes to make it possible.
    #[must_use]
    pub fn continue_at(self, path: String) -> Self {
        self.with(|error| error.continue_at = Some(path))
    }

    /// Adds the next step.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.with(|error| error.hint = Some(hint.into()))
    }

    /// Adds more.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        self.with(|error| error.detail = Some(detail.into()))
    }

    /// Adds the document in which the wrong field is.
    #[must_use]
    pub fn document(self, source: &Source) -> Self {
        self.with(|error| error.document = Some(source.clone()))
    }

    fn with(mut self, change: impl FnOnce(&mut ApiError)) -> Self {
        if let Self::Told(error) = &mut self {
            change(error);
        }
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::fault(error)
    }
}

/// Problems of policies as the API tells them, as many as anybody reads.
#[must_use]
pub fn told(problems: &[postern_policy::Problem]) -> Vec<PolicyProblem> {
    const MOST: usize = 100;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let told = |problem: &postern_policy::Problem| PolicyProblem {
        file: problem.file.clone(),
        line: number(problem.line),
        column: number(problem.column),
        policy: problem.policy.as_ref().map(ToString::to_string),
        what: problem.what.clone(),
        hint: problem.hint.clone(),
    };
    problems.iter().take(MOST).map(told).collect()
}

/// What a caller sent, bounded before it is repeated.
#[must_use]
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
