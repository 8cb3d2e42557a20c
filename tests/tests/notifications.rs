//! Notifications, to receivers that check them with other people's libraries.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    dev::{Caller, Dev},
    packages,
    process::{Process, free_port},
    wait,
};
use serde_json::{Value, json};
use std::{fs, process::Command, time::Duration};
use tempfile::TempDir;

/// On a machine that does much else.
const WITHIN: Duration = Duration::from_secs(60);

const SECRET: &str = "whsec_c2VlZGVkLXdlYmhvb2stc2VjcmV0LW9uZS0xMjM0";
const NEXT_SECRET: &str = "whsec_c2VlZGVkLXdlYmhvb2stc2VjcmV0LXR3by0xMjM0";
const OTHER_SECRET: &str = "whsec_c2VlZGVkLXdlYmhvb2stc2VjcmV0LXRocmVlLTEy";

/// Receivers as a process of their own.
struct Receiver {
    folder: TempDir,
    http: u16,
    _process: Process,
}

impl Receiver {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("postern-e2e-receiver-").tempdir().unwrap();
        let http = free_port();
        let mut command = python();
        command.arg("serve").arg(folder.path()).args(["--http", &http.to_string()]);
        for secret in [SECRET, NEXT_SECRET, OTHER_SECRET] {
            command.args(["--secret", secret]);
        }
        let process = Process::spawn("receiver", &mut command, &folder.path().join("log"));
        wait::until_now("the receiver is ready", WITHIN, || process.output().contains("ready").then_some(()));
        Self { folder, http, _process: process }
    }

    /// How it answers from now on.
    fn behave(&self, how: &Value) {
        let file = self.folder.path().join("behave.json");
        fs::write(file.with_extension("new"), how.to_string()).unwrap();
        fs::rename(file.with_extension("new"), file).unwrap();
    }

    /// What has come, oldest first.
    fn seen(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("seen.jsonl")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for what was sent for this event of this thing.
    fn hook(&self, path: &str, event: &str, id: &str) -> Value {
        wait::until_now(&format!("{event} of {id} at {path}"), WITHIN, || {
            self.seen().into_iter().find(|seen| is(seen, path, event, id) && seen["answered"] == 200)
        })
    }

    fn document(&self, name: &str, more: &Value) -> Value {
        let url = format!("http://127.0.0.1:{}/{name}", self.http);
        let mut document =
            json!({ "kind": "Notification", "name": name, "webhook": { "url": url, "secrets": ["hook"] } });
        let fields = document.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        document
    }
}

fn is(seen: &Value, path: &str, event: &str, id: &str) -> bool {
    seen["path"] == format!("/{path}") && seen["body"]["type"] == event && seen["body"]["data"]["id"] == id
}

fn python() -> Command {
    let environment = packages::python("receivers", "requirements-receivers.txt");
    let mut command = Command::new(environment.join("bin/python"));
    command.arg(packages::script("receiver.py"));
    command
}

fn start() -> (Receiver, Dev) {
    let receiver = Receiver::start();
    let secrets = [
        ("POSTERN_SECRET_HOOK", SECRET),
        ("POSTERN_SECRET_HOOK_NEXT", NEXT_SECRET),
        ("NO_PROXY", "127.0.0.1,localhost"),
    ];
    (receiver, Dev::start_with(&[], &secrets))
}

fn apply(receiver: &Receiver, admin: &Caller, documents: &[Value]) {
    let file = receiver.folder.path().join("documents.yaml");
    let text: Vec<_> = documents.iter().map(ToString::to_string).collect();
    fs::write(&file, text.join("\n---\n")).unwrap();
    let _ = admin.run(&["apply", file.to_str().unwrap()]).ok();
}

