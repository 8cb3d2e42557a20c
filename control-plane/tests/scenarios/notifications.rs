//! Notifications: what is queued, and who has it.

use crate::support::{LIFETIME, apply_all, ask, at, told, world};
use postern_api::{
    access::Verdict,
    error::ErrorCode,
    notification::{DeliveriesQuery, DeliveryStatus},
};
use postern_control_plane::{
    notify::manage,
    requests::{self, Answer},
    store::{
        Store,
        notifications::{self, DeliveryRow},
    },
};
use postern_types::time::Micros;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const YES: Answer<'_> = Answer { verdict: Verdict::Approve, reason: None, duration: None, relations: &[] };

fn document(name: &str, more: Value) -> Value {
    let webhook = json!({ "url": "https://hooks.example.com/x", "secrets": ["hook"] });
    with(json!({ "kind": "Notification", "name": name, "webhook": webhook }), more)
}

fn with(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

fn slack(more: Value) -> Value {
    let base = json!({ "channel": "C0123", "token": "t", "signing_secret": "s", "users": { "U1": "dba" } });
    with(base, more)
}

fn mail(server: &str, more: Value) -> Value {
    with(json!({ "server": server, "from": "Postern <p@example.com>", "to": ["dba@example.com"] }), more)
}

async fn queued(store: &Store, name: &str) -> Vec<(String, String)> {
    let mut tx = store.read().await.unwrap();
    let mut rows = notifications::deliveries(&mut tx, Some(name), None).await.unwrap();
    rows.reverse();
    rows.into_iter().map(|row| (row.event, row.subject)).collect()
}

async fn claim(store: &Store, name: &str, now: Micros, until: Micros) -> Vec<DeliveryRow> {
    let mut tx = store.begin().await.unwrap();
    let rows = notifications::claim(&mut tx, name, now, until, 8).await.unwrap();
    tx.commit().await.unwrap();
    rows
}

pub async fn who_is_told_of_what(store: &Store) {
    let cast = world(store).await;
    let documents = [
        document("all", json!({})),
        document("grants", json!({ "events": ["grant.created", "request.denied"] })),
        document("elsewhere", json!({ "connections": ["other"] })),
        document("dba", json!({ "groups": ["dba"], "connections": ["demo"] })),
        document("sre", json!({ "groups": ["sre"] })),
    ];
    apply_all(store, &cast.admin, &documents, false).await.unwrap();
    let (request, _) = requests::submit(store, &cast.agent, &ask("read"), LIFETIME, at(1)).await.unwrap();
    let id = request.id.to_string();
    // What is not recorded is not told.
    requests::submit(store, &cast.alice, &ask("read"), LIFETIME, at(1)).await.unwrap_err();
    let created = ("request.created".to_owned(), id.clone());
    assert_eq!(queued(store, "all").await, std::slice::from_ref(&created));
    let (approved, _) = requests::review(store, &cast.dba, &request.id, YES, at(2)).await.unwrap();
    let grant = ("grant.created".to_owned(), approved.grant_id.unwrap().to_string());
    let approved = ("request.approved".to_owned(), id);
    assert_eq!(queued(store, "all").await, [created.clone(), approved.clone(), grant.clone()]);
    assert_eq!(queued(store, "dba").await, [created, approved, grant.clone()]);
    assert_eq!(queued(store, "grants").await, [grant]);
    assert!(queued(store, "elsewhere").await.is_empty() && queued(store, "sre").await.is_empty());

    // What needs nobody's answer is told of by its grant alone.
    let (open, _) = requests::submit(store, &cast.agent, &ask("open"), LIFETIME, at(3)).await.unwrap();
    let told = queued(store, "all").await.split_off(3);
    assert_eq!(told, [("grant.created".to_owned(), open.grant_id.unwrap().to_string())]);
    // A notification that is deleted takes along what was under way.
    apply_all(store, &cast.admin, &[json!({ "kind": "Notification", "name": "all", "delete": true })], false)
        .await
        .unwrap();
    assert!(queued(store, "all").await.is_empty());
}

pub async fn each_message_has_one_owner_at_a_time(store: &Store) {
    let cast = world(store).await;
    apply_all(store, &cast.admin, &[document("all", json!({}))], false).await.unwrap();
    let mut ids = Vec::new();
    for seconds in 1..=6 {
        ids.push(requests::submit(store, &cast.agent, &ask("read"), LIFETIME, at(seconds)).await.unwrap().0.id);
    }
    requests::review(store, &cast.dba, &ids[0], YES, at(7)).await.unwrap();

    // Two at once share them; of one request only the first message is under way.
    let (one, two) = tokio::join!(claim(store, "all", at(10), at(70)), claim(store, "all", at(10), at(70)));
    let taken: Vec<_> = one.iter().chain(&two).collect();
    let subjects: BTreeSet<_> = taken.iter().map(|row| row.subject.as_str()).collect();
    assert_eq!(subjects, ids.iter().map(|id| id.as_str()).collect());
    assert!(taken.len() == 6 && taken.iter().all(|row| row.event == "request.created" && row.attempts == 1));
    assert!(claim(store, "all", at(20), at(80)).await.is_empty());

    // Whoever had them died: the next one has them, and what the first says then counts for nothing.
    let again = claim(store, "all", at(70), at(130)).await;
    assert!(again.len() == 6 && again.iter().all(|row| row.attempts == 2));
    let late = taken.iter().find(|row| row.subject == ids[0].as_str()).unwrap();
    let row = again.iter().find(|row| row.subject == ids[0].as_str()).unwrap();
    assert_eq!((&late.id, &late.message), (&row.id, &row.message));
    let mut tx = store.begin().await.unwrap();
    assert!(!notifications::postpone(&mut tx, late, "late", at(71)).await.unwrap());
    assert!(!notifications::give_up(&mut tx, late, "late", at(71)).await.unwrap());
    assert!(!notifications::delivered(&mut tx, late, at(71)).await.unwrap());
    assert!(notifications::delivered(&mut tx, row, at(71)).await.unwrap());
    tx.commit().await.unwrap();
    let next = claim(store, "all", at(72), at(132)).await;
    assert_eq!(next.iter().map(|row| row.event.as_str()).collect::<Vec<_>>(), ["request.approved"]);

    // Postponed, it comes back when it is time and not before.
    let mut tx = store.begin().await.unwrap();
    assert!(notifications::postpone(&mut tx, &next[0], "503", at(100)).await.unwrap());
    tx.commit().await.unwrap();
    assert!(claim(store, "all", at(99), at(150)).await.is_empty());
    assert_eq!(claim(store, "all", at(100), at(150)).await[0].error.as_deref(), Some("503"));
}

pub async fn given_up_and_tried_again(store: &Store) {
    let cast = world(store).await;
    apply_all(store, &cast.admin, &[document("all", json!({}))], false).await.unwrap();
    requests::submit(store, &cast.agent, &ask("read"), LIFETIME, at(1)).await.unwrap();
    let row = claim(store, "all", at(2), at(62)).await.remove(0);
    let refused = manage::retry(store, &cast.admin, row.id.as_str(), at(3)).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Conflict);
    let mut tx = store.begin().await.unwrap();
    notifications::disable(&mut tx, "all", "410", at(4)).await.unwrap();
    tx.commit().await.unwrap();
    // Nothing is queued for a receiver that wants nothing.
    requests::submit(store, &cast.agent, &ask("read"), LIFETIME, at(5)).await.unwrap();
    let query = DeliveriesQuery { status: Some(DeliveryStatus::Dead), notification: None };
    let dead = manage::deliveries(store, &cast.admin, &query).await.unwrap();
    assert_eq!(dead.iter().map(|one| (&one.id, one.error.as_deref())).collect::<Vec<_>>(), [(&row.id, Some("410"))]);
    let listed = manage::list(store, &cast.admin).await.unwrap();
    assert_eq!((listed[0].dead, listed[0].queued, listed[0].disabled_at), (1, 0, Some(at(4))));

    for refused in [
        manage::list(store, &cast.dba).await.map(drop),
        manage::deliveries(store, &cast.dba, &query).await.map(drop),
        manage::retry(store, &cast.dba, row.id.as_str(), at(6)).await.map(drop),
        manage::enable(store, &cast.agent, "all", at(6)).await.map(drop),
    ] {
        assert_eq!(told(refused.unwrap_err()).code, ErrorCode::Forbidden);
    }
    let refused = told(manage::retry(store, &cast.admin, row.id.as_str(), at(6)).await.unwrap_err());
    assert!(refused.code == ErrorCode::Conflict && refused.hint.unwrap().contains("enable all"));
    assert!(manage::enable(store, &cast.admin, "all", at(7)).await.unwrap().disabled_at.is_none());
    let again = manage::retry(store, &cast.admin, row.id.as_str(), at(8)).await.unwrap();
    assert_eq!((again.status, again.attempts), (DeliveryStatus::Queued, 0));
    assert_eq!(claim(store, "all", at(8), at(68)).await[0].message, row.message);

    // What was delivered or given up long ago is forgotten, what waits is not.
    let mut tx = store.begin().await.unwrap();
    assert_eq!(notifications::forget(&mut tx, at(1000), at(1000)).await.unwrap(), 0);
    notifications::disable(&mut tx, "all", "410", at(9)).await.unwrap();
    assert_eq!(notifications::forget(&mut tx, at(1000), at(9)).await.unwrap(), 0);
    assert_eq!(notifications::forget(&mut tx, at(1000), at(10)).await.unwrap(), 1);
    tx.commit().await.unwrap();
}

