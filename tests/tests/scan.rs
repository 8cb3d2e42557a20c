//! Which columns `postern scan` proposes tags for, which not, and that it shows no value.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    cluster::{Cluster, SUPERUSER_PASSWORD},
    dev::{Dev, Done},
    parts::{Part, Parts},
    shop::IN_FORCE_WITHIN,
    wait,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Names that say nothing, and values that do; names that do; and what is neither.
const SCHEMA: &str = r#"
create schema crm;
create table crm.one (
    id bigint primary key, c1 text, c2 char(11), c3 varchar(30), c4 text, c5 text, c6 text, c7 bigint,
    many text[], remarks text, doc jsonb, settings json, people jsonb,
    first_name text, password_hash text, date_of_birth date, salary numeric(10, 2), cvv int, last_ip inet, ssn int,
    price numeric(10, 2), total float8, day date, at timestamptz, uid uuid, uid_text text, md5 text, sha text,
    order_no text, serial_no bigint, sku text, quantity int, flag boolean, status text, email_verified boolean,
    version text, color text, amount_text text, day_text text, weights jsonb
);
insert into crm.one select n,
    'person' || n || '@secret.example', '123-45-' || lpad(n::text, 4, '0'), card, 'DE89370400440532013000',
    '+49 30 ' || (9012300 + n), 'ghp_' || md5(n::text) || substr(md5((n + 1)::text), 1, 4), card::bigint,
    array['first' || n || '@secret.example', 'second' || n || '@secret.example'],
    case when n % 5 = 0 then 'called, write to remark' || n || '@secret.example soon' else 'nothing of note' end,
    jsonb_build_object('contact', jsonb_build_object('mail', 'inner' || n || '@secret.example'), 'n', n),
    json_build_object('auth', json_build_object('api_token', 'opaque' || n)),
    jsonb_build_object('kim' || n, n, 'kim' || n || '@secret.example', true),
    'Vorname' || n, '$2b$12$' || md5(n::text), date '1950-01-01' + n, 1000 + n, 100 + n, '10.9.8.7', 100000000 + n,
    n / 7.0, n / 3.0, date '2024-01-01' + n, now(), gen_random_uuid(), gen_random_uuid(), md5(n::text), encode(sha256(n::text::bytea), 'hex'),
    (8000000000000000 + n * 7)::text, 4000000000000000 + n * 7, 'SKU-' || lpad(n::text, 5, '0'), n, true, 'shipped', true,
    '1.2.' || n, 'red', (n / 7.0)::numeric(10, 2)::text, (date '2024-01-01' + n)::text, '{"kg": 1.5, "count": 17, "day": "2024-01-01"}'
from generate_series(1, 200) n, lateral (select '4' || lpad(n::text, 14, '0') as digits) most, lateral (
    select digits || (10 - sum(case when p % 2 = 1 then (d * 2) / 10 + (d * 2) % 10 else d end) % 10) % 10 as card
    from generate_series(1, 15) p, lateral (select substr(digits, p, 1)::int as d) each
) luhn;
create table crm.customers (id int, name text, note text);
create table crm.products (id int, name text, phone text);
insert into crm.products select n, 'Thing ' || n, 'yes' from generate_series(1, 20) n;
create table crm.parted (id int, mail text) partition by range (id);
create table crm.parted_1 partition of crm.parted for values from (0) to (1000);
insert into crm.parted select n, 'part' || n || '@secret.example' from generate_series(1, 50) n;
create view crm.shown as select c1 from crm.one;
create table crm.hidden (mail text);
insert into crm.hidden values ('hidden@secret.example');
grant usage on schema crm to public;
grant select on crm.one, crm.customers, crm.products, crm.parted to public;
"#;

/// What is proposed for [`SCHEMA`], with how sure that is.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("crm.customers.name", "pii.name", "medium"),
    ("crm.hidden.mail", "pii.email", "medium"),
    ("crm.one.c1", "pii.email", "high"),
    ("crm.one.c2", "pii.ssn", "high"),
    ("crm.one.c3", "pci.pan", "high"),
    ("crm.one.c4", "pci.iban", "high"),
    ("crm.one.c5", "pii.phone", "medium"),
    ("crm.one.c6", "secret.token", "high"),
    ("crm.one.c7", "pci.pan.redacted", "high"),
    ("crm.one.cvv", "pci.cvv", "medium"),
    ("crm.one.date_of_birth", "pii.birth_date", "medium"),
    ("crm.one.doc", "pii.document", "high"),
    ("crm.one.first_name", "pii.name", "medium"),
    ("crm.one.last_ip", "pii.ip", "medium"),
    ("crm.one.many", "pii.email", "high"),
    ("crm.one.password_hash", "secret.password", "medium"),
    ("crm.one.people", "pii.document", "high"),
    ("crm.one.remarks", "pii.text", "medium"),
    ("crm.one.salary", "pii.salary", "medium"),
    ("crm.one.settings", "pii.document", "medium"),
    ("crm.one.ssn", "pii.ssn.redacted", "medium"),
    ("crm.parted.mail", "pii.email", "high"),
    ("crm.products.phone", "pii.phone", "low"),
];

