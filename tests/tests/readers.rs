//! What a read-only access role keeps out and lets through, on the real stack, where the database's own login could do
//! anything: the backstop of missing privileges is absent.
//!
//! The statements are those of the analysis's own corpora, in `crates/sql/tests/corpus/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client},
    cluster::{Cluster, SUPERUSER_PASSWORD},
    dev::{self, Dev, Grant},
    parts::{Part, Parts},
    raw::{self, Login, Message, Raw, Tls},
    wait,
};
use std::{path::Path, process::Command, time::Duration};

const SOON: Duration = Duration::from_secs(10);

fn corpus(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/sql/tests/corpus").join(name);
    std::fs::read_to_string(file).unwrap()
}

/// An entry is a title after `##`, a statement, and what is expected of it after `=`.
fn entries(name: &str) -> Vec<(String, String)> {
    let text = corpus(name);
    let entries = text.split("\n## ").filter(|entry| !entry.trim().is_empty());
    entries
        .map(|entry| {
            let (title, rest) = entry.split_once('\n').unwrap();
            let statement: Vec<&str> = rest.lines().take_while(|line| !line.starts_with("= ")).collect();
            (title.trim_start_matches("## ").to_owned(), statement.join("\n").trim().to_owned())
        })
        .collect()
}

struct Fixture {
    cluster: Cluster,
    dev: Dev,
    read: Grant,
}

impl Fixture {
    async fn start() -> Self {
        let cluster = Cluster::start_with(&["log_statement=all", "max_prepared_transactions=2"]).await;
        let owner = client::connect(&cluster.url("postgres", SUPERUSER_PASSWORD, "app")).await;
        owner.batch_execute(&corpus("schema.sql")).await.unwrap();
        owner.batch_execute("alter database app set search_path = \"$user\", shop, public").await.unwrap();
        let url = cluster.url("postgres", SUPERUSER_PASSWORD, "app").replace(&format!(":{SUPERUSER_PASSWORD}"), "");
        let dev = Dev::start_with(&["--postgres", &url], &[("PGPASSWORD", SUPERUSER_PASSWORD)]);
        let read = dev.grant("read", "1h");
        Self { cluster, dev, read }
    }

    async fn raw(&self) -> Raw {
        let mut raw = Raw::connect(self.dev.pg_port, Tls::None).await;
        raw.login(&Login::of_url(&self.read.url)).await.unwrap();
        raw
    }

