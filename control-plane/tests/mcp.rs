//! The door of `/mcp`: who comes in, whose a session is, and what is refused before any tool is called. Each refusal beside
//! the twin that is let in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_api::{document::SourcedDocument, identity::PrincipalKind};
use postern_control_plane::{Config, Running, start};
use reqwest::{Method, RequestBuilder, Response};
use secrecy::SecretString;
use serde_json::{Value, json};

const OLDER: &str = "2025-06-18";
const NEWER: &str = "2026-07-28";

struct Stage {
    running: Running,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(folder.path().join("data"), free, free);
        config.clients.address = Some("127.0.0.1:1".to_owned());
        let running = start(config).await.unwrap();
        for (kind, name) in
            [(PrincipalKind::User, "admin"), (PrincipalKind::Agent, "ci"), (PrincipalKind::Agent, "other")]
        {
            let token = SecretString::from(format!("postern_{name}"));
            let admin = name == "admin";
            running.core.bootstrap_principal_token(kind, name, &["agents"], admin, admin, &token).await.unwrap();
        }
        let document = json!({ "kind": "Connection", "name": "demo", "database": "postgresql://127.0.0.1/shop",
            "connector": "dev", "roles": {
                "open": { "mode": "shared", "approvals": 0 },
                "read": { "mode": "shared", "reviewers": ["dba"] } } });
        let sourced = SourcedDocument { source: postern_api::document::Source::default(), document };
        running.core.apply(vec![sourced], true, None).await.unwrap();
        Self { running, client: reqwest::Client::builder().no_proxy().build().unwrap(), _folder: folder }
    }

    fn own(&self) -> String {
        format!("http://{}", self.running.http_addr)
    }

    fn call(&self, method: Method, who: &str) -> RequestBuilder {
        let call = self.client.request(method, format!("{}/mcp", self.own()));
        let call =
            call.header("accept", "application/json, text/event-stream").header("content-type", "application/json");
        if who.is_empty() { call } else { call.bearer_auth(format!("postern_{who}")) }
    }

    fn post(&self, who: &str, message: &Value) -> RequestBuilder {
        self.call(Method::POST, who).body(message.to_string())
    }

    /// A request of the revision in which each stands by itself.
    fn newer(&self, who: &str, method: &str, mut params: Value) -> RequestBuilder {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": NEWER,
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let name = params["name"].as_str().map(str::to_owned);
        let call = self.post(who, &json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }));
        let call = call.header("mcp-protocol-version", NEWER).header("mcp-method", method);
        match name {
            Some(name) => call.header("mcp-name", name),
            None => call,
        }
    }

    /// Begins a session of an older revision.
    async fn session(&self, who: &str) -> Result<String, u16> {
        let response = self.post(who, &initialize()).send().await.unwrap();
        let status = response.status().as_u16();
        let id = response.headers().get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
        let Some(id) = id else { return Err(status) };
        assert_eq!(message(response).await["result"]["protocolVersion"], OLDER);
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let told = self.in_session(who, &id, &initialized).send().await.unwrap();
        assert_eq!(told.status(), 202);
        Ok(id)
    }

    fn in_session(&self, who: &str, session: &str, message: &Value) -> RequestBuilder {
        self.post(who, message).header("mcp-session-id", session).header("mcp-protocol-version", OLDER)
    }
}

fn initialize() -> Value {
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": OLDER, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } })
}

fn tools() -> Value {
    json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" })
}

