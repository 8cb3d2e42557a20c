//! Depth, size and arbitrary text: an answer every time, never a panic or an overflow of the stack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{entries, on_deep_stack, small_catalog};
use postern_sql::{
    Context, analyse,
    facts::{Cause, Refusal, Script},
    parse::{MAX_STATEMENTS, MAX_TEXT_BYTES, text_of},
};
use proptest::prelude::*;

fn ask(text: &str) -> Result<Script, Refusal> {
    let catalog = small_catalog();
    on_deep_stack(|| analyse(text, &catalog, &Context::new(17, "reader")))
}

fn cause(text: &str) -> Cause {
    ask(text).unwrap_err().cause
}

#[test]
fn real_depth_is_accepted() {
    let union = vec!["SELECT a FROM t"; 200].join(" UNION ALL ");
    ask(&union).unwrap();
    ask(&format!("SELECT {} FROM t", vec!["a"; 500].join(" + "))).unwrap();
    let mut nested = "SELECT a FROM t".to_owned();
    for level in 0..60 {
        nested = format!("SELECT s{level}.a FROM ({nested}) s{level}");
    }
    ask(&nested).unwrap();
    let mut scalar = "SELECT a FROM t".to_owned();
    for _ in 0..60 {
        scalar = format!("SELECT ({scalar} LIMIT 1) AS a FROM t");
    }
    ask(&scalar).unwrap();
    ask(&format!("SELECT a FROM t WHERE a IN ({})", vec!["1"; 50_000].join(","))).unwrap();
    ask(&format!("SELECT a FROM t WHERE {}", vec!["a = 1"; 5_000].join(" OR "))).unwrap();
    ask(&format!("INSERT INTO t VALUES {}", vec!["(1, 'x')"; 10_000].join(","))).unwrap();
}

#[test]
fn more_depth_is_refused_and_says_so() {
    let parentheses = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(cause(&parentheses), Cause::TooComplex);
    assert_eq!(cause(&format!("SELECT {}1", "- ".repeat(20_000))), Cause::TooComplex);
    assert_eq!(cause(&format!("SELECT {}", vec!["1"; 100_000].join("+"))), Cause::TooComplex);
    assert_eq!(cause(&vec!["SELECT 1"; 9_000].join(" UNION ")), Cause::TooComplex);
    assert_eq!(cause(&format!("SELECT {}1{}", "lower(".repeat(3_000), ")".repeat(3_000))), Cause::TooComplex);
    assert_eq!(cause(&format!("SELECT {}true", "NOT ".repeat(5_000))), Cause::TooComplex);
    assert_eq!(cause(&format!("SELECT 1{}", "::int4".repeat(5_000))), Cause::TooComplex);
    assert_eq!(
        cause(&format!("SELECT {}a{} FROM t", "CASE WHEN true THEN ".repeat(3_000), " END".repeat(3_000))),
        Cause::TooComplex
    );
    assert_eq!(
        cause(&format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(3_000), ") x".repeat(3_000))),
        Cause::TooComplex
    );
}

#[test]
fn work_is_bounded_where_text_is_short() {
    // Each level doubles what the one inside of it costs.
    let mut query = "SELECT 1 AS a".to_owned();
    for level in 0..40 {
        query = format!("WITH RECURSIVE r{level} (a) AS ({query} UNION SELECT a FROM r{level}) SELECT a FROM r{level}");
    }
    assert_eq!(cause(&query), Cause::TooComplex);
    let joins = (0..400).map(|at| format!("JOIN t t{at} USING (a)")).collect::<Vec<_>>().join(" ");
    let _ = ask(&format!("SELECT * FROM t {joins}"));
}

#[test]
fn size_and_bytes_are_checked() {
    assert_eq!(text_of(&vec![b' '; MAX_TEXT_BYTES + 1]).unwrap_err().cause, Cause::TooComplex);
    assert!(text_of(&vec![b' '; MAX_TEXT_BYTES]).is_ok());
    assert_eq!(text_of(b"SELECT '\xff'").unwrap_err().position, Some(8));
    assert_eq!(text_of(b"SELECT 1\0; DROP TABLE t").unwrap_err().cause, Cause::Syntax);
    assert_eq!(cause(&"SELECT 1;".repeat(MAX_STATEMENTS + 1)), Cause::TooComplex);
}

fn pieces() -> Vec<String> {
    let mut words: Vec<String> = [
        "(", ")", ",", ";", "'", "\"", "$1", "$$", "--", "/*", "*/", "::", "E'\\", "U&'\\", "*", ".", "t", "a",
        "pg_temp",
    ]
    .map(str::to_owned)
    .to_vec();
    for text in
        [include_str!("corpus/facts.txt"), include_str!("corpus/evasions.txt"), include_str!("corpus/readers.txt")]
    {
        for entry in entries(text) {
            words.extend(entry.sql.split_whitespace().map(str::to_owned));
        }
    }
    words.sort();
    words.dedup();
    words
}

fn statements() -> Vec<String> {
    [include_str!("corpus/facts.txt"), include_str!("corpus/evasions.txt")]
        .iter()
        .flat_map(|text| entries(text))
        .map(|entry| entry.sql)
        .filter(|sql| !sql.is_empty())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_gets_an_answer(text in "\\PC{0,200}", major in 13_u16..=18) {
        let catalog = small_catalog();
        let _ = on_deep_stack(|| analyse(&text, &catalog, &Context::new(major, "reader")));
    }

    #[test]
    fn words_of_the_corpora_in_any_order_get_an_answer(words in prop::collection::vec(prop::sample::select(pieces()), 0..25)) {
        let catalog = small_catalog();
        let text = words.join(" ");
        let _ = on_deep_stack(|| analyse(&text, &catalog, &Context::new(18, "reader")));
    }

    #[test]
    fn mutated_statements_get_an_answer(
        one in prop::sample::select(statements()),
        other in prop::sample::select(statements()),
        cut in 0.0..1.0_f64,
        resume in 0.0..1.0_f64,
        insert in prop::sample::select(pieces()),
    ) {
        let catalog = small_catalog();
        let at = |text: &str, share: f64| {
            let mut at = (text.len() as f64 * share) as usize;
            while !text.is_char_boundary(at) { at -= 1; }
            at
        };
        let text = format!("{} {insert} {}", &one[..at(&one, cut)], &other[at(&other, resume)..]);
        let _ = on_deep_stack(|| analyse(&text, &catalog, &Context::new(16, "reader")));
    }
}
