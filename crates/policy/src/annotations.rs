//! Annotations of a policy, which say what it is called, what it asks for, and what is told to whom it concerns.

use crate::{
    facts::Action,
    obligations::{Obligations, Review},
};
use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy};
use postern_types::{size::parse_bytes, time::parse_duration};
use std::{collections::BTreeMap, sync::Arc};

/// All annotations that there are.
const KNOWN: [&str; 13] = [
    "id",
    "review",
    "review_above",
    "preview",
    "max_rows",
    "max_bytes",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "reason_required",
    "record_binds",
    "message",
    "hint",
];

/// Those that a forbid may have.
const OF_FORBIDS: [&str; 3] = ["id", "message", "hint"];

/// The longest message or hint: it travels in an error of PostgreSQL's protocol, and is read by people.
const MAX_TEXT: usize = 500;

/// The most approvals that a review can ask for, as with access roles.
const MAX_APPROVALS: u32 = 20;

/// PostgreSQL's longest time-out, in milliseconds.
const MAX_TIMEOUT_MS: u64 = i32::MAX as u64;

/// What the annotations of one policy say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Duties {
    pub(crate) obligations: Obligations,
    pub(crate) review: Review,
    pub(crate) message: Option<Arc<str>>,
    pub(crate) hint: Option<Arc<str>>,
}

/// What is wrong with one annotation, and what to do.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) annotation: String,
    pub(crate) what: String,
    pub(crate) hint: String,
}

/// Reads the annotations. `@id` is checked elsewhere.
pub(crate) fn read(policy: &Policy) -> Result<Duties, Vec<Wrong>> {
    let mut duties = Duties::default();
    let mut wrongs = Vec::new();
    let mut preview = false;
    let mut annotations: Vec<_> = policy.annotations().collect();
    annotations.sort_unstable();
    for (name, value) in annotations {
        let wrong = |(what, hint): (String, String)| Wrong { annotation: name.to_owned(), what, hint };
        if !KNOWN.contains(&name) {
            wrongs.push(wrong(unknown(name)));
        } else if policy.effect() == Effect::Forbid && !OF_FORBIDS.contains(&name) {
            wrongs.push(wrong((
                format!("`@{name}` on a forbid: a forbid has nothing to ask for"),
                "put it on the permit whose statements it is for".to_owned(),
            )));
        } else if name == "review" && !speaks_of(policy, |action| action.is_of_statements() || action == Action::Unmask)
        {
            wrongs.push(wrong((
                "`@review` on a policy for `connect` or `overwrite`: only statements can be held".to_owned(),
                "an access role's `reviewers` decide who may connect".to_owned(),
            )));
        } else if matches!(name, "review_above" | "preview") && !speaks_of(policy, Action::is_of_statements) {
            wrongs.push(wrong((
                format!("`@{name}` on a policy for `connect`, `unmask` or `overwrite`: none of them changes rows"),
                "put it on the permit of what does".to_owned(),
            )));
        } else if let Err(trouble) = duty(&mut duties, &mut preview, name, value) {
            wrongs.push(wrong(trouble));
        }
    }
    let is_reviewed = !duties.review.is_none() || policy.annotation("review").is_some();
    let alone = [(preview, "preview", "see it"), (duties.review.above.is_some(), "review_above", "be asked")];
    for (_, name, what) in alone.into_iter().filter(|(is_there, ..)| *is_there && !is_reviewed) {
        wrongs.push(Wrong {
            annotation: name.to_owned(),
            what: format!("`@{name}` without `@review`: nobody would {what}"),
            hint: "add `@review(\"group:NAME\")`".to_owned(),
        });
    }
    // How many rows it changes is what a preview tells.
    duties.review.preview = preview || duties.review.above.is_some();
    if wrongs.is_empty() { Ok(duties) } else { Err(wrongs) }
}

fn duty(duties: &mut Duties, preview: &mut bool, name: &str, value: &str) -> Result<(), (String, String)> {
    let Duties { obligations, review, message, hint } = duties;
    match name {
        "review" => review.approvals = reviewers(value)?,
        "review_above" => review.above = Some(count(name, value)?),
        "preview" => *preview = flag(name, value)?,
        "max_rows" => obligations.max_rows = Some(count(name, value)?),
        "max_bytes" => obligations.max_bytes = Some(bytes(name, value)?),
        "statement_timeout" => obligations.statement_timeout_ms = Some(timeout(name, value)?),
        "idle_in_transaction_session_timeout" => {
            obligations.idle_in_transaction_session_timeout_ms = Some(timeout(name, value)?);
        }
        "lock_timeout" => obligations.lock_timeout_ms = Some(timeout(name, value)?),
        "reason_required" => obligations.reason_required = flag(name, value)?,
        "record_binds" => obligations.record_binds = flag(name, value)?,
        "message" => *message = Some(text(name, value)?),
        "hint" => *hint = Some(text(name, value)?),
        _ => {}
    }
    Ok(())
}

