//! docs/policies.md says what is so.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, too"
)]

mod common;

use common::*;
use postern_policy::{Decision, Moment, Outcome, Policies, Question, Subject, builtin, facts::Action as Asked};
use postern_sql::facts::{Action, Standing, Statement};

const PAGE: &str = include_str!("../../../docs/policies.md");

/// The page's blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    PAGE.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn example(of: &str) -> Policies {
    let text = blocks("cedar").into_iter().find(|block| block.contains(&format!("@id(\"{of}\")"))).unwrap();
    load(&format!("{text}\n@id(\"also-connect\") permit(principal, action == Action::\"connect\", resource);"))
}

fn on(connection: &str, principal: &str, groups: &[&str], role: &str) -> Subject {
    let mut subject = subject(principal, groups, role);
    subject.connection.name = connection.into();
    subject
}

fn decide(policies: &Policies, subject: &Subject, moment: Moment, statement: &Statement) -> Decision {
    let objects = objects();
    policies.decide(&Question { subject, moment: &moment, statement, objects: &objects })
}

#[test]
fn every_block_is_valid() {
    assert_eq!(blocks("cedar").len(), 4);
    for block in blocks("cedar") {
        assert_eq!(load(block).warnings(), []);
    }
}

#[test]
fn the_support_agent() {
    let policies = example("support-reads-shop");
    let bot = on("shop-prod", "agent:support-bot", &[], "read");
    let read = |of| statement("SELECT", [relation(Action::Read, of)]);
    assert!(decide(&policies, &bot, noon(), &read("public.orders")).is_allowed());
    let cards = with(|s| s.columns.push(column("public.customers", Some("card"))), read("public.customers"));
    let denied = decide(&policies, &bot, noon(), &cards);
    assert_eq!(denied.policies, ["support-sees-no-cards".into()]);
    assert!(denied.denial().unwrap().hint.contains("orders_without_cards"));
    assert!(decide(&policies, &bot, noon(), &read("audit.log")).policies.is_empty());
    let drop = statement("DROP TABLE", [relation(Action::Ddl, "public.orders")]);
    assert!(!decide(&policies, &bot, noon(), &drop).is_permitted());
}

#[test]
fn the_delete() {
    let policies = example("deletes-are-reviewed");
    let eve = on("orders-prod", "user:eve", &["developers"], "write");
    let delete = statement("DELETE", [relation(Action::Delete, "public.orders")]);
    let held = decide(&policies, &eve, noon(), &delete);
    assert!(matches!(held.outcome, Outcome::Review { ref review, .. } if review.preview), "{held:?}");
    let (delete, objects, moment) = (unfiltered(delete), objects(), noon());
    let question = Question { subject: &eve, moment: &moment, statement: &delete, objects: &objects };
    let near = &policies.explain(&question).accesses[1].near;
    assert_eq!(near[0].unmet, ["context.statement.filtered"]);
}

#[test]
fn the_ledger() {
    let policies = example("office-hours");
    let office = |micros| Moment { client: "192.0.2.7".parse().unwrap(), ..at(micros) };
    let hours = 3_600_000_000;
    let bot = on("ledger", "agent:books", &["bookkeeping"], "close");
    assert!(decide(&policies, &bot, office(WEDNESDAY_NOON), &begin()).is_allowed());
    assert!(!decide(&policies, &bot, office(WEDNESDAY_NOON + 7 * hours), &begin()).is_permitted());
    assert!(!decide(&policies, &bot, noon(), &begin()).is_permitted());
    let close = |of| with(|s| s.functions.push(function(of, Standing::Unknown)), statement("SELECT", []));
    let held = decide(&policies, &bot, office(WEDNESDAY_NOON), &close("public.close_month"));
    assert!(matches!(held.outcome, Outcome::Review { ref review, .. } if review.approvals["finance"] == 2), "{held:?}");
    assert!(!decide(&policies, &bot, office(WEDNESDAY_NOON), &close("public.other")).is_permitted());
}

#[test]
fn the_shown_output_is_the_output() {
    let policies = Policies::load(&[builtin::STARTER[0], builtin::STARTER[1]]).unwrap();
    let mut ci = subject("agent:ci", &["agents"], "write");
    ci.grant.reason = "TICKET-1".to_owned();
    let delete = unfiltered(statement("DELETE", [relation(Action::Delete, "public.orders")]));
    let (moment, objects) = (noon(), objects());
    let question = Question { subject: &ci, moment: &moment, statement: &delete, objects: &objects };
    let text = policies.explain(&question).to_string();
    let shown = blocks("").into_iter().find(|block| block.starts_with("denied:")).unwrap();
    // All but the version, which every change of a file changes.
    let without_version = |text: &str| text.trim_end().rsplit_once('\n').unwrap().0.to_owned();
    assert_eq!(without_version(&text), without_version(shown));
}

#[test]
fn every_word_of_the_schema_is_on_the_page() {
    for action in Asked::ALL {
        assert!(PAGE.contains(&format!("`{action}`")), "{action}");
    }
    let schema = postern_policy::load::SCHEMA;
    let attributes = schema.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| {
        line.split([',', '{', '}']).filter_map(|part| part.split_once(": ").map(|(name, _)| name.trim()))
    });
    for name in attributes.filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
        // Those of an action's declaration are no attributes, and the groups of the context lead to theirs.
        if ["principal", "resource", "context", "grant", "connection", "access", "statement", "time", "client"]
            .contains(&name)
        {
            continue;
        }
        assert!(PAGE.contains(&format!(".{name}`")), "{name}");
    }
}
