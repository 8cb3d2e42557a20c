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
const SLACK_TOKEN: &str = "xoxb-seeded-bot-token";
const SLACK_SIGNING: &str = "seeded-slack-signing-secret";
const SMTP_PASSWORD: &str = "seeded-smtp-password";
const OTHER_SECRET: &str = "whsec_c2VlZGVkLXdlYmhvb2stc2VjcmV0LXRocmVlLTEy";

/// Receivers as a process of their own.
struct Receiver {
    folder: TempDir,
    http: u16,
    https: u16,
    smtp: u16,
    _process: Process,
}

impl Receiver {
    fn start() -> Self {
        Self::start_with(None)
    }

    /// The same with mail and TLS: certificate and key.
    fn start_with(tls: Option<(&str, &str)>) -> Self {
        let folder = tempfile::Builder::new().prefix("postern-e2e-receiver-").tempdir().unwrap();
        let [http, https, smtp] = std::array::from_fn(|_| free_port());
        let mut command = python();
        command.arg("serve").arg(folder.path()).args(["--http", &http.to_string(), "--slack-token", SLACK_TOKEN]);
        if let Some((certificate, key)) = tls {
            command.args(["--certificate", certificate, "--key", key, "--https", &https.to_string()]);
            command.args(["--smtp", &smtp.to_string(), "--smtp-password", SMTP_PASSWORD]);
        }
        for secret in [SECRET, NEXT_SECRET, OTHER_SECRET] {
            command.args(["--secret", secret]);
        }
        let process = Process::spawn("receiver", &mut command, &folder.path().join("log"));
        wait::until_now("the receiver is ready", WITHIN, || process.output().contains("ready").then_some(()));
        Self { folder, http, https, smtp, _process: process }
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
        ("POSTERN_SECRET_SLACK_TOKEN", SLACK_TOKEN),
        ("POSTERN_SECRET_SLACK_SIGNING", SLACK_SIGNING),
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

/// Text that would be more than text where it is not kept from it.
const AWKWARD: &str = "<!channel> *see* <https://evil.example.com|here> ``` & <script>alert(1)</script>";

fn ask_awkwardly(who: &Caller, role: &str) -> String {
    let args = ["request", "demo", "--role", role, "--for", "10m", "--reason", AWKWARD, "--json"];
    who.run(&args).json()["id"].as_str().unwrap().to_owned()
}

/// Slack, as far as it presses buttons.
struct Slack<'a> {
    receiver: &'a Receiver,
    url: String,
}

impl Slack<'_> {
    /// The calls of one method, oldest first.
    fn calls(&self, method: &str) -> Vec<Value> {
        let seen = self.receiver.seen().into_iter().filter(|seen| seen["kind"] == "slack" && seen["method"] == method);
        seen.inspect(|seen| assert_eq!(seen["right"], true, "{seen}")).map(|seen| seen["call"].clone()).collect()
    }

    fn until(&self, what: &str, method: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait::until_now(what, WITHIN, || self.calls(method).into_iter().find(|call| is(call)))
    }

