//! What a statement, a grant and a connection may take at most, on the real stack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client},
    cluster::{Cluster, SUPERUSER_PASSWORD},
    dev::{self, Dev},
    parts::{Part, Parts},
    raw::{self, Login, Message, Raw, Tls},
    wait,
};
use serde_json::Value;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);

struct Fixture {
    cluster: Cluster,
    dev: Dev,
    owner: Client,
}

impl Fixture {
    /// A database with a table of 100 `items` and one of 20,000 numbers, `big`.
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same, with more in it; and the database `twin`, which is a copy.
    async fn start_with(sql: &str) -> Self {
        let cluster = Cluster::start().await;
        let url = |database: &str| cluster.url("postgres", SUPERUSER_PASSWORD, database);
        let owner = client::connect(&url("app")).await;
        owner.batch_execute("create table big as select g as id from generate_series(1, 20000) g").await.unwrap();
        owner.batch_execute(sql).await.unwrap();
        drop(owner);
        let server = client::connect(&url("postgres")).await;
        wait::until("it is copied", SOON, || async {
            server.batch_execute("create database twin template app").await.ok()
        })
        .await;
        let owner = client::connect(&url("app")).await;
        let without = url("app").replace(&format!(":{SUPERUSER_PASSWORD}"), "");
        let dev = Dev::start_with(&["--postgres", &without], &[("PGPASSWORD", SUPERUSER_PASSWORD)]);
        Self { cluster, dev, owner }
    }

    fn apply(&self, name: &str, text: &str) {
        let file = self.dev.data().join(name);
        std::fs::write(&file, text).unwrap();
        let _ = self.dev.admin().run(&["apply", "--merge", file.to_str().unwrap()]).ok();
    }

    /// A way in with these keys besides, and its URL.
    fn role(&self, name: &str, keys: &str) -> String {
        self.apply(
            "role.yaml",
            &format!("kind: Connection\nname: demo\nroles:\n  {name}: {{ mode: shared, {keys} }}\n"),
        );
        self.dev.grant(name, "1h").url
    }

    async fn raw(&self, url: &str) -> Raw {
        login(self.dev.pg_port, url, &[]).await.unwrap()
    }

    async fn items(&self) -> i64 {
        self.owner.query_one("select count(*) from items", &[]).await.unwrap().get(0)
    }
}

async fn login(port: u16, url: &str, parameters: &[(&str, &str)]) -> Result<Raw, Message> {
    let own = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let login = Login { parameters: own.collect(), ..Login::of_url(url) };
    let mut raw = Raw::connect(port, Tls::None).await;
    raw.login(&login).await.map(|_| raw)
}

/// What came up to ReadyForQuery: rows (or parts of COPY data), the error's fields, the last command tag, the transaction's status.
#[derive(Debug, PartialEq)]
struct Answer {
    rows: usize,
    error: Option<String>,
    tag: Option<String>,
    status: char,
}

fn answer(messages: &[Message]) -> Answer {
    let of = |tag: u8| messages.iter().filter(move |message| message.tag == tag);
    let told = |message: &Message| {
        let fields = [b'C', b'M', b'D', b'H'].map(|code| message.field(code).unwrap_or_default());
        fields.join(" | ")
    };
    assert!(of(b'E').count() <= 1, "{messages:?}");
    Answer {
        rows: of(b'D').chain(of(b'd')).count(),
        error: of(b'E').next().map(told),
        tag: of(b'C')
            .next_back()
            .map(|message| String::from_utf8_lossy(&message.body).trim_end_matches('\0').to_owned()),
        status: char::from(messages.last().unwrap().body[0]),
    }
}

async fn simple(raw: &mut Raw, sql: &str) -> Answer {
    answer(&raw.query(sql).await)
}

async fn extended(raw: &mut Raw, statements: &[&str]) -> Answer {
    let pipeline = statements.iter().flat_map(|sql| raw::extended(sql)).chain(raw::sync()).collect::<Vec<_>>();
    raw.send(&pipeline).await;
    answer(&raw.until_ready().await)
}

#[track_caller]
fn check(answer: &Answer, rows: usize, words: &[&str], status: char) {
    assert_eq!((answer.rows, answer.status), (rows, status), "{answer:?}");
    match &answer.error {
        None => assert!(words.is_empty(), "{answer:?}"),
        Some(error) => assert!(!words.is_empty() && words.iter().all(|word| error.contains(word)), "{answer:?}"),
    }
}

