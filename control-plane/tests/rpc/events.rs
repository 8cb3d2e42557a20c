//! What happens, as it happens: streams of events and long polls, over HTTP, on one replica and on two.

use crate::{
    fixture::{PATIENCE, Plane},
    reviews::{replica, user, world, world_on},
    support::postgres::Cluster,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A call in plain HTTP/1.1, as the user of that name.
async fn send(plane: &Plane, method: &str, path: &str, name: &str, head: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(plane.running.http_addr).await.unwrap();
    let request = format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer postern_{name}\r\n\
         {head}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn call(plane: &Plane, method: &str, path: &str, name: &str, body: Value) -> (u16, Value) {
    let mut answer = String::new();
    let mut stream = send(plane, method, path, name, "", &body.to_string()).await;
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("nothing came").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// A stream of events.
struct Events {
    stream: TcpStream,
    text: String,
}

impl Events {
    async fn follow(plane: &Plane, name: &str, head: &str) -> Self {
        let mut events = Self { stream: send(plane, "GET", "events", name, head, "").await, text: String::new() };
        events.until("\r\n\r\n").await;
        assert!(events.text.contains("text/event-stream"), "{}", events.text);
        events
    }

    /// Reads until that has come.
    async fn until(&mut self, what: &str) {
        let mut bytes = [0; 4096];
        while !self.text.contains(what) {
            let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect(what).unwrap();
            assert!(read > 0, "it ended before {what}: {}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }
}

/// As it stands in the stream.
fn event(id: &str, status: &str) -> String {
    format!("data: {{\"kind\":\"review\",\"id\":\"{id}\",\"status\":\"{status}\"}}")
}

#[tokio::test]
async fn events_come_to_those_who_may_see() {
    let mut w = world().await;
    user(&w.plane, "eve", &["others"]).await;
    let mut alice = Events::follow(&w.plane, "alice", "").await;
    let mut eve = Events::follow(&w.plane, "eve", "last-event-id: 7\r\n").await;
    // Who comes back is told to look again.
    eve.until("event: resync").await;
    let id = w.held(1, 1).await.to_string();
    alice.until(&event(&id, "pending")).await;
    let (status, review) = call(&w.plane, "POST", &format!("reviews/{id}/approve"), "alice", json!({})).await;
    assert_eq!((status, &review["status"]), (200, &json!("approved")));
    alice.until(&event(&id, "approved")).await;
    assert_eq!(call(&w.plane, "POST", &format!("reviews/{id}/approve"), "eve", json!({})).await.0, 404);

    // What eve may see comes to her, and nothing of what she may not.
    let grant = w.plane.grant("demo", Duration::from_secs(60)).await;
    let core = &w.plane.running.core;
    let admin = postern_control_plane::identity::Actor { admin: true, ..user(&w.plane, "root", &[]).await };
    let (_, effects) =
        postern_control_plane::grants::revoke(&core.store, &admin, &grant.id, None, postern_types::time::Micros::now())
            .await
            .unwrap();
    core.perform(effects);
    let body = json!({ "connection": "demo", "role": "read", "duration": "10m", "reason": "a look" });
    let (status, request) = call(&w.plane, "POST", "requests", "eve", body).await;
    assert_eq!(status, 200, "{request}");
    let request = request["id"].as_str().unwrap();
    eve.until(&format!("{{\"kind\":\"request\",\"id\":\"{request}\",\"status\":\"pending\"}}")).await;
    assert!(!eve.text.contains(&id) && !eve.text.contains(grant.id.as_str()), "{}", eve.text);
    // A call without a token gets no stream.
    let mut answer = String::new();
    send(&w.plane, "GET", "events", "nobody", "", "").await.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");

    // The process does not wait for those who follow.
    let stopped = Instant::now();
    w.plane.running.shutdown().await;
    assert!(stopped.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn what_is_decided_at_one_replica_is_heard_at_the_other() {
    let cluster = Cluster::start();
    let url = cluster.url();
    let one = replica(&url, None).await;
    let two = replica(&url, Some(&one.folder("master.key"))).await;
    let mut w = world_on(two).await;
    let mut events = Events::follow(&one, "alice", "").await;
    let id = w.held(1, 1).await.to_string();
    events.until(&event(&id, "pending")).await;
    // A long poll at the one ends when it is decided at the other, long before its time.
    let path = format!("reviews/{id}?wait=60");
    let approve = format!("reviews/{id}/approve");
    let (waited, decided) = tokio::join!(
        call(&one, "GET", &path, "alice", Value::Null),
        call(&w.plane, "POST", &approve, "bob", json!({ "max_rows": 400 }))
    );
    assert_eq!((decided.0, &waited.1["status"]), (200, &json!("approved")), "{waited:?}");
    assert_eq!(waited.1["decision"]["max_rows"], 400);
    events.until(&event(&id, "approved")).await;
    one.running.shutdown().await;
    w.plane.running.shutdown().await;
}
