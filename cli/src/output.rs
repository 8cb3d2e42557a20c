//! How results are shown: a table for people, JSON and CSV for programs.

use crate::failure::Failure;
use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use postern_api::Micros;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, for reading.
    #[default]
    Table,
    /// JSON, for programs.
    Json,
    /// RFC 4180, with a header line.
    Csv,
}

/// A column of a list: its title and what stands in it.
pub struct Column<T> {
    title: &'static str,
    cell: fn(&T) -> String,
    numeric: bool,
}

impl<T> Column<T> {
    /// A column of text.
    pub const fn text(title: &'static str, cell: fn(&T) -> String) -> Self {
        Self { title, cell, numeric: false }
    }

    /// A column of numbers, which stand to the right.
    pub const fn number(title: &'static str, cell: fn(&T) -> String) -> Self {
        Self { title, cell, numeric: true }
    }
}

/// Writes text to standard output.
pub fn write(text: &str) -> Result<(), Failure> {
    write_bytes(text.as_bytes())
}

/// Writes bytes to standard output. A reader who has seen enough (`| head`) is no failure.
pub fn write_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Failure::failed(format!("cannot write the output: {error}"))),
    }
}

/// Writes a line to standard output.
pub fn line(text: impl AsRef<str>) -> Result<(), Failure> {
    write(&format!("{}\n", text.as_ref()))
}

/// Writes a remark for people to standard error, where it is in no program's way.
pub fn remark(text: impl AsRef<str>) {
    // Nothing can be done when even that fails.
    let _ = writeln!(io::stderr(), "{}", text.as_ref());
}

/// Writes a value as JSON: indented on a terminal, on one line elsewhere.
pub fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text =
        if io::stdout().is_terminal() { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    line(text.map_err(|error| Failure::failed(format!("cannot write the answer as JSON: {error}")))?)
}

/// Writes one thing: as JSON, or as the sentence that says what it is.
pub fn one<T: Serialize>(format: Format, value: &T, sentence: impl FnOnce() -> String) -> Result<(), Failure> {
    match format {
        Format::Json => json(value),
        Format::Table | Format::Csv => line(sentence()),
    }
}

/// Writes a list. `nothing` is what people read when it is empty.
pub fn list<T: Serialize>(format: Format, items: &[T], columns: &[Column<T>], nothing: &str) -> Result<(), Failure> {
    if format == Format::Json {
        return json(&items);
    }
    if format == Format::Table && items.is_empty() {
        remark(nothing);
        return Ok(());
    }
    let titles: Vec<&str> = columns.iter().map(|column| column.title).collect();
    let numeric: Vec<bool> = columns.iter().map(|column| column.numeric).collect();
    let rows = items.iter().map(|item| columns.iter().map(|column| (column.cell)(item)).collect());
    rows_out(format, &titles, &numeric, rows)
}

/// Writes rows of text as a table or as CSV.
pub fn rows_out(
    format: Format,
    titles: &[&str],
    numeric: &[bool],
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<(), Failure> {
    match format {
        Format::Csv => csv_rows(titles, rows),
        Format::Table | Format::Json => table_rows(titles, numeric, rows),
    }
}

fn csv_rows(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<(), Failure> {
    let failed = |error: csv::Error| Failure::failed(format!("cannot write CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heads = titles.iter().map(|title| title.to_lowercase().replace(' ', "_"));
    writer.write_record(heads).map_err(failed)?;
    for row in rows {
        writer.write_record(&row).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| Failure::failed(error.to_string()))?;
    write(&String::from_utf8_lossy(&bytes))
}

fn table_rows(titles: &[&str], numeric: &[bool], rows: impl Iterator<Item = Vec<String>>) -> Result<(), Failure> {
    write(&table(titles, numeric, rows))
}

/// Rows of text as aligned columns, a line for each.
pub fn table(titles: &[&str], numeric: &[bool], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(titles.iter().zip(numeric).map(|(title, numeric)| aligned(title, *numeric)));
    for row in rows {
        table.add_row(row.iter().zip(numeric).map(|(text, numeric)| aligned(&printable(text), *numeric)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn aligned(text: &str, numeric: bool) -> Cell {
    let side = if numeric { CellAlignment::Right } else { CellAlignment::Left };
    Cell::new(text).set_alignment(side)
}

/// Text without what would move a terminal's cursor: a statement or a reason was written by somebody else.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' | '\r' => ' ',
            c if c.is_control() || is_direction(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Characters that reorder what is shown, so that text reads as something else.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A time as people read it, in UTC and to the second.
pub fn time(at: Micros) -> String {
    jiff::Timestamp::from(at).strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A time that may be absent.
pub fn maybe_time(at: Option<Micros>) -> String {
    at.map(time).unwrap_or_default()
}

/// Text of at most so many characters, with a mark where some are missing.
pub fn shortened(text: &str, most: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Whether colours and prompts are wanted: only by a person at a terminal who has not said otherwise.
pub fn stderr_colour() -> bool {
    io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb c\u{fffd}d");
    }

    #[test]
    fn long_text_is_marked() {
        assert_eq!(shortened("select  1,\n 2", 20), "select 1, 2");
        assert_eq!(shortened("abcdef", 4), "abc…");
    }
}
