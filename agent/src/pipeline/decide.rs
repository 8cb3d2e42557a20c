//! Whether a statement may run.

use super::{
    basis::Basis,
    inspect::{Inspector, Statement},
    judge::Judge,
    limits::Limits,
    mask::Masks,
    review::Consent,
};
use postern_proto::v1::StatementKind;
use postern_wire::error::Report;
use std::rc::Rc;

/// What was decided.
#[derive(Debug)]
pub struct Decision {
    /// Whether it runs.
    pub answer: Answer,
    /// What policies decided by, where they were asked.
    pub basis: Option<Basis>,
    /// The id of the review by which it runs, or does not.
    pub review: Option<Rc<str>>,
}

/// Whether a statement runs.
#[derive(Debug)]
pub enum Answer {
    /// It runs, on these terms if there are any.
    Allow(Option<Box<Terms>>),
    /// It does not, and the client is told this.
    Deny(Report),
}

/// On what terms a statement runs.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// How much it may do.
    pub limits: Limits,
    /// What of its results is masked.
    pub masks: Option<Rc<Masks>>,
    /// Who has to agree first.
    pub consent: Option<Rc<Consent>>,
}

impl Terms {
    /// Whether there is nothing to say of it.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.limits.is_none() && !self.limits.writes_besides && self.masks.is_none() && self.consent.is_none()
    }

    /// Whether nothing of it is to be watched.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.limits.is_none() && self.masks.as_ref().is_none_or(|masks| !masks.hides())
    }
}

impl Decision {
    /// It runs, and policies were not asked.
    pub const ALLOW: Self = Self { answer: Answer::Allow(None), basis: None, review: None };
}

impl From<Refused> for Decision {
    fn from(refused: Refused) -> Self {
        let Refused { report, basis, review } = refused;
        Self { answer: Answer::Deny(*report), basis, review }
    }
}

/// It does not run.
#[derive(Debug)]
pub struct Refused {
    /// What the client is told.
    pub report: Box<Report>,
    /// What policies refused it by, if it was them.
    pub basis: Option<Basis>,
    /// The id of the review by which people have, if they have.
    pub review: Option<Rc<str>>,
}

impl From<Report> for Refused {
    fn from(report: Report) -> Self {
        Self { report: Box::new(report), basis: None, review: None }
    }
}

/// Decides one statement, by its judge. The function-call message is refused: it names a function by number, carries binary
/// arguments, and no driver has used it for twenty years.
pub fn decide(statement: &Statement, judge: &mut Judge, names: &Inspector, failed: bool) -> Decision {
    if statement.kind == StatementKind::FunctionCall {
        let hint = "Call the function by a SELECT statement instead.";
        return Refused::from(Report::new("0A000", "the function-call message is refused", hint)).into();
    }
    judge.decide(statement, names, failed)
}

/// The refusal of a statement that is too large to be looked at.
pub fn too_large(length: usize, limit: usize) -> Report {
    Report::new(
        "54000",
        format!("a statement of {length} bytes is too large to be inspected, so it is refused"),
        format!("The limit is {limit} bytes. Send large values as parameters or by COPY, which have none."),
    )
}
