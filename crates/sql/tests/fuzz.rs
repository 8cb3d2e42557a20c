//! The analysis on what a hostile client sends: there is an answer each time, soon, and never a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use common::{entries, on_deep_stack, small_catalog};
use postern_fuzz::{mangled, proptest, target, text};
use postern_sql::{
    Analysis, Catalog, Context, Shapes, analyse_in_full, context::Lexing, facts::Refusal, parse::text_of,
};
use proptest::{collection::vec, prelude::*, sample::select};

static CATALOG: LazyLock<Catalog> = LazyLock::new(small_catalog);

/// No statement may take longer, in a build without optimisations on a machine that does something else besides.
const SOON: Duration = Duration::from_secs(30);

/// Nor may all of it take more memory.
const MOST_KIB: u64 = 1 << 20;

/// The most memory that this process ever had, in KiB, where the system says it.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

fn analyse(bytes: &[u8], context: &Context) -> Result<Analysis, Refusal> {
    let began = Instant::now();
    let result = on_deep_stack(|| text_of(bytes).and_then(|text| analyse_in_full(text, &CATALOG, context)));
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
    assert!(peak() < MOST_KIB, "{} KiB", peak());
    result
}

fn any_context() -> impl Strategy<Value = Context> {
    let lexing = (any::<bool>(), any::<bool>());
    (13u16..=18, lexing, vec(select(&[0u32, 23, 25, 20_001, 7][..]), 0..3)).prop_map(
        |(major, (standard_conforming_strings, backslash_quote), parameters)| {
            let mut context = Context::new(major, "reader");
            context.lexing = Lexing { standard_conforming_strings, backslash_quote };
            context.parameters = parameters;
            context
        },
    )
}

fn corpus() -> Vec<String> {
    let files = [
        include_str!("corpus/facts.txt"),
        include_str!("corpus/evasions.txt"),
        include_str!("corpus/readers.txt"),
        include_str!("corpus/newer.txt"),
    ];
    files.iter().flat_map(|file| entries(file)).map(|entry| entry.sql).collect()
}

target!(
    /// Statements of the corpora, bent; and bytes that were never any.
    fuzz_statements,
    (mangled(select(corpus()).prop_map(String::into_bytes)), any_context()),
    |(bytes, context)| {
        if let Ok(analysis) = analyse(&bytes, &context) {
            let length = bytes.len();
            prop_assert!(analysis.script.statements.iter().all(|one| one.span.start <= one.span.end && one.span.end <= length));
            prop_assert_eq!(analysis.script.statements.len(), analysis.handles.len());
        }
        Ok(())
    }
);

target!(fuzz_arbitrary_text, (text("SELECT'\"$();,.:=-*/\\U&E\n1a_", 80), any_context()), |(text, context)| {
    let _ = analyse(text.as_bytes(), &context);
    Ok(())
});

/// What stands around an expression or a query.
type Around = (&'static str, &'static str);

const EXPRESSIONS: &[Around] = &[
    ("(", ")"),
    ("- ", ""),
    ("NOT ", ""),
    ("lower(", ")"),
    ("a + ", ""),
    ("", " + a"),
    ("", "::int4"),
    ("", " IS NULL"),
    ("(SELECT ", ")"),
    ("CASE WHEN true THEN ", " END"),
    ("CASE ", " WHEN a THEN b END"),
    ("ARRAY[", "]"),
    ("a IN (", ")"),
    ("ROW(", ")"),
    ("coalesce(a, ", ")"),
    ("a = ANY (", ")"),
    ("a BETWEEN 1 AND ", ""),
    ("EXISTS (SELECT ", ")"),
    ("", " COLLATE \"C\""),
    ("(", ").f"),
    ("b || ", ""),
    ("nullif(a, ", ")"),
    ("sum(a) FILTER (WHERE ", ")"),
];

const QUERIES: &[Around] = &[
    ("SELECT * FROM (", ") x"),
    ("(", ")"),
    ("SELECT a FROM t UNION ALL ", ""),
    ("(", ") UNION SELECT a FROM t"),
    ("WITH c AS (", ") SELECT * FROM c"),
    ("SELECT (", ")"),
    ("WITH RECURSIVE c (a) AS (", " UNION SELECT a FROM c) SELECT a FROM c"),
    ("SELECT * FROM t JOIN (", ") y ON true"),
    ("EXPLAIN ", ""),
    ("SELECT * FROM t, LATERAL (", ") l"),
    ("INSERT INTO t ", ""),
];

/// The text, with each of these around it so many times.
fn nested(text: &str, around: &[(Around, usize)]) -> String {
    let before: String = around.iter().rev().map(|((left, _), times)| left.repeat(*times)).collect();
    // The innermost closes first.
    let closing: String = around.iter().map(|((_, right), times)| right.repeat(*times)).collect();
    format!("{before}{text}{closing}")
}

fn around(of: &'static [Around]) -> impl Strategy<Value = Vec<(Around, usize)>> {
    let times = prop_oneof![6 => 1usize..30, 3 => 30usize..400, 1 => 400usize..12_000];
    vec((select(of), times), 1..5)
}

target!(
    /// Deep statements of many kinds: analysed, or refused with a reason.
    fuzz_deep_statements,
    (around(EXPRESSIONS), around(QUERIES), any::<bool>()),
    |(expressions, queries, plain)| {
        let expression = nested("a", &expressions);
        let query = format!("SELECT {expression} FROM t WHERE {}", if plain { "true" } else { expression.as_str() });
        let statement = if plain { nested(&query, &queries) } else { query };
        match analyse(statement.as_bytes(), &Context::new(18, "reader")) {
            Ok(_) => {}
            Err(refusal) => prop_assert!(!refusal.message.is_empty() && !refusal.hint.is_empty()),
        }
        Ok(())
    }
);

/// Statements that the small catalog knows, with and without a shape.
const KNOWN: &[&str] = &[
    "SELECT a FROM t WHERE a = 1",
    "SELECT a, b FROM t WHERE b = 'x' AND a IN (1, 2) ORDER BY 1 LIMIT 5",
    "SELECT -1, 'x' FROM t;",
    "INSERT INTO t VALUES (1, 'x')",
    "UPDATE t SET a = a + 1 WHERE b = 'y'",
    "DELETE FROM t WHERE a > 1",
    "SELECT lower('X'), 1 + 2",
    "SELECT '1'::int4 FROM t WHERE a = 1 OR b = ''",
    "SELECT a FROM t GROUP BY 1",
    "SELECT a FROM (SELECT a FROM t WHERE a = 3) s",
];

target!(
    /// What is taken for a statement that is known is no other.
    fuzz_shapes,
    (select(KNOWN), any::<bool>()).prop_flat_map(|(known, old)| (Just(known), mangled(Just(known.as_bytes().to_vec())), Just(old))),
    |(known, bent, old)| {
        let context = Context::new(if old { 13 } else { 18 }, "reader");
        let analysis = analyse(known.as_bytes(), &context).unwrap();
        let mut shapes = Shapes::new(1 << 20);
        prop_assert!(shapes.keep(known.as_bytes(), &analysis, ()));
        prop_assert!(shapes.lookup(known.as_bytes()).is_some());
        if shapes.lookup(&bent).is_some() {
            let mut other = analyse(&bent, &context).unwrap();
            other.script.statements[0].span.end = analysis.script.statements[0].span.end;
            prop_assert_eq!(other, analysis);
        }
        Ok(())
    }
);
