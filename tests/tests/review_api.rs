//! Reviews as people and programs meet them: shown, followed, answered, refused to those who may not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client},
    dev::{self, Caller},
    shop::{CONNECT, Shop, until},
    wait,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::{Arc, mpsc},
    time::Duration,
};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(20);

const POLICIES: &str = r#"
@id("deletes")
@review("group:dba 2")
@preview
@message("deletes are looked at")
permit (principal, action == Action::"delete", resource);

@id("updates")
@review("group:dba")
permit (principal, action == Action::"update", resource);

@id("rest")
permit (principal, action in [Action::"read", Action::"insert"], resource);
"#;

struct People {
    alice: Caller,
    bob: Caller,
    carol: Caller,
}

/// Three reviewers, each with a token.
fn people(shop: &Shop) -> People {
    let admin = shop.dev.admin();
    let user = |name: &str| json!({ "kind": "User", "name": name, "groups": ["dba"] }).to_string();
    let file = shop.dev.data().join("people.yaml");
    std::fs::write(&file, ["alice", "bob", "carol"].map(user).join("\n---\n")).unwrap();
    let _ = admin.run(&["apply", file.to_str().unwrap()]).ok();
    let caller = |name: &str| {
        let made = admin.run(&["tokens", "create", "--for", &format!("user:{name}"), "--name", "t", "--json"]).json();
        Caller::new(shop.dev.ready()["http_url"].as_str().unwrap(), made["token"].as_str().unwrap(), &shop.dev.data())
    };
    People { alice: caller("alice"), bob: caller("bob"), carol: caller("carol") }
}

fn sends(client: &Arc<Client>, sql: &'static str) -> JoinHandle<Result<(), tokio_postgres::Error>> {
    let client = Arc::clone(client);
    tokio::spawn(async move { client.batch_execute(sql).await })
}

async fn pending(reviewer: &Caller, text: &str) -> String {
    wait::until("a review waits", SOON, || async {
        let reviews = reviewer.run(&["reviews", "--status", "pending", "--json"]).json();
        let is_it = |review: &&Value| review["statement"]["sql"].as_str().unwrap().contains(text);
        reviews.as_array().unwrap().iter().find(is_it).map(|review| review["id"].as_str().unwrap().to_owned())
    })
    .await
}

/// What a command writes, line by line, as it comes.
fn follow(caller: &Caller, args: &[&str]) -> (std::process::Child, mpsc::Receiver<String>) {
    let mut child = caller.command(args).stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    (child, lines)
}

