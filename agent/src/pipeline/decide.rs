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

/// Decides one statement, by its judge. The function-call message is refused: it names a function by number, carries binary
/// arguments, and no driver has used it for twenty years.
pub fn decide(statement: &Statement, judge: &mut Judge, failed: bool) -> Decision {
    if statement.kind == StatementKind::FunctionCall {
        return Decision::Deny(Report::new(
            "0A000",
            "the function-call message is refused",
            "Call the function by a SELECT statement instead.",
        ));
    }
    judge.decide(statement, failed)
}

/// The refusal of a statement that is too large to be looked at.
pub fn too_large(length: usize, limit: usize) -> Report {
    Report::new(
        "54000",
        format!("a statement of {length} bytes is too large to be inspected, so it is refused"),
        format!("The limit is {limit} bytes. Send large values as parameters or by COPY, which have none."),
    )
}
