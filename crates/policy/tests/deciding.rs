//! What deciding costs for each statement, in microseconds on one thread: analysis by the catalog of a real server, then
//! the starter policies. `make bench` runs it; asserts nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement, which prints"
)]

mod common;
#[path = "../../sql/tests/common/mod.rs"]
mod database;

use common::{noon, objects, subject};
use database::{Cluster, on_deep_stack};
use postern_policy::{Decision, Plan, Policies, builtin};
use postern_sql::{Analysis, Shapes, analyse_in_full};
use std::{hint::black_box, sync::Arc, time::Instant};

/// The median of several rounds, since others use the machine too.
fn micros(runs: u32, mut job: impl FnMut(u32)) -> f64 {
    let mut round = || {
        let began = Instant::now();
        (0..runs).for_each(&mut job);
        began.elapsed().as_secs_f64() * 1e6 / f64::from(runs)
    };
    round();
    let mut rounds: Vec<f64> = (0..7).map(|_| round()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[3]
}

const TABLES: &str = "\
CREATE TABLE public.pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
CREATE TABLE public.pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));";

/// The access role by which each is decided, a name, and the statement; `#` stands for a number.
const STATEMENTS: [(&str, &str, &str); 5] = [
    ("read", "SELECT by key", "SELECT abalance FROM pgbench_accounts WHERE aid = #;"),
    (
        "read",
        "SELECT of four tables",
        "SELECT c.name, count(*), sum(i.quantity * i.price) FROM customers c JOIN orders o ON o.customer_id = c.id JOIN \
         items i ON i.order_id = o.id LEFT JOIN products p ON p.id = i.product_id WHERE o.total > # AND c.email LIKE '%x' \
         GROUP BY c.name HAVING count(*) > 3 ORDER BY 3 DESC LIMIT 10",
    ),
    ("read", "SELECT of a view", "SELECT * FROM big_orders WHERE id = #"),
    ("write", "UPDATE", "UPDATE pgbench_accounts SET abalance = abalance + # WHERE aid = 1;"),
    (
        "write",
        "INSERT",
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, #, 4, CURRENT_TIMESTAMP);",
    ),
];

#[test]
#[ignore = "a measurement: `make bench` runs it"]
fn deciding_cost() {
    let cluster = Cluster::start();
    cluster.psql(TABLES, &[]);
    let (catalog, context) = (cluster.catalog(None), cluster.context());
    let (policies, objects) = (Arc::new(Policies::load(&builtin::STARTER).unwrap()), objects());
    on_deep_stack(|| {
        for (role, name, statement) in STATEMENTS {
            let plan = Plan::for_grant(policies.clone(), Arc::new(subject("agent:ci", &["agents"], role)));
            let texts: Vec<String> = (1000..2000).map(|number| statement.replace('#', &number.to_string())).collect();
            let text = |run: u32| texts[run as usize % texts.len()].as_bytes();
            let moment = noon();
            let analyse = |text: &[u8]| -> Analysis {
                analyse_in_full(std::str::from_utf8(text).unwrap(), &catalog, &context).unwrap()
            };
            let decide = |analysis: &Analysis| plan.decide(&moment, &analysis.script.statements[0], &objects);
            let mut shapes: Shapes<(Analysis, Decision)> = Shapes::new(1 << 20);
            let analysis = analyse(text(0));
            let decision = decide(&analysis);
            assert!(shapes.keep(text(0), &analysis, (analysis.clone(), decision)));
            let analysed = micros(500, |run| drop(black_box(analyse(text(run)))));
            let new = micros(500, |run| drop(black_box(decide(&analyse(text(run))))));
            let decided = micros(5_000, |_| drop(black_box(decide(&analysis))));
            // Its decision holds until the time is up that it was made for.
            let by_shape = micros(50_000, |run| {
                let (_, decision) = shapes.lookup(text(run)).unwrap();
                assert!(black_box(decision.lifetime.covers(moment.now)));
            });
            println!("| {name} | {new:.1} | {analysed:.1} | {decided:.2} | {by_shape:.2} |");
        }
    });
}
