//! Policy files, bent: each is loaded or refused with its place, and what is loaded decides as Cedar does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking, too")]

mod common;

use common::*;
use postern_fuzz::{mangled, proptest, target, text};
use postern_policy::{Plan, Policies, Question, builtin};
use postern_sql::facts::Action;
use proptest::{collection::vec, prelude::*, sample::select};
use std::sync::Arc;

fn check(file: &str) -> Result<(), TestCaseError> {
    match Policies::load(&[("test.cedar", file)]) {
        Err(problems) => {
            prop_assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.to_string().is_empty()))
        }
        Ok(policies) => {
            let (policies, moment, objects) = (Arc::new(policies), noon(), objects());
            let subject = subject("agent:ci", &["agents"], "write");
            let plan = Plan::for_grant(policies.clone(), Arc::new(subject.clone()));
            for action in [Action::Read, Action::Update, Action::Ddl] {
                let statement = unfiltered(statement("X", [relation(action, "public.orders")]));
                let question =
                    Question { subject: &subject, moment: &moment, statement: &statement, objects: &objects };
                prop_assert_eq!(plan.decide(&moment, &statement, &objects), policies.decide(&question));
            }
        }
    }
    Ok(())
}

fn files() -> impl Strategy<Value = Vec<u8>> {
    let texts: Vec<&str> = builtin::STARTER.iter().chain([&builtin::DEFAULT]).map(|(_, text)| *text).collect();
    select(texts).prop_map(|text| text.as_bytes().to_vec())
}

target!(fuzz_policy_files, mangled(files()), |bytes| check(&String::from_utf8_lossy(&bytes)));

target!(
    fuzz_policy_annotations,
    (
        text("group:dba 123,\" \\-.", 20),
        select(&["review", "max_rows", "max_bytes", "statement_timeout", "message", "id"][..])
    ),
    |(value, name)| {
        let id = if name == "id" { "" } else { "@id(\"a\") " };
        check(&format!("{id}@{name}({value:?}) permit (principal, action == Action::\"update\", resource);"))
    }
);

const AROUND: &[(&str, &str)] = &[
    ("(", ")"),
    ("!", ""),
    ("true && ", ""),
    ("", " || false"),
    ("if true then ", " else false"),
    ("-1 < 0 && ", ""),
    ("[", "].contains(true)"),
    ("{a: ", "}.a"),
    ("(", ") == true"),
];

target!(
    /// Deep conditions.
    fuzz_deep_policies,
    vec((select(AROUND), prop_oneof![5 => 1usize..40, 1 => 40usize..5_000]), 1..4),
    |around| {
        let before: String = around.iter().rev().map(|((left, _), times)| left.repeat(*times)).collect();
        let closing: String = around.iter().map(|((_, right), times)| right.repeat(*times)).collect();
        let file = format!("@id(\"a\") permit (principal, action, resource) when {{ {before}context.grant.read_only{closing} }};");
        // As deep as the threads that decide: where a stack ends depends on who asks.
        let deep = std::thread::Builder::new().stack_size(postern_sql::parse::STACK_BYTES);
        deep.spawn(move || check(&file)).unwrap().join().unwrap()
    }
);
