//! What is said of files that are not as they should be.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, too"
)]

mod common;

use postern_policy::{Policies, builtin};

/// Each text has one problem: its line and column and a part of what is said.
#[test]
fn problems_with_file_line_and_column() {
    for (text, line, column, part) in [
        ("permit(principal, action, resource);", 1, 1, "no `@id`"),
        ("\n\n  permit(principal, action, resource);", 3, 3, "no `@id`"),
        ("@id(\"\")\npermit(principal, action, resource);", 1, 1, "1 to 100"),
        ("@id(\"a b\")\npermit(principal, action, resource);", 1, 1, "1 to 100"),
        ("@id(\"postern:freeze\")\npermit(principal, action, resource);", 1, 1, "Postern's own"),
        (
            "@id(\"a\") permit(principal, action, resource);\n@id(\"a\") forbid(principal, action, resource);",
            2,
            1,
            "taken by the policy at test.cedar:1",
        ),
        ("@id(\"a\")\n@max_row(\"1\")\npermit(principal, action, resource);", 2, 1, "did you mean `@max_rows`?"),
        ("@id(\"a\")\n  @max_rows(\"0\")\npermit(principal, action, resource);", 2, 3, "at least 1"),
        ("@id(\"a\")\n@max_rows(\"1\")\nforbid(principal, action, resource);", 2, 1, "on a forbid"),
        ("@id(\"a\")\n@review(\"dba\")\npermit(principal, action, resource);", 2, 1, "names no group"),
        ("@id(\"a\")\npermit(principal, action, resource)\nwhen { context.x };", 3, 8, "attribute `x`"),
        ("@id(\"a\")\npermit(principal, action == Action::\"raed\", resource);", 2, 29, "Action::\"raed\""),
        ("@id(\"a\")\npermit(principal in Grup::\"x\", action, resource);", 2, 21, "Grup"),
        ("@id(\"a\")\npermit(principal, action, resource)\nwhen { 1 + context.grant.id == 2 };", 3, 12, "Long"),
        ("@id(\"a\")\npermit(principal action, resource);", 2, 18, "unexpected"),
        ("@id(\"a\")\npermit(principal == ?principal, action, resource);", 1, 1, "templates"),
    ] {
        let problems = match Policies::load(&[("test.cedar", text)]) {
            Err(problems) => problems,
            Ok(_) => panic!("was taken: {text}"),
        };
        let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let first = &problems[0];
        assert_eq!(first.file, "test.cedar");
        let said = format!("{} {}", first.what, first.hint);
        assert!(said.contains(part), "{text}\n{all:#?}");
        assert_eq!((first.line, first.column), (line, column), "{text}\n{all:#?}");
    }
}

#[test]
fn all_problems_at_once_and_of_all_files() {
    let problems = Policies::load(&[
        ("b.cedar", "permit(principal, action, resource);\npermit(principal, action, resource);"),
        ("a.cedar", "nonsense"),
    ])
    .unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| (problem.file.as_str(), problem.line)).collect();
    assert_eq!(places, [("a.cedar", 1), ("b.cedar", 1), ("b.cedar", 2)]);
    let twice = Policies::load(&[("a.cedar", ""), ("a.cedar", "")]).unwrap_err();
    assert!(twice[0].what.contains("two files"));
    let long = " ".repeat((4 << 20) + 1);
    assert!(Policies::load(&[("a.cedar", long)]).unwrap_err()[0].what.contains("at most"));
}

#[test]
fn a_policy_that_can_never_apply_is_a_warning() {
    let policies = common::load(
        "@id(\"never\")\npermit(principal, action == Action::\"write\", resource);\n@id(\"neither\")\n\
         forbid(principal is User, action == Action::\"connect\", resource is Table);",
    );
    let warnings: Vec<_> = policies.warnings().iter().map(|w| (w.policy.as_deref().unwrap(), w.line)).collect();
    assert_eq!(warnings, [("never", 1), ("neither", 3)], "{:#?}", policies.warnings());
}

#[test]
fn versions_and_sources() {
    let one = ("a.cedar", "@id(\"a\") permit(principal, action, resource);");
    let two = ("b.cedar", "@id(\"b\") permit(principal in Group::\"g\", action, resource);");
    let version = |files: &[(&str, &str)]| Policies::load(files).unwrap().version().to_owned();
    assert_eq!(version(&[one, two]), version(&[two, one]));
    assert_ne!(version(&[one]), version(&[one, two]));
    assert_ne!(version(&[one]), version(&[("c.cedar", one.1)]));
    assert_ne!(version(&[]), version(&[("a.cedar", "")]));
    let policies = Policies::load(&[one, two]).unwrap();
    let json = serde_json::to_string(policies.sources()).unwrap();
    let sources: Vec<postern_policy::Source> = serde_json::from_str(&json).unwrap();
    assert_eq!(Policies::from_sources(&sources).unwrap(), policies);
    assert_eq!(policies.groups(), common::tags(&["g"]));
    let names: Vec<_> = policies.names().into_iter().collect();
    assert_eq!(names, ["a", "b", "postern:freeze", "postern:read-only"].map(Into::into));
}

#[test]
fn what_comes_with_postern_is_valid_and_without_warnings() {
    for files in [&[][..], &[builtin::DEFAULT], &builtin::STARTER] {
        let policies = Policies::load(files).unwrap();
        assert_eq!(policies.warnings(), []);
    }
    // Each file of the starter set can be used by itself.
    for file in builtin::STARTER {
        Policies::load(&[file]).unwrap();
    }
}
