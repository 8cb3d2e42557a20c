//! Each evasion names the guards that stop it, and without them gets through.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/corpus/different.rs"]
mod different;
#[path = "../../tests/common/switch.rs"]
mod switch;

use std::{collections::BTreeSet, fmt::Write as _};

use common::{Cluster, Entry, entries, on_deep_stack};
use different::assert_different;
pub(crate) use switch::stops;
use switch::{AWAY, LAST};

use crate::{Catalog, Context, analyse, read_only};

/// What a read-only session is told of a statement, and by which guard, while others are away. `None`: it gets through.
fn stopped(sql: &str, catalog: &Catalog, context: &Context, away: &BTreeSet<String>) -> Option<(String, String)> {
    AWAY.set(away.clone());
    let told = match analyse(sql, catalog, context) {
        Err(refusal) => Some(format!("refused {:?}", refusal.cause)),
        Ok(script) => script.statements.iter().find_map(|one| read_only(one).err()).map(|reason| reason.to_string()),
    };
    AWAY.take();
    told.map(|told| (told, LAST.take()))
}

/// All guards that stop a statement: one is taken away after the other until it gets through.
fn guards(sql: &str, catalog: &Catalog, context: &Context) -> BTreeSet<String> {
    let mut away = BTreeSet::new();
    while let Some((told, guard)) = stopped(sql, catalog, context, &away) {
        assert!(away.insert(guard.clone()), "{sql}: {told}, but not by a guard ({guard:?})");
    }
    away
}

fn check(entry: &Entry, catalog: &Catalog, context: &Context) -> Result<(), String> {
    let [told, named] = entry.expect.as_slice() else { return Err("it names no guards".into()) };
    let named: BTreeSet<String> = named.trim_start_matches("guards: ").split(", ").map(str::to_owned).collect();
    match stopped(&entry.sql, catalog, context, &BTreeSet::new()) {
        Some((found, _)) if found == *told => {}
        other => return Err(format!("{told}, not {other:?}")),
    }
    // Without all that it names it gets through; with any one of them it does not.
    if let Some(other) = stopped(&entry.sql, catalog, context, &named) {
        return Err(format!("it is stopped by another guard: {other:?}"));
    }
    for one in &named {
        let mut others = named.clone();
        others.remove(one);
        let found = stopped(&entry.sql, catalog, context, &others);
        if found.as_ref().is_none_or(|(_, guard)| guard != one) {
            return Err(format!("{one} does not stop it by itself: {found:?}"));
        }
    }
    Ok(())
}

/// `POSTERN_BLESS=1` writes what is found into the corpus, to be read before it is committed.
#[test]
fn each_evasion_is_stopped_by_the_guards_that_it_names_and_by_nothing_else() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/evasions.txt");
    let corpus = entries(&std::fs::read_to_string(&path).unwrap());
    let cluster = Cluster::start();
    let (catalog, context) = (cluster.catalog(None), cluster.context());
    on_deep_stack(|| {
        if std::env::var_os("POSTERN_BLESS").is_some() {
            let mut text = String::new();
            for entry in &corpus {
                let told = stopped(&entry.sql, &catalog, &context, &BTreeSet::new());
                let told = told.map_or_else(|| "PASSES".to_owned(), |(told, _)| told);
                let guards = Vec::from_iter(guards(&entry.sql, &catalog, &context)).join(", ");
                write!(text, "## {}\n{}\n= {told}\n= guards: {guards}\n\n", entry.title, entry.sql).unwrap();
            }
            std::fs::write(&path, format!("{}\n", text.trim_end())).unwrap();
            return;
        }
        let wrong: Vec<String> = corpus
            .iter()
            .filter_map(|entry| {
                check(entry, &catalog, &context).err().map(|why| format!("{}: {}\n  {why}", entry.title, entry.sql))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
    assert_different(&corpus);
    assert!(corpus.len() >= 120, "there are {} evasions", corpus.len());
    let named: Vec<&str> = corpus.iter().filter_map(|entry| entry.expect.get(1)).map(String::as_str).collect();
    for guard in ALL {
        assert!(named.iter().any(|guards| guards.contains(guard)), "no evasion is stopped by \"{guard}\"");
    }
}

/// The names of all guards.
const ALL: &[&str] = &[
    super::GRAMMAR,
    super::NUMBERS,
    super::WORDS,
    super::FUNCTIONS,
    super::ORDER,
    super::PREPARED,
    super::CURSORS,
    "insert",
    "update",
    "delete",
    "truncate",
    "ddl",
    "call",
    "admin",
    "locks",
    "functions with effects",
    "functions that are not known",
    "settings",
    "transactions that may write",
    "two-phase commit",
];
