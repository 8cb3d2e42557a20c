//! The whole story: an agent asks, an admin approves, the agent's client connects and queries, the admin reads
//! who ran what. On `postern dev` from a clean folder, and on the three parts as processes of their own, again
//! after each of them was stopped and started.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    cluster::Cluster,
    dev::{self, Caller, Dev, Grant},
    parts::{Part, Parts},
    process::{Process, free_port, postern, tail},
    wait,
};
use serde_json::{Value, json};
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// The promise.
const AUDITED_WITHIN: Duration = Duration::from_secs(2);

/// The newest statement with `marker` in its text that has ended, within the promised time of now.
async fn audited(admin: &Caller, marker: &str) -> Value {
    wait::until(&format!("the audit has {marker}"), AUDITED_WITHIN, || async {
        let found = admin.statements(marker).into_iter().next()?;
        (!found["outcome"].is_null()).then_some(found)
    })
    .await
}

fn text(event: &Value, field: &str) -> String {
    event[field].as_str().unwrap_or_else(|| panic!("{field} in {event}")).to_owned()
}

/// Exactly one line, which is a URL.
fn one_url(stdout: &str) -> String {
    let url = stdout.strip_suffix('\n').unwrap_or_else(|| panic!("{stdout:?}"));
    assert!(!url.contains('\n'), "{stdout:?}");
    assert!(url.starts_with("postgresql://grt_"), "{url}");
    url.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_on_dev() {
    let config = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(config.path(), "kind: User\nname: alice\n").unwrap();
    let mut dev = Dev::start(&["--config", config.path().to_str().unwrap()]);
    let (agent, admin) = (dev.agent(), dev.admin());
    let grant = asking(&agent, &admin);
    psql_runs(&agent, &admin, &grant).await;
    exec_writes_each_format(&agent, &admin, &grant).await;
    errors_are_errors(&agent, &admin, &grant).await;
    roles_are_what_they_say(&dev).await;
    on_behalf_of(&agent, &admin).await;
    denied_requests(&agent, &admin);
    statements_of_others_are_not_shown(&agent, &admin).await;
    // Tokens, grants and the audit outlive a restart; the throwaway database does not.
    dev.restart();
    let (agent, admin) = (dev.agent(), dev.admin());
    assert!(!admin.statements("story_psql").is_empty());
    let rows = agent.run(&["exec", "demo", "--role", "read", "-c", "select 7 as story_again", "--json"]);
    assert_eq!(rows.json(), json!([{ "story_again": 7 }]));
    audited(&admin, "story_again").await;
    assert!(dev.process().stop().success());
    assert!(!dev.log().contains('\u{1b}'), "the log of no terminal has colour");
}

/// request → pending → the agent may not approve → the admin approves → the URL and nothing else.
fn asking(agent: &Caller, admin: &Caller) -> Grant {
    let early = agent.run(&["url", "demo", "--role", "read"]);
    assert_eq!((early.code, early.stdout.as_str()), (1, ""), "{early:?}");
    assert!(early.stderr.contains("postern request demo --role read"), "{early:?}");
    let args = ["request", "demo", "--role", "read", "--for", "10m", "--reason", "story", "--json"];
    let request = agent.run(&args).json();
    assert_eq!(request["status"], "pending", "{request}");
    let id = text(&request, "id");
    let own = agent.run(&["approve", &id]);
    assert!(matches!(own.code, 1 | 3), "{own:?}");
    assert!(own.stderr.to_lowercase().contains("agent"), "it says why: {own:?}");
    let still = agent.run(&["requests", "show", &id, "--json"]).json();
    assert_eq!(still["status"], "pending", "{still}");
    let pending = admin.run(&["requests", "--status", "pending", "--json"]).json();
    assert!(pending.as_array().unwrap().iter().any(|request| request["id"] == id.as_str()), "{pending}");
    let approved = admin.run(&["approve", &id, "--json"]).json();
    assert_eq!(approved["status"], "approved", "{approved}");
    let grants = agent.run(&["grants", "--json"]).json();
    let grants = grants.as_array().unwrap();
    assert_eq!(grants.len(), 1, "{grants:?}");
    for (field, expect) in [("connection", "demo"), ("role", "read"), ("status", "open")] {
        assert_eq!(grants[0][field], expect, "{grants:?}");
    }
    assert!(grants[0]["expires_at"].is_string(), "{grants:?}");
    // A second claim replaces the first.
    let first = one_url(&agent.run(&["url", "demo", "--role", "read"]).ok());
    let url = one_url(&agent.run(&["url", "demo", "--role", "read"]).ok());
    assert_ne!(first, url);
    let stale = client::psql(&first, "select 1");
    assert!(!stale.status.success(), "the first claim's secret still works");
    Grant { id: text(&grants[0], "id"), url }
}

async fn psql_runs(agent: &Caller, admin: &Caller, grant: &Grant) {
    let sql = "select status, count(*) from orders group by 1 order by 1 -- story_psql";
    let output = client::psql(&grant.url, sql);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(lines.lines().count() > 1 && lines.contains('|'), "{lines}");
    let event = audited(admin, "story_psql").await;
    for (field, expect) in [
        ("sql", sql),
        ("principal", "agent"),
        ("principal_kind", "agent"),
        ("connection", "demo"),
        ("role", "read"),
        ("database_role", "shop_reader"),
        ("decision", "allow"),
        ("outcome", "ok"),
        ("grant", &grant.id),
    ] {
        assert_eq!(event[field], expect, "{field} in {event}");
    }
    assert_eq!(event["rows"], lines.lines().count(), "{event}");
    assert!(event["duration_ms"].as_f64().unwrap() > 0.0, "{event}");
    assert!(event["bytes"].as_u64().unwrap() > 0, "{event}");
    assert!(event["sqlstate"].is_null() || event["sqlstate"] == "", "{event}");
    let newest = admin.run(&["audit", "search", "--json"]).json();
    assert!(newest.as_array().unwrap().len() <= 100, "unfiltered: the newest 100");
    // An agent has its own statements to read.
    assert!(!agent.statements("story_psql").is_empty());
}

async fn exec_writes_each_format(agent: &Caller, admin: &Caller, _: &Grant) {
    let sql = "select id, name, null as nothing from products where id <= 2 order by id -- story_exec";
    let exec = |more: &[&str]| {
        let args = [&["exec", "demo", "--role", "read", "-c", sql][..], more].concat();
        agent.run(&args).ok()
    };
    let rows: Value = serde_json::from_str(&exec(&["--json"])).unwrap();
    assert_eq!(rows[0]["id"], 1, "{rows}");
    assert!(rows[1]["name"].is_string() && rows[1]["nothing"].is_null(), "{rows}");
    let name = text(&rows[0], "name");
    let csv = exec(&["--format", "csv"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 3, "{csv}");
    assert_eq!((lines[0], lines[1]), ("id,name,nothing", format!("1,{name},").as_str()));
    let table = exec(&[]);
    assert!(table.contains("nothing") && table.contains(&name), "{table}");
    let event = audited(admin, "story_exec").await;
    assert_eq!(event["rows"], 2, "{event}");
    assert_eq!(event["sql"], sql, "{event}");
}

async fn errors_are_errors(agent: &Caller, admin: &Caller, grant: &Grant) {
    let output = client::psql(&grant.url, "select * from story_missing");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && stderr.contains("42P01"), "{stderr}");
    let event = audited(admin, "story_missing").await;
    assert_eq!((&event["sqlstate"], &event["outcome"]), (&json!("42P01"), &json!("error")), "{event}");
    let failed = agent.run(&["exec", "demo", "-c", "select 1/0 as story_zero", "--json"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    let error: Value = serde_json::from_str(&failed.stderr).unwrap();
    assert_eq!(error["error"]["sqlstate"], "22012", "{error}");
    let event = audited(admin, "story_zero").await;
    assert_eq!(event["sqlstate"], "22012", "{event}");
    let found = admin.run(&["audit", "search", "--sqlstate", "22012", "--json"]).json();
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
}

/// `read` cannot write, neither by default nor by asking for it; `write` can; `all` can change tables.
async fn roles_are_what_they_say(dev: &Dev) {
    let read = client::connect(&dev.grant("read", "10m").url).await;
    assert_eq!(read.text("show transaction_read_only").await, "on");
    let error = read.batch_execute("insert into products select * from products").await.unwrap_err();
    assert_eq!(client::sqlstate(&error), "42501");
    let error = read.batch_execute("begin read write; delete from products where id = 1").await.unwrap_err();
    assert_eq!(client::sqlstate(&error), "42501");
    let write = client::connect(&dev.grant("write", "10m").url).await;
    let changed = write.execute("update products set stock = stock where id = 1", &[]).await.unwrap();
    assert_eq!(changed, 1);
    let error = write.batch_execute("drop table products").await.unwrap_err();
    assert_eq!(client::sqlstate(&error), "42501");
    let all = client::connect(&dev.grant("all", "10m").url).await;
    all.batch_execute("create table story_new (x int); drop table story_new").await.unwrap();
}

async fn on_behalf_of(agent: &Caller, admin: &Caller) {
    let args = ["request", "demo", "--role", "read", "--for", "10m", "--reason", "for her", "--on-behalf-of", "alice"];
    let request = agent.run(&[&args[..], &["--json"]].concat()).json();
    assert_eq!(request["on_behalf_of"]["name"], "alice", "{request}");
    let _ = admin.run(&["approve", &text(&request, "id")]).ok();
    let _ = agent.run(&["exec", "demo", "--role", "read", "-c", "select 1 as story_behalf"]).ok();
    let event = audited(admin, "story_behalf").await;
    assert_eq!((&event["principal"], &event["on_behalf_of"]), (&json!("agent"), &json!("alice")), "{event}");
    let found = admin.run(&["audit", "search", "--on-behalf-of", "alice", "--json"]).json();
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    let unknown =
        agent.run(&["request", "demo", "--role", "read", "--for", "10m", "--reason", "x", "--on-behalf-of", "nobody"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    // Nobody approves what was asked on their behalf.
    let args =
        ["request", "demo", "--role", "read", "--for", "10m", "--reason", "x", "--on-behalf-of", "admin", "--json"];
    let id = text(&agent.run(&args).json(), "id");
    let own = admin.run(&["approve", &id]);
    assert!(matches!(own.code, 1 | 3), "{own:?}");
    let _ = agent.run(&["withdraw", &id]).ok();
}

fn denied_requests(agent: &Caller, admin: &Caller) {
    let id = agent.request("demo", "write", "10m");
    let _ = admin.run(&["deny", &id, "--reason", "use the replica"]).ok();
    let shown = agent.run(&["requests", "show", &id]).ok();
    assert!(shown.contains("denied") && shown.contains("use the replica"), "{shown}");
    let late = admin.run(&["approve", &id]);
    assert_eq!(late.code, 1, "a decided request stays decided: {late:?}");
    // Waiting: denied is 3, unanswered is 4, and wrong usage is 2.
    let wait = ["request", "demo", "--role", "write", "--for", "10m", "--reason", "x", "--wait", "--wait-timeout"];
    let unanswered = agent.run(&[&wait[..], &["1s"]].concat());
    assert_eq!(unanswered.code, 4, "{unanswered:?}");
    let mut waiting = agent.command(&[&wait[..], &["30s"]].concat());
    let known = admin.run(&["requests", "--status", "pending", "--json"]).json().as_array().unwrap().len();
    let child = waiting.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let id = wait::until_now("the request is there", Duration::from_secs(10), || {
        let pending = admin.run(&["requests", "--status", "pending", "--json"]).json();
        let pending = pending.as_array().unwrap().clone();
        (pending.len() > known).then(|| text(&pending[0], "id"))
    });
    let _ = admin.run(&["deny", &id, "--reason", "no"]).ok();
    let answer = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(answer.elapsed() < Duration::from_secs(5), "a waiter hears at once");
    assert_eq!(agent.run(&["request", "demo"]).code, 2);
    let long = agent.run(&["request", "demo", "--role", "read", "--for", "25h", "--reason", "x"]);
    assert!(matches!(long.code, 1 | 3), "longer than the role allows: {long:?}");
    let unknown = agent.run(&["request", "nowhere", "--role", "read", "--for", "1m", "--reason", "x"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
}

/// The admin's own statements are not for the agent; the agent's are for the auditor.
async fn statements_of_others_are_not_shown(agent: &Caller, admin: &Caller) {
    assert_eq!(agent.run(&["users", "--json"]).code, 3, "an agent lists no users");
    let found = agent.run(&["audit", "search", "--type", "control", "--json"]);
    assert!(!found.stdout.contains("token.") && found.code <= 3, "{found:?}");
    let wrong = Caller::new("http://127.0.0.1:1", "postern_wrong", std::path::Path::new("/nonexistent"));
    assert_eq!(wrong.run(&["whoami"]).code, 1);
    let control = admin.run(&["audit", "search", "--type", "control", "--json"]).json();
    let actions: Vec<_> = control.as_array().unwrap().iter().map(|event| text(event, "action")).collect();
    for action in ["request.", "grant."] {
        assert!(actions.iter().any(|there| there.starts_with(action)), "{action}: {actions:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_on_separate_processes() {
    let cluster = Cluster::start().await;
    let mut parts = Parts::start(&cluster).await;
    let grant = story_on_parts(&mut parts, "first").await;
    for part in Part::ALL {
        parts.stop(part);
        parts.launch(part);
        parts.until_up();
        let word = format!("{part:?}").to_lowercase();
        // The grant from before still opens the door, with the secret from before.
        let old = client::psql(&grant.url, &format!("select 'still_{word}'"));
        let log = tail(&parts.log(Part::Gateway));
        assert!(old.status.success(), "{part:?}: {}\n{log}", String::from_utf8_lossy(&old.stderr));
        audited(parts.admin(), &format!("still_{word}")).await;
        story_on_parts(&mut parts, &word).await;
    }
    // Nothing is there twice, and nothing is lost, whatever was restarted in between.
    for word in ["first", "still_controlplane", "still_gateway", "still_connector"] {
        let found = parts.admin().statements(word);
        assert!(found.iter().all(|event| event["outcome"] == "ok"), "{found:?}");
        let mut ids: Vec<_> = found.iter().map(|event| (text(event, "session"), event["seq"].as_u64())).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), found.len(), "{found:?}");
    }
}

async fn story_on_parts(parts: &mut Parts, word: &str) -> Grant {
    let (agent, admin) = (parts.agent().clone(), parts.admin().clone());
    let request =
        ["request", "orders", "--role", "read", "--for", "10m", "--reason", word, "--on-behalf-of", "alice", "--json"];
    let request = agent.run(&request).json();
    assert_eq!(request["status"], "pending", "{request}");
    let own = agent.run(&["approve", &text(&request, "id")]);
    assert!(matches!(own.code, 1 | 3), "{own:?}");
    let approved = admin.run(&["approve", &text(&request, "id"), "--json"]).json();
    let url = one_url(&agent.run(&["url", "orders", "--role", "read"]).ok());
    assert!(url.contains("sslmode=verify-full") && url.contains("&sslrootcert="), "{url}");
    let sql = format!("select count(*) from items -- {word}_psql");
    let output = client::psql(&url, &sql);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "100\n");
    let event = audited(&admin, &format!("{word}_psql")).await;
    for (field, expect) in [
        ("sql", sql.as_str()),
        ("principal", "ci"),
        ("on_behalf_of", "alice"),
        ("connection", "orders"),
        ("role", "read"),
        ("database_role", "app_reader"),
        ("outcome", "ok"),
    ] {
        assert_eq!(event[field], expect, "{field} in {event}");
    }
    assert_eq!((&event["rows"], &event["grant"]), (&json!(1), &approved["grant_id"]), "{event}");
    let rows = agent.run(&["exec", "orders", "--role", "read", "-c", "select 1 as one", "--json"]).json();
    assert_eq!(rows, json!([{ "one": 1 }]));
    let plaintext = client::psql(&url.replace("sslmode=verify-full", "sslmode=disable"), "select 1");
    let stderr = String::from_utf8_lossy(&plaintext.stderr).into_owned();
    assert!(!plaintext.status.success() && stderr.contains("TLS"), "plaintext is refused: {stderr}");
    Grant { id: text(&approved, "grant_id"), url }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_setting_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["control-plane", "gateway", "agent"] {
        let file = folder.path().join(part);
        let text = format!("data_dir: {}\nmisspelt_setting: 1\n", folder.path().join("data").display());
        std::fs::write(&file, text).unwrap();
        let output = Command::new(postern()).args([part, "--config"]).arg(&file).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && stderr.contains("misspelt_setting"), "{part}: {stderr}");
    }
    let file = folder.path().join("dev.yaml");
    std::fs::write(&file, "kind: User\nname: bob\nadmni: true\n").unwrap();
    let mut command = Command::new(postern());
    let ports = [free_port(), free_port()].map(|port| port.to_string());
    command.args(["dev", "--pg-port", &ports[0], "--http-port", &ports[1], "--data-dir"]);
    command.arg(folder.path().join("dev")).arg("--config").arg(&file);
    let mut process = Process::spawn("postern dev", &mut command, &folder.path().join("log"));
    let status = wait::until_now("dev refuses", Duration::from_secs(60), || process.ended());
    assert!(!status.success() && process.output().contains("admni"), "{}", process.output());
    assert!(!folder.path().join("dev/dev.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_fronts_a_database_that_is_dropped_and_made_again() {
    let cluster = Cluster::start().await;
    let app = cluster.app().await;
    let before = app.text("select count(*) from pg_class").await;
    let url = cluster.app_url_without_password();
    let password = postern_e2e::cluster::APP_PASSWORD;
    let mut dev = Dev::start_with(&["--postgres", &url], &[("PGPASSWORD", password)]);
    let grant = dev.grant("all", "10m");
    let through = client::connect(&grant.url).await;
    assert_eq!(through.text("select count(*) from items").await, "100");
    assert_eq!(app.text("select count(*) from pg_class").await, before, "nothing is created there");
    let superuser = cluster.superuser().await;
    superuser
        .batch_execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
        .await
        .unwrap();
    let ended = wait::until("the client is told", Duration::from_secs(5), || async {
        through.events(|events| events.end.clone())
    })
    .await;
    assert_eq!(ended.1.as_deref(), Some("57P01"), "{ended:?}");
    let admin = client::connect(&cluster.url("postgres", postern_e2e::cluster::SUPERUSER_PASSWORD, "postgres")).await;
    admin.batch_execute("drop database app with (force)").await.unwrap();
    let gone = client::try_connect(&grant.url).await.err().expect("there is no database");
    assert!(!client::sqlstate(&gone).is_empty());
    admin.batch_execute("create database app owner app").await.unwrap();
    assert_eq!(client::connect(&grant.url).await.text("select 1").await, "1");
    dev.process().assert_running();
    // The database's own name does as well as the connection's.
    let own = grant.url.replace("/demo?", "/app?");
    assert_eq!(client::connect(&own).await.text("select current_database()").await, "app");
    let _ = dev::grant(&dev.agent(), &dev.admin(), "demo", "read", "1m");
}
