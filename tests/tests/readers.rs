//! What a read-only access role keeps out and lets through, on the real stack, where the database's own login could do
//! anything: the backstop of missing privileges is absent.
//!
//! The statements are those of the analysis's own corpora, in `crates/sql/tests/corpus/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client},
    cluster::Cluster,
    corpora::{Corpora, refusal},
    dev,
    parts::{Part, Parts},
    raw::{self, Login, Message, Raw, Tls},
    wait,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_slips_past_a_reader() {
    Corpora::start().await.nothing_slips_past_a_reader().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_read() {
    Corpora::start().await.readers_read().await;
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
    let shop = Corpora::start().await;
    let owner = shop.cluster.superuser().await;
    owner
        .batch_execute(
            "create schema trap;
             create function trap.length(text) returns int language plpgsql as
               'begin delete from shop.queue; return 0; end';",
        )
        .await
        .unwrap();
    owner.batch_execute(HARMLESS).await.unwrap();
    the_search_path(&shop).await;
    what_was_prepared_before(&shop).await;
    what_is_declared_counts(&shop, &owner).await;
    changes_by_others(&shop, &owner).await;
}

const HARMLESS: &str =
    "create or replace function shop.harmless(text) returns int language sql immutable as 'select 1'";

const HARMFUL: &str = "create or replace function shop.harmless(text) returns int language plpgsql as
    'begin delete from shop.queue; return 0; end'";

fn denied() -> Option<String> {
    Some("42501".to_owned())
}

async fn the_search_path(shop: &Corpora) {
    let reader = client::connect(&shop.read.url).await;
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
    let mut raw = shop.raw().await;
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

async fn what_was_prepared_before(shop: &Corpora) {
    // A function that calls itself immutable runs as soon as a statement is planned.
    let mut raw = shop.raw().await;
    let parse = raw::message(b'P', &[raw::cstr("early"), raw::cstr("select length('a')"), vec![0, 0]].concat());
    raw.send(&[parse, raw::sync()].concat()).await;
    assert!(refusal(&raw.until_ready().await).is_none());
    raw.query("set search_path = trap, pg_catalog").await;
    let bind = raw::message(b'B', &[raw::cstr(""), raw::cstr("early"), vec![0; 6]].concat());
    raw.send(&[bind.clone(), raw::sync()].concat()).await;
    let messages = raw.until_ready().await;
    assert_eq!(refusal(&messages).map(Message::sqlstate).as_deref(), Some("0A000"), "{messages:?}");
    const EXECUTES: [&str; 2] = ["execute early", "explain (verbose) execute early"];
    for sql in EXECUTES {
        let messages = raw.query(sql).await;
        assert_eq!(refusal(&messages).map(Message::sqlstate).as_deref(), Some("42501"), "{messages:?}");
    }
    raw.query("reset search_path").await;
    for sql in EXECUTES {
        let messages = raw.query(sql).await;
        assert!(refusal(&messages).is_none(), "{messages:?}");
    }
    raw.send(&[bind, raw::sync()].concat()).await;
    assert!(refusal(&raw.until_ready().await).is_none(), "names mean again what they meant");
    // Neither does it when a name was given twice, and the server kept the first.
    let mut raw = shop.raw().await;
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
        (raw::query("execute s"), "42501"),
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

async fn what_is_declared_counts(shop: &Corpora, owner: &Client) {
    let mut raw = shop.raw().await;
    let parse = |name: &str, sql: &str, types: &[u32]| {
        let count = i16::try_from(types.len()).unwrap().to_be_bytes().to_vec();
        let types = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
        let body = [raw::cstr(name), raw::cstr(sql), count, types].concat();
        [raw::message(b'P', &body), raw::sync()].concat()
    };
    let mut told = async |bytes: Vec<u8>| {
        raw.send(&bytes).await;
        refusal(&raw.until_ready().await).map(Message::sqlstate)
    };
    // Values of a domain are made of what is bound, used or not.
    let domain: u32 = owner.query_one("select 'shop.short'::regtype::oid", &[]).await.unwrap().get(0);
    for (sql, types, wanted) in [
        ("select $1", [domain], denied()),
        ("select 1", [domain], denied()),
        ("", [domain], Some("0A000".to_owned())),
        ("select 1", [25], None),
    ] {
        assert_eq!(told(parse("", sql, &types)).await, wanted, "{sql:?} {types:?}");
    }
}

/// The name under which a driver has prepared a text.
async fn prepared_as(client: &Client, text: &str) -> String {
    client
        .text(&format!("select name from pg_prepared_statements where statement = '{}'", text.replace('\'', "''")))
        .await
}

async fn changes_by_others(shop: &Corpora, owner: &Client) {
    let reader = client::connect(&shop.read.url).await;
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
    let name = prepared_as(&reader, "select shop.harmless('a')").await;
    let executes = [format!("execute {name}"), format!("explain analyze execute {name}")];
    for sql in &executes {
        assert_eq!(code(&reader, sql).await, None, "{sql}");
    }
    owner.batch_execute(HARMFUL).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let error = reader.query(&prepared, &[]).await.unwrap_err();
    assert_eq!(client::sqlstate(&error), "42501");
    for sql in &executes {
        assert_eq!(code(&reader, sql).await, denied(), "{sql}");
    }
    reader.query("select 1", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn start_up_parameters_are_judged_as_what_they_set() {
    let shop = Corpora::start().await;
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
        let login = Login { parameters: own.collect(), ..Login::of_url(&shop.read.url) };
        let mut raw = Raw::connect(shop.dev.pg_port, Tls::None).await;
        let result = raw.login(&login).await;
        assert_eq!(result.is_ok(), good, "{parameters:?}: {:?}", result.err());
    }
}
