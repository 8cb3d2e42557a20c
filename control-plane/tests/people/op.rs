//! An identity provider on loopback that says what a test wants: discovery, keys, tokens, userinfo. And a control plane whose
//! people sign in there.

use crate::issuer::Key;
use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use parking_lot::Mutex;
use postern_api::{
    audit::{AuditQuery, EventTypes},
    document::{Source, SourcedDocument},
    identity::{PrincipalKind, PrincipalRef},
};
use postern_control_plane::{
    Running, audit,
    config::{Config, SecretSource},
    identity::{Actor, tokens},
    start,
};
use postern_types::time::Micros;
use reqwest::{Client, redirect::Policy};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use url::Url;

pub const SECRET: &str = "the client's secret";

/// What the provider gives for a code: what was asked for with it, and the answer.
struct Given {
    challenge: String,
    answer: Value,
}

#[derive(Default)]
pub struct Says {
    pub keys: Vec<Value>,
    pub discovery: Value,
    pub userinfo: Value,
    /// What is given for a refresh token: a status and an answer.
    pub refreshed: Option<(u16, Value)>,
    /// The refresh tokens that were brought.
    pub brought: Vec<String>,
    codes: HashMap<String, Given>,
}

#[derive(Clone)]
pub struct Op {
    pub url: String,
    pub says: Arc<Mutex<Says>>,
}

impl Op {
    pub async fn start(key: &Key) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let discovery = json!({
            "issuer": url, "jwks_uri": format!("{url}/keys"), "authorization_endpoint": format!("{url}/auth?tenant=1"),
            "token_endpoint": format!("{url}/token"), "userinfo_endpoint": format!("{url}/me"),
            "end_session_endpoint": format!("{url}/leave"), "authorization_response_iss_parameter_supported": true,
        });
        let says = Says { keys: vec![key.jwk.clone()], discovery, ..Says::default() };
        let op = Self { url, says: Arc::new(Mutex::new(says)) };
        let app = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(async |State(op): State<Self>| Json(op.says.lock().discovery.clone())),
            )
            .route("/keys", get(async |State(op): State<Self>| Json(json!({ "keys": op.says.lock().keys }))))
            .route("/me", get(async |State(op): State<Self>| Json(op.says.lock().userinfo.clone())))
            .route("/token", post(token))
            .with_state(op.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        op
    }
}

/// As RFC 6749 says, and as strict as it may be.
async fn token(State(op): State<Op>, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) -> Response {
    let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("postern:the+client%27s+secret"));
    if headers.get("authorization").is_none_or(|given| given.to_str().unwrap() != basic) {
        return refused("invalid_client");
    }
    let mut says = op.says.lock();
    if form["grant_type"] == "refresh_token" {
        says.brought.push(form["refresh_token"].clone());
        let (status, answer) = says.refreshed.clone().unwrap_or((400, json!({ "error": "invalid_grant" })));
        return (StatusCode::from_u16(status).unwrap(), Json(answer)).into_response();
    }
    let Some(given) = says.codes.remove(&form["code"]) else { return refused("invalid_grant") };
    let challenge = BASE64URL.encode(digest(&SHA256, form["code_verifier"].as_bytes()).as_ref());
    if given.challenge != challenge || !form["redirect_uri"].ends_with("/oauth/callback/corp") {
        return refused("invalid_grant");
    }
    Json(given.answer).into_response()
}

/// A control plane, its provider `corp`, and the usual connection.
pub struct Stage {
    pub running: Running,
    pub op: Op,
    pub key: Key,
    pub http: Client,
    _folder: tempfile::TempDir,
}

/// A sign-in that was begun.
pub struct Begun {
    pub cookie: String,
    pub query: HashMap<String, String>,
}

/// What came of one.
pub struct Done {
    pub status: u16,
    pub location: String,
    /// The session's cookie.
    pub session: Option<String>,
    pub text: String,
}

impl Done {
    pub async fn of(answer: reqwest::Response) -> Self {
        let status = answer.status().as_u16();
        let header = |name: &str| {
            answer.headers().get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let location = header("location").pop().unwrap_or_default();
        let session = header("set-cookie").into_iter().find(|set| set.starts_with("postern=posternweb_"));
        let session = session.map(|set| set.split(';').next().unwrap().to_owned());
        Self { status, location, session, text: answer.text().await.unwrap() }
    }
}

impl Stage {
    pub async fn new() -> Self {
        let key = Key::elliptic("one");
        let op = Op::start(&key).await;
        let folder = tempfile::tempdir().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(folder.path().to_owned(), any, any);
        config.identity.check_every = Duration::from_secs(1);
        let secret = folder.path().join("secret");
        std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
        config.identity.secrets.insert("corp-oidc".to_owned(), SecretSource::File(secret));
        let running = start(config).await.unwrap();
        let core = &running.core;
        let make = async |kind, name: &str, groups: &[&str], admin| {
            let token = SecretString::from(format!("postern_{name}"));
            core.bootstrap_principal_token(kind, name, groups, admin, admin, &token).await.unwrap();
        };
        make(PrincipalKind::User, "admin", &["admins"], true).await;
        make(PrincipalKind::User, "local", &["dba"], false).await;
        make(PrincipalKind::Agent, "ci", &["agents"], false).await;
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        let stage = Self { running, op, key, http, _folder: folder };
        let role =
            json!({ "mode": "login", "database_role": "shop", "groups": ["agents", "ops"], "reviewers": ["dba"] });
        let connection = |name: &str, reviews: Value| {
            json!({ "kind": "Connection", "name": name, "database": "postgresql://127.0.0.1/shop", "connector": "dev",
                "roles": { "read": role }, "reviews": reviews })
        };
        let careful = connection("careful", json!({ "fresh": "5m", "acr": ["phr"] }));
        stage.apply(vec![stage.provider(), connection("demo", json!({})), careful]).await;
        stage
    }

