//! Machines whose certificate is their identity: for a token at the control plane, and beside a grant's secret or a token at
//! the gateway's door, by psql, curl and handshakes of our own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    cluster::Cluster,
    dev::Caller,
    parts::{Part, Parts, Setup},
    raw::Login,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    client::ResolvesClientCert,
    crypto::aws_lc_rs::{default_provider, sign::any_supported_type},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(30);

/// How long the certificate is good that ends during the test.
const BRIEF: Duration = Duration::from_secs(25);

/// An authority, and where it writes what it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// The files of a certificate and its key.
#[derive(Clone)]
struct Own {
    certificate: PathBuf,
    key: PathBuf,
}

fn machine(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = format!("spiffe://acme.example/jobs/{name}");
    params.subject_alt_names.push(SanType::URI(id.as_str().try_into().unwrap()));
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "machines");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    fn sign(&self, file: &str, params: &CertificateParams) -> Own {
        let key = KeyPair::generate().unwrap();
        self.write(file, &params.signed_by(&key, &self.issuer).unwrap().pem(), &key)
    }

    fn write(&self, file: &str, certificate: &str, key: &KeyPair) -> Own {
        let [own, its] = ["pem", "key"].map(|kind| self.folder.path().join(format!("{file}.{kind}")));
        fs::write(&own, certificate).unwrap();
        fs::write(&its, key.serialize_pem()).unwrap();
        fs::set_permissions(&its, fs::Permissions::from_mode(0o600)).unwrap();
        Own { certificate: own, key: its }
    }

    fn documents(&self, database: u16) -> String {
        let pem = self.issuer.pem().replace('\n', "\n  ");
        let role =
            "mode: login, database_role: app_reader, read_only: true, max_duration: 1h, groups: [agents], approvals: 0";
        let entry =
            |name: &str| format!("- {{ agent: {name}, when: {{ uri: 'spiffe://acme.example/jobs/{name}' }} }}\n");
        format!(
            "kind: Agent\nname: nightly\ngroups: [agents]\n---\nkind: Agent\nname: daily\ngroups: [agents]\n---\n\
             kind: Issuer\nname: machines\nauthorities: |\n  {pem}\nagents:\n{}{}---\n\
             kind: Connection\nname: orders\ndatabase: postgresql://127.0.0.1:{database}/app?sslmode=disable\n\
             connector: con-1\nroles:\n  bound: {{ {role}, bind: [certificate] }}\n  free: {{ {role} }}\n",
            entry("nightly"),
            entry("daily"),
        )
    }
}

struct Fixture {
    parts: Parts,
    authority: Authority,
    database: u16,
    _cluster: Cluster,
}

impl Fixture {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let setup = Setup { https: true, clients: "token_as_password: true", ..Setup::default() };
        let parts = Parts::start_with(&cluster, setup).await;
        Self { parts, authority: Authority::new(), database: cluster.port, _cluster: cluster }
    }

    fn apply(&self, documents: &str) {
        let file = self.authority.folder.path().join("documents.yaml");
        fs::write(&file, documents).unwrap();
        let _ = self.parts.admin().run(&["apply", file.to_str().unwrap()]).ok();
    }

    /// The command line of a machine in a home of its own.
    fn caller(&self, own: &Own) -> Caller {
        let home = own.certificate.with_extension("home");
        fs::create_dir_all(&home).unwrap();
        Caller::new(&self.parts.url, "", &home)
            .with("POSTERN_CA_FILE", &self.parts.path("root.pem"))
            .with("POSTERN_CERT_FILE", &own.certificate)
            .with("POSTERN_KEY_FILE", &own.key)
    }

    /// `curl` of a path of the control plane's, with a certificate.
    fn curl(&self, own: Option<&Own>, path: &str, more: &[&str]) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--cacert", self.parts.path("root.pem").to_str().unwrap()]);
        if let Some(own) = own {
            curl.arg("--cert").arg(&own.certificate).arg("--key").arg(&own.key);
        }
        let output = curl.args(more).arg(format!("{}{path}", self.parts.url)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn token(&self, own: Option<&Own>) -> Value {
        let token = self.curl(own, "/oauth/token", &["-d", "grant_type=client_credentials"]);
        serde_json::from_str(&token).unwrap()
    }

    /// The status of a call with this token.
    fn call(&self, own: Option<&Own>, token: &str) -> String {
        let bearer = format!("authorization: Bearer {token}");
        let more = ["-o", "/dev/null", "-w", "%{http_code}", "-H", &bearer];
        self.curl(own, "/api/v1/whoami", &more)
    }

    /// What the tool `whoami` of the Model Context Protocol answers to a call with this token.
    fn tool(&self, own: Option<&Own>, token: &str) -> String {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({ "name": "whoami", "arguments": {}, "_meta": meta });
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
        let mut more = vec!["-d", &call];
        let bearer = format!("authorization: Bearer {token}");
        for header in [
            bearer.as_str(),
            "content-type: application/json",
            "accept: application/json, text/event-stream",
            "mcp-protocol-version: 2026-07-28",
            "mcp-method: tools/call",
            "mcp-name: whoami",
        ] {
            more.extend(["-H", header]);
        }
        self.curl(own, "/mcp", &more)
    }

    /// A URL by token, as a driver has it that knows no tokens.
    fn by_token(&self, role: &str, token: &str) -> String {
        let root = self.parts.path("root.pem");
        let (port, root) = (self.parts.pg_port, root.display());
        format!("postgresql://{role}:{token}@localhost:{port}/orders?sslmode=verify-full&sslrootcert={root}")
    }

    fn newest_session(&self) -> Value {
        self.parts.admin().run(&["sessions", "--status", "all", "--json"]).json()[0].clone()
    }
}

