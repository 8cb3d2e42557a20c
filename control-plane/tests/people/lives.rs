//! What a sign-in gives, and how it ends.

use crate::op::{Stage, until};
use postern_types::time::Micros;
use serde_json::{Value, json};

fn now() -> i64 {
    Micros::now().0 / 1_000_000
}

/// Who they are by a new token.
fn again(stage: &Stage, groups: &Value) -> Value {
    stage
        .key
        .sign(&json!({
            "iss": stage.op.url, "aud": "postern", "sub": "s1", "iat": now(), "exp": now() + 300, "groups": groups,
            "preferred_username": "zoe",
        }))
        .into()
}

#[tokio::test]
async fn who_signs_in_is_a_user_and_may_what_the_groups_may() {
    let stage = Stage::new().await;
    stage.op.says.lock().refreshed = Some((503, json!({})));
    let session = stage.sign_in().await;
    let (status, me) = stage.whoami(&session).await;
    assert_eq!((status, &me["name"], &me["groups"]), (200, &json!("zoe"), &json!(["dba", "ops"])));
    assert_eq!((&me["signed_in"]["provider"], &me["signed_in"]["acr"]), (&json!("corp"), &json!("phr")));
    // No group makes an admin.
    let done = stage.with("", |claims| claims["groups"] = json!(["admins", "ops"])).await;
    let (_, me) = stage.whoami(&done.session.unwrap()).await;
    assert_eq!(me["roles"], json!([]), "{me}");
    // Their browsers, one of which they sign out.
    let (_, list) = stage.call("GET", "/web/sessions", &session, json!({})).await;
    let list = list.as_array().unwrap();
    let (own, others): (Vec<_>, Vec<_>) = list.iter().partition(|one| one["current"] == true);
    assert_eq!((own.len(), others.len()), (1, 1), "{list:?}");
    let other = format!("/web/sessions/{}", others[0]["id"].as_str().unwrap());
    let stranger = stage.by_token("DELETE", &other, "postern_local", json!({})).await;
    assert_eq!(stranger.0, 404, "somebody else's");
    assert_eq!(stage.call("DELETE", &other, &session, json!({})).await.0, 204);
    let (_, list) = stage.call("GET", "/web/sessions", &session, json!({})).await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    // They sign out, here and there.
    let (status, out) = stage.call("DELETE", "/web/session", &session, json!({})).await;
    let leave = out["continue_at"].as_str().unwrap();
    assert!(
        status == 200 && leave.starts_with(&format!("{}/leave?client_id=postern&id_token_hint=ey", stage.op.url)),
        "{out}"
    );
    assert_eq!(stage.whoami(&session).await.0, 401);
    // The document is changed: whoever was let in by the one before signs in again.
    let session = stage.sign_in().await;
    stage.apply(vec![stage.provider()]).await;
    assert_eq!(stage.whoami(&session).await.0, 200, "said again, nothing changes");
    let mut changed = stage.provider();
    changed["groups"]["names"] = json!({ "ops": "ops" });
    stage.apply(vec![changed]).await;
    assert_eq!(stage.whoami(&session).await.0, 401);
}

#[tokio::test]
async fn the_provider_is_asked_again_and_again() {
    let stage = Stage::new().await;
    let gives = |groups: Value, refresh: &str| {
        let answer = json!({ "id_token": again(&stage, &groups), "access_token": "at", "refresh_token": refresh });
        stage.op.says.lock().refreshed = Some((200, answer));
    };
    gives(json!(["ops"]), "refresh-2");
    let session = stage.sign_in().await;
    let brought = |token: &str| stage.op.says.lock().brought.iter().any(|one| one == token);
    until("it takes the next refresh token", async || brought("refresh-1") && brought("refresh-2")).await;
    let (_, me) = stage.whoami(&session).await;
    assert_eq!(me["groups"], json!(["ops"]), "they were taken out of the other");
    // It does not answer: nobody is removed for that.
    stage.op.says.lock().refreshed = Some((503, json!({})));
    let asked = stage.op.says.lock().brought.len();
    until("it is asked again", async || stage.op.says.lock().brought.len() > asked + 1).await;
    assert_eq!(stage.whoami(&session).await.0, 200);
    // A token of somebody else's.
    gives(json!(["ops"]), "refresh-3");
    until("it is asked with that one", async || brought("refresh-3")).await;
    assert_eq!(stage.whoami(&session).await.0, 200);
    gives(json!([]), "refresh-4");
    until("all groups were taken from them", async || stage.whoami(&session).await.0 == 401).await;
    let removed = stage.recorded("user.removed").await;
    assert!(removed[0]["detail"]["why"].as_str().unwrap().contains("no group"), "{removed:?}");
}

