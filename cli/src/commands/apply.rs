//! `postern plan` and `postern apply`.

use super::Context;
use crate::{documents, failure::Failure, output};
use postern_api::document::{Change, ChangeAction, Changes};
use serde_json::Value;
use std::path::PathBuf;

/// Show what `apply` would change
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern plan connections.yaml people.yaml
  postern plan - < all.yaml")]
pub struct PlanArgs {
    #[command(flatten)]
    files: Files,
}

/// Make connections, access roles, users, agents and groups as the files say
///
/// All of it or nothing: one wrong document, and nothing changes. An object that no file mentions is left
/// alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern plan connections.yaml && postern apply connections.yaml
  postern apply --merge extra-role.yaml")]
pub struct ApplyArgs {
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, clap::Args)]
struct Files {
    /// YAML files with one or more documents each; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Keep what a document does not mention, instead of replacing the whole object
    #[arg(long)]
    merge: bool,
}

/// Runs `plan`.
pub async fn plan(context: &Context, args: PlanArgs) -> Result<(), Failure> {
    let changes = send(context, "plan", &args.files).await?;
    output::one(context.format, &changes, || sentence(&changes.changes, "to change"))
}

/// Runs `apply`.
pub async fn apply(context: &Context, args: ApplyArgs) -> Result<(), Failure> {
    let changes = send(context, "apply", &args.files).await?;
    output::one(context.format, &changes, || sentence(&changes.changes, "changed"))
}

async fn send(context: &Context, path: &str, files: &Files) -> Result<Changes, Failure> {
    let body = documents::read(&files.paths, files.merge)?;
    context.client()?.post(path, &body).await
}

fn sentence(changes: &[Change], verb: &str) -> String {
    let mut lines = Vec::new();
    for change in changes.iter().filter(|change| change.action != ChangeAction::Unchanged) {
        let mark = match change.action {
            ChangeAction::Create => '+',
            ChangeAction::Delete => '-',
            ChangeAction::Update | ChangeAction::Unchanged => '~',
        };
        lines.push(format!("{mark} {} {}", change.kind, change.name));
        for field in &change.fields {
            lines.push(match (&field.from, &field.to) {
                (Value::Null, to) => format!("    + {}: {to}", field.path),
                (from, Value::Null) => format!("    - {}: {from}", field.path),
                (from, to) => format!("    ~ {}: {from} -> {to}", field.path),
            });
        }
    }
    let changed = changes.iter().filter(|change| change.action != ChangeAction::Unchanged).count();
    lines.push(format!("{changed} {verb}, {} as it was.", changes.len() - changed));
    lines.iter().map(|line| output::printable(line)).collect::<Vec<_>>().join("\n")
}
