//! `plan` and `apply`.

use crate::support::{LIFETIME, START, apply_all, ask, documents, told, world};
use postern_api::access::CreateRequest;
use postern_api::document::ChangeAction;
use postern_api::error::ErrorCode;
use postern_control_plane::{
    apply,
    effects::Effect,
    identity::directory,
    requests,
    store::{Store, connections},
};
use serde_json::json;

async fn stored(store: &Store, name: &str) -> Option<postern_api::document::ConnectionDocument> {
    let mut tx = store.read().await.unwrap();
    connections::by_name(&mut tx, name).await.unwrap().map(|row| row.document)
}

pub async fn plan_shows_and_changes_nothing(store: &Store) {
    let cast = world(store).await;
    let role = json!({ "mode": "login", "database_role": "shop", "max_duration": "2h" });
    let other = json!({ "kind": "Connection", "name": "demo", "database": "postgresql://127.0.0.1:5432/shop", "connector": "dev", "roles": { "read": role } });
    let body = documents(&[other, json!({ "kind": "User", "name": "new" })], false);
    let planned = apply::plan(store, &cast.admin, &body, START).await.unwrap();
    assert_eq!(
        planned.changes.iter().map(|change| change.action).collect::<Vec<_>>(),
        [ChangeAction::Update, ChangeAction::Create]
    );
    let field = planned.changes[0].fields.iter().find(|field| field.path == "roles.read.max_duration").unwrap();
    assert_eq!((&field.from, &field.to), (&json!("1h"), &json!("2h")));
    assert_eq!(stored(store, "demo").await.unwrap().roles.len(), 3);
    assert_eq!(directory::users(store, &cast.admin).await.unwrap().len(), 4);
    let (applied, _) = apply::apply(store, &cast.admin, &body, START).await.unwrap();
    assert_eq!(applied, planned);
    let (again, effects) = apply::apply(store, &cast.admin, &body, START).await.unwrap();
    assert!(
        again.changes.iter().all(|change| change.action == ChangeAction::Unchanged && change.fields.is_empty()),
        "{again:?}"
    );
    assert!(effects.is_empty());
    assert_eq!(told(apply::plan(store, &cast.alice, &body, START).await.unwrap_err()).code, ErrorCode::Forbidden);
}

pub async fn all_or_nothing(store: &Store) {
    let cast = world(store).await;
    let good = json!({ "kind": "User", "name": "good" });
    for (bad, field) in [
        (json!({ "kind": "User", "name": "bad", "admni": true }), "admni"),
        (json!({ "kind": "Usr", "name": "bad" }), "kind"),
        (json!({ "kind": "User" }), "name"),
        (json!({ "kind": "Agent", "name": "bad", "owner": "nobody" }), "owner"),
        (json!({ "kind": "Group", "name": "bad", "members": ["user:nobody"] }), "members"),
        (json!({ "kind": "Connection", "name": "bad", "connector": "x" }), "database"),
    ] {
        let error = told(apply_all(store, &cast.admin, &[good.clone(), bad], false).await.unwrap_err());
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::Invalid, Some(field)), "{error:?}");
        let source = error.document.unwrap();
        assert_eq!((source.file.as_deref(), source.index), (Some("test.yaml"), Some(2)));
    }
    assert_eq!(directory::users(store, &cast.admin).await.unwrap().len(), 4);
}

