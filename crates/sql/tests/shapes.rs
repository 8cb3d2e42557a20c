//! Which statements have the same shape, and which do not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{on_deep_stack, small_catalog};
use postern_sql::{Context, Shapes, analyse_in_full, context::Lexing};

/// Whether the second is taken for the first.
fn same(one: &str, other: &str, context: &Context) -> bool {
    let catalog = small_catalog();
    let analyse = |text: &str| on_deep_stack(|| analyse_in_full(text, &catalog, context));
    let mut shapes = Shapes::new(1 << 20);
    let analysis = analyse(one).unwrap();
    shapes.keep(one.as_bytes(), &analysis, ());
    let same = shapes.lookup(other.as_bytes()).is_some();
    if same {
        let mut other = analyse(other).unwrap();
        other.script.statements[0].span.end = analysis.script.statements[0].span.end;
        assert_eq!(other, analysis);
    }
    same
}

#[test]
fn free_literals_may_have_any_value() {
    let context = Context::new(17, "reader");
    for (one, other) in [
        ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = 4711"),
        ("SELECT a FROM t WHERE a = 1;", "SELECT a FROM t WHERE a = 2;"),
        ("SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = 'a longer -- one; /*'"),
        ("SELECT a FROM t WHERE a IN (1, 2)", "SELECT a FROM t WHERE a IN (3, 4)"),
        ("SELECT a + 1 FROM t WHERE a = -1", "SELECT a + 2 FROM t WHERE a = -30"),
        ("SELECT a FROM t WHERE a = - (1)", "SELECT a FROM t WHERE a = - (22)"),
        ("UPDATE t SET a = a + 1, b = 'x' WHERE a = 3", "UPDATE t SET a = a + 22, b = '' WHERE a = 0"),
        ("INSERT INTO t VALUES (1, 'x'), (2, 'y')", "INSERT INTO t VALUES (11, ''), (22, 'zz')"),
        ("DELETE FROM t WHERE a > 1 OR b = 'x'", "DELETE FROM t WHERE a > 100 OR b = 'y'"),
        ("SELECT (SELECT a FROM t WHERE a = 1)", "SELECT (SELECT a FROM t WHERE a = 2)"),
        (
            "WITH c AS (SELECT a FROM t WHERE a = 1) SELECT * FROM c",
            "WITH c AS (SELECT a FROM t WHERE a = 9) SELECT * FROM c",
        ),
        (
            "SELECT CASE WHEN a = 1 THEN 'one' ELSE 'more' END FROM t",
            "SELECT CASE WHEN a = 2 THEN '' ELSE '2' END FROM t",
        ),
        // What is fixed is the same in both.
        ("SELECT a FROM t WHERE a = 1 ORDER BY 1 LIMIT 5", "SELECT a FROM t WHERE a = 2 ORDER BY 1 LIMIT 5"),
        ("SELECT lower('x') FROM t WHERE a = 1", "SELECT lower('x') FROM t WHERE a = 2"),
    ] {
        assert!(same(one, other, &context), "{one}\n{other}");
        assert!(same(other, one, &context), "{other}\n{one}");
    }
}

#[test]
fn everything_else_has_to_be_the_same() {
    let context = Context::new(17, "reader");
    for (one, other) in [
        ("SELECT a, b FROM t ORDER BY 1", "SELECT a, b FROM t ORDER BY 2"),
        ("SELECT a, b FROM t GROUP BY 1, 2", "SELECT a, b FROM t GROUP BY 2, 2"),
        ("SELECT DISTINCT ON (1) a, b FROM t", "SELECT DISTINCT ON (2) a, b FROM t"),
        ("SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 100"),
        ("SELECT a FROM t OFFSET 1", "SELECT a FROM t OFFSET 2"),
        ("SELECT a FROM t FETCH FIRST 1 ROWS ONLY", "SELECT a FROM t FETCH FIRST 9 ROWS ONLY"),
        ("SELECT lower('x') FROM t", "SELECT lower('y') FROM t"),
        ("SELECT '1'::int4 FROM t", "SELECT '2'::int4 FROM t"),
        ("SELECT int4 '1' FROM t", "SELECT int4 '2' FROM t"),
        ("SELECT CAST(1 AS numeric(10))", "SELECT CAST(1 AS numeric(11))"),
        ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = '1'"),
        ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = -1"),
        ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = 1 "),
        ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t where a = 1"),
        ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = 12345678901"),
        ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = 1.0"),
        ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = 1e0"),
        ("SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = 'x''y'"),
        ("SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = E'x'"),
        ("SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = 'ä'"),
        ("SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = 'x'\n'y'"),
        ("SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = '\\x'"),
        ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = 1; DELETE FROM t"),
        ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = $1"),
        ("SELECT a FROM t WHERE a = 1", "SELECT a FROM public.t WHERE a = 1"),
        ("SELECT a FROM t WHERE a = 1", "SELECT b FROM t WHERE a = 1"),
    ] {
        assert!(!same(one, other, &context), "{one}\n{other}");
    }
    // Of other kinds of statements nothing is kept.
    for text in
        ["SET jit = 1", "EXPLAIN SELECT a FROM t WHERE a = 1", "BEGIN", "COPY t TO STDOUT", "SELECT 1; SELECT 2", ""]
    {
        assert!(!same(text, text, &context), "{text}");
    }
}

#[test]
fn there_are_none_while_literals_are_read_otherwise() {
    let text = "SELECT a FROM t WHERE b = 'x'";
    let mut context = Context::new(17, "reader");
    assert!(same(text, text, &context));
    context.lexing = Lexing { standard_conforming_strings: false, backslash_quote: true };
    assert!(!same(text, text, &context));
    context.lexing = Lexing { standard_conforming_strings: true, backslash_quote: false };
    assert!(!same(text, text, &context));
    let mut context = Context::new(17, "reader");
    context.parameters = vec![23];
    assert!(!same(text, text, &context));
}

#[test]
fn what_is_kept_is_bounded() {
    let (catalog, context) = (small_catalog(), Context::new(17, "reader"));
    let mut shapes = Shapes::new(16 * 1024);
    let mut kept = 0;
    for number in 0..1_000 {
        let text = format!("SELECT a AS x{number} FROM t WHERE a = 1");
        let analysis = on_deep_stack(|| analyse_in_full(&text, &catalog, &context)).unwrap();
        assert!(shapes.keep(text.as_bytes(), &analysis, number));
        assert_eq!(shapes.lookup(text.as_bytes()), Some(&mut number.clone()));
    }
    for number in 0..1_000 {
        kept += usize::from(shapes.lookup(format!("SELECT a AS x{number} FROM t WHERE a = 2").as_bytes()).is_some());
    }
    assert!((1..100).contains(&kept), "{kept}");
    shapes.clear();
    assert_eq!(shapes.lookup(b"SELECT a AS x999 FROM t WHERE a = 1"), None);
}
