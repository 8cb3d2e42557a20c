//! A grant that may do everything is told from one that merely may do much.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, too"
)]

mod common;

use common::*;
use postern_policy::{Policies, Subject, builtin};

const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);";

fn dba() -> Subject {
    subject("agent:ci", &["dba"], "all")
}

#[test]
fn the_default_lets_all_do_everything_and_no_other_role() {
    let policies = Policies::load(&[builtin::DEFAULT]).unwrap();
    for (role, expected) in [("all", true), ("write", false), ("read", false), ("migrate", false)] {
        assert_eq!(policies.permit_everything(&subject("agent:ci", &[], role)), expected, "{role}");
    }
    let mut frozen = dba();
    frozen.connection.freeze = true;
    assert!(!policies.permit_everything(&frozen), "a freeze forbids");
    let mut reads = dba();
    reads.grant.read_only = true;
    assert!(!policies.permit_everything(&reads), "whatever a read-only role is called");
}

#[test]
fn policies_that_are_out_of_the_question_do_not_count() {
    for more in [
        "",
        "@id(\"x\") forbid (principal is User, action, resource);",
        "@id(\"x\") forbid (principal in Group::\"guests\", action, resource) when { context.statement.limit < 3 };",
        "@id(\"x\") forbid (principal, action, resource) when { context.grant.role == \"read\" && resource.name == \"a\" };",
        "@id(\"x\") forbid (principal, action, resource) unless { principal in Group::\"dba\" };",
        "@id(\"x\") forbid (principal, action, resource) when { context.connection.freeze } unless { resource.name == \"a\" };",
        "@id(\"x\") permit (principal, action == Action::\"read\", resource) when { context.statement.filtered };",
        "@id(\"x\") @message(\"m\") permit (principal, action, resource);",
        "@id(\"x\") @max_rows(\"1\") permit (principal is User, action, resource);",
    ] {
        assert!(load(&format!("{PERMIT}\n{more}")).permit_everything(&dba()), "{more}");
    }
}

#[test]
fn whatever_may_stand_in_the_way_counts() {
    for more in [
        // A forbid that may hold, now or for some resource, statement, moment.
        "@id(\"x\") forbid (principal, action == Action::\"admin\", resource);",
        "@id(\"x\") forbid (principal, action, resource) when { resource.tags.contains(\"pii\") };",
        "@id(\"x\") forbid (principal, action, resource) when { context.time.hour > 18 };",
        "@id(\"x\") forbid (principal, action, resource) unless { context.statement.filtered };",
        "@id(\"x\") forbid (principal, action, resource) when { context.access.manner == \"copy\" && context.connection.freeze };",
        "@id(\"x\") forbid (principal, action == Action::\"unmask\", resource) when { principal.name like \"c*\" };",
        // A limit, a review, a reason.
        "@id(\"x\") @max_rows(\"10\") permit (principal, action == Action::\"read\", resource);",
        "@id(\"x\") @review(\"group:dba\") permit (principal, action == Action::\"ddl\", resource is Table);",
        "@id(\"x\") @reason_required permit (principal, action, resource);",
        // What may fail denies.
        "@id(\"x\") permit (principal, action, resource) when { context.statement.tables + 9223372036854775807 > 0 };",
        "@id(\"x\") permit (principal, action, resource) when { context.grant.role == \"all\" && 9223372036854775807 + 1 > 0 };",
    ] {
        assert!(!load(&format!("{PERMIT}\n{more}")).permit_everything(&dba()), "{more}");
    }
    // No permit that covers everything: parts that add up to it are not added up.
    for narrow in [
        "@id(\"x\") permit (principal, action in Action::\"statement\", resource);",
        "@id(\"x\") permit (principal, action, resource in Connection::\"demo\");",
        "@id(\"x\") permit (principal, action, resource) when { resource.connection == \"demo\" };",
        "@id(\"x\") permit (principal is User, action, resource);",
        "@id(\"x\") permit (principal, action, resource) when { context.grant.role == \"read\" };",
    ] {
        assert!(!load(narrow).permit_everything(&dba()), "{narrow}");
    }
}
