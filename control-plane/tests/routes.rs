//! Every route of the API, who may not call it and who may. A route that is not in the table fails the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use postern_api::{document::SourcedDocument, identity::PrincipalKind};
use postern_control_plane::{
    Config, Running,
    hub::ConnectorKey,
    reviews::ask,
    start,
    store::{access, sessions},
};
use postern_proto::v1::{ReviewAsk, ReviewedStatement, ReviewersNeeded};
use postern_types::{
    id::{RequestId, SessionId},
    time::Micros,
};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Everybody: an admin who reviews nothing, an auditor, a reviewer, one for emergencies, the user who answers for the
/// agent `ci`, somebody else, an agent that may ask, an agent that may not.
const CAST: [&str; 8] = ["admin", "auditor", "dba", "oncall", "owner", "alice", "ci", "other"];

/// What a route is about, made anew for each call.
#[derive(Clone, Copy, PartialEq)]
enum About {
    Nothing,
    Request,
    BreakGlass,
    Standing,
    Grant,
    Session,
    Review,
    Token,
}

/// What whoever may gets.
#[derive(Clone, Copy, PartialEq)]
enum Gets {
    /// It is done.
    Done,
    /// A list in which the thing is; for others it is not there.
    Listed,
    /// Another answer than a refusal: there is nothing of that name, or no connector to ask.
    Passed(u16),
    /// Everybody who has a token may.
    Everybody,
    /// Whoever comes: where one signs in is no secret.
    Anybody,
}

struct Route {
    method: &'static str,
    path: &'static str,
    about: About,
    body: Value,
    gets: Gets,
    allowed: &'static [&'static str],
}