fn line(lines: &mpsc::Receiver<String>, words: &[&str]) {
    loop {
        let line = lines.recv_timeout(SOON).unwrap_or_else(|_| panic!("no line with {words:?}"));
        if words.iter().all(|word| line.contains(word)) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_are_shown_followed_and_answered() {
    let shop = Shop::start().await;
    let People { alice, bob, carol } = people(&shop);
    shop.apply(&(CONNECT.to_owned() + POLICIES));
    let agent = shop.dev.agent();
    let client = Arc::new(shop.client("write").await);
    until(&client, "truncate orders", true).await;
    let (mut watcher, lines) = follow(&alice, &["reviews", "--watch"]);

    let waiting = sends(&client, "delete from orders where id <= 3");
    let id = pending(&alice, "id <= 3").await;
    line(&lines, &[&id, "pending", "delete from orders"]);
    let shown = alice.run(&["reviews", &id]).ok();
    for words in [
        "who         agent",
        "why         a test",
        "waits for   2 of dba",
        "policy      deletes",
        "deletes are looked at",
        "    delete from orders where id <= 3",
        "in public.orders would be deleted",
        &format!("postern approve {id}"),
        &format!("postern deny {id}"),
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    // Never by an agent; one reviewer counts once; two are enough.
    assert_eq!(agent.run(&["approve", &id]).code, 3);
    let first = alice.run(&["approve", &id, "--json"]).json();
    assert_eq!((&first["status"], &first["votes"][0]["reviewer"]["name"]), (&json!("pending"), &json!("alice")));
    assert_eq!(alice.run(&["approve", &id, "--json"]).json()["status"], "pending");
    assert!(!waiting.is_finished());
    let told = bob.run(&["approve", &id]).ok();
    assert!(told.contains("may run once, changing at most"), "{told}");
    waiting.await.unwrap().unwrap();
    line(&lines, &[&id, "claimed"]);
    watcher.kill().unwrap();
    watcher.wait().unwrap();
    let events = carol.run(&["reviews", &id, "--json"]).json();
    assert_eq!((&events["status"], &events["uses"]), (&json!("claimed"), &json!(1)));

    // Waited for with an exit code that says what came.
    let waiting = sends(&client, "update orders set id = 40 where id = 4");
    let id = pending(&alice, "id = 40").await;
    let (mut waits, _) = follow(&carol, &["reviews", &id, "--wait"]);
    let denied = bob.run(&["deny", &id, "--reason", "ids stay"]);
    assert_eq!(denied.code, 0, "{denied:?}");
    assert_eq!(waits.wait().unwrap().code(), Some(3));
    let error = waiting.await.unwrap().unwrap_err();
    let error = error.as_db_error().unwrap();
    assert!(error.code().code() == "42501" && error.message().contains("bob"), "{error}");
    assert!(format!("{error:?}").contains("ids stay"), "{error:?}");

    // Another text runs in its place; both are kept.
    let waiting = sends(&client, "update orders set id = 50 where id >= 5");
    let id = pending(&alice, "id = 50").await;
    let edited = alice.run(&["approve", &id, "--edit", "update orders set id = 50 where id = 5", "--json"]).json();
    assert_eq!(edited["statement"]["sql"], "update orders set id = 50 where id >= 5");
    assert_eq!(edited["decision"]["edited_sql"], "update orders set id = 50 where id = 5");
    waiting.await.unwrap().unwrap();
    let owner = shop.owner().await;
    let count = |sql: &'static str| owner.query_one(sql, &[]);
    assert_eq!(count("select count(*) from orders where id = 50").await.unwrap().get::<_, i64>(0), 1);
    assert_eq!(count("select count(*) from orders where id = 6").await.unwrap().get::<_, i64>(0), 1);
    drop(client);

    for action in ["review.created", "review.approved", "review.denied", "review.claimed"] {
        let found =
            shop.dev.admin().run(&["audit", "search", "--type", "control", "--action", action, "--json"]).json();
        assert!(!found.as_array().unwrap().is_empty(), "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers_what_is_theirs() {
    let shop = Shop::start().await;
    let People { alice, bob, carol } = people(&shop);
    shop.apply(&(CONNECT.to_owned() + POLICIES));
    until(&shop.client("write").await, "truncate orders", true).await;
    // Alice's own statement.
    let own = dev::grant(&alice, &shop.dev.admin(), "demo", "write", "30m");
    let client = Arc::new(client::connect(&own.url).await);
    let waiting = sends(&client, "update orders set id = 70 where id = 7");
    let id = pending(&bob, "id = 70").await;
    let refused = alice.run(&["approve", &id]);
    assert!(refused.code == 3 && refused.stderr.contains("their own"), "{refused:?}");
    assert_eq!(alice.run(&["deny", &id, "--reason", "no"]).code, 3);
    let _ = bob.run(&["approve", &id]).ok();
    waiting.await.unwrap().unwrap();

    // An agent's, sent for carol.
    let agent = shop.dev.agent();
    let args =
        ["request", "demo", "--role", "write", "--for", "30m", "--reason", "hers", "--on-behalf-of", "carol", "--json"];
    let request = agent.run(&args).json();
    let _ = shop.dev.admin().run(&["approve", request["id"].as_str().unwrap()]).ok();
    let url = agent.run(&["url", "demo", "--role", "write"]).ok();
    let client = Arc::new(client::connect(url.trim()).await);
    let waiting = sends(&client, "update orders set id = 80 where id = 8");
    let id = pending(&bob, "id = 80").await;
    let refused = carol.run(&["approve", &id]);
    assert!(refused.code == 3 && refused.stderr.contains("sent for them"), "{refused:?}");
    assert_eq!(agent.run(&["approve", &id]).code, 3);
    // Whoever sent it takes it back; what is over is answered by nobody.
    let shown = bob.run(&["reviews", &id]).ok();
    assert!(shown.contains("for carol"), "{shown}");
    let _ = agent.run(&["reviews", &id, "--withdraw"]).ok();
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(bob.run(&["approve", &id]).code, 1);
}
