//! Tokens, keys and issuers that are not what they say: each is refused, and why is recorded. Beside each stands the twin
//! that is accepted: the same token as it should be, tried before and after.

use crate::{Stage, github, issuer::Key};
use axum::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postern_types::time::Micros;
use serde_json::{Value, json};

/// A stage whose audience and conditions a genuine token meets, and another key that is not the issuer's.
struct Try {
    stage: Stage,
    other: Key,
}

impl Try {
    async fn new() -> Self {
        Self { stage: Stage::new(Key::elliptic("one")).await, other: Key::elliptic("one") }
    }

    fn claims(&self) -> Value {
        github(&self.stage.issuer.url)
    }

    /// A genuine signature over these claims.
    fn with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims();
        claims[name] = value;
        self.stage.key.sign(&claims)
    }

    fn without(&self, name: &str) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(name);
        self.stage.key.sign(&claims)
    }

    /// A genuine signature under a header with this besides.
    fn header(&self, more: Value) -> String {
        let mut header = json!({ "alg": "ES256", "kid": "one", "typ": "JWT" });
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.stage.key.sign_raw(&header, &self.claims().to_string())
    }

    async fn accepted(&self) {
        self.stage.bring(&self.stage.key.sign(&self.claims())).await.unwrap();
    }

    /// Each is refused with words of this kind, which are recorded.
    async fn refused(&self, attempts: Vec<(&str, String, &str)>) {
        self.accepted().await;
        let before = self.stage.recorded("token.exchanged").await.len();
        for (name, token, why) in &attempts {
            let error = self.stage.bring(token).await.expect_err(name).to_string();
            assert!(error.contains(why), "{name}: {error}");
            let recorded = self.stage.recorded("token.refused").await;
            assert_eq!(recorded[0]["detail"]["why"], json!(error), "{name}");
        }
        assert_eq!(self.stage.recorded("token.exchanged").await.len(), before);
        self.accepted().await;
    }
}

fn forge(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| BASE64URL.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), BASE64URL.encode(signature))
}

#[tokio::test]
async fn claims() {
    let t = Try::new().await;
    let now = Micros::now().0 / 1_000_000;
    let url = &t.stage.issuer.url;
    t.refused(vec![
        ("another issuer", t.with("iss", json!("https://evil.example.com")), "issuer"),
        ("the issuer with a slash", t.with("iss", json!(format!("{url}/"))), "issuer"),
        ("several issuers", t.with("iss", json!(["https://evil.example.com", url])), "`iss`"),
        ("no issuer", t.without("iss"), "`iss`"),
        ("an issuer that is a number", t.with("iss", json!(7)), "`iss`"),
        ("another audience", t.with("aud", json!("https://github.com/acme")), "`aud`"),
        ("an audience that begins so", t.with("aud", json!("https://postern.example.com.evil.example.com")), "`aud`"),
        ("other audiences", t.with("aud", json!(["sts.amazonaws.com", "vault"])), "`aud`"),
        ("no audience", t.without("aud"), "`aud`"),
        ("an audience that is an object", t.with("aud", json!({ "is": "https://postern.example.com" })), "`aud`"),
        ("expired", t.with("exp", json!(now - 60)), "`exp`"),
        ("no end", t.without("exp"), "`exp`"),
        ("an end in words", t.with("exp", json!("tomorrow")), "`exp`"),
        ("a day too long", t.with("exp", json!(now + 2 * 86_400)), "`exp`"),
        ("not yet", t.with("nbf", json!(now + 120)), "`nbf`"),
        ("issued in the future", t.with("iat", json!(now + 120)), "`iat`"),
        ("issued in words", t.with("iat", json!("now")), "`iat`"),
        ("nobody", t.without("sub"), "`sub`"),
        ("an empty name", t.with("sub", json!("")), "`sub`"),
    ])
    .await;
}