/// What stands in values and keys and nowhere else.
const SECRETS: &[&str] = &[
    "secret.example",
    "person7",
    "45-0007",
    "DE8937",
    "370400440532",
    "9012307",
    "ghp_",
    "remark5",
    "inner7",
    "opaque7",
    "Vorname7",
    "$2b$",
    "kim7",
    "0000000007",
];

fn columns(done: &Done) -> BTreeMap<String, Value> {
    assert_eq!(done.code, 0, "{done:#?}");
    let list: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:#?}"));
    let named = |column: &Value| (column["column"].as_str().unwrap().to_owned(), column.clone());
    list.as_array().unwrap().iter().map(named).collect()
}

fn assert_no_value(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is shown: {text}");
    }
}

fn found(column: &Value) -> Vec<(String, Value, Value)> {
    let of = |finding: &Value| {
        let path = finding["path"].as_str().map(|path| format!(" at {path}")).unwrap_or_default();
        let key = if finding["by_name"] == json!(true) { "key " } else { "" };
        (
            format!("{key}{}{path}", finding["what"].as_str().unwrap()),
            finding["whole"].clone(),
            finding["within"].clone(),
        )
    };
    column["found"].as_array().unwrap().iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_with_their_evidence_and_no_value() {
    let cluster = Cluster::start().await;
    let owner = client::connect(&cluster.url("postgres", SUPERUSER_PASSWORD, "app")).await;
    owner.batch_execute(SCHEMA).await.unwrap();
    let mut parts = Parts::start(&cluster).await;
    let admin = parts.admin().clone();
    let scan = |args: &[&str]| admin.run(&[&["scan", "orders"], args].concat());

    let done = scan(&["--json"]);
    let seen = columns(&done);
    let told: Vec<_> = seen
        .iter()
        .map(|(name, column)| (name.as_str(), column["tag"].as_str().unwrap(), column["confidence"].as_str().unwrap()))
        .collect();
    assert_eq!(told, EXPECTED, "{done:#?}");
    assert!(done.stderr.contains("as app_reader, the login of the access role read"), "{done:#?}");
    assert!(done.stderr.contains("No values of crm.hidden were read: the login may not read it"), "{done:#?}");
    let mail = &seen["crm.one.c1"];
    assert_eq!((&mail["values"], &mail["mask"], &mail["type"]), (&json!(200), &json!("email"), &json!("text")));
    assert_eq!(found(mail), [("email".to_owned(), json!(200), json!(0))]);
    assert_eq!(found(&seen["crm.one.remarks"]), [("email".to_owned(), json!(0), json!(40))]);
    assert_eq!(
        found(&seen["crm.one.doc"]),
        [
            ("email at contact.mail".to_owned(), json!(200), json!(0)),
            ("key email at contact.mail".to_owned(), json!(200), json!(0))
        ]
    );
    // Keys that are data are not told either.
    assert_eq!(found(&seen["crm.one.people"]), [("email at *".to_owned(), json!(200), json!(0))]);
    assert_eq!(found(&seen["crm.one.settings"]), [("key token at auth.api_token".to_owned(), json!(200), json!(0))]);

    // One table, one column, one detector, few rows.
    let one = columns(&scan(&["--table", "crm.parted", "--json"]));
    assert_eq!(one.keys().collect::<Vec<_>>(), ["crm.parted.mail"]);
    for (column, detector, hits) in [("crm.one.c1", "email", 1), ("crm.one.c1", "card", 0), ("crm.one.sku", "phone", 0)]
    {
        let tried = columns(&scan(&["--column", column, "--detector", detector, "--json"]));
        let tried = &tried[column];
        assert_eq!(tried["found"].as_array().unwrap().len(), hits, "{tried:#}");
        assert_eq!(tried["values"], 200);
        assert!(hits == 0 || tried["found"][0]["share"] == json!(1.0), "{tried:#}");
    }
    assert_eq!(columns(&scan(&["--column", "crm.one.c1", "--sample", "50", "--json"]))["crm.one.c1"]["values"], 50);

    // For people, and as a file.
    let (table, yaml) = (scan(&[]), scan(&["--yaml"]));
    let line = table.stdout.lines().find(|line| line.starts_with("crm.one.c1 ")).unwrap();
    for words in ["pii.email", "high", "email in 200 of 200"] {
        assert!(line.contains(words), "{line}");
    }
    assert!(yaml.stdout.contains("\n  # crm.products.phone: pii.phone"), "{yaml:#?}");
    let file = parts.path("tags.yaml");
    std::fs::write(&file, &yaml.stdout).unwrap();
    let _ = admin.run(&["apply", "--merge", file.to_str().unwrap()]).ok();
    for (name, column) in columns(&scan(&["--json"])) {
        let expect = if column["confidence"] == "low" { Value::Null } else { column["tag"].clone() };
        assert_eq!((&column["tagged"], &column["mask_is_new"]), (&expect, &json!(false)), "{name}");
    }
    let again = scan(&["--yaml"]);
    assert!(again.stdout.contains("tags: {}\n") && again.stdout.ends_with("masks: {}\n"), "{again:#?}");
    let applied = admin.run(&["apply", "--merge", file.to_str().unwrap()]).ok();
    assert!(applied.contains("0 changed"), "{applied}");

    // That it was asked is on record, and what it found is not.
    let audit = admin.run(&["audit", "search", "--type", "control", "--action", "connection.scanned", "--json"]).json();
    let scans = audit.as_array().unwrap();
    assert_eq!(scans.len(), 10, "{audit:#}");
    let tried = scans.iter().find(|event| event.to_string().contains("crm.one.sku")).unwrap();
    assert_eq!((&tried["subject"], &tried["actor"]["name"]), (&json!("connection/orders"), &json!("admin")));
    let all = admin.run(&["audit", "search", "--type", "all", "--json"]).ok();
    for text in [&done.stdout, &done.stderr, &table.stdout, &table.stderr, &yaml.stdout, &yaml.stderr, &all] {
        assert_no_value(text);
    }

    // What is not there, and who may not ask.
    for (args, code, words) in [
        (&["scan", "nowhere"][..], 1, "no connection `nowhere`"),
        (&["scan", "orders", "--table", "crm.nothing"], 1, "no table `crm.nothing`"),
        (&["scan", "orders", "--column", "crm.one.nothing"], 1, "no column `crm.one.nothing`"),
        (&["scan", "orders", "--table", "one"], 1, "schema.table"),
        (&["scan", "orders", "--column", "crm.one.c1", "--detector", "nose"], 1, "There are email, card,"),
        (&["scan", "orders", "--detector", "email"], 2, "--column"),
        (&["scan", "orders", "--sample", "0"], 2, "--sample"),
    ] {
        let done = admin.run(args);
        assert!(done.code == code && done.stderr.contains(words), "{done:#?}");
    }
    let done = parts.agent().run(&["scan", "orders"]);
    assert!(done.code == 3 && done.stderr.contains("only an admin scans"), "{done:#?}");

    // Which hop failed.
    parts.stop(Part::Connector);
    let done = wait::until_now("the connector is gone", IN_FORCE_WITHIN, || {
        let done = admin.run(&["scan", "orders"]);
        (done.code != 0).then_some(done)
    });
    assert!(done.code == 1 && done.stderr.contains("connector `con-1`"), "{done:#?}");
    assert!(done.stderr.contains("not attached") && done.stderr.contains("postern connectors"), "{done:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shop_is_tagged_as_a_scan_would_have_it() {
    let dev = Dev::start(&[]);
    let seen = columns(&dev.admin().run(&["scan", "demo", "--json"]));
    let names: Vec<_> = seen.keys().map(|name| name.strip_prefix("public.customers.").unwrap()).collect();
    assert_eq!(names, ["address", "birth_date", "card_number", "email", "name", "phone", "ssn"]);
    for (name, column) in &seen {
        assert_eq!(column["tag"], column["tagged"], "{name}");
        let detected = ["card_number", "email", "phone", "ssn"].iter().any(|detected| name.ends_with(detected));
        assert_eq!(column["confidence"], if detected { "high" } else { "medium" }, "{column:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_reads_and_does_nothing_else() {
    let cluster = Cluster::start_with(&["log_statement=all"]).await;
    let owner = client::connect(&cluster.url("postgres", SUPERUSER_PASSWORD, "app")).await;
    // A function that a row security policy calls runs as whoever reads.
    owner
        .batch_execute(
            "create table rows (email text); insert into rows values ('a@secret.example'); \
             create table seen (n int); grant all on rows, seen to public; \
             create function peek() returns boolean language plpgsql as $$begin insert into seen values (1); return true; end$$; \
             alter table rows enable row level security; create policy p on rows using (peek()); \
             create table held (email text); grant select on held to public; \
             create table slow (email text); insert into slow values ('b@secret.example'); grant select on slow to public; \
             alter table slow enable row level security; create policy p on slow using (pg_sleep(60) is not null)",
        )
        .await
        .unwrap();
    let parts = Parts::start(&cluster).await;
    owner.batch_execute("begin; lock table held").await.unwrap();
    let done = parts.admin().run(&["scan", "orders", "--json"]);
    let seen = columns(&done);
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["public.held.email", "public.rows.email", "public.slow.email"]);
    for words in [
        "No values of public.rows were read: the database refused to read it (25006)",
        "No values of public.held were read: it is locked",
        "No values of public.slow were read: reading it took too long",
    ] {
        assert!(done.stderr.contains(words), "{words}: {done:#?}");
    }
    owner.batch_execute("rollback").await.unwrap();
    wait::until("what it read is recorded", IN_FORCE_WITHIN, || async {
        let args = ["audit", "search", "--type", "connector", "--action", "connector.scan", "--json"];
        let read = parts.admin().run(&args).json().to_string();
        ["rows", "held", "slow"].iter().all(|relation| read.contains(relation)).then_some(())
    })
    .await;
    let rows = owner.query("select count(*) from seen", &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 0);
}
