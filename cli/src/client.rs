//! The REST client that every command shares.

use crate::{
    credentials::{self, Login},
    failure::Failure,
};
use postern_api::{
    PREFIX,
    error::ErrorBody,
    issuer::{CERTIFICATE_GRANT, ExchangeError, ExchangedToken},
};
use postern_dial::OwnCertificate;
use reqwest::{Method, StatusCode, Url, header::CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use url::form_urlencoded;

/// Where `postern dev` listens unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Longer than the longest long poll: 60 s.
const ANSWER_DEADLINE: Duration = Duration::from_secs(90);

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Where the control plane is and who calls.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ClientArgs {
    /// The control plane's address [default: the saved login's, else http://127.0.0.1:8080]
    #[arg(
        long,
        global = true,
        help_heading = "Common options",
        env = "POSTERN_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub url: Option<String>,

    /// A PEM file with the root certificate by which the control plane is known, where it is not a public one
    #[arg(
        long,
        global = true,
        help_heading = "Common options",
        env = "POSTERN_CA_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub ca_file: Option<PathBuf>,

    /// A PEM file with your client certificate, where that is how you prove who you are; gateways are shown it too
    #[arg(
        long,
        global = true,
        help_heading = "Common options",
        env = "POSTERN_CERT_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub cert_file: Option<PathBuf>,

    /// A PEM file with the key of the client certificate
    #[arg(
        long,
        global = true,
        help_heading = "Common options",
        env = "POSTERN_KEY_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub key_file: Option<PathBuf>,
}

impl ClientArgs {
    /// The caller's own certificate and its key.
    pub fn own_certificate(&self) -> Result<Option<OwnCertificate>, Failure> {
        match (&self.cert_file, &self.key_file) {
            (Some(certificate), Some(key)) => {
                Ok(Some(OwnCertificate { certificate: certificate.clone(), key: key.clone() }))
            }
            (None, None) => Ok(None),
            _ => Err(Failure::usage("--cert-file and --key-file (POSTERN_CERT_FILE, POSTERN_KEY_FILE) go together")),
        }
    }
}

/// A client of one control plane, as one caller.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
}

impl Client {
    /// A client as the environment, the arguments and the saved login say.
    pub fn new(args: &ClientArgs) -> Result<Self, Failure> {
        let saved = credentials::load()?;
        let url = args.url.as_deref().or(saved.as_ref().map(|login| login.url.as_str()));
        let base = parse_base(url.unwrap_or(DEFAULT_URL))?;
        let token = caller_token(&base, saved)?;
        Self::with_token(args, base, token)
    }

    /// A client with this token.
    pub fn with_token(args: &ClientArgs, base: Url, token: SecretString) -> Result<Self, Failure> {
        Ok(Self { http: http(args, &base)?, base, token })
    }

