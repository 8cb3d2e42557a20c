//! The columns of a database, as far as a scan looks at them.
//!
//! Views are left out, since what they show has its tags from where it comes, and so is what a partition or child inherits.

use postern_dial::query::Row;
use postern_proto::v1::{Scan, TypeClass};

/// The most columns that one scan looks at.
pub const MAX_COLUMNS: usize = 20_000;

/// What of a type matters for what a column may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Text,
    Number,
    Date,
    /// A network address.
    Net,
    Bytes,
    /// JSON.
    Document,
    Other,
}

impl Class {
    fn of(letter: &str) -> Self {
        match letter {
            "S" => Self::Text,
            "N" => Self::Number,
            "D" => Self::Date,
            "I" => Self::Net,
            "B" => Self::Bytes,
            "J" => Self::Document,
            _ => Self::Other,
        }
    }

    /// As the protocol has it.
    pub fn told(self) -> TypeClass {
        match self {
            Self::Text => TypeClass::Text,
            Self::Number => TypeClass::Number,
            Self::Date => TypeClass::Date,
            Self::Net => TypeClass::Address,
            Self::Bytes => TypeClass::Bytes,
            Self::Document => TypeClass::Document,
            Self::Other => TypeClass::Unspecified,
        }
    }
}

/// A column.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    /// As PostgreSQL writes it.
    pub ty: String,
    pub class: Class,
    /// Whether it is an array of these.
    pub array: bool,
    /// Whether the login may read it.
    pub readable: bool,
    /// Whether it may hold numbers as long as a card's.
    pub long: bool,
}

/// A relation.
#[derive(Debug)]
pub struct Relation {
    pub schema: String,
    pub name: String,
    /// Its rows are elsewhere.
    pub foreign: bool,
    /// How many rows it has, about.
    pub rows: f64,
    pub columns: Vec<Column>,
}

/// The question for all columns of the relations that are named. Nothing in any schema but the server's own can stand in for
/// what it names.
pub fn question(asked: &Scan) -> String {
    let only = |what: &str, name: &str| {
        if name.is_empty() { String::new() } else { format!(" AND {what} = {}", literal(name)) }
    };
    let only = [("n.nspname", &asked.schema), ("c.relname", &asked.relation), ("a.attname", &asked.column)]
        .map(|(what, name)| only(what, name))
        .concat();
    format!(
        "SET LOCAL search_path = '';
WITH RECURSIVE base (oid, base, category) AS (
    SELECT oid, oid, typcategory FROM pg_type WHERE typtype <> 'd'
    UNION ALL SELECT t.oid, b.base, b.category FROM pg_type t JOIN base b ON t.typtype = 'd' AND t.typbasetype = b.oid
), class (oid, class, long) AS (
    SELECT oid, CASE WHEN base IN (114, 3802) THEN 'J' WHEN base = 17 THEN 'B' WHEN base IN (1083, 1266) THEN 'X' \
WHEN category IN ('S', 'N', 'D', 'I') THEN category::text ELSE 'X' END, base IN (20, 1700) FROM base
)
SELECT n.nspname, c.relname, c.relkind = 'f', c.reltuples, a.attname, format_type(a.atttypid, a.atttypmod),
    own.class, e.oid IS NOT NULL, has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT'), own.long
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
JOIN base t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.typarray = t.base AND t.category = 'A'
JOIN class own ON own.oid = coalesce(e.oid, a.atttypid)
WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount = 0{only}
ORDER BY n.nspname, c.relname, a.attnum LIMIT {}",
        MAX_COLUMNS + 1
    )
}

/// The answer: relations with their columns, and whether there are more.
pub fn read(mut rows: Vec<Row>) -> (Vec<Relation>, bool) {
    let cut = rows.len() > MAX_COLUMNS;
    rows.truncate(MAX_COLUMNS);
    let mut relations: Vec<Relation> = Vec::new();
    for row in rows {
        let mut fields = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || fields.next().unwrap_or_default();
        let (schema, name, foreign, rows) = (next(), next(), next() == "t", next().parse().unwrap_or(0.0));
        let (column, ty, class) = (next(), next(), Class::of(&next()));
        let (array, readable, long) = (next() == "t", next() == "t", next() == "t");
        let column = Column { name: column, ty, class, array, readable, long };
        match relations.last_mut().filter(|last| last.schema == schema && last.name == name) {
            Some(last) => last.columns.push(column),
            None => relations.push(Relation { schema, name, foreign, rows, columns: vec![column] }),
        }
    }
    (relations, cut)
}

/// A text in quotes, where backslashes mean nothing.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

/// A name in quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