    fn send(&self, payload: &Value, more: &[&str]) -> (u64, Value) {
        let mut command = python();
        command.args(["interact", &self.url, "--payload", &payload.to_string()]).args(more);
        if !more.contains(&"--secret") {
            command.args(["--secret", SLACK_SIGNING]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let body = answer["body"].as_str().unwrap();
        (answer["status"].as_u64().unwrap(), serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
    }

    fn press(&self, user: &str, action: &str, request: &str, more: &[&str]) -> u64 {
        let action = json!({ "action_id": action, "type": "button", "value": request });
        let payload = json!({
            "type": "block_actions", "user": { "id": user, "username": "x" }, "channel": { "id": "C0123456789" },
            "trigger_id": format!("trigger.{request}"), "actions": [action],
        });
        self.send(&payload, more).0
    }

    fn give_reason(&self, user: &str, request: &str, reason: Option<&str>) -> (u64, Value) {
        let input = json!({ "type": "plain_text_input", "value": reason });
        let view = json!({
            "callback_id": "postern.deny", "private_metadata": request,
            "state": { "values": { "reason": { "reason": input } } },
        });
        self.send(&json!({ "type": "view_submission", "user": { "id": user }, "view": view }), &[])
    }
}

fn status(who: &Caller, request: &str) -> String {
    let requests = who.run(&["requests", "--json"]).json();
    let found = requests.as_array().unwrap().iter().find(|one| one["id"] == request).unwrap().clone();
    found["status"].as_str().unwrap().to_owned()
}

fn buttons(call: &Value) -> Vec<String> {
    let blocks = call["blocks"].as_array().unwrap().iter().filter(|block| block["type"] == "actions");
    let elements = blocks.flat_map(|block| block["elements"].as_array().unwrap().clone());
    elements.map(|button| button["action_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn reviewers_answer_from_slack() {
    let (receiver, dev) = start();
    let (admin, agent) = (dev.admin(), dev.agent());
    let api = format!("http://127.0.0.1:{}/api", receiver.http);
    let document = json!({
        "kind": "Notification", "name": "dba-slack", "events": ["request.created"],
        "slack": {
            "channel": "C0123456789", "token": "slack-token", "signing_secret": "slack-signing", "api_url": api,
            "users": { "UADMIN": "admin", "UEVE": "eve", "UAGENT": "agent" },
        },
    });
    apply(&receiver, &admin, &[json!({ "kind": "User", "name": "eve", "groups": ["other"] }), document]);
    let url = format!("{}/integrations/slack/interactions", dev.ready()["http_url"].as_str().unwrap());
    let slack = Slack { receiver: &receiver, url };

    let request = ask_awkwardly(&agent, "read");
    let posted = slack.until("the request is shown", "chat.postMessage", |call| call.to_string().contains(&request));
    assert_eq!(
        (&posted["channel"], buttons(&posted)),
        (&json!("C0123456789"), vec!["postern.approve".to_owned(), "postern.deny".to_owned()])
    );
    // What people wrote stands where Slack reads no markup, whole and as it was written.
    assert!(posted["blocks"].to_string().contains(&json!({ "type": "text", "text": AWKWARD }).to_string()), "{posted}");
    assert!(!posted.to_string().contains("mrkdwn") && !posted["text"].as_str().unwrap().contains('<'), "{posted}");

    // What Slack did not sign, or long ago, or otherwise, does nothing.
    for more in [&["--secret", "another-signing-secret"][..], &["--age", "400"], &["--age=-400"], &["--changed"]] {
        assert_eq!(slack.press("UADMIN", "postern.approve", &request, more), 401, "{more:?}");
    }
    // Nor does what somebody wants who is nobody here, has no right to, or is no person.
    for (user, why) in [("UNOBODY", "slack.users"), ("UEVE", "there is no request"), ("UAGENT", "slack.users")] {
        assert_eq!(slack.press(user, "postern.approve", &request, &[]), 200);
        let told = slack.until("they are told why", "chat.postEphemeral", |call| call["user"] == user);
        assert!(told["text"].as_str().unwrap().contains(why) && told["channel"] == "C0123456789", "{told}");
    }
    assert_eq!(status(&admin, &request), "pending");
    // The same, signed and by a reviewer, does.
    assert_eq!(slack.press("UADMIN", "postern.approve", &request, &["--age", "200"]), 200);
    assert_eq!(status(&admin, &request), "approved");
    let ts = format!("1700000000.{:06}", 1);
    let updated =
        slack.until("the message shows it", "chat.update", |call| call.to_string().contains("has read on demo"));
    assert!(updated["ts"].as_str().unwrap() == ts && buttons(&updated).is_empty(), "{updated}");
    assert_eq!(agent.run(&["url", "demo", "--role", "read"]).code, 0);

    // Nobody answers what is their own.
    let own = admin.request("demo", "write", "10m");
    assert_eq!(slack.press("UADMIN", "postern.approve", &own, &[]), 200);
    let told = slack.until("they are told why", "chat.postEphemeral", |call| call["user"] == "UADMIN");
    assert!(told["text"].as_str().unwrap().contains("their own"), "{told}");
    assert_eq!(status(&admin, &own), "pending");

    // To deny takes a reason.
    let request = agent.request("demo", "write", "10m");
    slack.until("the request is shown", "chat.postMessage", |call| call.to_string().contains(&request));
    assert_eq!(slack.press("UADMIN", "postern.deny", &request, &[]), 200);
    let modal =
        slack.until("they are asked why", "views.open", |call| call["trigger_id"] == format!("trigger.{request}"));
    assert_eq!(modal["view"]["private_metadata"], request);
    for (user, reason) in [("UADMIN", None), ("UADMIN", Some("  ")), ("UEVE", Some("no"))] {
        let (code, answer) = slack.give_reason(user, &request, reason);
        assert_eq!((code, &answer["response_action"]), (200, &json!("errors")), "{answer}");
    }
    assert_eq!(status(&admin, &request), "pending");
    assert_eq!(slack.give_reason("UADMIN", &request, Some("use <the> replica")), (200, json!({})));
    assert_eq!(status(&admin, &request), "denied");
    slack.until("the message shows it", "chat.update", |call| {
        call.to_string().contains("denied by admin") && call.to_string().contains("use <the> replica")
    });
    // Too late.
    assert_eq!(slack.press("UADMIN", "postern.approve", &request, &[]), 200);
    slack.until("they are told", "chat.postEphemeral", |call| {
        call["user"] == "UADMIN" && call["text"].as_str().unwrap().contains("already")
    });
    assert_eq!(status(&admin, &request), "denied");
    assert_eq!(slack.calls("chat.postMessage").len(), 3);
}

/// A certificate for loopback that nobody knows: its PEM, and its key's.
fn certificate(folder: &std::path::Path, name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let path = |end: &str| folder.join(format!("{name}.{end}")).to_str().unwrap().to_owned();
    fs::write(path("crt"), made.cert.pem()).unwrap();
    fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    (path("crt"), path("key"))
}

#[test]
fn mail_and_webhooks_go_where_the_certificate_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate_file, key) = certificate(folder.path(), "known");
    let (unknown, unknown_key) = certificate(folder.path(), "unknown");
    let receiver = Receiver::start_with(Some((&certificate_file, &key)));
    let stranger = Receiver::start_with(Some((&unknown, &unknown_key)));
    let secrets = [
        ("POSTERN_SECRET_HOOK", SECRET),
        ("POSTERN_SECRET_SMTP", SMTP_PASSWORD),
        ("POSTERN_SECRET_WRONG", "wrong-password"),
        ("NO_PROXY", "127.0.0.1,localhost"),
        ("SSL_CERT_FILE", &certificate_file),
    ];
    let dev = Dev::start_with(&[], &secrets);
    let (admin, agent) = (dev.admin(), dev.agent());
    let mail = |name: &str, port: u16, password: &str| {
        let email = json!({
            "server": format!("localhost:{port}"), "user": "postern", "password": password,
            "from": "Postern <postern@example.com>", "to": ["dba@example.com", "Ops <ops@example.com>"],
        });
        json!({ "kind": "Notification", "name": name, "events": ["request.created"], "email": email })
    };
    let hook = |name: &str, port: u16| {
        let webhook = json!({ "url": format!("https://localhost:{port}/{name}"), "secrets": ["hook"] });
        json!({ "kind": "Notification", "name": name, "events": ["request.created"], "webhook": webhook })
    };
    let documents = [
        mail("mail", receiver.smtp, "smtp"),
        mail("mail-stranger", stranger.smtp, "smtp"),
        mail("mail-refused", receiver.smtp, "wrong"),
        hook("hook", receiver.https),
        hook("hook-stranger", stranger.https),
    ];
    apply(&receiver, &admin, &documents);
    let request = ask_awkwardly(&agent, "read");
    let sent =
        wait::until_now("the mail comes", WITHIN, || receiver.seen().into_iter().find(|seen| seen["kind"] == "mail"));
    assert_eq!((&sent["tls"], &sent["authenticated"]), (&json!(true), &json!(true)));
    assert_eq!(
        (&sent["sender"], &sent["to"]),
        (&json!("postern@example.com"), &json!(["dba@example.com", "ops@example.com"]))
    );
    let header = |name: &str| {
        let headers = sent["headers"].as_array().unwrap();
        headers.iter().find(|header| header[0] == name).map(|header| header[1].as_str().unwrap().to_owned())
    };
    assert_eq!(header("Subject").unwrap(), "[Postern] agent asks for read on demo");
    assert!(header("Message-ID").unwrap().starts_with("<ntf_") && header("References").unwrap().contains(&request));
    assert!(sent["text"].as_str().unwrap().contains(AWKWARD), "{sent}");
    let html = sent["html"].as_str().unwrap();
    assert!(
        html.contains("&lt;script&gt;alert(1)") && !html.contains("<script") && !html.contains("<!channel"),
        "{html}"
    );
    assert_eq!(receiver.hook("hook", "request.created", &request)["verified"], json!([SECRET]));

    let failing = wait::until_now("the others fail", WITHIN, || {
        let queued = admin.run(&["notifications", "list", "--status", "queued", "--json"]).json();
        let failed: Vec<_> = queued.as_array()?.iter().filter(|one| one["error"].is_string()).cloned().collect();
        (failed.len() == 3).then_some(failed)
    });
    for (name, why) in [("mail-stranger", "certificate"), ("hook-stranger", "certificate"), ("mail-refused", "535")] {
        let one = failing.iter().find(|one| one["notification"] == name).unwrap();
        assert!(one["error"].as_str().unwrap().contains(why), "{one}");
    }
    assert!(stranger.seen().is_empty());
    let seen = fs::read_to_string(receiver.folder.path().join("seen.jsonl")).unwrap();
    assert!(!format!("{seen}{}", dev.log()).contains(SMTP_PASSWORD));
}
