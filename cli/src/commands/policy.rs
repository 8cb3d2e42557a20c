//! `postern policy` and `postern freeze`.

use super::Context;
use crate::{
    failure::Failure,
    output::{self, Column, Format},
};
use postern_api::{
    access::BecauseOf,
    document::{Apply, Change, ChangeAction, Changes, Source, SourcedDocument},
    policy::{Freeze, Frozen, Policy},
};
use serde_json::json;
use std::io::{self, IsTerminal};

/// List the files of policies that are in force, show one, remove one
///
/// Files are added and changed with `postern apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern policy list
  postern policy show default.cedar > my.cedar
  postern apply my.cedar
  postern policy remove my.cedar")]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum PolicyCommand {
    /// List the files, the newest first
    List,
    /// Write what stands in a file
    Show {
        /// The file's name
        name: String,
    },
    /// Remove a file: what it permitted is no longer permitted, what it forbade no longer forbidden
    Remove {
        /// The file's name
        name: String,
    },
}

/// Let nobody change anything on a connection, whatever policies permit, or lift that
///
/// In force at once, for sessions that run, too. Reading is still possible.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern freeze orders-prod --reason \"incident 4711\"
  postern freeze orders-prod --off")]
pub struct FreezeArgs {
    /// The connection's name
    connection: String,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Lift the freeze
    #[arg(long)]
    off: bool,
}

/// Runs `policy`.
pub async fn policy(context: &Context, args: PolicyArgs) -> Result<(), Failure> {
    match args.command {
        PolicyCommand::List => list(context).await,
        PolicyCommand::Show { name } => {
            let policy: Policy = context.client()?.get(&format!("policies/{name}")).await?;
            match context.format {
                Format::Json => output::json(&policy),
                Format::Table | Format::Csv => show(policy.text.as_deref().unwrap_or_default()),
            }
        }
        PolicyCommand::Remove { name } => remove(context, &name).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let policies: Vec<Policy> = context.client()?.get("policies").await?;
    let columns = [
        Column::text("NAME", |policy: &Policy| policy.name.clone()),
        Column::number("VERSION", |policy| policy.version.to_string()),
        Column::text("APPLIED", |policy| match policy.applied_at {
            Some(at) => output::time(at),
            None => "comes with Postern".to_owned(),
        }),
        Column::text("BY", |policy| policy.applied_by.as_ref().map(|by| by.name.clone()).unwrap_or_default()),
    ];
    output::list(context.format, &policies, &columns, "There is no policy, so that nothing is permitted.")
}

/// As it is for a file or a program; without what would steer a terminal on one.
fn show(text: &str) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return output::write(text);
    }
    let lines: Vec<_> = text.lines().map(|line| output::printable(&line.replace('\t', "    "))).collect();
    output::line(lines.join("\n"))
}

async fn remove(context: &Context, name: &str) -> Result<(), Failure> {
    let document = json!({ "kind": "Policy", "name": name, "delete": true });
    let documents = vec![SourcedDocument { source: Source::default(), document }];
    let body = Apply { documents, policies: Vec::new(), merge: false };
    let changes: Changes = context.client()?.post("apply", &body).await?;
    let removed = |change: &Change| change.action == ChangeAction::Delete;
    if !changes.changes.iter().any(removed) {
        return Err(Failure::failed(format!("there is no policy file `{name}`"))
            .hint("`postern policy list` shows which there are."));
    }
    output::one(context.format, &changes, || format!("The policy file {} is removed.", output::printable(name)))
}

/// Runs `freeze`.
pub async fn freeze(context: &Context, args: FreezeArgs) -> Result<(), Failure> {
    let FreezeArgs { connection, reason, off } = args;
    let path = format!("connections/{connection}/{}", if off { "unfreeze" } else { "freeze" });
    let frozen: Frozen = context.client()?.post(&path, &BecauseOf { reason }).await?;
    output::one(context.format, &frozen, || match &frozen.freeze {
        None => format!("{} is not frozen: changes go by its policies.", output::printable(&frozen.connection)),
        Some(freeze) => format!("{} is {}.", output::printable(&frozen.connection), since(freeze)),
    })
}

/// `frozen since … by alice: incident`.
pub fn since(freeze: &Freeze) -> String {
    let by = freeze.by.as_ref().map(|by| format!(" by {}", by.name)).unwrap_or_default();
    let reason = freeze.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    output::printable(&format!("frozen since {}{by}{reason}", output::time(freeze.at)))
}
