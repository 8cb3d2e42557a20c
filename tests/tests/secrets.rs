//! Nothing secret is anywhere but where it has to be: not in a log, an error, an audit event, the process list,
//! the database's log, or a file that others may read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use aws_lc_rs::{hmac, pbkdf2};
use postern_e2e::{
    client,
    cluster::{APP_PASSWORD, Cluster, READER_PASSWORD, SUPERUSER_PASSWORD},
    dev::{self, Caller, Dev},
    parts::{Part, Parts},
    process::Process,
    raw::{self, Login, Raw, Tls},
    wait,
};
use std::{
    fs,
    num::NonZeroU32,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What must not be found, and how a failure calls it.
#[derive(Default)]
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= 8, "{name} is too short to be looked for");
        self.0.push((name.to_owned(), secret.to_vec()));
    }

    /// A key, as it is and in the usual writings.
    fn add_key(&mut self, name: &str, key: &[u8]) {
        self.add(name, key);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.add(&format!("{name} in hex"), hex.as_bytes());
        let base64 = base64(key);
        self.add(&format!("{name} in base64"), base64.trim_end_matches('=').as_bytes());
    }

    fn assert_absent(&self, place: &str, bytes: &[u8]) {
        for (name, secret) in &self.0 {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_slice());
            assert!(!found, "{name} is in {place}");
        }
    }

    fn assert_absent_in_files(&self, folder: &Path, but: &[&str]) {
        for file in files(folder) {
            if !but.iter().any(|name| file.ends_with(name)) {
                let bytes = fs::read(&file).unwrap_or_default();
                self.assert_absent(&file.display().to_string(), &bytes);
            }
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let index = usize::try_from((bits >> (18 - 6 * place)) & 63).unwrap();
            text.push(char::from(ALPHABET[index]));
        }
    }
    text
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