    /// A client with the token for which the control plane exchanges a machine's identity token (RFC 8693).
    pub async fn with_id_token(args: &ClientArgs, base: Url, id_token: &SecretString) -> Result<Self, Failure> {
        let client = Self::with_token(args, base, SecretString::default())?;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("subject_token", id_token.expose_secret()),
        ];
        client.get_token(&form, "tokens").await
    }

    /// A client with the token that the control plane gives for the certificate that the arguments name (RFC 8705).
    pub async fn with_certificate(args: &ClientArgs, base: Url) -> Result<Self, Failure> {
        let client = Self::with_token(args, base, SecretString::default())?;
        client.get_token(&[("grant_type", CERTIFICATE_GRANT)], "certificates").await
    }

    async fn get_token(self, form: &[(&str, &str)], proofs: &str) -> Result<Self, Failure> {
        match self.oauth("token", form).await? {
            Ok(ExchangedToken { access_token, .. }) => Ok(self.with(SecretString::from(access_token))),
            Err(refused) => Err(Failure::failed(refused.error_description).hint(format!(
                "An admin says whose {proofs} are good by a document of `kind: Issuer`; the audit says why this is not."
            ))),
        }
    }

    /// The same client with another token.
    pub fn with(self, token: SecretString) -> Self {
        Self { token, ..self }
    }

    /// Calls one of the endpoints of OAuth, which have errors of their own.
    pub async fn oauth<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        form: &[(&str, &str)],
    ) -> Result<Result<T, ExchangeError>, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["oauth", endpoint]);
        }
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let (status, body) = self.answer(request).await?;
        if status.is_success() {
            return self.read(&body).map(Ok);
        }
        serde_json::from_slice(&body).map(Err).map_err(|_| refused(status, &body))
    }

    /// Its token.
    pub fn token(&self) -> &SecretString {
        &self.token
    }

    /// The control plane's address.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Reads a resource.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(self.request(Method::GET, path)?).await
    }

    /// Reads a resource with a query.
    pub async fn query<T: DeserializeOwned, Q: Serialize + Sync>(&self, path: &str, query: &Q) -> Result<T, Failure> {
        self.call(self.request(Method::GET, path)?.query(query)).await
    }

    /// Makes or does something.
    pub async fn post<T: DeserializeOwned, B: Serialize + Sync>(&self, path: &str, body: &B) -> Result<T, Failure> {
        self.call(self.request(Method::POST, path)?.json(body)).await
    }

    /// Removes something.
    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, path)?).await.map(drop)
    }

    /// Sets what is at this path, whose segments may hold anything.
    pub async fn put<T: DeserializeOwned, B: Serialize + Sync>(&self, path: &[&str], body: &B) -> Result<T, Failure> {
        self.call(self.request_at(Method::PUT, path.iter().copied())?.json(body)).await
    }

    /// Removes what is at this path, whose segments may hold anything.
    pub async fn delete_at(&self, path: &[&str]) -> Result<(), Failure> {
        self.send(self.request_at(Method::DELETE, path.iter().copied())?).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, Failure> {
        self.request_at(method, path.split('/'))
    }

    fn request_at<'a>(
        &self,
        method: Method,
        path: impl Iterator<Item = &'a str>,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        let mut url = self.base.clone();
        {
            let mut segments =
                url.path_segments_mut().map_err(|()| Failure::usage("the control plane's address has no path"))?;
            // Each segment is escaped: an id that a user typed cannot name another resource.
            segments.pop_if_empty().extend(PREFIX.trim_matches('/').split('/')).extend(path);
        }
        Ok(self.http.request(method, url).bearer_auth(self.token.expose_secret()))
    }

    /// A stream that goes on until either side ends it.
    pub async fn stream(&self, path: &str) -> Result<reqwest::Response, Failure> {
        let request = self.request(Method::GET, path)?.timeout(Duration::MAX);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        Err(refused(status, &body))
    }

    async fn call<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, Failure> {
        let body = self.send(request).await?;
        self.read(&body)
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|error| {
            Failure::failed(format!("{} gave an answer that cannot be read: {error}", self.base))
                .hint("Is the command of the same version as the control plane?")
        })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, Failure> {
        let (status, body) = self.answer(request).await?;
        if status.is_success() { Ok(body) } else { Err(refused(status, &body)) }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, Vec<u8>), Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        Ok((status, body.to_vec()))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::failed(format!("cannot reach the control plane at {}", self.base))
            .detail(describe(error))
            .hint("Start one with `postern dev`, or set POSTERN_URL to the control plane's address.")
    }
}

