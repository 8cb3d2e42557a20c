//! Policies as files, and freezes.

use crate::support::{START, at, documents, principal, told, world};
use postern_api::{
    audit::{AuditQuery, EventTypes},
    document::{Apply, ChangeAction, Changes},
    error::ErrorCode,
    identity::PrincipalKind,
    policy::PolicyFile,
};
use postern_control_plane::{
    apply,
    audit::search::search,
    effects::Effect,
    freezes,
    identity::{Actor, directory},
    policies,
    problem::Problem,
    store::{self, Store},
};
use postern_types::time::Micros;
use serde_json::{Value, json};

const READ: &str = "@id(\"read\")\npermit (principal, action == Action::\"read\", resource);\n";
const WRITE: &str = "@id(\"write\")\npermit (principal, action in Action::\"write\", resource);\n";

fn call(files: &[(&str, &str)], list: &[Value]) -> Apply {
    let file = |&(name, text): &(&str, &str)| PolicyFile { name: name.to_owned(), text: text.to_owned() };
    Apply { policies: files.iter().map(file).collect(), ..documents(list, false) }
}

async fn put(store: &Store, actor: &Actor, body: &Apply, now: Micros) -> Result<(Changes, Vec<Effect>), Problem> {
    apply::apply(store, actor, body, now).await
}

fn actions(changes: &Changes) -> Vec<(&str, &str, ChangeAction)> {
    let of = changes.changes.iter();
    of.map(|change| (change.kind.as_str(), change.name.as_str(), change.action)).collect()
}

async fn state(store: &Store) -> store::policies::PolicyState {
    let mut tx = store.read().await.unwrap();
    store::policies::state(&mut tx).await.unwrap()
}

