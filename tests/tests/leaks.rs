//! What is masked stays in the database, whatever is asked for it and however.
//!
//! The attempts are those of `crates/mask/tests/corpus/leaks.txt`. Each is sent in each form, under each access role that has no
//! `unmask`, to a database whose secrets cannot be mistaken, and once more to one that differs from it in its secrets only:
//! no byte that comes back may have a secret in it, or differ.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use futures_util::FutureExt;
use postern_e2e::{
    corpora::differences,
    dev::Grant,
    leaks::{
        Leaks, Secrets,
        corpus::{Attempt, Outcome, attempts},
        forms::{self, Form},
        secrets::Needles,
    },
    raw::{Message, Raw},
};
use std::{collections::BTreeMap, panic::AssertUnwindSafe};

/// Access roles without `unmask`. The last may do anything else: what stops its attempts is masking alone.
const ROLES: [&str; 3] = ["read", "write", "migrate"];

/// Whether each is tried in each form under each role on both databases. Otherwise the last role alone is, and the others
/// by one protocol each.
fn all() -> bool {
    std::env::var_os("LEAKS_ALL").is_some()
}

/// Attempts of which nothing is to be seen past Postern either: they destroy, or tell others, or show what the client wrote,
/// or not to a superuser.
const QUIET: [&str; 6] = [
    "large object",
    "returning of an insert",
    "row security of one's own",
    "notification",
    "notification by a trigger that was there",
    "what others run",
];

/// All but showing and writing over what is masked.
const POLICIES: &str = r#"
@id("all")
permit (principal, action, resource)
when { context.grant.role == "migrate" && action != Action::"unmask" && action != Action::"overwrite" };
"#;

