//! The REST API over a real listener: the story of a grant, and what callers without the right are told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use postern_api::{document::SourcedDocument, identity::PrincipalKind};
use postern_control_plane::{Config, Running, start};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

struct Api {
    running: Running,
    _folder: tempfile::TempDir,
}

async fn api() -> Api {
    let folder = tempfile::tempdir().unwrap();
    let free = "127.0.0.1:0".parse().unwrap();
    let mut config = Config::new(folder.path().join("data"), free, free);
    config.clients.address = Some("gw.example.com:5432".to_owned());
    let running = start(config).await.unwrap();
    let core = &running.core;
    let token = |name: &str| SecretString::from(format!("postern_{name}"));
    core.bootstrap_principal_token(PrincipalKind::User, "admin", &["dba"], true, true, &token("admin")).await.unwrap();
    core.bootstrap_principal_token(PrincipalKind::Agent, "ci", &["agents"], false, false, &token("ci")).await.unwrap();
    let role = json!({ "mode": "shared", "groups": ["agents"], "reviewers": ["dba"] });
    let demo = json!({
        "kind": "Connection", "name": "demo", "database": "postgresql://127.0.0.1/shop", "connector": "dev",
        "roles": { "read": role },
    });
    core.apply(vec![SourcedDocument { source: postern_api::document::Source::default(), document: demo }], true, None)
        .await
        .unwrap();
    Api { running, _folder: folder }
}

impl Api {
    /// One call with a token, if it is not empty: status and body.
    async fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        let authorization = format!("authorization: Bearer postern_{token}");
        let headers: &[&str] = if token.is_empty() { &[] } else { &[&authorization] };
        let (status, _, body) = self.send(method, path, headers, body).await;
        (status, body)
    }

    /// One call on a connection of its own, in plain HTTP/1.1: status, head and body.
    async fn send(&self, method: &str, path: &str, headers: &[&str], body: Option<Value>) -> (u16, String, Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.running.http_addr).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_owned(), serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
    }
}

#[tokio::test]
async fn the_story_of_a_grant() {
    let api = api().await;
    let (status, me) = api.call("GET", "/api/v1/whoami", "ci", None).await;
    assert_eq!((status, &me["name"], &me["roles"]), (200, &json!("ci"), &json!([])));
    let (_, admin) = api.call("GET", "/api/v1/whoami", "admin", None).await;
    assert_eq!(admin["roles"], json!(["admin", "reviewer", "auditor"]));
    let (_, connections) = api.call("GET", "/api/v1/connections", "ci", None).await;
    assert_eq!((&connections[0]["name"], &connections[0]["status"]), (&json!("demo"), &json!("no-connector")));
    assert_eq!(connections[0]["roles"][0]["approval"], "review");

    let ask = json!({ "connection": "demo", "role": "read", "duration": "10m", "reason": "look" });
    let (status, request) = api.call("POST", "/api/v1/requests", "ci", Some(ask)).await;
    assert_eq!((status, &request["status"]), (200, &json!("pending")));
    let path = format!("/api/v1/requests/{}", request["id"].as_str().unwrap());
    let (wait, approve) = (format!("{path}?wait=30"), format!("{path}/approve"));
    let (status, _) = api.call("POST", &approve, "ci", None).await;
    assert_eq!(status, 403);
    // Whoever waits hears of the decision.
    let (waited, approved) =
        tokio::join!(api.call("GET", &wait, "ci", None), api.call("POST", &approve, "admin", None));
    assert_eq!((approved.0, &approved.1["status"]), (200, &json!("approved")));
    assert_eq!(waited.1, approved.1);

    let grant = approved.1["grant_id"].as_str().unwrap();
    let claim = format!("/api/v1/grants/{grant}/credentials");
    let (status, credential) = api.call("POST", &claim, "ci", Some(json!({ "use": "url" }))).await;
    assert_eq!(
        (status, credential["user"].as_str(), credential["host"].as_str()),
        (200, Some(grant), Some("gw.example.com"))
    );
    assert_eq!((&credential["database"], &credential["sslmode"]), (&json!("demo"), &json!("verify-full")));
    assert_eq!(api.call("POST", &claim, "admin", Some(json!({ "use": "url" }))).await.0, 403);
    let (_, grants) = api.call("GET", "/api/v1/grants", "ci", None).await;
    assert_eq!((&grants[0]["id"], &grants[0]["status"]), (&json!(grant), &json!("open")));
    let (status, revoked) = api.call("POST", &format!("/api/v1/grants/{grant}/revoke"), "ci", None).await;
    assert_eq!((status, &revoked["status"]), (200, &json!("revoked")));

    let (_, events) = api.call("GET", "/api/v1/audit/events?type=control&limit=1000", "admin", None).await;
    let actions: Vec<_> = events.as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect();
    for action in
        ["audit.searched", "grant.revoked", "grant.claimed", "grant.created", "request.approved", "request.created"]
    {
        assert!(actions.contains(&action), "{action} in {actions:?}");
    }
    let secret = credential["secret"].as_str().unwrap();
    assert!(!events.to_string().contains(secret) && !events.to_string().contains("SCRAM-SHA-256$"));
    api.running.shutdown().await;
}