/// The last message of an answer, which is one or a stream of them.
async fn message(response: Response) -> Value {
    let text = response.text().await.unwrap();
    let last = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back().unwrap_or(&text);
    serde_json::from_str(last.trim()).unwrap_or_else(|_| panic!("{text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_a_token_comes_in() {
    let stage = Stage::new().await;
    for who in ["", "nobody"] {
        let refused = stage.post(who, &initialize()).send().await.unwrap();
        assert_eq!(refused.status(), 401, "{who}");
        let told = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
        let metadata = told.strip_prefix("Bearer resource_metadata=\"").unwrap().trim_end_matches('"').to_owned();
        assert_eq!(message(refused).await["error"]["code"], "unauthenticated");
        let path = metadata.split("/.well-known").nth(1).unwrap();
        let metadata = stage.client.get(format!("{}/.well-known{path}", stage.own())).send().await.unwrap();
        let metadata: Value = metadata.json().await.unwrap();
        assert!(metadata["resource"].as_str().unwrap().ends_with("/mcp"), "{metadata}");
        assert_eq!(metadata["bearer_methods_supported"], json!(["header"]));
    }
    assert!(stage.session("ci").await.is_ok());
    // A browser's cookie is no token, for all that the rest of the API takes it.
    let signed_in = stage.client.post(format!("{}/api/v1/web/session", stage.own()));
    let signed_in = signed_in.header("x-postern-console", "1").header("origin", stage.own());
    let signed_in = signed_in.json(&json!({ "token": "postern_admin" })).send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let me = stage.client.get(format!("{}/api/v1/whoami", stage.own())).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(me.status(), 200);
    let refused = stage.post("", &initialize()).header("cookie", &cookie).header("origin", stage.own());
    assert_eq!(refused.header("x-postern-console", "1").send().await.unwrap().status(), 401);
    // A token that is deleted is good no more, in the session that it has begun.
    let made = stage.client.post(format!("{}/api/v1/tokens", stage.own())).bearer_auth("postern_admin");
    let made = made.json(&json!({ "name": "new", "principal": { "kind": "agent", "name": "ci" } }));
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    let token = made["token"].as_str().unwrap().strip_prefix("postern_").unwrap();
    let session = stage.session(token).await.unwrap();
    assert_eq!(stage.in_session(token, &session, &tools()).send().await.unwrap().status(), 200);
    let path = format!("{}/api/v1/tokens/{}", stage.own(), made["id"].as_str().unwrap());
    stage.client.delete(path).bearer_auth("postern_admin").send().await.unwrap().error_for_status().unwrap();
    assert_eq!(stage.in_session(token, &session, &tools()).send().await.unwrap().status(), 401);
    stage.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_do_not_call() {
    let stage = Stage::new().await;
    let port = stage.running.http_addr.port();
    for origin in ["https://evil.example", "null", &format!("http://evil.example:{port}"), "http://127.0.0.1", ""] {
        // With the token, and as the machine calls itself by a name that somebody else has made mean it.
        for host in [format!("127.0.0.1:{port}"), format!("evil.example:{port}")] {
            let refused = stage.post("ci", &initialize()).header("origin", origin).header("host", host);
            let refused = refused.send().await.unwrap();
            assert_eq!(refused.status(), 403, "{origin}");
            assert_eq!(message(refused).await["error"]["code"], "forbidden");
        }
    }
    let own = stage.post("ci", &initialize()).header("origin", stage.own()).send().await.unwrap();
    assert_eq!(own.status(), 200);
    stage.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_tokens() {
    let stage = Stage::new().await;
    let session = stage.session("ci").await.unwrap();
    let listed = stage.in_session("ci", &session, &tools()).send().await.unwrap();
    assert_eq!(message(listed).await["result"]["tools"].as_array().unwrap().len(), 8);
    for who in ["other", "admin"] {
        assert_eq!(stage.in_session(who, &session, &tools()).send().await.unwrap().status(), 404);
        let stream = stage.call(Method::GET, who).header("mcp-session-id", &session).send().await.unwrap();
        assert_eq!(stream.status(), 404);
        // Nor is it ended by them.
        stage.call(Method::DELETE, who).header("mcp-session-id", &session).send().await.unwrap();
    }
    let me = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": { "name": "whoami" } });
    let answer = message(stage.in_session("ci", &session, &me).send().await.unwrap()).await;
    assert_eq!(answer["result"]["structuredContent"]["name"], "ci", "{answer}");
    let ended = stage.call(Method::DELETE, "ci").header("mcp-session-id", &session).send().await.unwrap();
    assert_eq!(ended.status(), 202);
    assert_eq!(stage.in_session("ci", &session, &tools()).send().await.unwrap().status(), 404);
    // As many as a token may have, and one more; another token's are its own.
    for _ in 0..64 {
        stage.session("ci").await.unwrap();
    }
    assert_eq!(stage.session("ci").await, Err(503));
    assert!(stage.session("other").await.is_ok());
    stage.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_refused() {
    let stage = Stage::new().await;
    let session = stage.session("ci").await.unwrap();
    let send = async |body: Vec<u8>| {
        let call = stage.call(Method::POST, "ci").header("mcp-session-id", &session).body(body);
        call.send().await.unwrap().status().as_u16()
    };
    for body in
        [&b""[..], b"{", b"null", b"[]", b"{\"jsonrpc\":\"2.0\"}", b"{\"jsonrpc\":\"1.0\",\"id\":1}", b"\xff\xfe"]
    {
        let status = send(body.to_vec()).await;
        assert!((400..=422).contains(&status), "{status}: {}", String::from_utf8_lossy(body));
    }
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert!((400..=422).contains(&send(deep).await));
    // As long as is taken, and longer.
    let long = |bytes: usize| {
        let arguments = json!({ "connection": "demo", "sql": "x".repeat(bytes) });
        let call = json!({ "jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": { "name": "query", "arguments": arguments } });
        stage.in_session("ci", &session, &call)
    };
    let answer = message(long((4 << 20) - 1000).send().await.unwrap()).await;
    assert_eq!(answer["result"]["structuredContent"]["error"]["code"], "no_grant");
    assert_eq!(long(4 << 20).send().await.unwrap().status(), 413);
    let unknown = json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": { "name": "approve" } });
    let answer = message(stage.in_session("ci", &session, &unknown).send().await.unwrap()).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(stage.call(Method::PUT, "ci").send().await.unwrap().status(), 405);
    assert_eq!(stage.in_session("ci", &session, &tools()).send().await.unwrap().status(), 200);
    stage.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_stands_by_itself_where_the_client_says_so() {
    let stage = Stage::new().await;
    let listed = stage.newer("ci", "tools/list", json!({})).send().await.unwrap();
    assert_eq!((listed.status().as_u16(), listed.headers().get("mcp-session-id")), (200, None));
    assert_eq!(message(listed).await["result"]["tools"].as_array().unwrap().len(), 8);
    assert_eq!(stage.newer("", "tools/list", json!({})).send().await.unwrap().status(), 401);
    let call =
        |name: &str, arguments: Value| stage.newer("ci", "tools/call", json!({ "name": name, "arguments": arguments }));
    let ask = json!({ "connection": "demo", "role": "open", "duration": "10m", "reason": "a test" });
    let asked = message(call("request_access", ask).send().await.unwrap()).await;
    assert_eq!(asked["result"]["structuredContent"]["status"], "approved", "{asked}");
    // There is nothing where the gateway should be: that is said, and where it should be is not.
    let query = call("query", json!({ "connection": "demo", "sql": "select 1" }));
    let answer = message(query.send().await.unwrap()).await;
    let error = &answer["result"]["structuredContent"]["error"];
    assert_eq!((&answer["result"]["isError"], &error["code"]), (&json!(true), &json!("unavailable")), "{answer}");
    assert!(error["hint"].is_string() && !answer.to_string().contains("127.0.0.1"), "{answer}");
    assert!(!answer.to_string().contains("secret") && !answer.to_string().contains("postern_"), "{answer}");
    stage.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_as_many_as_a_token_may_have() {
    let stage = Stage::new().await;
    let call = |who: &str, name: &str, arguments: &Value| {
        stage.newer(who, "tools/call", json!({ "name": name, "arguments": arguments }))
    };
    let ask = json!({ "connection": "demo", "role": "read", "duration": "10m", "reason": "a test", "wait_seconds": 0 });
    let asked = message(call("ci", "request_access", &ask).send().await.unwrap()).await;
    let id = &asked["result"]["structuredContent"]["id"];
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..17 {
        waiting.spawn(call("ci", "status", &json!({ "id": id, "wait_seconds": 300 })).send());
    }
    // One of them is one too many.
    let answer = message(waiting.join_next().await.unwrap().unwrap().unwrap()).await;
    assert_eq!(answer["result"]["structuredContent"]["error"]["code"], "too_many", "{answer}");
    let listed = async |who: &str| message(call(who, "access", &json!({})).send().await.unwrap()).await;
    let refused = async || listed("ci").await["result"]["structuredContent"]["error"]["code"] == "too_many";
    assert!(refused().await);
    assert_eq!(listed("other").await["result"]["isError"], false);
    // Whoever goes has given up.
    waiting.shutdown().await;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while refused().await {
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    stage.running.shutdown().await;
}
