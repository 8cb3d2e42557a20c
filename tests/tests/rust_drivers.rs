//! tokio-postgres and sqlx, unmodified.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt, future::join_all, pin_mut};
use postern_e2e::{
    client::{self, sqlstate},
    cluster::{APP_PASSWORD, Cluster},
    corpora::{Corpora, differences, refusal},
    dev::Dev,
    raw,
    scenario::Scenarios,
    wait,
};
use sqlx::{
    AssertSqlSafe, Column, Connection, Executor, PgConnection, Row, SqlSafeStr,
    postgres::{PgListener, PgPoolCopyExt, PgPoolOptions},
};
use std::time::{Duration, Instant};
use tokio_postgres::{NoTls, SimpleQueryMessage, binary_copy::BinaryCopyOutStream, types::Type};

const BIG: usize = 100 * 1024 * 1024;
const COLUMNS: usize = 1600;
const GONE_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn tokio_postgres_and_sqlx_work_unmodified() {
    let cluster = Cluster::start().await;
    let direct = cluster.url("app", APP_PASSWORD, "app");
    // Not in the process list, where another test looks for it.
    let open = direct.replace(&format!(":{}", APP_PASSWORD), "");
    let dev = Dev::start_with(&["--postgres", &open], &[("PGPASSWORD", APP_PASSWORD)]);
    let url = dev.grant("all", "1h").url;
    let mut scenarios = Scenarios::default();
    let both = || (url.clone(), direct.clone());
    scenarios.run("tokio-postgres: simple and extended", tokio_statements(both())).await;
    scenarios.run("tokio-postgres: pipelined, and an error among them", tokio_pipelined(url.clone())).await;
    scenarios.run("tokio-postgres: COPY in and out", tokio_copy(url.clone())).await;
    scenarios.run("tokio-postgres: transactions, portals", tokio_transactions(url.clone())).await;
    scenarios.run("tokio-postgres: LISTEN, notices, cancel", tokio_events(both())).await;
    scenarios.run("tokio-postgres: 100 MB, 1,600 columns", tokio_large(url.clone())).await;
    scenarios.run("tokio-postgres: a client that vanishes", tokio_vanishes(both())).await;
    scenarios.run("sqlx: statements, binary", sqlx_statements(url.clone())).await;
    scenarios.run("sqlx: transactions, errors", sqlx_transactions(url.clone())).await;
    scenarios.run("sqlx: COPY in and out", sqlx_copy(url.clone())).await;
    scenarios.run("sqlx: LISTEN", sqlx_listens(both())).await;
    scenarios.run("sqlx: 100 MB, 1,600 columns", sqlx_large(url.clone())).await;
    scenarios.run("sqlx: a pool of 20", sqlx_pool(url.clone())).await;
    scenarios.end();
}