#[tokio::test]
async fn masks_are_tried_on_made_up_values() {
    let api = api().await;
    let tried = async |token: &str, mask: Value, r#type: &str, value: &str| {
        let body = json!({ "mask": mask, "type": r#type, "value": value });
        api.call("POST", "/api/v1/masks/try", token, Some(body)).await
    };
    for (mask, r#type, value, shown) in [
        (json!("redact"), "text", "x", json!("[redacted]")),
        (json!("null"), "text", "x", json!(null)),
        (json!({ "partial": 4 }), "text", "4539148803436467", json!("****6467")),
        (json!("date_year"), "date", "1984-05-17", json!("1984-01-01")),
        (json!("redact"), "numeric", "12", json!(null)),
        (json!("redact"), "text", &"x".repeat(1000), json!("[redacted]")),
    ] {
        assert_eq!(tried("admin", mask, r#type, value).await, (200, json!({ "value": shown })), "{value}");
    }
    for (mask, r#type, value) in [
        (json!("date_year"), "text", "x"),
        (json!({ "partial": 100_000 }), "text", "x"),
        (json!("redact"), "text", &"x".repeat(1001)),
        (json!("redact"), "json", "x"),
    ] {
        assert_eq!(tried("admin", mask, r#type, value).await.0, 400, "{value}");
    }
    let hash = tried("admin", json!("hash"), "text", "a@b.com").await.1;
    assert_eq!(hash, tried("admin", json!("hash"), "text", "a@b.com").await.1);
    assert_ne!(hash, tried("admin", json!("hash"), "text", "c@b.com").await.1);
    assert_eq!(tried("ci", json!("redact"), "text", "x").await.0, 403);

    let masking = "/api/v1/connections/demo/masking";
    let document = json!({
        "kind": "Connection", "name": "demo", "tags": { "public.a.b": "pii.email" },
        "masks": { "pii.email": { "mask": "hash", "compare": "any" } },
    });
    let source = postern_api::document::Source::default();
    api.running.core.apply(vec![SourcedDocument { source, document }], true, None).await.unwrap();
    let (status, masked) = api.call("GET", masking, "admin", None).await;
    assert_eq!((status, &masked["tags"]), (200, &json!({ "public.a.b": "pii.email" })));
    assert_eq!(masked["masks"], json!({ "pii.email": { "mask": "hash", "compare": "any" } }));
    assert_eq!(api.call("GET", masking, "ci", None).await.0, 403);
    assert_eq!(api.call("GET", "/api/v1/connections/no/masking", "admin", None).await.0, 404);
    api.running.shutdown().await;
}

#[tokio::test]
async fn database_credentials_go_in_and_not_out() {
    let api = api().await;
    let (list, one) = ("/api/v1/connections/demo/credentials", "/api/v1/connections/demo/credentials/shop%2Freader");
    let body = |password: &str| Some(json!({ "password": password }));
    let (status, set) = api.call("PUT", one, "admin", body("hunter2-first")).await;
    assert_eq!((status, &set["connection"], &set["login"]), (200, &json!("demo"), &json!("shop/reader")));
    let (_, again) = api.call("PUT", one, "admin", body("hunter2-second")).await;
    assert_eq!(set["created_at"], again["created_at"]);
    let (status, listed) = api.call("GET", list, "admin", None).await;
    assert_eq!((status, &listed), (200, &json!([again])));
    for (method, path, body) in [("GET", list, None), ("PUT", one, body("x")), ("DELETE", one, None)] {
        assert_eq!(api.call(method, path, "ci", body.clone()).await.0, 403, "{method}");
        assert_eq!(api.call(method, path, "", body).await.0, 401, "{method}");
    }
    let (status, wrong) = api.call("PUT", one, "admin", Some(json!({ "pasword": "hunter2-third" }))).await;
    assert_eq!((status, &wrong["error"]["field"]), (400, &json!("pasword")));
    assert_eq!(api.call("PUT", "/api/v1/connections/no/credentials/x", "admin", body("hunter2")).await.0, 404);
    assert_eq!(api.call("DELETE", one, "admin", None).await.0, 204);
    assert_eq!(api.call("DELETE", one, "admin", None).await.0, 404);
    let events = "/api/v1/audit/events?type=control&action=database_credential.";
    let (_, events) = api.call("GET", events, "admin", None).await;
    assert_eq!(events.as_array().unwrap().len(), 3);
    for answer in [set, again, listed, wrong, events] {
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
    api.running.shutdown().await;
}

#[tokio::test]
async fn policies_and_freezes() {
    let api = api().await;
    let call = async |method: &str, path: &str, body: Option<Value>| {
        api.call(method, &format!("/api/v1/{path}"), "admin", body).await
    };
    let apply = |text: &str| Some(json!({ "policies": [{ "name": "a.cedar", "text": text }] }));
    let wrong = "@id(\"a\")\npermit (principal, action == Action::\"raed\", resource);";
    for path in ["plan", "apply"] {
        let (status, answer) = call("POST", path, apply(wrong)).await;
        let problem = &answer["error"]["problems"][0];
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("invalid")));
        assert_eq!(
            (&problem["file"], &problem["line"], &problem["column"]),
            (&json!("a.cedar"), &json!(2), &json!(30))
        );
    }
    let unknown = json!({ "policies": [{ "name": "a.cedar", "txt": "" }] });
    let (status, answer) = call("POST", "apply", Some(unknown)).await;
    assert_eq!((status, &answer["error"]["field"]), (400, &json!("txt")));
    let right = "@id(\"a\")\npermit (principal, action == Action::\"read\", resource);";
    let (status, answer) = call("POST", "apply", apply(right)).await;
    assert_eq!((status, &answer["changes"][0]["action"]), (200, &json!("create")));
    let (_, listed) = call("GET", "policies", None).await;
    assert_eq!(
        (&listed[0]["name"], &listed[0]["version"], listed[0].get("text")),
        (&json!("a.cedar"), &json!(1), None)
    );
    assert_eq!(call("GET", "policies/a.cedar", None).await.1["text"], right);
    assert_eq!(call("GET", "policies/b.cedar", None).await.0, 404);

    let (status, frozen) = call("POST", "connections/demo/freeze", Some(json!({ "reason": "incident" }))).await;
    assert_eq!((status, &frozen["freeze"]["by"]["name"]), (200, &json!("admin")));
    // Everybody who may ask for it sees that.
    let (_, connections) = api.call("GET", "/api/v1/connections", "ci", None).await;
    assert_eq!(connections[0]["freeze"]["reason"], "incident");
    let (status, lifted) = call("POST", "connections/demo/unfreeze", None).await;
    assert_eq!((status, &lifted["freeze"]), (200, &Value::Null));
    assert_eq!(call("POST", "connections/no/freeze", None).await.0, 404);
    for (method, path, body) in [
        ("GET", "policies", None),
        ("GET", "policies/a.cedar", None),
        ("POST", "apply", apply(right)),
        ("POST", "connections/demo/freeze", None),
        ("POST", "connections/demo/unfreeze", None),
    ] {
        let path = format!("/api/v1/{path}");
        assert_eq!(api.call(method, &path, "ci", body.clone()).await.0, 403, "{method} {path}");
        assert_eq!(api.call(method, &path, "", body).await.0, 401, "{method} {path}");
    }
    api.running.shutdown().await;
}

#[tokio::test]
async fn errors_are_structured() {
    let api = api().await;
    for (method, path, token, body, status, code, field) in [
        ("GET", "/api/v1/whoami", "", None, 401, "unauthenticated", Value::Null),
        ("GET", "/api/v1/whoami", "guess", None, 401, "unauthenticated", Value::Null),
        ("GET", "/api/v1/users", "ci", None, 403, "forbidden", Value::Null),
        ("GET", "/api/v1/nothing", "admin", None, 404, "not_found", Value::Null),
        ("GET", "/api/v1/requests/nonsense", "admin", None, 404, "not_found", Value::Null),
        ("GET", "/api/v1/requests?staus=pending", "admin", None, 400, "invalid", json!("staus")),
        ("POST", "/api/v1/requests", "ci", Some(json!({ "connection": "demo" })), 400, "invalid", json!("role")),
        ("POST", "/api/v1/requests", "ci", Some(json!({ "conection": "demo" })), 400, "invalid", json!("conection")),
        (
            "POST",
            "/api/v1/join-tokens",
            "admin",
            Some(json!({ "kind": "gateway", "name": "a b" })),
            400,
            "invalid",
            json!("name"),
        ),
    ] {
        let (got, answer) = api.call(method, path, token, body).await;
        let error = &answer["error"];
        assert_eq!((got, &error["code"], &error["field"]), (status, &json!(code), &field), "{method} {path}: {answer}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    assert_eq!(api.call("GET", "/healthz", "", None).await, (200, json!("ok\n")));
    assert_eq!(api.call("GET", "/readyz", "", None).await, (200, json!("ready\n")));
    assert_eq!(api.call("GET", "/api/v1/openapi.json", "", None).await.1["info"]["title"], "Postern");
    api.running.shutdown().await;
}

#[tokio::test]
async fn the_first_admin_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let free = "127.0.0.1:0".parse().unwrap();
    let running = start(Config::new(folder.path().join("data"), free, free)).await.unwrap();
    let path = running.core.bootstrap_admin().await.unwrap().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(running.core.bootstrap_admin().await.unwrap().is_none());
    let token = SecretString::from(std::fs::read_to_string(&path).unwrap().trim().to_owned());
    let now = postern_types::time::Micros::now();
    let caller = postern_control_plane::identity::authenticate(&running.core.store, &token, &Default::default(), now)
        .await
        .unwrap()
        .unwrap();
    assert!(caller.actor.admin);
    running.shutdown().await;
}

/// What the console's own pages send, and what other pages would: each header is needed or forged by turns.
const CONSOLE: &str = "x-postern-console: 1";
const OWN: &str = "origin: http://x";

#[tokio::test]
async fn a_browser_has_a_cookie_in_place_of_a_token() {
    let api = api().await;
    let session = "/api/v1/web/session";
    let token = |name: &str| Some(json!({ "token": format!("postern_{name}") }));
    let (status, _, body) = api.send("POST", session, &[CONSOLE, OWN], token("nobody")).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthenticated")));
    let (status, head, me) = api.send("POST", session, &[CONSOLE, OWN], token("admin")).await;
    assert_eq!((status, &me["name"]), (200, &json!("admin")));
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; ") && cookie.contains("Path=/"), "{cookie}");
    let cookie = format!("cookie: a=b; {}", cookie.split(';').next().unwrap());

    let (status, _, me) = api.send("GET", "/api/v1/whoami", &[&cookie], None).await;
    assert_eq!((status, &me["name"]), (200, &json!("admin")));
    let (status, _, _) = api.send("GET", "/api/v1/whoami", &["cookie: postern=posternweb_x"], None).await;
    assert_eq!(status, 401);

    // It is worth nothing in calls that another site makes, and without the cookie the headers are worth nothing.
    let group = || Some(json!({ "name": "made" }));
    for (headers, expected) in [
        (&[cookie.as_str(), CONSOLE, OWN][..], 200),
        (&[&cookie, CONSOLE, OWN, "sec-fetch-site: same-origin"], 200),
        (&[&cookie], 403),
        (&[&cookie, OWN], 403),
        (&[&cookie, CONSOLE], 403),
        (&[&cookie, CONSOLE, "origin: http://x.evil"], 403),
        (&[&cookie, CONSOLE, "origin: https://x"], 403),
        (&[&cookie, CONSOLE, "origin: null"], 403),
        (&[&cookie, CONSOLE, OWN, "sec-fetch-site: same-site"], 403),
        (&[&cookie, CONSOLE, OWN, "sec-fetch-site: cross-site"], 403),
        (&[CONSOLE, OWN], 401),
    ] {
        let (status, _, body) = api.send("POST", "/api/v1/groups", headers, group()).await;
        assert_eq!(status, expected, "{headers:?}: {body}");
    }
    let (status, _, _) = api.send("GET", "/api/v1/whoami", &[&cookie, "sec-fetch-site: cross-site"], None).await;
    assert_eq!(status, 403);
    // Nor can another site make somebody sign in.
    let (status, _, _) = api.send("POST", session, &[CONSOLE, "origin: http://evil"], token("admin")).await;
    assert_eq!(status, 403);

    let (status, head, _) = api.send("DELETE", session, &[&cookie, CONSOLE, OWN], None).await;
    assert!(status == 200 && head.contains("Max-Age=0"), "{head}");
    let (status, _, _) = api.send("GET", "/api/v1/whoami", &[&cookie], None).await;
    assert_eq!(status, 401);
    let (_, events) = api.call("GET", "/api/v1/audit/events?type=control&action=web.", "admin", None).await;
    let actions: Vec<_> = events.as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["web.logout", "web.login"]);
}

#[tokio::test]
async fn the_console_is_served_under_a_strict_policy() {
    let api = api().await;
    let (status, head, _) = api.send("GET", "/", &[], None).await;
    assert_eq!(status, 200);
    assert!(head.contains("require-trusted-types-for 'script'") && !head.contains("unsafe"), "{head}");
    for path in ["/api/v1/none", "/assets/none.js"] {
        let (status, _, body) = api.send("GET", path, &[], None).await;
        assert_eq!((status, &body["error"]["code"]), (404, &json!("not_found")), "{path}");
    }
    let (status, _, _) = api.send("POST", "/inbox", &[], None).await;
    assert_eq!(status, 404);
}
