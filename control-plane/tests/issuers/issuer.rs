//! An issuer of identity tokens on loopback: discovery, keys that change, and tokens signed well or badly.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair},
};
use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tokio::net::TcpListener;

/// What signs, and the key that is published for it.
pub struct Key {
    pub kid: &'static str,
    pub algorithm: Algorithm,
    pub encoding: EncodingKey,
    pub jwk: Value,
}

impl Key {
    pub fn elliptic(kid: &'static str) -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            &aws_lc_rs::rand::SystemRandom::new(),
        )
        .unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
        let point = pair.public_key().as_ref();
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
            "x": BASE64URL.encode(&point[1..33]), "y": BASE64URL.encode(&point[33..65]),
        });
        Self { kid, algorithm: Algorithm::ES256, encoding: EncodingKey::from_ec_der(document.as_ref()), jwk }
    }

    pub fn rsa(kid: &'static str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public = pair.public_key();
        let jwk = json!({
            "kty": "RSA", "kid": kid, "use": "sig",
            "n": BASE64URL.encode(public.modulus().big_endian_without_leading_zero()),
            "e": BASE64URL.encode(public.exponent().big_endian_without_leading_zero()),
        });
        // As PKCS #1, which stands at the end of PKCS #8 within an octet string.
        let encoding = EncodingKey::from_rsa_der(pkcs1(der.as_ref()));
        Self { kid, algorithm: Algorithm::RS256, encoding, jwk }
    }

    pub fn header(&self) -> Header {
        Header { kid: Some(self.kid.to_owned()), ..Header::new(self.algorithm) }
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), claims)
    }

    pub fn sign_as(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.encoding).unwrap()
    }

    /// A token whose header is given as text: one that a library would not write.
    pub fn sign_raw(&self, header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

fn pkcs1(pkcs8: &[u8]) -> &[u8] {
    // SEQUENCE { version, AlgorithmIdentifier, OCTET STRING { SEQUENCE … } }: the inner one begins after the last long
    // octet string's header.
    let at = pkcs8.windows(2).position(|bytes| bytes == [0x04, 0x82]).unwrap();
    &pkcs8[at + 4..]
}

#[derive(Default)]
struct Published {
    issuer: String,
    keys: Vec<Value>,
    discovery: Option<Value>,
    keys_status: Option<StatusCode>,
    padding: usize,
}

/// The issuer.
#[derive(Clone)]
pub struct Issuer {
    pub url: String,
    published: Arc<Mutex<Published>>,
    fetched: Arc<AtomicU32>,
}

impl Issuer {
    pub async fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let published = Published { issuer: url.clone(), ..Published::default() };
        let issuer = Self { url, published: Arc::new(Mutex::new(published)), fetched: Arc::default() };
        issuer.publish(keys);
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys_of))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        issuer
    }

    pub fn publish(&self, keys: &[&Key]) {
        self.publish_raw(keys.iter().map(|key| key.jwk.clone()).collect());
    }

    pub fn publish_raw(&self, keys: Vec<Value>) {
        self.published.lock().keys = keys;
    }

    pub fn discover(&self, document: Option<Value>) {
        self.published.lock().discovery = document;
    }

    pub fn answer_keys_with(&self, status: Option<StatusCode>) {
        self.published.lock().keys_status = status;
    }

    pub fn pad(&self, bytes: usize) {
        self.published.lock().padding = bytes;
    }

    /// How often the keys were fetched.
    pub fn fetched(&self) -> u32 {
        self.fetched.load(Ordering::SeqCst)
    }
}

async fn discovery(State(issuer): State<Issuer>) -> Json<Value> {
    let published = issuer.published.lock();
    let usual = || json!({ "issuer": published.issuer, "jwks_uri": format!("{}/keys", published.issuer) });
    Json(published.discovery.clone().unwrap_or_else(usual))
}

async fn keys_of(State(issuer): State<Issuer>) -> axum::response::Response {
    issuer.fetched.fetch_add(1, Ordering::SeqCst);
    let published = issuer.published.lock();
    if let Some(status) = published.keys_status {
        return (status, [("location", "/elsewhere")]).into_response();
    }
    Json(json!({ "keys": published.keys, "padding": "x".repeat(published.padding) })).into_response()
}
