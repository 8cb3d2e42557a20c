//! What names mean while a session changes it: migrations, temporary tables, search paths, what is rolled back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    raw::{self, Raw},
    shop::{CONNECT, Shop, Way, code, refusal, until},
};

/// The role `migrate` may change the schemas `app` and `pg_temp` and what is in them, and reads.
fn of_app() -> String {
    format!(
        "{CONNECT}
        @id(\"reads\") permit (principal, action == Action::\"read\", resource);
        @id(\"app\") permit (principal, action in Action::\"change\", resource)
        when {{ [\"app\", \"pg_temp\"].contains(resource.schema) && context.grant.role == \"migrate\" }};
        @id(\"calls\") permit (principal, action == Action::\"call\", resource)
        when {{ context.grant.role == \"migrate\" }};"
    )
}

async fn migrator(shop: &Shop) -> Raw {
    shop.apply(&of_app());
    let client = shop.client("migrate").await;
    until(&client, "insert into secrets values (2)", true).await;
    shop.raw("migrate").await
}

/// Each as a message of its own; the same by PostgreSQL itself.
const MIGRATION: &[&str] = &[
    "begin",
    "create table t (id serial primary key, name text not null, kind text default 'a')",
    "create index on t (lower(name))",
    "insert into t (name) select 'n' || n from generate_series(1, 3) n",
    "alter table t add column size int",
    "update t set size = length(name)",
    "alter table t alter column size set not null",
    "create view v as select id, name from t",
    "select * from v",
    "savepoint s",
    "alter table t rename column name to title",
    "select title from t",
    "rollback to s",
    "select name from t",
    "create table u (t_id int references t)",
    "insert into u select id from t",
    "create function twice(int) returns int language sql as 'select $1 * 2'",
    "select twice(size) from t",
    "drop table u",
    "commit",
    "select count(*) from v",
    "drop view v",
    "drop function twice(int)",
    "drop table t",
    // Each in a transaction of its own.
    "create table t (id int)",
    "insert into t values (1)",
    "create index concurrently on t (id)",
    "vacuum t",
    "create temp table mine on commit drop as select 1 as a",
    "create temp table mine as select 1 as a",
    "insert into mine select * from mine",
    "select into other from mine",
    "discard temp",
    "drop table t, other",
    // What fails, fails as it does for PostgreSQL.
    "begin",
    "create table t (id int)",
    "insert into t values ('x')",
    "select 1",
    "rollback",
    "select * from t",
    "begin",
    "create table t (id int)",
    "commit",
    "drop table t",
];

/// What PostgreSQL itself says of a statement of [`MIGRATION`].
fn expected(statement: &str) -> Option<String> {
    let code = match statement {
        "insert into t values ('x')" => "22P02",
        "select 1" => "25P02",
        "select * from t" => "42P01",
        _ => return None,
    };
    Some(code.to_owned())
}

const DENIED: Option<&str> = Some("42501");

#[tokio::test(flavor = "multi_thread")]
async fn migrations_run() {
    let shop = Shop::start().await;
    let mut direct = Raw::connect(shop.cluster.port, raw::Tls::None).await;
    let url = shop.cluster.url("postgres", postern_e2e::cluster::SUPERUSER_PASSWORD, "app");
    direct.login(&raw::Login::of_url(&url)).await.unwrap();
    let mut migrate = shop.raw("migrate").await;
    for way in Way::BOTH {
        for statement in MIGRATION {
            assert_eq!(way.run(&mut direct, statement).await, expected(statement), "{way:?} {statement}");
        }
        for statement in MIGRATION {
            assert_eq!(way.run(&mut migrate, statement).await, expected(statement), "{way:?} {statement}");
        }
    }
    // Whole files in one string.
    let script = "begin; create table t (id int primary key); create index on t (id); insert into t values (1); commit";
    assert_eq!(code(&migrate.query(script).await), None);
    assert_eq!(migrate.text("select count(*) from t").await, "1");
    // A transaction's own snapshot hides what others change, and the server sees it.
    migrate.query("begin isolation level repeatable read").await;
    migrate.query("select 1").await;
    assert_eq!(code(&migrate.query("create table late (id int)").await), None);
    assert_eq!(code(&migrate.query("insert into late values (1)").await).as_deref(), Some("0A000"));
    migrate.query("rollback").await;
    migrate.query("begin isolation level repeatable read; create table late (id int)").await;
    assert_eq!(code(&migrate.query("commit").await), None, "on its own it is no matter");
    assert_eq!(code(&migrate.query("insert into late values (1)").await), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_transaction_makes_is_what_it_is() {
    let shop = Shop::start().await;
    let mut raw = migrator(&shop).await;
    for way in Way::BOTH {
        for (statement, expected) in [
            // A temporary table stands before the real one, as long as it is there.
            ("delete from orders", DENIED),
            ("begin", None),
            ("savepoint s", None),
            ("create temp table orders (id int)", None),
            ("insert into orders values (1)", None),
            ("delete from orders", None),
            ("rollback to s", None),
            ("delete from orders", DENIED),
            ("rollback", None),
            ("create temp table orders (id int) on commit drop", None),
            ("delete from orders", DENIED),
            ("create temp table orders (id int)", None),
            ("delete from orders", None),
            ("delete from public.orders", DENIED),
            ("drop table orders", None),
            ("drop table orders", DENIED),
            ("create temp table orders (id int)", None),
            ("discard all", None),
            ("delete from orders", DENIED),
            // What a new view, rule, trigger or function does is seen at once.
            ("begin", None),
            ("create view app.v as select * from orders", None),
            ("select * from app.v", None),
            ("update app.v set total = 1", DENIED),
            ("rollback", None),
            ("begin", None),
            ("create table app.t (id int)", None),
            (
                "create function app.f() returns bigint language sql as 'delete from public.orders; select 1::bigint'",
                None,
            ),
            ("select app.f()", DENIED),
            ("rollback", None),
            ("begin", None),
            ("create table app.t (id int)", None),
            ("create rule r as on insert to app.t do also delete from public.orders", None),
            ("insert into app.t values (1)", DENIED),
            ("rollback", None),
            // Renamed, it is another.
            ("begin", None),
            ("create temp table orders (id int)", None),
            ("alter table orders rename to other", None),
            ("delete from orders", DENIED),
            ("rollback", None),
            // The path of this transaction, and of the session.
            ("begin", None),
            ("create table app.orders (id int)", None),
            ("set local search_path = app, public", None),
            ("delete from orders", None),
            ("set local search_path = public, app", None),
            ("delete from orders", DENIED),
            ("rollback", None),
            ("set search_path = trap", None),
            ("insert into orders values (1)", DENIED),
            ("reset search_path", None),
        ] {
            let found = way.run(&mut raw, statement).await;
            assert_eq!(found.as_deref(), expected, "{way:?} {statement}");
        }
    }
    assert_eq!(raw.text("select count(*) from public.orders").await, "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_string_does_not_hide_what_it_changes() {
    let shop = Shop::start().await;
    let mut raw = migrator(&shop).await;
    raw.query("create temp table orders (id int)").await;
    for bad in [
        "drop table orders; delete from orders",
        "drop table orders; drop table orders",
        "drop table pg_temp.orders; alter table orders add column a int",
        "alter table orders rename to other; drop table orders",
        "discard temp; drop table orders",
        "begin; drop table orders; commit; delete from orders",
        "rollback; delete from orders",
        "rollback; drop table orders",
        "select set_config('search_path', 'tr' || 'ap', false); drop table orders",
        "drop table orders; set search_path = trap; drop table orders",
        "do 'begin end'; drop table orders",
    ] {
        let told = code(&raw.query(bad).await);
        assert!(matches!(told.as_deref(), Some("42501" | "0A000" | "42P01")), "{bad}: {told:?}");
        raw.query("rollback").await;
    }
    assert_eq!(code(&raw.query("delete from orders; drop table orders").await), None, "its twin runs");
    // A temporary table that goes with its transaction.
    for bad in [
        "begin; create temp table orders (id int) on commit drop; commit; delete from orders",
        "begin; create temp table orders (id int) on commit drop; commit; drop table orders",
    ] {
        assert!(code(&raw.query(bad).await).is_some(), "{bad}");
        raw.query("rollback").await;
    }
    raw.query("begin").await;
    raw.query("create temp table orders (id int) on commit drop").await;
    assert!(code(&raw.query("commit; delete from orders").await).is_some());
    raw.query("rollback").await;
    raw.query("begin").await;
    raw.query("create temp table orders (id int)").await;
    raw.query("select 1/0").await;
    assert!(code(&raw.query("commit; delete from orders").await).is_some(), "the commit rolls back");
    raw.query("rollback").await;
    assert_eq!(raw.text("select count(*) from public.orders").await, "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_does_not_run_ahead_of_what_names_mean() {
    let shop = Shop::start().await;
    let mut raw = migrator(&shop).await;
    raw.query("create temp table orders (id int)").await;
    let pipeline = [raw::extended("drop table orders"), raw::extended("delete from orders"), raw::sync()].concat();
    raw.send(&pipeline).await;
    assert_eq!(code(&raw.until_ready().await).as_deref(), Some("0A000"));
    assert_eq!(code(&raw.query("insert into orders values (1)").await), None, "none of it ran");
    // With a Sync between them the second waits for the first.
    let pipeline =
        [raw::extended("drop table orders"), raw::sync(), raw::extended("delete from orders"), raw::sync()].concat();
    raw.send(&pipeline).await;
    assert_eq!(code(&raw.until_ready().await), None);
    assert_eq!(code(&raw.until_ready().await).as_deref(), DENIED);
    // A Sync of ours would end what a Flush has not.
    raw.send(&[raw::extended("create table app.flushed (id int)"), raw::message(b'H', &[])].concat()).await;
    while raw.read().await.tag != b'C' {}
    raw.send(&[raw::extended("insert into app.flushed values (1)"), raw::sync()].concat()).await;
    assert_eq!(code(&raw.until_ready().await).as_deref(), Some("0A000"));
    assert_eq!(raw.text("select to_regclass('app.flushed') is null").await, "t", "the batch was one transaction");
    // Two strings without waiting.
    raw.send(
        &[raw::query("create table app.orders (id int)"), raw::query("insert into app.orders values (1)")].concat(),
    )
    .await;
    for _ in 0..2 {
        assert_eq!(code(&raw.until_ready().await), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_for_us_leaves_the_transaction_as_it_is() {
    let shop = Shop::start().await;
    let mut raw = migrator(&shop).await;
    for sql in [
        "set statement_timeout = '7s'",
        "begin",
        "savepoint \"postern's own question\"",
        "create table app.t (id int)",
        "declare c cursor for select id from orders order by id",
    ] {
        assert_eq!(code(&raw.query(sql).await), None, "{sql}");
    }
    assert_eq!(raw.text("fetch 1 from c").await, "1");
    raw.query("insert into app.t values (1)").await;
    assert_eq!(raw.text("fetch 1 from c").await, "2");
    assert_eq!(raw.text("show statement_timeout").await, "7s");
    assert_eq!(raw.text("show search_path").await, "\"$user\", public");
    let locks = "select count(*) from pg_locks where pid = pg_backend_pid() and relation = 'public.noted'::regclass";
    assert_eq!(raw.text(locks).await, "0");
    assert_eq!(code(&raw.query("rollback to savepoint \"postern's own question\"").await), None);
    assert_eq!(code(&raw.query("insert into app.t values (1)").await).as_deref(), Some("42P01"));
    raw.query("rollback").await;
    // A type that stands in for the server's own, where temporary ones are looked up first.
    raw.query("create domain pg_temp.text as char(1)").await;
    raw.query("begin").await;
    raw.query("create temp table orders (id int)").await;
    assert_eq!(code(&raw.query("delete from orders").await), None);
    assert_eq!(code(&raw.query("delete from secrets").await).as_deref(), DENIED);
    raw.query("rollback").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_to_do_nothing_hides_nothing() {
    let shop = Shop::start().await;
    let mut raw = migrator(&shop).await;
    // It could have made a table that stands before another.
    for way in Way::BOTH {
        assert_eq!(way.run(&mut raw, "do 'begin create temp table orders (id int); end'").await, None);
        assert_eq!(way.run(&mut raw, "delete from orders").await, None);
        assert_eq!(way.run(&mut raw, "begin").await, None);
        assert_eq!(way.run(&mut raw, "do 'begin drop table pg_temp.orders; end'").await, None);
        assert_eq!(way.run(&mut raw, "delete from orders").await.as_deref(), DENIED);
        assert_eq!(way.run(&mut raw, "rollback").await, None);
        assert_eq!(way.run(&mut raw, "drop table orders").await, None);
    }
    // Or have prepared something under a name that is known.
    let parse = raw::message(b'P', &[raw::cstr("p"), raw::cstr("select 1"), vec![0, 0]].concat());
    let run = [raw::message(b'B', &[raw::cstr(""), raw::cstr("p"), vec![0; 6]].concat()), raw::message(b'E', &[0; 5])];
    raw.send(&[parse, raw::sync()].concat()).await;
    raw.until_ready().await;
    raw.query("prepare q as select 1").await;
    for name in ["p", "q"] {
        assert_eq!(code(&raw.query(&format!("do 'begin deallocate {name}; end'")).await), None);
        let planted = format!("do 'begin execute ''prepare {name} as delete from orders''; end'");
        assert_eq!(code(&raw.query(&planted).await), None);
    }
    raw.send(&[run.concat(), raw::sync()].concat()).await;
    assert_eq!(code(&raw.until_ready().await).as_deref(), Some("26000"));
    assert_eq!(code(&raw.query("execute q").await).as_deref(), Some("0A000"));
    raw.query("deallocate q").await;
    raw.query("prepare q as select 2").await;
    assert_eq!(raw.text("execute q").await, "2");
    assert_eq!(raw.text("select count(*) from public.orders").await, "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_not_looked_at_is_read_anew() {
    let shop = Shop::start().await;
    let all = shop.client("all").await;
    let watch = shop.client("migrate").await;
    all.batch_execute("create temp table orders (id int); create table app.orders (id int)").await.unwrap();
    all.batch_execute("prepare p as delete from public.orders").await.unwrap();
    all.batch_execute("begin; create temp table secrets (id int); declare c cursor for select 1").await.unwrap();
    let policies = of_app().replace("== \"migrate\"", "!= \"read\"");
    shop.apply(&policies);
    until(&watch, "insert into secrets values (2)", true).await;
    for (statement, expected) in [
        ("delete from secrets", None),
        ("delete from orders", None),
        ("savepoint s", None),
        ("delete from public.orders", Some("42501")),
        ("rollback to s", None),
        ("fetch 1 from c", Some("0A000")),
        ("rollback", None),
        ("execute p", Some("0A000")),
        ("delete from secrets", Some("42501")),
        ("delete from orders", None),
        ("drop table orders", None),
        ("delete from orders", Some("42501")),
        ("deallocate p", None),
        ("prepare p as delete from app.orders", None),
        ("execute p", None),
    ] {
        let told = refusal(&all, statement).await;
        let found = told.as_deref().map(|told| &told[..5]);
        assert_eq!(found, expected, "{statement}: {told:?}");
    }
}
