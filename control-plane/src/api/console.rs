//! The console's files, which are in the binary; where it was built without them, one page that says how to get them.

use super::health;
use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, Method, Response, Uri,
        header::{self, HeaderName},
    },
    response::IntoResponse,
};

/// A file of the console, as `build.rs` found it.
struct File {
    /// Its path in the address, with the slash before it.
    path: &'static str,
    content_type: &'static str,
    plain: &'static [u8],
    /// Compressed; empty where that makes it no smaller.
    gzip: &'static [u8],
    brotli: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// The page of the console: each address of it is the same page, which its script fills.
const PAGE: &str = "/index.html";

/// The files whose names change with their content.
const HASHED: &str = "/assets/";

/// What is served for programs, never the console's page.
const FOR_PROGRAMS: [&str; 3] = ["/api/", "/oauth/", HASHED];

/// What is there while there is no console.
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Postern</title>\
    <h1>Postern</h1><p>The console was not built into this binary. To get it: <code>make build</code>, or \
    <code>npm ci &amp;&amp; npm run build</code> in <code>web/</code> and then <code>cargo build</code> again.</p>\
    <p>Until then there is the command <code>postern</code>, and the API: \
    <a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a>.</p>";

/// No inline script or style, no other host, no string that becomes code or markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; \
    connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// What no other route answers: the console's files and pages.
pub(super) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let path = uri.path();
    if method != Method::GET && method != Method::HEAD {
        return health::not_found(&uri).into_response();
    }
    if let Some(file) = find(path) {
        return answer(file, path.starts_with(HASHED), &headers);
    }
    if FOR_PROGRAMS.iter().any(|prefix| path.starts_with(prefix)) {
        return health::not_found(&uri).into_response();
    }
    match find(PAGE) {
        Some(page) => answer(page, false, &headers),
        None if path == "/" => with_policy(axum::response::Html(NOT_BUILT).into_response()),
        None => health::not_found(&uri).into_response(),
    }
}

fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

fn answer(file: &'static File, hashed: bool, headers: &HeaderMap) -> Response<Body> {
    let (encoding, bytes) = encoded(file, headers);
    let mut response = bytes.into_response();
    let answers = response.headers_mut();
    answers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    answers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(encoding) = encoding {
        answers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if hashed {
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        answers.insert(header::CACHE_CONTROL, forever);
    }
    with_policy(response)
}

/// The smallest form that the browser takes.
fn encoded(file: &'static File, headers: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let takes = |name: &str| {
        let mut codings = accepted.split(',').map(|coding| coding.split(';').map(str::trim));
        codings.any(|mut coding| coding.next() == Some(name) && coding.next() != Some("q=0"))
    };
    match file {
        File { brotli, .. } if !brotli.is_empty() && takes("br") => (Some("br"), brotli),
        File { gzip, .. } if !gzip.is_empty() && takes("gzip") => (Some("gzip"), gzip),
        File { plain, .. } => (None, plain),
    }
}

fn with_policy(mut response: Response<Body>) -> Response<Body> {
    let fixed = [
        ("content-security-policy", POLICY),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
