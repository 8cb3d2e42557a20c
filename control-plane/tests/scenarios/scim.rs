//! Directories that say over SCIM who there is.

use crate::support::{Cast, LIFETIME, START, apply_all, ask, at, principal, told, world};
use postern_api::{
    access::{CreateRequest, GrantStatus, RequestStatus},
    audit::{AuditQuery, EventTypes},
    error::ErrorCode,
    identity::{CreateToken, PrincipalKind, PrincipalName, PrincipalRef},
};
use postern_control_plane::{
    audit::search,
    effects::Effect,
    grants,
    identity::{
        self, Actor, directory,
        people::{self, NotAdmitted, Verified},
        tokens, web,
    },
    requests,
    scim::{
        Document, Page, Refused,
        filter::Filter,
        groups,
        schema::{GROUP, USER},
        users::{self, Change},
    },
    store::{Store, principals, providers},
};
use secrecy::SecretString;
use serde_json::{Value, json};

const BASE: &str = "https://postern.example.com/scim/v2";

async fn token(
    store: &Store,
    caller: &Actor,
    kind: PrincipalKind,
    name: &str,
    may: &[&str],
) -> Result<String, ErrorCode> {
    let body = CreateToken {
        principal: Some(PrincipalName { kind, name: name.to_owned() }),
        name: "directory".to_owned(),
        expires: None,
        may: Some(may.iter().map(|&place| place.to_owned()).collect()),
    };
    tokens::create(store, caller, &body, START).await.map(|made| made.token).map_err(|problem| told(problem).code)
}

async fn directory(store: &Store, cast: &Cast, name: &str) -> Actor {
    principal(store, PrincipalKind::Agent, name, &[], false).await;
    let token = SecretString::from(token(store, &cast.admin, PrincipalKind::Agent, name, &["scim"]).await.unwrap());
    identity::directory_client(store, &token, START).await.unwrap().unwrap()
}

fn id(document: &Document) -> String {
    document["id"].as_str().unwrap().to_owned()
}

fn scim_type(refused: Refused) -> (u16, Option<&'static str>) {
    match refused {
        Refused::Told { status, kind, .. } => (status, kind),
        Refused::Fault(cause) => panic!("a fault: {cause}"),
    }
}

async fn create(store: &Store, client: &Actor, name: &str) -> Document {
    users::create(store, client, json!({ "userName": name, "externalId": format!("x-{name}") }), BASE, at(1))
        .await
        .unwrap()
}

async fn patch(store: &Store, client: &Actor, user: &str, value: Value) -> (Document, Vec<Effect>) {
    let body = json!({ "Operations": [{ "op": "replace", "value": value }] });
    users::change(store, client, user, Change::Patch(body), BASE, at(5)).await.unwrap()
}

async fn members(store: &Store, group: &str) -> Vec<String> {
    let mut tx = store.read().await.unwrap();
    principals::members(&mut tx, group).await.unwrap()
}

