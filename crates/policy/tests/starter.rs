//! The starter set and the default: every action, principal, role and resource against what is expected of them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, too"
)]

mod common;

use common::*;
use postern_policy::{Moment, Outcome, Plan, Policies, Question, Subject, builtin};
use postern_sql::facts::{Action, Manner, Standing, Statement};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

const ACTIONS: [Action; 8] = [
    Action::Read,
    Action::Insert,
    Action::Update,
    Action::Delete,
    Action::Truncate,
    Action::Ddl,
    Action::Call,
    Action::Admin,
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Allow,
    Hold,
    Deny,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    principal: &'static str,
    on_call: bool,
    role: &'static str,
    action: Action,
    manner: Manner,
    table: &'static str,
    filtered: bool,
    weekend: bool,
    frozen: bool,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for (principal, on_call) in [("agent:ci", false), ("user:alice", false), ("user:bob", true)] {
            for role in ["read", "write", "migrate", "report"] {
                for action in ACTIONS {
                    for manner in [Manner::Plain, Manner::Locking] {
                        for table in ["public.orders", "shop.items", "public.customers", "pg_catalog.pg_class"] {
                            for flags in 0..8 {
                                let [filtered, weekend, frozen] = [flags & 1 > 0, flags & 2 > 0, flags & 4 > 0];
                                cases.push(Self {
                                    principal,
                                    on_call,
                                    role,
                                    action,
                                    manner,
                                    table,
                                    filtered,
                                    weekend,
                                    frozen,
                                });
                            }
                        }
                    }
                }
            }
        }
        cases
    }

    fn subject(self) -> Subject {
        let groups: &[&str] = if self.on_call { &["on-call"] } else { &[] };
        let mut subject = subject(self.principal, groups, self.role);
        subject.connection.freeze = self.frozen;
        subject
    }

    fn moment(self) -> Moment {
        at(WEDNESDAY_NOON + if self.weekend { 3 * 86_400_000_000 } else { 0 })
    }

    fn statement(self) -> Statement {
        with(
            |s| {
                s.accesses[0].manner = self.manner;
                s.bound.filtered = self.filtered;
            },
            statement("X", [relation(self.action, self.table)]),
        )
    }

    fn verdict(self, plan: &Plan) -> Verdict {
        match plan.decide(&self.moment(), &self.statement(), &objects()).outcome {
            Outcome::Allow { .. } => Verdict::Allow,
            Outcome::Review { .. } => Verdict::Hold,
            Outcome::Deny(_) => Verdict::Deny,
        }
    }

    fn expected_of_starter(self) -> Verdict {
        let Self { on_call, role, action, manner, table, filtered, weekend, frozen, .. } = self;
        let changes = action != Action::Read;
        let open = ["public.orders", "shop.items"].contains(&table);
        let where_needed = matches!(action, Action::Update | Action::Delete) && role != "migrate";
        let denied = (frozen && changes)
            || (weekend && changes && !on_call)
            || !(open || (table.starts_with("pg_") && !changes))
            || (where_needed && !filtered)
            || (role == "read" && manner == Manner::Locking);
        if denied {
            return Verdict::Deny;
        }
        match (action, role) {
            (Action::Read, "report") if manner == Manner::Locking => Verdict::Deny,
            (Action::Read, _) => Verdict::Allow,
            (Action::Insert | Action::Update | Action::Delete, "write" | "migrate") => Verdict::Allow,
            (Action::Truncate | Action::Ddl | Action::Call, "migrate") => Verdict::Hold,
            _ => Verdict::Deny,
        }
    }

    fn expected_of_default(self) -> Verdict {
        let Self { role, action, manner, frozen, .. } = self;
        let changes = action != Action::Read;
        let written = matches!(action, Action::Insert | Action::Update | Action::Delete);
        let allowed = match role {
            "read" => !changes && manner != Manner::Locking,
            "write" => !changes || written,
            _ => action != Action::Admin,
        };
        if allowed && !(frozen && changes) { Verdict::Allow } else { Verdict::Deny }
    }
}