/// `group:dba`, `group:dba 2`, `group:dba 2, group:security`.
fn reviewers(value: &str) -> Result<BTreeMap<Arc<str>, u32>, (String, String)> {
    let wrong = |what: String| {
        (what, "write `@review(\"group:dba\")` or `@review(\"group:dba 2, group:security\")`".to_owned())
    };
    let mut approvals = BTreeMap::new();
    for part in value.split(',') {
        let mut words = part.split_whitespace();
        let group = words.next().and_then(|word| word.strip_prefix("group:")).filter(|group| !group.is_empty());
        let Some(group) = group else { return Err(wrong(format!("`{}` names no group", part.trim()))) };
        let number = words.next().map_or(Ok(1), str::parse::<u32>);
        let number = number.ok().filter(|number| (1..=MAX_APPROVALS).contains(number));
        let Some(number) = number.filter(|_| words.next().is_none()) else {
            return Err(wrong(format!("`{}` does not end with a number from 1 to {MAX_APPROVALS}", part.trim())));
        };
        if approvals.insert(Arc::from(group), number).is_some() {
            return Err(wrong(format!("group `{group}` stands there twice")));
        }
    }
    Ok(approvals)
}

fn flag(name: &str, value: &str) -> Result<bool, (String, String)> {
    if value.is_empty() {
        return Ok(true);
    }
    Err((format!("`@{name}` takes no value"), format!("write `@{name}` alone, or leave it out")))
}

fn count(name: &str, value: &str) -> Result<u64, (String, String)> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        (format!("`{value}` is not a number of at least 1"), format!("write for example `@{name}(\"100\")`"))
    })
}

fn bytes(name: &str, value: &str) -> Result<u64, (String, String)> {
    parse_bytes(value)
        .map_err(|_| (format!("`{value}` is not a number of bytes"), format!("write for example `@{name}(\"64MiB\")`")))
}

fn timeout(name: &str, value: &str) -> Result<u64, (String, String)> {
    let millis = parse_duration(value).ok().and_then(|duration| u64::try_from(duration.as_millis()).ok());
    millis.filter(|millis| (1..=MAX_TIMEOUT_MS).contains(millis)).ok_or_else(|| {
        (format!("`{value}` is not a time from 1ms to 24 days"), format!("write for example `@{name}(\"30s\")`"))
    })
}

fn text(name: &str, value: &str) -> Result<Arc<str>, (String, String)> {
    let good = !value.trim().is_empty() && value.len() <= MAX_TEXT && !value.chars().any(char::is_control);
    if good {
        return Ok(Arc::from(value));
    }
    Err((
        format!("the text of `@{name}` is empty, longer than {MAX_TEXT} bytes or of several lines"),
        "write one or two sentences".to_owned(),
    ))
}

/// Whether a policy speaks of any action that is one of these, or of a group of actions.
fn speaks_of(policy: &Policy, is_one: fn(Action) -> bool) -> bool {
    let any = |action: &EntityUid| {
        let id: &str = action.id().as_ref();
        Action::ALL.into_iter().find(|action| action.as_str() == id).is_none_or(is_one)
    };
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(action) => any(&action),
        ActionConstraint::In(actions) => actions.iter().any(any),
    }
}

fn unknown(name: &str) -> (String, String) {
    let nearest = KNOWN.iter().map(|known| (distance(name, known), known)).min();
    let hint = match nearest {
        Some((distance, known)) if distance <= known.len().max(name.len()).div_ceil(3) => {
            format!("did you mean `@{known}`?")
        }
        _ => format!("there are {}", KNOWN.map(|known| format!("`@{known}`")).join(", ")),
    };
    (format!("there is no annotation `@{name}`"), hint)
}