async fn events(store: &Store, actor: &Actor, action: &str) -> Vec<(String, Option<String>, Value)> {
    let query = AuditQuery { r#type: EventTypes::Control, action: Some(action.to_owned()), ..AuditQuery::default() };
    let found = search(store, actor, query).await.unwrap();
    let of = |event: postern_api::audit::AuditEvent| {
        (event.action.unwrap(), event.subject, event.detail.unwrap_or_default())
    };
    found.into_iter().map(of).collect()
}

async fn names(store: &Store, version: i64) -> Vec<String> {
    let mut tx = store.read().await.unwrap();
    store::policies::files_at(&mut tx, version).await.unwrap().into_iter().map(|row| row.name).collect()
}

pub async fn files_come_change_and_go(store: &Store) {
    let cast = world(store).await;
    let listed = policies::list(store, &cast.admin).await.unwrap();
    assert_eq!(
        listed.iter().map(|policy| (policy.name.as_str(), policy.version)).collect::<Vec<_>>(),
        [("default.cedar", 0)]
    );
    assert!(policies::get(store, &cast.admin, "default.cedar").await.unwrap().text.unwrap().contains("@id("));

    let both = call(&[("r.cedar", READ), ("w.cedar", WRITE)], &[json!({ "kind": "User", "name": "new" })]);
    let planned = apply::plan(store, &cast.admin, &both, START).await.unwrap();
    assert_eq!(state(store).await.version, 0);
    let (applied, effects) = put(store, &cast.admin, &both, START).await.unwrap();
    assert_eq!(applied, planned);
    assert_eq!(
        actions(&applied),
        [
            ("User", "new", ChangeAction::Create),
            ("Policy", "r.cedar", ChangeAction::Create),
            ("Policy", "w.cedar", ChangeAction::Create)
        ]
    );
    assert_eq!(applied.changes[1].fields[0].to, json!(READ));
    assert_eq!(effects, [Effect::PoliciesChanged]);
    let first = state(store).await;
    assert_eq!((first.version, first.hash.len()), (1, 64));

    // The same again is no change.
    let (again, effects) = put(store, &cast.admin, &both, at(1)).await.unwrap();
    assert!(again.changes.iter().all(|change| change.action == ChangeAction::Unchanged), "{again:?}");
    assert_eq!((effects, state(store).await), (vec![], first.clone()));

    let stricter = format!("{READ}@id(\"no\")\nforbid (principal, action == Action::\"ddl\", resource);\n");
    let (changed, _) = put(store, &cast.admin, &call(&[("r.cedar", &stricter)], &[]), at(2)).await.unwrap();
    assert_eq!(actions(&changed), [("Policy", "r.cedar", ChangeAction::Update)]);
    let second = state(store).await;
    assert!(second.version == 2 && second.hash != first.hash && second.revision > first.revision);
    let row = policies::get(store, &cast.admin, "r.cedar").await.unwrap();
    assert_eq!((row.text.as_deref(), row.version, row.applied_at), (Some(stricter.as_str()), 2, Some(at(2))));
    assert_eq!(row.applied_by.unwrap().name, "admin");

    let gone = json!({ "kind": "Policy", "name": "w.cedar", "delete": true });
    let (removed, effects) = put(store, &cast.admin, &call(&[], std::slice::from_ref(&gone)), at(3)).await.unwrap();
    assert_eq!(actions(&removed), [("Policy", "w.cedar", ChangeAction::Delete)]);
    assert_eq!(effects, [Effect::PoliciesChanged]);
    let (nothing, effects) = put(store, &cast.admin, &call(&[], &[gone]), at(4)).await.unwrap();
    assert_eq!((nothing.changes[0].action, effects), (ChangeAction::Unchanged, vec![]));
    assert_eq!(told(policies::get(store, &cast.admin, "w.cedar").await.unwrap_err()).code, ErrorCode::NotFound);

    // Each change is recorded with its version, and each version can be had again.
    let recorded = events(store, &cast.admin, "policy.").await;
    let recorded: Vec<_> = recorded
        .iter()
        .map(|(action, subject, detail)| (action.as_str(), subject.as_deref().unwrap(), detail["version"].as_i64()))
        .collect();
    assert_eq!(recorded.len(), 4, "{recorded:?}");
    assert_eq!(recorded[0], ("policy.deleted", "policy/w.cedar", Some(3)));
    assert_eq!(recorded[1], ("policy.updated", "policy/r.cedar", Some(2)));
    assert!(recorded[2..].iter().all(|(action, _, version)| (*action, *version) == ("policy.created", Some(1))));
    assert_eq!(names(store, 2).await, ["r.cedar", "w.cedar"]);
    assert_eq!(names(store, 3).await, ["r.cedar"]);
    let versions = policies::versions(store, &cast.admin, "r.cedar").await.unwrap();
    let versions: Vec<_> = versions.iter().map(|it| (it.version, it.until_version, it.text.as_str())).collect();
    assert_eq!(versions, [(2, None, stricter.as_str()), (1, Some(2), READ)]);
    assert_eq!(policies::versions(store, &cast.admin, "w.cedar").await.unwrap()[0].until_version, Some(3));
    assert_eq!(policies::versions(store, &cast.admin, "default.cedar").await.unwrap(), []);
    let of_none = policies::versions(store, &cast.admin, "none.cedar").await.unwrap_err();
    assert_eq!(told(of_none).code, ErrorCode::NotFound);
    assert_eq!(told(policies::versions(store, &cast.dba, "r.cedar").await.unwrap_err()).code, ErrorCode::Forbidden);

    // Without any file nothing is permitted; Postern's own does not come back.
    let gone = json!({ "kind": "Policy", "name": "r.cedar", "delete": true });
    put(store, &cast.admin, &call(&[], &[gone]), at(5)).await.unwrap();
    assert!(policies::list(store, &cast.admin).await.unwrap().is_empty());
}

pub async fn files_are_checked_together_before_anything(store: &Store) {
    let cast = world(store).await;
    put(store, &cast.admin, &call(&[("r.cedar", READ)], &[]), START).await.unwrap();
    let before = state(store).await;
    let user = json!({ "kind": "User", "name": "new" });
    let unknown = "@id(\"a\")\npermit (principal, action, resource)\nwhen { context.x };\n";
    for (files, places) in [
        (&[("a.cedar", unknown)][..], &[("a.cedar", 3, 8, Some("a"), "attribute `x`")][..]),
        // Taken by a file that stays.
        (&[("s.cedar", READ)], &[("s.cedar", 1, 1, Some("read"), "taken by the policy at r.cedar:1")]),
        (
            &[
                ("b.cedar", "\n  permit(principal, action, resource);"),
                ("a.cedar", "@id(\"a\")\npermit(principal action, resource);"),
                ("w.cedar", WRITE),
            ],
            &[("a.cedar", 2, 18, None, "unexpected"), ("b.cedar", 2, 3, None, "no `@id`")],
        ),
    ] {
        for error in [
            told(put(store, &cast.admin, &call(files, std::slice::from_ref(&user)), at(1)).await.unwrap_err()),
            told(apply::plan(store, &cast.admin, &call(files, &[]), at(1)).await.unwrap_err()),
        ] {
            assert_eq!((error.code, error.problems.len()), (ErrorCode::Invalid, places.len()), "{error:?}");
            for (problem, &(file, line, column, policy, what)) in error.problems.iter().zip(places) {
                let place = (problem.file.as_str(), problem.line, problem.column);
                assert_eq!((place, problem.policy.as_deref()), ((file, line, column), policy));
                assert!(problem.what.contains(what) && !problem.hint.is_empty(), "{problem:?}");
            }
        }
    }
    assert_eq!(state(store).await, before);
    assert!(directory::users(store, &cast.admin).await.unwrap().iter().all(|user| user.name != "new"));
    assert_eq!(events(store, &cast.admin, "policy.").await.len(), 1);

    // A wrong document leaves the policies as they were, too.
    let wrong = json!({ "kind": "User", "name": "bad", "admni": true });
    put(store, &cast.admin, &call(&[("w.cedar", WRITE)], &[wrong]), at(1)).await.unwrap_err();
    assert_eq!(state(store).await, before);
    let never = "@id(\"never\")\npermit (principal, action == Action::\"write\", resource);\n";
    let (doubtful, _) = put(store, &cast.admin, &call(&[("n.cedar", never)], &[]), at(1)).await.unwrap();
    assert_eq!((doubtful.warnings[0].line, doubtful.warnings[0].policy.as_deref()), (1, Some("never")));
}

pub async fn what_names_policies_is_checked(store: &Store) {
    let cast = world(store).await;
    let document = |fields: Value| {
        let mut document = json!({ "kind": "Policy", "name": "r.cedar" });
        document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        document
    };
    for (body, field) in [
        (call(&[("r.txt", READ)], &[]), "policies.name"),
        (call(&[("../r.cedar", READ)], &[]), "policies.name"),
        (call(&[("r.cedar", READ), ("r.cedar", WRITE)], &[]), "policies.name"),
        (call(&[("r.cedar", READ)], &[document(json!({ "delete": true }))]), "policies.name"),
        (call(&[], &[document(json!({ "delete": true })), document(json!({ "delete": true }))]), "policies.name"),
        (call(&[], &[document(json!({}))]), "delete"),
        (call(&[], &[document(json!({ "delete": true, "txt": "x" }))]), "txt"),
        (call(&[], &[document(json!({ "name": "a b", "delete": true }))]), "name"),
    ] {
        let error = told(put(store, &cast.admin, &body, START).await.unwrap_err());
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::Invalid, Some(field)), "{error:?}");
    }
    assert_eq!(state(store).await.version, 0);
}

