//! What is large, long or deep: COPY, values of 100 MB, 1,600 columns, long pipelines that are read late.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use postern_e2e::{
    client::{self, Client},
    cluster::{APP_PASSWORD, Cluster},
    dev::Dev,
    raw::{self, Login, Raw, Tls},
    scenario::Scenarios,
    wait,
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio_postgres::types::ToSql;

/// A value of this size passes through everything.
const BIG: usize = 100 << 20;

/// What the process may need while a stream of any length passes: windows and buffers, not the stream.
const BOUNDED: u64 = 64 << 20;

struct Fixture {
    dev: tokio::sync::Mutex<Dev>,
    _cluster: Cluster,
    url: String,
    port: u16,
}

impl Fixture {
    async fn client(&self) -> Client {
        client::connect(&self.url).await
    }

    async fn raw(&self, tls: Tls) -> Raw {
        let mut raw = Raw::connect(self.port, tls).await;
        raw.login(&Login::of_url(&self.url)).await.unwrap();
        raw
    }

    async fn resident_bytes(&self) -> u64 {
        self.dev.lock().await.process().resident_bytes()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn big_and_long() {
    let cluster = Cluster::start().await;
    let url = cluster.app_url_without_password();
    let dev = Dev::start_with(&["--postgres", &url], &[("PGPASSWORD", APP_PASSWORD)]);
    let fixture =
        Arc::new(Fixture { url: dev.grant("all", "1h").url, port: dev.pg_port, dev: dev.into(), _cluster: cluster });
    let mut scenarios = Scenarios::default();
    macro_rules! run {
        ($($name:ident),* $(,)?) => {
            $(scenarios.run(stringify!($name), $name(Arc::clone(&fixture))).await;)*
        };
    }
    run!(
        copy_in_and_out,
        long_streams_in_bounded_memory,
        copy_that_fails,
        sixteen_hundred_columns,
        pipeline_read_late,
        pipeline_under_pressure_both_ways,
        multi_statement_strings,
        notices,
        notifications,
        cursors_and_large_objects,
        prepared_statements_and_binary_values,
        big_values,
        too_large_a_statement,
    );
    scenarios.end();
}

async fn copy_in_and_out(fixture: Arc<Fixture>) {
    let client = fixture.client().await;
    client.batch_execute("create temp table copied (id int, name text)").await.unwrap();
    let mut sink = pin!(client.copy_in("copy copied from stdin").await.unwrap());
    for chunk in 0..100 {
        let mut lines = String::new();
        for row in 0..1000 {
            lines.push_str(&format!("{}\tname {row}\n", chunk * 1000 + row));
        }
        sink.send(Bytes::from(lines)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 100_000);
    let stream = client.copy_out("copy copied to stdout (format binary)").await.unwrap();
    let bytes: usize =
        stream.map(|chunk| chunk.unwrap().len()).fold(0, |sum, length| async move { sum + length }).await;
    assert!(bytes > 2_000_000, "{bytes}");
    let admin = fixture.dev.lock().await.admin();
    let found = wait::until("COPY is on record", Duration::from_secs(3), || async {
        let found = admin.statements("copy copied from stdin");
        found.first().filter(|event| !event["outcome"].is_null()).cloned()
    })
    .await;
    assert_eq!((found["rows"].as_u64(), found["outcome"].as_str()), (Some(100_000), Some("ok")));
}

async fn long_streams_in_bounded_memory(fixture: Arc<Fixture>) {
    let client = fixture.client().await;
    let before = fixture.resident_bytes().await;
    let mut most = before;
    let sql = "copy (select repeat('x', 1000) from generate_series(1, 400000)) to stdout";
    let mut stream = pin!(client.copy_out(sql).await.unwrap());
    let (mut bytes, mut looks) = (0usize, 0usize);
    while let Some(chunk) = stream.try_next().await.unwrap() {
        bytes += chunk.len();
        if bytes / (50 << 20) > looks {
            looks += 1;
            most = most.max(fixture.resident_bytes().await);
        }
    }
    assert_eq!(bytes, 400_000 * 1001);
    client.batch_execute("create temp table long_in (x text)").await.unwrap();
    let mut sink = pin!(client.copy_in("copy long_in from stdin").await.unwrap());
    let line = Bytes::from("y".repeat(999_999) + "\n");
    for look in 0..200 {
        sink.send(line.clone()).await.unwrap();
        if look % 50 == 0 {
            most = most.max(fixture.resident_bytes().await);
        }
    }
    assert_eq!(sink.finish().await.unwrap(), 200);
    assert!(most - before < BOUNDED, "it grew by {} MiB", (most - before) >> 20);
}

async fn copy_that_fails(fixture: Arc<Fixture>) {
    let mut raw = fixture.raw(Tls::None).await;
    raw.query("create temp table failing (id int)").await;
    // The client gives up.
    raw.send(&raw::query("copy failing from stdin")).await;
    assert_eq!(raw.read().await.tag, b'G');
    raw.send(&raw::message(b'd', b"1\n")).await;
    raw.send(&raw::message(b'f', b"changed my mind\0")).await;
    let messages = raw.until_ready().await;
    assert_eq!(messages[0].sqlstate(), "57014", "{messages:?}");
    // The server gives up while the client goes on.
    raw.send(&raw::query("copy failing from stdin")).await;
    assert_eq!(raw.read().await.tag, b'G');
    for _ in 0..1000 {
        raw.send(&raw::message(b'd', b"no number\n")).await;
    }
    raw.send(&raw::message(b'c', &[])).await;
    let messages = raw.until_ready().await;
    assert_eq!(messages[0].sqlstate(), "22P02", "{messages:?}");
    assert_eq!(raw.text("select count(*) from failing").await, "0");
}

async fn sixteen_hundred_columns(fixture: Arc<Fixture>) {
    let client = fixture.client().await;
    let name = |i: i32| format!("a_column_with_quite_a_long_name_{i}");
    let columns: Vec<String> = (0..1600).map(|i| format!("{i}::int2 as {}", name(i))).collect();
    let sql = format!("select {}", columns.join(", "));
    let row = client.query_one(sql.as_str(), &[]).await.unwrap();
    assert_eq!(row.len(), 1600);
    for i in [0usize, 799, 1599] {
        let number = i32::try_from(i).unwrap();
        assert_eq!(row.columns()[i].name(), name(number));
        assert_eq!(i32::from(row.get::<_, i16>(i)), number);
    }
    let definitions: Vec<String> = (0..1600).map(|i| format!("{} int2 default {i}", name(i))).collect();
    client
        .batch_execute(&format!("create temp table wide ({}); insert into wide default values", definitions.join(", ")))
        .await
        .unwrap();
    assert_eq!(client.query("select * from wide", &[]).await.unwrap()[0].len(), 1600);
}

/// 20,000 statements are sent before the first answer is read: neither direction may wait for the other.
async fn pipeline_read_late(fixture: Arc<Fixture>) {
    const COUNT: usize = 20_000;
    let mut raw = fixture.raw(Tls::Negotiated).await;
    let mut pipeline = Vec::new();
    for i in 0..COUNT {
        pipeline.extend(raw::extended(&format!("select {i}, repeat('r', 100)")));
        if i % 1000 == 999 {
            pipeline.extend(raw::sync());
        }
    }
    let sent = raw.send_all_before_reading(&pipeline);
    wait::within("20,000 statements are taken", Duration::from_secs(60), sent).await;
    let mut rows = 0;
    for _ in 0..COUNT / 1000 {
        for message in raw.until_ready().await {
            assert_ne!(message.tag, b'E', "{message:?}");
            if message.tag == b'D' {
                assert_eq!(message.columns()[0].as_deref(), Some(rows.to_string().as_str()));
                rows += 1;
            }
        }
    }
    assert_eq!(rows, COUNT);
}

/// A client that sends much and gets much at the same time.
async fn pipeline_under_pressure_both_ways(fixture: Arc<Fixture>) {
    let client = fixture.client().await;
    let statement = client.prepare("select $1::text").await.unwrap();
    let value = "v".repeat(20_000);
    let all = futures_util::future::try_join_all((0..3000).map(|_| async {
        let values: [&(dyn ToSql + Sync); 1] = [&value];
        client.query_one(&statement, &values).await
    }));
    let rows = wait::within("60 MB go both ways", Duration::from_secs(60), all).await.unwrap();
    assert!(rows.iter().all(|row| row.get::<_, &str>(0).len() == value.len()));
}

async fn multi_statement_strings(fixture: Arc<Fixture>) {
    let mut raw = fixture.raw(Tls::None).await;
    let messages = raw.query("select 1; select 2; create temp table m (x int); insert into m select 1; select 3").await;
    let tags: Vec<char> = messages.iter().map(|message| char::from(message.tag)).collect();
    assert_eq!(tags.iter().collect::<String>(), "TDCTDCCCTDCZ");
    // One string is one transaction: an error undoes the whole of it.
    let messages = raw.query("insert into m values (2); select 1/0; insert into m values (3)").await;
    assert!(messages.iter().any(|message| message.tag == b'E'));
    assert_eq!(raw.text("select count(*) from m").await, "1");
    let messages = raw.query("insert into m values (2); commit; select 1/0").await;
    assert!(messages.iter().any(|message| message.tag == b'E'));
    assert_eq!(raw.text("select count(*) from m").await, "2");
}

async fn notices(fixture: Arc<Fixture>) {
    let client = fixture.client().await;
    let sql = "do $$begin for i in 1..1000 loop raise notice 'notice %', i; end loop; end$$";
    client.batch_execute(sql).await.unwrap();
    client.events(|events| {
        assert_eq!(events.notices.len(), 1000);
        assert_eq!(events.notices[999], "notice 1000");
    });
}

async fn notifications(fixture: Arc<Fixture>) {
    let (listener, sender) = (fixture.client().await, fixture.client().await);
    listener.batch_execute("listen big_channel").await.unwrap();
    let sql =
        "do $$begin for i in 1..500 loop perform pg_notify('big_channel', repeat('n', 5000) || i); end loop; end$$";
    sender.batch_execute(sql).await.unwrap();
    // They come to an idle session.
    wait::until("all have come", Duration::from_secs(10), || async {
        (listener.events(|events| events.notifications.len()) == 500).then_some(())
    })
    .await;
    let pid = sender.backend_pid().await;
    listener.events(|events| {
        let (channel, payload, from) = &events.notifications[499];
        assert_eq!((channel.as_str(), payload.len(), *from), ("big_channel", 5003, pid));
    });
}

async fn cursors_and_large_objects(fixture: Arc<Fixture>) {
    let mut client = fixture.client().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("select generate_series(1, 10000)", &[]).await.unwrap();
    let mut rows = 0;
    loop {
        let part = transaction.query_portal(&portal, 777).await.unwrap();
        if part.is_empty() {
            break;
        }
        rows += part.len();
    }
    assert_eq!(rows, 10_000);
    transaction.batch_execute("declare c cursor for select generate_series(1, 100)").await.unwrap();
    assert_eq!(transaction.query("fetch 60 from c", &[]).await.unwrap().len(), 60);
    assert_eq!(transaction.query("fetch all from c", &[]).await.unwrap().len(), 40);
    let bytes = vec![7u8; 3 << 20];
    let object: u32 = transaction.query_one("select lo_from_bytea(0, $1)", &[&bytes]).await.unwrap().get(0);
    let back: Vec<u8> = transaction.query_one("select lo_get($1)", &[&object]).await.unwrap().get(0);
    assert_eq!(back, bytes);
    transaction.execute("select lo_unlink($1)", &[&object]).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn prepared_statements_and_binary_values(fixture: Arc<Fixture>) {
    let client = fixture.client().await;
    let sql = "select $1::int8 + 1, $2::float8, $3::bytea, $4::text, $5::bool, $6::int4[]";
    let statement = client.prepare(sql).await.unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    for i in 0..200i64 {
        let row =
            client.query_one(&statement, &[&i, &1.5f64, &bytes, &"töxt", &true, &vec![1i32, 2, 3]]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), i + 1);
        assert_eq!(row.get::<_, Vec<u8>>(2), bytes);
        assert_eq!(row.get::<_, &str>(3), "töxt");
        assert_eq!(row.get::<_, Vec<i32>>(5), [1, 2, 3]);
    }
    let admin = fixture.dev.lock().await.admin();
    let found = wait::until("each execution is on record", Duration::from_secs(3), || async {
        let args = ["audit", "search", "--text", "$6::int4[]", "--limit", "1000", "--json"];
        let found = admin.run(&args).json().as_array().unwrap().clone();
        let ended = found.iter().filter(|event| event["outcome"] == "ok").count();
        (ended == 200).then_some(found)
    })
    .await;
    assert!(found.iter().all(|event| event["sql"] == sql && event["rows"] == 1), "{}", found[0]);
}

async fn big_values(fixture: Arc<Fixture>) {
    let client = fixture.client().await;
    // By result.
    let length = i32::try_from(BIG).unwrap();
    let text = async { client.query_one("select repeat('z', $1)", &[&length]).await };
    let row = wait::within("100 MB come", Duration::from_secs(60), text).await.unwrap();
    assert_eq!(row.get::<_, &str>(0).len(), BIG);
    drop(row);
    // By parameter: more than PostgreSQL's own buffers, and a digest so that nothing is lost unseen.
    let value: Vec<u8> = (0..BIG).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect();
    let sql = "select length($1::bytea), sum(get_byte($1, i)) from generate_series(0, 100000, 997) i";
    let digest = async { client.query_one(sql, &[&value]).await };
    let row = wait::within("100 MB go", Duration::from_secs(60), digest).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), i32::try_from(BIG).unwrap());
    let expect: u64 = (0..=100_000).step_by(997).map(|i| u64::from(value[i])).sum();
    assert_eq!(u64::try_from(row.get::<_, i64>(1)).unwrap(), expect);
    // In the statement's text, over the bound of older proxies.
    let sql = format!("select length('{}')", "q".repeat(20 << 20));
    assert_eq!(client.text(&sql).await, (20 << 20).to_string());
}

/// What is too large to be inspected is refused, never forwarded; the session goes on.
async fn too_large_a_statement(fixture: Arc<Fixture>) {
    let mut raw = fixture.raw(Tls::None).await;
    let length: i32 = 200 << 20;
    let mut header = vec![b'Q'];
    header.extend_from_slice(&(length + 4).to_be_bytes());
    raw.send(&header).await;
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..199 {
        raw.send(&chunk).await;
    }
    let mut last = chunk.clone();
    *last.last_mut().unwrap() = 0;
    raw.send(&last).await;
    let messages = raw.until_ready().await;
    assert_eq!(messages[0].tag, b'E', "{messages:?}");
    assert!(messages[0].field(b'H').is_some(), "{messages:?}");
    assert_eq!(raw.text("select 1").await, "1");
}
