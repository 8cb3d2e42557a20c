//! Other people's tools under access roles: what they read is read, what changes the schema is for who may.
//!
//! The tools are processes of their own, in the versions that are written down in `tests/drivers/`. What they read they
//! read straight from PostgreSQL too, and it must be the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    corpora::{Corpora, differences},
    shop::until,
    tools::{READERS, Tools, text},
    wait,
};
use sqlx::{Column, Connection, Executor, PgConnection, SqlSafeStr, Statement};
use std::{path::Path, time::Duration};

/// Promised are two seconds; a loaded machine with an unoptimised build gets this.
const RECORDED_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn psql_and_pg_dump_tell_a_reader_all() {
    let shop = Corpora::start().await;
    shop.psql_tells_a_reader_all(Path::new("psql"));
    shop.pg_dump_writes_for_a_reader(Path::new("pg_dump")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orms_read() {
    let tools = Tools::fetched();
    let shop = Corpora::start().await;
    let failed: Vec<_> = READERS.iter().filter(|script| !tools.checks(script, &shop, &shop.read)).collect();
    assert!(failed.is_empty(), "{failed:?}");
    sqlx_reads(&shop).await;
}

/// What sqlx learns of a statement that it prepares, and what it reads.
async fn sqlx_reads(shop: &Corpora) {
    let mut told = Vec::new();
    for url in [shop.direct_url(), shop.read.url.clone()] {
        let mut conn = PgConnection::connect(&url).await.unwrap();
        for sql in [
            "select id, name, email, tags, extra, created from shop.customers where id = $1 and name like $2",
            "select c.id, o.total, o.feeling from shop.customers c left join shop.orders o on o.customer_id = c.id",
            "select home, array_agg(name) from shop.customers group by home having count(*) > $1",
            "with t as (select count(*) as n from shop.queue) select n + $1::int8 as m, now() from t",
            "select email from shop.people",
            "select label, stock from shop.products",
        ] {
            let statement = conn.prepare(sql.into_sql_str()).await.unwrap();
            let columns: Vec<_> = statement.columns().iter().map(|c| (c.name(), c.type_info().to_string())).collect();
            told.push(format!("{columns:?} {:?}", statement.parameters()));
        }
        let rows: Vec<(i64, Option<String>)> = sqlx::query_as("select id, total::text from shop.orders where id > $1")
            .bind(0_i64)
            .fetch_all(&mut conn)
            .await
            .unwrap();
        told.push(format!("{rows:?}"));
    }
    let (direct, postern) = told.split_at(told.len() / 2);
    assert_eq!(postern, direct);
}

/// What changes the schema, and a table that is there then.
const MIGRATIONS: [(&str, &str); 4] = [
    (
        "prisma db push --config prisma.config.mjs --schema made.prisma --skip-generate --accept-data-loss",
        "by_prisma.made",
    ),
    ("drizzle-kit push --force --config drizzle.config.mjs", "by_drizzle.made"),
    ("alembic upgrade head", "shop.made_by_alembic"),
    ("python django_manage.py migrate", "shop.made_by_django"),
];

/// What takes it away again.
const BACK: [(&str, &str); 4] = [
    (
        "prisma db push --config prisma.config.mjs --schema less.prisma --skip-generate --accept-data-loss",
        "by_prisma.made",
    ),
    ("drizzle-kit push --force --config less.config.mjs", "by_drizzle.made"),
    ("alembic downgrade base", "shop.made_by_alembic"),
    ("python django_manage.py migrate django_shop zero", "shop.made_by_django"),
];

#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_for_who_may_change_the_schema() {
    let tools = Tools::fetched();
    let shop = Corpora::start().await;
    let all = shop.dev.grant("all", "1h").url;
    refuses(&tools, &shop, &shop.read.url, &MIGRATIONS).await;
    does(&tools, &shop, &all, &MIGRATIONS, true).await;
    refuses(&tools, &shop, &shop.read.url, &BACK).await;
    does(&tools, &shop, &all, &BACK, false).await;
    // By policies, whatever the database's own role may.
    let write = shop.dev.grant("write", "1h").url;
    let file = shop.dev.data().join("rows.cedar");
    std::fs::write(&file, ROWS).unwrap();
    let _ = shop.dev.admin().run(&["apply", file.to_str().unwrap()]).ok();
    let writer = client::connect(&write).await;
    until(&writer, "select from shop.people", true).await;
    writer.batch_execute("insert into shop.log (what) values ('a row is a row')").await.unwrap();
    refuses(&tools, &shop, &write, &MIGRATIONS).await;
    does(&tools, &shop, &all, &MIGRATIONS, true).await;
    refuses(&tools, &shop, &write, &BACK).await;
    does(&tools, &shop, &all, &BACK, false).await;
}

/// Rows for everyone, the schema for one access role. One table is for nobody, so that it shows when this is in force.
const ROWS: &str = r#"
@id("connects") permit (principal, action == Action::"connect", resource);
@id("rows")
permit (principal, action in [Action::"read", Action::"insert", Action::"update", Action::"delete"], resource);
@id("migrates") permit (principal, action, resource) when { context.grant.role == "all" };
@id("people") forbid (principal, action == Action::"read", resource == Table::"demo/shop.people");
"#;

/// Each is refused for the DDL that it sends, and nothing has changed.
async fn refuses(tools: &Tools, shop: &Corpora, url: &str, migrations: &[(&str, &str)]) {
    let before = shop.state().await;
    for (migration, _) in migrations {
        let told = text(&tools.migrates(migration, url));
        assert!(told.contains("ddl on"), "{migration}: {told}");
        wait::until("the refusal is on record", RECORDED_WITHIN, || async {
            let newest = shop.dev.admin().run(&["audit", "search", "--limit", "20", "--json"]).json();
            let refused = newest.as_array().unwrap().iter().find(|event| event["decision"] == "deny")?;
            assert_eq!(refused["sqlstate"], "42501", "{migration}: {refused}");
            Some(())
        })
        .await;
    }
    let changed = differences(&before, &shop.state().await);
    assert!(changed.is_empty(), "{changed:?}");
}

/// Each does what it is for.
async fn does(tools: &Tools, shop: &Corpora, url: &str, migrations: &[(&str, &str)], there: bool) {
    let superuser = shop.cluster.superuser().await;
    for (migration, table) in migrations {
        let output = tools.migrates(migration, url);
        let found = superuser.text(&format!("select to_regclass('{table}') is not null")).await;
        assert_eq!(found == "t", there, "{migration}: {}", text(&output));
        assert!(output.status.success(), "{migration}: {}", text(&output));
    }
}