/// What a grant's secret is proved with: with any of these keys, one is as good as the secret.
async fn scram_keys(secrets: &mut Secrets, port: u16, login: &Login) {
    let mut raw = Raw::connect(port, Tls::Negotiated).await;
    raw.send(&login.packet()).await;
    raw.read().await;
    let first = b"n,,n=,r=clientnonce";
    let length = i32::try_from(first.len()).unwrap().to_be_bytes();
    raw.send(&raw::message(b'p', &[&raw::cstr("SCRAM-SHA-256")[..], &length, first].concat())).await;
    let answer = String::from_utf8(raw.read().await.body[4..].to_vec()).unwrap();
    let field = |name: &str| {
        let found = answer.split(',').find_map(|field| field.strip_prefix(name));
        found.unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let salt = unbase64(&field("s="));
    let iterations: NonZeroU32 = field("i=").parse().unwrap();
    let mut salted = [0u8; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, login.secret.as_bytes(), &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    secrets.add_key("a grant's salted password", &salted);
    secrets.add_key("a grant's client key", hmac::sign(&key, b"Client Key").as_ref());
}

fn unbase64(text: &str) -> Vec<u8> {
    let mut bits = 0u32;
    let mut count = 0;
    let mut bytes = Vec::new();
    for character in text.bytes().filter(|byte| *byte != b'=') {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    bytes
}

fn database_passwords(secrets: &mut Secrets) {
    secrets.add("the password of app", APP_PASSWORD.as_bytes());
    secrets.add("the password of app_reader", READER_PASSWORD.as_bytes());
    secrets.add("the superuser's password", SUPERUSER_PASSWORD.as_bytes());
}

/// All command lines of the machine.
fn command_lines() -> Vec<u8> {
    let mut lines = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        lines.extend(fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default());
        lines.push(b'\n');
    }
    lines
}

async fn http(port: u16, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    wait::within(path, Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}: {}", String::from_utf8_lossy(&answer));
    answer
}

/// Everything that the command line tells, but what is asked for as a secret.
fn everything_told(admin: &Caller, agent: &Caller, connection: &str) -> Vec<u8> {
    let mut told = Vec::new();
    let calls: [&[&str]; 14] = [
        &["audit", "search", "--type", "all", "--limit", "10000", "--json"],
        &["audit", "search", "--type", "all", "--limit", "10000"],
        &["sessions", "--status", "all", "--json"],
        &["requests", "--json"],
        &["grants", "--all", "--json"],
        &["connections", "--json"],
        &["connectors", "--json"],
        &["gateways", "--json"],
        &["tokens", "--json"],
        &["users", "--json"],
        &["agents", "--json"],
        &["whoami", "--json"],
        &["approve", "req_01k0000000000000000000000", "--json"],
        &["exec", connection, "-c", "select * from no_such_table", "--json"],
    ];
    for caller in [admin, agent] {
        for args in calls {
            let done = caller.run(args);
            told.extend(done.stdout.into_bytes());
            told.extend(done.stderr.into_bytes());
        }
    }
    told
}

fn assert_private(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
}

/// While a statement runs by each way in, the process list holds nothing.
async fn process_list(secrets: &Secrets, cluster: &Cluster, agent: &Caller, connection: &str, url: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut exec = agent.command(&["exec", connection, "--role", "all", "-c", "select pg_sleep(60)"]);
    let mut connect = agent.command(&["connect", connection, "--role", "all", "--", "-c", "select pg_sleep(60)"]);
    // Where `connect` keeps what psql reads the secret from.
    let runtime = folder.path().join("runtime");
    fs::create_dir(&runtime).unwrap();
    connect.env("XDG_RUNTIME_DIR", &runtime);
    let log = folder.path().join("log");
    let mut children = [Process::spawn("exec", &mut exec, &log), Process::spawn("connect", &mut connect, &log)];
    let watcher = cluster.superuser().await;
    let sleepers = async || {
        let sql = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
        watcher.text(sql).await
    };
    wait::until("both run", Duration::from_secs(20), || async { (sleepers().await == "2").then_some(()) }).await;
    secrets.assert_absent("the process list", &command_lines());
    for file in files(&runtime) {
        assert_private(&file);
    }
    for child in &mut children {
        child.stop();
        secrets.assert_absent("what the command wrote", child.output().as_bytes());
    }
    assert!(files(&runtime).is_empty(), "{:?} is left behind", files(&runtime));
    let what = "what they ran is stopped";
    wait::until(what, Duration::from_secs(10), || async { (sleepers().await == "0").then_some(()) }).await;
    assert!(client::psql_discreetly(url, "select 1").status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_dev() {
    let cluster = Cluster::start().await;
    let url = cluster.app_url_without_password();
    let mut dev = Dev::start_with(&["--postgres", &url], &[("PGPASSWORD", APP_PASSWORD), ("RUST_LOG", "debug")]);
    let (admin, agent) = (dev.admin(), dev.agent());
    let mut secrets = Secrets::default();
    database_passwords(&mut secrets);
    secrets.add("the admin's token", admin.token().as_bytes());
    secrets.add("the agent's token", agent.token().as_bytes());
    for role in ["read", "all"] {
        let grant = dev.grant(role, "10m");
        let login = Login::of_url(&grant.url);
        secrets.add("a grant's secret", login.secret.as_bytes());
        scram_keys(&mut secrets, dev.pg_port, &login).await;
        for plus in [false, true] {
            let mut raw = Raw::connect(dev.pg_port, Tls::Negotiated).await;
            raw.login(&Login { plus, ..login.clone() }).await.unwrap();
            raw.query("select count(*) from items").await;
            raw.query("select 1/0").await;
        }
        if role == "all" {
            process_list(&secrets, &cluster, &agent, "demo", &grant.url).await;
        }
    }
    let created = admin.run(&["tokens", "create", "--for", "agent:agent", "--name", "another"]).ok();
    secrets.add("a new token", created.trim().as_bytes());
    let joining = admin.run(&["join-token", "connector", "another"]).ok();
    secrets.add("a join token", joining.trim().as_bytes());
    // A login that the database refuses is an error like others.
    let superuser = cluster.superuser().await;
    superuser.batch_execute("alter role app password 'another-password-3f'").await.unwrap();
    let refused = agent.run(&["exec", "demo", "-c", "select 1", "--json"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("08006") && !refused.stderr.contains("127.0.0.1"), "{refused:?}");
    secrets.assert_absent("an error", refused.stderr.as_bytes());
    secrets.assert_absent("what is told", &everything_told(&admin, &agent, "demo"));
    let port = dev.ready()["http_url"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"] {
        secrets.assert_absent(path, &http(port, path).await);
    }
    secrets.assert_absent("the process list", &command_lines());
    // Also what is only written at the end.
    let data = dev.data();
    let public = dev.ready().to_string();
    for (name, secret) in &secrets.0 {
        let shown = String::from_utf8_lossy(secret).into_owned();
        assert!(name.contains("'s token") || !public.contains(&shown), "{name} is in dev.json");
    }
    assert_private(&data.join("dev.json"));
    assert!(dev.process().stop().success());
    secrets.assert_absent("the log of dev", dev.log().as_bytes());
    secrets.assert_absent("the database's log", cluster.log().as_bytes());
    secrets.assert_absent_in_files(&data, &["dev.json", "tokens.json"]);
    private_files(&data);
}

/// What has to be kept secret is for its owner only.
fn private_files(data: &Path) {
    let mut kept = Vec::new();
    for file in files(data) {
        let text = fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let key = text.windows(11).any(|window| window == b"PRIVATE KEY");
        let known = ["tokens.json", "dev.json", "identity.json", "master.key", "admin.token", "postern.db"];
        if key || known.contains(&name.as_str()) || name.starts_with("postern.db") {
            assert_private(&file);
            kept.push(name);
        }
        // Statements are somebody's data, whatever is in them.
        if file.components().any(|part| part.as_os_str() == "outbox") {
            let folder = file.parent().unwrap();
            let hidden = fs::metadata(folder).unwrap().permissions().mode() & 0o077 == 0;
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert!(hidden || mode & 0o077 == 0, "{} can be read by others", file.display());
        }
    }
    assert!(kept.contains(&"master.key".to_owned()) && kept.contains(&"postern.db".to_owned()), "{kept:?}");
    assert!(kept.iter().filter(|name| *name == "identity.json").count() == 2, "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_separate_processes() {
    let cluster = Cluster::start().await;
    let mut parts = Parts::start(&cluster).await;
    let (admin, agent) = (parts.admin().clone(), parts.agent().clone());
    let mut secrets = Secrets::default();
    database_passwords(&mut secrets);
    secrets.add("the admin's token", admin.token().as_bytes());
    secrets.add("the agent's token", agent.token().as_bytes());
    for token in parts.join_tokens() {
        secrets.add("a join token", token.as_bytes());
    }
    for role in ["read", "all"] {
        let grant = dev::grant(&agent, &admin, "orders", role, "10m");
        let login = Login::of_url(&grant.url);
        secrets.add("a grant's secret", login.secret.as_bytes());
        scram_keys(&mut secrets, parts.pg_port, &login).await;
        assert!(client::psql_discreetly(&grant.url, "select count(*) from items").status.success());
        if role == "all" {
            process_list(&secrets, &cluster, &agent, "orders", &grant.url).await;
        }
    }
    for part in Part::ALL.into_iter().rev() {
        parts.stop(part);
        parts.launch(part);
        parts.until_up();
    }
    secrets.assert_absent("what is told", &everything_told(&admin, &agent, "orders"));
    secrets.assert_absent("the process list", &command_lines());
    for part in Part::ALL.into_iter().rev() {
        parts.stop(part);
    }
    for part in Part::ALL {
        secrets.assert_absent(&format!("the log of {part:?}"), parts.log(part).as_bytes());
        for line in parts.log(part).lines() {
            assert!(line.starts_with('{'), "{part:?} logs for machines where there is no terminal: {line}");
        }
    }
    secrets.assert_absent("the database's log", cluster.log().as_bytes());
    // What the operator wrote, and what the first admin's token is told by.
    let own = ["admin.token", "gateway.token", "connector.token", "reader.password"];
    secrets.assert_absent_in_files(&parts.path(""), &own);
    for part in ["control-plane", "gateway", "agent"] {
        assert!(parts.path(part).is_dir());
    }
    private_files(&parts.path(""));
}
