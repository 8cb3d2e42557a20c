//! Samples of a relation's values, and what is counted in them. Nothing of a value is kept.

use super::{
    columns::{Class, Column, Relation, quoted},
    document, names,
};
use postern_dial::query::Row;
use postern_mask::detect::Detector;
use postern_proto::v1::{Finding, ScannedColumn};
use std::collections::BTreeMap;

/// What is looked at of one value.
const MAX_TEXT: usize = 2 << 10;
const MAX_DOCUMENT: usize = 16 << 10;

/// What the values of one sample may take together: of wide relations fewer rows are read.
const MAX_SAMPLE_BYTES: usize = 32 << 20;

/// A relation is large if it has more rows than this for each that is wanted.
const MANY: f64 = 20.0;

/// What a scan tries on values.
#[derive(Clone, Copy, Debug)]
pub enum Trying {
    All,
    One(Detector),
}

impl Trying {
    fn detectors(self) -> impl Iterator<Item = Detector> {
        Detector::ALL.into_iter().filter(move |detector| match self {
            Self::All => true,
            Self::One(only) => only == *detector,
        })
    }
}

/// What was counted in a column.
#[derive(Debug, Default)]
pub struct Tally {
    values: u64,
    found: BTreeMap<Found, Counts>,
}

/// What was found, and where in a document.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Found {
    pub what: &'static str,
    pub by_name: bool,
    pub path: String,
}

#[derive(Debug, Default)]
struct Counts {
    whole: u64,
    within: u64,
}

/// Whether a value is one as a whole.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Hit {
    Within,
    Whole,
}

impl Tally {
    fn count(&mut self, found: Found, hit: Hit) {
        let counts = self.found.entry(found).or_default();
        match hit {
            Hit::Whole => counts.whole += 1,
            Hit::Within => counts.within += 1,
        }
    }

    /// As the protocol has it.
    pub fn told(self, relation: &Relation, column: &Column) -> ScannedColumn {
        let finding = |(found, counts): (Found, Counts)| Finding {
            what: found.what.to_owned(),
            by_name: found.by_name,
            path: found.path,
            whole: counts.whole,
            within: counts.within,
        };
        ScannedColumn {
            schema: relation.schema.clone(),
            relation: relation.name.clone(),
            column: column.name.clone(),
            r#type: column.ty.clone(),
            class: column.class.told().into(),
            values: self.values,
            named: names::kind(&relation.name, &column.name, column.class).unwrap_or_default().to_owned(),
            found: self.found.into_iter().map(finding).collect(),
        }
    }
}

/// Whether values of the column can hold what is looked for.
pub fn is_sampled(column: &Column) -> bool {
    column.readable
        && match column.class {
            Class::Text | Class::Document => true,
            // The account numbers and the like that fit in others are told by their names alone.
            Class::Number => column.long,
            Class::Date | Class::Net | Class::Bytes | Class::Other => false,
        }
}

fn most_bytes(column: &Column) -> usize {
    if column.class == Class::Document || column.array { MAX_DOCUMENT } else { MAX_TEXT }
}

/// Whether a relation is so large that blocks are drawn by chance rather than read from its beginning.
pub fn is_drawn(relation: &Relation, rows: usize) -> bool {
    relation.rows > rows as f64 * MANY
}

/// The question for a sample of these columns' values. Blocks that are drawn may all be empty.
pub fn question(relation: &Relation, columns: &[&Column], rows: usize, drawn: bool) -> String {
    let most = MAX_SAMPLE_BYTES / columns.iter().map(|column| most_bytes(column)).sum::<usize>().max(1);
    let rows = rows.min(most).max(1);
    let value = |column: &&Column| {
        let (name, most) = (quoted(&column.name), most_bytes(column));
        let text = if column.array {
            format!("pg_catalog.to_json({name})::pg_catalog.text")
        } else {
            format!("{name}::pg_catalog.text")
        };
        format!("pg_catalog.left({text}, {most})")
    };
    let values = columns.iter().map(value).collect::<Vec<_>>().join(", ");
    let from = format!("{}.{}", quoted(&relation.schema), quoted(&relation.name));
    // More than are wanted, since blocks may be half empty.
    let percent = (rows as f64 * MANY / 2.0 / relation.rows.max(1.0) * 100.0).clamp(1e-6, 100.0);
    let draw = if drawn { format!(" TABLESAMPLE system ({percent:.6})") } else { String::new() };
    format!("SELECT {values} FROM {from}{draw} LIMIT {rows}")
}

/// Counts what is found in the answer. A value that the relation holds is in nothing of what comes of it.
pub fn count(columns: &[(Class, bool)], rows: &[Row], trying: Trying) -> Vec<Tally> {
    let column = |(at, (class, array)): (usize, &(Class, bool))| {
        let values = rows.iter().filter_map(|row| row.get(at)?.as_deref()).filter(|value| !value.trim().is_empty());
        let mut tally = Tally::default();
        match (class, array) {
            (Class::Document, _) => count_documents(&mut tally, values, trying),
            (_, true) => {
                for array in values {
                    document::texts(array).iter().for_each(|value| count_text(&mut tally, value, trying));
                }
            }
            _ => values.for_each(|value| count_text(&mut tally, value, trying)),
        }
        tally
    };
    columns.iter().enumerate().map(column).collect()
}

fn count_text(tally: &mut Tally, value: &str, trying: Trying) {
    tally.values += 1;
    for detector in trying.detectors() {
        if let Some(hit) = hit(detector, value) {
            tally.count(Found { what: detector.as_str(), by_name: false, path: String::new() }, hit);
        }
    }
}

fn count_documents<'a>(tally: &mut Tally, values: impl Iterator<Item = &'a str> + Clone, trying: Trying) {
    let keys = document::Keys::of(values.clone());
    for value in values {
        tally.values += 1;
        // Each once for a document, however often it holds it.
        let mut found: BTreeMap<Found, Hit> = BTreeMap::new();
        let mut put = |what, by_name, path: &str, hit: Hit| {
            let at = found.entry(Found { what, by_name, path: path.to_owned() }).or_insert(hit);
            *at = hit.max(*at);
        };
        document::walk(value, &keys, &mut |leaf: document::Leaf<'_>| {
            for detector in trying.detectors() {
                if let Some(hit) = hit(detector, leaf.text) {
                    put(detector.as_str(), false, leaf.path, hit);
                }
            }
            if let (Trying::All, Some(key)) = (trying, leaf.key)
                && let Some(kind) = names::kind("", key, leaf.class)
            {
                put(kind, true, leaf.path, Hit::Whole);
            }
        });
        found.into_iter().for_each(|(found, hit)| tally.count(found, hit));
    }
}

/// Whether a detector finds anything in a value.
fn hit(detector: Detector, value: &str) -> Option<Hit> {
    let whole = value.trim();
    let spans = detector.spans(value);
    spans.map(|span| if value.get(span) == Some(whole) { Hit::Whole } else { Hit::Within }).max()
}