/// psql by this URL, which shows this certificate.
fn psql(url: &str, own: Option<&Own>, more: &str) -> Output {
    let base = url.split("&sslcert=").next().unwrap();
    let own = own.map(|own| format!("&sslcert={}&sslkey={}", own.certificate.display(), own.key.display()));
    client::psql(&format!("{base}{}{more}", own.unwrap_or_default()), "select 6 * 7")
}

fn refused(name: &str, output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(why), "{name}: {output:?}");
    assert!(said.contains("HINT:"), "{name}: {output:?}");
}

fn answers(output: &Output) {
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "42", "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates() {
    let fixture = Fixture::start().await;
    let Fixture { parts, authority, .. } = &fixture;
    let nightly = authority.sign("nightly", &machine("nightly"));
    asked_for(&fixture, &nightly).await;

    // One whose time will be over.
    let begun = SystemTime::now();
    let mut params = machine("nightly");
    params.not_after = date_time_ymd(1970, 1, 1) + begun.duration_since(UNIX_EPOCH).unwrap() + BRIEF;
    let brief = authority.sign("brief", &params);
    let its_url = granted(&fixture, &brief);
    answers(&psql(&its_url, Some(&brief), ""));

    let url = granted(&fixture, &nightly);
    let caller = fixture.caller(&nightly);
    let whoami = caller.run(&["whoami", "--json"]).json();
    assert_eq!((&whoami["name"], whoami["token"]["certificate"].as_str().unwrap().len()), (&json!("nightly"), 64));
    let _ = caller.run(&["exec", "orders", "--role", "bound", "-c", "select 1"]).ok();
    at_the_door(&fixture, &url, &nightly);
    tokens(&fixture, &nightly);
    possession(&fixture, &nightly).await;
    whoever_has_none_is_served_as_ever(&fixture, &nightly);

    tokio::time::sleep((BRIEF + Duration::from_secs(1)).saturating_sub(begun.elapsed().unwrap())).await;
    refused("over", &psql(&its_url, Some(&brief), ""), "is over");
    // What a document trusted that is gone, nobody trusts.
    answers(&psql(&url, Some(&nightly), ""));
    fixture.apply("kind: Issuer\nname: machines\ndelete: true\n");
    refused("removed", &psql(&url, Some(&nightly), ""), "no authority that is trusted here");
    for part in Part::ALL {
        assert!(!parts.log(part).contains("panicked"), "{part:?}");
    }
}

/// The URL of a grant that a machine has asked for and got, by the command line alone.
fn granted(fixture: &Fixture, own: &Own) -> String {
    let caller = fixture.caller(own);
    let login = caller.run(&["login", "--json"]).json();
    assert_eq!(login["name"], "nightly");
    let request = caller.request("orders", "bound", "10m");
    assert!(request.starts_with("req_"), "{request}");
    caller.run(&["url", "orders", "--role", "bound"]).ok().trim().to_owned()
}