/// What its query macros ask, beside what [`Executor::prepare`] tells, of columns that may be null.
#[tokio::test(flavor = "multi_thread")]
async fn sqlx_learns_as_a_reader_what_may_be_null() {
    let shop = Corpora::start().await;
    let mut told = Vec::new();
    for url in [shop.direct_url(), shop.read.url.clone()] {
        for (sql, arguments) in [
            ("select id, name from shop.customers where id = $1 and name like $2", "(NULL, NULL)"),
            ("select c.id, o.total from shop.customers c left join shop.orders o on o.customer_id = c.id", ""),
        ] {
            let mut conn = PgConnection::connect(&url).await.unwrap();
            conn.prepare(sql.into_sql_str()).await.unwrap();
            let asked = format!("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE sqlx_s_1{arguments}");
            for _ in 0..2 {
                let row = sqlx::query(AssertSqlSafe(asked.clone())).fetch_one(&mut conn).await.unwrap();
                let plan = row.try_get_raw(0).unwrap().as_str().unwrap().to_owned();
                // What it costs may be guessed anew.
                let parts = ["Node Type", "Join Type", "Output", "Alias"];
                let lines = plan.lines().filter(|line| parts.iter().any(|part| line.contains(part)));
                told.push(lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    let (direct, postern) = told.split_at(told.len() / 2);
    assert!(direct.iter().all(|plan| plan.contains("Output")), "{direct:?}");
    assert_eq!(postern, direct);
    nothing_is_executed_that_may_not_be_prepared(&shop).await;
}

async fn nothing_is_executed_that_may_not_be_prepared(shop: &Corpora) {
    let before = shop.state().await;
    let mut raw = shop.raw().await;
    let parse = |sql: &str| [raw::message(b'P', &[raw::cstr("s"), raw::cstr(sql), vec![0, 0]].concat()), raw::sync()];
    for sql in ["delete from shop.queue", "select nextval('shop.orders_id_seq')", "select pg_sleep(0), lo_create(0)"] {
        for batch in [parse(sql).concat(), raw::query("execute s"), raw::query("explain analyze execute s")] {
            raw.send(&batch).await;
            let messages = raw.until_ready().await;
            assert!(refusal(&messages).is_some(), "{sql}: {messages:?}");
        }
        // Nor where nothing is waited for.
        raw.send(&[parse(sql).concat(), raw::query("execute s")].concat()).await;
        for _ in 0..2 {
            let messages = raw.until_ready().await;
            assert!(refusal(&messages).is_some(), "{sql}: {messages:?}");
        }
    }
    raw.send(&parse("select count(*) from shop.queue").concat()).await;
    assert!(refusal(&raw.until_ready().await).is_none());
    assert_eq!(raw.text("execute s").await, "2");
    assert_eq!(differences(&before, &shop.state().await), Vec::<String>::new());
}

type Urls = (String, String);

/// What both URLs must say to the same.
async fn tokio_statements((postern, direct): Urls) {
    let mut seen = Vec::new();
    for url in [direct, postern] {
        let client = client::connect(&url).await;
        let simple = client
            .simple_query(
                "CREATE TEMP TABLE s (a int, b text); INSERT INTO s VALUES (1, 'é'), (2, NULL); TABLE s; ; SELECT",
            )
            .await
            .unwrap();
        let simple: Vec<String> = simple.iter().map(shown).collect();
        let statement =
            client.prepare("SELECT $1::int8 * 2 AS n, $2::text AS t, $3::bytea AS b, $4::int4[] AS l").await.unwrap();
        let columns: Vec<_> = statement.columns().iter().map(|c| (c.name().to_owned(), c.type_().clone())).collect();
        assert_eq!(columns.last(), Some(&("l".to_owned(), Type::INT4_ARRAY)));
        let mut rows = Vec::new();
        for i in 0..200_i64 {
            let row = client
                .query_one(&statement, &[&i, &format!("é {i}"), &vec![0_u8, 255], &vec![Some(1), None]])
                .await
                .unwrap();
            rows.push((
                row.get::<_, i64>(0),
                row.get::<_, String>(1),
                row.get::<_, Vec<u8>>(2),
                row.get::<_, Vec<Option<i32>>>(3),
            ));
        }
        let mut errors = Vec::new();
        for sql in ["SELECT nonsense", "SELEC 1", "SELECT 1/0", "SELECT 'x'::int", "INSERT INTO nowhere VALUES (1)"] {
            for error in [client.simple_query(sql).await.err(), client.query(sql, &[]).await.err()] {
                let error = error.expect(sql);
                errors.push(format!("{:?}", error.as_db_error().unwrap()));
            }
        }
        let failed = client.simple_query("INSERT INTO s VALUES (3); SELECT 1/0; INSERT INTO s VALUES (4)").await;
        errors.push(sqlstate(&failed.unwrap_err()));
        let left = client.text("SELECT count(*) FROM s").await;
        seen.push(format!("{simple:?} {columns:?} {rows:?} {errors:?} {left}"));
    }
    assert_eq!(seen[1], seen[0]);
}

fn shown(message: &SimpleQueryMessage) -> String {
    match message {
        SimpleQueryMessage::Row(row) => format!("{:?}", (0..row.len()).map(|i| row.get(i)).collect::<Vec<_>>()),
        SimpleQueryMessage::CommandComplete(count) => format!("done {count}"),
        SimpleQueryMessage::RowDescription(columns) => {
            format!("{:?}", columns.iter().map(|column| column.name()).collect::<Vec<_>>())
        }
        _ => "something else".to_owned(),
    }
}

/// tokio-postgres pipelines whatever is polled at once.
async fn tokio_pipelined(url: String) {
    let client = client::connect(&url).await;
    let statement = client.prepare("SELECT 1000 / $1::int4, repeat('x', 300)").await.unwrap();
    let numbers: Vec<i32> = (0..20_000).map(|i| if i % 5000 == 2500 { 0 } else { i + 1 }).collect();
    let results = join_all(numbers.iter().map(|number| {
        let (client, statement) = (&client, &statement);
        async move { client.query_one(statement, &[number]).await }
    }))
    .await;
    for (number, result) in numbers.iter().zip(results) {
        match result {
            Ok(row) => assert_eq!(row.get::<_, i32>(0), 1000 / number),
            Err(error) => assert_eq!((*number, sqlstate(&error).as_str()), (0, "22012")),
        }
    }
    assert_eq!(client.text("SELECT 'after'").await, "after");
}

async fn tokio_copy(url: String) {
    let client = client::connect(&url).await;
    client.batch_execute("CREATE TEMP TABLE c (a int, b text)").await.unwrap();
    let sink = client.copy_in("COPY c FROM STDIN").await.unwrap();
    pin_mut!(sink);
    for i in 0..20_000 {
        sink.feed(Bytes::from(format!("{i}\tline é {i}\n"))).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 20_000);
    let out = client.copy_out("COPY c TO STDOUT").await.unwrap();
    let blocks: Vec<Bytes> = out.try_collect().await.unwrap();
    assert_eq!(blocks.concat().iter().filter(|&&byte| byte == b'\n').count(), 20_000);
    let out = client.copy_out("COPY c TO STDOUT (FORMAT binary)").await.unwrap();
    let rows: Vec<_> = BinaryCopyOutStream::new(out, &[Type::INT4, Type::TEXT]).try_collect().await.unwrap();
    assert_eq!(rows[19_999].get::<String>(1), "line é 19999");
    // The server refuses; the client gives up.
    let sink = client.copy_in("COPY c FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(Bytes::from_static(b"not a number\tx\n")).await.unwrap();
    assert_eq!(sqlstate(&sink.finish().await.unwrap_err()), "22P02");
    {
        let sink = client.copy_in::<_, Bytes>("COPY c FROM STDIN").await.unwrap();
        pin_mut!(sink);
        sink.send(Bytes::from_static(b"1\tx\n")).await.unwrap();
    }
    assert_eq!(client.text("SELECT count(*) FROM c").await, "20000");
}

async fn tokio_transactions(url: String) {
    let mut client = client::connect(&url).await;
    let mut transaction = client.transaction().await.unwrap();
    transaction.batch_execute("CREATE TEMP TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    let savepoint = transaction.transaction().await.unwrap();
    assert_eq!(sqlstate(&savepoint.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap_err()), "23505");
    assert_eq!(sqlstate(&savepoint.query("SELECT 1", &[]).await.unwrap_err()), "25P02");
    savepoint.rollback().await.unwrap();
    // Portals: rows by portions, two of them in turn.
    let statement = transaction.prepare("SELECT i FROM generate_series(1, $1::int) i").await.unwrap();
    let (one, two) =
        (transaction.bind(&statement, &[&250]).await.unwrap(), transaction.bind(&statement, &[&150]).await.unwrap());
    let mut got = Vec::new();
    for _ in 0..3 {
        for portal in [&one, &two] {
            got.push(transaction.query_portal(portal, 100).await.unwrap().len());
        }
    }
    assert_eq!(got, [100, 100, 100, 50, 50, 0]);
    let object: u32 =
        transaction.query_one("SELECT lo_from_bytea(0, $1)", &[&vec![7_u8; 100_000]]).await.unwrap().get(0);
    let back: Vec<u8> = transaction.query_one("SELECT lo_get($1)", &[&object]).await.unwrap().get(0);
    assert_eq!(back.len(), 100_000);
    transaction.execute("SELECT lo_unlink($1)", &[&object]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(client.text("SELECT count(*) FROM t").await, "1");
}

async fn tokio_events((postern, direct): Urls) {
    let (client, other) = (client::connect(&postern).await, client::connect(&direct).await);
    client.batch_execute("LISTEN here").await.unwrap();
    other.batch_execute("NOTIFY here, 'payload'").await.unwrap();
    let sender = other.backend_pid().await;
    // Not `until_now`: that would block the thread which may have the connection's task next in line.
    wait::until("the notification is there", GONE_WITHIN, || async {
        let wanted = ("here".to_owned(), "payload".to_owned(), sender);
        client.events(|events| events.notifications.contains(&wanted).then_some(()))
    })
    .await;
    client.batch_execute("DO $$ BEGIN RAISE NOTICE 'a notice'; END $$").await.unwrap();
    client.events(|events| assert_eq!(events.notices, ["a notice"]));
    let token = client.cancel_token();
    let pid = client.backend_pid().await;
    for _ in 0..3 {
        let cancel = async {
            active(&other, pid).await;
            token.cancel_query(NoTls).await.unwrap();
        };
        let (result, ()) = tokio::join!(client.simple_query("SELECT pg_sleep(60)"), cancel);
        assert_eq!(sqlstate(&result.unwrap_err()), "57014");
        assert_eq!(client.text("SELECT 1").await, "1");
    }
}

async fn active(other: &client::Client, pid: i32) {
    let sql = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query LIKE '%pg_sleep%'";
    wait::until("the statement runs", GONE_WITHIN, || async { other.query_opt(sql, &[&pid]).await.unwrap() }).await;
}

async fn tokio_large(url: String) {
    let client = client::connect(&url).await;
    let value: Vec<u8> = (0..BIG).map(|i| (i % 251) as u8).collect();
    let back: Vec<u8> = client.query_one("SELECT $1::bytea", &[&value]).await.unwrap().get(0);
    assert!(back == value);
    let row = client.query_one(&wide(), &[]).await.unwrap();
    assert_eq!((row.len(), row.get::<_, i32>(COLUMNS - 1)), (COLUMNS, 1599));
}

fn wide() -> String {
    let columns: Vec<String> = (0..COLUMNS).map(|i| format!("{i} AS c{i}")).collect();
    format!("SELECT {}", columns.join(", "))
}

async fn tokio_vanishes((postern, direct): Urls) {
    let other = client::connect(&direct).await;
    // A runtime that is thrown away takes its connection with it: no Terminate is sent.
    let (told, pid) = std::sync::mpsc::channel();
    let end = std::sync::Arc::new(tokio::sync::Notify::new());
    let ended = std::sync::Arc::clone(&end);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = client::connect(&postern).await;
            told.send(client.backend_pid().await).unwrap();
            tokio::select! {
                _ = client.simple_query("SELECT pg_sleep(600)") => panic!("it has ended"),
                () = ended.notified() => {}
            }
        });
        drop(runtime);
    });
    let pid = pid.recv().unwrap();
    active(&other, pid).await;
    end.notify_one();
    let start = Instant::now();
    thread.join().unwrap();
    wait::until("the backend is gone", GONE_WITHIN, || async {
        let left = other.query_opt("SELECT 1 FROM pg_stat_activity WHERE pid = $1", &[&pid]).await.unwrap();
        left.is_none().then_some(())
    })
    .await;
    eprintln!("gone after {:.1?}", start.elapsed());
}

async fn sqlx_statements(url: String) {
    let mut conn = PgConnection::connect(&url).await.unwrap();
    conn.execute("CREATE TEMP TABLE s (a int8 PRIMARY KEY, b text, c bytea)").await.unwrap();
    for i in 0..300_i64 {
        let done =
            sqlx::query("INSERT INTO s VALUES ($1, $2, $3)").bind(i).bind(format!("é {i}")).bind(vec![0_u8, 255]);
        assert_eq!(done.execute(&mut conn).await.unwrap().rows_affected(), 1);
    }
    let rows: Vec<(i64, Option<String>, Vec<u8>)> =
        sqlx::query_as("SELECT * FROM s ORDER BY a").fetch_all(&mut conn).await.unwrap();
    assert_eq!((rows.len(), rows[299].1.as_deref()), (300, Some("é 299")));
    // More statements than its cache keeps, so that it closes the oldest.
    for i in 0..150_i32 {
        let sql = AssertSqlSafe(format!("SELECT $1::int4 + {i}"));
        assert_eq!(sqlx::query_scalar::<_, i32>(sql).bind(i).fetch_one(&mut conn).await.unwrap(), 2 * i);
    }
    // Several statements in one string, by the simple protocol, with their rows.
    let several =
        sqlx::raw_sql("SELECT 1 AS a; INSERT INTO s VALUES (1000); SELECT 2 AS a").fetch_all(&mut conn).await.unwrap();
    assert_eq!(several.len(), 2);
    // A stream that is left early.
    let mut stream = sqlx::query("SELECT generate_series(1, 100000)").fetch(&mut conn);
    assert_eq!(stream.next().await.unwrap().unwrap().get::<i32, _>(0), 1);
    drop(stream);
    assert_eq!(sqlx::query_scalar::<_, i32>("SELECT 7").fetch_one(&mut conn).await.unwrap(), 7);
    conn.close().await.unwrap();
}

async fn sqlx_transactions(url: String) {
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let mut outer = conn.begin().await.unwrap();
    outer.execute("CREATE TEMP TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    let mut inner = outer.begin().await.unwrap();
    let error = sqlx::query("INSERT INTO t VALUES ($1)").bind(1).execute(&mut *inner).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("23505"));
    inner.rollback().await.unwrap();
    outer.commit().await.unwrap();
    let error = sqlx::query("SELECT nonsense FROM t").fetch_all(&mut conn).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42703"));
    // One that is dropped is rolled back before the next statement.
    let mut dropped = conn.begin().await.unwrap();
    dropped.execute("INSERT INTO t VALUES (2)").await.unwrap();
    drop(dropped);
    assert_eq!(sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t").fetch_one(&mut conn).await.unwrap(), 1);
}

async fn sqlx_copy(url: String) {
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    pool.execute("CREATE TEMP TABLE c (a int, b text)").await.unwrap();
    let mut copy = pool.copy_in_raw("COPY c FROM STDIN").await.unwrap();
    let lines: String = (0..20_000).map(|i| format!("{i}\tline {i}\n")).collect();
    copy.send(lines.as_bytes()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 20_000);
    let out: Vec<Bytes> = pool.copy_out_raw("COPY c TO STDOUT").await.unwrap().try_collect().await.unwrap();
    assert_eq!(out.concat(), lines.as_bytes());
    let copy = pool.copy_in_raw("COPY c FROM STDIN").await.unwrap();
    copy.abort("enough").await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>("SELECT count(*) FROM c").fetch_one(&pool).await.unwrap(), 20_000);
}

async fn sqlx_listens((postern, direct): Urls) {
    let mut listener = PgListener::connect(&postern).await.unwrap();
    listener.listen_all(["one", "Two"]).await.unwrap();
    let other = client::connect(&direct).await;
    other.batch_execute("NOTIFY \"Two\", 'first'; NOTIFY one, 'second'").await.unwrap();
    for (channel, payload) in [("Two", "first"), ("one", "second")] {
        let got = wait::within("a notification", GONE_WITHIN, listener.recv()).await.unwrap();
        assert_eq!((got.channel(), got.payload()), (channel, payload));
    }
}

async fn sqlx_large(url: String) {
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let value = "é".repeat(BIG / 2);
    let back: String = sqlx::query_scalar("SELECT $1::text").bind(&value).fetch_one(&mut conn).await.unwrap();
    assert!(back == value);
    let row = sqlx::query(AssertSqlSafe(wide())).fetch_one(&mut conn).await.unwrap();
    assert_eq!((row.columns().len(), row.columns()[COLUMNS - 1].name()), (COLUMNS, "c1599"));
    assert_eq!(row.get::<i32, _>(COLUMNS - 1), 1599);
}

async fn sqlx_pool(url: String) {
    let pool = PgPoolOptions::new().min_connections(20).max_connections(20).connect(&url).await.unwrap();
    let tasks = (0..2000_i32).map(|i| {
        let pool = pool.clone();
        async move {
            if i % 50 == 0 {
                let failed = sqlx::query("SELECT 1 / $1::int").bind(0).fetch_one(&pool).await.unwrap_err();
                assert_eq!(failed.as_database_error().unwrap().code().as_deref(), Some("22012"));
                return i;
            }
            sqlx::query_scalar("SELECT $1::int4").bind(i).fetch_one(&pool).await.unwrap()
        }
    });
    assert_eq!(join_all(tasks).await, (0..2000).collect::<Vec<_>>());
    assert_eq!(pool.size(), 20);
    pool.close().await;
}
