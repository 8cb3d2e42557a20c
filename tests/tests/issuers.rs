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