    /// Everything that a statement could have changed and left behind.
    fn state(&self) -> String {
        let mut dump = Command::new("pg_dumpall");
        let url = self.cluster.url("postgres", "", "postgres").replace(":@", "@");
        let output = dump.args(["--no-sync", "-d", &url]).env("PGPASSWORD", SUPERUSER_PASSWORD).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // Lines that are made up anew for each dump.
        text.lines()
            .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// The refusal among a statement's answers.
fn refusal(messages: &[Message]) -> Option<&Message> {
    messages.iter().find(|message| message.tag == b'E')
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_slips_past_a_reader() {
    let fixture = Fixture::start().await;
    let before = fixture.state();
    let evasions = entries("evasions.txt");
    assert!(evasions.len() >= 120, "{}", evasions.len());
    let mut got_by = Vec::new();
    for (title, sql) in &evasions {
        let mut raw = fixture.raw().await;
        for extended in [false, true] {
            let bytes = if extended { [raw::extended(sql), raw::sync()].concat() } else { raw::query(sql) };
            raw.send(&bytes).await;
            let messages = raw.until_ready().await;
            if refusal(&messages).is_none() {
                got_by.push(format!("{title} ({}): {sql}", if extended { "extended" } else { "simple" }));
            }
            // The next statement is served.
            assert_eq!(raw.text("select 1").await, "1", "{title}");
        }
    }
    // What was refused never reached the server: it logs all that does.
    let log = fixture.cluster.log();
    for (title, sql) in &evasions {
        let first = sql.lines().next().unwrap();
        let reached = log.lines().any(|line| line.contains("LOG:  ") && line.ends_with(&format!(": {first}")));
        // What the server itself would refuse may reach it.
        if reached {
            got_by.push(format!("{title} reached the server: {first}"));
        }
    }
    assert!(got_by.is_empty(), "{}", got_by.join("\n"));
    assert_eq!(before, fixture.state(), "nothing has changed");
    // And so it would have: the same statement by a role that may.
    let all = fixture.dev.grant("all", "1h");
    client::connect(&all.url).await.batch_execute("insert into shop.log (what) values ('twin')").await.unwrap();
    assert_ne!(before, fixture.state());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_read() {
    let fixture = Fixture::start().await;
    let mut direct = Raw::connect(fixture.cluster.port, Tls::None).await;
    direct.login(&Login::of_url(&fixture.cluster.url("postgres", SUPERUSER_PASSWORD, "app"))).await.unwrap();
    let mut through = fixture.raw().await;
    let mut refused = Vec::new();
    for (title, sql) in entries("readers.txt") {
        let (right, left) = (direct.query(&sql).await, through.query(&sql).await);
        if let (None, Some(error)) = (refusal(&right), refusal(&left)) {
            refused.push(format!("{title}: {sql}\n    {:?} {:?}", error.sqlstate(), error.field(b'M')));
        }
        for session in [&mut direct, &mut through] {
            session.query("rollback").await;
        }
    }
    assert!(refused.is_empty(), "{} refused:\n{}", refused.len(), refused.join("\n"));
    // Whole programs. What a row security policy calls on reading `guarded` is not known.
    let mut dump = Command::new("pg_dump");
    let output =
        dump.args(["--no-sync", "--schema", "shop", "-T", "shop.guarded", "-d", &fixture.read.url]).output().unwrap();
    assert!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
    for command in [
        "\\d+ customers",
        "\\dt+",
        "\\df",
        "\\dv",
        "\\dn+",
        "\\du",
        "\\l",
        "\\dT+",
        "\\sf is_short",
        "\\dp",
        "\\conninfo",
    ] {
        let output = client::psql(&fixture.read.url, command);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_could_do_more_than_read_is_not_a_readers() {
    let cluster = Cluster::start().await;
    let mut parts = Parts::start(&cluster).await;
    let grant = dev::grant(parts.agent(), parts.admin(), "orders", "read", "10m");
    let superuser = cluster.superuser().await;
    assert_eq!(client::connect(&grant.url).await.text("select current_user").await, "app_reader");
    for (give, take, word) in [
        ("alter role app_reader superuser", "alter role app_reader nosuperuser", "superuser"),
        ("alter role app_reader bypassrls", "alter role app_reader nobypassrls", "row security"),
        ("grant pg_write_all_data to app_reader", "revoke pg_write_all_data from app_reader", "pg_write_all_data"),
        ("grant app to app_reader", "revoke app from app_reader", "owns relations"),
    ] {
        superuser.batch_execute(give).await.unwrap();
        let error = client::try_connect(&grant.url).await.err().expect(give);
        let detail = error.as_db_error().and_then(|error| error.detail().map(str::to_owned));
        assert_eq!(client::sqlstate(&error), "42501");
        assert!(detail.as_deref().is_some_and(|detail| detail.contains(word)), "{give}: {detail:?}");
        superuser.batch_execute(take).await.unwrap();
        client::connect(&grant.url).await;
    }
    // Whoever accepts it says so.
    superuser.batch_execute("alter role app_reader superuser").await.unwrap();
    parts.stop(Part::Connector);
    let file = parts.path("agent.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("  orders:\n", "  orders:\n    privileged_readers: true\n")).unwrap();
    parts.launch(Part::Connector);
    parts.until_up();
    wait::until("it is accepted", SOON, || async { client::try_connect(&grant.url).await.ok() }).await;
}

async fn code(client: &Client, sql: &str) -> Option<String> {
    client.simple_query(sql).await.err().map(|error| client::sqlstate(&error))
}

#[tokio::test(flavor = "multi_thread")]
async fn names_mean_what_they_mean_in_the_session() {
    let fixture = Fixture::start().await;
    let owner = client::connect(&fixture.cluster.url("postgres", SUPERUSER_PASSWORD, "app")).await;
    owner
        .batch_execute(
            "create schema trap;
             create function trap.length(text) returns int language plpgsql as
               'begin delete from shop.queue; return 0; end';",
        )
        .await
        .unwrap();
    owner.batch_execute(HARMLESS).await.unwrap();
    the_search_path(&fixture).await;
    what_was_prepared_before(&fixture).await;
    changes_by_others(&fixture, &owner).await;
}

const HARMLESS: &str =
    "create or replace function shop.harmless(text) returns int language sql immutable as 'select 1'";

const HARMFUL: &str = "create or replace function shop.harmless(text) returns int language plpgsql as
    'begin delete from shop.queue; return 0; end'";

fn denied() -> Option<String> {
    Some("42501".to_owned())
}

async fn the_search_path(fixture: &Fixture) {
    let reader = client::connect(&fixture.read.url).await;
    // The search path is followed, through transactions and back.
    assert_eq!(code(&reader, "select length('a')").await, None);
    reader.batch_execute("set search_path = trap, pg_catalog").await.unwrap();
    assert_eq!(code(&reader, "select length('a')").await, denied());
    reader.batch_execute("reset search_path").await.unwrap();
    assert_eq!(code(&reader, "select length('a')").await, None);
    reader.batch_execute("begin").await.unwrap();
    reader.batch_execute("set local search_path = trap, pg_catalog").await.unwrap();
    assert_eq!(code(&reader, "select length('a')").await, denied());
    reader.batch_execute("rollback").await.unwrap();
    assert_eq!(code(&reader, "select length('a')").await, None);
    // In one string, what cannot be known is refused, and the state is the server's own.
    let both = "set search_path = trap, pg_catalog; select length('a')";
    assert!(code(&reader, both).await.is_some());
    assert_eq!(code(&reader, "select length('a')").await, None, "none of the string ran");

    // A pipeline that does not wait for the outcome.
    let mut raw = fixture.raw().await;
    let pipeline =
        [raw::extended("set search_path = trap, pg_catalog"), raw::extended("select length('a')"), raw::sync()];
    raw.send(&pipeline.concat()).await;
    let messages = raw.until_ready().await;
    assert!(refusal(&messages).is_some(), "{messages:?}");
    let pipeline = [
        raw::extended("set search_path = trap, pg_catalog"),
        raw::sync(),
        raw::extended("select length('a')"),
        raw::sync(),
    ];
    raw.send(&pipeline.concat()).await;
    assert!(refusal(&raw.until_ready().await).is_none());
    let messages = raw.until_ready().await;
    assert_eq!(refusal(&messages).map(Message::sqlstate).as_deref(), Some("42501"), "{messages:?}");

    // Prepared statements and cursors of SQL.
    reader.batch_execute("prepare p as select count(*) from shop.queue").await.unwrap();
    assert_eq!(code(&reader, "execute p").await, None);
    assert!(code(&reader, "execute unseen").await.is_some());
    reader.batch_execute("begin; declare c cursor for select * from shop.queue").await.unwrap();
    assert_eq!(code(&reader, "fetch 1 from c").await, None);
    reader.batch_execute("commit").await.unwrap();
}

async fn what_was_prepared_before(fixture: &Fixture) {
    // A function that calls itself immutable runs as soon as a statement is planned.
    let mut raw = fixture.raw().await;
    let parse = raw::message(b'P', &[raw::cstr("early"), raw::cstr("select length('a')"), vec![0, 0]].concat());
    raw.send(&[parse, raw::sync()].concat()).await;
    assert!(refusal(&raw.until_ready().await).is_none());
    raw.query("set search_path = trap, pg_catalog").await;
    let bind = raw::message(b'B', &[raw::cstr(""), raw::cstr("early"), vec![0; 6]].concat());
    raw.send(&[bind.clone(), raw::sync()].concat()).await;
    let messages = raw.until_ready().await;
    assert_eq!(refusal(&messages).map(Message::sqlstate).as_deref(), Some("0A000"), "{messages:?}");
    raw.query("reset search_path").await;
    raw.send(&[bind, raw::sync()].concat()).await;
    assert!(refusal(&raw.until_ready().await).is_none(), "names mean again what they meant");
    // Neither does it when a name was given twice, and the server kept the first.
    let mut raw = fixture.raw().await;
    let parse = |name: &str, sql: &str| raw::message(b'P', &[raw::cstr(name), raw::cstr(sql), vec![0, 0]].concat());
    let bind = |name: &str| raw::message(b'B', &[raw::cstr(""), raw::cstr(name), vec![0; 6]].concat());
    raw.query("prepare s as select length('a')").await;
    raw.query("prepare s as select 1").await;
    for (name, sql) in [("twice", "select length('a')"), ("twice", "select 1"), ("", "select length('a')")] {
        raw.send(&[parse(name, sql), raw::sync()].concat()).await;
        raw.until_ready().await;
    }
    raw.query("set search_path = trap, pg_catalog").await;
    raw.send(&[parse("twice", "select 1"), parse("", "select 1"), raw::sync()].concat()).await;
    assert!(refusal(&raw.until_ready().await).is_some(), "the server has it already");
    // The unnamed one was not kept, or was: it is not known.
    for (bytes, code) in [
        ([bind("twice"), raw::sync()].concat(), "0A000"),
        ([bind(""), raw::sync()].concat(), "26000"),
        (raw::query("execute s"), "0A000"),
    ] {
        raw.send(&bytes).await;
        let messages = raw.until_ready().await;
        assert_eq!(refusal(&messages).map(Message::sqlstate).as_deref(), Some(code), "{messages:?}");
    }
    raw.send(&[parse("", "select 1"), bind(""), parse("new", "select 1"), bind("new"), raw::sync()].concat()).await;
    let messages = raw.until_ready().await;
    assert!(refusal(&messages).is_none(), "{messages:?}");
    // A transaction that has failed can be ended, by either protocol.
    for end in [raw::query("rollback"), [raw::extended("rollback"), raw::sync()].concat()] {
        raw.query("begin; set local search_path = shop; select 1/0").await;
        raw.query("begin").await;
        raw.query("set local search_path = shop").await;
        raw.query("select 1/0").await;
        raw.send(&end).await;
        let messages = raw.until_ready().await;
        assert!(refusal(&messages).is_none(), "{messages:?}");
    }
}

async fn changes_by_others(fixture: &Fixture, owner: &Client) {
    let reader = client::connect(&fixture.read.url).await;
    assert_eq!(code(&reader, "select shop.harmless('a')").await, None);
    owner.batch_execute(HARMFUL).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(code(&reader, "select shop.harmless('a')").await, denied());
    owner.batch_execute("create table shop.quite_new (a int)").await.unwrap();
    wait::until("the new table can be read", SOON, || async {
        code(&reader, "select * from shop.quite_new").await.is_none().then_some(())
    })
    .await;

    // A statement that was prepared before is judged again when it runs.
    owner.batch_execute(HARMLESS).await.unwrap();
    let prepared =
        wait::until("it is harmless again", SOON, || async { reader.prepare("select shop.harmless('a')").await.ok() })
            .await;
    reader.query(&prepared, &[]).await.unwrap();
    owner.batch_execute(HARMFUL).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let error = reader.query(&prepared, &[]).await.unwrap_err();
    assert_eq!(client::sqlstate(&error), "42501");
    reader.query("select 1", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn start_up_parameters_are_judged_as_what_they_set() {
    let fixture = Fixture::start().await;
    for (parameters, good) in [
        (&[("options", "-c search_path=shop -c statement_timeout=5s")][..], true),
        (&[("DateStyle", "ISO, MDY"), ("TimeZone", "UTC"), ("extra_float_digits", "3")], true),
        (&[("options", "--geqo=off")], true),
        (&[("options", "-c role=other")], false),
        (&[("options", "-c session_replication_role=replica")], false),
        (&[("options", "-c default_transaction_read_only=off")], false),
        (&[("options", "-O")], false),
        (&[("role", "other")], false),
    ] {
        let own = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let login = Login { parameters: own.collect(), ..Login::of_url(&fixture.read.url) };
        let mut raw = Raw::connect(fixture.dev.pg_port, Tls::None).await;
        let result = raw.login(&login).await;
        assert_eq!(result.is_ok(), good, "{parameters:?}: {:?}", result.err());
    }
}
