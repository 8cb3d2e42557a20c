//! Machines that come with their platform's token or with a certificate: which of them buy one of Postern's, and which do not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod authority;
mod behalf;
mod certificates;
mod hostile;
mod issuer;
mod job;

use issuer::{Issuer, Key};
use postern_api::{
    audit::{AuditQuery, EventTypes},
    error::ErrorCode,
    identity::CreateToken,
    issuer::ExchangedToken,
};
use postern_control_plane::{
    apply, audit,
    identity::{
        self, Caller,
        issuers::{Exchange, NotExchanged},
        tokens,
    },
    outward, requests,
    store::Store,
};
use postern_types::time::Micros;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::time::Duration;
use support::{Cast, LIFETIME, apply_all, ask, sqlite, told, world};

/// What GitHub says of a job's token, as its documentation lists the claims.
fn github(url: &str) -> Value {
    let now = Micros::now().0 / 1_000_000;
    json!({
        "iss": url, "aud": "https://postern.example.com", "sub": "repo:acme/shop:ref:refs/heads/main",
        "jti": "0cfb1f5d", "iat": now, "nbf": now - 5, "exp": now + 300,
        "repository": "acme/shop", "repository_id": "74", "repository_owner": "acme", "ref": "refs/heads/main",
        "ref_type": "branch", "actor": "octocat", "event_name": "push", "workflow": "deploy", "run_attempt": "1",
        "job_workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main", "runner_environment": "github-hosted",
    })
}

/// A stage: a store with the usual cast, and an issuer whose tokens are the agent `ci`.
struct Stage {
    store: Store,
    cast: Cast,
    issuer: Issuer,
    key: Key,
    exchange: Exchange,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new(key: Key) -> Self {
        let (store, folder) = sqlite().await;
        let cast = world(&store).await;
        let issuer = Issuer::start(&[&key]).await;
        let stage =
            Self { store, cast, issuer, key, exchange: Exchange::new(outward::client().unwrap()), _folder: folder };
        stage.apply(stage.document()).await.unwrap();
        stage
    }

    fn document(&self) -> Value {
        json!({
            "kind": "Issuer", "name": "github", "url": self.issuer.url, "audience": "https://postern.example.com",
            "agents": [{
                "agent": "ci", "may": ["demo/read"],
                "when": { "repository": "acme/shop", "ref": ["refs/heads/main", "refs/heads/next"] },
            }],
        })
    }

    async fn apply(&self, document: Value) -> Result<(), postern_control_plane::problem::Problem> {
        apply_all(&self.store, &self.cast.admin, &[document], false).await.map(drop)
    }

    async fn bring(&self, token: &str) -> Result<ExchangedToken, NotExchanged> {
        self.exchange.exchange(&self.store, &SecretString::from(token.to_owned()), Micros::now()).await
    }

    async fn caller(&self, token: &ExchangedToken) -> Option<Caller> {
        let token = SecretString::from(token.access_token.clone());
        identity::authenticate(&self.store, &token, &Default::default(), Micros::now()).await.unwrap()
    }