/// How many letters have to be changed, added or removed.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut before = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (b, above) in other.chars().zip(row.iter().skip(1)) {
            left = (before + usize::from(a != b)).min(above + 1).min(left + 1);
            before = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(annotations: &str, wrong: Option<&str>) -> Duties {
        let policy = Policy::parse(None, format!("{annotations} permit(principal, action, resource);")).unwrap();
        match (read(&policy), wrong) {
            (Ok(duties), None) => duties,
            (Err(wrongs), Some(part)) => {
                let all: Vec<_> = wrongs.iter().map(|w| format!("{}: {} ({})", w.annotation, w.what, w.hint)).collect();
                assert!(all.join("\n").contains(part), "{annotations}: {all:?}");
                Duties::default()
            }
            (found, _) => panic!("{annotations}: {found:?}, expected {wrong:?}"),
        }
    }

    #[test]
    fn good_ones() {
        let duties = check(
            r#"@id("x") @review("group:dba 2, group:security") @preview @max_rows("10000") @max_bytes("64MiB")
            @statement_timeout("30s") @idle_in_transaction_session_timeout("1m") @lock_timeout("500ms")
            @reason_required @record_binds @message("m") @hint("h")"#,
            None,
        );
        let expected = Obligations {
            max_rows: Some(10_000),
            max_bytes: Some(64 << 20),
            statement_timeout_ms: Some(30_000),
            idle_in_transaction_session_timeout_ms: Some(60_000),
            lock_timeout_ms: Some(500),
            reason_required: true,
            record_binds: true,
        };
        assert_eq!(duties.obligations, expected);
        assert_eq!(duties.review.approvals, BTreeMap::from([("dba".into(), 2), ("security".into(), 1)]));
        assert!(duties.review.preview);
        let above = check(r#"@review("group:dba") @review_above("50")"#, None).review;
        assert_eq!((above.above, above.preview), (Some(50), true));
        assert_eq!((duties.message.as_deref(), duties.hint.as_deref()), (Some("m"), Some("h")));
    }

    #[test]
    fn bad_ones() {
        for (bad, part) in [
            (r#"@review("dba")"#, "names no group"),
            (r#"@review("group:")"#, "names no group"),
            (r#"@review("")"#, "names no group"),
            (r#"@review"#, "names no group"),
            (r#"@review("group:dba 0")"#, "from 1 to 20"),
            (r#"@review("group:dba 21")"#, "from 1 to 20"),
            (r#"@review("group:dba two")"#, "from 1 to 20"),
            (r#"@review("group:dba 2 3")"#, "from 1 to 20"),
            (r#"@review("group:dba, group:dba")"#, "twice"),
            (r#"@preview"#, "`@preview` without `@review`"),
            (r#"@review_above("50")"#, "`@review_above` without `@review`"),
            (r#"@review("group:dba") @review_above("0")"#, "at least 1"),
            (r#"@review("group:dba") @review_above"#, "at least 1"),
            (r#"@review("group:dba") @preview("yes")"#, "takes no value"),
            (r#"@max_rows("0")"#, "at least 1"),
            (r#"@max_rows("-1")"#, "at least 1"),
            (r#"@max_rows("many")"#, "at least 1"),
            (r#"@max_bytes("64 parsecs")"#, "number of bytes"),
            (r#"@max_bytes("99999999999GiB")"#, "number of bytes"),
            (r#"@statement_timeout("soon")"#, "not a time"),
            (r#"@statement_timeout("60d")"#, "not a time"),
            (r#"@idle_in_transaction_session_timeout("0s")"#, "not a time"),
            (r#"@lock_timeout("1")"#, "not a time"),
            (r#"@reason_required("no")"#, "takes no value"),
            (r#"@record_binds("no")"#, "takes no value"),
            (r#"@message("")"#, "is empty"),
            ("@hint(\"a\\nb\")", "several lines"),
            (r#"@max_row("1")"#, "did you mean `@max_rows`?"),
            (r#"@reviewers("group:dba")"#, "did you mean `@review`?"),
            (r#"@review_abov("5")"#, "did you mean `@review_above`?"),
            (r#"@colour("red")"#, "there are `@id`"),
        ] {
            check(bad, Some(part));
        }
    }

    #[test]
    fn only_statements_are_held_and_forbids_ask_for_nothing() {
        let read_text = |text: &str| read(&Policy::parse(None, text).unwrap());
        let scoped =
            |action: &str| read_text(&format!("@review(\"group:dba\") permit(principal, {action}, resource);"));
        assert!(scoped(r#"action == Action::"connect""#).is_err());
        assert!(scoped(r#"action in [Action::"connect", Action::"overwrite"]"#).is_err());
        assert!(scoped(r#"action == Action::"unmask""#).is_ok());
        for name in ["@preview", "@review_above(\"5\")"] {
            let of = |action: &str| {
                let text = format!("@review(\"group:dba\") {name} permit(principal, {action}, resource);");
                read_text(&text).is_ok()
            };
            assert!(!of(r#"action == Action::"unmask""#) && of(r#"action == Action::"update""#), "{name}");
        }
        assert!(scoped(r#"action in [Action::"connect", Action::"read"]"#).is_ok());
        assert!(scoped(r#"action in Action::"write""#).is_ok());
        assert!(read_text(r#"@max_rows("1") forbid(principal, action, resource);"#).is_err());
        assert!(read_text(r#"@message("no") @hint("ask") forbid(principal, action, resource);"#).is_ok());
    }
}