const LIMITED: &str = r#"
@id("connects")
@max_bytes("1MiB")
@statement_timeout("20s")
@lock_timeout("5s")
permit (principal, action == Action::"connect", resource);

@id("readers")
@max_rows("50")
permit (principal, action == Action::"read", resource);

@id("writers")
@max_rows("5")
permit (principal, action in [Action::"insert", Action::"update", Action::"delete"], resource);

@id("slowly")
@statement_timeout("300ms")
permit (principal, action == Action::"read", resource == Table::"demo/public.items");
"#;

const CUT: [&str; 4] = ["53400", "more than 50 rows", "readers", "LIMIT"];

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_cut_at_their_limits() {
    let fixture = Fixture::start().await;
    let url = fixture.dev.grant("read", "1h").url;
    fixture.apply("limited.cedar", LIMITED);
    let mut raw = fixture.raw(&url).await;
    wait::until("the limits are in force", SOON, || async {
        let mut raw = fixture.raw(&url).await;
        simple(&mut raw, "select id from big").await.error
    })
    .await;

    for sql in ["select id from big", "select id from big limit 51", "copy big to stdout", "table big"] {
        check(&simple(&mut raw, sql).await, 50, &CUT, 'I');
        check(&extended(&mut raw, &[sql]).await, 50, &CUT, 'I');
        assert_eq!(raw.text("select 1").await, "1");
    }
    for sql in
        ["select id from big limit 50", "copy (select id from big limit 50) to stdout", "select count(*) from big"]
    {
        let rows = if sql.contains("50") { 50 } else { 1 };
        check(&simple(&mut raw, sql).await, rows, &[], 'I');
        check(&extended(&mut raw, &[sql]).await, rows, &[], 'I');
    }
    strings_and_pipelines(&mut raw).await;
    in_transactions(&mut raw).await;
    in_pieces(&mut raw).await;

    // By bytes, and by time.
    let long = "select repeat('x', 300000) from generate_series(1, 10)";
    for answer in [simple(&mut raw, long).await, extended(&mut raw, &[long]).await] {
        check(&answer, 3, &["53400", "more than 1048576 bytes", "connects"], 'I');
    }
    check(&simple(&mut raw, "select repeat('x', 300000) from generate_series(1, 3)").await, 3, &[], 'I');
    let slow = "select count(*) from items, generate_series(1, 1000000000)";
    for answer in [simple(&mut raw, slow).await, extended(&mut raw, &[slow]).await] {
        check(&answer, 0, &["57014", "300 ms", "slowly"], 'I');
    }
    check(&simple(&mut raw, "select count(*) from items").await, 1, &[], 'I');

    // No cancel request hits what comes next, however close the end was.
    for round in 0..40 {
        check(&extended(&mut raw, &["select id from big limit 51"]).await, 50, &CUT, 'I');
        check(&simple(&mut raw, "select id from big limit 51").await, 50, &CUT, 'I');
        assert_eq!(raw.text(&format!("select {round}")).await, round.to_string());
    }
    let found = wait::until("the audit has it", SOON, || async {
        let found = fixture.dev.agent().statements("table big");
        found.first().filter(|statement| statement["sqlstate"] == "53400").cloned()
    });
    assert_eq!(found.await["rows"], 50);
}

async fn strings_and_pipelines(raw: &mut Raw) {
    check(&simple(raw, "select 1; select id from big; select 2").await, 51, &CUT, 'I');
    check(&simple(raw, "select 1; select id from big limit 50; select 2").await, 52, &[], 'I');
    // What follows in a pipeline is skipped, as PostgreSQL skips after an error.
    check(&extended(raw, &["select id from big limit 51", "select 7"]).await, 50, &CUT, 'I');
    check(&extended(raw, &["select id from big limit 50", "select 7"]).await, 51, &[], 'I');
    let two = [raw::extended("select id from big"), raw::sync(), raw::extended("select 7"), raw::sync()].concat();
    raw.send(&two).await;
    check(&answer(&raw.until_ready().await), 50, &CUT, 'I');
    check(&answer(&raw.until_ready().await), 1, &[], 'I');
    raw.send(&[raw::query("select id from big"), raw::query("select 8"), raw::query("select 9")].concat()).await;
    check(&answer(&raw.until_ready().await), 50, &CUT, 'I');
    for _ in 0..2 {
        check(&answer(&raw.until_ready().await), 1, &[], 'I');
    }
}