fn table() -> Vec<Route> {
    use About::{BreakGlass, Grant, Nothing, Request, Review, Session, Standing, Token};
    use Gets::{Anybody, Done, Everybody, Listed, Passed};
    let admin: &[&str] = &["admin"];
    let judges: &[&str] = &["admin", "auditor"];
    let route = |method, path, about, body, gets, allowed| Route { method, path, about, body, gets, allowed };
    let none = || json!({});
    let ask = || json!({ "connection": "demo", "role": "read", "duration": "10m", "reason": "a test" });
    let agent = json!({ "kind": "agent", "name": "ci" });
    vec![
        route("get", "/whoami", Nothing, none(), Everybody, &[]),
        route("get", "/events", Nothing, none(), Everybody, &[]),
        route("post", "/web/session", Nothing, none(), Everybody, &[]),
        route("delete", "/web/session", Nothing, none(), Everybody, &[]),
        route("get", "/web/providers", Nothing, none(), Anybody, &[]),
        route("get", "/web/sessions", Nothing, none(), Everybody, &[]),
        // Of these nobody has one: who has a token has no browser's session and signs no command line in.
        route("delete", "/web/sessions/{x}", Nothing, none(), Done, &[]),
        route("get", "/web/devices/{x}", Nothing, none(), Done, &[]),
        route("post", "/web/devices/{x}/approve", Nothing, none(), Done, &[]),
        route("post", "/web/devices/{x}/deny", Nothing, none(), Done, &[]),
        route("get", "/users", Nothing, none(), Done, admin),
        route("post", "/users", Nothing, json!({ "name": "new" }), Done, admin),
        route("get", "/agents", Nothing, none(), Done, admin),
        route("post", "/agents", Nothing, json!({ "name": "new" }), Done, admin),
        route("get", "/groups", Nothing, none(), Done, admin),
        route("post", "/groups", Nothing, json!({ "name": "new" }), Done, admin),
        route("post", "/plan", Nothing, none(), Done, admin),
        route("post", "/apply", Nothing, none(), Done, admin),
        route("post", "/principals/{agent:ci}/stop", Nothing, none(), Done, &["admin", "owner"]),
        route("post", "/principals/{agent:ci}/resume", Nothing, none(), Done, admin),
        route("get", "/tokens", Token, none(), Listed, &["admin", "ci"]),
        route("post", "/tokens", Nothing, json!({ "name": "new", "principal": agent }), Done, admin),
        route("delete", "/tokens/{id}", Token, none(), Done, &["admin", "ci"]),
        route("get", "/connections", Nothing, none(), Listed, &["admin", "dba", "oncall", "ci"]),
        route("get", "/connections/{demo}/access", Nothing, none(), Done, &["admin", "dba", "oncall", "ci"]),
        route("get", "/connections/{demo}/principals", Nothing, none(), Done, judges),
        route("get", "/principals/{agent:ci}/access", Nothing, none(), Done, &["admin", "auditor", "owner", "ci"]),
        route("post", "/connections/{demo}/freeze", Nothing, none(), Done, admin),
        route("post", "/connections/{demo}/unfreeze", Nothing, none(), Done, admin),
        route("post", "/connections/{demo}/scan", Nothing, none(), Passed(503), admin),
        route("get", "/connections/{demo}/credentials", Nothing, none(), Done, admin),
        route("put", "/connections/{demo}/credentials/{shop}", Nothing, json!({ "password": "hunter2" }), Done, admin),
        route("delete", "/connections/{demo}/credentials/{shop}", Nothing, none(), Done, admin),
        route("get", "/policies", Nothing, none(), Done, judges),
        route("get", "/policies/{default.cedar}", Nothing, none(), Done, judges),
        route(
            "post",
            "/policies/test",
            Nothing,
            json!({ "principal": agent, "connection": "demo", "role": "read", "sql": "select 1" }),
            Passed(503),
            judges,
        ),
        route("post", "/policies/replay", Nothing, none(), Done, judges),
        route("get", "/policies/{default.cedar}/versions", Nothing, none(), Done, judges),
        route("get", "/overview", Nothing, none(), Done, judges),
        route("get", "/connections/{demo}/masking", Nothing, none(), Done, admin),
        route("post", "/masks/try", Nothing, json!({ "mask": "redact", "type": "text", "value": "x" }), Done, admin),
        route("get", "/requests", Request, none(), Listed, &["admin", "auditor", "dba", "ci"]),
        route("post", "/requests", Nothing, ask(), Done, &["dba", "ci"]),
        route("get", "/requests/{id}", Request, none(), Done, &["admin", "auditor", "dba", "ci"]),
        route("post", "/requests/{id}/approve", Request, none(), Done, &["dba"]),
        route("post", "/requests/{id}/deny", Request, json!({ "reason": "no" }), Done, &["dba"]),
        route("post", "/requests/{id}/withdraw", Request, none(), Done, &["ci"]),
        route("post", "/requests/{id}/comments", Request, json!({ "text": "why?" }), Done, &["admin", "dba", "ci"]),
        route("post", "/requests/{id}/close", BreakGlass, json!({ "reason": "needed" }), Done, &["dba"]),
        route("post", "/standing", Nothing, until(ask()), Done, &["dba", "ci"]),
        route("post", "/standing/{id}/end", Standing, none(), Done, &["admin", "dba", "ci"]),
        route("get", "/grants?all=true", Grant, none(), Listed, &["admin", "auditor", "ci"]),
        route("post", "/grants/revoke", Grant, json!({ "connection": "demo" }), Done, admin),
        route("post", "/grants/{id}/credentials", Grant, json!({ "use": "url" }), Done, &["ci"]),
        route("post", "/grants/{id}/extend", Grant, json!({ "duration": "5m", "reason": "more" }), Done, &["ci"]),
        route("post", "/grants/{id}/revoke", Grant, none(), Done, &["admin", "ci"]),
        route("get", "/sessions", Session, none(), Listed, &["admin", "auditor", "ci"]),
        route("get", "/sessions/{id}", Session, none(), Done, &["admin", "auditor", "ci"]),
        route("post", "/sessions/{id}/kill", Session, none(), Done, &["admin", "ci"]),
        route("get", "/reviews", Review, none(), Listed, &["admin", "auditor", "dba", "ci"]),
        route("get", "/reviews/{id}", Review, none(), Done, &["admin", "auditor", "dba", "ci"]),
        route("post", "/reviews/{id}/approve", Review, none(), Done, &["dba"]),
        route("post", "/reviews/{id}/deny", Review, json!({ "reason": "no" }), Done, &["dba"]),
        route("post", "/reviews/{id}/withdraw", Review, none(), Done, &["ci"]),
        route(
            "post",
            "/reviews/{id}/comments",
            Review,
            json!({ "text": "why?" }),
            Done,
            &["admin", "auditor", "dba", "ci"],
        ),
        route("get", "/audit/events?type=control&limit=1000", Request, none(), Listed, &["admin", "auditor", "ci"]),
        route("get", "/audit/events.csv?type=control", Request, none(), Listed, &["admin", "auditor", "ci"]),
        route("get", "/audit/events.jsonl?type=control", Request, none(), Listed, &["admin", "auditor", "ci"]),
        route("post", "/join-tokens", Nothing, json!({ "kind": "connector", "name": "new" }), Done, admin),
        route("get", "/connectors", Nothing, none(), Done, admin),
        route("get", "/gateways", Nothing, none(), Done, admin),
        route("post", "/connectors/{con_00000000000000000000000000}/revoke", Nothing, none(), Passed(404), admin),
        route("post", "/gateways/{gwy_00000000000000000000000000}/revoke", Nothing, none(), Passed(404), admin),
        route("get", "/notifications", Nothing, none(), Done, admin),
        route("post", "/notifications/{ops}/enable", Nothing, none(), Passed(404), admin),
        route("get", "/notification-deliveries", Nothing, none(), Done, admin),
        route(
            "post",
            "/notification-deliveries/{ntf_00000000000000000000000000}/retry",
            Nothing,
            none(),
            Passed(404),
            admin,
        ),
    ]
}