/// Nobody is asked for a certificate before a document says whose are good; then for those.
async fn asked_for(fixture: &Fixture, own: &Own) {
    let knock = Knock::new(fixture, own, own);
    assert!(knock.https(&TLS13).await.is_ok());
    assert_eq!(knock.asked_for(), None);
    fixture.apply(&fixture.authority.documents(fixture.database));
    let knock = Knock::new(fixture, own, own);
    assert!(knock.https(&TLS13).await.is_ok());
    assert_eq!(knock.asked_for().unwrap().len(), 1);
}

fn at_the_door(fixture: &Fixture, url: &str, nightly: &Own) {
    let authority = &fixture.authority;
    assert!(url.contains("&sslcert=") && url.contains("&sslkey="), "{url}");
    answers(&client::psql(url, "select 6 * 7"));
    for version in ["TLSv1.2", "TLSv1.3"] {
        let only = format!("&ssl_min_protocol_version={version}&ssl_max_protocol_version={version}");
        answers(&psql(url, Some(nightly), &only));
        assert_eq!(fixture.newest_session()["auth_method"], "scram-sha-256-plus+certificate");
        refused(version, &psql(url, None, &only), "none was shown");
    }
    let own_key = KeyPair::generate().unwrap();
    let by_itself = authority.write("itself", &machine("nightly").self_signed(&own_key).unwrap().pem(), &own_key);
    let mut for_servers = machine("nightly");
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let (another, elsewhere) = ("it is another one", Authority::new());
    for (name, own, why) in [
        ("none", None, "none was shown"),
        ("with another key", Some(authority.sign("again", &machine("nightly"))), another),
        ("signed by itself", Some(by_itself), another),
        ("of another agent", Some(authority.sign("daily", &machine("daily"))), another),
        ("for servers", Some(authority.sign("servers", &for_servers)), another),
        ("of another authority", Some(elsewhere.sign("elsewhere", &machine("nightly"))), another),
    ] {
        refused(name, &psql(url, own.as_ref(), ""), why);
    }
    // The certificate alone opens nothing.
    let secret = client::password(url);
    let guess = psql(&url.replace(&secret, "guess"), Some(nightly), "");
    assert!(String::from_utf8_lossy(&guess.stderr).contains("authentication failed"), "{guess:?}");
    answers(&psql(url, Some(nightly), ""));
}

/// A token that was given for a certificate, with it and without.
fn tokens(fixture: &Fixture, nightly: &Own) {
    let given = fixture.token(Some(nightly));
    let token = given["access_token"].as_str().unwrap();
    let again = fixture.authority.sign("token", &machine("nightly"));
    assert_eq!(fixture.call(Some(nightly), token), "200");
    assert!(fixture.tool(Some(nightly), token).contains("\"nightly\""), "{}", fixture.tool(Some(nightly), token));
    assert!(fixture.tool(None, token).contains("bound to a certificate that was not shown"));
    for own in [None, Some(&again)] {
        assert_eq!(fixture.call(own, token), "401");
        let refused = psql(&fixture.by_token("bound", token), own, "");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("bound to a certificate that was not shown"));
    }
    answers(&psql(&fixture.by_token("bound", token), Some(nightly), ""));
    assert_eq!(fixture.newest_session()["auth_method"], "token-as-password+certificate");
    // Without one there is none, nor for one that is nobody's.
    let nobody = fixture.authority.sign("nobody", &machine("nobody"));
    for (own, why) in [(None, "none was shown"), (Some(&nobody), "no agent here")] {
        let given = fixture.token(own);
        assert_eq!(given["error"], "invalid_client", "{given}");
        assert!(given["error_description"].as_str().unwrap().contains(why), "{given}");
    }
}

/// Whoever shows no certificate, or one of other servers', has what is not bound.
fn whoever_has_none_is_served_as_ever(fixture: &Fixture, nightly: &Own) {
    let agent = fixture.parts.agent();
    let _ = agent.request("orders", "free", "10m");
    let url = agent.run(&["url", "orders", "--role", "free"]).ok();
    let key = KeyPair::generate().unwrap();
    let elsewhere = fixture.authority.write("free", &machine("x").self_signed(&key).unwrap().pem(), &key);
    for own in [None, Some(&elsewhere), Some(nightly)] {
        answers(&psql(url.trim(), own, ""));
        assert_eq!(fixture.newest_session()["auth_method"], "scram-sha-256-plus");
    }
    assert_eq!(fixture.call(Some(&elsewhere), agent.token()), "200");
    let asks = agent.run(&["request", "orders", "--role", "bound", "--for", "10m", "--reason", "a test"]);
    assert!(asks.code == 3 && asks.stderr.contains("bound to a certificate"), "{asks:?}");
}

