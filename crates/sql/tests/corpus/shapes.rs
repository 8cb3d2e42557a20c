//! Whenever two texts have the same shape and the same fixed literals, their analyses are the same.

use std::ops::Range;

use pg_query::protobuf::Token;
use postern_sql::{Analysis, Catalog, Context, Shapes, analyse_in_full};

use super::{entries, folder, put_together};

/// Numbers and strings that mean something somewhere.
const NUMBERS: &[&str] = &["0", "1", "2", "3", "42", "007", "999999999"];
const STRINGS: &[&str] = &[
    "''",
    "'x'",
    "'role'",
    "'search_path'",
    "'work_mem'",
    "'customers'",
    "'shop.tickets'",
    "'{1,2}'",
    "'2026-01-01'",
    "'1_0'",
    "'0x1 --'",
    "'; DELETE FROM queue /*'",
    "'on'",
    "'[1,2)'",
    "'a,b'",
    "'23'",
];

/// The analysis, without the place where the statement ends.
fn result(text: &str, catalog: &Catalog, context: &Context) -> Option<Analysis> {
    let mut analysis = analyse_in_full(text, catalog, context).ok()?;
    analysis.script.statements.iter_mut().for_each(|statement| statement.span.end = 0);
    Some(analysis)
}

/// The constants as PostgreSQL's own scanner finds them.
fn constants(text: &str) -> Vec<(Range<usize>, bool)> {
    let place = |at: i32| usize::try_from(at).unwrap();
    let Ok(scanned) = pg_query::scan(text) else { return Vec::new() };
    let of = |token: &pg_query::protobuf::ScanToken| match token.token() {
        Token::Iconst => Some((place(token.start)..place(token.end), false)),
        Token::Sconst => Some((place(token.start)..place(token.end), true)),
        _ => None,
    };
    scanned.tokens.iter().filter_map(of).collect()
}

/// The corpora's statements, with other literals.
pub fn check(catalog: &Catalog, context: &Context) {
    let (mut with_shape, mut same) = (0, 0);
    let files = ["facts.txt", "evasions.txt", "readers.txt", "newer.txt"];
    for entry in files.iter().flat_map(|file| entries(&std::fs::read_to_string(folder().join(file)).unwrap())) {
        let Some(analysis) = result(&entry.sql, catalog, context) else { continue };
        let mut shapes = Shapes::new(usize::MAX);
        if !shapes.keep(entry.sql.as_bytes(), &analysis, ()) {
            continue;
        }
        with_shape += 1;
        assert!(shapes.lookup(entry.sql.as_bytes()).is_some());
        let constants = constants(&entry.sql);
        // One literal at a time, each with each value; then all of them.
        let one = (0..constants.len()).flat_map(|at| (0..STRINGS.len()).map(move |value| (Some(at), value)));
        for (changed, value) in one.chain((0..STRINGS.len()).map(|value| (None, value))) {
            let text = with_other_literals(&entry.sql, &constants, changed, value);
            if shapes.lookup(text.as_bytes()).is_some() {
                assert_eq!(result(&text, catalog, context).as_ref(), Some(&analysis), "{}\n{text}", entry.sql);
                same += usize::from(text != entry.sql);
            }
        }
    }
    assert!(with_shape > 200 && same > 1_000, "{with_shape} statements have a shape, {same} others were of one");
}

/// The text with one of its literals changed, or all.
fn with_other_literals(text: &str, constants: &[(Range<usize>, bool)], changed: Option<usize>, value: usize) -> String {
    let mut text = text.to_owned();
    for (at, (range, is_string)) in constants.iter().enumerate().rev() {
        let with = if *is_string { STRINGS } else { NUMBERS };
        if changed.is_none_or(|changed| changed == at) {
            text.replace_range(range.clone(), with[(value + at) % with.len()]);
        }
    }
    text
}

/// Statements put together anew, each also with other literals, all of them kept together.
pub fn check_put_together(catalog: &Catalog, context: &Context) {
    let mut shapes: Shapes<(String, Analysis)> = Shapes::new(usize::MAX);
    let mut same = 0;
    for (number, text) in put_together().into_iter().enumerate() {
        let other = with_other_literals(&text, &constants(&text), None, number);
        for text in [text, other] {
            let analysis = result(&text, catalog, context);
            if let Some((other, kept)) = shapes.lookup(text.as_bytes()) {
                assert_eq!(analysis.as_ref(), Some(&*kept), "{other}\n{text}");
                same += 1;
            } else if let Some(analysis) = analysis {
                shapes.keep(text.as_bytes(), &analysis.clone(), (text.clone(), analysis));
            }
        }
    }
    assert!(same > 500, "only {same} statements were of the shape of another");
}
