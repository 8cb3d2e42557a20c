//! What a client is told of a statement that may not run.

use postern_sql::{
    facts::{self, Action, Cause, Refusal},
    read_only::Reason,
};
use postern_wire::error::Report;

/// Of a string that cannot be understood.
pub fn not_understood(refusal: &Refusal) -> Report {
    let sqlstate = match refusal.cause {
        Cause::Syntax => "42601",
        Cause::Unresolved => "0A000",
        Cause::Missing => missing(&refusal.message),
        Cause::TooComplex => "54001",
    };
    let detail = refusal.position.map(|at| format!("At byte {at} of the query string.")).unwrap_or_default();
    Report { sqlstate: sqlstate.to_owned(), message: refusal.message.clone(), detail, hint: refusal.hint.clone() }
}

/// PostgreSQL's own code for what does not exist, which drivers look at.
fn missing(message: &str) -> &'static str {
    match message.split_whitespace().next() {
        Some("column") => "42703",
        Some("function" | "procedure" | "operator") => "42883",
        Some("type") => "42704",
        Some("schema") => "3F000",
        _ => "42P01",
    }
}

/// Of a statement that does more than read, under an access role that only reads.
pub fn more_than_reading(role: &str, statement: &facts::Statement, reason: &Reason) -> Report {
    let writes =
        statement.accesses.iter().find(|access| access.action != Action::Read && access.action != Action::Call);
    let what =
        writes.map_or_else(|| reason.to_string(), |access| format!("{} on {}", access.action.as_str(), access.object));
    Report {
        sqlstate: "42501".to_owned(),
        message: format!("permission denied by Postern: the access role \"{role}\" only reads: {what}"),
        detail: format!("Refused was the {} statement at byte {}.", statement.tag, statement.span.start),
        hint: "Read only, or ask for an access role that may do this: `postern connections` lists them, `postern \
               request` asks."
            .to_owned(),
    }
}

/// Adds which of several statements it was.
pub(super) fn of_several(mut report: Report, statement: &facts::Statement) -> Report {
    let which =
        format!("Refused was the {} statement at byte {} of the query string.", statement.tag, statement.span.start);
    report.detail = if report.detail.is_empty() { which } else { format!("{} {which}", report.detail) };
    report
}

/// Of what was prepared when names meant something else.
pub(super) fn names_have_changed() -> Report {
    Report::new(
        "0A000",
        "the statement was prepared when names may have meant something else",
        "Prepare it again, under a name that was not used before.",
    )
}

/// Of what was prepared while the session's statements were not looked at, with the code by which drivers prepare it again.
pub(super) fn prepared_unseen() -> Report {
    Report::new(
        "26000",
        "the statement was prepared before the session's statements had to be understood, so it may not run",
        "Prepare it again, under a name that was not used before.",
    )
}

/// Of what a message runs and SQL has made, or nobody has.
pub(super) fn made_unseen(name: &str) -> Report {
    Report::new(
        "26000",
        format!("it was not seen how {name:?} was prepared or declared, so it may not run"),
        "Prepare or declare it in this session.",
    )
}

/// Of a transaction that would commit what it changed before a freeze.
pub(super) fn frozen(what: &str) -> Report {
    Report {
        sqlstate: "42501".to_owned(),
        message: format!("{what} is forbidden by policy `postern:freeze`: changes on this connection are frozen"),
        detail: "Policies: postern:freeze.".to_owned(),
        hint: "Reading is still possible: roll back. Changes can be made again once the freeze is lifted.".to_owned(),
    }
}