pub async fn merging_and_replacing(store: &Store) {
    let cast = world(store).await;
    let partial = json!({ "kind": "Connection", "name": "demo", "roles": { "read": { "max_duration": "2h" } } });
    apply_all(store, &cast.admin, std::slice::from_ref(&partial), true).await.unwrap();
    let demo = stored(store, "demo").await.unwrap();
    assert_eq!((demo.roles.len(), demo.roles["read"].max_duration.as_str()), (3, "2h"));
    assert_eq!(
        (demo.roles["read"].reviewers.groups().as_slice(), demo.roles["read"].approvals),
        (["dba".to_owned()].as_slice(), 1)
    );
    // Replacing, what is not mentioned is missing.
    assert_eq!(told(apply_all(store, &cast.admin, &[partial], false).await.unwrap_err()).code, ErrorCode::Invalid);
    apply_all(store, &cast.admin, &[json!({ "kind": "User", "name": "admin", "admin": true })], false).await.unwrap();
    let admin =
        directory::users(store, &cast.admin).await.unwrap().into_iter().find(|user| user.name == "admin").unwrap();
    assert!(admin.admin && !admin.auditor);
    // Groups are given from either side, so that not mentioning them leaves them.
    assert_eq!(admin.groups, ["admins"]);
}

pub async fn changes_end_what_they_invalidate(store: &Store) {
    let cast = world(store).await;
    let mut grants = Vec::new();
    for ticket in ["INC-1", "INC-2"] {
        let body = CreateRequest { ticket: Some(ticket.to_owned()), ..ask("open") };
        let (request, _) = requests::submit(store, &cast.agent, &body, LIFETIME, START).await.unwrap();
        grants.push(request.grant_id.unwrap());
    }
    // What does not lead elsewhere ends nothing.
    let harmless = json!({ "kind": "Connection", "name": "demo", "roles": { "open": { "max_duration": "3h" } } });
    let (_, effects) = apply_all(store, &cast.admin, &[harmless], true).await.unwrap();
    assert_eq!(effects, [Effect::ConnectionsChanged]);
    let elsewhere = json!({ "kind": "Connection", "name": "demo", "roles": { "open": { "database_role": "other" } } });
    let (_, effects) = apply_all(store, &cast.admin, &[elsewhere], true).await.unwrap();
    let mut ended: Vec<_> = effects
        .iter()
        .filter_map(|effect| if let Effect::EndGrant(id, _) = effect { Some(id.clone()) } else { None })
        .collect();
    ended.sort();
    assert_eq!(ended, grants);
    let (request, _) = requests::submit(store, &cast.agent, &ask("open"), LIFETIME, START).await.unwrap();
    let deleted = json!({ "kind": "Connection", "name": "demo", "delete": true });
    let (changes, effects) = apply_all(store, &cast.admin, &[deleted], false).await.unwrap();
    assert_eq!(changes.changes[0].action, ChangeAction::Delete);
    assert!(
        effects.iter().any(|effect| matches!(effect, Effect::EndGrant(id, _) if Some(id) == request.grant_id.as_ref()))
    );
    assert!(stored(store, "demo").await.is_none());
}

pub async fn groups_and_owners(store: &Store) {
    let cast = world(store).await;
    // The order in the file does not matter: members and owners are made first.
    let list = [
        json!({ "kind": "Group", "name": "team", "members": ["user:bob", "agent:bot"] }),
        json!({ "kind": "Agent", "name": "bot", "owner": "bob" }),
        json!({ "kind": "User", "name": "bob", "groups": ["dba"] }),
    ];
    apply_all(store, &cast.admin, &list, false).await.unwrap();
    let groups = directory::groups(store, &cast.admin).await.unwrap();
    let members = |name: &str| groups.iter().find(|group| group.name == name).unwrap().members.clone();
    assert_eq!(members("team"), ["user:bob", "agent:bot"]);
    assert_eq!(members("dba"), ["user:bob", "user:dba", "user:dba2"]);
    let bots = directory::agents(store, &cast.admin).await.unwrap();
    assert_eq!(bots.iter().find(|agent| agent.name == "bot").unwrap().owner.as_deref(), Some("bob"));
    apply_all(store, &cast.admin, &[json!({ "kind": "Group", "name": "team", "delete": true })], false).await.unwrap();
    assert!(directory::groups(store, &cast.admin).await.unwrap().iter().all(|group| group.name != "team"));
}
