//! A plan answers as Cedar does, for random policies and questions, also when one plan answers many.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, too"
)]

mod common;

use common::*;
use postern_policy::{
    Moment, Plan, Policies, Question, Subject,
    objects::{Kind, Objects},
};
use postern_sql::facts::{Access, Action, Manner, Name, Object, Standing, Statement};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

const PRINCIPALS: [&str; 5] = [
    "principal",
    "principal is Agent",
    "principal is User",
    "principal in Group::\"dba\"",
    "principal == Agent::\"ci\"",
];

const ACTIONS: [&str; 9] = [
    "action",
    "action == Action::\"connect\"",
    "action == Action::\"read\"",
    "action in Action::\"write\"",
    "action in Action::\"statement\"",
    "action in [Action::\"connect\", Action::\"read\", Action::\"insert\"]",
    "action == Action::\"call\"",
    "action in [Action::\"read\", Action::\"unmask\"]",
    "action in [Action::\"update\", Action::\"overwrite\"]",
];

const RESOURCES: [&str; 5] = [
    "resource",
    "resource is Table",
    "resource in Schema::\"demo/public\"",
    "resource == Table::\"demo/public.orders\"",
    "resource in Connection::\"demo\"",
];

/// Conditions that read what is fixed, what changes, and some that fail.
const CONDITIONS: [&str; 22] = [
    "true",
    "context.grant.role == \"write\"",
    "!context.grant.read_only",
    "context.connection.freeze",
    "resource.tags.contains(\"open\")",
    "resource.kind == \"view\"",
    "context.access.manner == \"plain\"",
    "9223372036854775807 + 1 > 0",
    "context.grant.role == \"write\" || 9223372036854775807 + 1 > 0",
    "context.statement.filtered",
    "context.statement.limit >= 0",
    "context.statement.limit + 9223372036854775807 > 0",
    "context.statement.tables < 2",
    "context.statement.nested",
    "context.statement.unknown_functions.contains(\"public.f\")",
    "context.statement.column_tags.contains(\"pii.email\")",
    "context.statement.settings.contains(\"work_mem\")",
    "context.time.hour < 12",
    "context.time.minute == 0",
    "context.time.now >= datetime(\"2026-11-25T12:00:00Z\")",
    "context.client.address.isLoopback()",
    "context == context",
];

const ANNOTATIONS: [&str; 8] = [
    "",
    "@max_rows(\"10\")",
    "@max_rows(\"7\") @record_binds",
    "@review(\"group:dba 2\")",
    "@review(\"group:dba, group:sec\") @preview @message(\"m\")",
    "@reason_required",
    "@statement_timeout(\"3s\")",
    "@hint(\"h\")",
];

fn policy() -> impl Strategy<Value = String> {
    let pick = |n: usize| 0..n;
    let conditions = prop::collection::vec((any::<bool>(), pick(CONDITIONS.len())), 0..2);
    (0..8u8, pick(PRINCIPALS.len()), pick(ACTIONS.len()), pick(RESOURCES.len()), conditions, pick(ANNOTATIONS.len()))
        .prop_map(|(effect, principal, action, resource, conditions, annotations)| {
            let forbids = effect == 0;
            let annotations = match ANNOTATIONS[annotations] {
                _ if forbids => "",
                // What only concerns sessions cannot be held.
                review if review.contains("review") && action == 1 => "",
                annotations => annotations,
            };
            let conditions: Vec<_> = conditions
                .iter()
                .map(|(when, n)| format!("{} {{ {} }}", if *when { "when" } else { "unless" }, CONDITIONS[*n]))
                .collect();
            format!(
                "{annotations} {} ({}, {}, {}) {};",
                if forbids { "forbid" } else { "permit" },
                PRINCIPALS[principal],
                ACTIONS[action],
                RESOURCES[resource],
                conditions.join(" ")
            )
        })
}