async fn in_transactions(raw: &mut Raw) {
    for sql in ["select id from big", "select id from big limit 51"] {
        for by_messages in [false, true] {
            check(&simple(raw, "begin").await, 0, &[], 'T');
            let cut = if by_messages { extended(raw, &[sql]).await } else { simple(raw, sql).await };
            check(&cut, 50, &CUT, 'E');
            check(&simple(raw, "select 1").await, 0, &["25P02"], 'E');
            assert_eq!(simple(raw, "commit").await.tag.as_deref(), Some("ROLLBACK"));
        }
    }
    check(&simple(raw, "begin").await, 0, &[], 'T');
    check(&simple(raw, "select id from big limit 50").await, 50, &[], 'T');
    assert_eq!(simple(raw, "commit").await.tag.as_deref(), Some("COMMIT"));
    // Cursors: each FETCH.
    check(&simple(raw, "begin").await, 0, &[], 'T');
    check(&simple(raw, "declare c cursor for select id from big").await, 0, &[], 'T');
    check(&simple(raw, "fetch 50 from c").await, 50, &[], 'T');
    check(&simple(raw, "fetch 51 from c").await, 50, &CUT, 'E');
    check(&simple(raw, "rollback").await, 0, &[], 'I');
}

async fn in_pieces(raw: &mut Raw) {
    let parse = raw::message(b'P', &[raw::cstr(""), raw::cstr("select id from big"), vec![0, 0]].concat());
    let bind =
        |portal: &str, name: &str| raw::message(b'B', &[raw::cstr(portal), raw::cstr(name), vec![0; 6]].concat());
    let execute =
        |portal: &str, rows: u32| raw::message(b'E', &[raw::cstr(portal), rows.to_be_bytes().to_vec()].concat());
    check(&simple(raw, "begin").await, 0, &[], 'T');
    raw.send(&[parse, bind("p", ""), execute("p", 30), raw::sync()].concat()).await;
    check(&answer(&raw.until_ready().await), 30, &[], 'T');
    raw.send(&[execute("p", 20), raw::sync()].concat()).await;
    check(&answer(&raw.until_ready().await), 20, &[], 'T');
    raw.send(&[execute("p", 1), raw::sync()].concat()).await;
    check(&answer(&raw.until_ready().await), 0, &CUT, 'E');
    check(&simple(raw, "rollback").await, 0, &[], 'I');
    // What SQL has prepared, run by a message.
    check(&simple(raw, "prepare by_sql as select id from big").await, 0, &[], 'I');
    raw.send(&[bind("", "by_sql"), execute("", 0), raw::sync()].concat()).await;
    check(&answer(&raw.until_ready().await), 50, &CUT, 'I');
    check(&simple(raw, "execute by_sql").await, 50, &CUT, 'I');
}