/// All that came back, by role, form and attempt.
type Transcripts = BTreeMap<(&'static str, Form, usize), Vec<Message>>;

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_back_by_any_route() {
    let attempts = attempts();
    let attempts = match std::env::var("POSTERN_LEAKS_ONLY") {
        Ok(part) => attempts.into_iter().filter(|one| one.title.contains(&part)).collect(),
        Err(_) => attempts,
    };
    let mut leaks = Leaks::start(Secrets::These).await;
    let grants = ROLES.map(|role| (role, leaks.dev.grant(role, "1h")));
    let policies = leaks.dev.data().join("leaks.cedar");
    let default = include_str!("../../deploy/policies/default.cedar");
    std::fs::write(&policies, format!("{default}{POLICIES}")).unwrap();
    let _ = leaks.dev.admin().run(&["apply", policies.to_str().unwrap()]).ok();
    let mut wrong = Vec::new();
    let these = past_postern(&leaks, &attempts).await;
    let shown = shown(&leaks, &attempts, &these).await;
    let before = leaks.state().await;
    let first = through_postern(&leaks, &grants, &attempts, &mut wrong).await;
    let changed = differences(&before, &leaks.state().await);
    wrong.extend(changed.into_iter().map(|change| format!("the database is not as it was: {change}")));
    twins(&leaks, &grants, &attempts, &mut wrong).await;

    leaks.exchange(Secrets::Others).await;
    let others = past_postern(&leaks, &attempts).await;
    let again = if all() { &grants[..] } else { &grants[2..] };
    let second = through_postern(&leaks, again, &attempts, &mut Vec::new()).await;
    for ((role, form, at), messages) in &second {
        if forms::bytes(messages) != forms::bytes(&first[&(*role, *form, *at)]) {
            let attempt = &attempts[*at];
            wrong.push(format!("tells the databases apart: {} ({role}, {form:?}): {:?}", attempt.title, attempt.steps));
        }
    }
    for (at, attempt) in attempts.iter().enumerate() {
        let overwrites =
            matches!(&attempt.outcome, Outcome::Refused(guards) if guards.iter().any(|one| one == "overwrite"));
        let quiet = attempt.outside() || overwrites || QUIET.contains(&attempt.title.as_str());
        if !quiet && !shown[at] && these[at] == others[at] {
            wrong.push(format!("shows nothing past Postern: {}: {:?}", attempt.title, attempt.steps));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the owner sees, as bytes.
async fn past_postern(leaks: &Leaks, attempts: &[Attempt]) -> Vec<Vec<u8>> {
    let mut transcripts = Vec::new();
    for attempt in attempts {
        let mut raw = leaks.direct().await;
        let messages =
            if attempt.outside() { Vec::new() } else { run(&mut raw, Form::Simple, &attempt.steps, true).await };
        transcripts.push(forms::bytes(&messages));
    }
    // What a rollback does not undo.
    leaks.cluster.superuser().await.text("select setval('shop.tickets', 1)").await;
    transcripts
}

/// Which of these have a secret in them.
async fn shown(leaks: &Leaks, attempts: &[Attempt], transcripts: &[Vec<u8>]) -> Vec<bool> {
    let needles = Needles::of(&leaks.cluster.superuser().await).await;
    let each = attempts.iter().zip(transcripts);
    each.map(|(attempt, came)| needles.found(came, &attempt.steps.join(" ")).is_some()).collect()
}

/// What comes back of each attempt in each form.
async fn through_postern(
    leaks: &Leaks,
    grants: &[(&'static str, Grant)],
    attempts: &[Attempt],
    wrong: &mut Vec<String>,
) -> Transcripts {
    let needles = Needles::of(&leaks.cluster.superuser().await).await;
    let mut transcripts = Transcripts::new();
    for (role, grant) in grants {
        let mut raw = leaks.raw(grant).await;
        for (at, attempt) in attempts.iter().enumerate() {
            let copies = if attempt.query().is_some() { &Form::COPY[..] } else { &[] };
            let forms = match *role {
                "read" if !all() => vec![Form::Binary],
                "write" if !all() => vec![Form::Simple],
                _ => [&Form::ANY, copies].concat(),
            };
            // What changes something does not do it twice.
            let forms = forms.into_iter().filter(|form| *form != Form::Again || attempt.only_reads());
            for form in forms {
                // What is refused would stay if it were not.
                let undone = !attempt.only_reads() && (*role != "migrate" || !attempt.refused());
                if prepares(&attempt.steps) {
                    raw = leaks.raw(grant).await;
                }
                let running = AssertUnwindSafe(run(&mut raw, form, &attempt.steps, undone)).catch_unwind();
                let Ok(messages) = running.await else {
                    wrong
                        .push(format!("breaks the session: {} ({role}, {form:?}): {:?}", attempt.title, attempt.steps));
                    raw = leaks.raw(grant).await;
                    continue;
                };
                let came = forms::bytes(&messages);
                if let Some(secret) = needles.found(&came, &attempt.steps.join(" ")) {
                    wrong.push(format!("LEAKS: {} ({role}, {form:?}): {:?}: {secret}", attempt.title, attempt.steps));
                }
                if let Some(told) = (*role == "migrate").then(|| unlike(&attempt.outcome, form, &messages)).flatten() {
                    wrong.push(format!(
                        "{} ({form:?}) is not {:?}: {:?}: {told}",
                        attempt.title, attempt.outcome, attempt.steps
                    ));
                }
                transcripts.insert((*role, form, at), messages);
            }
        }
    }
    transcripts
}

/// The legitimate forms run, under one access role or another: hashes are for those who cannot write what is hashed.
async fn twins(leaks: &Leaks, grants: &[(&'static str, Grant)], attempts: &[Attempt], wrong: &mut Vec<String>) {
    let mut sessions = Vec::new();
    for (_, grant) in grants {
        sessions.push(leaks.raw(grant).await);
    }
    for attempt in attempts {
        let mut told = Vec::new();
        for (raw, (_, grant)) in sessions.iter_mut().zip(grants).rev() {
            if prepares(&attempt.twin) {
                *raw = leaks.raw(grant).await;
            }
            let running = AssertUnwindSafe(run(raw, Form::Simple, &attempt.twin, true)).catch_unwind();
            match running.await {
                Ok(messages) => told.push(errors(&messages).into_iter().next()),
                Err(_) => {
                    told.push(Some("it breaks the session".to_owned()));
                    *raw = leaks.raw(grant).await;
                }
            }
            if told.last() == Some(&None) {
                break;
            }
        }
        if !told.contains(&None) {
            wrong.push(format!("the twin of {}: {:?}: {told:?}", attempt.title, attempt.twin));
        }
    }
}

/// Whether a session of its own is needed: in one that has undone a change of the schema, what SQL prepares is not executed.
fn prepares(steps: &[String]) -> bool {
    steps.iter().any(|step| step.starts_with("PREPARE"))
}

/// Runs statements in one form, and undoes what they did.
async fn run(raw: &mut Raw, form: Form, steps: &[String], undone: bool) -> Vec<Message> {
    if undone && steps[0] != "BEGIN" {
        raw.query("begin").await;
    }
    let mut all = Vec::new();
    for step in steps {
        all.extend(form.run(raw, step).await);
    }
    if all.last().unwrap().body != b"I" {
        raw.query("rollback").await;
    }
    all
}

/// The errors among messages.
fn errors(messages: &[Message]) -> Vec<String> {
    let errors = messages.iter().filter(|message| message.tag == b'E');
    errors
        .map(|error| ['C', 'M', 'D', 'H'].map(|code| error.field(code as u8).unwrap_or_default()).join(" | "))
        .collect()
}

/// What was told, where that is not what was to come of it.
fn unlike(outcome: &Outcome, form: Form, messages: &[Message]) -> Option<String> {
    let errors = errors(messages);
    let first = errors.first().map(String::as_str);
    let as_said = match (outcome, first) {
        (Outcome::Masked, None) => true,
        // COPY of what changes the server is refused as COPY.
        (Outcome::Refused(_), Some(first)) if Form::COPY.contains(&form) => first.contains(" refused: "),
        (Outcome::Refused(guards), Some(_)) => {
            errors.iter().any(|error| ["42501", "0A000"].contains(&&error[..5]) && Attempt::is_told(guards, error))
        }
        (Outcome::Withheld(code), Some(_)) => errors.iter().any(|error| error.starts_with(code)),
        _ => false,
    };
    (!as_said).then(|| first.unwrap_or("it ran").to_owned())
}