pub async fn documents_are_checked(store: &Store) {
    let cast = world(store).await;
    let webhook = |url: &str| json!({ "webhook": { "url": url, "secrets": ["hook"] } });
    for (more, wrong) in [
        (json!({ "events": ["request.creatd"] }), "events"),
        (json!({ "events": ["*"] }), "events"),
        (json!({ "groups": ["a b"] }), "groups"),
        (webhook("http://hooks.example.com/"), "webhook.url"),
        (webhook("https://u:p@hooks.example.com/"), "webhook.url"),
        (webhook("https://169.254.169.254/"), "webhook.url"),
        (json!({ "webhook": { "url": "https://h.example.com/", "secrets": [] } }), "webhook.secrets"),
        (json!({ "webhook": { "url": "https://h.example.com/", "secrets": ["a", "b", "c"] } }), "webhook.secrets"),
        (json!({ "webhook": { "url": "https://h.example.com/", "secret": "whsec_x" } }), "secret"),
        (json!({ "webhook": null }), "webhook"),
        (json!({ "email": mail("smtp.example.com:587", json!({})) }), "webhook"),
    ] {
        let problem = apply_all(store, &cast.admin, &[document("x", more.clone())], false).await.unwrap_err();
        assert_eq!(told(problem).field.as_deref(), Some(wrong), "{more}");
    }
    for (more, wrong) in [
        (json!({ "slack": slack(json!({ "channel": "#dba" })) }), "slack.channel"),
        (json!({ "slack": slack(json!({ "users": { "@alice": "alice" } })) }), "slack.users"),
        (json!({ "slack": slack(json!({ "signing_secret": null })) }), "slack.users"),
        (json!({ "slack": slack(json!({ "api_url": "http://slack.example.com/api" })) }), "slack.api_url"),
        (json!({ "email": mail("smtp.example.com", json!({})) }), "email.server"),
        (json!({ "email": mail("smtp.example.com:25", json!({ "tls": "none" })) }), "email.tls"),
        (json!({ "email": mail("smtp.example.com:25", json!({ "user": "x" })) }), "email.user"),
        (json!({ "email": mail("smtp.example.com:25", json!({ "to": [] })) }), "email.to"),
        (
            json!({ "email": mail("smtp.example.com:25", json!({ "to": ["a@b.example\r\nBcc: c@d.example"] })) }),
            "email.to",
        ),
        (json!({ "email": mail("smtp.example.com:25", json!({ "from": "nobody" })) }), "email.from"),
    ] {
        let mut document = document("x", more.clone());
        document.as_object_mut().unwrap().remove("webhook");
        let problem = apply_all(store, &cast.admin, &[document], false).await.unwrap_err();
        assert_eq!(told(problem).field.as_deref(), Some(wrong), "{more}");
    }
    for (name, more) in [
        ("slack", json!({ "slack": slack(json!({})) })),
        ("mail", json!({ "email": mail("smtp.example.com:465", json!({ "tls": "tls" })) })),
        ("local", json!({ "email": mail("127.0.0.1:25", json!({ "tls": "none" })) })),
    ] {
        let mut document = document(name, more);
        document.as_object_mut().unwrap().remove("webhook");
        apply_all(store, &cast.admin, &[document], false).await.unwrap();
    }
    for good in [json!({ "events": ["request.*", "grant.revoked"] }), webhook("http://127.0.0.1:9/x")] {
        apply_all(store, &cast.admin, &[document("x", good)], false).await.unwrap();
    }
    let refused = apply_all(store, &cast.dba, &[document("x", json!({}))], false).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Forbidden);
    let (changes, _) =
        apply_all(store, &cast.admin, &[document("x", webhook("http://127.0.0.1:9/x"))], false).await.unwrap();
    assert!(changes.changes[0].fields.is_empty());
}