fn check(policies: Policies, expected: impl Fn(Case) -> Verdict) {
    let cases = Case::all();
    assert_eq!(cases.len(), 3 * 4 * 8 * 2 * 4 * 8);
    let policies = Arc::new(policies);
    // Plans, since Cedar itself would take minutes here; that they agree has its own test.
    let mut plans: HashMap<_, Plan> = HashMap::new();
    let mut seen = BTreeMap::new();
    for case in cases {
        let plan = plans
            .entry((case.principal, case.role, case.frozen))
            .or_insert_with(|| Plan::for_grant(policies.clone(), Arc::new(case.subject())));
        let found = case.verdict(plan);
        assert_eq!(found, expected(case), "{case:?}");
        *seen.entry(format!("{found:?}")).or_insert(0) += 1;
    }
    assert!(seen["Allow"] > 100 && seen["Deny"] > 100, "{seen:?}");
}

#[test]
fn the_starter_set_is_what_it_says() {
    check(Policies::load(&builtin::STARTER).unwrap(), Case::expected_of_starter);
}

#[test]
fn the_default_is_what_the_roles_say() {
    check(Policies::load(&[builtin::DEFAULT]).unwrap(), Case::expected_of_default);
}

#[test]
fn all_in_the_default_is_everything() {
    let policies = Policies::load(&[builtin::DEFAULT]).unwrap();
    let (moment, objects) = (noon(), objects());
    let unmask = |role| {
        let subject = subject("agent:ci", &[], role);
        let statement = statement("SELECT", [relation(Action::Read, "public.customers")]);
        let question = Question { subject: &subject, moment: &moment, statement: &statement, objects: &objects };
        policies.decide_unmask(&question, &name("public.customers"), &Arc::from("email")).is_permitted()
    };
    for (role, seen) in [("all", true), ("read", false), ("write", false), ("migrate", false)] {
        assert_eq!(unmask(role), seen, "{role}");
    }
    let subject = subject("agent:ci", &[], "all");
    for action in ACTIONS {
        let statement = unfiltered(with(
            |s| s.functions.push(function("public.anything", Standing::Unknown)),
            statement("X", [relation(action, "public.customers")]),
        ));
        let question = Question { subject: &subject, moment: &moment, statement: &statement, objects: &objects };
        assert!(policies.decide(&question).is_allowed(), "{action:?}");
    }
}

#[test]
fn bounds_of_the_starter_set() {
    let policies = Policies::load(&builtin::STARTER).unwrap();
    let (moment, objects) = (noon(), objects());
    let limits = |principal, role, action| {
        let subject = subject(principal, &[], role);
        let statement = statement("X", [relation(action, "public.orders")]);
        let question = Question { subject: &subject, moment: &moment, statement: &statement, objects: &objects };
        policies.decide(&question).obligations().cloned().unwrap()
    };
    let agent = limits("agent:ci", "read", Action::Read);
    assert_eq!(
        (agent.max_rows, agent.max_bytes, agent.statement_timeout_ms),
        (Some(10_000), Some(64 << 20), Some(30_000))
    );
    assert_eq!(agent.idle_in_transaction_session_timeout_ms, Some(300_000));
    assert_eq!(limits("user:alice", "read", Action::Read).max_rows, None);
    for principal in ["agent:ci", "user:alice"] {
        assert_eq!(limits(principal, "write", Action::Update).max_rows, Some(1000));
        assert_eq!(limits(principal, "migrate", Action::Update).max_rows, None);
    }
}

#[test]
fn the_starter_set_tells_what_to_do() {
    let policies = Policies::load(&builtin::STARTER).unwrap();
    let (moment, objects) = (noon(), objects());
    let told = |role, statement: Statement| {
        let subject = subject("agent:ci", &[], role);
        let question = Question { subject: &subject, moment: &moment, statement: &statement, objects: &objects };
        let decision = policies.decide(&question);
        let denial = decision.denial().unwrap();
        (decision.policies.join(","), denial.hint.clone())
    };
    let (by, hint) = told("write", unfiltered(statement("DELETE", [relation(Action::Delete, "public.orders")])));
    assert_eq!(by, "writes-need-where");
    assert!(hint.contains("WHERE id = 1"));
    let (by, hint) = told("write", statement("DROP TABLE", [relation(Action::Ddl, "public.orders")]));
    assert_eq!(by, "ddl-needs-migrate");
    assert!(hint.contains("--role migrate"));
    let (by, hint) = told("write", statement("SELECT", [relation(Action::Read, "public.customers")]));
    assert_eq!(by, "only-tagged-schemas");
    assert!(hint.contains("tag `open`"));
}
