//! A statement that waits is told of, and approved from Slack.

use crate::{fixture::Plane, reviews::world};
use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use postern_api::{
    document::{Apply, Source, SourcedDocument},
    review::ReviewStatus,
};
use postern_control_plane::{apply, store::notifications};
use postern_types::time::Micros;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SIGNING: &str = "a-signing-secret";

async fn tell(plane: &Plane) {
    // Nobody listens there: what is told is looked at where it is queued.
    let nowhere = "http://127.0.0.1:9/";
    let slack = json!({
        "channel": "C1", "token": "none", "signing_secret": "slack-signing", "users": { "U1": "alice" }, "api_url": nowhere,
    });
    let documents = [
        json!({ "kind": "Notification", "name": "slack", "events": ["review.created"], "slack": slack }),
        json!({ "kind": "Notification", "name": "sre", "groups": ["sre"], "webhook": { "url": nowhere, "secrets": ["none"] } }),
    ];
    let sourced = documents.map(|document| SourcedDocument { source: Source::default(), document });
    let body = Apply { documents: sourced.to_vec(), policies: Vec::new(), merge: false };
    apply::apply_as(&plane.running.core.store, None, &body, Micros::now()).await.unwrap();
    std::fs::write(plane.folder("slack-signing"), SIGNING).unwrap();
}

/// What was told to a receiver, oldest first.
async fn told(plane: &Plane, name: &str) -> Vec<Value> {
    let mut tx = plane.running.core.store.read().await.unwrap();
    let mut rows = notifications::deliveries(&mut tx, Some(name), None).await.unwrap();
    rows.reverse();
    rows.iter().map(|row| serde_json::from_str(&row.message).unwrap()).collect()
}

/// Presses Approve as Slack does, with this secret; gives the status of the answer.
async fn approve(plane: &Plane, user: &str, review: &str, secret: &str) -> u16 {
    let payload = json!({
        "type": "block_actions", "user": { "id": user }, "channel": { "id": "C1" }, "trigger_id": "t",
        "actions": [{ "action_id": "postern.approve", "value": review }],
    });
    let text = payload.to_string();
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let body = format!("payload={encoded}");
    let at = Micros::now().0 / 1_000_000;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = HEXLOWER.encode(hmac::sign(&key, format!("v0:{at}:{body}").as_bytes()).as_ref());
    let head = format!(
        "POST /integrations/slack/interactions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\
         x-slack-request-timestamp: {at}\r\nx-slack-signature: v0={signature}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(plane.running.http_addr).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_statement_that_waits_is_told_of_and_approved_from_slack() {
    let mut w = world().await;
    tell(&w.plane).await;
    let id = w.held(1, 1).await;
    let created = told(&w.plane, "slack").await.remove(0);
    let data = &created["data"];
    assert_eq!(
        (&created["type"], &data["id"], &data["status"]),
        (&json!("review.created"), &json!(id), &json!("pending"))
    );
    assert_eq!(data["statement"], "DELETE FROM orders WHERE status = 'stale'");
    assert!(data["effect"].as_str().unwrap().starts_with("312 rows"), "{data}");
    assert_eq!((&data["reviewers"], &data["connection"]), (&json!(["dba"]), &json!("demo")));

    // What Slack did not sign does nothing, nor does whoever is nobody here.
    assert_eq!(approve(&w.plane, "U1", id.as_str(), "another").await, 401);
    assert_eq!(approve(&w.plane, "U2", id.as_str(), SIGNING).await, 200);
    assert_eq!(w.review(&id).await.status, ReviewStatus::Pending);
    assert_eq!(approve(&w.plane, "U1", id.as_str(), SIGNING).await, 200);
    let review = w.review(&id).await;
    assert_eq!((review.status, review.decision.unwrap().max_rows), (ReviewStatus::Approved, Some(312)));

    // What follows shows in the message that was sent for the first; nobody else was told.
    let events: Vec<_> = told(&w.plane, "slack").await.iter().map(|told| told["type"].clone()).collect();
    assert_eq!(events, ["review.created", "review.approved"]);
    assert!(told(&w.plane, "sre").await.is_empty());
    w.plane.running.shutdown().await;
}