/// Actions of the directory, oldest first.
async fn recorded(store: &Store, cast: &Cast, by: &str) -> Vec<Value> {
    let query = AuditQuery { limit: Some(1000), r#type: EventTypes::Control, ..AuditQuery::default() };
    let events = serde_json::to_value(search::search(store, &cast.admin, query).await.unwrap()).unwrap();
    let mut events: Vec<_> =
        events.as_array().unwrap().iter().filter(|event| event["actor"]["name"] == by).cloned().collect();
    events.reverse();
    events
}

pub async fn its_token_is_good_for_it_alone(store: &Store) {
    let cast = world(store).await;
    use PrincipalKind::{Agent, User};
    principal(store, Agent, "okta", &["agents"], false).await;
    // Only admins make one, only for an agent, and only for this.
    for (caller, kind, name, may, refused) in [
        (&cast.alice, User, "alice", &["scim"][..], ErrorCode::Forbidden),
        (&cast.admin, User, "alice", &["scim"], ErrorCode::Invalid),
        (&cast.admin, Agent, "okta", &["scim", "demo/read"], ErrorCode::Invalid),
        (&cast.admin, Agent, "okta", &["scim", "scim"], ErrorCode::Invalid),
        (&cast.admin, Agent, "okta", &["SCIM"], ErrorCode::Invalid),
    ] {
        assert_eq!(token(store, caller, kind, name, may).await.unwrap_err(), refused, "{name} {may:?}");
    }
    let secret = async |may: &[&str]| SecretString::from(token(store, &cast.admin, Agent, "okta", may).await.unwrap());
    let (for_scim, narrowed) = (secret(&["scim"]).await, secret(&["demo/read"]).await);
    let client = identity::directory_client(store, &for_scim, START).await.unwrap().unwrap();
    assert!(client.is_directory() && client.principal.name == "okta");
    // Nowhere else, and no other token here.
    assert!(identity::authenticate(store, &for_scim, &Default::default(), START).await.unwrap().is_none());
    assert!(web::begin(store, &for_scim, START).await.is_err());
    assert!(identity::authenticate(store, &narrowed, &Default::default(), START).await.unwrap().is_some());
    for other in [narrowed, SecretString::from("postern_agent_okta"), SecretString::from("postern_user_admin")] {
        assert!(identity::authenticate(store, &other, &Default::default(), START).await.unwrap().is_some());
        assert!(identity::directory_client(store, &other, START).await.unwrap().is_none());
    }
    let body = || json!({ "userName": "bob" });
    for actor in [&cast.admin, &cast.agent, &cast.alice] {
        let refused = users::create(store, actor, body(), BASE, START).await.unwrap_err();
        assert_eq!(scim_type(refused), (403, None), "{}", actor.principal.name);
        assert!(groups::create(store, actor, json!({ "displayName": "g" }), BASE, START).await.is_err());
    }
    assert!(users::create(store, &client, body(), BASE, START).await.is_ok());
    // It goes with its agent.
    apply_all(store, &cast.admin, &[json!({ "kind": "Agent", "name": "okta", "disabled": true })], false)
        .await
        .unwrap();
    assert!(identity::directory_client(store, &for_scim, START).await.unwrap().is_none());
}

pub async fn who_is_deactivated_has_nothing_left(store: &Store) {
    let cast = world(store).await;
    let client = directory(store, &cast, "okta").await;
    let made = create(store, &client, "bob@acme.com").await;
    assert_eq!(
        (&made["active"], &made["meta"]["location"]),
        (&json!(true), &json!(format!("{BASE}/Users/{}", id(&made))))
    );
    let bob_secret = token(store, &cast.admin, PrincipalKind::User, "bob@acme.com", &["demo/read"]).await.unwrap();
    let bob_secret = SecretString::from(bob_secret);
    let (_, cookie) = web::begin(store, &bob_secret, at(2)).await.unwrap();
    let bob = identity::authenticate(store, &bob_secret, &Default::default(), at(2)).await.unwrap().unwrap().actor;
    // What an agent has on his behalf, and what it has asked for.
    let for_bob = |role: &str| CreateRequest { on_behalf_of: Some("bob@acme.com".to_owned()), ..ask(role) };
    let (open, _) = requests::submit(store, &cast.agent, &for_bob("open"), LIFETIME, at(2)).await.unwrap();
    let (waits, _) = requests::submit(store, &cast.agent, &for_bob("read"), LIFETIME, at(2)).await.unwrap();
    let (own, _) = requests::submit(store, &cast.agent, &ask("open"), LIFETIME, at(2)).await.unwrap();
    let (open, own) = (open.grant_id.unwrap(), own.grant_id.unwrap());

    let (shown, effects) = patch(store, &client, &id(&made), json!({ "active": "False" })).await;
    assert_eq!(shown["active"], json!(false));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::EndGrant(grant, _) if *grant == open)), "{effects:?}");
    assert_eq!(grants::get(store, &cast.agent, &open).await.unwrap().status(at(6)), GrantStatus::Revoked);
    assert_eq!(requests::get(store, &cast.agent, &waits.id).await.unwrap().status, RequestStatus::Withdrawn);
    assert!(identity::authenticate(store, &bob_secret, &Default::default(), at(6)).await.unwrap().is_none());
    assert!(web::authenticate(store, &cookie, at(6)).await.unwrap().is_none());
    assert!(requests::submit(store, &cast.agent, &for_bob("open"), LIFETIME, at(6)).await.is_err());
    // What is not his stays.
    assert_eq!(grants::get(store, &cast.agent, &own).await.unwrap().status(at(6)), GrantStatus::Open);

    // Let in again, he begins with nothing.
    let (shown, effects) = patch(store, &client, &id(&made), json!({ "active": true })).await;
    assert_eq!((&shown["active"], effects.len()), (&json!(true), 0));
    assert!(identity::authenticate(store, &bob_secret, &Default::default(), at(7)).await.unwrap().is_none());
    assert!(web::authenticate(store, &cookie, at(7)).await.unwrap().is_none());
    assert!(requests::submit(store, &cast.agent, &for_bob("open"), LIFETIME, at(7)).await.is_ok());
    // A whole that does not say whether he may act does not let him in.
    patch(store, &client, &id(&made), json!({ "active": false })).await;
    let whole = Change::Replace(json!({ "userName": "bob@acme.com", "displayName": "Bob" }));
    let (shown, _) = users::change(store, &client, &id(&made), whole, BASE, at(8)).await.unwrap();
    assert_eq!(
        (&shown["active"], &shown["displayName"], shown.get("externalId")),
        (&json!(false), &json!("Bob"), None)
    );

    let events = recorded(store, &cast, "okta").await;
    let actions: Vec<_> = events.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions[..4], ["user.created", "user.updated", "grant.revoked", "request.withdrawn"], "{actions:?}");
    assert_eq!(events[1]["detail"]["fields"], json!([{ "path": "active", "from": true, "to": false }]));
    assert_eq!(events[2]["detail"]["reason"], "user bob@acme.com was disabled");
    assert_eq!(bob.principal.id.to_string(), id(&made));
}

