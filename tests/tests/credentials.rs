//! A database's password that is kept sealed in the control plane's store: sessions open with it, also once it was
//! rotated, and it is in no file in clear.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, sqlstate},
    cluster::{Cluster, READER_PASSWORD},
    dev::{self, Caller, Done},
    parts::{Part, Parts},
    wait,
};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

/// "At once" is promised; a loaded machine with an unoptimised build gets this.
const PUSHED_WITHIN: Duration = Duration::from_secs(5);

const FIRST: &str = "seeded-pushed-password-first-91c4";

const SECOND: &str = "seeded-pushed-password-second-2e7d";

/// `postern credentials set` with the password on standard input.
fn set(admin: &Caller, login: &str, password: &str) -> Done {
    let args = ["credentials", "set", "orders", login, "--password-file", "-", "--json"];
    let mut command = admin.command(&args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
    let output = child.wait_with_output().unwrap();
    Done {
        line: args.join(" "),
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The SQLSTATE and text with which a new session is refused.
async fn refusal(url: &str) -> (String, String) {
    let error = client::try_connect(url).await.err().expect("the session is refused");
    (sqlstate(&error), error.as_db_error().unwrap().message().to_owned())
}

/// Waits until a new session opens.
async fn until_open(url: &str) -> client::Client {
    wait::until("a session opens", PUSHED_WITHIN, || async { client::try_connect(url).await.ok() }).await
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_credential_opens_sessions_and_can_be_rotated() {
    let cluster = Cluster::start().await;
    let mut parts = Parts::start(&cluster).await;
    let (admin, agent) = (parts.admin().clone(), parts.agent().clone());
    let superuser = cluster.superuser().await;

    // The connector's own configuration holds nothing any more.
    parts.stop(Part::Connector);
    let path = parts.path("agent.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.split("connections:").next().unwrap()).unwrap();
    fs::remove_file(parts.path("reader.password")).unwrap();
    parts.launch(Part::Connector);
    parts.until_up();
    let grant = dev::grant(&agent, &admin, "orders", "read", "10m");
    let missing = wait::until("the connector serves", PUSHED_WITHIN, || async {
        let (state, text) = refusal(&grant.url).await;
        text.contains("holds no login").then_some(state)
    });
    assert_eq!(missing.await, "08006");

    // What is set is used, by whom it is set for, and replaced as a whole.
    let alter = |password: &str| format!("ALTER ROLE app_reader PASSWORD '{password}'");
    superuser.batch_execute(&alter(FIRST)).await.unwrap();
    let made = set(&admin, "app_reader", FIRST).json();
    assert_eq!((made["connection"].as_str(), made["login"].as_str()), (Some("orders"), Some("app_reader")));
    let first = until_open(&grant.url).await;
    assert_eq!(first.text("select session_user").await, "app_reader");
    superuser.batch_execute(&alter(SECOND)).await.unwrap();
    let (state, text) = refusal(&grant.url).await;
    assert_eq!((state.as_str(), text.as_str()), ("08006", "the database refused the connector's login"));
    let _ = set(&admin, "app_reader", SECOND).ok();
    let second = until_open(&grant.url).await;
    assert_eq!(second.text("select count(*) from items").await, "100");
    assert_eq!(first.text("select 1").await, "1");

    // It is there again after a restart of either side. A connector that stops would wait for sessions.
    drop((first, second));
    for part in [Part::Connector, Part::ControlPlane] {
        parts.stop(part);
        parts.launch(part);
        parts.until_up();
    }
    wait::until("a session opens after the restarts", Duration::from_secs(30), || async {
        client::try_connect(&grant.url).await.ok()
    })
    .await;

    // Only an admin may, and nobody is shown it.
    assert_eq!(set(&agent, "app_reader", "guess").code, 3);
    assert_eq!(agent.run(&["credentials", "list", "orders"]).code, 3);
    let listed = admin.run(&["credentials", "list", "orders", "--json"]).ok();
    let audit = admin.run(&["audit", "search", "--type", "control", "--limit", "1000", "--json"]).ok();
    assert!(listed.contains("app_reader") && audit.contains("database_credential.set"), "{listed} {audit}");

    let removed = admin.run(&["credentials", "remove", "orders", "app_reader"]).ok();
    assert!(removed.contains("is removed"), "{removed}");
    wait::until("new sessions are refused", PUSHED_WITHIN, || async {
        let error = client::try_connect(&grant.url).await.err()?;
        (sqlstate(&error) == "08006").then_some(())
    })
    .await;

    // Not while they run, and not once what they hold is written out.
    for stopped in [false, true] {
        if stopped {
            Part::ALL.into_iter().for_each(|part| parts.stop(part));
        }
        let found = files(&parts.path(""));
        assert!(found.iter().any(|path| path.ends_with("postern.db")));
        for secret in [FIRST, SECOND, READER_PASSWORD] {
            assert!(!listed.contains(secret) && !audit.contains(secret));
            for path in &found {
                let bytes = fs::read(path).unwrap_or_default();
                let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!holds, "{} holds {secret}", path.display());
            }
        }
    }
}