#[tokio::test(flavor = "multi_thread")]
async fn time_outs_stay_under_their_ceilings() {
    let fixture = Fixture::start().await;
    let url = fixture.role("plain", "read_only: true");
    fixture.apply("limited.cedar", LIMITED);
    let shows = async |raw: &mut Raw, name: &str| raw.text(&format!("show {name}")).await;
    let mut raw = wait::until("the ceilings are in force", SOON, || async {
        let mut raw = fixture.raw(&url).await;
        (raw.text("show lock_timeout").await == "5s").then_some(raw)
    })
    .await;
    assert_eq!(shows(&mut raw, "statement_timeout").await, "20s");
    for (sql, value) in [
        ("set statement_timeout = '1s'", "1s"),
        ("set statement_timeout to default", "20s"),
        ("set local statement_timeout = 7", "20s"),
        ("set statement_timeout = 19999", "19999ms"),
        ("reset statement_timeout", "20s"),
        ("select set_config('statement_timeout', '3s', false)", "3s"),
        ("reset all", "20s"),
    ] {
        let answer = simple(&mut raw, sql).await;
        assert_eq!(answer.error, None, "{sql}");
        assert_eq!(shows(&mut raw, "statement_timeout").await, value, "{sql}");
    }
    for sql in [
        "set statement_timeout = 0",
        "set statement_timeout = '21s'",
        "set Statement_Timeout = '1min'",
        "set session statement_timeout = '0.5h'",
        "set lock_timeout = 0",
        "set lock_timeout = '5001ms'",
        "select set_config('statement_timeout', '0', false)",
        "select set_config('lock_timeout', '1' || 'h', true)",
        "begin; set local statement_timeout = 0; select 1; commit",
    ] {
        for answer in [simple(&mut raw, sql).await, extended(&mut raw, &[sql]).await] {
            assert!(answer.error.as_ref().is_some_and(|error| error.starts_with("42")), "{sql}: {answer:?}");
        }
        assert_eq!(shows(&mut raw, "statement_timeout").await, "20s", "{sql}");
    }
    let told = simple(&mut raw, "set statement_timeout = 0").await.error.unwrap();
    assert!(told.contains("42501") && told.contains("at most 20000 ms") && told.contains("connects"), "{told}");
    // At start-up.
    let port = fixture.dev.pg_port;
    for (name, value, shown) in [
        ("options", "-c statement_timeout=2s", Some("2s")),
        ("statement_timeout", "2s", Some("2s")),
        ("options", "-c statement_timeout=0", None),
        ("options", "--statement-timeout=1h", None),
        ("statement_timeout", "1h", None),
    ] {
        match (login(port, &url, &[(name, value)]).await, shown) {
            (Ok(mut raw), Some(shown)) => assert_eq!(raw.text("show statement_timeout").await, shown, "{value}"),
            (Err(error), None) => assert_eq!(error.sqlstate(), "42501", "{value}"),
            (other, _) => panic!("{name} {value}: {:?}", other.err()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_over_its_policys_limit_changes_nothing() {
    let fixture = Fixture::start().await;
    let url = fixture.dev.grant("write", "1h").url;
    fixture.apply("limited.cedar", LIMITED);
    let mut raw = wait::until("the limits are in force", SOON, || async {
        let mut raw = fixture.raw(&url).await;
        simple(&mut raw, "delete from items where id <= 6").await.error.map(|_| raw)
    })
    .await;
    let over = ["53400", "would write 6 rows", "writers", "is 5", "nothing of it is kept"];
    check(&simple(&mut raw, "delete from items where id <= 6").await, 0, &over, 'I');
    check(&extended(&mut raw, &["delete from items where id <= 6"]).await, 0, &over, 'I');
    check(&simple(&mut raw, "begin").await, 0, &[], 'T');
    let cut = ["53400", "more than 5 rows", "writers"];
    check(&simple(&mut raw, "delete from items where id <= 6 returning id").await, 5, &cut, 'E');
    assert_eq!(simple(&mut raw, "commit").await.tag.as_deref(), Some("ROLLBACK"));
    check(
        &simple(&mut raw, "delete from items where id = 1; delete from items where id = 2").await,
        0,
        &["0A000"],
        'I',
    );
    assert_eq!(fixture.items().await, 100);
    assert_eq!(simple(&mut raw, "delete from items where id <= 5").await.tag.as_deref(), Some("DELETE 5"));
    assert_eq!(extended(&mut raw, &["delete from items where id <= 10"]).await.tag.as_deref(), Some("DELETE 5"));
    assert_eq!(fixture.items().await, 90);
    check(&simple(&mut raw, "select id from big").await, 50, &CUT, 'I');
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_over_the_budget_changes_nothing() {
    let fixture = Fixture::start().await;
    let url = fixture.role("counted", "budget: { rows_written: 10 }");
    let mut raw = fixture.raw(&url).await;
    let over = |count: &'static str, left: &'static str| {
        ["53400", count, "budget of 10 rows written", left, "nothing of it is kept"]
    };
    for answer in [
        simple(&mut raw, "delete from items where id <= 11").await,
        extended(&mut raw, &["delete from items where id <= 11"]).await,
    ] {
        check(&answer, 0, &over("would write 11 rows", "10 are left"), 'I');
        assert_eq!((answer.tag, fixture.items().await), (None, 100));
    }
    let answer = simple(&mut raw, "delete from items where id <= 2").await;
    assert_eq!((answer.tag.as_deref(), fixture.items().await), (Some("DELETE 2"), 98));
    let answer = extended(&mut raw, &["delete from items where id <= 4"]).await;
    assert_eq!((answer.tag.as_deref(), fixture.items().await), (Some("DELETE 2"), 96));
    // Six are left. A pipeline is one transaction.
    let answer = extended(&mut raw, &["delete from items where id <= 8", "delete from items where id <= 12"]).await;
    check(&answer, 0, &over("would write 4 rows", "2 are left"), 'I');
    assert_eq!(fixture.items().await, 96, "the first one is undone with it");
    // In a transaction block the block fails.
    for by_messages in [false, true] {
        check(&simple(&mut raw, "begin").await, 0, &[], 'T');
        let sql = "update items set name = 'x' where id <= 20";
        let answer = if by_messages { extended(&mut raw, &[sql]).await } else { simple(&mut raw, sql).await };
        check(&answer, 0, &over("would write 16 rows", "2 are left"), 'E');
        assert_eq!(simple(&mut raw, "commit").await.tag.as_deref(), Some("ROLLBACK"));
    }
    assert_eq!(fixture.owner.text("select count(*) from items where name = 'x'").await, "0");
    // COPY.
    copies(&fixture, &mut raw).await;
    // What its tag does not count.
    for sql in [
        "with d as (delete from items returning *) select count(*) from d",
        "explain analyze delete from items",
        "copy (delete from items returning *) to stdout",
    ] {
        for answer in [simple(&mut raw, sql).await, extended(&mut raw, &[sql]).await] {
            check(&answer, answer.rows, &over("would write 98 rows", "0 are left"), 'I');
        }
    }
    // Whatever writes and cannot be counted.
    for sql in ["do 'begin delete from items; end'", "delete from items; select 1"] {
        for answer in [simple(&mut raw, sql).await, extended(&mut raw, &[sql]).await] {
            check(&answer, 0, &["0A000"], 'I');
        }
    }
    assert_eq!(fixture.items().await, 98);
    check(&simple(&mut raw, "with d as (select 1) select * from d").await, 1, &[], 'I');
    check(&simple(&mut raw, "select 1; select 2").await, 2, &[], 'I');
    check(&simple(&mut raw, "create table copied as select * from items").await, 0, &["53400", "98 rows"], 'I');
    check(&simple(&mut raw, "create table copied as select * from items limit 0").await, 0, &[], 'I');
    // A client that sends a write and goes.
    let url = fixture.role("counted", "budget: { rows_written: 10 }");
    let mut leaving = fixture.raw(&url).await;
    leaving.send(&raw::query("delete from items where id = 100")).await;
    leaving.finish().await;
    wait::until("it was carried out", SOON, || async { (fixture.items().await == 97).then_some(()) }).await;
}

async fn copies(fixture: &Fixture, raw: &mut Raw) {
    let data = |rows: i32| {
        let rows: Vec<u8> =
            (0..rows).flat_map(|row| raw::message(b'd', format!("{}\tnew\n", 1000 + row).as_bytes())).collect();
        [rows, raw::message(b'c', b"")].concat()
    };
    for (rows, expected) in [(3, None), (1, Some("COPY 1"))] {
        // As libpq sends it, before and after the server has asked for data.
        let before = fixture.items().await;
        raw.send(&[raw::query("copy items from stdin"), data(rows)].concat()).await;
        let copied = answer(&raw.until_ready().await);
        assert_eq!(copied.tag.as_deref(), expected, "{copied:?}");
        assert_eq!(fixture.items().await, before + i64::from(expected.is_some()));
        fixture.owner.batch_execute("update items set id = id + 1000 where id >= 1000").await.unwrap();
        let before = fixture.items().await;
        raw.send(&[raw::extended("copy items from stdin"), raw::sync()].concat()).await;
        while raw.read().await.tag != b'G' {}
        raw.send(&[data(rows), raw::sync()].concat()).await;
        let copied = answer(&raw.until_ready().await);
        assert_eq!(copied.tag.as_deref(), expected, "{copied:?}");
        assert_eq!(fixture.items().await, before + i64::from(expected.is_some()));
    }
    check(&simple(raw, "copy items to stdout").await, 98, &[], 'I');
}

/// What a client sees of a simple query that is sent by other messages is what it would see anyway.
#[tokio::test(flavor = "multi_thread")]
async fn a_simple_query_shows_what_it_always_does() {
    let fixture = Fixture::start_with(
        "create table parent (id int primary key);
         create table child (id int references parent deferrable initially deferred);
         create function notices() returns trigger language plpgsql as 'begin raise notice ''hello''; return new; end';
         create trigger notices before insert on parent for each row execute function notices()",
    )
    .await;
    let url =
        fixture.role("counted", "application_name: unchanged, budget: { rows_written: 100000, rows_read: 1000000 }");
    let mut through = fixture.raw(&url).await;
    let mut direct = Raw::connect(fixture.cluster.port, Tls::None).await;
    direct.login(&Login::of_url(&fixture.cluster.url("postgres", SUPERUSER_PASSWORD, "twin"))).await.unwrap();
    for sql in [
        "insert into parent values (1) returning id, id::text as t, null, 'ü'",
        "delete from parent",
        "insert into child values (7)",
        "insert into items values (1, 'twice')",
        "update items set name = upper(name) where id < 4 returning *",
        "update items set name = lower(name) where id < 4",
        "merge into items using big on items.id = big.id and items.id = 0 when matched then delete",
        "",
        "begin",
        "insert into child values (8)",
        "set constraints all immediate",
        "insert into parent values (9)",
        "commit",
        "rollback",
        "create table made as select 1 as a",
        "select 2 as a into made_too",
        "drop table made, made_too",
        "delete from parent",
        "vacuum items",
        "show application_name",
        "begin; declare c binary cursor for select id from items where id = 1",
        "fetch all from c",
        "commit",
        "select 1/0",
        "listen x",
        "notify x",
    ] {
        let (expected, seen) = (direct.query(sql).await, through.query(sql).await);
        // Where in the server's source an error arose tells the messages of one protocol from the other's.
        let fields = |message: Message| {
            let fields = message.body.split(|byte| *byte == 0);
            let fields = fields.filter(|field| !field.first().is_some_and(|code| b"FLR".contains(code)));
            Message { body: fields.collect::<Vec<_>>().join(&0), ..message.clone() }
        };
        let comparable = |messages: Vec<Message>| {
            let messages = messages.into_iter().filter(|message| message.tag != b'A');
            messages.map(|message| if message.tag == b'E' { fields(message) } else { message }).collect::<Vec<_>>()
        };
        let (expected, seen) = (comparable(expected), comparable(seen));
        assert_eq!(seen, expected, "{sql}");
    }
    // What is not SQL is refused before it reaches the server.
    for sql in ["inser into items values (1)", "insert into items values (1, '"] {
        check(&simple(&mut through, sql).await, 0, &["42601"], 'I');
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grants_sessions_share_its_budget() {
    let fixture = Fixture::start().await;
    let url = fixture.role("counted", "budget: { statements: 6, rows_read: 100, bytes_out: 1MiB, sessions: 2 }");
    let (mut one, mut other) = (fixture.raw(&url).await, fixture.raw(&url).await);
    // Sessions at once.
    let error = login(fixture.dev.pg_port, &url, &[]).await.err().expect("there are two");
    assert_eq!(error.sqlstate(), "53300", "{error:?}");
    // Rows of both.
    check(&simple(&mut one, "select id from big limit 60").await, 60, &[], 'I');
    check(&extended(&mut other, &["select id from big limit 30"]).await, 30, &[], 'I');
    check(&simple(&mut one, "select id from big limit 11").await, 10, &["53400", "budget of 100 rows read"], 'I');
    check(&extended(&mut other, &["select 1"]).await, 0, &["53400", "budget of 100 rows read"], 'I');
    check(&simple(&mut other, "create table fifth ()").await, 0, &[], 'I');
    check(&simple(&mut other, "drop table fifth").await, 0, &[], 'I');
    for raw in [&mut one, &mut other] {
        check(&simple(raw, "create table seventh ()").await, 0, &["53400", "budget of 6 statements"], 'I');
        check(&extended(raw, &["create table seventh ()"]).await, 0, &["53400", "budget of 6 statements"], 'I');
    }
    let account = |grants: &Value, what: &str| {
        let account = &grants[0]["budget"][what];
        (account["total"].as_u64(), account["used"].as_u64(), account["left"].as_u64())
    };
    let seen = wait::until("the control plane has heard of it", SOON, || async {
        let grants = fixture.dev.agent().run(&["grants", "--json"]).json();
        (account(&grants, "statements").1 == Some(6)).then_some(grants)
    });
    let seen = seen.await;
    assert_eq!(account(&seen, "rows_read"), (Some(100), Some(100), Some(0)), "{seen}");
    assert!(fixture.dev.agent().run(&["grants"]).ok().contains("0 of 6 statements"));
    // A session that ends makes room, and finds what is used up.
    drop(one);
    let mut again =
        wait::until("there is room", SOON, || async { login(fixture.dev.pg_port, &url, &[]).await.ok() }).await;
    check(&simple(&mut again, "select 1").await, 0, &["53400", "budget of 6 statements"], 'I');
    // Another grant has a budget of its own, and other roles have none.
    let mut fresh = fixture.raw(&fixture.dev.grant("counted", "1h").url).await;
    check(&simple(&mut fresh, "select id from big limit 100").await, 100, &[], 'I');
    let mut all = fixture.raw(&fixture.dev.grant("all", "1h").url).await;
    check(&simple(&mut all, "select id from big").await, 20_000, &[], 'I');
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_begins_anew_knows_what_was_used() {
    let cluster = Cluster::start().await;
    let mut parts = Parts::start(&cluster).await;
    let file = parts.path("role.yaml");
    let role =
        "{ mode: login, database_role: app, reviewers: [reviewers], budget: { rows_read: 10, rows_written: 10 } }";
    std::fs::write(&file, format!("kind: Connection\nname: orders\nroles:\n  counted: {role}\n")).unwrap();
    let _ = parts.admin().run(&["apply", "--merge", file.to_str().unwrap()]).ok();
    let url = dev::grant(parts.agent(), parts.admin(), "orders", "counted", "1h").url;
    let session = client::connect(&url).await;
    assert_eq!(session.query("select * from items limit 6", &[]).await.unwrap().len(), 6);
    assert_eq!(session.execute("delete from items where id <= 7", &[]).await.unwrap(), 7);
    wait::until("the control plane has heard of it", SOON, || async {
        let grants = parts.agent().run(&["grants", "--json"]).json();
        (grants[0]["budget"]["rows_written"]["left"] == 3).then_some(())
    })
    .await;
    parts.kill(Part::Connector);
    parts.launch(Part::Connector);
    parts.until_up();
    let session = wait::until("it is served", SOON, || async { client::try_connect(&url).await.ok() }).await;
    let error = session.query("select * from items limit 5", &[]).await.unwrap_err();
    assert_eq!(client::sqlstate(&error), "53400", "{error}");
    let error = session.execute("delete from items where id <= 11", &[]).await.unwrap_err();
    assert_eq!(client::sqlstate(&error), "53400", "{error}");
    assert_eq!(session.execute("delete from items where id <= 10", &[]).await.unwrap(), 3);
    let left: i64 = cluster.app().await.query_one("select count(*) from items", &[]).await.unwrap().get(0);
    assert_eq!(left, 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_beyond_the_cap_wait_in_turn() {
    let fixture = Fixture::start().await;
    let url = fixture.dev.grant("all", "1h").url;
    fixture.apply("cap.yaml", "kind: Connection\nname: demo\nmax_backends: 2\nqueue_wait: 2s\n");
    let port = fixture.dev.pg_port;
    let (first, second) = (fixture.raw(&url).await, fixture.raw(&url).await);
    let began = Instant::now();
    let error = wait::until("the cap is known", SOON, || async { login(port, &url, &[]).await.err() }).await;
    assert_eq!(error.sqlstate(), "53300", "{error:?}");
    assert!(
        error.field(b'M').unwrap().contains("2 sessions") && began.elapsed() >= Duration::from_secs(2),
        "{error:?}"
    );
    // One that waits is served once another ends.
    let waits = tokio::spawn({
        let url = url.clone();
        async move { login(port, &url, &[]).await }
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!waits.is_finished());
    drop(first);
    let mut third = waits.await.unwrap().unwrap();
    assert_eq!(third.text("select 1").await, "1");
    // One that goes leaves the queue, so that whoever comes after it has its turn.
    fixture.apply("cap.yaml", "kind: Connection\nname: demo\nmax_backends: 2\nqueue_wait: 15s\n");
    let gone = tokio::spawn({
        let url = url.clone();
        async move { login(port, &url, &[]).await }
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    gone.abort();
    let _ = gone.await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    drop(second);
    let mut fourth = fixture.raw(&url).await;
    assert_eq!(fourth.text("select 1").await, "1");
}