pub async fn what_is_not_its_own_stays_so(store: &Store) {
    let cast = world(store).await;
    let (okta, entra) = (directory(store, &cast, "okta").await, directory(store, &cast, "entra").await);
    let bob = id(&create(store, &okta, "bob").await);
    let group = |name: &str| json!({ "displayName": name, "members": [{ "value": bob }] });
    let ops = id(&groups::create(store, &okta, group("ops"), BASE, at(2)).await.unwrap());
    // Of documents: `alice` and `dba`. Of another directory: all.
    for (client, name) in [(&okta, "alice"), (&okta, "Alice"), (&okta, "BOB"), (&entra, "bob"), (&entra, "admin")] {
        let refused = users::create(store, client, json!({ "userName": name }), BASE, at(2)).await.unwrap_err();
        assert_eq!(scim_type(refused), (409, Some("uniqueness")), "{name}");
    }
    for (client, name) in [(&okta, "dba"), (&entra, "ops")] {
        let refused = groups::create(store, client, json!({ "displayName": name }), BASE, at(2)).await.unwrap_err();
        assert_eq!(scim_type(refused), (409, Some("uniqueness")), "{name}");
    }
    let alice = cast.alice.principal.id.to_string();
    let nothing = || Change::Patch(json!({ "Operations": [] }));
    for (client, user) in [(&okta, alice.as_str()), (&entra, &bob), (&okta, "nobody"), (&okta, "")] {
        assert_eq!(scim_type(users::get(store, client, user, BASE).await.unwrap_err()).0, 404, "{user}");
        let changed = users::change(store, client, user, nothing(), BASE, at(2)).await;
        assert_eq!(scim_type(changed.unwrap_err()).0, 404, "{user}");
        assert_eq!(scim_type(users::delete(store, client, user, at(2)).await.unwrap_err()).0, 404, "{user}");
    }
    assert!(users::get(store, &okta, &bob, BASE).await.is_ok());
    assert_eq!(scim_type(groups::get(store, &entra, &ops, BASE).await.unwrap_err()).0, 404);
    assert_eq!(scim_type(groups::change(store, &entra, &ops, nothing(), BASE, at(2)).await.unwrap_err()).0, 404);
    assert_eq!(scim_type(groups::delete(store, &entra, &ops, at(2)).await.unwrap_err()).0, 404);
    // Nobody else's people come into a group of its own, nor under a name of others.
    let foreign = json!({ "displayName": "x", "members": [{ "value": alice }] });
    let refused = groups::create(store, &okta, foreign, BASE, at(2)).await.unwrap_err();
    assert_eq!(scim_type(refused), (400, Some("invalidValue")));
    let renamed = Change::Patch(json!({ "Operations": [{ "op": "replace", "path": "userName", "value": "alice" }] }));
    let refused = users::change(store, &okta, &bob, renamed, BASE, at(2)).await.unwrap_err();
    assert_eq!(scim_type(refused), (409, Some("uniqueness")));
    let renamed =
        || Change::Patch(json!({ "Operations": [{ "op": "replace", "path": "displayName", "value": "dba" }] }));
    assert_eq!(
        scim_type(groups::change(store, &okta, &ops, renamed(), BASE, at(2)).await.unwrap_err()),
        (409, Some("uniqueness"))
    );
    assert_eq!(members(store, "dba").await, ["user:dba", "user:dba2"]);
    // Each such attempt is recorded.
    for (name, attempts) in [("okta", 6), ("entra", 3)] {
        let events = recorded(store, &cast, name).await;
        let refused: Vec<_> = events.iter().filter(|event| event["action"] == "scim.refused").collect();
        assert_eq!(refused.len(), attempts, "{refused:?}");
        assert!(
            refused.iter().all(|event| event["detail"]["why"].as_str().unwrap().contains("already")),
            "{refused:?}"
        );
    }
    // Names are names.
    for name in ["", "bob smith", "../x", &"x".repeat(64)] {
        let refused = users::create(store, &okta, json!({ "userName": name }), BASE, at(2)).await.unwrap_err();
        assert_eq!(scim_type(refused), (400, Some("invalidValue")), "{name}");
    }
}

