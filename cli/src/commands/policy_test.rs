//! `postern policy test`.

use super::{Context, moment, principal};
use crate::{
    documents,
    failure::{self, Failure},
    output::{self, Format},
};
use postern_api::{
    Micros,
    identity::PrincipalName,
    policy::{PolicyFile, PolicyOutcome, PolicyTest, PolicyTested, SqlProblem},
};
use std::{net::IpAddr, path::PathBuf};

#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// As whom: `user:NAME` or `agent:NAME`
    #[arg(long = "as", value_name = "WHO", value_parser = principal)]
    who: PrincipalName,
    /// On which connection
    #[arg(long = "on", value_name = "CONN")]
    connection: String,
    /// By which access role; may be left out where there is one
    #[arg(long)]
    role: Option<String>,
    /// The grant's reason
    #[arg(long)]
    reason: Option<String>,
    /// When: a time (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Micros>,
    /// The client's address [default: 0.0.0.0]
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The client's search_path [default: the login's]
    #[arg(long, value_name = "PATH")]
    search_path: Option<String>,
    /// The statement; of several each is explained
    #[arg(long)]
    sql: String,
    /// Files of policies as they are to be: each is tried beside those in force, or in the place of the one of its name
    #[arg(value_name = "FILE.cedar")]
    files: Vec<PathBuf>,
}

/// Runs `policy test`.
pub async fn run(context: &Context, args: TestArgs) -> Result<(), Failure> {
    let TestArgs { who, connection, role, reason, at, from, search_path, sql, files } = args;
    let body = PolicyTest {
        principal: who,
        connection,
        role,
        reason,
        at,
        client_address: from,
        search_path,
        sql,
        policies: policies(&files)?,
    };
    let tested: PolicyTested = context.client()?.post("policies/test", &body).await?;
    match context.format {
        Format::Json => output::json(&tested)?,
        Format::Table | Format::Csv => output::write(&text(&tested))?,
    }
    match (tested.outcome, tested.problem) {
        (PolicyOutcome::Allowed, _) => Ok(()),
        (PolicyOutcome::Held, _) => {
            Err(Failure::denied("it does not run: it needs a review, which this version cannot ask for"))
        }
        (PolicyOutcome::NotUnderstood, Some(problem)) => Err(not_understood(problem)),
        (PolicyOutcome::Denied | PolicyOutcome::NotUnderstood, _) => Err(Failure::denied("it does not run")),
    }
}

/// Files of policies, and nothing else.
pub fn policies(files: &[PathBuf]) -> Result<Vec<PolicyFile>, Failure> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let read = documents::read(files, false)?;
    if !read.documents.is_empty() {
        return Err(Failure::usage("these are to be files of policies, whose names end with `.cedar`"));
    }
    Ok(read.policies)
}

/// Nothing was decided, so that it is no denial.
fn not_understood(problem: SqlProblem) -> Failure {
    let SqlProblem { sqlstate, message, detail, hint, position } = problem;
    let failure = Failure::failed(message).sqlstate(sqlstate).hint(hint);
    match position {
        Some(position) => failure.detail(format!("at character {position} of the text")),
        None if detail.is_empty() => failure,
        None => failure.detail(detail),
    }
}

fn text(tested: &PolicyTested) -> String {
    let mut lines: Vec<String> = Vec::new();
    let several = tested.statements.len() > 1;
    for (number, statement) in (1..).zip(&tested.statements) {
        if several {
            lines.push(format!("{number}. {}", output::shortened(&statement.sql, 100)));
        }
        if let Some(problem) = &statement.problem {
            lines.push(format!("denied: {}", problem.message));
            lines.push(format!("  hint: {}", problem.hint));
            lines.push("what policies say:".to_owned());
        }
        lines.extend(statement.text.lines().map(str::to_owned));
    }
    if let (PolicyOutcome::Allowed, Some(problem)) = (tested.outcome, &tested.problem) {
        lines.push("allowed: this grant may do everything, whether it is understood or not".to_owned());
        lines.push(format!("  not understood: {}", problem.message));
    }
    lines.extend(tested.warnings.iter().map(|warning| format!("warning: {}", failure::place(warning))));
    lines.iter().map(|line| format!("{}\n", output::printable(line))).collect()
}