/// A client that speaks to this control plane and to nobody else.
fn http(args: &ClientArgs, base: &Url) -> Result<reqwest::Client, Failure> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("postern/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(ANSWER_DEADLINE)
        // A redirect would carry the token to whoever it names.
        .redirect(reqwest::redirect::Policy::none());
    if is_loopback(base) {
        // A proxy cannot reach this machine's loopback.
        builder = builder.no_proxy();
    }
    if let Some(path) = &args.ca_file {
        let read = std::fs::read(path).map_err(|error| error.to_string());
        let roots = read
            .and_then(|pem| reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| e.to_string()))
            .map_err(|error| Failure::failed(format!("cannot use {}: {error}", path.display())))?;
        builder = builder.tls_certs_merge(roots);
    }
    if let Some(own) = args.own_certificate()? {
        builder = builder.identity(identity(&own)?);
    }
    builder.build().map_err(|error| Failure::failed(describe(&error)))
}

fn identity(own: &OwnCertificate) -> Result<reqwest::Identity, Failure> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))
    };
    let pem = [read(&own.certificate)?, b"\n".to_vec(), read(&own.key)?].concat();
    reqwest::Identity::from_pem(&pem).map_err(|error| {
        let (certificate, key) = (own.certificate.display(), own.key.display());
        Failure::failed(format!("cannot use {certificate} with {key}: {}", describe(&error)))
    })
}

fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let mut failure = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => Failure::from(body.error),
        Err(_) => Failure::failed(format!("the control plane answered {status}"))
            .hint("Does POSTERN_URL name a Postern control plane?"),
    };
    if status == StatusCode::UNAUTHORIZED && failure.report.hint.is_none() {
        failure = failure.hint("Run `postern login`, or set POSTERN_TOKEN.");
    }
    failure
}

/// The token to call with: POSTERN_TOKEN, else the saved login's where it is for this control plane.
fn caller_token(base: &Url, saved: Option<Login>) -> Result<SecretString, Failure> {
    if let Ok(token) = std::env::var("POSTERN_TOKEN")
        && !token.trim().is_empty()
    {
        return Ok(SecretString::from(token.trim()));
    }
    let elsewhere = saved.as_ref().map(|login| login.url.clone());
    // INVARIANT: a saved token goes to the control plane that it was saved for and to no other.
    if let Some(login) = saved
        && parse_base(&login.url)? == *base
    {
        return Ok(login.token);
    }
    let failure =
        Failure::failed(format!("not logged in to {base}")).hint("Run `postern login`, or set POSTERN_TOKEN.");
    Err(match elsewhere {
        Some(url) => failure.detail(format!("The saved login is for {url}.")),
        None => failure,
    })
}

/// Reads a control plane's address. Plain HTTP is for loopback only, since a token travels.
pub fn parse_base(text: &str) -> Result<Url, Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!("`{text}` is not a control plane's address: {why}"))
            .hint("Write for example https://postern.example.com or http://127.0.0.1:8080.")
    };
    let url: Url = text.parse().map_err(|_| wrong("it is no URL"))?;
    if url.host_str().is_none() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it has a host and no query"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("a token does not belong in it"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(wrong("without TLS only loopback is allowed")),
        _ => Err(wrong("it begins with https://")),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// An error with its causes, and without the URL, which reqwest adds.
fn describe(error: &reqwest::Error) -> String {
    let mut text = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let next = error.to_string();
        if text.last().is_none_or(|last: &String| !last.contains(&next)) {
            text.push(next);
        }
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_travels_in_the_clear_on_loopback_only() {
        for good in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:80/", "https://p.example.com/base"] {
            assert!(parse_base(good).is_ok(), "{good}");
        }
        for bad in [
            "http://p.example.com",
            "postern",
            "ftp://127.0.0.1",
            "https://a:b@p.example.com",
            "https://p.example.com/?a",
        ] {
            assert!(parse_base(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_cannot_name_another_resource() {
        let args = ClientArgs::default();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::with_token(&args, parse_base(DEFAULT_URL).unwrap(), SecretString::from("t")).unwrap();
        let request = client.request(Method::GET, "requests/a?b#c").unwrap().build().unwrap();
        assert_eq!(request.url().as_str(), "http://127.0.0.1:8080/api/v1/requests/a%3Fb%23c");
    }
}