#[tokio::test]
async fn those_of_another() {
    let t = Try::new().await;
    let nobody = "no agent here";
    t.refused(vec![
        ("another repository", t.with("repository", json!("acme/shop-evil")), nobody),
        ("a repository in other letters", t.with("repository", json!("Acme/Shop")), nobody),
        ("a repository among others", t.with("repository", json!(["acme/shop"])), nobody),
        ("a repository with more to it", t.with("repository", json!("acme/shop\u{0}")), nobody),
        ("no repository", t.without("repository"), nobody),
        ("a pull request's ref", t.with("ref", json!("refs/pull/7/merge")), nobody),
        ("a branch whose name begins so", t.with("ref", json!("refs/heads/main2")), nobody),
        ("a pattern", t.with("ref", json!("refs/heads/*")), nobody),
        ("an empty ref", t.with("ref", json!("")), nobody),
        ("null", t.with("ref", Value::Null), nobody),
    ])
    .await;
}

#[tokio::test]
async fn signatures() {
    let t = Try::new().await;
    let (claims, key) = (t.claims(), &t.stage.key);
    let good = key.sign(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let mut richer = claims.clone();
    richer["repository_owner"] = json!("evil");
    let moved = format!("{}.{}.{}", parts[0], BASE64URL.encode(richer.to_string()), parts[2]);
    let es256 = json!({ "alg": "ES256", "kid": "one" });
    // The published key as a shared secret, in the forms in which libraries have taken it.
    let public = BASE64URL.decode(key.jwk["x"].as_str().unwrap()).unwrap();
    let shared = |secret: &[u8]| {
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let unsigned = |name: &str| forge(&json!({ "alg": name, "typ": "JWT" }), &claims, b"");
    t.refused(vec![
        ("by another key of that name", t.other.sign(&claims), "signature"),
        ("by a key of another name", Key::elliptic("two").sign(&claims), "no key"),
        ("by another key without a name", t.other.sign_as(&Header::new(Algorithm::ES256), &claims), "signature"),
        ("by a key of another kind", Key::rsa("one").sign(&claims), ""),
        ("other claims", moved, "signature"),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), "signature"),
        ("a signature of zeros", forge(&es256, &claims, &[0; 64]), "signature"),
        ("a short signature", forge(&es256, &claims, &[1; 8]), "signature"),
        ("alg none", unsigned("none"), "algorithm"),
        ("alg None", unsigned("None"), "algorithm"),
        ("alg nOnE", unsigned("nOnE"), "algorithm"),
        ("an empty alg", unsigned(""), "algorithm"),
        ("alg HS256 with the public key", shared(&public), "algorithm"),
        ("alg HS256 with the published text", shared(key.jwk.to_string().as_bytes()), "algorithm"),
        ("alg HS256 with an empty secret", shared(b""), "algorithm"),
        ("alg RS256 over an elliptic key", forge(&json!({ "alg": "RS256", "kid": "one" }), &claims, &[1; 256]), ""),
        ("alg ES384 over a key of P-256", forge(&json!({ "alg": "ES384", "kid": "one" }), &claims, &[1; 96]), ""),
        ("two parts", format!("{}.{}", parts[0], parts[1]), "JSON Web Token"),
        ("five parts", format!("{good}.x.y"), ""),
        ("nothing", String::new(), "JSON Web Token"),
        ("dots", "..".to_owned(), "JSON Web Token"),
        ("white space", format!(" {good}"), "JSON Web Token"),
        ("padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2]), "JSON Web Token"),
        ("claims that are a list", key.sign_raw(&es256, "[]"), "JSON Web Token"),
        ("claims that end early", key.sign_raw(&es256, "{\"iss\":"), "JSON Web Token"),
        ("too long", t.with("padding", json!("x".repeat(20_000))), "bytes"),
    ])
    .await;
}

#[tokio::test]
async fn headers() {
    let t = Try::new().await;
    // Signed by the attacker, who brings the key along.
    let brought = |name: &str, value: Value| {
        let mut header = json!({ "alg": "ES256", "kid": "brought" });
        header[name] = value;
        t.other.sign_raw(&header, &t.claims().to_string())
    };
    t.refused(vec![
        ("its own key", brought("jwk", t.other.jwk.clone()), "no key"),
        ("the address of its keys", brought("jku", json!("https://evil.example.com/keys")), "no key"),
        ("the address of its certificate", brought("x5u", json!("https://evil.example.com/cert")), "no key"),
        ("its own certificate", brought("x5c", json!(["MIIB"])), "no key"),
        ("a path for a name", brought("kid", json!("../../../../dev/null")), "no key"),
        ("a question for a name", brought("kid", json!("' UNION SELECT 'secret' --")), "no key"),
        ("what has to be understood", t.header(json!({ "crit": ["exp"], "exp": 1 })), "crit"),
        ("signed without its encoding", t.header(json!({ "crit": ["b64"], "b64": false })), "crit"),
        ("a logout token", t.header(json!({ "typ": "logout+jwt" })), "typ"),
        ("a proof of possession", t.header(json!({ "typ": "dpop+jwt" })), "typ"),
    ])
    .await;
    t.stage.bring(&t.header(json!({ "typ": "at+jwt" }))).await.unwrap();
}

#[tokio::test]
async fn published_keys() {
    let mut jwks = Vec::new();
    let with = |name: &str, value: Value, jwk: &Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let probe = Key::elliptic("one");
    jwks.push(("a key to encrypt with", with("use", json!("enc"), &probe.jwk)));
    jwks.push(("a key for another algorithm", with("alg", json!("ES384"), &probe.jwk)));
    jwks.push(("a shared secret", json!({ "kty": "oct", "kid": "one", "k": "c2VjcmV0" })));
    jwks.push(("a key of an unknown kind", with("kty", json!("XX"), &probe.jwk)));
    jwks.push(("half a key", with("y", json!(""), &probe.jwk)));
    for (name, jwk) in jwks {
        let stage = Stage::new(Key::elliptic("two")).await;
        let genuine = stage.key.jwk.clone();
        stage.issuer.publish_raw(vec![jwk, genuine]);
        let claims = github(&stage.issuer.url);
        assert!(stage.bring(&probe.sign(&claims)).await.is_err(), "{name}");
        // The good key beside it is one still.
        stage.bring(&stage.key.sign(&claims)).await.expect(name);
    }
    let stage = Stage::new(Key::elliptic("one")).await;
    stage.issuer.publish(&[]);
    assert!(stage.bring(&stage.key.sign(&github(&stage.issuer.url))).await.is_err());
}

#[tokio::test]
async fn issuers_that_are_down_or_lie() {
    let expect = async |name: &str, spoil: &dyn Fn(&Stage)| {
        let stage = Stage::new(Key::elliptic("one")).await;
        spoil(&stage);
        let error = stage.bring(&stage.key.sign(&github(&stage.issuer.url))).await.expect_err(name);
        assert!(error.to_string().contains("keys cannot be had"), "{name}: {error}");
        assert_eq!(stage.recorded("token.refused").await.len(), 1, "{name}");
    };
    let document = |issuer: &str, keys: &str| Some(json!({ "issuer": issuer, "jwks_uri": keys }));
    expect("another's document", &|stage| {
        let keys = format!("{}/keys", stage.issuer.url);
        stage.issuer.discover(document("https://evil.example.com", &keys));
    })
    .await;
    expect("keys in clear", &|stage| {
        stage.issuer.discover(document(&stage.issuer.url, "http://keys.example.com/keys"));
    })
    .await;
    expect("keys in a file", &|stage| {
        stage.issuer.discover(document(&stage.issuer.url, "file:///etc/passwd"));
    })
    .await;
    expect("no keys", &|stage| stage.issuer.discover(Some(json!({ "issuer": stage.issuer.url })))).await;
    expect("keys elsewhere", &|stage| stage.issuer.answer_keys_with(Some(StatusCode::FOUND))).await;
    expect("a failure", &|stage| stage.issuer.answer_keys_with(Some(StatusCode::BAD_GATEWAY))).await;
    expect("too much", &|stage| stage.issuer.pad(1 << 20)).await;
}

#[tokio::test]
async fn refusals_do_not_fill_the_audit() {
    let t = Try::new().await;
    for _ in 0..100 {
        assert!(t.stage.bring("x.y.z").await.is_err());
    }
    assert_eq!(t.stage.recorded("token.refused").await.len(), 60);
    t.accepted().await;
}
