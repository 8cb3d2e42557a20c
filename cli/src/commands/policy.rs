//! `postern policy` and `postern freeze`.

use super::{Context, policy_replay, policy_test};
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

/// List the files of policies that are in force, show one, remove one, test what they say
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
    /// Explain what would become of a statement, by policies in force or by changed ones; it is not run
    ///
    /// Exit codes: 0 it is allowed, 3 it is denied, or needs a review (`outcome` in --json tells which), 1 it is not
    /// understood, or cannot be tested.
    #[command(after_help = "Examples:
  postern policy test --as agent:ci --on demo --role read --sql 'SELECT * FROM orders'
  postern policy test --as agent:ci --on demo --role write --sql 'DELETE FROM orders' changed.cedar
  postern policy test --as user:alice@example.com --on ledger --at 2026-12-24T20:00:00Z --from 192.0.2.7 --sql 'SELECT 1'")]
    Test(Box<policy_test::TestArgs>),
    /// Tell which of the recorded statements changed policies would decide otherwise
    ///
    /// Each is decided anew on the facts that the audit keeps: by the policies of then, and by the changed ones.
    #[command(after_help = "Examples:
  postern policy replay changed.cedar
  postern policy replay --on orders-prod --since 7d changed.cedar --json")]
    Replay(policy_replay::ReplayArgs),
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
        PolicyCommand::Test(args) => policy_test::run(context, *args).await,
        PolicyCommand::Replay(args) => policy_replay::run(context, args).await,
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