pub async fn groups_follow_the_directory(store: &Store) {
    let cast = world(store).await;
    let client = directory(store, &cast, "okta").await;
    let (bob, eve) = (id(&create(store, &client, "bob").await), id(&create(store, &client, "eve").await));
    let body = json!({ "displayName": "ops", "externalId": "g1", "members": [{ "value": bob }] });
    let made = groups::create(store, &client, body, BASE, at(2)).await.unwrap();
    let ops = id(&made);
    assert_eq!(made["members"], json!([{ "value": bob, "$ref": format!("{BASE}/Users/{bob}"), "type": "User" }]));
    let user = users::get(store, &client, &bob, BASE).await.unwrap();
    assert_eq!(user["groups"], json!([{ "value": ops, "$ref": format!("{BASE}/Groups/{ops}"), "display": "ops" }]));
    // A document puts an agent into it; whom the directory has put there it does not touch.
    let apply = async |document: Value| apply_all(store, &cast.admin, &[document], false).await;
    apply(json!({ "kind": "Agent", "name": "ci", "groups": ["agents", "ops"] })).await.unwrap();
    let change = async |operation: Value| {
        let body = Change::Patch(json!({ "Operations": [operation] }));
        groups::change(store, &client, &ops, body, BASE, at(3)).await
    };
    change(json!({ "op": "add", "path": "members", "value": [{ "value": eve }] })).await.unwrap();
    assert_eq!(members(store, "ops").await, ["user:bob", "user:eve", "agent:ci"]);
    change(json!({ "op": "remove", "path": format!("members[value eq \"{bob}\"]") })).await.unwrap();
    assert_eq!(members(store, "ops").await, ["user:eve", "agent:ci"]);
    change(json!({ "op": "replace", "path": "members", "value": [{ "value": bob }] })).await.unwrap();
    assert_eq!(members(store, "ops").await, ["user:bob", "agent:ci"]);
    for document in [
        json!({ "kind": "User", "name": "alice", "groups": ["ops"] }),
        json!({ "kind": "Group", "name": "ops", "members": ["user:bob", "user:alice"] }),
        json!({ "kind": "Group", "name": "ops", "delete": true }),
    ] {
        let refused = told(apply(document.clone()).await.unwrap_err());
        assert!(refused.code == ErrorCode::Invalid && refused.message.contains("agent okta"), "{document} {refused:?}");
    }
    // Documents neither take him out nor does it matter that they name him.
    apply(json!({ "kind": "User", "name": "bob", "groups": ["dba"] })).await.unwrap();
    apply(json!({ "kind": "Group", "name": "ops", "members": ["agent:ci"] })).await.unwrap();
    apply(json!({ "kind": "Group", "name": "ops", "members": ["agent:ci", "user:bob"] })).await.unwrap();
    assert_eq!(members(store, "ops").await, ["user:bob", "agent:ci"]);

    // Under another name it is another group: agents have to be put there.
    change(json!({ "op": "replace", "value": { "displayName": "operations" } })).await.unwrap();
    assert_eq!(
        (members(store, "operations").await, members(store, "ops").await),
        (vec!["user:bob".to_owned()], vec!["agent:ci".to_owned()])
    );
    groups::delete(store, &client, &ops, at(4)).await.unwrap();
    let names = directory::groups(store, &cast.admin).await.unwrap();
    let names: Vec<_> = names.iter().map(|group| group.name.as_str()).collect();
    assert!(!names.contains(&"operations") && names.contains(&"ops"), "{names:?}");
    assert!(users::get(store, &client, &bob, BASE).await.unwrap().get("groups").is_none());
    let actions: Vec<_> =
        recorded(store, &cast, "okta").await.iter().map(|event| event["action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions.iter().filter(|action| *action == "group.updated").count(), 4, "{actions:?}");
    assert!(actions.ends_with(&["group.deleted".to_owned()]), "{actions:?}");
}

pub async fn documents_and_directories_agree(store: &Store) {
    let cast = world(store).await;
    let client = directory(store, &cast, "okta").await;
    let bob = id(&create(store, &client, "bob").await);
    let apply = async |document: Value, merge: bool| {
        apply_all(store, &cast.admin, &[document], merge).await.unwrap();
        let users = directory::users(store, &cast.admin).await.unwrap();
        users.into_iter().find(|user| user.name == "bob").unwrap()
    };
    let user = |disabled: bool| json!({ "kind": "User", "name": "bob", "admin": true, "disabled": disabled });
    assert!(!apply(user(false), false).await.disabled);
    // Whoever of the two says no is obeyed.
    patch(store, &client, &bob, json!({ "active": false })).await;
    assert!(apply(user(false), false).await.disabled);
    assert!(apply(json!({ "kind": "User", "name": "bob", "auditor": true }), true).await.disabled);
    patch(store, &client, &bob, json!({ "active": true })).await;
    assert!(!apply(json!({ "kind": "User", "name": "bob" }), true).await.disabled);
    assert!(apply(user(true), false).await.disabled);
    patch(store, &client, &bob, json!({ "active": false })).await;
    let (shown, _) = patch(store, &client, &bob, json!({ "active": true })).await;
    assert_eq!(shown["active"], json!(true));
    assert!(apply(json!({ "kind": "User", "name": "bob" }), true).await.disabled);
    assert!(!apply(user(false), false).await.disabled);

    // Deleted and made again, it is the same user, without what documents had given.
    users::delete(store, &client, &bob, at(9)).await.unwrap();
    let gone = users::get(store, &client, &bob, BASE).await.unwrap_err();
    assert_eq!(scim_type(gone).0, 404);
    let again = create(store, &client, "Bob").await;
    assert_eq!(id(&again), bob);
    let users = directory::users(store, &cast.admin).await.unwrap();
    let user = users.into_iter().find(|user| user.name == "Bob").unwrap();
    assert!(!user.disabled && !user.admin && !user.auditor && user.groups.is_empty(), "{user:?}");
    // Once the directory is gone, documents decide.
    users::delete(store, &client, &bob, at(10)).await.unwrap();
    let named = json!({ "kind": "User", "name": "Bob", "disabled": false });
    let disabled = async || {
        let users = directory::users(store, &cast.admin).await.unwrap();
        users.into_iter().find(|user| user.name == "Bob").unwrap().disabled
    };
    apply_all(store, &cast.admin, std::slice::from_ref(&named), false).await.unwrap();
    assert!(disabled().await);
    let off = json!({ "kind": "Agent", "name": "okta", "disabled": true });
    apply_all(store, &cast.admin, &[off, named], false).await.unwrap();
    // In this order, which is that of kinds: users before agents.
    apply_all(store, &cast.admin, &[json!({ "kind": "User", "name": "Bob" })], false).await.unwrap();
    assert!(!disabled().await);
}

/// Somebody comes whom the provider has proved.
async fn come(store: &Store, subject: &str, name: &str) -> Result<PrincipalRef, NotAdmitted> {
    let mut tx = store.begin().await.unwrap();
    let provider = providers::by_name(&mut tx, "corp").await.unwrap().unwrap();
    let verified = Verified {
        provider: &provider,
        subject: subject.to_owned(),
        name: name.to_owned(),
        email: None,
        groups: Vec::new(),
        acr: None,
        authenticated_at: None,
        session: None,
        expires_at: None,
        refresh_token: None,
        id_token: None,
    };
    let user = people::admit(&mut tx, &verified, at(20)).await?;
    tx.commit().await.unwrap();
    Ok(user)
}

pub async fn people_sign_in_where_the_directory_is(store: &Store) {
    let cast = world(store).await;
    let (okta, other) = (directory(store, &cast, "okta").await, directory(store, &cast, "other").await);
    let provider = |more: Value| {
        let mut document = json!({
            "kind": "IdentityProvider", "name": "corp", "scim": "okta",
            "oidc": { "url": "https://corp.example.com", "client_id": "postern" },
        });
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        document
    };
    let both = provider(json!({ "groups": { "claim": "groups" } }));
    assert_eq!(told(apply_all(store, &cast.admin, &[both], false).await.unwrap_err()).field.as_deref(), Some("groups"));
    apply_all(store, &cast.admin, &[provider(json!({}))], false).await.unwrap();
    // Made by the directory first, or come first by themselves: the same user.
    let bob = id(&create(store, &okta, "bob").await);
    assert_eq!(come(store, "s1", "bob").await.unwrap().id.to_string(), bob);
    let eve = come(store, "s2", "eve").await.unwrap();
    let taken = users::create(store, &other, json!({ "userName": "eve" }), BASE, at(3)).await.unwrap_err();
    assert_eq!(scim_type(taken), (409, Some("uniqueness")));
    assert_eq!(id(&create(store, &okta, "eve").await), eve.id.to_string());
    // Of another directory, and of none.
    create(store, &other, "zoe").await;
    for name in ["zoe", "alice"] {
        assert!(matches!(come(store, "s3", name).await, Err(NotAdmitted::Taken(_))), "{name}");
    }
    // Whom the directory has deactivated does not sign in, also when the provider had taken and would give back.
    let mut tx = store.begin().await.unwrap();
    let _ = people::remove(&mut tx, &eve.id, "refused", at(4)).await.unwrap();
    tx.commit().await.unwrap();
    patch(store, &okta, &bob, json!({ "active": false })).await;
    patch(store, &okta, eve.id.as_str(), json!({ "active": false })).await;
    for (subject, name) in [("s1", "bob"), ("s2", "eve")] {
        assert!(matches!(come(store, subject, name).await, Err(NotAdmitted::Disabled(_))), "{name}");
    }
    patch(store, &okta, &bob, json!({ "active": true })).await;
    assert!(come(store, "s1", "bob").await.is_ok());
}

pub async fn pages_and_filters(store: &Store) {
    let cast = world(store).await;
    let client = directory(store, &cast, "okta").await;
    for n in 0..5 {
        let body = json!({ "userName": format!("user{n}"), "externalId": format!("x-user{n}") });
        users::create(store, &client, body, BASE, at(n)).await.unwrap();
    }
    let list = async |filter: &str, start: Option<i64>, count: Option<i64>| {
        let filter = if filter.is_empty() { Filter::default() } else { Filter::new(&USER, filter).unwrap() };
        let found = users::list(store, &client, &filter, Page::new(start, count), BASE).await.unwrap();
        let names: Vec<_> = found.resources.iter().map(|user| user["userName"].as_str().unwrap().to_owned()).collect();
        (found.total, names.join(" "))
    };
    for (filter, start, count, total, names) in [
        ("", None, None, 5, "user0 user1 user2 user3 user4"),
        ("", Some(2), Some(2), 5, "user1 user2"),
        ("", Some(5), Some(2), 5, "user4"),
        ("", Some(6), None, 5, ""),
        ("", Some(-3), Some(1), 5, "user0"),
        ("", None, Some(0), 5, ""),
        ("", None, Some(-1), 5, ""),
        (r#"userName eq "USER3""#, None, None, 1, "user3"),
        (r#"externalId eq "x-user2" and active eq true"#, None, None, 1, "user2"),
        (r#"externalId eq "X-USER2""#, None, None, 0, ""),
        (r#"active eq false"#, None, None, 0, ""),
        (r#"active eq true"#, Some(4), Some(9), 5, "user3 user4"),
        // Nobody but its own.
        (r#"userName eq "alice""#, None, None, 0, ""),
    ] {
        assert_eq!(list(filter, start, count).await, (total, names.to_owned()), "{filter} {start:?} {count:?}");
    }
    let one = list(r#"userName eq "user1""#, None, None).await;
    assert_eq!(one.0, 1);
    let all = users::list(store, &client, &Filter::default(), Page::new(None, None), BASE).await.unwrap();
    let bob = id(&all.resources[0]);
    let body = |name: &str| json!({ "displayName": name, "members": [{ "value": bob }] });
    for name in ["ops", "dev"] {
        groups::create(store, &client, body(name), BASE, at(3)).await.unwrap();
    }
    let found = async |filter: &str| {
        let filter = Filter::new(&GROUP, filter).unwrap();
        groups::list(store, &client, &filter, Page::new(None, None), BASE).await.unwrap().total
    };
    assert_eq!(found(r#"displayName eq "Ops""#).await, 1);
    assert_eq!(found(&format!(r#"members.value eq "{bob}""#)).await, 2);
    assert_eq!(found(&format!(r#"displayName eq "dev" and members eq "{bob}""#)).await, 1);
    assert_eq!(found(r#"members.value eq "nobody""#).await, 0);
    assert_eq!(found(r#"displayName eq "dba""#).await, 0);
}
