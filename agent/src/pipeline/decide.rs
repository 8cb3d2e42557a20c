//! Whether a statement may run.

use super::{inspect::Statement, judge::Judge, limits::Limits};
use postern_proto::v1::StatementKind;
use postern_wire::error::Report;

/// The answer.
#[derive(Debug)]
pub enum Decision {
    /// It runs, within limits if there are any.
    Allow(Option<Box<Limits>>),
    /// It does not, and the client is told this.
    Deny(Report),
}

/// Decides one statement. The function-call message is refused: it names a function by number, carries binary
/// arguments, and no driver has used it for twenty years.
/// A read-only session has a judge, who understands each statement; any other may run what its database role may.
pub fn decide(statement: &Statement, judge: Option<&mut Judge>) -> Decision {
    match (statement.kind, judge) {
        (StatementKind::FunctionCall, _) => Decision::Deny(Report::new(
            "0A000",
            "the function-call message is refused",
            "Call the function by a SELECT statement instead.",
        )),
        (_, Some(judge)) => judge.decide(statement),
        (_, None) => Decision::Allow(None),
    }
}

/// The refusal of a statement that is too large to be looked at.
pub fn too_large(length: usize, limit: usize) -> Report {
    Report::new(
        "54000",
        format!("a statement of {length} bytes is too large to be inspected, so it is refused"),
        format!("The limit is {limit} bytes. Send large values as parameters or by COPY, which have none."),
    )
}
