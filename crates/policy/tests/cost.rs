//! What a decision costs. Not run by default: `cargo test -p postern-policy --test cost -- --ignored --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, too"
)]

mod common;

use common::*;
use postern_policy::{Plan, Policies, Question, Subject, builtin};
use postern_sql::facts::{Action, Statement};
use std::{hint::black_box, sync::Arc, time::Instant};

const ROUNDS: u32 = 2_000;

fn measure(what: &str, mut run: impl FnMut()) {
    for _ in 0..ROUNDS / 10 {
        run();
    }
    let start = Instant::now();
    for _ in 0..ROUNDS {
        run();
    }
    let micros = start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    eprintln!("{what}: {micros:.2} µs");
}

fn both(what: &str, policies: &Arc<Policies>, subject: &Subject, statement: &Statement) {
    let (moment, objects) = (noon(), objects());
    let plan = Plan::for_grant(policies.clone(), Arc::new(subject.clone()));
    let question = Question { subject, moment: &moment, statement, objects: &objects };
    assert_eq!(plan.decide(&moment, statement, &objects), policies.decide(&question));
    measure(&format!("{what}, plan"), || drop(black_box(plan.decide(&moment, statement, &objects))));
    measure(&format!("{what}, Cedar"), || drop(black_box(policies.decide(&question))));
}

#[test]
#[ignore = "measures"]
fn cost() {
    let read = statement("SELECT", [relation(Action::Read, "public.orders")]);
    let join = statement("SELECT", [relation(Action::Read, "public.orders"), relation(Action::Read, "shop.items")]);
    let update =
        statement("UPDATE", [relation(Action::Read, "public.orders"), relation(Action::Update, "public.orders")]);
    let starter = Arc::new(Policies::load(&builtin::STARTER).unwrap());
    let default = Arc::new(Policies::load(&[builtin::DEFAULT]).unwrap());
    let reader = subject("agent:ci", &["agents"], "read");
    let writer = subject("agent:ci", &["agents"], "write");
    both("starter, SELECT of one table", &starter, &reader, &read);
    both("starter, SELECT of two tables", &starter, &reader, &join);
    both("starter, UPDATE (reads time and WHERE)", &starter, &writer, &update);
    both("default, SELECT of one table", &default, &reader, &read);
    let mut many: Vec<(String, String)> =
        builtin::STARTER.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    many.extend((0..40).map(|n| {
        let text = format!(
            "@id(\"team-{n}\") permit(principal in Group::\"team-{n}\", action == Action::\"read\", resource in Schema::\"demo/s{n}\") when {{ context.statement.limit < 100 }};"
        );
        (format!("team-{n}.cedar"), text)
    }));
    let start = Instant::now();
    let fifty = Arc::new(Policies::load(&many).unwrap());
    eprintln!("{} policies, loaded in {:?}", fifty.names().len(), start.elapsed());
    both("55 policies, SELECT of one table", &fifty, &reader, &read);
    both("55 policies, UPDATE", &fifty, &writer, &update);
}