fn until(mut ask: Value) -> Value {
    ask["until"] = json!(Micros::now().plus(std::time::Duration::from_secs(3600)).to_string());
    ask
}

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
        config.clients.address = Some("gw.example.com:5432".to_owned());
        let running = start(config).await.unwrap();
        for name in CAST {
            let kind = if ["ci", "other"].contains(&name) { PrincipalKind::Agent } else { PrincipalKind::User };
            let groups: &[&str] = match name {
                "dba" | "oncall" => &[name],
                "ci" => &["agents"],
                _ => &[],
            };
            let token = SecretString::from(format!("postern_{name}"));
            let core = &running.core;
            let (admin, auditor) = (name == "admin", name == "auditor");
            core.bootstrap_principal_token(kind, name, groups, admin, auditor, &token).await.unwrap();
        }
        let role = |approvals: u32| json!({ "mode": "shared", "groups": ["agents", "dba"], "reviewers": ["dba"], "approvals": approvals });
        let mut read = role(1);
        read["break_glass"] = json!({ "groups": ["oncall"], "duration": "10m" });
        let documents = [
            json!({ "kind": "Agent", "name": "ci", "groups": ["agents"], "owner": "owner" }),
            json!({ "kind": "Connection", "name": "demo", "database": "postgresql://127.0.0.1/shop", "connector": "dev",
                "roles": { "read": read, "open": role(0) } }),
        ];
        let sourced = documents.map(|document| SourcedDocument { source: Default::default(), document });
        running.core.apply(sourced.into(), true, None).await.unwrap();
        Self { running, client: reqwest::Client::builder().no_proxy().build().unwrap(), _folder: folder }
    }

    /// Status and body; of a stream, its head.
    async fn call(&self, who: Option<&str>, method: &str, path: &str, body: &Value) -> (u16, String) {
        let url = format!("http://{}/api/v1{path}", self.running.http_addr);
        let method: Method = method.to_uppercase().parse().unwrap();
        let mut request = self.client.request(method, url).json(body);
        if let Some(who) = who {
            request = request.bearer_auth(format!("postern_{who}"));
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let streams = response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        (status, if streams { String::new() } else { response.text().await.unwrap() })
    }

    async fn made(&self, who: &str, path: &str, body: &Value, field: &str) -> String {
        let (status, text) = self.call(Some(who), "post", path, body).await;
        assert_eq!(status, 200, "{who} {path}: {text}");
        let made: Value = serde_json::from_str(&text).unwrap();
        made[field].as_str().unwrap().to_owned()
    }

    /// The id of a new one.
    async fn make(&self, about: About) -> String {
        // None of them is the answer to another.
        let ask = |role: &str| {
            json!({ "connection": "demo", "role": role, "duration": "10m", "reason": "a test",
                "ticket": RequestId::new().to_string() })
        };
        match about {
            About::Nothing => "demo".to_owned(),
            About::Request => self.made("ci", "/requests", &ask("read"), "id").await,
            About::Grant => self.made("ci", "/requests", &ask("open"), "grant_id").await,
            About::BreakGlass => {
                let mut ask = ask("read");
                ask["break_glass"] = json!(true);
                self.made("oncall", "/requests", &ask, "id").await
            }
            About::Standing => {
                let id = self.made("ci", "/standing", &until(ask("read")), "id").await;
                self.made("dba", &format!("/requests/{id}/approve"), &json!({}), "id").await
            }
            About::Token => {
                let body = json!({ "name": "new", "principal": { "kind": "agent", "name": "ci" } });
                self.made("admin", "/tokens", &body, "id").await
            }
            About::Session => self.session().await.to_string(),
            About::Review => self.review().await,
        }
    }

    async fn session(&self) -> SessionId {
        let grant = Box::pin(self.make(About::Grant)).await.parse().unwrap();
        let id = SessionId::new();
        let mut tx = self.running.core.store.begin().await.unwrap();
        let grant = access::grant(&mut tx, &grant).await.unwrap().unwrap();
        let new = sessions::NewSession {
            id: &id,
            grant_id: &grant.id,
            principal_id: &grant.principal.id,
            on_behalf_of_id: None,
            connection: "demo",
            role: "open",
            client_address: "192.0.2.7",
            gateway_id: "gwy_1",
            connector_id: "con_1",
            incarnation: "i1",
            auth_method: "scram-sha-256",
        };
        assert!(sessions::authorize(&mut tx, &new, Micros::now()).await.unwrap());
        tx.commit().await.unwrap();
        id
    }

    async fn review(&self) -> String {
        let statement = ReviewedStatement {
            sql: "DELETE FROM orders".to_owned(),
            tag: "DELETE".to_owned(),
            reviewers: vec![ReviewersNeeded { group: "dba".to_owned(), count: 1 }],
            ..ReviewedStatement::default()
        };
        let asked = ReviewAsk {
            session_id: self.session().await.to_string(),
            key: Bytes::from(format!("{:0>32}", RequestId::new().to_string())),
            shape: Bytes::from(vec![1; 32]),
            literals: Vec::new(),
            statement: Some(statement),
        };
        let connector = ConnectorKey { id: "con_1".to_owned(), incarnation: "i1".to_owned() };
        ask::ask(&self.running.core.store, &connector, asked, None, Micros::now()).await.unwrap().review_id
    }

    async fn check(&self, route: &Route) {
        let Route { method, path, about, body, gets, allowed } = route;
        let said = |id: &str| {
            // `{id}` is the thing; what else stands in braces is itself.
            path.replace("{id}", id).replace(['{', '}'], "")
        };
        let (status, text) = self.call(None, method, &said("x"), body).await;
        if *gets == Gets::Anybody {
            assert_eq!(status, 200, "{method} {path}: {text}");
            return;
        }
        assert!(matches!(status, 401 | 403), "{method} {path} without a token: {status} {text}");
        if *gets == Gets::Everybody {
            return;
        }
        for who in CAST.iter().filter(|who| !allowed.contains(who)) {
            let id = self.make(*about).await;
            let (status, text) = self.call(Some(who), method, &said(&id), body).await;
            if *gets == Gets::Listed {
                assert!(status == 200 && !text.contains(&id), "{who} {method} {path}: {status} {text}");
            } else {
                assert!(matches!(status, 403 | 404), "{who} {method} {path}: {status} {text}");
            }
        }
        for who in *allowed {
            let id = self.make(*about).await;
            let (status, text) = self.call(Some(who), method, &said(&id), body).await;
            match gets {
                Gets::Listed => assert!(status == 200 && text.contains(&id), "{who} {method} {path}: {status} {text}"),
                Gets::Passed(other) => assert_eq!(status, *other, "{who} {method} {path}: {text}"),
                _ => assert!(matches!(status, 200 | 204), "{who} {method} {path}: {status} {text}"),
            }
            // Deleted or stopped by one, it is there for the next.
            let restore = match *path {
                "/connections/{demo}/credentials/{shop}" if *method == "delete" => {
                    Some(("put", said(""), json!({ "password": "hunter2" })))
                }
                "/principals/{agent:ci}/stop" => Some(("post", "/principals/agent:ci/resume".to_owned(), json!({}))),
                _ => None,
            };
            if let Some((method, path, body)) = restore {
                self.call(Some("admin"), method, &path, &body).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_for_those_whom_it_is_for() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let named = |path: &str| {
        let path = path.split('?').next().unwrap();
        let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
        path.split('/').map(part).collect::<Vec<_>>().join("/")
    };
    let paths = document["paths"].as_object().unwrap();
    let there: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            let path = named(path.strip_prefix("/api/v1").unwrap());
            item.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone())).collect::<Vec<_>>()
        })
        .collect();
    let table = table();
    let known = table.iter().map(|route| (route.method.to_owned(), named(route.path))).collect();
    assert_eq!(there, known, "the table lists each route of web/openapi.json, and no other");
    let stage = Stage::new().await;
    for route in &table {
        stage.check(route).await;
    }
    stage.running.shutdown().await;
}
