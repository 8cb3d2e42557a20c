//! Each attempt of the leak corpus names the guards that stop it, and without them gets through.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../sql/tests/common/mod.rs"]
mod common;
#[path = "../../../sql/tests/corpus/different.rs"]
mod different;
#[path = "../../../sql/tests/common/switch.rs"]
mod switch;

use crate::{
    Mask, Type,
    plan::{Permits, plan},
    rules::{Column, ColumnRule, Compare, Rules},
};
use common::{Cluster, Entry, entries, on_deep_stack};
use different::assert_different;
use postern_sql::{
    Catalog, Context, analyse_in_full,
    facts::{Cause, Name},
};
use std::{collections::BTreeSet, fmt::Write as _, path::Path};
pub(crate) use switch::stops;
use switch::{AWAY, LAST};

/// May see nothing that is masked, and write anything that may be written.
struct Nobody;

impl Permits for Nobody {
    fn unmask(&mut self, _: &Column) -> bool {
        false
    }

    fn overwrite(&mut self, _: &Column) -> bool {
        false
    }

    fn write(&mut self, _: &Name) -> bool {
        true
    }
}

/// What the corpus's own file tags, and what is a child of a table with tags.
fn rules(file: &str) -> Rules {
    let mut rules = Rules::default();
    let lines = file.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(": "));
    let masks: Vec<(&str, &str)> = lines.clone().filter(|(name, _)| name.split('.').count() == 2).collect();
    for (column, tag) in lines.filter(|(name, _)| name.split('.').count() == 3) {
        let [schema, table, name] = column.split('.').collect::<Vec<_>>()[..] else { panic!("{column}") };
        let mask = match masks.iter().find(|(of, _)| *of == tag).unwrap().1 {
            "email" => Mask::Email,
            "redact" => Mask::Redact,
            "\"null\"" => Mask::Null,
            "date_year" => Mask::DateYear,
            "noise" => Mask::Noise,
            "hash" => Mask::Hash,
            "{ partial: 4 }" => Mask::Partial { keep: 4 },
            other => panic!("{other}"),
        };
        let compare = if ["born", "mood", "during"].contains(&name) { Compare::None } else { Compare::Equality };
        let rule = ColumnRule { tags: BTreeSet::from([tag.into()]), mask, compare, ty: Type::text() };
        let children: &[&str] = match table {
            "visits" => &["visits_1", "visits_2"],
            "records" => &["old_records"],
            _ => &[],
        };
        for table in [table].iter().chain(children) {
            let relation = Name { schema: schema.into(), name: (*table).into() };
            rules.tables.entry(relation).or_default().columns.insert(name.into(), rule.clone());
        }
    }
    rules
}

/// What an attempt is stopped by, step by step, while some guards are away. `None`: it gets through. Of one that is to fail
/// at the server, what that says has to be withheld.
fn stopped(
    entry: &Entry,
    catalog: &Catalog,
    context: &Context,
    rules: &Rules,
    away: &BTreeSet<String>,
) -> Option<String> {
    let fails = entry.expect[0].starts_with("withheld");
    AWAY.set(away.clone());
    LAST.take();
    let mut context = context.clone();
    let told = entry.sql.split(";\n").find_map(|step| {
        let analysis = match analyse_in_full(step, catalog, &context) {
            // What an earlier step would have made is not there.
            Err(refusal) if refusal.cause == Cause::Missing => return None,
            Err(_) => return Some("analysis".to_owned()),
            Ok(analysis) => analysis,
        };
        analysis.handles.iter().flatten().for_each(|handle| context.keep(handle));
        analysis.script.statements.iter().find_map(|statement| match plan(statement, rules, &mut Nobody) {
            Err(_) => Some(LAST.take()),
            // What it prepares returns rows, and it returns none.
            Ok(_) if statement.tag == "PREPARE" => None,
            Ok(plan) if plan.columns.iter().any(Option::is_some) => Some(super::MASK.to_owned()),
            Ok(plan) => (fails && plan.touches).then(|| super::WITHHELD.to_owned()),
        })
    });
    AWAY.take();
    told
}

/// All guards that stop an attempt: one is taken away after the other until it gets through.
fn guards(entry: &Entry, stopped: &dyn Fn(&Entry, &BTreeSet<String>) -> Option<String>) -> BTreeSet<String> {
    let mut away = BTreeSet::new();
    while let Some(guard) = stopped(entry, &away) {
        let analysis = guard == "analysis";
        assert!(away.insert(guard.clone()) || analysis, "{}: it is not {guard} that stops it", entry.sql);
        if analysis {
            break;
        }
    }
    away
}

fn named(entry: &Entry) -> BTreeSet<String> {
    let line = entry.expect.iter().find_map(|line| line.strip_prefix("guards: "));
    line.unwrap_or_default().split(", ").map(str::to_owned).collect()
}

/// `POSTERN_BLESS=1` writes what is found into the corpus, to be read before it is committed.
#[test]
fn each_attempt_is_stopped_by_the_guards_that_it_names_and_by_nothing_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let corpus = entries(&read("leaks.txt"));
    let rules = rules(&read("leaks.yaml"));
    let cluster = Cluster::start();
    let (out, done) = cluster.psql(&script(&read("leaks.sql")), &["-v", "ON_ERROR_STOP=1"]);
    assert!(done, "{out}");
    let (catalog, context) = (cluster.catalog(None), cluster.context());
    on_deep_stack(|| {
        let stopped = |entry: &Entry, away: &BTreeSet<String>| stopped(entry, &catalog, &context, &rules, away);
        if std::env::var_os("POSTERN_BLESS").is_some() {
            bless(&folder.join("leaks.txt"), &corpus, &stopped);
            return;
        }
        let check = |entry: &Entry| {
            let named = named(entry);
            let found = guards(entry, &stopped);
            if found != named {
                return Err(format!("it is stopped by {found:?}"));
            }
            let alone = |one: &&String| {
                let others = named.iter().filter(|other| other != one).cloned().collect();
                stopped(entry, &others).as_ref() != Some(*one)
            };
            named.iter().find(alone).map_or(Ok(()), |one| Err(format!("{one} does not stop it by itself")))
        };
        let wrong: Vec<String> = corpus
            .iter()
            .filter_map(|entry| check(entry).err().map(|why| format!("{}: {}\n  {why}", entry.title, entry.sql)))
            .collect();
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    });
    assert_different(&corpus);
    assert!(corpus.len() >= 200, "there are {} attempts", corpus.len());
}

fn bless(file: &Path, corpus: &[Entry], stopped: &dyn Fn(&Entry, &BTreeSet<String>) -> Option<String>) {
    let mut text = String::new();
    for entry in corpus {
        let guards = Vec::from_iter(guards(entry, stopped)).join(", ");
        let twin = entry.expect.iter().find(|line| line.starts_with("twin: ")).unwrap();
        write!(text, "## {}\n{}\n= {}\n= guards: {guards}\n= {twin}\n\n", entry.title, entry.sql, entry.expect[0])
            .unwrap();
    }
    std::fs::write(file, format!("{}\n", text.trim_end())).unwrap();
}

/// The first of the two databases, in place of the analysis's own shop.
fn script(text: &str) -> String {
    let (_, rest) = text.split_once("CREATE SCHEMA").unwrap();
    let pieces = rest.split("<<").map(|piece| match piece.split_once(">>") {
        Some((pair, after)) => [pair.split_once('|').unwrap().0, after].concat(),
        None => piece.to_owned(),
    });
    format!("DROP SCHEMA shop CASCADE; CREATE SCHEMA{}", pieces.collect::<String>())
}
