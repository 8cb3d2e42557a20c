//! Tokens, answers and requests that are not what they say: each is refused, and why is recorded. Beside each stands the twin
//! that is accepted, before and after.

use crate::{
    issuer::Key,
    op::{SECRET, Stage, until},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postern_types::time::Micros;
use serde_json::{Value, json};

fn now() -> i64 {
    Micros::now().0 / 1_000_000
}

/// Nobody was signed in, the page says why, and so does the audit.
pub async fn refused(stage: &Stage, name: &str, done: crate::op::Done, why: &str) {
    assert!(done.session.is_none() && done.status >= 400, "{name}: {} {}", done.status, done.text);
    let recorded = stage.recorded("sign_in.refused").await;
    let said = recorded[0]["detail"]["why"].as_str().unwrap();
    assert!(said.contains(why), "{name}: {said}");
}

type Change = Box<dyn FnOnce(&mut Value)>;

fn set(name: &'static str, value: Value) -> Change {
    Box::new(move |claims| claims[name] = value)
}

fn without(name: &'static str) -> Change {
    Box::new(move |claims| {
        claims.as_object_mut().unwrap().remove(name);
    })
}

#[tokio::test]
async fn claims() {
    let stage = Stage::new().await;
    stage.sign_in().await;
    let slash = format!("{}/", stage.op.url);
    let attempts: Vec<(&str, Change, &str)> = vec![
        ("another issuer", set("iss", json!("https://evil.example.com")), "`iss`"),
        ("the issuer with a slash", set("iss", json!(slash)), "`iss`"),
        ("no issuer", without("iss"), "`iss`"),
        ("another client", set("aud", json!("another")), "`aud`"),
        ("other clients", set("aud", json!(["another", "third"])), "`aud`"),
        ("no audience", without("aud"), "`aud`"),
        ("several clients and no party", set("aud", json!(["postern", "another"])), "`azp`"),
        ("another party", set("azp", json!("another")), "`azp`"),
        ("another nonce", set("nonce", json!("replayed")), "`nonce`"),
        ("no nonce", without("nonce"), "`nonce`"),
        ("a nonce that is a list", set("nonce", json!(["x"])), "`nonce`"),
        ("expired", set("exp", json!(now() - 60)), "`exp`"),
        ("no end", without("exp"), "`exp`"),
        ("too long", set("exp", json!(now() + 2 * 86_400)), "`exp`"),
        ("not yet", set("nbf", json!(now() + 120)), "`nbf`"),
        ("issued in the future", set("iat", json!(now() + 120)), "`iat`"),
        ("nobody", without("sub"), "`sub`"),
        ("an empty subject", set("sub", json!("")), "`sub`"),
        ("a subject that is a list", set("sub", json!(["s1"])), "JSON Web Token"),
        ("no name", without("preferred_username"), "preferred_username"),
        (
            "a name that is none",
            Box::new(|claims| {
                claims["sub"] = json!("s8");
                claims["preferred_username"] = json!("zoe\u{0}");
            }),
            "name",
        ),
        (
            "a user of this control plane",
            Box::new(|claims| {
                claims["sub"] = json!("s9");
                claims["preferred_username"] = json!("admin");
            }),
            "does not sign in there",
        ),
        ("somebody else of that name", set("sub", json!("s2")), "somebody else"),
    ];
    for (name, change, why) in attempts {
        refused(&stage, name, stage.with("", change).await, why).await;
    }
    stage.sign_in().await;
    // Several clients, and we are the party.
    let done = stage.with("", |claims| {
        claims["aud"] = json!(["postern", "another"]);
        claims["azp"] = json!("postern");
    });
    assert!(done.await.session.is_some());
}

#[tokio::test]
async fn signatures() {
    let stage = Stage::new().await;
    stage.sign_in().await;
    let other = Key::elliptic("one");
    let unsigned = |claims: &Value, alg: &str| {
        let part = |value: &Value| BASE64URL.encode(value.to_string());
        format!("{}.{}.", part(&json!({ "alg": alg, "typ": "JWT" })), part(claims))
    };
    let shared = |claims: &Value, secret: &[u8]| {
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let typed = |claims: &Value, kind: &str| {
        stage.key.sign_raw(&json!({ "alg": "ES256", "kid": "one", "typ": kind }), &claims.to_string())
    };
    let brought = |claims: &Value| {
        let header =
            json!({ "alg": "ES256", "kid": "brought", "jwk": other.jwk, "jku": "https://evil.example.com/keys" });
        other.sign_raw(&header, &claims.to_string())
    };
    let public = stage.key.jwk.to_string();
    type Forge<'a> = Box<dyn Fn(&Value) -> String + 'a>;
    let attempts: Vec<(&str, Forge<'_>, &str)> = vec![
        ("by another key of that name", Box::new(|claims| other.sign(claims)), "signature"),
        ("by a key that it brings", Box::new(brought), "no key"),
        ("alg none", Box::new(|claims| unsigned(claims, "none")), "algorithm"),
        ("alg nOnE", Box::new(|claims| unsigned(claims, "nOnE")), "algorithm"),
        ("by the client's secret", Box::new(|claims| shared(claims, SECRET.as_bytes())), "algorithm"),
        ("by the published key as a secret", Box::new(|claims| shared(claims, public.as_bytes())), "algorithm"),
        ("an access token", Box::new(|claims| typed(claims, "at+jwt")), "typ"),
        ("a logout token", Box::new(|claims| typed(claims, "logout+jwt")), "typ"),
        ("no token", Box::new(|_| String::new()), "JSON Web Token"),
    ];
    for (name, forge, why) in attempts {
        let begun = stage.begin("").await;
        stage.give(&begun, stage.tokens(&forge(&stage.claims(&begun))));
        refused(&stage, name, stage.finish(&begun).await, why).await;
    }
    let begun = stage.begin("").await;
    stage.give(&begun, json!({ "access_token": "at", "token_type": "Bearer" }));
    refused(&stage, "no id token", stage.finish(&begun).await, "`id_token`").await;
    stage.sign_in().await;
}

#[tokio::test]
async fn answers() {
    let stage = Stage::new().await;
    let mut other = stage.provider();
    other["name"] = json!("other");
    stage.apply(vec![other]).await;
    stage.sign_in().await;
    let issuer = stage.op.url.clone();
    let begin = async || {
        let begun = stage.begin("").await;
        stage.give(&begun, stage.tokens(&stage.key.sign(&stage.claims(&begun))));
        begun
    };
    let (corp, elsewhere) = ("/oauth/callback/corp", "/oauth/callback/other");
    let not_begun = "not begun in this browser";

    // Each is brought the good answer, spoiled in one way.
    let b = begin().await;
    let (cookie, state) = (Some(b.cookie.as_str()), b.query["state"].as_str());
    refused(
        &stage,
        "no cookie",
        stage.back(corp, None, &[("code", "CODE"), ("state", state), ("iss", &issuer)]).await,
        not_begun,
    )
    .await;
    let b = begin().await;
    let state = b.query["state"].as_str();
    let another = begin().await.cookie;
    let good = [("code", "CODE"), ("state", state), ("iss", issuer.as_str())];
    refused(&stage, "another browser", stage.back(corp, Some(&another), &good).await, not_begun).await;
    refused(&stage, "the state of a sign-in that failed", stage.back(corp, Some(&b.cookie), &good).await, not_begun)
        .await;
    let _ = cookie;
    for (name, change) in [("another state", Some("made up")), ("no state", None)] {
        let b = begin().await;
        let mut query = vec![("code", "CODE"), ("iss", issuer.as_str())];
        query.extend(change.map(|state| ("state", state)));
        refused(&stage, name, stage.back(corp, Some(&b.cookie), &query).await, not_begun).await;
    }
    let mix_up = "not from the provider";
    let b = begin().await;
    let state = b.query["state"].clone();
    let good = [("code", "CODE"), ("state", state.as_str()), ("iss", issuer.as_str())];
    refused(&stage, "another provider's address", stage.back(elsewhere, Some(&b.cookie), &good).await, mix_up).await;
    for (name, iss) in [("another issuer", Some("https://evil.example.com")), ("no issuer, where it is promised", None)]
    {
        let b = begin().await;
        let mut query = vec![("code", "CODE"), ("state", b.query["state"].as_str())];
        query.extend(iss.map(|iss| ("iss", iss)));
        refused(&stage, name, stage.back(corp, Some(&b.cookie), &query).await, mix_up).await;
    }
    let b = begin().await;
    let query =
        [("error", "access_denied"), ("error_description", "<script>"), ("state", &b.query["state"]), ("iss", &issuer)];
    let done = stage.back(corp, Some(&b.cookie), &query).await;
    assert!(!done.text.contains("<script"), "{}", done.text);
    refused(&stage, "an error", done, "access_denied").await;
    let b = begin().await;
    let query = [("state", b.query["state"].as_str()), ("iss", &issuer)];
    refused(&stage, "no code", stage.back(corp, Some(&b.cookie), &query).await, "no code").await;
    let b = begin().await;
    let state = b.query["state"].as_str();
    let query = [("code", "CODE"), ("state", state), ("state", state), ("iss", issuer.as_str())];
    refused(&stage, "two states", stage.back(corp, Some(&b.cookie), &query).await, not_begun).await;

    // Once it was good.
    let b = begin().await;
    let done = stage.finish(&b).await;
    assert!(done.session.is_some(), "{}", done.text);
    refused(&stage, "the same answer again", stage.finish(&b).await, not_begun).await;
    // The code again, in a sign-in of its own: the provider gives nothing for it.
    let again = stage.begin("").await;
    refused(&stage, "the same code again", stage.finish(&again).await, "invalid_grant").await;
    // A code that was given to somebody else's sign-in, brought into one's own.
    let (mine, theirs) = (stage.begin("").await, begin().await);
    let query = [("code", "CODE"), ("state", &mine.query["state"]), ("iss", &issuer)];
    refused(&stage, "an injected code", stage.back(corp, Some(&mine.cookie), &query).await, "invalid_grant").await;
    let _ = theirs;
    let unknown = stage.back("/oauth/callback/nowhere", None, &[]).await;
    assert!(unknown.status >= 400 && unknown.session.is_none());
    stage.sign_in().await;
}

#[tokio::test]
async fn pages_to_come_back_to() {
    let stage = Stage::new().await;
    stage.sign_in().await;
    for page in [
        "https://evil.example.com",
        "//evil.example.com",
        "/%5Cevil.example.com",
        "/%09/evil.example.com",
        "javascript:alert(1)",
        "/oauth/login/corp",
        "/api/v1/whoami",
    ] {
        let answer = stage.http.get(stage.url(&format!("/oauth/login/corp?return_to={page}"))).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{page}");
        assert!(answer.headers().get("location").is_none());
        let why = stage.recorded("sign_in.refused").await[0]["detail"]["why"].clone();
        assert!(why.as_str().unwrap().contains("return_to"), "{page}: {why}");
    }
    let done = stage.with("?return_to=/audit%3Fq%3Dx", |_| {}).await;
    assert_eq!(done.location, "/audit?q=x");
}

#[tokio::test]
async fn what_was_in_the_browser_before_is_nobody() {
    let stage = Stage::new().await;
    let planted = "postern=posternweb_plantedplantedplantedplantedplantedplant";
    let begun = stage.begin("").await;
    stage.give(&begun, stage.tokens(&stage.key.sign(&stage.claims(&begun))));
    let query = [("code", "CODE"), ("state", begun.query["state"].as_str()), ("iss", &stage.op.url)];
    let done = stage.back("/oauth/callback/corp", Some(&format!("{planted}; {}", begun.cookie)), &query).await;
    let session = done.session.unwrap();
    assert_ne!(session, planted);
    assert_eq!(stage.whoami(planted).await.0, 401);
    assert_eq!(stage.whoami(&session).await.0, 200);
    let next = stage.sign_in().await;
    assert_ne!(next, session, "each sign-in has a session of its own");
}

#[tokio::test]
async fn how_they_have_signed_in() {
    let stage = Stage::new().await;
    stage.sign_in().await;
    let fresh = "?fresh=true&acr=phr%20mfa";
    let begun = stage.begin(fresh).await;
    let asked = |name: &str| begun.query.get(name).map(String::as_str);
    assert_eq!((asked("prompt"), asked("max_age"), asked("acr_values")), (Some("login"), Some("0"), Some("phr mfa")));
    assert_eq!((asked("tenant"), asked("code_challenge_method")), (Some("1"), Some("S256")));
    let attempts: Vec<(&str, Change, &str)> = vec![
        ("signed in long before", set("auth_time", json!(now() - 120)), "`auth_time`"),
        ("not told when", without("auth_time"), "`auth_time`"),
        ("in another way", set("acr", json!("pwd")), "`acr`"),
        ("not told how", without("acr"), "`acr`"),
    ];
    for (name, change, why) in attempts {
        refused(&stage, name, stage.with(fresh, change).await, why).await;
    }
    assert!(stage.with(fresh, |_| {}).await.session.is_some());
    assert!(stage.with("", |claims| claims["acr"] = json!("pwd")).await.session.is_some(), "where it is not asked for");

    // Whose address it is has to be sure where it is a name.
    let mut by_mail = stage.provider();
    by_mail["oidc"]["user"] = json!("email");
    stage.apply(vec![by_mail]).await;
    let mail = |verified: Value| {
        move |claims: &mut Value| {
            claims["email"] = json!("zoe@example.com");
            claims["email_verified"] = verified;
        }
    };
    for verified in [json!(false), json!("true"), Value::Null] {
        refused(&stage, "mail", stage.with("", mail(verified)).await, "email_verified").await;
    }
    assert!(stage.with("", mail(json!(true))).await.session.is_some());
}

#[tokio::test]
async fn groups_that_are_told_elsewhere() {
    let stage = Stage::new().await;
    let elsewhere = |claims: &mut Value| {
        claims.as_object_mut().unwrap().remove("groups");
        claims["_claim_names"] = json!({ "groups": "src1" });
    };
    stage.op.says.lock().userinfo = json!({ "sub": "s1", "groups": ["ops"] });
    let done = stage.with("", elsewhere).await;
    let (_, me) = stage.whoami(&done.session.unwrap()).await;
    assert_eq!(me["groups"], json!(["ops"]));
    for (name, userinfo, why) in [
        ("of somebody else", json!({ "sub": "s2", "groups": ["admins"] }), "`sub`"),
        ("of nobody", json!({ "groups": ["admins"] }), "`sub`"),
        ("not there either", json!({ "sub": "s1" }), "userinfo"),
        ("none", json!({ "sub": "s1", "groups": [] }), "no group"),
    ] {
        stage.op.says.lock().userinfo = userinfo;
        refused(&stage, name, stage.with("", elsewhere).await, why).await;
    }
    stage.op.says.lock().userinfo = json!({ "sub": "s1", "groups": ["ops"] });
    assert!(stage.with("", elsewhere).await.session.is_some());
}

#[tokio::test]
async fn that_somebody_has_left() {
    let stage = Stage::new().await;
    let event = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let token = |jti: &str| {
        json!({ "iss": stage.op.url, "aud": "postern", "iat": now(), "exp": now() + 120, "jti": jti, "sub": "s1",
            "sid": "session-1", "events": event })
    };
    let bring = async |token: String| {
        let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", &token).finish();
        let request = stage.http.post(stage.url("/oauth/backchannel-logout/corp"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(form).send().await.unwrap().status().as_u16()
    };
    let session = stage.sign_in().await;
    let sign = |claims: &Value| {
        stage.key.sign_raw(&json!({ "alg": "ES256", "kid": "one", "typ": "logout+jwt" }), &claims.to_string())
    };
    let attempts: Vec<(&str, Change, &str)> = vec![
        ("another issuer", set("iss", json!("https://evil.example.com")), "`iss`"),
        ("another client", set("aud", json!("another")), "`aud`"),
        ("expired", set("exp", json!(now() - 60)), "`exp`"),
        ("no time", without("iat"), "`iat`"),
        ("another event", set("events", json!({ "other": {} })), "`events`"),
        ("no event", without("events"), "`events`"),
        (
            "an event that is no object",
            set("events", json!({ "http://schemas.openid.net/event/backchannel-logout": true })),
            "`events`",
        ),
        ("by which somebody signs in", set("nonce", json!("x")), "`nonce`"),
        ("without an id", without("jti"), "`jti`"),
        (
            "of nobody",
            Box::new(|claims| {
                claims.as_object_mut().unwrap().remove("sub");
                claims.as_object_mut().unwrap().remove("sid");
            }),
            "`sub`",
        ),
    ];
    for (name, change, why) in attempts {
        let mut claims = token(name);
        change(&mut claims);
        assert_eq!(bring(sign(&claims)).await, 400, "{name}");
        let said = stage.recorded("sign_in.refused").await[0]["detail"]["why"].clone();
        assert!(said.as_str().unwrap().contains(why), "{name}: {said}");
    }
    assert_eq!(bring(Key::elliptic("one").sign(&token("forged"))).await, 400, "by another key");
    // Somebody else, and another session of theirs.
    let with = |name: &str, value: Value| {
        let mut claims = token(&format!("{name} {value}"));
        claims[name] = value;
        claims
    };
    assert_eq!(bring(sign(&with("sub", json!("s2")))).await, 200);
    assert_eq!(bring(sign(&with("sid", json!("session-2")))).await, 200);
    assert_eq!(stage.whoami(&session).await.0, 200, "nothing of it ended anything of theirs");
    assert_eq!(bring(sign(&token("good"))).await, 200);
    assert_eq!(stage.whoami(&session).await.0, 401);
    let session = stage.sign_in().await;
    assert_eq!(bring(sign(&token("good"))).await, 400, "brought again");
    assert_eq!(stage.whoami(&session).await.0, 200);
    // By a frame in their browser.
    let frame = async |iss: &str, sid: &str| {
        stage.back("/oauth/frontchannel-logout/corp", None, &[("iss", iss), ("sid", sid)]).await.status
    };
    assert_eq!(frame("https://evil.example.com", "session-1").await, 400);
    assert_eq!(frame(&stage.op.url, "").await, 400);
    assert_eq!(frame(&stage.op.url, "session-2").await, 200);
    assert_eq!(stage.whoami(&session).await.0, 200);
    assert_eq!(frame(&stage.op.url, "session-1").await, 200);
    until("the session is over", async || stage.whoami(&session).await.0 == 401).await;
}
