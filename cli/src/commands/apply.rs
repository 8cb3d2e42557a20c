//! `postern plan` and `postern apply`.

use super::Context;
use crate::{
    documents,
    failure::{self, Failure},
    output,
};
use postern_api::document::{ChangeAction, Changes};
use serde_json::Value;
use std::path::PathBuf;

/// Show what `apply` would change
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern plan connections.yaml people.yaml
  postern plan policies/*.cedar
  postern plan - < all.yaml")]
pub struct PlanArgs {
    #[command(flatten)]
    files: Files,
}

/// Make connections, access roles, users, agents, groups and policies as the files say
///
/// All of it or nothing: one wrong document, and nothing changes. An object that no file mentions is left
/// alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern plan connections.yaml && postern apply connections.yaml
  postern apply policies/*.cedar
  postern apply --merge extra-role.yaml")]
pub struct ApplyArgs {
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, clap::Args)]
struct Files {
    /// YAML files with one or more documents each, and files of policies, which end with `.cedar`; `-` is YAML from
    /// standard input
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Keep what a document does not mention, instead of replacing the whole object
    #[arg(long)]
    merge: bool,
}

/// Runs `plan`.
pub async fn plan(context: &Context, args: PlanArgs) -> Result<(), Failure> {
    let changes = send(context, "plan", &args.files).await?;
    output::one(context.format, &changes, || sentence(&changes, "to change"))
}

/// Runs `apply`.
pub async fn apply(context: &Context, args: ApplyArgs) -> Result<(), Failure> {
    let changes = send(context, "apply", &args.files).await?;
    output::one(context.format, &changes, || sentence(&changes, "changed"))
}

async fn send(context: &Context, path: &str, files: &Files) -> Result<Changes, Failure> {
    let body = documents::read(&files.paths, files.merge)?;
    context.client()?.post(path, &body).await
}

fn sentence(changes: &Changes, verb: &str) -> String {
    let Changes { changes, warnings } = changes;
    let mut lines = Vec::new();
    for change in changes.iter().filter(|change| change.action != ChangeAction::Unchanged) {
        let mark = match change.action {
            ChangeAction::Create => '+',
            ChangeAction::Delete => '-',
            ChangeAction::Update | ChangeAction::Unchanged => '~',
        };
        lines.push(format!("{mark} {} {}", change.kind, change.name));
        for field in &change.fields {
            if change.kind == "Policy" {
                lines.extend(differing(&field.from, &field.to));
                continue;
            }
            lines.push(match (&field.from, &field.to) {
                (Value::Null, to) => format!("    + {}: {to}", field.path),
                (from, Value::Null) => format!("    - {}: {from}", field.path),
                (from, to) => format!("    ~ {}: {from} -> {to}", field.path),
            });
        }
    }
    lines.extend(warnings.iter().map(|warning| format!("warning: {}", failure::place(warning))));
    let changed = changes.iter().filter(|change| change.action != ChangeAction::Unchanged).count();
    lines.push(format!("{changed} {verb}, {} as it was.", changes.len() - changed));
    lines.iter().map(|line| output::printable(line)).collect::<Vec<_>>().join("\n")
}

/// The lines of a text from the first that differs to the last, as they were and as they are to be.
fn differing(from: &Value, to: &Value) -> Vec<String> {
    let lines = |text: &Value| text.as_str().unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    let (from, to) = (lines(from), lines(to));
    let before = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
    let shorter = from.len().min(to.len());
    let after =
        from.iter().rev().zip(to.iter().rev()).take(shorter - before).take_while(|(from, to)| from == to).count();
    let of = |mark: char, lines: &[String]| {
        let between = lines.iter().take(lines.len() - after).skip(before);
        between.map(|line| format!("    {mark} {}", line.replace('\t', "    "))).collect::<Vec<_>>()
    };
    of('-', &from).into_iter().chain(of('+', &to)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_lines_that_differ() {
        for (from, to, expect) in [
            ("a\nb\nc\n", "a\nx\nc\n", &["    - b", "    + x"][..]),
            ("a\nc\n", "a\nb\nc\n", &["    + b"]),
            ("a\na\n", "a\n", &["    - a"]),
            ("a\n", "a\n", &[]),
        ] {
            assert_eq!(differing(&json!(from), &json!(to)), expect, "{from:?} {to:?}");
        }
        assert_eq!(differing(&Value::Null, &json!("a\nb")), ["    + a", "    + b"]);
        assert_eq!(differing(&json!("a"), &Value::Null), ["    - a"]);
    }
}
