//! Sessions that may change something are decided by the policies in force, as readers' are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    raw::{self, Raw},
    shop::{CONNECT, Shop, Way, code, refusal, until},
    wait,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);

fn parse(name: &str, sql: &str) -> Vec<u8> {
    raw::message(b'P', &[raw::cstr(name), raw::cstr(sql), vec![0, 0]].concat())
}

fn bind(portal: &str, name: &str) -> Vec<u8> {
    raw::message(b'B', &[raw::cstr(portal), raw::cstr(name), vec![0; 6]].concat())
}

fn execute(portal: &str, rows: u8) -> Vec<u8> {
    raw::message(b'E', &[raw::cstr(portal), vec![0, 0, 0, rows]].concat())
}

async fn send(raw: &mut Raw, messages: &[Vec<u8>]) -> Option<String> {
    raw.send(&[messages.concat(), raw::sync()].concat()).await;
    code(&raw.until_ready().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_a_role_does_what_it_is_for() {
    let shop = Shop::start().await;
    let mut writer = shop.raw("write").await;
    for way in Way::BOTH {
        for good in [
            "select * from orders",
            "insert into orders values (100)",
            "update orders set total = 1 where id = 100",
            "delete from orders where id = 100",
            "insert into lines select 1, 1",
            "delete from lines",
            "select nextval('tickets')",
            "set search_path = public",
            "select set_config('work_mem', '8MB', false)",
            "begin",
            "select * from orders for update",
            "rollback",
        ] {
            assert_eq!(way.run(&mut writer, good).await, None, "{way:?} {good}");
        }
        for bad in [
            "create table new (a int)",
            "create temp table new (a int)",
            "drop table orders",
            "truncate orders",
            "select dark()",
            "insert into noted values (1)",
            "do 'begin end'",
            "set role other",
            "reset role",
            "set session authorization other",
            "select set_config('role', 'other', false)",
            "select set_config('ro' || 'le', 'other', false)",
            "grant select on orders to other",
            "copy orders to '/tmp/postern-never'",
            "with gone as (delete from orders returning id) select dark()",
        ] {
            assert_eq!(way.run(&mut writer, bad).await.as_deref(), Some("42501"), "{way:?} {bad}");
        }
    }
    // What was refused never reached the server, which logs all that does.
    let log = shop.cluster.log();
    for word in ["create table new", "drop table", "select dark()", "postern-never"] {
        let reached = log.lines().filter(|line| line.contains("LOG:  ")).any(|line| line.contains(word));
        assert!(!reached, "{word}");
    }
    // Another role does more, and `all` everything, also what nobody understands.
    let migrate = shop.client("migrate").await;
    for good in ["create table new (a int)", "select dark()", "insert into noted values (1)", "drop table new"] {
        assert_eq!(refusal(&migrate, good).await, None, "{good}");
    }
    assert!(refusal(&migrate, "set role other").await.unwrap().contains("admin"), "but for admin");
    let all = shop.client("all").await;
    assert_eq!(refusal(&all, "set role other; reset role").await, None);
    let told = refusal(&all, "selekt").await.unwrap();
    assert!(told.starts_with("42601") && told.contains("syntax error at or near \"selekt\""), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_is_decided_statement_by_statement() {
    let shop = Shop::start().await;
    let writer = shop.client("write").await;
    writer.batch_execute("begin; update orders set total = 1 where id = 1; commit").await.unwrap();
    assert_eq!(writer.text("select total from orders where id = 1").await, "1");
    let told = refusal(&writer, "update orders set total = 2 where id = 1; drop table orders").await.unwrap();
    for word in ["42501", "ddl on public.orders", "DROP TABLE statement at byte 42", "insert, update, delete"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_eq!(writer.text("select total from orders where id = 1").await, "1", "none of it ran");
    // As messages of their own: the transaction has failed, as PostgreSQL has it.
    writer.batch_execute("begin").await.unwrap();
    writer.batch_execute("update orders set total = 3 where id = 1").await.unwrap();
    assert!(refusal(&writer, "drop table orders").await.unwrap().starts_with("42501"));
    assert!(refusal(&writer, "select 1").await.unwrap().starts_with("25P02"));
    writer.batch_execute("commit").await.unwrap();
    assert_eq!(writer.text("select total from orders where id = 1").await, "1", "it was rolled back");
    // In a pipeline what follows is passed over.
    let mut raw = shop.raw("write").await;
    let pipeline = [raw::extended("update orders set total = 4 where id = 1"), raw::extended("drop table orders")];
    assert_eq!(send(&mut raw, &pipeline).await.as_deref(), Some("42501"));
    assert_eq!(raw.text("select total from orders where id = 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_decide_what_writers_do() {
    let shop = Shop::start().await;
    let writer = shop.client("write").await;
    let all = shop.client("all").await;
    writer.batch_execute("begin; update orders set total = 7 where id = 7").await.unwrap();
    let policies = format!(
        "{CONNECT}
        @id(\"reads\") permit (principal, action == Action::\"read\", resource);
        @id(\"orders\") permit (principal, action in [Action::\"update\", Action::\"delete\"], resource)
        when {{ context.grant.role == \"write\" && resource.schema == \"public\" && resource.name == \"orders\" }};
        @id(\"where\") @message(\"say which\") @hint(\"add a WHERE\")
        forbid (principal, action == Action::\"delete\", resource) unless {{ context.statement.filtered }};
        @id(\"words\") forbid (principal, action, resource == Table::\"demo/public.secrets\");"
    );
    shop.apply(&policies);
    // In the middle of a transaction, which goes on until something is refused.
    let told = until(&writer, "select word from secrets", true).await;
    assert!(
        told.starts_with("42501") && told.contains("read on public.secrets is forbidden by policy `words`"),
        "{told}"
    );
    writer.batch_execute("rollback").await.unwrap();
    assert_eq!(refusal(&writer, "delete from orders where id = 10").await, None);
    let told = refusal(&writer, "delete from orders").await.unwrap();
    assert!(told.contains("say which") && told.contains("add a WHERE") && told.contains("`where`"), "{told}");
    let told = refusal(&writer, "insert into orders values (11)").await.unwrap();
    assert!(told.contains("no policy permits insert on public.orders"), "{told}");
    assert!(told.contains("read, update, delete"), "what may be done is told: {told}");
    // `all` is a name like another now: its session is looked at, and is served.
    assert_eq!(refusal(&all, "select count(*) from orders").await, None);
    assert!(refusal(&all, "update orders set total = 1 where id = 1").await.unwrap().starts_with("42501"));
    assert!(refusal(&all, "selekt").await.unwrap().contains("42601"));
    // A permit for everything: nothing is looked at any more.
    shop.apply("@id(\"everything\") permit (principal, action, resource);");
    until(&all, "set role other; reset role", false).await;
    assert_eq!(refusal(&writer, "drop table if exists nothing").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_starter_set_for_writers() {
    let shop = Shop::start().await;
    let (writer, migrate) = (shop.client("write").await, shop.client("migrate").await);
    let file = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/policies").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let roles = |role: &str| {
        format!("@id(\"{role}\") permit (principal, action, resource) when {{ context.grant.role == \"{role}\" }};\n")
    };
    let (write, other) = (roles("write"), roles("migrate"));

    shop.apply(&(write.clone() + &file("20-bounded-writes.cedar")));
    let told = until(&writer, "delete from orders", true).await;
    assert!(told.starts_with("42501") && told.contains("writes-need-where"), "{told}");
    assert!(refusal(&migrate, "select 1").await.unwrap().contains("42501"), "nothing permits it to connect");
    // One that began before has no lock_timeout.
    let update = "update orders set total = 2 where id = 1";
    assert!(refusal(&writer, update).await.unwrap().contains("lock_timeout"));
    let writer = shop.client("write").await;
    assert_eq!(refusal(&writer, update).await, None);

    shop.apply(&(write.clone() + &other + &file("30-migrations.cedar")));
    let told = until(&writer, "create table if not exists new (a int)", true).await;
    assert!(
        told.starts_with("42501") && told.contains("ddl-needs-migrate") && told.contains("--role migrate"),
        "{told}"
    );
    assert_eq!(refusal(&writer, "insert into orders values (12)").await, None);
    let migrate = std::sync::Arc::new(shop.client("migrate").await);
    assert_eq!(refusal(&migrate, "insert into orders values (13)").await, None, "with the reason that it has");
    // Only if a member of dba agrees.
    for (approves, table) in [(false, "refused"), (true, "agreed")] {
        let (client, sql) = (std::sync::Arc::clone(&migrate), format!("create table {table} (a int)"));
        let waiting = tokio::spawn(async move { refusal(&client, &sql).await });
        let review = wait::until("it waits", SOON, || async {
            let reviews = shop.dev.admin().run(&["reviews", "--status", "pending", "--json"]).json();
            reviews[0]["id"].as_str().map(str::to_owned)
        })
        .await;
        let args = if approves { vec!["approve", &review] } else { vec!["deny", &review, "--reason", "not this one"] };
        let _ = shop.dev.admin().run(&args).ok();
        let told = waiting.await.unwrap();
        assert_eq!(told.is_none(), approves, "{told:?}");
        let there = format!("select to_regclass('{table}') is not null");
        assert_eq!(shop.owner().await.query_one(&there, &[]).await.unwrap().get::<_, bool>(0), approves);
    }

    shop.apply(&(write + &other + &file("40-tagged-schemas.cedar")));
    let told = until(&writer, "select * from secrets", true).await;
    assert!(told.starts_with("42501") && told.contains("only-tagged-schemas"), "{told}");
    for good in [
        "update orders set total = 1 where id = 1",
        "select relname from pg_class limit 1",
        "create temp table mine as select * from orders",
        "insert into mine values (1)",
        "drop table mine",
    ] {
        assert_eq!(refusal(&writer, good).await, None, "{good}");
    }
    for bad in ["create table new (a int)", "create table app.new (a int)", "delete from secrets"] {
        assert!(refusal(&writer, bad).await.unwrap().contains("only-tagged-schemas"), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_before_a_policy_obeys_it() {
    let shop = Shop::start().await;
    let mut raw = shop.raw("write").await;
    let (words, orders) = ("select word from secrets", "select id from orders limit 1");
    assert_eq!(send(&mut raw, &[parse("words", words), parse("orders", orders), parse("twice", words)]).await, None);
    // The server keeps the first.
    assert_eq!(send(&mut raw, &[parse("twice", orders)]).await.as_deref(), Some("42P05"));
    raw.query("prepare w as select word from secrets").await;
    assert_eq!(code(&raw.query("prepare w as select 1").await).as_deref(), Some("42P05"));
    raw.query("begin").await;
    assert_eq!(send(&mut raw, &[bind("open", "words"), execute("open", 1)]).await, None);
    raw.query("declare c cursor for select word from secrets").await;
    assert_eq!(send(&mut raw, &[bind("", "w"), execute("", 0)]).await, None);
    shop.apply(&format!(
        "{CONNECT}@id(\"all\") permit (principal, action, resource) when {{ context.grant.role == \"write\" }};
        @id(\"words\") forbid (principal, action, resource == Table::\"demo/public.secrets\");"
    ));
    let other = shop.client("write").await;
    until(&other, words, true).await;
    let denied = Some("42501".to_owned());
    // Each fails, and with it the transaction: a savepoint before each.
    for run in [
        vec![execute("open", 1)],
        vec![bind("", "words"), execute("", 0)],
        vec![bind("", "twice"), execute("", 0)],
        vec![bind("", "w"), execute("", 0)],
        vec![execute("c", 1)],
        vec![raw::extended("execute w")],
        vec![raw::extended("fetch 1 from c")],
        vec![raw::extended("explain execute w")],
    ] {
        raw.query("savepoint s").await;
        assert_eq!(send(&mut raw, &run).await, denied, "{run:?}");
        raw.query("rollback to s").await;
    }
    raw.query("rollback").await;
    assert_eq!(send(&mut raw, &[bind("", "orders"), execute("", 0)]).await, None, "its twin runs");
    assert_eq!(send(&mut raw, &[parse("new", orders), bind("", "new"), execute("", 0)]).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_stops_changes_and_nothing_else() {
    let shop = Shop::start().await;
    let (reader, writer, all) = (shop.client("read").await, shop.client("write").await, shop.client("all").await);
    let idle = shop.client("write").await;
    let prepared = all.prepare("select count(*) from orders").await.unwrap();
    all.batch_execute("begin; create table half (a int)").await.unwrap();
    writer.batch_execute("begin; update orders set total = 5 where id = 5").await.unwrap();
    idle.batch_execute("begin; select 1").await.unwrap();
    shop.freeze(true);
    let told = until(&shop.client("write").await, "update orders set total = 6 where id = 6", true).await;
    assert!(told.starts_with("42501") && told.contains("postern:freeze"), "{told}");
    // What was changed before does not commit, and reading goes on in all sessions.
    for client in [&writer, &all] {
        assert_eq!(refusal(client, "select count(*) from orders").await, None);
        let told = refusal(client, "commit").await.unwrap();
        assert!(told.starts_with("42501") && told.contains("postern:freeze"), "{told}");
        client.batch_execute("rollback").await.unwrap();
        for change in ["delete from orders where id = 1", "create table half (a int)", "select dark()"] {
            assert!(refusal(client, change).await.unwrap().starts_with("42501"), "{change}");
        }
        client.batch_execute("begin; select count(*) from orders; commit").await.unwrap();
    }
    idle.batch_execute("commit").await.unwrap();
    assert_eq!(refusal(&reader, "select count(*) from orders").await, None);
    // What `all` has prepared unseen may be prepared again.
    let error = all.query(&prepared, &[]).await.unwrap_err();
    assert_eq!(client::sqlstate(&error), "26000");
    all.query("select count(*) from orders", &[]).await.unwrap();
    shop.freeze(false);
    for client in [&writer, &all, &idle] {
        until(client, "update orders set total = 6 where id = 6", false).await;
    }
    all.query(&prepared, &[]).await.unwrap();
    assert_eq!(all.text("select to_regclass('half') is null").await, "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_name_keeps_its_prefix() {
    let shop = Shop::start().await;
    let grant = shop.grant("write");
    let mut raw = Raw::connect(shop.dev.pg_port, raw::Tls::None).await;
    raw.login(&raw::Login::of_url(&grant.url)).await.unwrap();
    let prefix = format!("postern:{}:", grant.id);
    let shown = format!("{prefix}reports");
    for way in Way::BOTH {
        assert_eq!(way.run(&mut raw, "set application_name = 'reports'").await, None);
        assert_eq!(raw.text("show application_name").await, shown, "{way:?}");
        assert_eq!(way.run(&mut raw, "reset application_name").await, None);
        assert_eq!(raw.text("show application_name").await, prefix, "{way:?}");
    }
    raw.query("begin; set local application_name to reports; select 1").await;
    assert_eq!(raw.text("show application_name").await, shown);
    raw.query("commit").await;
    assert_eq!(raw.text("show application_name").await, prefix);
    for bad in [
        "select set_config('application_name', 'x', false)",
        "select set_config('application_name', note, false) from orders",
    ] {
        assert_eq!(code(&raw.query(bad).await).as_deref(), Some("42501"), "{bad}");
    }
    let own = format!("select set_config('application_name', '{shown}', false)");
    assert_eq!(code(&raw.query(&own).await), None);
    let all = shop.client("all").await;
    all.batch_execute("set application_name = 'plain'").await.unwrap();
    assert_eq!(all.text("show application_name").await, "plain");
    // The record has what was sent.
    assert!(!shop.dev.admin().statements("set application_name = 'reports'").is_empty());
}