#[tokio::test]
async fn who_is_gone_there_has_nothing_here() {
    let stage = Stage::new().await;
    let answer = json!({ "id_token": again(&stage, &json!(["ops"])), "access_token": "at" });
    stage.op.says.lock().refreshed = Some((200, answer));
    let session = stage.sign_in().await;
    // An agent acts for them, they have asked for something, and they have a token that has no end.
    let ask = |on_behalf_of: Option<&str>| json!({ "connection": "demo", "role": "read", "duration": "10m", "reason": "a test", "on_behalf_of": on_behalf_of });
    let (_, request) = stage.by_token("POST", "/requests", "postern_ci", ask(Some("zoe"))).await;
    let id = request["id"].as_str().unwrap().to_owned();
    let (status, approved) =
        stage.by_token("POST", &format!("/requests/{id}/approve"), "postern_local", json!({})).await;
    assert_eq!((status, &approved["status"]), (200, &json!("approved")), "{approved}");
    let (_, own) = stage.call("POST", "/requests", &session, ask(None)).await;
    let (_, token) = stage.call("POST", "/tokens", &session, json!({ "name": "for ever" })).await;
    let token = token["token"].as_str().unwrap().to_owned();
    assert_eq!(stage.by_token("GET", "/whoami", &token, json!({})).await.0, 200);

    stage.op.says.lock().refreshed = None;
    until("the session is over", async || stage.whoami(&session).await.0 == 401).await;
    assert_eq!(stage.by_token("GET", "/whoami", &token, json!({})).await.0, 401);
    let (_, grants) = stage.by_token("GET", "/grants", "postern_ci", json!({})).await;
    assert_eq!(grants, json!([]), "the agent's for them");
    let path = format!("/requests/{}", own["id"].as_str().unwrap());
    assert_eq!(stage.by_token("GET", &path, "postern_admin", json!({})).await.1["status"], "withdrawn");
    assert_eq!(stage.by_token("POST", "/requests", "postern_ci", ask(Some("zoe"))).await.0, 400);
    assert_eq!(stage.by_token("POST", "/requests", "postern_ci", ask(None)).await.0, 200, "what is not for them");
    // They are back, and begin with nothing.
    stage.sign_in().await;
    assert_eq!(stage.by_token("GET", "/whoami", &token, json!({})).await.0, 401);
}

#[tokio::test]
async fn who_approves_with_care_has_just_signed_in() {
    let stage = Stage::new().await;
    stage.op.says.lock().refreshed = Some((503, json!({})));
    let ask = json!({ "connection": "careful", "role": "read", "duration": "10m", "reason": "a test" });
    let (_, request) = stage.by_token("POST", "/requests", "postern_ci", ask).await;
    let approve = format!("/requests/{}/approve", request["id"].as_str().unwrap());
    let (status, by_token) = stage.by_token("POST", &approve, "postern_local", json!({})).await;
    assert_eq!((status, &by_token["error"]["code"]), (403, &json!("reauthenticate")), "{by_token}");
    for (name, change) in [("auth_time", json!(now() - 400)), ("acr", json!("pwd"))] {
        let old = stage.with("", |claims| claims[name] = change).await.session.unwrap();
        let (status, refused) = stage.call("POST", &approve, &old, json!({})).await;
        assert_eq!((status, &refused["error"]["code"]), (403, &json!("reauthenticate")), "{refused}");
        assert_eq!(refused["error"]["continue_at"], "/oauth/login/corp?fresh=true&acr=phr");
    }
    let fresh = stage.with("?fresh=true&acr=phr", |_| {}).await.session.unwrap();
    let (status, approved) = stage.call("POST", &approve, &fresh, json!({})).await;
    assert_eq!((status, &approved["status"]), (200, &json!("approved")), "{approved}");
}