/// Each is right by itself; both together are not.
pub async fn two_at_the_same_time_are_checked_one_after_the_other(store: &Store) {
    let cast = world(store).await;
    let (one, two) = (call(&[("one.cedar", READ)], &[]), call(&[("two.cedar", READ)], &[]));
    let (one, two) = tokio::join!(put(store, &cast.admin, &one, START), put(store, &cast.admin, &two, START));
    assert_eq!([&one, &two].iter().filter(|result| result.is_ok()).count(), 1, "{one:?} {two:?}");
    assert_eq!(policies::list(store, &cast.admin).await.unwrap().len(), 1);
}

pub async fn freezes_are_in_force_until_lifted(store: &Store) {
    let cast = world(store).await;
    let before = state(store).await;
    let freeze = async |now| freezes::freeze(store, &cast.admin, "demo", Some("incident"), now).await.unwrap();
    let (frozen, effects) = freeze(at(1)).await;
    assert_eq!(effects, [Effect::PoliciesChanged]);
    let set = frozen.freeze.clone().unwrap();
    assert_eq!((set.at, set.reason.as_deref(), set.by.unwrap().name.as_str()), (at(1), Some("incident"), "admin"));
    assert!(state(store).await.revision > before.revision);
    // A second one changes nothing.
    assert_eq!(freeze(at(2)).await, (frozen, vec![]));
    // What is applied leaves it in force.
    let demo = json!({ "kind": "Connection", "name": "demo", "roles": { "read": { "max_duration": "2h" } } });
    apply::apply(store, &cast.admin, &documents(&[demo], true), at(2)).await.unwrap();
    let mut tx = store.read().await.unwrap();
    assert!(store::freezes::of(&mut tx, "demo").await.unwrap().is_some());
    drop(tx);

    let off = async |now| freezes::unfreeze(store, &cast.admin, "demo", None, now).await.unwrap();
    let (lifted, effects) = off(at(3)).await;
    assert_eq!((lifted.freeze, effects), (None, vec![Effect::PoliciesChanged]));
    assert_eq!(off(at(4)).await.1, []);
    let recorded = events(store, &cast.admin, "connection.").await;
    let recorded: Vec<_> = recorded
        .iter()
        .filter(|(action, ..)| action.ends_with("frozen"))
        .map(|(action, subject, detail)| (action.as_str(), subject.as_deref().unwrap(), detail["reason"].clone()))
        .collect();
    assert_eq!(
        recorded,
        [
            ("connection.unfrozen", "connection/demo", Value::Null),
            ("connection.frozen", "connection/demo", json!("incident"))
        ]
    );
    let missing = freezes::freeze(store, &cast.admin, "no", None, at(5)).await.unwrap_err();
    assert_eq!(told(missing).code, ErrorCode::NotFound);

    // With the connection its freeze goes.
    freeze(at(6)).await;
    let gone = json!({ "kind": "Connection", "name": "demo", "delete": true });
    apply::apply(store, &cast.admin, &documents(&[gone], false), at(7)).await.unwrap();
    let mut tx = store.read().await.unwrap();
    assert!(store::freezes::all(&mut tx).await.unwrap().is_empty());
}

pub async fn only_admins_change_what_holds_for_all(store: &Store) {
    let cast = world(store).await;
    let mut auditor = principal(store, PrincipalKind::User, "auditor", &[], false).await;
    auditor.auditor = true;
    for actor in [&cast.alice, &cast.dba, &cast.agent, &auditor] {
        let name = &actor.principal.name;
        let body = call(&[("r.cedar", READ)], &[]);
        let refused = [
            put(store, actor, &body, START).await.map(drop),
            apply::plan(store, actor, &body, START).await.map(drop),
            freezes::freeze(store, actor, "demo", None, START).await.map(drop),
            freezes::unfreeze(store, actor, "demo", None, START).await.map(drop),
        ];
        for result in refused {
            assert_eq!(told(result.unwrap_err()).code, ErrorCode::Forbidden, "{name}");
        }
        assert_eq!(policies::list(store, actor).await.is_ok(), actor.auditor, "{name}");
        assert_eq!(policies::get(store, actor, "default.cedar").await.is_ok(), actor.auditor, "{name}");
    }
}
