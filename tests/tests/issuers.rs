//! A job that has nothing but its platform's identity token gets rows from a database, and nobody gave it a secret.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use postern_e2e::dev::{Caller, Dev};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Output, Stdio},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

/// An issuer on loopback: two documents over plain HTTP.
struct Issuer {
    url: String,
    key: EcdsaKeyPair,
}

impl Issuer {
    fn start() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let point = key.public_key().as_ref();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "k", "x": BASE64URL.encode(&point[1..33]),
            "y": BASE64URL.encode(&point[33..65]) });
        let keys = json!({ "keys": [jwk] });
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &keys, &discovery);
            }
        });
        Self { url, key }
    }

    fn token(&self, repository: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({ "iss": self.url, "aud": "postern", "sub": format!("repo:{repository}"), "iat": now,
            "exp": now + 300, "repository": repository });
        let part = |value: Value| BASE64URL.encode(value.to_string());
        let message = format!("{}.{}", part(json!({ "alg": "ES256", "kid": "k" })), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", BASE64URL.encode(signature.as_ref()))
    }
}

fn answer(mut stream: TcpStream, keys: &Value, discovery: &Value) {
    let mut head = [0; 4096];
    let read = stream.read(&mut head).unwrap();
    let asks_for_keys = head[..read].starts_with(b"GET /keys ");
    let body = if asks_for_keys { keys } else { discovery }.to_string();
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes());
}