#[test]
fn webhooks_arrive_signed_and_are_tried_again() {
    let (receiver, mut dev) = start();
    let (admin, agent) = (dev.admin(), dev.agent());
    let grants = json!({ "events": ["grant.*"] });
    let elsewhere = json!({ "connections": ["orders"] });
    let documents = [("all", json!({})), ("grants", grants), ("elsewhere", elsewhere)];
    apply(&receiver, &admin, &documents.map(|(name, more)| receiver.document(name, &more)));

    let request = agent.request("demo", "read", "10m");
    let created = receiver.hook("all", "request.created", &request);
    assert_eq!(created["verified"], json!([SECRET]));
    let data = &created["body"]["data"];
    assert_eq!(
        (&data["status"], &data["reason"], &data["connection"]),
        (&json!("pending"), &json!("a test"), &json!("demo"))
    );
    assert_eq!((&data["principal"]["kind"], &data["duration"]), (&json!("agent"), &json!("10m")));

    // Who cannot take it now gets the very same message later, also from a process that was started meanwhile.
    receiver.behave(&json!({ "hook": 503 }));
    let approved = admin.run(&["approve", &request, "--reason", "go <on> & \"on\"", "--json"]).json();
    let grant = approved["grant_id"].as_str().unwrap();
    let failed = wait::until_now("an attempt fails", WITHIN, || {
        receiver.seen().into_iter().find(|seen| is(seen, "grants", "grant.created", grant) && seen["answered"] == 503)
    });
    dev.restart();
    receiver.behave(&json!({}));
    let created = receiver.hook("grants", "grant.created", grant);
    assert_eq!((&created["id"], &created["body"]), (&failed["id"], &failed["body"]));
    let approved = receiver.hook("all", "request.approved", &request);
    assert_eq!(
        (&approved["body"]["data"]["answer"], approved["body"]["data"]["by"]["name"].is_string()),
        (&json!("go <on> & \"on\""), true)
    );

    // While one secret takes the other's place both sign.
    let mut both = receiver.document("all", &json!({}));
    both["webhook"]["secrets"] = json!(["hook-next", "hook"]);
    apply(&receiver, &admin, &[both]);
    let _ = admin.run(&["revoke", grant, "--reason", "enough"]).ok();
    let revoked = receiver.hook("all", "grant.revoked", grant);
    assert_eq!(revoked["verified"], json!([SECRET, NEXT_SECRET]));
    assert_eq!(
        (&revoked["body"]["data"]["answer"], &revoked["body"]["data"]["status"]),
        (&json!("enough"), &json!("revoked"))
    );

    // Of one thing it is told in order; of what was not asked for nobody is told.
    let events = |path: &str| -> Vec<String> {
        let seen = receiver.seen().into_iter();
        let delivered = seen.filter(|seen| seen["path"] == format!("/{path}") && seen["answered"] == 200);
        delivered.map(|seen| seen["body"]["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(events("all"), ["request.created", "request.approved", "grant.created", "grant.revoked"]);
    receiver.hook("grants", "grant.revoked", grant);
    assert_eq!(events("grants"), ["grant.created", "grant.revoked"]);
    assert!(events("elsewhere").is_empty());
    assert!(!fs::read_to_string(receiver.folder.path().join("seen.jsonl")).unwrap().contains("postgresql://"));
}

#[test]
fn a_receiver_that_wants_no_more_gets_no_more_until_it_is_enabled() {
    let (receiver, dev) = start();
    let (admin, agent) = (dev.admin(), dev.agent());
    let requests = json!({ "events": ["request.created"] });
    apply(&receiver, &admin, &[receiver.document("once", &requests), receiver.document("moved", &requests)]);

    receiver.behave(&json!({ "hook": 410 }));
    let request = agent.request("demo", "read", "10m");
    let dead = wait::until_now("both are given up", WITHIN, || {
        let dead = admin.run(&["notifications", "dead", "--json"]).json();
        (dead.as_array().unwrap().len() == 2).then_some(dead)
    });
    assert!(dead[0]["error"].as_str().unwrap().contains("410"), "{dead}");
    let listed = admin.run(&["notifications", "--json"]).json();
    assert!(
        listed.as_array().unwrap().iter().all(|one| one["disabled_at"].is_string() && one["dead"] == 1),
        "{listed}"
    );

    // Nobody but an admin sees or changes any of it.
    for args in [&["notifications"][..], &["notifications", "dead"], &["notifications", "enable", "once"]] {
        assert_eq!(agent.run(args).code, 3, "{args:?}");
    }
    // Not even tried while it is disabled.
    receiver.behave(&json!({}));
    let while_disabled = agent.request("demo", "write", "10m");
    let delivery = dead.as_array().unwrap().iter().find(|one| one["notification"] == "once").unwrap();
    let id = delivery["id"].as_str().unwrap();
    assert_eq!(admin.run(&["notifications", "retry", id]).code, 1);
    let _ = admin.run(&["notifications", "enable", "once"]).ok();
    let _ = admin.run(&["notifications", "retry", id]).ok();
    let told = receiver.hook("once", "request.created", &request);
    assert_eq!((&told["id"], &told["verified"]), (&json!(id), &json!([SECRET])));
    assert_eq!(admin.run(&["notifications", "retry", id]).code, 1);
    // The other one comes back with a document that differs.
    let mut moved = receiver.document("moved", &requests);
    moved["webhook"]["url"] = json!(format!("http://localhost:{}/moved", receiver.http));
    apply(&receiver, &admin, &[moved]);
    let next = agent.request("demo", "all", "10m");
    receiver.hook("moved", "request.created", &next);
    receiver.hook("once", "request.created", &next);
    assert!(!receiver.seen().iter().any(|seen| seen["body"]["data"]["id"] == while_disabled.as_str()));
    let changes = admin.run(&["audit", "search", "--type", "control", "--json"]).json();
    for action in ["notification.created", "notification.disabled", "notification.enabled", "notification.retried"] {
        assert!(changes.to_string().contains(action), "{action}");
    }
}

#[test]
fn redirects_are_not_followed() {
    let (receiver, dev) = start();
    apply(&receiver, &dev.admin(), &[receiver.document("away", &json!({}))]);
    receiver.behave(&json!({ "hook": 307 }));
    let request = dev.agent().request("demo", "read", "10m");
    let delivery = wait::until_now("an attempt fails", WITHIN, || {
        let queued = dev.admin().run(&["notifications", "list", "--status", "queued", "--json"]).json();
        queued.as_array()?.iter().find(|one| one["error"].is_string()).cloned()
    });
    assert!(delivery["error"].as_str().unwrap().contains("307"), "{delivery}");
    receiver.behave(&json!({}));
    receiver.hook("away", "request.created", &request);
    assert!(receiver.seen().iter().all(|seen| seen["path"] == "/away"));
}
