//! `postern scan`.

use super::Context;
use crate::{
    failure::Failure,
    output::{self, Column},
};
use postern_api::{
    document::Mask,
    scan::{Confidence, Finding, MAX_SAMPLE, Scan, Scanned, ScannedColumn},
};
use std::collections::BTreeMap;

/// Propose tags for columns that seem to hold personal or payment data
///
/// The connection's connector looks at the names of columns and at samples of their values, by the login of the access
/// role that can do the least. It tells how many values look like what, and none of them. Nothing is changed: review
/// what is proposed, and apply it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern scan orders-prod
  postern scan orders-prod --table public.customers --sample 10000
  postern scan orders-prod --column public.notes.body --detector email
  postern scan orders-prod --yaml > tags.yaml
  postern apply --merge tags.yaml")]
pub struct ScanArgs {
    /// The connection
    #[arg(value_name = "CONN")]
    connection: String,
    /// Only this table
    #[arg(long, value_name = "SCHEMA.TABLE", conflicts_with = "column")]
    table: Option<String>,
    /// Only this column, whatever is found
    #[arg(long, value_name = "SCHEMA.TABLE.COLUMN")]
    column: Option<String>,
    /// Try this detector alone, on a column
    #[arg(long, requires = "column")]
    detector: Option<String>,
    /// How many rows of each table are looked at [default: 1000]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SAMPLE)))]
    sample: Option<u32>,
    /// Write what is proposed and not tagged yet as a document for `postern apply --merge`
    #[arg(long, conflicts_with_all = ["json", "format"])]
    yaml: bool,
}

/// Runs `scan`.
pub async fn run(context: &Context, args: ScanArgs) -> Result<(), Failure> {
    let ScanArgs { connection, table, column, detector, sample, yaml } = args;
    let body = Scan { table, column, detector, sample };
    let scanned: Scanned = context.client()?.post(&format!("connections/{connection}/scan"), &body).await?;
    if yaml {
        output::write(&document(&scanned))?;
    } else {
        let columns = [
            Column::text("COLUMN", |column: &ScannedColumn| column.column.clone()),
            Column::text("TYPE", |column| column.r#type.clone()),
            Column::text("TAG", |column| column.tag.clone().unwrap_or_default()),
            Column::text("MASK", |column| column.mask.as_ref().map(mask).unwrap_or_default()),
            Column::text("CONFIDENCE", |column| {
                column.confidence.map(Confidence::as_str).unwrap_or_default().to_owned()
            }),
            Column::text("TAGGED", |column| column.tagged.clone().unwrap_or_default()),
            Column::text("EVIDENCE", evidence),
        ];
        output::list(context.format, &scanned.columns, &columns, "Nothing looks like personal or payment data.")?;
    }
    remarks(&scanned);
    Ok(())
}

/// What was looked at, and what was not.
fn remarks(scanned: &Scanned) {
    let Scanned { role, login, tables, cut, not_sampled, .. } = scanned;
    let many = if *tables == 1 { "table" } else { "tables" };
    output::remark(output::printable(&format!(
        "Looked at {tables} {many} as {login}, the login of the access role {role}."
    )));
    for table in not_sampled {
        let remark = format!("No values of {} were read: {}.", table.table, table.why);
        output::remark(output::printable(&remark));
    }
    if *cut {
        output::remark("There is more than one scan looks at: name a table with --table.");
    }
}

fn evidence(column: &ScannedColumn) -> String {
    let mut parts: Vec<String> = column.named.iter().map(|kind| format!("its name says {kind}")).collect();
    parts.extend(column.found.iter().map(|finding| found(finding, column.values)));
    if parts.is_empty() {
        parts.push(format!("nothing in {}", column.values));
    }
    parts.join("; ")
}

fn found(finding: &Finding, values: u64) -> String {
    let Finding { what, by_name, path, whole, within, .. } = finding;
    let what = if *by_name { format!("a key that says {what}") } else { what.clone() };
    let at = path.as_ref().map(|path| format!(" at {path}")).unwrap_or_default();
    let inside = if *whole < *within { "inside " } else { "" };
    format!("{what}{at} {inside}in {} of {values}", whole.saturating_add(*within))
}

fn mask(mask: &Mask) -> String {
    match mask {
        Mask::Partial(keep) => format!("partial {keep}"),
        other => yaml_of(other),
    }
}

/// A mask as a document has it.
fn yaml_of(mask: &Mask) -> String {
    let text = match mask {
        Mask::Partial(keep) => return format!("{{ partial: {keep} }}"),
        Mask::Redact => "redact",
        Mask::Null => "\"null\"",
        Mask::Email => "email",
        Mask::Hash => "hash",
        Mask::DateYear => "date_year",
        Mask::Noise => "noise",
    };
    text.to_owned()
}

/// What is proposed and not tagged, with the evidence beside it; what is doubtful in comments.
fn document(scanned: &Scanned) -> String {
    let (mut lines, mut masks) = (Vec::new(), BTreeMap::new());
    for column in scanned.columns.iter().filter(|column| column.tagged.is_none()) {
        let (Some(tag), Some(mask)) = (&column.tag, &column.mask) else { continue };
        let doubtful = column.confidence == Some(Confidence::Low) || column.column.matches('.').count() != 2;
        if column.mask_is_new && !doubtful {
            masks.insert(tag, mask);
        }
        let mark = if doubtful { "  # " } else { "  " };
        let line = format!("{mark}{}: {}  # {}", quoted(&column.column), quoted(tag), evidence(column));
        lines.push(output::printable(&line));
    }
    let name = quoted(&scanned.connection);
    let mut text = format!("kind: Connection\nname: {name}\n");
    for (title, lines) in [
        ("tags", lines),
        ("masks", masks.into_iter().map(|(tag, mask)| format!("  {}: {}", quoted(tag), yaml_of(mask))).collect()),
    ] {
        // A key without a value would be null, and comments are none.
        let is_empty = lines.iter().all(|line| line.trim_start().starts_with('#'));
        text += &if is_empty { format!("{title}: {{}}\n") } else { format!("{title}:\n") };
        text.extend(lines.iter().map(|line| format!("{line}\n")));
    }
    text
}

/// A text as YAML has it: in quotes, unless nothing in it means anything.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && text.contains('.') && text.chars().all(plain) {
        return text.to_owned();
    }
    // JSON is YAML.
    serde_json::Value::from(text).to_string()
}