#[tokio::test]
async fn a_command_line_is_signed_in_from_the_console() {
    let stage = Stage::new().await;
    stage.op.says.lock().refreshed = Some((503, json!({})));
    let session = stage.sign_in().await;
    let post = async |path: &str, form: &[(&str, &str)]| {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = stage.http.post(stage.url(path)).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let ask = async || post("/oauth/device_authorization", &[("client_id", "postern-cli")]).await.1;
    let fetch = async |device: &Value| {
        let code = device["device_code"].as_str().unwrap();
        let form = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", code)];
        post("/oauth/token", &form).await
    };
    let device = ask().await;
    let code = device["user_code"].as_str().unwrap();
    assert_eq!(device["verification_uri_complete"], stage.url(&format!("/device?code={code}")));
    assert_eq!(fetch(&device).await.1["error"], "authorization_pending");
    assert_eq!(fetch(&device).await.1["error"], "slow_down");
    // Who has a token alone, whoever guesses, and another site's page.
    let path = format!("/web/devices/{code}");
    let approve = format!("{path}/approve");
    assert_eq!(stage.by_token("POST", &approve, "postern_local", json!({})).await.0, 403);
    assert_eq!(stage.call("POST", "/web/devices/BBBB-BBBB/approve", &session, json!({})).await.0, 404);
    for origin in [None, Some("https://evil.example.com")] {
        let mut request = stage.http.post(stage.url(&format!("/api/v1{approve}"))).header("cookie", &session);
        if let Some(origin) = origin {
            request = request.header("x-postern-console", "1").header("origin", origin);
        }
        assert_eq!(request.send().await.unwrap().status(), 403, "{origin:?}");
    }
    assert_eq!(stage.call("GET", &path, &session, json!({})).await.1["user_code"], code);
    assert_eq!(stage.call("POST", &approve, &session, json!({})).await.0, 200);
    assert_eq!(stage.call("POST", &approve, &session, json!({})).await.0, 404, "once");
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    let (status, given) = fetch(&device).await;
    assert_eq!(status, 200, "{given}");
    let token = given["access_token"].as_str().unwrap();
    let me = stage.by_token("GET", "/whoami", token, json!({})).await.1;
    assert_eq!((&me["name"], &me["signed_in"]["provider"]), (&json!("zoe"), &json!("corp")));
    assert_eq!(fetch(&device).await.1["error"], "expired_token", "a token is given once");
    // Somebody says no.
    let denied = ask().await;
    let deny = format!("/web/devices/{}/deny", denied["user_code"].as_str().unwrap());
    assert_eq!(stage.call("POST", &deny, &session, json!({})).await.0, 200);
    assert_eq!(fetch(&denied).await.1["error"], "access_denied");
    assert_eq!(
        post("/oauth/token", &[("grant_type", "urn:ietf:params:oauth:grant-type:device_code")]).await.1["error"],
        "invalid_request"
    );
    assert_eq!(fetch(&json!({ "device_code": "posterndev_madeup" })).await.1["error"], "expired_token");
    // It ends with the sign-in.
    assert_eq!(stage.call("DELETE", "/web/session", &session, json!({})).await.0, 200);
    assert_eq!(stage.by_token("GET", "/whoami", token, json!({})).await.0, 401);
    // Where nobody signs in, no command line does.
    stage.apply(vec![json!({ "kind": "IdentityProvider", "name": "corp", "delete": true })]).await;
    assert_eq!(ask().await["error"], "unauthorized_client");
}
