//! `postern policy replay`.

use super::{Context, moment, policy_test::policies};
use crate::{
    failure::{self, Failure},
    output,
};
use postern_api::{
    Micros,
    audit::MAX_LIMIT,
    policy::{Decided, PolicyReplay, PolicyReplayed},
};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// On which connection
    #[arg(long = "on", value_name = "CONN")]
    connection: Option<String>,
    /// From then on: a time (RFC 3339), or how long ago (`1h`)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Micros>,
    /// Before then
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<Micros>,
    /// The newest so many [default: 10000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LIMIT)))]
    limit: Option<u32>,
    /// Files of policies as they are to be, each beside those in force, or in the place of the one of its name [default:
    /// those in force]
    #[arg(value_name = "FILE.cedar")]
    files: Vec<PathBuf>,
}

/// Runs `policy replay`.
pub async fn run(context: &Context, args: ReplayArgs) -> Result<(), Failure> {
    let ReplayArgs { connection, since, until, limit, files } = args;
    let body = PolicyReplay { policies: policies(&files)?, connection, since, until, limit };
    let replayed: PolicyReplayed = context.client()?.post("policies/replay", &body).await?;
    output::one(context.format, &replayed, || text(&replayed))
}

fn text(replayed: &PolicyReplayed) -> String {
    let PolicyReplayed { decided, undecided, differing, warnings } = replayed;
    let mut lines = Vec::new();
    for statement in differing {
        let known = |text: &Option<String>| text.clone().unwrap_or_default();
        let (who, connection, role) =
            (known(&statement.principal), known(&statement.connection), known(&statement.role));
        let sql = output::shortened(&known(&statement.sql), 100);
        lines.push(format!("{}  {who} on {connection}, {role}: {sql}", output::time(statement.at)));
        lines.push(format!("    was {}", decision(&statement.was)));
        lines.push(format!("    would be {}", decision(&statement.would_be)));
    }
    lines.extend(warnings.iter().map(|warning| format!("warning: {}", failure::place(warning))));
    lines.push(format!("{} of {decided} would be decided otherwise.", differing.len()));
    if *undecided > 0 {
        lines.push(format!("{undecided} more cannot be told: policies were not asked when they were sent."));
    }
    lines.iter().map(|line| output::printable(line)).collect::<Vec<_>>().join("\n")
}

fn decision(decided: &Decided) -> String {
    match decided.policies.as_slice() {
        [] => decided.text.clone(),
        policies => format!("{} ({})", decided.text, policies.join(", ")),
    }
}