/// `postern login --id-token -` in a home of its own, where no token is known.
fn login(job: &Caller, token: &str) -> Output {
    let mut command = job.command(&["login", "--id-token", "-", "--json"]);
    command.env_remove("POSTERN_TOKEN").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{token}").unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_job_needs_no_stored_secret() {
    let issuer = Issuer::start();
    let dev = Dev::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let documents = folder.path().join("issuer.yaml");
    let text = format!(
        "kind: Agent\nname: nightly\n---\nkind: Issuer\nname: platform\nurl: {}\naudience: postern\n\
         agents:\n- {{ agent: nightly, when: {{ repository: acme/shop }}, may: [demo/read] }}\n",
        issuer.url
    );
    fs::write(&documents, text).unwrap();
    let _ = dev.admin().run(&["apply", documents.to_str().unwrap()]).ok();

    let url = dev.ready()["http_url"].as_str().unwrap();
    let job = Caller::new(url, "", folder.path());
    let run = |args: &[&str]| {
        let output = job.command(args).env_remove("POSTERN_TOKEN").output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let refused = login(&job, &issuer.token("evil/shop"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no agent here"), "{refused:?}");

    let done = login(&job, &issuer.token("acme/shop"));
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let whoami: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&whoami["name"], &whoami["token"]["may"]), (&json!("nightly"), &json!(["demo/read"])));

    let (code, _, stderr) = run(&["request", "demo", "--role", "write", "--for", "5m", "--reason", "nightly"]);
    assert!(code != 0 && stderr.contains("not good for the role `write`"), "{code} {stderr}");
    let (code, request, stderr) =
        run(&["request", "demo", "--role", "read", "--for", "5m", "--reason", "nightly", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let request: Value = serde_json::from_str(&request).unwrap();
    let _ = dev.admin().run(&["approve", request["id"].as_str().unwrap()]).ok();
    let (code, rows, stderr) = run(&["exec", "demo", "--role", "read", "-c", "select 6 * 7 as answer", "--json"]);
    assert!(code == 0 && rows.contains("42"), "{code} {rows} {stderr}");

    let events = dev.admin().run(&["audit", "search", "--type", "control", "--json"]).json();
    let actions: Vec<&str> = events.as_array().unwrap().iter().filter_map(|event| event["action"].as_str()).collect();
    assert!(actions.contains(&"token.exchanged") && actions.contains(&"token.refused"), "{actions:?}");
}

/// A call over plain HTTP: the answer's head and body.
fn post(dev: &Dev, path: &str, headers: &[&str], body: &str) -> (String, Value) {
    let address = dev.ready()["http_url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    (head.to_ascii_lowercase(), serde_json::from_str(body).unwrap())
}

/// Whoever answers for an agent gives it its token; reviewers see for whom it acts and how that is known; and people see, and
/// end, what they have in browsers.
#[test]
fn a_person_has_in_hand_what_acts_for_them() {
    let dev = Dev::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let documents = folder.path().join("people.yaml");
    let text = "kind: User\nname: olga\n---\nkind: Agent\nname: assistant\nowner: olga\non_behalf_of: proved\n";
    fs::write(&documents, text).unwrap();
    let admin = dev.admin();
    let _ = admin.run(&["apply", documents.to_str().unwrap()]).ok();
    let made = admin.run(&["tokens", "create", "--for", "user:olga", "--name", "olga's", "--json"]).json();
    let url = dev.ready()["http_url"].as_str().unwrap();
    let olga = Caller::new(url, made["token"].as_str().unwrap(), folder.path());

    // Her agent's token, for what both may ask for; nobody else's.
    let make = |agent: &str| {
        let whose = format!("agent:{agent}");
        olga.run(&["tokens", "create", "--for", &whose, "--name", "x", "--may", "demo/read", "--json"])
    };
    let others = make("demo-agent");
    assert!(others.code == 3 && others.stderr.contains("who answers for an agent"), "{others:?}");
    let agents = make("assistant").json();
    let listed = olga.run(&["tokens", "--json"]).json();
    assert!(listed.as_array().unwrap().iter().any(|token| token["id"] == agents["id"]), "{listed}");

    // On her behalf, as her token and the agent's prove.
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={}&subject_token_type={kind}\
         &actor_token={}&actor_token_type={kind}",
        olga.token(),
        agents["token"].as_str().unwrap()
    );
    let (_, given) = post(&dev, "/oauth/token", &["content-type: application/x-www-form-urlencoded"], &form);
    let assistant = Caller::new(url, given["access_token"].as_str().unwrap(), folder.path());
    let id = assistant.request("demo", "read", "5m");
    let shown = admin.run(&["requests", "show", &id]).ok();
    let proof = format!("proof       olga's token, exchanged with the agent's ({})", agents["id"].as_str().unwrap());
    assert!(shown.contains("assistant for olga") && shown.contains(&proof), "{shown}");
    let shown = admin.run(&["requests", "show", &id, "--json"]).json();
    assert_eq!(shown["behalf_proof"]["subject"], agents["id"], "{shown}");
    let asserted = ["request", "demo", "--role", "read", "--for", "5m", "--reason", "x", "--on-behalf-of", "olga"];
    let asserted = dev.agent().run(&[&asserted[..], &["--json"]].concat()).json();
    let shown = admin.run(&["requests", "show", asserted["id"].as_str().unwrap()]).ok();
    assert!(shown.contains("proof       none: the agent says itself that it acts for olga"), "{shown}");
    let _ = olga.run(&["tokens", "delete", agents["id"].as_str().unwrap()]).ok();
    assert_eq!(assistant.run(&["whoami"]).code, 1, "it ended with the agent's");

    // Browsers.
    let origin = format!("origin: {url}");
    let body = json!({ "token": olga.token() }).to_string();
    for _ in 0..3 {
        post(&dev, "/api/v1/web/session", &["x-postern-console: 1", &origin], &body);
    }
    let sessions = || olga.run(&["login", "sessions", "--json"]).json().as_array().unwrap().clone();
    let begun = sessions();
    assert_eq!(begun.len(), 3);
    assert!(olga.run(&["login", "sessions"]).ok().contains("with a token"));
    assert_eq!(dev.agent().run(&["login", "sessions", "--json"]).json(), json!([]));
    let one = begun[0]["id"].as_str().unwrap();
    assert_eq!(dev.agent().run(&["logout", "--session", one]).code, 1, "somebody else's");
    assert_eq!(olga.run(&["logout", "--session", one, "--json"]).json(), json!({ "ended": [one] }));
    assert!(sessions().len() == 2 && sessions().iter().all(|session| session["id"] != one));
    let _ = olga.run(&["logout", "--everywhere"]).ok();
    assert!(sessions().is_empty());
}