/// Mostly with permits that let a good part of the questions through, so that what comes after counts too.
fn policies() -> impl Strategy<Value = Policies> {
    let base = prop::sample::select(vec![
        "",
        "@id(\"c\") permit(principal, action == Action::\"connect\", resource);",
        "@id(\"c\") permit(principal, action == Action::\"connect\", resource);
         @id(\"r\") permit(principal, action == Action::\"read\", resource) when { context.statement.tag == \"SELECT\" };",
        "@id(\"c\") permit(principal, action, resource);",
        "@id(\"c\") permit(principal, action, resource) when { context.time.hour >= 0 };",
    ]);
    (base, prop::collection::vec(policy(), 0..8)).prop_map(|(base, policies)| {
        let policies = policies.iter().enumerate().map(|(n, policy)| format!("@id(\"p{n}\") {policy}\n"));
        load(&format!("{base}\n{}", policies.collect::<String>()))
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop::sample::select(vec![
        Action::Read,
        Action::Read,
        Action::Insert,
        Action::Update,
        Action::Delete,
        Action::Truncate,
        Action::Ddl,
        Action::Call,
        Action::Admin,
    ])
}

fn access() -> impl Strategy<Value = Access> {
    let object = prop::sample::select(vec![
        Object::Relation(name("public.orders")),
        Object::Relation(name("public.customers")),
        Object::Relation(name("shop.items")),
        Object::Function(name("public.f")),
        Object::Schema("shop".into()),
        Object::Database,
    ]);
    let manner = prop::sample::select(vec![Manner::Plain, Manner::Plain, Manner::Locking, Manner::Copy]);
    (action(), object, manner).prop_map(|(action, object, manner)| Access { action, object, manner })
}

fn any_statement() -> impl Strategy<Value = Statement> {
    let accesses = prop::collection::vec(access(), 0..4);
    let standing = prop::option::of(prop::sample::select(vec![
        Standing::Harmless,
        Standing::Analysed,
        Standing::Effectful,
        Standing::Unknown,
    ]));
    let columns = prop::option::of(prop::sample::select(vec![None, Some("email"), Some("card")]));
    let tag = prop::sample::select(vec!["SELECT", "EXPLAIN", "DELETE"]);
    let limit = prop::option::of(prop::sample::select(vec![0, 1, u64::MAX]));
    (accesses, standing, columns, tag, limit, any::<[bool; 2]>()).prop_map(
        |(accesses, standing, columns, tag, limit, [filtered, sets])| {
            with(
                |s| {
                    s.functions.extend(standing.map(|standing| function("public.f", standing)));
                    s.columns.extend(columns.map(|of| column("public.customers", of)));
                    s.settings.extend(sets.then(|| setting(Some("work_mem"))));
                    s.bound.limit = limit;
                    s.bound.filtered = filtered;
                },
                statement(tag, accesses),
            )
        },
    )
}

fn any_subject() -> impl Strategy<Value = Subject> {
    let principal = prop::sample::select(vec!["agent:ci", "agent:other", "user:ci"]);
    let groups = prop::sample::select(vec![&[][..], &["dba"][..]]);
    let role = prop::sample::select(vec!["read", "write", "write", "all"]);
    (principal, groups, role, any::<[bool; 3]>()).prop_map(|(principal, groups, role, [freeze, quiet, reason])| {
        let mut subject = subject(principal, groups, role);
        subject.connection.freeze = freeze && quiet;
        if !reason {
            subject.grant.reason.clear();
        }
        subject
    })
}

fn any_moment() -> impl Strategy<Value = Moment> {
    let micros = prop::sample::select(vec![WEDNESDAY_NOON - 1, WEDNESDAY_NOON, WEDNESDAY_NOON + 61_000_000]);
    let client = prop::sample::select(vec!["127.0.0.1", "10.0.0.1", "::1"]);
    (micros, client).prop_map(|(micros, client)| Moment { client: client.parse().unwrap(), ..at(micros) })
}

/// What is known of objects, before and after somebody changed tags and a view became a table.
fn worlds() -> [Objects; 2] {
    let mut changed = objects();
    changed.relations.insert(name("public.orders"), (Kind::Table, Arc::default()));
    changed.relations.insert(name("shop.items"), (Kind::Table, Arc::default()));
    changed.schemas.insert("public".into(), Arc::new(tags(&["open"])));
    changed.functions.insert(name("public.f"), Arc::new(tags(&["open"])));
    changed.columns.clear();
    [objects(), changed]
}

/// Each of these made a plan answer from what no longer was so, when the check of it was left out.
#[test]
fn a_plan_follows_what_objects_are() {
    let policies = Arc::new(load(
        r#"@id("c") permit(principal, action == Action::"connect", resource);
        @id("table") permit(principal, action == Action::"read", resource) when { resource.kind == "table" };
        @id("open") permit(principal, action == Action::"update", resource) when { resource.tags.contains("open") };
        @id("call") permit(principal, action == Action::"call", resource is Function)
            when { resource.standing == "effectful" };
        @id("tagged") permit(principal, action == Action::"ddl", resource is Function)
            when { resource.tags.contains("open") };
        @id("mail") permit(principal, action == Action::"unmask", resource) when { resource.tags.contains("pii.email") };"#,
    ));
    let ci = Arc::new(subject("agent:ci", &[], "write"));
    let plan = Plan::for_grant(policies, ci);
    let [before, after] = worlds();
    let mut listed = objects();
    listed.functions.insert(name("public.f"), Arc::new(tags(&["open"])));
    let moment = noon();
    let one = |action, object| statement("X", [Access { action, object, manner: Manner::Plain }]);
    let allowed = |statement: &Statement, objects| plan.decide(&moment, statement, objects).is_allowed();
    for _ in 0..2 {
        for (statement, first, then) in [
            (one(Action::Read, Object::Relation(name("shop.items"))), false, true),
            (one(Action::Update, Object::Relation(name("public.orders"))), true, true),
            (one(Action::Update, Object::Relation(name("public.customers"))), false, true),
            (one(Action::Update, Object::Schema("public".into())), false, true),
            (one(Action::Ddl, Object::Function(name("public.f"))), false, true),
        ] {
            assert_eq!(allowed(&statement, &before), first, "{statement:?}");
            assert_eq!(allowed(&statement, &after), then, "{statement:?}");
        }
        for (standing, expected) in [(Standing::Effectful, true), (Standing::Unknown, false)] {
            let calling = with(|s| s.functions.push(function("public.f", standing)), statement("X", []));
            assert_eq!(allowed(&calling, &before), expected, "{standing:?}");
        }
        let ddl = one(Action::Ddl, Object::Function(name("public.f")));
        assert!(!allowed(&ddl, &before) && allowed(&ddl, &listed));
        let none = statement("X", []);
        let unmask = |objects| {
            plan.decide_unmask(&moment, &none, objects, &name("public.customers"), &"email".into()).is_permitted()
        };
        assert!(unmask(&before) && !unmask(&after));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_answers_as_cedar_does(
        policies in policies(),
        subject in any_subject(),
        asked in prop::collection::vec((any_moment(), any_statement(), any::<bool>()), 1..10),
    ) {
        let policies = Arc::new(policies);
        let plan = Plan::for_grant(policies.clone(), Arc::new(subject.clone()));
        let worlds = worlds();
        plan.prepare([&name("public.orders"), &name("shop.items")], &[Action::Read, Action::Delete], &worlds[0]);
        for (moment, statement, world) in &asked {
            let objects = &worlds[usize::from(*world)];
            let question = Question { subject: &subject, moment, statement, objects };
            let plain = policies.decide(&question);
            prop_assert_eq!(plan.decide(moment, statement, objects), plain.clone());
            prop_assert_eq!(plan.decide_session(moment), policies.decide_session(&subject, moment));
            let column: (Name, Arc<str>) = (name("public.customers"), "email".into());
            prop_assert_eq!(
                plan.decide_unmask(moment, statement, objects, &column.0, &column.1),
                policies.decide_unmask(&question, &column.0, &column.1)
            );
            prop_assert_eq!(
                plan.decide_overwrite(moment, statement, objects, &column.0, &column.1),
                policies.decide_overwrite(&question, &column.0, &column.1)
            );
            for access in statement.accesses.iter().filter(|_| plain.is_permitted()) {
                if let Object::Relation(relation) = &access.object {
                    prop_assert!(plan.may_ever(access.action, relation, objects));
                }
            }
            // A decision that may be kept is the same at any other time that it covers.
            for (later, ..) in asked.iter().filter(|(later, ..)| later.client == moment.client) {
                if later.now >= moment.now && plain.lifetime.covers(later.now) {
                    let again = policies.decide(&Question { moment: later, ..question });
                    prop_assert_eq!(again.outcome, plain.outcome.clone());
                    prop_assert_eq!(again.policies, plain.policies.clone());
                }
            }
        }
    }

    #[test]
    fn requests_fit_the_schema(subject in any_subject(), moment in any_moment(), statement in any_statement()) {
        static POLICIES: LazyLock<Policies> = LazyLock::new(|| load(""));
        let objects = objects();
        let question = Question { subject: &subject, moment: &moment, statement: &statement, objects: &objects };
        prop_assert!(POLICIES.fits_schema(&question.facts()).is_ok());
    }
}