    pub fn provider(&self) -> Value {
        json!({
            "kind": "IdentityProvider", "name": "corp",
            "oidc": { "url": self.op.url, "client_id": "postern", "client_secret": "corp-oidc" },
            "groups": { "claim": "groups" },
        })
    }

    pub async fn apply(&self, documents: Vec<Value>) {
        let sourced = |document| SourcedDocument { source: Source::default(), document };
        self.running.core.apply(documents.into_iter().map(sourced).collect(), false, None).await.unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.http_addr)
    }

    /// Begins to sign in.
    pub async fn begin(&self, more: &str) -> Begun {
        let answer = self.http.get(self.url(&format!("/oauth/login/corp{more}"))).send().await.unwrap();
        assert_eq!(answer.status(), 303, "{more}");
        let location: Url = answer.headers()["location"].to_str().unwrap().parse().unwrap();
        let set = answer.headers()["set-cookie"].to_str().unwrap();
        assert!(set.contains("; HttpOnly; SameSite=Lax"), "{set}");
        let query = location.query_pairs().into_owned().collect();
        Begun { cookie: set.split(';').next().unwrap().to_owned(), query }
    }

    /// What the provider says of somebody in this sign-in.
    pub fn claims(&self, begun: &Begun) -> Value {
        let now = Micros::now().0 / 1_000_000;
        json!({
            "iss": self.op.url, "aud": "postern", "sub": "s1", "nonce": begun.query["nonce"], "iat": now, "exp": now + 300,
            "auth_time": now, "preferred_username": "zoe", "groups": ["ops", "dba"], "sid": "session-1", "acr": "phr",
        })
    }

    /// The provider gives this for the code `CODE`.
    pub fn give(&self, begun: &Begun, answer: Value) {
        let given = Given { challenge: begun.query["code_challenge"].clone(), answer };
        self.op.says.lock().codes.insert("CODE".to_owned(), given);
    }

    /// The tokens that go with an id token.
    pub fn tokens(&self, id_token: &str) -> Value {
        json!({ "id_token": id_token, "access_token": "at", "token_type": "Bearer", "refresh_token": "refresh-1" })
    }

    /// Comes back from the provider.
    pub async fn back(&self, path: &str, cookie: Option<&str>, query: &[(&str, &str)]) -> Done {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let mut request = self.http.get(self.url(&format!("{path}?{query}")));
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        Done::of(request.send().await.unwrap()).await
    }

    /// As a browser does that the provider sends back.
    pub async fn finish(&self, begun: &Begun) -> Done {
        let query = [("code", "CODE"), ("state", &begun.query["state"]), ("iss", &self.op.url)];
        self.back("/oauth/callback/corp", Some(&begun.cookie), &query).await
    }

    /// Signs in with these claims changed.
    pub async fn with(&self, more: &str, change: impl FnOnce(&mut Value)) -> Done {
        let begun = self.begin(more).await;
        let mut claims = self.claims(&begun);
        change(&mut claims);
        self.give(&begun, self.tokens(&self.key.sign(&claims)));
        self.finish(&begun).await
    }

    /// Signs in; gives the session's cookie.
    pub async fn sign_in(&self) -> String {
        let done = self.with("?return_to=/inbox", |_| {}).await;
        assert_eq!((done.status, done.location.as_str()), (303, "/inbox"), "{}", done.text);
        done.session.unwrap()
    }

    /// A call of the console's pages, by this session.
    pub async fn call(&self, method: &str, path: &str, session: &str, body: Value) -> (u16, Value) {
        let own = self.url("");
        let request = self.http.request(method.parse().unwrap(), self.url(&format!("/api/v1{path}")));
        let request = request.header("cookie", session).header("x-postern-console", "1").header("origin", own);
        let answer = request.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// A call by a token.
    pub async fn by_token(&self, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
        let request = self.http.request(method.parse().unwrap(), self.url(&format!("/api/v1{path}")));
        let answer = request.bearer_auth(token).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    pub async fn whoami(&self, session: &str) -> (u16, Value) {
        let request = self.http.get(self.url("/api/v1/whoami")).header("cookie", session);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// What is recorded with this action, newest first.
    pub async fn recorded(&self, action: &str) -> Vec<Value> {
        let query = AuditQuery { limit: Some(1000), r#type: EventTypes::Control, ..AuditQuery::default() };
        let admin = self.actor("admin").await;
        let events = audit::search::search(&self.running.core.store, &admin, query).await.unwrap();
        let events = serde_json::to_value(events).unwrap();
        events.as_array().unwrap().iter().filter(|event| event["action"] == action).cloned().collect()
    }

    pub async fn actor(&self, name: &str) -> Actor {
        let mut tx = self.running.core.store.read().await.unwrap();
        let row = postern_control_plane::store::principals::by_name(&mut tx, PrincipalKind::User, name).await.unwrap();
        let principal: PrincipalRef = row.unwrap().principal;
        tokens::actor(&mut tx, &principal).await.unwrap().unwrap()
    }
}

/// Waits until something is so.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, mut so: F) {
    for _ in 0..200 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: not within 20 s");
}
