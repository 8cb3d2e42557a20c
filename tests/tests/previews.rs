//! What people see of a statement that waits for them: what it would change is told exactly where that can be, and
//! nothing is changed by telling it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client},
    cluster::{APP_PASSWORD, Cluster, SUPERUSER_PASSWORD},
    dev::Dev,
    shop::until,
    wait,
};
use serde_json::Value;
use std::{process::Command, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SOON: Duration = Duration::from_secs(20);

const SCHEMA: &str = "
create schema shop;
create table shop.customers (id int primary key, name text, email text, ssn text, region text);
insert into shop.customers select n, 'customer ' || n, 'c' || n || '@secret.example', '900-00-' || n,
    case when n % 2 = 0 then 'north' else 'south' end from generate_series(1, 20) n;
create table shop.orders (id int primary key, customer_id int references shop.customers on delete cascade, status text, total int);
insert into shop.orders select n, (n + 1) / 2, case when n % 4 = 0 then 'stale' else 'open' end, n from generate_series(1, 40) n;
create table shop.items (order_id int references shop.orders on delete cascade, line int, sku text, primary key (order_id, line));
insert into shop.items select n, line, 'sku' from generate_series(1, 40) n, generate_series(1, 2) line;
create table shop.log (n int, what text);
create function shop.touch() returns trigger language plpgsql as 'begin insert into shop.log values (new.id, tg_op); return null; end';
create table shop.products (id int primary key, price int not null, stock int);
insert into shop.products select n, n, n from generate_series(1, 10) n;
create trigger touch after update on shop.products for each row execute function shop.touch();
create view shop.cheap as select * from shop.products where price <= 3;
create function shop.dark() returns trigger language plpgsql as 'begin return new; end';
create table shop.dark (id int);
create trigger dark before insert on shop.dark for each row execute function shop.dark();
create table shop.serials (id serial, v int);
create table shop.idents (id int generated always as identity, v int);
create table shop.uuids (id uuid primary key default gen_random_uuid(), v text);
create table shop.parts (id int, k text, v int, primary key (id, k)) partition by list (k);
create table shop.parts_a partition of shop.parts for values in ('a');
create table shop.parts_b partition of shop.parts for values in ('b');
insert into shop.parts select n, k, n from generate_series(1, 10) n, unnest(array['a', 'b']) k;
create table shop.plain (a int, b text);
insert into shop.plain select n, 'plain' from generate_series(1, 6) n;
create table shop.pair (id int references shop.products deferrable initially deferred);
create table shop.big (id int primary key);
insert into shop.big select generate_series(1, 20000);
create table shop.secured (id int primary key, owner text);
insert into shop.secured values (1, 'app'), (2, 'app'), (3, 'other');
alter table shop.secured enable row level security;
create policy own on shop.secured using (owner = current_user);
grant usage, create on schema shop to app;
grant all on all tables in schema shop to app;
grant all on all sequences in schema shop to app;
analyze;
";

const POLICIES: &str = r#"
@id("open")
permit (principal, action in [Action::"connect", Action::"read"], resource);

@id("reviewed")
@review("group:dba")
@preview
permit (principal, action in Action::"change", resource);
"#;

const CONNECTION: &str = "
kind: Connection
name: demo
reviews: { hold: 250ms }
undoable_functions: [shop.touch]
safe_functions: [shop.touch, shop.dark]
tags:
  shop.customers.email: pii.email
  shop.customers.ssn: pii.ssn
masks:
  pii.email: redact
  pii.ssn: { partial: 2 }
";

/// What is sent, and what is told of it: `exact`, how many rows, and of which relations (`*`: indirectly); `about`, where it is not
/// run; `fails`; or why nothing is tried.
const STATEMENTS: &[(&str, &str)] = &[
    ("delete from shop.orders where id = 1", "exact 3: shop.orders -1, shop.items -2*"),
    ("delete from shop.orders where status = 'stale'", "exact 30: shop.orders -10, shop.items -20*"),
    ("delete from shop.customers where id = 1", "exact 7: shop.customers -1, shop.items -4*, shop.orders -2*"),
    ("delete from only shop.items where order_id = 2", "exact 2: shop.items -2"),
    (
        "delete from shop.items using shop.orders o where o.id = order_id and o.customer_id = 3",
        "exact 4: shop.items -4",
    ),
    (
        "with m as (select id from shop.orders where customer_id = 4) delete from shop.items using m where order_id = m.id",
        "exact 4: shop.items -4",
    ),
    (
        "with gone as (delete from shop.items where order_id = 3 returning *) select count(*) from gone",
        "exact 2: shop.items -2",
    ),
    (
        "with gone as (delete from shop.items where order_id = 4 returning *) insert into shop.plain select order_id, sku from gone",
        "exact 4: shop.items -2, shop.plain +2",
    ),
    ("delete from shop.items where order_id = 999", "exact 0:"),
    ("update shop.orders set status = 'x' where id <= 3", "exact 3: shop.orders ~3"),
    (
        "update shop.orders set total = total + 1 from shop.customers c where c.id = customer_id and c.region = 'north'",
        "exact 20: shop.orders ~20",
    ),
    ("update shop.customers set name = 'N' where id = 5", "exact 1: shop.customers ~1"),
    ("update shop.customers set name = 'N' where email = 'c6@secret.example'", "exact 1: shop.customers ~1"),
    ("update shop.plain set b = 'z' where a < 3", "exact 2: shop.plain ~2"),
    ("update shop.orders set id = id + 1000 where id = 5", "fails 23503"),
    ("update shop.products set price = price + 1 where id <= 2", "exact 4: shop.products ~2, shop.log +2*"),
    ("update shop.products set price = null where id = 1", "fails 23502"),
    ("update shop.parts set k = 'b', id = 100 where id = 1 and k = 'a'", "exact 2: shop.parts +1 -1"),
    ("update shop.parts set v = 1", "exact 20: shop.parts ~20"),
    ("delete from shop.parts where k = 'a'", "exact 10: shop.parts -10"),
    ("delete from shop.parts_a where id < 4", "exact 3: shop.parts_a -3"),
    ("insert into shop.parts values (100, 'a', 0)", "exact 1: shop.parts +1"),
    ("insert into shop.parts values (100, 'zz', 0)", "fails 23514"),
    ("insert into shop.plain values (1, 'a'), (2, 'b')", "exact 2: shop.plain +2"),
    ("insert into shop.plain select id, status from shop.orders where id <= 7", "exact 7: shop.plain +7"),
    ("insert into shop.plain default values", "exact 1: shop.plain +1"),
    ("insert into shop.orders values (1, 1, 'n', 0)", "fails 23505"),
    ("insert into shop.orders values (1, 1, 'n', 0) on conflict do nothing", "exact 0:"),
    (
        "insert into shop.orders values (1, 1, 'n', 0), (500, 1, 'n', 0) on conflict (id) do update set status = excluded.status",
        "exact 2: shop.orders +1 ~1",
    ),
    ("insert into shop.orders values (501, 999, 'n', 0)", "fails 23503"),
    ("insert into shop.uuids (v) values ('a')", "exact 1: shop.uuids +1"),
    ("insert into shop.serials (v) values (1)", "about 1: shop.serials +1"),
    ("insert into shop.serials (id, v) select id, 1 from shop.orders where id < 5", "about 4: shop.serials +4"),
    ("insert into shop.idents (v) select id from shop.orders where id <= 3", "about 3: shop.idents +3"),
    ("insert into shop.pair values (77)", "fails 23503"),
    ("insert into shop.pair values (1)", "exact 1: shop.pair +1"),
    (
        "merge into shop.products p using (values (1, 9), (99, 9)) s (id, price) on p.id = s.id when matched then update set price = s.price when not matched then insert values (s.id, s.price, 0)",
        "exact 3: shop.products +1 ~1, shop.log +1*",
    ),
    ("merge into shop.plain p using shop.orders o on p.a = o.id when matched then delete", "exact 6: shop.plain -6"),
    ("update shop.cheap set stock = 0", "exact 6: shop.products ~3, shop.log +3*"),
    ("delete from shop.cheap where id = 1", "exact 1: shop.products -1"),
    ("insert into shop.dark values (1)", "not made: it runs shop.dark"),
    ("delete from shop.big", "about 20000: shop.big -20000"),
    ("delete from shop.big where id <= 10", "exact 10: shop.big -10"),
    ("update shop.orders set status = 'slow' where pg_sleep(0.01) is null", "about "),
    ("delete from shop.orders where nextval('shop.serials_id_seq') > 0", "about "),
    (
        "update shop.orders set total = (select max(total) from shop.orders) where id in (select order_id from shop.items where line = 2)",
        "exact 40: shop.orders ~40",
    ),
    ("delete from shop.orders where total / 0 > 1", "fails 22000"),
    (
        "with a as (update shop.products set stock = 1 where id = 1 returning id), b as (insert into shop.plain select id, 'x' from a returning a) select * from b",
        "exact 3: shop.plain +1, shop.products ~1, shop.log +1*",
    ),
    ("delete from shop.secured", "exact 2: shop.secured -2"),
    ("update shop.secured set owner = 'other' where id = 1", "fails 42501"),
    (
        "delete from shop.orders o where exists (select 1 from shop.items i where i.order_id = o.id and i.line = 2) and o.id = 7 returning o.*",
        "exact 3: shop.orders -1, shop.items -2*",
    ),
    ("truncate shop.plain", "not made: TRUNCATE"),
    ("alter table shop.orders add column x int", "not made: ALTER TABLE"),
    ("alter table shop.orders alter total type bigint", "not made: ALTER TABLE"),
    ("create index on shop.orders (status)", "not made: CREATE INDEX"),
    ("create index concurrently on shop.orders (status)", "not made: CREATE INDEX"),
    ("drop table shop.plain", "not made: DROP TABLE"),
    ("create table shop.made as select * from shop.orders", "not made: CREATE TABLE AS"),
    ("vacuum shop.orders", "not made: VACUUM"),
    ("grant select on shop.orders to public", "not made: GRANT"),
    ("create view shop.seen as select 1 as a", "not made: CREATE VIEW"),
    ("comment on table shop.orders is 'x'", "not made: COMMENT"),
    ("copy shop.plain from stdin", "not made: COPY"),
    ("copy (delete from shop.plain returning a) to stdout", "not made: COPY"),
    ("explain analyze delete from shop.plain", "not made: EXPLAIN"),
    ("delete from shop.items; delete from shop.orders", "not made: it is several statements"),
];

struct Fixture {
    cluster: Cluster,
    dev: Dev,
    /// The reviews that were seen.
    seen: std::cell::RefCell<Vec<String>>,
}

impl Fixture {
    async fn start(cluster: Cluster) -> Self {
        client::connect(&cluster.url("postgres", SUPERUSER_PASSWORD, "app")).await.batch_execute(SCHEMA).await.unwrap();
        let dev =
            Dev::start_with(&["--postgres", &cluster.app_url_without_password()], &[("PGPASSWORD", APP_PASSWORD)]);
        let fixture = Self { cluster, dev, seen: Default::default() };
        fixture.apply("previews.cedar", POLICIES);
        fixture.apply("previews.yaml", CONNECTION);
        fixture
    }

    fn apply(&self, name: &str, text: &str) {
        let file = self.dev.data().join(name);
        std::fs::write(&file, text).unwrap();
        let _ = self.dev.admin().run(&["apply", "--merge", file.to_str().unwrap()]).ok();
    }

    async fn client(&self) -> Client {
        let client = client::connect(&self.dev.grant("all", "1h").url).await;
        until(&client, "comment on schema shop is 'x'", true).await;
        client
    }

    /// Asks the control plane as the admin.
    async fn api(&self, method: &str, path: &str, body: &str) -> Value {
        let host = self.dev.ready()["http_url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(&host).await.unwrap();
        let token = self.dev.admin().token().to_owned();
        let head = format!("{method} /api/v1/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n");
        let about = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        stream.write_all(format!("{head}{about}Connection: close\r\n\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap()
    }

    /// The reviews that there are are not looked at.
    async fn forget(&self) {
        let reviews = self.api("GET", "reviews", "").await;
        let ids = reviews.as_array().unwrap().iter().map(|review| review["id"].as_str().unwrap().to_owned());
        self.seen.borrow_mut().extend(ids);
    }

    /// The review that was opened since the last one.
    async fn next(&self, what: &str) -> Value {
        let review = wait::until(&format!("it waits: {what}"), SOON, || async {
            let reviews = self.api("GET", "reviews", "").await;
            let is_new = |review: &&Value| !self.seen.borrow().contains(&review["id"].as_str().unwrap().to_owned());
            reviews.as_array().unwrap().iter().find(is_new).cloned()
        })
        .await;
        self.seen.borrow_mut().push(review["id"].as_str().unwrap().to_owned());
        review
    }

    /// All that is in the database, but for statistics.
    fn content(&self) -> String {
        let url = self.cluster.url("postgres", SUPERUSER_PASSWORD, "app");
        let output = Command::new("pg_dump").args(["--no-sync", "-d", &url]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        // Some versions put a random word there.
        text.lines().filter(|line| !line.contains("restrict")).collect::<Vec<_>>().join("\n")
    }
}

/// In the form in which it is expected.
fn told(preview: &Value) -> String {
    if let Some(why) = preview["not_made"].as_str() {
        return format!("not made: {why}");
    }
    if let Some(code) = preview["fails"]["sqlstate"].as_str() {
        return format!("fails {code}");
    }
    let effect = &preview["effect"];
    let relation = |relation: &Value| {
        let count = |key: &str, sign: char| match relation[key].as_u64().unwrap() {
            0 => String::new(),
            count => format!(" {sign}{count}"),
        };
        let counts = [count("inserted", '+'), count("updated", '~'), count("deleted", '-')].concat();
        let indirect = if relation["indirect"].as_bool().unwrap() { "*" } else { "" };
        format!("{}{counts}{indirect}", relation["relation"].as_str().unwrap())
    };
    let relations: Vec<_> = effect["relations"].as_array().unwrap().iter().map(relation).collect();
    let exact = if effect["exact"].as_bool().unwrap() { "exact" } else { "about" };
    format!("{exact} {}: {}", effect["rows"], relations.join(", ")).trim_end().to_owned()
}

fn notes(review: &Value) -> String {
    review["preview"]["notes"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_a_statement_and_that_nothing_is_changed_by_it() {
    let fixture = Fixture::start(Cluster::start().await).await;
    previews(&fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn the_same_with_the_oldest_and_the_newest_server() {
    for major in [13, 18] {
        let fixture = Fixture::start(Cluster::start_major(major, &[]).await).await;
        let client = fixture.client().await;
        let _ = fixture.next("until it is in force").await;
        each(&fixture, &client, &STATEMENTS[..36], "").await;
    }
}

async fn previews(fixture: &Fixture) {
    let client = fixture.client().await;
    let _ = fixture.next("until it is in force").await;
    let before = fixture.content();
    each(fixture, &client, STATEMENTS, "").await;
    assert!(fixture.content() == before, "something was changed");
    shown(fixture, &client).await;
    with_values(fixture, &client).await;
    in_transactions(fixture, &client).await;
    // Its session is as it was.
    for (setting, value) in [("lock_timeout", "0"), ("search_path", "\"$user\", public")] {
        assert_eq!(client.text(&format!("show {setting}")).await, value);
    }
    assert_eq!(client.text("select count(*) from pg_prepared_statements where name like '%own%'").await, "0");
    assert!(fixture.content() == before, "something was changed");
    recorded(fixture).await;
}

const SMALL_ONES: &str = r#"
@id("open")
permit (principal, action in [Action::"connect", Action::"read", Action::"insert"], resource);

@id("reviewed")
@review("group:dba")
@review_above("3")
permit (principal, action == Action::"delete", resource);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn small_effects_need_nobody_and_others_are_held_to_what_was_shown() {
    let fixture = Fixture::start(Cluster::start().await).await;
    let client = fixture.client().await;
    let _ = fixture.next("until it is in force").await;
    fixture.apply("previews.cedar", SMALL_ONES);
    // What needs nobody is decided within the hold, also on a busy machine.
    fixture.apply("patient.yaml", &CONNECTION.replace("250ms", "2s"));
    until(&client, "insert into shop.plain values (99, 'x')", false).await;
    // What was sent until then.
    fixture.forget().await;
    let orders = async || client.text("select count(*) from shop.orders").await;
    // Three rows, with those of its cascade.
    client.batch_execute("delete from shop.orders where id = 1").await.unwrap();
    let small = fixture.next("the small one").await;
    assert_eq!(
        (told(&small["preview"]).as_str(), orders().await.as_str()),
        ("exact 3: shop.orders -1, shop.items -2*", "39")
    );
    // Six.
    let large = "delete from shop.orders where id in (2, 3)";
    let waits = review(&fixture, &client, large).await;
    assert_eq!((waits["status"].as_str(), orders().await.as_str()), (Some("pending"), "39"));
    // Where it was not counted, people are asked, however little it may be.
    let unknown = review(&fixture, &client, "delete from shop.big").await;
    assert_eq!(unknown["status"], "pending");
    // What was agreed to runs, unless a cascade has grown.
    let owner = client::connect(&fixture.cluster.url("postgres", SUPERUSER_PASSWORD, "app")).await;
    for (sql, waits, grows) in
        [(large.to_owned(), waits, false), ("delete from shop.orders where id in (4, 5)".to_owned(), Value::Null, true)]
    {
        let waits = if waits.is_null() { review(&fixture, &client, &sql).await } else { waits };
        let path = format!("reviews/{}/approve", waits["id"].as_str().unwrap());
        let _ = fixture.api("POST", &path, "{}").await;
        if grows {
            owner.batch_execute("insert into shop.items values (4, 9, 'more')").await.unwrap();
        }
        let ran = client.batch_execute(&sql).await;
        match (ran, grows) {
            (Ok(()), false) => assert_eq!(orders().await, "37"),
            (Err(error), true) => {
                let told = error.as_db_error().unwrap();
                assert_eq!(told.code().code(), "53400");
                assert!(told.message().contains("would write 7 rows") && told.message().contains("is 6"), "{told:?}");
                assert_eq!(orders().await, "37");
            }
            (ran, _) => panic!("{sql}: {ran:?}"),
        }
    }
}

/// Each is sent, and looked at.
async fn each(fixture: &Fixture, client: &Client, statements: &[(&str, &str)], first: &str) {
    let mut wrong = Vec::new();
    for (sql, expected) in statements {
        if !first.is_empty() {
            client.batch_execute(first).await.unwrap();
        }
        // The identical text would ask for the review that there is.
        let sql = format!("{sql} /* {first} */");
        let error = client.batch_execute(&sql).await.unwrap_err();
        let code = client::sqlstate(&error);
        if !first.is_empty() {
            client.batch_execute("rollback").await.unwrap();
        }
        if code != "57014" {
            wrong.push(format!("{sql}: {error:?}"));
            continue;
        }
        let review = fixture.next(&sql).await;
        let found = told(&review["preview"]);
        if !(found == *expected || (found.starts_with(expected) && !expected.starts_with("exact"))) {
            wrong.push(format!("{sql}\n    {found}\n    {expected}\n    {}", review["preview"]));
        }
        let all = review.to_string();
        assert!(!all.contains("@secret.example") && !all.contains("900-00"), "{all}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn review(fixture: &Fixture, client: &Client, sql: &str) -> Value {
    let error = client.batch_execute(sql).await.unwrap_err();
    assert_eq!(client::sqlstate(&error), "57014", "{error:?}");
    fixture.next(sql).await
}

/// A value of a sample.
fn value<'a>(sample: &'a Value, when: &str, row: usize, column: &str) -> (&'a Value, bool) {
    let columns = sample["columns"].as_array().unwrap();
    let at = columns.iter().position(|name| name == column).unwrap();
    let value = &sample[when][row][at];
    (&value["text"], value["masked"].as_bool().unwrap())
}

/// Rows, totals, plans and notes.
async fn shown(fixture: &Fixture, client: &Client) {
    let found = review(fixture, client, "update shop.customers set name = upper(name) where id between 7 and 8").await;
    let effect = &found["preview"]["effect"];
    let sample = &effect["samples"][0];
    for row in [0, 1] {
        let (before, after) = (value(sample, "before", row, "name").0, value(sample, "after", row, "name").0);
        assert_eq!(before.as_str().unwrap().to_uppercase(), after.as_str().unwrap(), "{sample}");
        for when in ["before", "after"] {
            assert!(value(sample, when, row, "email").1 && value(sample, when, row, "ssn").1, "{sample}");
            assert!(!value(sample, when, row, "region").1, "{sample}");
        }
    }
    assert_eq!(effect["relations"][0]["total"], 20);
    assert!(notes(&found).contains("no lock waited for"), "{found}");
    let found = review(fixture, client, "delete from shop.big where id % 2000 = 0").await;
    assert!(found["preview"]["plan"].to_string().contains("Seq Scan on big (20,000 rows)"), "{found}");
    assert_eq!(found["preview"]["effect"]["samples"][0]["before"].as_array().unwrap().len(), 5);
    let found = review(fixture, client, "insert into shop.plain values (41, 'new')").await;
    assert_eq!(value(&found["preview"]["effect"]["samples"][0], "after", 0, "b").0, "new", "{found}");
    // Schema changes are described.
    let found = review(fixture, client, "alter table shop.big add column x uuid default gen_random_uuid()").await;
    let all = notes(&found);
    assert!(
        ["ACCESS EXCLUSIVE", "may write all of the relation anew", "shop.big: 2 MiB"]
            .iter()
            .all(|note| all.contains(note)),
        "{all}"
    );
    let found = review(fixture, client, "vacuum shop.big").await;
    assert!(notes(&found).contains("cannot run in a transaction"), "{found}");
    assert!(!found["statement"]["not_boundable_because"].is_null(), "{found}");
    // A lock that another one holds.
    let holder = client::connect(&fixture.cluster.url("postgres", SUPERUSER_PASSWORD, "app")).await;
    holder.batch_execute("begin; select from shop.orders where id = 11 for update").await.unwrap();
    let found = review(fixture, client, "delete from shop.orders where id = 11").await;
    assert_eq!(told(&found["preview"]), "about 1: shop.orders -1", "{found}");
    assert!(notes(&found).contains("another transaction holds a lock on rows of orders"), "{found}");
    holder.batch_execute("rollback").await.unwrap();
}

/// Parameters, with their types and values.
async fn with_values(fixture: &Fixture, client: &Client) {
    let statement = client.prepare("delete from shop.orders where id = $1 and status = $2").await.unwrap();
    for (id, rows) in [(12, 3), (13, 0)] {
        let error = client.execute(&statement, &[&id, &"stale"]).await.unwrap_err();
        assert_eq!(client::sqlstate(&error), "57014", "{error:?}");
        let found = fixture.next("with values").await;
        assert_eq!(found["preview"]["effect"]["rows"], rows, "{found}");
    }
}

/// Within a transaction of the client's.
async fn in_transactions(fixture: &Fixture, client: &Client) {
    let within = [STATEMENTS[0], STATEMENTS[6], STATEMENTS[10], STATEMENTS[15], STATEMENTS[31], STATEMENTS[52]];
    each(fixture, client, &within, "begin").await;
    // What comes at the end of the client's transaction may be right by then.
    each(fixture, client, &[("insert into shop.pair values (77)", "about 1: shop.pair +1")], "begin").await;
}

/// A preview is on record.
async fn recorded(fixture: &Fixture) {
    let found = wait::until("previews are on record", SOON, || async {
        let found = fixture.dev.admin().statements("delete from shop.orders where id = 1");
        found.iter().find(|statement| statement["kind"] == "preview").cloned()
    })
    .await;
    assert_eq!(found["outcome"], "ok", "{found}");
}