/// A handshake of our own, which shows a certificate and signs by a key.
struct Knock {
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    asked_for: Arc<Mutex<Option<Vec<Vec<u8>>>>>,
    ports: [u16; 2],
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>, Arc<Mutex<Option<Vec<Vec<u8>>>>>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, authorities: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.1.lock().unwrap() = Some(authorities.iter().map(|name| name.to_vec()).collect());
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Knock {
    /// One that shows the certificate of the one and has the key of the other.
    fn new(fixture: &Fixture, shown: &Own, has: &Own) -> Self {
        let chain = CertificateDer::pem_file_iter(&shown.certificate).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        Self::chain(fixture, chain, &has.key)
    }

    fn chain(fixture: &Fixture, chain: Vec<CertificateDer<'static>>, key: &Path) -> Self {
        let key = any_supported_type(&PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(fixture.parts.path("root.pem")).unwrap()).unwrap();
        let http = fixture.parts.url.rsplit(':').next().unwrap().parse().unwrap();
        Self {
            certified: Arc::new(CertifiedKey::new(chain, key)),
            roots: Arc::new(roots),
            asked_for: Arc::default(),
            ports: [http, fixture.parts.pg_port],
        }
    }

    fn asked_for(&self) -> Option<Vec<Vec<u8>>> {
        self.asked_for.lock().unwrap().clone()
    }

    async fn https(&self, version: &'static SupportedProtocolVersion) -> io::Result<u8> {
        self.says(self.ports[0], b"http/1.1", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", version).await
    }

    async fn gateway(&self, version: &'static SupportedProtocolVersion) -> io::Result<u8> {
        let login = Login::of_url("postgresql://read:x@localhost/orders");
        self.says(self.ports[1], b"postgresql", &login.packet(), version).await
    }

    /// The first byte of an answer.
    async fn says(
        &self,
        port: u16,
        alpn: &[u8],
        hello: &[u8],
        version: &'static SupportedProtocolVersion,
    ) -> io::Result<u8> {
        let shows = Shows(Arc::clone(&self.certified), Arc::clone(&self.asked_for));
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_cert_resolver(Arc::new(shows));
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let answer = async {
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            stream.write_all(hello).await?;
            stream.flush().await?;
            stream.read_u8().await
        };
        timeout(PATIENCE, answer).await.unwrap()
    }
}

/// A certificate is nothing without its key, at either door, in either version of TLS.
async fn possession(fixture: &Fixture, nightly: &Own) {
    let other = fixture.authority.sign("thief", &machine("thief"));
    let own = CertificateDer::from_pem_file(&nightly.certificate).unwrap();
    let garbage = CertificateDer::from(vec![0x30, 0x82, 0xff, 0xff, 0x41]);
    let with = |chain: Vec<_>| Knock::chain(fixture, chain, &nightly.key);
    for version in [&TLS12, &TLS13] {
        for (name, knock) in [
            ("another's key", Knock::new(fixture, nightly, &other)),
            ("another's certificate", Knock::new(fixture, &other, nightly)),
            ("garbage", with(vec![garbage.clone()])),
            ("an empty one", with(vec![CertificateDer::from(Vec::new())])),
            ("too many", with(vec![own.clone(); 9])),
            ("too much", with(vec![own.clone(), CertificateDer::from(vec![0x30; 40_000])])),
        ] {
            assert!(knock.gateway(version).await.is_err(), "{name}, {version:?}, at the gateway");
            assert!(knock.https(version).await.is_err(), "{name}, {version:?}, at the control plane");
        }
        for knock in [Knock::new(fixture, nightly, nightly), with(vec![own.clone(); 8])] {
            assert_eq!(knock.gateway(version).await.unwrap(), b'R');
            assert_eq!(knock.https(version).await.unwrap(), b'H');
        }
    }
}
