//! The rows of one result, written as they come: no more of them is held than a table needs to be aligned.

use crate::{
    failure::Failure,
    output::{self, Format},
};
use postern_wire::backend::Column;
use std::{collections::HashMap, fmt::Write};

/// Rows that a table aligns together; a longer result is aligned piece by piece.
const TABLE_ROWS: usize = 10_000;

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;

/// Types whose text is a JSON value, or nearly: `NaN` and `Infinity` are not.
mod oid {
    pub const BOOL: u32 = 16;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const OID: u32 = 26;
    pub const JSON: u32 = 114;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const NUMERIC: u32 = 1700;
    pub const JSONB: u32 = 3802;
}

/// A result that is being written.
pub struct Rows {
    format: Format,
    columns: Vec<Column>,
    /// JSON keys: the columns' names, made unique.
    keys: Vec<String>,
    table: Vec<Vec<String>>,
    pending: String,
    count: u64,
}

impl Rows {
    /// Begins a result with these columns.
    pub fn begin(format: Format, columns: Vec<Column>) -> Result<Self, Failure> {
        let mut rows =
            Self { format, keys: keys(&columns), columns, table: Vec::new(), pending: String::new(), count: 0 };
        match format {
            Format::Json => rows.pending.push('['),
            Format::Csv => {
                let names: Vec<Option<&[u8]>> =
                    rows.columns.iter().map(|column| Some(column.name.as_bytes())).collect();
                rows.pending = csv_record(&names)?;
            }
            Format::Table => {}
        }
        Ok(rows)
    }

    /// Takes a row.
    pub fn row(&mut self, values: &[Option<&[u8]>]) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.json_row(values),
            Format::Csv => self.pending.push_str(&csv_record(values)?),
            Format::Table => {
                // NULL is shown, so that it is not taken for the empty text.
                let shown = |value: &Option<&[u8]>| {
                    value.map_or_else(|| "NULL".to_owned(), |text| String::from_utf8_lossy(text).into_owned())
                };
                self.table.push(values.iter().map(shown).collect());
                if self.table.len() >= TABLE_ROWS {
                    self.write_table()?;
                }
            }
        }
        self.count += 1;
        if self.pending.len() >= WRITE_BYTES {
            output::write(&std::mem::take(&mut self.pending))?;
        }
        Ok(())
    }

    /// Writes what is left.
    pub fn end(mut self) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.pending.push_str("]\n"),
            Format::Csv => {}
            Format::Table => {
                if self.count == 0 || !self.table.is_empty() {
                    self.write_table()?;
                }
                let unit = if self.count == 1 { "row" } else { "rows" };
                self.pending = format!("({} {unit})\n", self.count);
            }
        }
        output::write(&self.pending)
    }

    fn write_table(&mut self) -> Result<(), Failure> {
        let titles: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let numeric: Vec<bool> = self.columns.iter().map(|column| is_number(column.type_oid)).collect();
        output::rows_out(Format::Table, &titles, &numeric, std::mem::take(&mut self.table).into_iter())
    }

    fn json_row(&mut self, values: &[Option<&[u8]>]) {
        self.pending.push_str(if self.count == 0 { "{" } else { ",\n {" });
        for (index, ((key, column), value)) in self.keys.iter().zip(&self.columns).zip(values).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(self.pending, "{comma}{key}:{}", json_value(column.type_oid, *value));
        }
        self.pending.push('}');
    }
}

/// The columns' names as JSON texts, each once: `count`, `count_2`.
fn keys(columns: &[Column]) -> Vec<String> {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    columns
        .iter()
        .map(|column| {
            let times = seen.entry(&column.name).or_default();
            *times += 1;
            let name = if *times == 1 { column.name.clone() } else { format!("{}_{times}", column.name) };
            json_text(&name)
        })
        .collect()
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A value in its JSON form. Numbers are taken over digit by digit: `numeric` loses nothing.
fn json_value(type_oid: u32, value: Option<&[u8]>) -> String {
    let Some(value) = value else {
        return "null".to_owned();
    };
    let text = String::from_utf8_lossy(value);
    match type_oid {
        oid::BOOL if text == "t" => "true".to_owned(),
        oid::BOOL if text == "f" => "false".to_owned(),
        oid::JSON | oid::JSONB if is_json(&text) => text.into_owned(),
        number if is_number(number) && is_json(&text) => text.into_owned(),
        _ => json_text(&text),
    }
}

fn is_number(type_oid: u32) -> bool {
    use oid::{FLOAT4, FLOAT8, INT2, INT4, INT8, NUMERIC, OID};
    matches!(type_oid, INT2 | INT4 | INT8 | OID | FLOAT4 | FLOAT8 | NUMERIC)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A line of CSV. NULL is the empty field, as COPY writes it.
fn csv_record(values: &[Option<&[u8]>]) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("cannot write CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(values.iter().map(|value| value.unwrap_or_default())).map_err(|error| failed(&error))?;
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_types() {
        let cases: [(u32, Option<&str>, &str); 9] = [
            (oid::INT8, Some("9007199254740993"), "9007199254740993"),
            (oid::NUMERIC, Some("0.10000000000000000000001"), "0.10000000000000000000001"),
            (oid::NUMERIC, Some("NaN"), "\"NaN\""),
            (oid::FLOAT8, Some("-Infinity"), "\"-Infinity\""),
            (oid::BOOL, Some("t"), "true"),
            (oid::JSONB, Some("{\"a\": [1, null]}"), "{\"a\": [1, null]}"),
            (25, Some("12"), "\"12\""),
            (25, Some("a\"b\u{1}"), "\"a\\\"b\\u0001\""),
            (25, None, "null"),
        ];
        for (type_oid, value, expect) in cases {
            assert_eq!(json_value(type_oid, value.map(str::as_bytes)), expect);
        }
    }

    #[test]
    fn names_that_repeat_stay_apart() {
        let column = |name: &str| Column {
            name: name.into(),
            table_oid: 0,
            attribute: 0,
            type_oid: 25,
            modifier: -1,
            format: 0,
        };
        assert_eq!(keys(&[column("a"), column("b"), column("a")]), ["\"a\"", "\"b\"", "\"a_2\""]);
    }

    #[test]
    fn csv_quotes() {
        assert_eq!(csv_record(&[Some(b"a,b"), None, Some(b"c\"d")]).unwrap(), "\"a,b\",,\"c\"\"d\"\n");
    }
}
