//! Decisions: each denial beside the twin that is allowed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, too"
)]

mod common;

use common::*;
use postern_policy::{Decision, DenialCause, Lifetime, Moment, Outcome, Policies, Question, Subject, facts::Facts};
use postern_sql::facts::{Access, Action, Manner, Object, Standing, Statement};
use postern_types::time::Micros;
use std::sync::Arc;

fn decide(policies: &Policies, subject: &Subject, statement: &Statement) -> Decision {
    decide_at(policies, subject, &noon(), statement)
}

fn decide_at(policies: &Policies, subject: &Subject, moment: &Moment, statement: &Statement) -> Decision {
    let objects = objects();
    let question = Question { subject, moment, statement, objects: &objects };
    let decision = policies.decide(&question);
    // What is recorded decides the same again, and the decision survives being recorded.
    let facts: Facts = serde_json::from_str(&serde_json::to_string(&question.facts()).unwrap()).unwrap();
    assert_eq!(policies.decide_again(&facts), decision);
    let again: Decision = serde_json::from_str(&serde_json::to_string(&decision).unwrap()).unwrap();
    assert_eq!(again, decision);
    let explained = policies.explain(&question);
    assert_eq!(explained.decision, decision);
    assert!(explained.accesses.iter().all(|access| access.permitted) || !decision.is_permitted());
    decision
}

fn names(decision: &Decision) -> Vec<&str> {
    decision.policies.iter().map(AsRef::as_ref).collect()
}

const CONNECT: &str = r#"@id("connect") permit(principal, action == Action::"connect", resource);"#;

fn with_connect(text: &str) -> Policies {
    load(&format!("{CONNECT}\n{text}"))
}

fn select() -> Statement {
    statement("SELECT", [relation(Action::Read, "public.orders")])
}

