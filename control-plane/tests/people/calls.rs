//! Calls that other sites make with somebody's browser, or whoever has found, kept or made up a secret: each is refused, and
//! why is recorded. Beside each stands the twin that is accepted, before and after.

use crate::op::Stage;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::time::Duration;

/// What is sent, beside what a good call has.
struct Attempt {
    name: &'static str,
    call: &'static str,
    headers: Vec<(&'static str, String)>,
}

fn attempt(name: &'static str, call: &'static str, headers: &[(&'static str, &str)]) -> Attempt {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Attempt { name, call, headers }
}

impl Stage {
    fn prepared(&self, call: &str, headers: &[(&'static str, String)]) -> RequestBuilder {
        let (method, path) = call.split_once(' ').unwrap();
        let request = self.http.request(method.parse::<Method>().unwrap(), self.url(&format!("/api/v1{path}")));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, value))
    }

    /// Refused so, and why is in the audit.
    async fn turned_away(&self, attempt: &Attempt, body: &Value, status: u16, why: &str) {
        let Attempt { name, call, headers } = attempt;
        let before = self.recorded("call.refused").await.len();
        let answer = self.prepared(call, headers).json(body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{name}");
        assert!(!answer.headers().contains_key("set-cookie"), "{name}");
        let recorded = self.recorded("call.refused").await;
        assert_eq!(recorded.len(), before + 1, "{name}");
        let said = recorded[0]["detail"]["why"].as_str().unwrap();
        assert!(said.contains(why), "{name}: {said}");
        assert_eq!(recorded[0]["subject"], *call, "{name}");
    }
}

/// Cross-site request forgery: what another site makes a browser send that has a session.
#[tokio::test]
async fn what_other_sites_make_a_browser_send() {
    let stage = Stage::new().await;
    stage.op.says.lock().refreshed = Some((503, json!({})));
    let session = stage.sign_in().await;
    let own = stage.url("");
    let (console, cookie) = (("x-postern-console", "1"), ("cookie", session.as_str()));
    let evil = ("origin", "https://evil.example.com");
    let longer = format!("{own}.evil.example.com");
    let user = format!("http://{}@evil.example.com", own.trim_start_matches("http://"));
    let tls = own.replace("http://", "https://");
    let make = "POST /tokens";
    let attempts = [
        attempt("a form", make, &[cookie]),
        attempt("a form that says where it is", make, &[cookie, evil]),
        attempt("a form of text", make, &[cookie, evil, ("content-type", "text/plain")]),
        attempt("without the console's header", make, &[cookie, ("origin", &own)]),
        attempt("without an origin", make, &[cookie, console]),
        attempt("of another site", make, &[cookie, console, evil]),
        attempt("of one whose name begins alike", make, &[cookie, console, ("origin", &longer)]),
        attempt("of one that has ours as its user", make, &[cookie, console, ("origin", &user)]),
        attempt("of our host by another scheme", make, &[cookie, console, ("origin", &tls)]),
        attempt("of our host at another port", make, &[cookie, console, ("origin", "http://127.0.0.1:1")]),
        attempt("of our host without a port", make, &[cookie, console, ("origin", "http://127.0.0.1")]),
        attempt("of nowhere", make, &[cookie, console, ("origin", "null")]),
        attempt("of no site", make, &[cookie, console, ("origin", "")]),
        attempt("by the browser's word", make, &[cookie, console, ("origin", &own), ("sec-fetch-site", "cross-site")]),
        attempt("of a sister site", make, &[cookie, console, ("origin", &own), ("sec-fetch-site", "same-site")]),
        attempt("a script that reads", "GET /whoami", &[cookie, evil]),
        attempt("an image", "GET /whoami", &[cookie, ("sec-fetch-site", "cross-site")]),
        attempt("that follows the events", "GET /events", &[cookie, evil]),
        attempt("that signs out", "DELETE /web/session", &[cookie, console, evil]),
        attempt("that signs out everywhere", "DELETE /web/sessions", &[cookie, console, evil]),
        attempt("that says yes", "POST /requests/req_00000000000000000000000000/approve", &[cookie, console, evil]),
        attempt("that signs a command line in", "POST /web/devices/BCDF-GHJK/approve", &[cookie, console, evil]),
    ];
    let tokens =
        async || stage.by_token("GET", "/tokens", "postern_admin", json!({})).await.1.as_array().unwrap().len();
    let before = tokens().await;
    for attempt in &attempts {
        stage.turned_away(attempt, &json!({ "name": "theirs" }), 403, "the console's own pages").await;
    }
    // Nor is somebody signed in as another, whose token the site knows.
    let login = attempt("a sign-in", "POST /web/session", &[console, evil]);
    stage.turned_away(&login, &json!({ "token": "postern_local" }), 403, "the console's own pages").await;
    assert_eq!((stage.whoami(&session).await.0, tokens().await), (200, before), "nothing was done");
    assert_eq!(stage.call("POST", "/tokens", &session, json!({ "name": "mine" })).await.0, 200);
    assert_eq!(tokens().await, before + 1);
}

/// Session fixation, and cookies that are none (any more).
#[tokio::test]
async fn what_stands_in_a_sessions_place() {
    let stage = Stage::new().await;
    stage.op.says.lock().refreshed = Some((503, json!({})));
    let begun = stage.begin("").await;
    let (_, waiting) = begun.cookie.split_once('=').unwrap();
    let gone = stage.sign_in().await;
    assert_eq!(stage.call("DELETE", "/web/session", &gone, json!({})).await.0, 200);
    let session = stage.sign_in().await;
    let planted = "postern=posternweb_plantedplantedplantedplantedplantedplant";
    let cookies = [
        ("planted", planted.to_owned()),
        ("planted before the good one", format!("{planted}; {session}")),
        ("of a session that was ended", gone),
        ("of a sign-in that has begun", format!("postern={waiting}")),
        ("cut short", session[..session.len() - 1].to_owned()),
        ("one letter longer", format!("{session}x")),
        ("in capitals", session.replace("posternweb_", "POSTERNWEB_")),
        ("too long", format!("postern=posternweb_{}", "x".repeat(4000))),
        ("empty", "postern=".to_owned()),
        ("an API token", "postern=postern_admin".to_owned()),
    ];
    for (name, cookie) in cookies {
        let attempt = attempt(name, "GET /whoami", &[("cookie", &cookie)]);
        stage.turned_away(&attempt, &json!({}), 401, "the browser's session is over").await;
    }
    assert_eq!(stage.whoami(&session).await.0, 200);
    assert_eq!(stage.whoami(&format!("other=x; {session}")).await.0, 200);
}

/// Bearer tokens that are none (any more), or are for something else.
#[tokio::test]
async fn what_stands_in_a_tokens_place() {
    let stage = Stage::new().await;
    stage.op.says.lock().refreshed = Some((503, json!({})));
    let session = stage.sign_in().await;
    let make = async |body: Value| {
        let (status, made) = stage.by_token("POST", "/tokens", "postern_admin", body).await;
        assert_eq!(status, 200, "{made}");
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("id"), text("token"))
    };
    let (id, deleted) = make(json!({ "name": "deleted" })).await;
    assert_eq!(stage.by_token("DELETE", &format!("/tokens/{id}"), "postern_admin", json!({})).await.0, 204);
    let expired = make(json!({ "name": "expired", "expires": "1s" })).await.1;
    let scim = json!({ "name": "scim", "principal": { "kind": "agent", "name": "ci" }, "may": ["scim"] });
    let scim = make(scim).await.1;
    let good = make(json!({ "name": "good" })).await.1;
    let join = json!({ "kind": "connector", "name": "dev" });
    let (_, join) = stage.by_token("POST", "/join-tokens", "postern_admin", join).await;
    let device = stage.http.post(stage.url("/oauth/device_authorization")).send().await.unwrap();
    let device: Value = device.json().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let tokens = [
        ("made up", "postern_madeupmadeupmadeupmadeupmadeup".to_owned()),
        ("deleted", deleted),
        ("expired", expired),
        ("for SCIM", scim),
        ("cut short", good[..good.len() - 1].to_owned()),
        ("one letter longer", format!("{good}x")),
        ("in capitals", good.to_uppercase()),
        ("twice", format!("{good} {good}")),
        ("too long", format!("postern_{}", "x".repeat(4000))),
        ("a browser's cookie", session.split_once('=').unwrap().1.to_owned()),
        ("a device code", device["device_code"].as_str().unwrap().to_owned()),
        ("a join token", join["token"].as_str().unwrap().to_owned()),
        ("a provider's access token", "at".to_owned()),
        ("a provider's identity token", stage.key.sign(&stage.claims(&stage.begin("").await))),
    ];
    for (name, token) in tokens {
        let attempt = attempt(name, "GET /whoami", &[("authorization", &format!("Bearer {token}"))]);
        stage.turned_away(&attempt, &json!({}), 401, "unknown, expired, revoked").await;
    }
    // Where a browser gives one for a session.
    let (own, console) = (stage.url(""), ("x-postern-console", "1"));
    let login = attempt("in the console", "POST /web/session", &[console, ("origin", &own)]);
    stage.turned_away(&login, &json!({ "token": "postern_madeup" }), 401, "unknown, expired or revoked").await;
    assert_eq!(stage.by_token("GET", "/whoami", &good, json!({})).await.0, 200);
}

/// Codes of command lines: guessed, used up, another's.
#[tokio::test]
async fn what_stands_in_a_command_lines_place() {
    const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
    let stage = Stage::new().await;
    stage.op.says.lock().refreshed = Some((503, json!({})));
    let session = stage.sign_in().await;
    let post = async |path: &str, form: &[(&str, &str)]| {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = stage.http.post(stage.url(path)).header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let begin = async || {
        let device = post("/oauth/device_authorization", &[]).await;
        let text = |name: &str| device[name].as_str().unwrap().to_owned();
        (text("device_code"), text("user_code"))
    };
    let fetch = async |code: &str| post("/oauth/token", &[("grant_type", GRANT), ("device_code", code)]).await;
    let answer = async |user_code: &str, answer: &str| {
        stage.call("POST", &format!("/web/devices/{user_code}/{answer}"), &session, json!({})).await.0
    };
    let ((used, used_code), (denied, denied_code), (orphan, orphan_code)) =
        (begin().await, begin().await, begin().await);
    assert_eq!(answer(&used_code, "approve").await, 200);
    assert!(fetch(&used).await["access_token"].is_string());
    assert_eq!(answer(&denied_code, "deny").await, 200);
    // Approved by a sign-in that is over before it is fetched.
    let brief = stage.sign_in().await;
    let approve = format!("/web/devices/{orphan_code}/approve");
    assert_eq!(stage.call("POST", &approve, &brief, json!({})).await.0, 200);
    assert_eq!(stage.call("DELETE", "/web/session", &brief, json!({})).await.0, 200);
    for (name, code, error, why) in [
        ("made up", "posterndev_madeup", "expired_token", "begin again"),
        ("empty", "", "expired_token", "begin again"),
        ("the user's code", used_code.as_str(), "expired_token", "begin again"),
        ("an API token", "postern_admin", "expired_token", "begin again"),
        ("used before", &used, "expired_token", "begin again"),
        ("of a sign-in that is over", &orphan, "expired_token", "begin again"),
        ("to which somebody said no", &denied, "access_denied", "said no"),
    ] {
        assert_eq!(fetch(code).await["error"], error, "{name}");
        let recorded = stage.recorded("call.refused").await;
        let said = recorded[0]["detail"]["why"].as_str().unwrap();
        assert!(recorded[0]["subject"] == "device code" && said.contains(why), "{name}: {said}");
    }
    // Guessed, answered already, and by somebody who has a token alone.
    let (waiting, waiting_code) = begin().await;
    for (name, code) in [("guessed", "BBBB-BBBB"), ("used", &used_code), ("denied", &denied_code), ("no code", "x")] {
        assert_eq!(answer(code, "approve").await, 404, "{name}");
        let said = stage.recorded("call.refused").await[0]["detail"]["why"].clone();
        assert!(said.as_str().unwrap().contains("no command line"), "{name}: {said}");
    }
    let by_token = format!("/web/devices/{waiting_code}/approve");
    assert_eq!(stage.by_token("POST", &by_token, "postern_local", json!({})).await.0, 403);
    let said = stage.recorded("call.refused").await[0]["detail"]["why"].clone();
    assert!(said.as_str().unwrap().contains("signs a command line in"), "{said}");
    assert_eq!(fetch(&waiting).await["error"], "authorization_pending", "nobody has answered it");
    assert_eq!(answer(&waiting_code, "approve").await, 200);
}
