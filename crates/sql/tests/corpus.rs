//! Statements with the facts expected of each, against the catalog of a real server, which must accept them too.
//!
//! `POSTERN_BLESS=1` writes what is found into the corpus, to be read before it is committed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "corpus/different.rs"]
mod different;
#[path = "corpus/differential.rs"]
mod differential;
#[path = "corpus/lineage.rs"]
mod lineage;
#[path = "corpus/shapes.rs"]
mod shapes;

use std::fmt::Write as _;

use common::{Cluster, Entry, entries, on_deep_stack};
use different::assert_different;
use postern_sql::{
    Catalog, Context, analyse, analyse_in_full,
    facts::{Barrier, Manner, Name, Object, Place, Refusal, Script, Standing, Statement},
    read_only,
};

fn name(name: &Name) -> String {
    format!("{}.{}", name.schema, name.name)
}

fn accesses(statement: &Statement) -> impl Iterator<Item = String> + '_ {
    statement.accesses.iter().map(|access| {
        let action = access.action.as_str();
        let manner = match access.manner {
            Manner::Plain => "",
            Manner::Locking => " locking",
            Manner::Copy => " copy",
        };
        let object = match &access.object {
            Object::Relation(relation) => name(relation),
            Object::Function(function) => format!("{}()", name(function)),
            Object::Schema(schema) => format!("{schema}.*"),
            Object::Database => "database".into(),
        };
        format!("{action}{manner} {object}")
    })
}

/// The facts of a statement on one line, without what is as usual.
fn line(statement: &Statement) -> String {
    let mut parts: Vec<String> = vec![statement.tag.into()];
    parts.extend(accesses(statement));
    for place in Place::ALL {
        let columns: Vec<String> = statement
            .columns
            .iter()
            .filter(|used| used.place == place)
            .map(|used| format!("{}.{}", used.relation.name, used.column.as_deref().unwrap_or("*")))
            .collect();
        if !columns.is_empty() {
            parts.push(format!("{place:?} {}", columns.join(" ")).to_lowercase());
        }
    }
    for standing in [Standing::Harmless, Standing::Analysed, Standing::Effectful, Standing::Unknown] {
        let functions: Vec<String> = statement
            .functions
            .iter()
            .filter(|function| function.standing == standing)
            .map(|function| name(&function.name).trim_start_matches("pg_catalog.").to_owned())
            .collect();
        if !functions.is_empty() {
            parts.push(format!("{standing:?}: {}", functions.join(" ")));
        }
    }
    for setting in &statement.settings {
        let local = if setting.local { "local " } else { "" };
        let name = setting.name.as_deref().unwrap_or("?");
        parts.push(format!("set {local}{name}={}", setting.value.as_deref().unwrap_or("?")));
    }
    parts.extend(statement.transaction.iter().map(|transaction| format!("{transaction:?}")));
    if !statement.bound.filtered {
        parts.push("unfiltered".into());
    }
    parts.extend(statement.bound.limit.iter().map(|limit| format!("limit {limit}")));
    parts.extend(statement.effects.iter().map(|effect| format!("[{effect}]")));
    if statement.barrier == Barrier::Names {
        parts.push("barrier".into());
    }
    parts.join("; ")
}