#[test]
fn nothing_is_permitted_by_default() {
    let ci = subject("agent:ci", &[], "write");
    let denied = decide(&load(""), &ci, &select());
    let denial = denied.denial().unwrap();
    assert_eq!((denial.action.as_str(), denial.cause), ("connect", DenialCause::NotPermitted));
    let denied = decide(&with_connect(""), &ci, &select());
    let denial = denied.denial().unwrap();
    assert_eq!((denial.action.as_str(), denial.resource.as_str()), ("read", "public.orders"));
    assert_eq!(denial.message, "no policy permits read on public.orders");
    assert!(denial.hint.contains("may do nothing to public.orders"), "{}", denial.hint);
    assert_eq!(names(&denied), [""; 0]);
    // The twin.
    let policies = with_connect(r#"@id("r") permit(principal, action == Action::"read", resource);"#);
    let allowed = decide(&policies, &ci, &select());
    assert!(allowed.is_allowed());
    assert_eq!(names(&allowed), ["connect", "r"]);
}

#[test]
fn a_statement_without_accesses_needs_connect_and_nothing_else() {
    let ci = subject("agent:ci", &[], "read");
    assert!(decide(&with_connect(""), &ci, &begin()).is_allowed());
    assert!(!decide(&load(""), &ci, &begin()).is_permitted());
    let policies = with_connect(
        r#"@id("no-work-mem") forbid(principal, action, resource) when { context.statement.settings.contains("work_mem") };"#,
    );
    let set = |name| with(|s| s.settings.push(setting(name)), statement("SET", []));
    assert_eq!(names(&decide(&policies, &ci, &set(Some("work_mem")))), ["no-work-mem"]);
    assert!(decide(&policies, &ci, &set(Some("DateStyle"))).is_allowed());
    assert!(decide(&policies, &ci, &set(None)).is_allowed());
}

#[test]
fn a_forbid_wins_and_every_access_counts() {
    let policies = with_connect(
        r#"@id("all") permit(principal, action, resource);
        @id("not-customers") @message("personal data") @hint("use the view") forbid(principal, action, resource == Table::"demo/public.customers");"#,
    );
    let ci = subject("agent:ci", &[], "write");
    assert!(decide(&policies, &ci, &select()).is_allowed());
    let both =
        statement("SELECT", [relation(Action::Read, "public.orders"), relation(Action::Read, "public.customers")]);
    let denied = decide(&policies, &ci, &both);
    let denial = denied.denial().unwrap();
    assert_eq!(names(&denied), ["not-customers"]);
    assert_eq!(denial.cause, DenialCause::Forbidden);
    assert_eq!(denial.message, "read on public.customers is forbidden by policy `not-customers`: personal data");
    assert_eq!(denial.hint, "use the view");
}

#[test]
fn the_hint_says_what_would_be_allowed() {
    let policies = with_connect(
        r#"@id("rw") permit(principal, action in [Action::"read", Action::"insert"], resource)
            when { resource.name == "orders" };"#,
    );
    let ci = subject("agent:ci", &[], "write");
    let delete = |of| statement("DELETE", [relation(Action::Delete, of)]);
    let hint = decide(&policies, &ci, &delete("public.orders")).denial().unwrap().hint.clone();
    assert!(hint.contains("may do this to public.orders: read, insert;"), "{hint}");
    assert!(hint.contains("postern request"), "{hint}");
    let hint = decide(&policies, &ci, &delete("public.customers")).denial().unwrap().hint.clone();
    assert!(hint.contains("nothing to public.customers"), "{hint}");
}

#[test]
fn an_error_denies_even_beside_a_permit() {
    let policies = with_connect(
        r#"@id("all") permit(principal, action, resource);
        @id("broken") permit(principal, action == Action::"read", resource)
            when { context.statement.limit + 9223372036854775807 > 0 };"#,
    );
    let ci = subject("agent:ci", &[], "write");
    let limited = |limit| with(|s| s.bound.limit = limit, select());
    let denied = decide(&policies, &ci, &limited(Some(1)));
    assert_eq!(denied.denial().unwrap().cause, DenialCause::Error);
    assert_eq!(names(&denied), ["broken"]);
    assert!(decide(&policies, &ci, &limited(None)).is_allowed());
    // A limit beyond what Cedar counts is the greatest that it does.
    assert!(!decide(&policies, &ci, &limited(Some(u64::MAX))).is_permitted());
}

#[test]
fn obligations_are_merged_and_reviews_add_up() {
    let policies = load(
        r#"@id("connect") @statement_timeout("60s") @lock_timeout("2s") permit(principal, action == Action::"connect", resource);
        @id("r") @max_rows("100") @statement_timeout("30s") permit(principal, action == Action::"read", resource);
        @id("r2") @max_rows("10") @max_bytes("1MiB") permit(principal, action == Action::"read", resource);
        @id("d") @review("group:dba 2") @preview @message("held") permit(principal, action == Action::"delete", resource);
        @id("d2") @review("group:dba, group:security") @record_binds permit(principal, action == Action::"delete", resource);"#,
    );
    let ci = subject("agent:ci", &[], "write");
    let allowed = decide(&policies, &ci, &select());
    let limits = allowed.obligations().unwrap();
    assert_eq!((limits.max_rows, limits.max_bytes), (Some(10), Some(1 << 20)));
    assert_eq!((limits.statement_timeout_ms, limits.lock_timeout_ms), (Some(30_000), Some(2_000)));
    assert!(!limits.record_binds);
    let both =
        statement("DELETE", [relation(Action::Read, "public.orders"), relation(Action::Delete, "public.orders")]);
    let held = decide(&policies, &ci, &both);
    let Outcome::Review { review, obligations, message, hint } = &held.outcome else { panic!("{held:?}") };
    assert_eq!(review.approvals.iter().map(|(g, n)| (&**g, *n)).collect::<Vec<_>>(), [("dba", 2), ("security", 1)]);
    assert!(review.preview && obligations.record_binds);
    assert_eq!((message.as_deref(), hint), (Some("held"), &None));
    assert_eq!(obligations.max_rows, Some(10));
    assert_eq!(names(&held), ["connect", "d", "d2", "r", "r2"]);
}

#[test]
fn reviews_hold_statements_and_not_sessions() {
    let policies = load(r#"@id("all") @review("group:dba") permit(principal, action, resource);"#);
    let ci = subject("agent:ci", &[], "write");
    assert!(policies.decide_session(&ci, &noon()).is_allowed());
    assert!(decide(&policies, &ci, &begin()).is_allowed());
    assert!(matches!(decide(&policies, &ci, &select()).outcome, Outcome::Review { .. }));
}

#[test]
fn a_reason_is_required() {
    let policies = with_connect(r#"@id("r") @reason_required permit(principal, action == Action::"read", resource);"#);
    let mut ci = subject("agent:ci", &[], "write");
    assert!(decide(&policies, &ci, &select()).is_allowed());
    ci.grant.reason = "  ".to_owned();
    let denied = decide(&policies, &ci, &select());
    assert_eq!(denied.denial().unwrap().cause, DenialCause::ReasonMissing);
    assert_eq!(names(&denied), ["r"]);
    assert!(decide(&policies, &ci, &begin()).is_allowed());
}

#[test]
fn functions_that_may_do_something_are_calls() {
    let policies = with_connect(
        r#"@id("r") permit(principal, action == Action::"read", resource);
        @id("listed") permit(principal, action == Action::"call", resource == Function::"demo/public.f");
        @id("tagged") permit(principal, action == Action::"call", resource is Function)
            when { resource.tags.contains("listed") && resource.standing == "effectful" };"#,
    );
    let ci = subject("agent:ci", &[], "read");
    let calling = |of, standing| with(|s| s.functions.push(function(of, standing)), select());
    for (of, standing, allowed) in [
        ("public.g", Standing::Unknown, false),
        ("public.g", Standing::Effectful, false),
        ("public.g", Standing::Analysed, true),
        ("public.g", Standing::Harmless, true),
        ("public.f", Standing::Unknown, true),
        ("public.f", Standing::Effectful, true),
        ("pg_catalog.setval", Standing::Effectful, false),
    ] {
        let decision = decide(&policies, &ci, &calling(of, standing));
        assert_eq!(decision.is_allowed(), allowed, "{of} {standing:?}");
        if let Some(denial) = decision.denial() {
            assert_eq!((denial.action.as_str(), denial.resource.as_str()), ("call", &*format!("function {of}")));
        }
    }
    assert!(names(&decide(&policies, &ci, &calling("public.f", Standing::Effectful))).contains(&"tagged"));
}

#[test]
fn ids_cannot_be_confused() {
    let policies = with_connect(
        r#"@id("one") permit(principal, action == Action::"read", resource == Table::"demo/public.orders.old");
        @id("two") permit(principal, action == Action::"read", resource == Table::"demo/a.\"b.c\"");
        @id("in") permit(principal, action == Action::"read", resource in Schema::"demo/shop");"#,
    );
    let ci = subject("agent:ci", &[], "read");
    let read = |schema: &str, table: &str| {
        let object = Object::Relation(postern_sql::facts::Name { schema: schema.into(), name: table.into() });
        statement("SELECT", [Access { action: Action::Read, object, manner: Manner::Plain }])
    };
    for (schema, table, allowed) in [
        ("public", "orders.old", false),
        ("public.orders", "old", false),
        ("a", "b.c", true),
        ("a.b", "c", false),
        ("a", "\"b.c\"", false),
        ("shop", "items", true),
        ("Shop", "items", false),
        ("shop/x", "items", false),
    ] {
        assert_eq!(decide(&policies, &ci, &read(schema, table)).is_allowed(), allowed, "{schema} {table}");
    }
}

#[test]
fn time_and_address() {
    let policies = with_connect(
        r#"@id("hours") permit(principal, action == Action::"read", resource)
            when { context.time.hour >= 9 && context.time.hour < 17 && context.time.weekday <= 5 };
        @id("once") permit(principal, action == Action::"insert", resource)
            when { context.time.now < datetime("2026-11-25T12:00:00.500Z") };
        @id("inside") permit(principal, action == Action::"delete", resource)
            when { context.client.address.isInRange(ip("10.0.0.0/8")) };"#,
    );
    let ci = subject("agent:ci", &[], "write");
    let hour = 3_600_000_000;
    for (micros, offset, allowed) in [
        (WEDNESDAY_NOON, 0, true),
        (WEDNESDAY_NOON + 5 * hour - 1, 0, true),
        (WEDNESDAY_NOON + 5 * hour, 0, false),
        (WEDNESDAY_NOON + 5 * hour, -3600, true),
        (WEDNESDAY_NOON, 5 * 3600, false),
        (WEDNESDAY_NOON + 2 * 24 * hour, 0, true),
        (WEDNESDAY_NOON + 3 * 24 * hour, 0, false),
        (WEDNESDAY_NOON + 4 * 24 * hour, 0, false),
        (WEDNESDAY_NOON + 5 * 24 * hour, 0, true),
    ] {
        let moment = Moment { offset, ..at(micros) };
        let decision = decide_at(&policies, &ci, &moment, &select());
        assert_eq!(decision.is_allowed(), allowed, "{micros} {offset}");
        // The hint of a denial looks at what else is possible, and `once` reads the time exactly.
        let Lifetime::Until(end) = decision.lifetime else {
            assert_eq!((allowed, decision.lifetime), (false, Lifetime::Once));
            continue;
        };
        assert!(end > moment.now && end.0 <= moment.now.0 + hour / 4);
        assert!(decision.lifetime.covers(moment.now) && !decision.lifetime.covers(end));
    }
    let insert = statement("INSERT", [relation(Action::Insert, "public.orders")]);
    for (micros, allowed) in [(WEDNESDAY_NOON + 499_999, true), (WEDNESDAY_NOON + 500_000, false)] {
        let decision = decide_at(&policies, &ci, &at(micros), &insert);
        assert_eq!(decision.is_allowed(), allowed);
        assert_eq!(decision.lifetime, Lifetime::Once);
    }
    let delete = statement("DELETE", [relation(Action::Delete, "public.orders")]);
    for (client, allowed) in [("10.9.9.9", true), ("::ffff:10.9.9.9", true), ("11.0.0.1", false), ("::1", false)] {
        let moment = Moment { client: client.parse().unwrap(), ..noon() };
        assert_eq!(decide_at(&policies, &ci, &moment, &delete).is_allowed(), allowed, "{client}");
    }
    assert_eq!(decide(&policies, &ci, &delete).lifetime, Lifetime::Unlimited);
    assert_eq!(noon().now, Micros(WEDNESDAY_NOON));
}

#[test]
fn columns_and_their_tags() {
    let policies = with_connect(
        r#"@id("r") permit(principal, action == Action::"read", resource);
        @id("no-export") forbid(principal, action == Action::"read", resource)
            when { context.access.manner == "copy" && context.statement.column_tags.contains("pci.pan") };
        @id("see-mail") permit(principal in Group::"support", action == Action::"unmask", resource)
            when { resource.tags.contains("pii.email") };
        @id("see-own") permit(principal, action == Action::"unmask", resource in Table::"demo/public.own");
        @id("change-mail") permit(principal, action == Action::"overwrite", resource)
            when { resource.name == "email" };
        @id("reviewed") @review("group:dba") permit(principal in Group::"audit", action, resource);"#,
    );
    let objects = objects();
    let support = subject("user:eve", &["support"], "read");
    let copy = |of: Option<&str>| {
        let object = Object::Relation(name("public.customers"));
        let access = Access { action: Action::Read, object, manner: Manner::Copy };
        with(|s| s.columns.push(column("public.customers", of)), statement("COPY", [access]))
    };
    assert!(decide(&policies, &support, &copy(Some("email"))).is_allowed());
    assert_eq!(names(&decide(&policies, &support, &copy(Some("card")))), ["no-export"]);
    assert_eq!(names(&decide(&policies, &support, &copy(None))), ["no-export"]);
    let unmask = |subject: &Subject, of: &str, column: &str| {
        let (moment, statement) = (noon(), select());
        let question = Question { subject, moment: &moment, statement: &statement, objects: &objects };
        policies.decide_unmask(&question, &name(of), &Arc::from(column)).is_allowed()
    };
    let overwrite = |column: &str| {
        let (moment, statement) = (noon(), select());
        let question = Question { subject: &support, moment: &moment, statement: &statement, objects: &objects };
        policies.decide_overwrite(&question, &name("public.customers"), &Arc::from(column))
    };
    let other = subject("user:eve", &[], "read");
    assert!(unmask(&support, "public.customers", "email"));
    assert!(!unmask(&support, "public.customers", "card"));
    assert!(!unmask(&other, "public.customers", "email"));
    assert!(unmask(&other, "public.own", "anything"));
    // Nobody has agreed to it yet.
    assert!(!unmask(&subject("user:eve", &["audit"], "read"), "public.customers", "email"));
    assert_eq!(names(&overwrite("email")), ["change-mail"]);
    let denied = overwrite("card");
    let told = denied.denial().unwrap();
    assert_eq!(told.message, "no policy permits overwrite on public.customers.card");
    assert!(told.hint.contains("may not write over it"), "{}", told.hint);
}

#[test]
fn guards_hold_whatever_files_say() {
    let policies = load(r#"@id("all") permit(principal, action, resource);"#);
    let mut ci = subject("agent:ci", &[], "write");
    let write = |action| statement("X", [relation(action, "public.orders")]);
    let locking = with(|s| s.accesses[0].manner = Manner::Locking, select());
    for action in [Action::Insert, Action::Update, Action::Delete, Action::Truncate, Action::Ddl, Action::Admin] {
        assert!(decide(&policies, &ci, &write(action)).is_allowed());
        let reader = subject("agent:ci", &[], "read");
        assert_eq!(names(&decide(&policies, &reader, &write(action))), ["postern:read-only"]);
    }
    assert!(decide(&policies, &ci, &locking).is_allowed());
    assert_eq!(names(&decide(&policies, &subject("agent:ci", &[], "read"), &locking)), ["postern:read-only"]);
    ci.connection.freeze = true;
    for action in [Action::Insert, Action::Update, Action::Truncate, Action::Ddl, Action::Call, Action::Admin] {
        assert_eq!(names(&decide(&policies, &ci, &write(action))), ["postern:freeze"]);
    }
    assert!(decide(&policies, &ci, &select()).is_allowed());
}

#[test]
fn explanations_name_what_is_missing() {
    let policies = with_connect(
        r#"@id("w") permit(principal is Agent, action == Action::"delete", resource)
            when { context.grant.role == "write" && context.statement.filtered } unless { resource.kind == "view" };
        @id("people") permit(principal is User, action, resource);"#,
    );
    let objects = objects();
    let ci = subject("agent:ci", &["bots"], "write");
    let delete = unfiltered(statement("DELETE", [relation(Action::Delete, "shop.items")]));
    let moment = noon();
    let question = Question { subject: &ci, moment: &moment, statement: &delete, objects: &objects };
    let explained = policies.explain(&question);
    let access = &explained.accesses[1];
    assert_eq!(access.near.len(), 1);
    assert_eq!(&*access.near[0].policy, "w");
    assert_eq!(access.near[0].unmet, ["context.statement.filtered", "not (resource.kind == \"view\")"]);
    let text = explained.to_string();
    for part in [
        "denied: no policy permits delete on shop.items",
        "connect on the database: permitted",
        "permitted by connect",
        "w would permit it if: context.statement.filtered; not (resource.kind == \"view\")",
        "as agent:ci in [bots]",
        "on demo, role write",
        "tag \"DELETE\", filtered false, limit none",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let json: postern_policy::Explanation = serde_json::from_str(&serde_json::to_string(&explained).unwrap()).unwrap();
    assert_eq!(json, explained);
}
