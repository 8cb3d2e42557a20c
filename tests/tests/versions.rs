//! The versions of PostgreSQL that are supported: what readers' tools send and what evades, against a server of each. The
//! version that the machine has is tested by everything else.
//!
//! The servers come from npm. The newest one is tested each time, the others by `make test-long`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    corpora::{Corpora, differences, refusal},
    packages,
    raw::{Login, Raw, Tls},
    tools::{READERS, Tools},
};

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_18() {
    understood(&Corpora::start_major(18).await, 18).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn postgresql_18_with_its_clients() {
    with_clients(&Corpora::start_major(18).await, 18).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn postgresql_17() {
    whole(17).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn postgresql_16() {
    whole(16).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn postgresql_14() {
    whole(14).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn postgresql_13() {
    whole(13).await;
}

/// What a server of this version says, and what of it a reader is told.
async fn understood(shop: &Corpora, major: u16) {
    let owner = shop.cluster.superuser().await;
    assert_eq!(shop.major(&owner).await, major);
    shop.readers_read().await;
    the_servers_own_relations(shop).await;
    what_is_newer_than_the_server(shop, major).await;
    shop.nothing_slips_past_a_reader().await;
}

async fn whole(major: u16) {
    let shop = Corpora::start_major(major).await;
    with_clients(&shop, major).await;
    understood(&shop, major).await;
}

/// Clients, drivers and ORMs, unmodified.
async fn with_clients(shop: &Corpora, major: u16) {
    let tools = Tools::fetched();
    let bin = packages::clients();
    shop.psql_tells_a_reader_all(&bin.join("psql"));
    if major <= 17 {
        shop.pg_dump_writes_for_a_reader(&bin.join("pg_dump")).await;
    }
    let all = shop.dev.grant("all", "1h");
    // Django 5 asks for 14.
    let readers = READERS.iter().filter(|name| major >= 14 || !name.starts_with("django"));
    let drivers = ["psycopg_check.py", "asyncpg_check.py", "node_check.mjs"];
    let checks = readers.map(|name| (*name, &shop.read)).chain(drivers.map(|name| (name, &all)));
    let failed: Vec<_> =
        checks.filter(|(name, grant)| !tools.checks(name, shop, grant)).map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// Which of them there are, and their columns, differs from version to version.
async fn the_servers_own_relations(shop: &Corpora) {
    let owner = shop.cluster.superuser().await;
    let reader = client::connect(&shop.read.url).await;
    let all = "select format('select %s from %I.%I limit 3', string_agg(quote_ident(attname), ', ' order by attnum), nspname, relname), relname
        from pg_class c join pg_namespace n on n.oid = relnamespace join pg_attribute a on attrelid = c.oid
        where nspname in ('pg_catalog', 'information_schema') and relkind in ('r', 'v') and attnum > 0 and not attisdropped
        group by nspname, relname order by nspname, relname";
    let mut refused = Vec::new();
    let relations = owner.query(all, &[]).await.unwrap();
    assert!(relations.len() > 180, "{}", relations.len());
    for row in relations {
        let (sql, name): (String, String) = (row.get(0), row.get(1));
        match reader.simple_query(&sql).await {
            Ok(_) => {}
            Err(error) if client::sqlstate(&error) == "42501" => refused.push(name),
            // Not every machine has what the server is to look at.
            Err(error) => assert!(owner.simple_query(&sql).await.is_err(), "{sql}: {error:?}"),
        }
    }
    // What they show lies in files of the server.
    const FILES: [&str; 3] = ["pg_file_settings", "pg_hba_file_rules", "pg_ident_file_mappings"];
    refused.retain(|name| !FILES.contains(&name.as_str()));
    assert!(refused.is_empty(), "{refused:?}");
}

/// What a version knows since when. An older one may take it for something else: where functions of these names are made,
/// it calls them.
const NEWER: [(u16, &str); 24] = [
    (14, "select * from shop.customers join shop.names using (id) as joined"),
    (
        14,
        "with recursive t (n) as (select 1 union all select n + 1 from t where n < 3) search depth first by n set o select * from t",
    ),
    (
        14,
        "with recursive t (n) as (select 1 union all select n + 1 from t where n < 3) cycle n set c using p select * from t",
    ),
    (14, "select count(*) from shop.orders group by distinct rollup (status), rollup (status)"),
    (14, "select date_bin('1 day', placed, '2020-01-01') from shop.orders"),
    (14, "select '{[1,3), [5,7)}'::int4multirange"),
    (15, "select regexp_count(name, 'n') from shop.customers"),
    (16, "select 1_000"),
    (16, "select 0x1f, 0o17, 0b11"),
    (16, "select email from (select email from shop.customers)"),
    (16, "select json_array(1, 2)"),
    (16, "select json_object('a': 1, 'b': name) from shop.customers"),
    (16, "select json_arrayagg(name), json_objectagg(name: id) from shop.customers"),
    (16, "select extra is json object from shop.customers"),
    (16, "select any_value(name), system_user from shop.customers"),
    (16, "select xmlserialize(content '<a/>' as text no indent)"),
    (17, "select json_scalar(1)"),
    (17, "select json('{}')"),
    (17, "select json_serialize('{}')"),
    (17, "select json_exists(jsonb '{}', '$.a')"),
    (17, "select json_value(jsonb '{}', '$.a')"),
    (17, "select * from json_table(jsonb '[1]', '$[*]' columns (a int path '$')) t"),
    (17, "select placed at local from shop.orders"),
    (18, "select uuidv7() is not null"),
];

const TRAPS: &str = "
    create function public.steal() returns void language plpgsql as 'begin delete from shop.customers; end';
    create function public.json_array(int, int) returns text language plpgsql as 'begin perform steal(); return 1; end';
    create function public.json_scalar(int) returns text language plpgsql as 'begin perform steal(); return 1; end';
    create function public.json(text) returns text language plpgsql as 'begin perform steal(); return 1; end';
    create function public.json_serialize(text) returns text language plpgsql as 'begin perform steal(); return 1; end';
    create function public.json_exists(jsonb, text) returns bool language plpgsql as 'begin perform steal(); return true; end';
    create function public.json_value(jsonb, text) returns text language plpgsql as 'begin perform steal(); return 1; end';
    create function public.uuidv7() returns text language plpgsql as 'begin perform steal(); return 1; end'";

/// Whether the server knows it or not, a reader either gets the server's own answer or an error, and nothing runs.
async fn what_is_newer_than_the_server(shop: &Corpora, major: u16) {
    if major < 18 {
        shop.cluster.superuser().await.batch_execute(TRAPS).await.unwrap();
    }
    let mut direct = Raw::connect(shop.cluster.port, Tls::None).await;
    direct.login(&Login::of_url(&shop.direct_url())).await.unwrap();
    let mut reader = shop.raw().await;
    let before = shop.state().await;
    for (since, sql) in NEWER {
        let answer = reader.query(sql).await;
        assert_eq!(refusal(&answer).is_some(), major < since, "{sql}: {answer:?}");
        if major >= since {
            let own = direct.query(sql).await;
            assert_eq!(refusal(&own), None, "{sql}");
        }
        reader.query("rollback").await;
    }
    let changed = differences(&before, &shop.state().await);
    assert!(changed.is_empty(), "{changed:?}");
}