fn facts(result: &Result<Script, Refusal>, line: &dyn Fn(&Statement) -> String) -> Vec<String> {
    match result {
        Ok(script) => script.statements.iter().map(line).collect(),
        Err(refusal) => vec![format!("REFUSED {:?}: {}", refusal.cause, refusal.message)],
    }
}

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn check_facts(catalog: &Catalog, context: &Context, file: &str, least: usize) {
    let path = folder().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let corpus = entries(&text);
    let mut blessed = text.split("## ").next().unwrap().to_owned();
    let mut wrong = Vec::new();
    for entry in &corpus {
        let result = analyse(&entry.sql, catalog, context);
        let got = match file {
            "lineage.txt" => facts(&result, &|statement| lineage::line(&entry.sql, statement, context)),
            _ => facts(&result, &line),
        };
        write!(blessed, "## {}\n{}\n", entry.title, entry.sql).unwrap();
        got.iter().for_each(|line| writeln!(blessed, "= {line}").unwrap());
        blessed.push('\n');
        if got != entry.expect {
            wrong.push(format!("{}: {}\n  expected {:#?}\n  got {got:#?}", entry.title, entry.sql, entry.expect));
        }
    }
    if std::env::var_os("POSTERN_BLESS").is_some() {
        std::fs::write(&path, format!("{}\n", blessed.trim_end())).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_different(&corpus);
    assert!(corpus.len() >= least, "the corpus has {} entries", corpus.len());
}

/// The server must take each statement too: a corpus of what no server accepts proves nothing.
fn check_accepted(cluster: &Cluster, corpus: &[Entry], reads: &dyn Fn(&str) -> bool) {
    let mut script = String::from("\\set VERBOSITY sqlstate\nSET search_path = shop, public;\n");
    for (at, entry) in corpus.iter().enumerate() {
        if entry.title.ends_with('!') {
            continue;
        }
        // What we say only reads must run where the server lets nothing be written.
        let begin = if reads(&entry.sql) { "BEGIN READ ONLY" } else { "BEGIN" };
        write!(script, "\\warn #{at}\n{begin};\n{};\nROLLBACK;\n", entry.sql).unwrap();
    }
    let (out, _) = cluster.psql(&script, &[]);
    let mut at = 0_usize;
    let mut wrong = Vec::new();
    for line in out.lines() {
        if let Some(number) = line.strip_prefix('#').and_then(|number| number.parse().ok()) {
            at = number;
        } else if let Some(state) = line.split("ERROR:  ").nth(1) {
            // Syntax, and names that are not there. A parameter without a value is as it should be.
            let bad = ["42601", "42P01", "42703", "42883", "42704", "3F000", "25006"].contains(&state.trim());
            let refused = corpus[at].expect.iter().any(|line| line.starts_with("REFUSED"));
            if bad && !refused {
                wrong.push(format!("{} {}: {}", state, corpus[at].title, corpus[at].sql));
            }
        }
    }
    assert!(wrong.is_empty(), "the server refuses:\n{}", wrong.join("\n"));
}

fn check_readers(catalog: &Catalog, context: &Context) {
    let corpus = entries(&std::fs::read_to_string(folder().join("readers.txt")).unwrap());
    let mut wrong = Vec::new();
    let mut session = context.clone();
    for entry in &corpus {
        // What a client prepared and opened, it uses in later entries.
        match analyse_in_full(&entry.sql, catalog, &session) {
            Err(refusal) => wrong.push(format!("{}: {}\n  refused: {}", entry.title, entry.sql, refusal.message)),
            Ok(analysis) => {
                analysis.handles.iter().flatten().for_each(|handle| session.keep(handle));
                let script = &analysis.script;
                for reason in script.statements.iter().filter_map(|statement| read_only(statement).err()) {
                    wrong.push(format!("{}: {}\n  {reason}", entry.title, entry.sql));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
    assert_different(&corpus);
    assert!(corpus.len() >= 100, "there are {} readers' statements", corpus.len());
}

/// Statements cut and joined at random: whatever they mean to this catalog, there is an answer.
fn check_mutations(catalog: &Catalog, context: &Context) {
    use proptest::{prelude::*, test_runner::TestRunner};
    let read = |file: &str| entries(&std::fs::read_to_string(folder().join(file)).unwrap());
    let mut words: Vec<Vec<String>> = Vec::new();
    for entry in ["facts.txt", "evasions.txt", "readers.txt", "lineage.txt"].iter().flat_map(|file| read(file)) {
        words.push(entry.sql.split_inclusive(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect());
    }
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    let one = || prop::sample::select(words.clone());
    let strategy = (one(), one(), one(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..4);
    let run = TestRunner::new(config).run(&strategy, |(mut first, second, third, from, to, count)| {
        if first.is_empty() || second.is_empty() || third.is_empty() {
            return Ok(());
        }
        let (from, to) = (from.index(first.len()), to.index(second.len()));
        let end = (from + count).min(first.len());
        first.splice(from..end, second[to..(to + 6).min(second.len())].iter().cloned());
        first.extend(third.iter().take(count).cloned());
        let _ = analyse(&first.concat(), catalog, context);
        Ok(())
    });
    run.unwrap();
}

/// Statements of the corpora put together anew, the same in each run.
fn put_together() -> std::collections::BTreeSet<String> {
    let read = |file: &str| entries(&std::fs::read_to_string(folder().join(file)).unwrap());
    let sources: Vec<Vec<String>> = ["facts.txt", "evasions.txt"]
        .iter()
        .flat_map(|file| read(file))
        .map(|entry| entry.sql.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect())
        .filter(|words: &Vec<String>| words.len() > 2)
        .collect();
    // A generator of our own: the same statements in each run.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut texts = std::collections::BTreeSet::new();
    for _ in 0..VERDICTS {
        let mut words = sources[next(sources.len())].clone();
        let other = &sources[next(sources.len())];
        let (at, from, count) = (next(words.len()), next(other.len()), 1 + next(3));
        let end = (at + next(count + 1)).min(words.len());
        words.splice(at..end, other[from..(from + count).min(other.len())].iter().cloned());
        let text = words.concat();
        // COPY changes how psql reads its script.
        let own_end = text.to_ascii_lowercase().contains("commit")
            || text.trim_start().starts_with("COPY")
            || text.contains('\\')
            || text.contains("pg_sleep");
        if !own_end {
            texts.insert(text);
        }
    }
    texts
}

/// The relations and columns that PostgreSQL itself finds in a query, by making a view of it, must be among the facts.
fn check_dependencies(cluster: &Cluster, catalog: &Catalog, context: &Context) {
    const PROBE: &str = "SELECT '#', n.nspname, c.relname, coalesce(a.attname, '*') FROM pg_depend d \
        JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
        JOIN pg_class v ON v.oid = r.ev_class AND v.relname = 'probe_view' \
        JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid AND c.oid <> v.oid AND c.relkind <> 'c' \
        JOIN pg_namespace n ON n.oid = c.relnamespace \
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid AND a.attnum > 0 \
        WHERE d.refobjsubid >= 0";
    let read = |file: &str| entries(&std::fs::read_to_string(folder().join(file)).unwrap());
    let mut texts = put_together();
    texts.extend(["facts.txt", "readers.txt", "lineage.txt"].iter().flat_map(|file| read(file)).map(|entry| entry.sql));
    let queries: Vec<(String, Statement)> = on_deep_stack(|| {
        let judge = |text: String| {
            let script = analyse(&text, catalog, context).ok()?;
            let [one] = script.statements.as_slice() else { return None };
            (one.tag == "SELECT" && !text.contains(';')).then(|| (text, one.clone()))
        };
        texts.into_iter().filter_map(judge).collect()
    });
    let mut script = String::from("SET search_path = shop, public;\n");
    for (at, (text, _)) in queries.iter().enumerate() {
        let probe = PROBE.replace('#', &at.to_string());
        write!(script, "BEGIN;\nCREATE TEMP VIEW probe_view AS {text}\n;\n{probe};\nROLLBACK;\n").unwrap();
    }
    let (out, _) = cluster.psql(&script, &["-t", "-A"]);
    let (mut wrong, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
    for line in out.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let [at, schema, relation, column] = fields.as_slice() else { continue };
        let Ok(at) = at.parse::<usize>() else { continue };
        let (text, statement) = &queries[at];
        let name = Name { schema: (*schema).into(), name: (*relation).into() };
        let accessed = statement.accesses.iter().any(|access| access.object == Object::Relation(name.clone()));
        let used = *column == "*"
            || statement
                .columns
                .iter()
                .any(|used| used.relation == name && used.column.as_deref().is_none_or(|found| found == *column));
        seen.insert(at);
        // A constant of type regclass depends on its relation and does not read it.
        if *column == "*" && !accessed && text.contains('\'') && text.contains(relation) {
            continue;
        }
        if !accessed || !used {
            wrong.push(format!("{schema}.{relation}.{column} is not among the facts of {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.len() > 100, "only {} queries were looked into", seen.len());
}

/// Statements of the corpora put together anew. What is said to read only must not be a write to the server, and what is
/// said to name something missing must be an error to it.
fn check_verdicts(cluster: &Cluster, catalog: &Catalog, context: &Context) {
    let texts = put_together();
    let verdicts: Vec<(String, bool)> = on_deep_stack(|| {
        let judge = |text: String| match analyse(&text, catalog, context) {
            Ok(script) if script.statements.len() == 1 => {
                let one = &script.statements[0];
                (read_only(one).is_ok() && one.transaction.is_none()).then_some((text, true))
            }
            Err(refusal) if refusal.cause == postern_sql::facts::Cause::Missing && !text.contains(';') => {
                Some((text, false))
            }
            _ => None,
        };
        texts.into_iter().filter_map(judge).collect()
    });
    let mut script =
        String::from("\\set VERBOSITY sqlstate\nSET search_path = shop, public;\nSET statement_timeout = '2s';\n");
    for (at, (text, _)) in verdicts.iter().enumerate() {
        write!(script, "\\warn #{at}\nBEGIN READ ONLY;\n{text}\n;\nROLLBACK;\n").unwrap();
    }
    let (out, _) = cluster.psql(&script, &["-t", "-A"]);
    let mut states: Vec<Option<String>> = vec![None; verdicts.len()];
    let mut at = 0;
    for line in out.lines() {
        if let Some(number) = line.strip_prefix('#').and_then(|number| number.parse().ok()) {
            at = number;
        } else if let Some(state) = line.split("ERROR:  ").nth(1) {
            states[at].get_or_insert(state.trim().to_owned());
        }
    }
    let wrong: Vec<String> = verdicts
        .iter()
        .zip(&states)
        .filter(|((_, reads), state)| match reads {
            true => state.as_deref() == Some("25006"),
            false => state.is_none(),
        })
        .map(|((text, reads), state)| {
            format!("{} but {state:?}: {text}", if *reads { "only reads" } else { "missing" })
        })
        .collect();
    let reads = verdicts.iter().filter(|(_, reads)| *reads).count();
    assert!(wrong.is_empty(), "{} of {} (reading {reads}):\n{}", wrong.len(), verdicts.len(), wrong.join("\n"));
    assert!(reads > 100, "only {reads} statements were found to read");
}

/// How many statements are put together for [`check_verdicts`].
const VERDICTS: usize = 20_000;

/// What it costs, printed: `cargo test --release -p postern-sql --test corpus -- --ignored --nocapture`.
#[test]
#[ignore = "prints times, checks nothing"]
#[allow(clippy::print_stdout)]
fn timing() {
    let cluster = Cluster::start();
    let catalog = cluster.catalog(None);
    let context = cluster.context();
    on_deep_stack(|| {
        for sql in [
            "SELECT abalance FROM pgbench_accounts WHERE aid = 1",
            "SELECT id, email FROM customers WHERE id = 5",
            "UPDATE customers SET name = 'x' WHERE id = 5 RETURNING id",
            "INSERT INTO orders (customer_id, total) VALUES (1, 2)",
            "SELECT c.name, count(*), sum(i.quantity * i.price) FROM customers c JOIN orders o ON o.customer_id = c.id JOIN items i ON i.order_id = o.id LEFT JOIN products p ON p.id = i.product_id WHERE o.placed > now() - interval '30 days' AND c.email LIKE '%x' GROUP BY c.name HAVING count(*) > 3 ORDER BY 3 DESC LIMIT 10",
            "SELECT * FROM big_orders",
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p') AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1, 2",
        ] {
            let runs: u32 = 2_000;
            let time = |job: &dyn Fn()| {
                job();
                let start = std::time::Instant::now();
                (0..runs).for_each(|_| job());
                start.elapsed().as_secs_f64() * 1e6 / f64::from(runs)
            };
            let both = time(&|| drop(analyse(sql, &catalog, &context)));
            let parse = time(&|| drop(pg_query::parse(sql, 0)));
            println!("{both:7.1} µs, of which parse {parse:6.1}: {sql}");
        }
    });
}

#[test]
fn lineage_holds_against_a_real_server() {
    differential::check(&Cluster::start());
}

/// One cluster serves all of it: to start one takes longer than the rest.
#[test]
fn the_corpora_hold_against_a_real_server() {
    let cluster = Cluster::start();
    let catalog = cluster.catalog(None);
    let again = cluster.catalog(Some(&catalog));
    assert_eq!(catalog.hash(), again.hash());
    let context = cluster.context();
    let newest = Context { major: postern_sql::version::NEWEST, ..context.clone() };
    let results = on_deep_stack(|| {
        let run = |check: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_ok();
        [
            run(&|| check_facts(&catalog, &context, "facts.txt", 300)),
            run(&|| check_facts(&again, &context, "facts.txt", 300)),
            run(&|| check_facts(&catalog, &newest, "newer.txt", 20)),
            run(&|| check_facts(&catalog, &context, "lineage.txt", 150)),
            run(&|| check_facts(&again, &context, "lineage.txt", 150)),
            run(&|| check_readers(&catalog, &context)),
            run(&|| check_mutations(&catalog, &context)),
            run(&|| shapes::check(&catalog, &context)),
            run(&|| shapes::check_put_together(&catalog, &context)),
        ]
    });
    let reads = |sql: &str| {
        on_deep_stack(|| match analyse(sql, &catalog, &context) {
            Ok(script) => script.statements.iter().all(|statement| read_only(statement).is_ok()),
            Err(_) => false,
        })
    };
    let accepted = |file: &str| {
        let corpus = entries(&std::fs::read_to_string(folder().join(file)).unwrap());
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check_accepted(&cluster, &corpus, &reads))).is_ok()
    };
    let accepted = [accepted("facts.txt"), accepted("readers.txt"), accepted("lineage.txt")];
    let verdicts = std::panic::AssertUnwindSafe(|| check_verdicts(&cluster, &catalog, &context));
    let dependencies = std::panic::AssertUnwindSafe(|| check_dependencies(&cluster, &catalog, &context));
    let [verdicts, dependencies] =
        [std::panic::catch_unwind(verdicts).is_ok(), std::panic::catch_unwind(dependencies).is_ok()];
    let accepted = [accepted[0], accepted[1], accepted[2], verdicts, dependencies];
    cluster.psql("ALTER TABLE shop.queue ADD COLUMN added int", &[]);
    let changed = cluster.catalog(Some(&catalog));
    assert_ne!(catalog.hash(), changed.hash());
    assert!(changed.relation("shop", "queue").unwrap().column("added").is_some());
    assert!(results.iter().chain(&accepted).all(|ok| *ok), "{results:?} {accepted:?}: see above");
}