    /// What is recorded with this action.
    async fn recorded(&self, action: &str) -> Vec<Value> {
        let query = AuditQuery { limit: Some(1000), r#type: EventTypes::Control, ..AuditQuery::default() };
        let events = audit::search::search(&self.store, &self.cast.admin, query).await.unwrap();
        let events = serde_json::to_value(events).unwrap();
        events.as_array().unwrap().iter().filter(|event| event["action"] == action).cloned().collect()
    }
}

#[tokio::test]
async fn a_platforms_token_buys_one_of_posterns() {
    for key in [Key::elliptic("one"), Key::rsa("two")] {
        let stage = Stage::new(key).await;
        let token = stage.bring(&stage.key.sign(&github(&stage.issuer.url))).await.unwrap();
        assert_eq!((token.token_type.as_str(), token.expires_in), ("Bearer", 900));
        let caller = stage.caller(&token).await.unwrap();
        assert_eq!(caller.actor.principal, stage.cast.agent.principal);
        assert_eq!(caller.token.may, Some(vec!["demo/read".to_owned()]));
        // For what it is narrowed to, and for nothing else.
        let body = ask("read");
        requests::submit(&stage.store, &caller.actor, &body, LIFETIME, Micros::now()).await.unwrap();
        for role in ["write", "open"] {
            let refused = requests::submit(&stage.store, &caller.actor, &ask(role), LIFETIME, Micros::now()).await;
            assert_eq!(told(refused.unwrap_err()).code, ErrorCode::Forbidden, "{role}");
        }
        let more = CreateToken { principal: None, name: "more".to_owned(), expires: None, may: None };
        assert!(tokens::create(&stage.store, &caller.actor, &more, Micros::now()).await.is_err());
        let [event] = stage.recorded("token.exchanged").await.try_into().unwrap();
        assert_eq!(event["detail"]["claims"]["repository"], "acme/shop", "{event}");
    }
}

#[tokio::test]
async fn it_ends_by_itself_with_its_issuer_and_with_its_agent() {
    let stage = Stage::new(Key::elliptic("one")).await;
    let bring = async || stage.bring(&stage.key.sign(&github(&stage.issuer.url))).await;
    let token = bring().await.unwrap();
    let bearer = SecretString::from(token.access_token.clone());
    let later = Micros::now().plus(Duration::from_secs(901));
    assert!(identity::authenticate(&stage.store, &bearer, &Default::default(), later).await.unwrap().is_none());
    assert!(stage.caller(&token).await.is_some());

    // The issuer is changed: what was given for the old conditions is worth nothing.
    let mut changed = stage.document();
    changed["agents"][0]["lifetime"] = json!("1h");
    stage.apply(changed.clone()).await.unwrap();
    assert!(stage.caller(&token).await.is_none());
    let token = bring().await.unwrap();
    assert_eq!(token.expires_in, 3600);
    // Said again, nothing changes.
    stage.apply(changed).await.unwrap();
    assert!(stage.caller(&token).await.is_some());

    let agent = |disabled| json!({ "kind": "Agent", "name": "ci", "groups": ["agents"], "disabled": disabled });
    stage.apply(agent(true)).await.unwrap();
    assert!(stage.caller(&token).await.is_none());
    assert!(matches!(bring().await, Err(NotExchanged::Disabled(_))));
    stage.apply(agent(false)).await.unwrap();
    assert!(bring().await.is_ok());

    stage.apply(json!({ "kind": "Issuer", "name": "github", "delete": true })).await.unwrap();
    assert!(stage.caller(&token).await.is_none());
    assert!(matches!(bring().await, Err(NotExchanged::UnknownIssuer(_))));
}

#[tokio::test]
async fn keys_change_and_are_not_asked_for_too_often() {
    let stage = Stage::new(Key::elliptic("one")).await;
    let claims = github(&stage.issuer.url);
    for _ in 0..3 {
        stage.bring(&stage.key.sign(&claims)).await.unwrap();
    }
    assert_eq!(stage.issuer.fetched(), 1);
    let next = Key::rsa("two");
    stage.issuer.publish(&[&stage.key, &next]);
    // Just fetched: whoever sends tokens with made-up keys does not make Postern call the issuer each time.
    for _ in 0..20 {
        assert!(stage.bring(&Key::elliptic("three").sign(&claims)).await.is_err());
    }
    assert_eq!(stage.issuer.fetched(), 1);
    tokio::time::sleep(Duration::from_millis(5100)).await;
    stage.bring(&next.sign(&claims)).await.unwrap();
    stage.bring(&stage.key.sign(&claims)).await.unwrap();
    assert_eq!(stage.issuer.fetched(), 2);
}

#[tokio::test]
async fn an_issuer_is_known_by_what_its_document_says() {
    let stage = Stage::new(Key::elliptic("one")).await;
    let with = |path: &str, value: Value| {
        let mut document = stage.document();
        *document.pointer_mut(path).unwrap() = value;
        document
    };
    let wrong = [
        ("url", with("/url", json!("http://token.example.com"))),
        ("url", with("/url", json!("https://token.example.com/?tenant=1"))),
        ("url", with("/url", json!("token.example.com"))),
        ("audience", with("/audience", json!(" "))),
        ("agents", with("/agents", json!([]))),
        ("agents[0].agent", with("/agents/0/agent", json!("nobody"))),
        ("agents[0].when", with("/agents/0/when", json!({}))),
        ("agents[0].may", with("/agents/0/may", json!(["demo"]))),
        ("agents[0].may", with("/agents/0/may", json!([]))),
    ];
    for (field, document) in wrong {
        let error = told(stage.apply(document.clone()).await.unwrap_err());
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::Invalid, Some(field)), "{document} {error:?}");
    }
    let mut lifetime = stage.document();
    lifetime["agents"][0]["lifetime"] = json!("25h");
    assert_eq!(told(stage.apply(lifetime).await.unwrap_err()).field.as_deref(), Some("agents[0].lifetime"));
    let mut twin = stage.document();
    twin["name"] = json!("another");
    assert_eq!(told(stage.apply(twin).await.unwrap_err()).field.as_deref(), Some("url"));
    let documents = support::documents(&[stage.document()], false);
    let plan = apply::plan(&stage.store, &stage.cast.dba, &documents, Micros::now());
    assert_eq!(told(plan.await.unwrap_err()).code, ErrorCode::Forbidden);
}

/// The claims that other platforms document.
#[tokio::test]
async fn other_platforms_claims() {
    let stage = Stage::new(Key::rsa("one")).await;
    let now = Micros::now().0 / 1_000_000;
    let issuer = &stage.issuer.url;
    let gitlab = json!({
        "iss": issuer, "aud": "https://postern.example.com", "sub": "project_path:acme/shop:ref_type:branch:ref:main",
        "iat": now, "nbf": now - 5, "exp": now + 3600, "project_id": "22", "project_path": "acme/shop", "ref": "main",
        "ref_protected": "true", "pipeline_source": "push", "namespace_path": "acme", "job_id": "302",
    });
    let kubernetes = json!({
        "iss": issuer, "aud": ["https://postern.example.com"], "sub": "system:serviceaccount:jobs:nightly",
        "iat": now, "nbf": now, "exp": now + 3600,
        "kubernetes.io": { "namespace": "jobs", "serviceaccount": { "name": "nightly", "uid": "4f" }, "pod": { "name": "p" } },
    });
    for (when, claims, near) in [
        (
            json!({ "project_path": "acme/shop", "ref_protected": "true" }),
            gitlab,
            ("/project_path", json!("acme/shop2")),
        ),
        (
            json!({ "/kubernetes.io/namespace": "jobs", "/kubernetes.io/serviceaccount/name": "nightly" }),
            kubernetes,
            ("/kubernetes.io/namespace", json!("default")),
        ),
    ] {
        let mut document = stage.document();
        document["agents"][0]["when"] = when;
        stage.apply(document).await.unwrap();
        stage.bring(&stage.key.sign(&claims)).await.unwrap();
        let mut other = claims.clone();
        *other.pointer_mut(near.0).unwrap() = near.1;
        assert!(matches!(stage.bring(&stage.key.sign(&other)).await, Err(NotExchanged::Nobody)));
    }
}
