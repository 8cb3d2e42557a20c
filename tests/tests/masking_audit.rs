//! What clients compare with masked columns, or write to them, is nowhere on record.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    dev::{Caller, Dev},
    raw::{self, Login, Raw, Tls},
    wait,
};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

/// The audit has a statement two seconds after it has run; here, later.
const RECORDED_WITHIN: Duration = Duration::from_secs(20);

/// What is sent as a value of a masked column, in one way or another.
const SECRET: &str = "xyzzy";

const POLICIES: &str = r#"
@id("everyone")
@record_binds
permit (principal, action in [Action::"connect", Action::"statement"], resource) when { context.grant.role != "all" };

@id("all")
permit (principal, action, resource) when { context.grant.role == "all" };
"#;

/// The statements with this in their texts, once there are so many that have ended.
fn recorded(caller: &Caller, text: &str, count: usize) -> Vec<Value> {
    wait::until_now(&format!("{text} is on record"), RECORDED_WITHIN, || {
        let found = caller.run(&["audit", "search", "--text", text, "--json"]).json().as_array().unwrap().clone();
        (found.len() == count && found.iter().all(|event| !event["outcome"].is_null())).then_some(found)
    })
}

fn sql(event: &Value) -> &str {
    event["sql"].as_str().unwrap()
}

/// Whether any file below has it, unpacked where it is packed.
fn holds(folder: &Path, secret: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, secret);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_a_masked_column_is_recorded() {
    let dev = Dev::start(&[]);
    let admin = dev.admin();
    let file = dev.data().join("audit.cedar");
    std::fs::write(&file, POLICIES).unwrap();
    let _ = admin.run(&["apply", file.to_str().unwrap()]).ok();
    let grant = dev.grant("write", "30m");
    let writer = client::connect(&grant.url).await;

    // Each in a statement that has a mark of its own; whether it is allowed is of no matter.
    let mail = format!("{SECRET}@example.com");
    let statements = [
        format!("select id as m1 from customers where email = '{mail}'"),
        format!("select id as m2 from customers where email in ('a@b.example', '{mail}')"),
        format!("select id as m3 from customers where email like '{SECRET}%'"),
        format!(
            "insert into customers values (default, 'm4', '{mail}', '1', '2', '3', '2000-01-01', '{SECRET}', 'x', 'y', now())"
        ),
        format!("update customers set phone = '{SECRET}' where id = -1 returning id as m5"),
        format!("prepare m6 as select id from customers where email = '{mail}'"),
        format!("selekt m7 from customers where email = '{mail}'"),
        format!("select m8 from customers where email = \"{mail}\""),
        format!("select id as m9 from customers where email = '{mail}"),
        format!("select id as ma from customers where email = E'{SECRET}\\x40example.com' or email = $${mail}$$"),
        format!("with mb as (select '{mail}' as e) select id from customers, mb where email = mb.e"),
        format!("do $$begin perform id as mc from customers where email = '{mail}'; end$$"),
        format!("declare md cursor with hold for select id from customers where email = '{mail}'"),
        format!("explain select id as me from customers where email = '{mail}'"),
        format!("copy (select id as mf from customers where email = '{mail}') to stdout"),
        format!("delete from customers where ssn = '{SECRET}' returning id as mg"),
    ];
    for statement in &statements {
        let _ = writer.batch_execute(statement).await;
    }
    let _ = writer.batch_execute("prepare p1 (text) as select id from customers where email = $1").await;
    let _ = writer.batch_execute(&format!("execute p1('{mail}')")).await;
    // Parameters, in text and in binary.
    let one = writer.query("select id as mh from customers where email = $1", &[&mail]).await;
    assert!(one.is_ok(), "{one:?}");
    let mut raw = Raw::connect(dev.pg_port, Tls::None).await;
    raw.login(&Login::of_url(&grant.url)).await.unwrap();
    raw.send(&[raw::extended(&format!("select id as mi from customers where email = '{mail}'")), raw::sync()].concat())
        .await;
    let _ = raw.until_ready().await;
    // Under a role whose statements are not looked at.
    let all = client::connect(&dev.grant("all", "30m").url).await;
    all.batch_execute(&format!("select id as mj from customers where email = '{mail}'")).await.unwrap();

    // What has nothing to do with any masked column stands as it was sent.
    let plain = "select 'plain' as mk from products where name = 'Plain Lamp 1'";
    writer.batch_execute(plain).await.unwrap();
    all.batch_execute("select 'plain' as ml").await.unwrap();
    let shown = "select email as mm from customers where id = 7";
    writer.batch_execute(shown).await.unwrap();
    assert_eq!(sql(&recorded(&admin, "as mk", 1)[0]), plain);
    assert_eq!(sql(&recorded(&admin, "as ml", 1)[0]), "select 'plain' as ml");
    assert_eq!(sql(&recorded(&admin, "as mm", 1)[0]), shown);

    let first = recorded(&admin, "as m1 ", 1);
    let told = sql(&first[0]);
    assert!(told.starts_with("select id as m1 from customers where email = '[") && told.ends_with("]'"), "{told}");
    // So are values: those that meet a tagged column are not told, those that meet another are.
    writer.query("select id as mn from customers where city = $1", &[&"Cork"]).await.unwrap();
    let bound = |text: &str| recorded(&admin, text, 1)[0]["binds"]["values"].clone();
    assert_eq!(bound("as mh"), json!([{ "value": "[pii.email]", "format": "text" }]));
    assert_eq!(bound("as mn"), json!([{ "value": "Q29yaw==", "format": "binary" }]));
    let _ = recorded(&admin, "as mj", 1);
    let events = admin.run(&["audit", "search", "--type", "all", "--limit", "1000", "--facts", "--json"]).ok();
    assert!(events.contains("as m3 "), "{events}");
    assert!(!events.contains(SECRET), "{}", events.split("{\"").find(|event| event.contains(SECRET)).unwrap());
    for part in ["control-plane", "connector"] {
        assert!(!holds(&dev.data().join(part), SECRET), "{part}");
    }
    assert!(!dev.log().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_may_ask_about_a_hundred_values_of_a_masked_column() {
    let dev = Dev::start(&[]);
    let ask = "select id from customers where ssn = $1";
    let url = dev.grant("read", "30m").url;
    let reader = client::connect(&url).await;
    let statement = reader.prepare(ask).await.unwrap();
    for n in 0..100 {
        reader.query(&statement, &[&format!("900-00-{n:04}")]).await.unwrap();
    }
    let refused = |error: tokio_postgres::Error| {
        let error = error.as_db_error().unwrap().clone();
        assert!(error.message().contains("public.customers.ssn") && error.hint().is_some(), "{error}");
        error.code().code().to_owned()
    };
    // One more, in whatever way it is asked, and from another session of the grant, too.
    let more = "900-00-0100";
    assert_eq!(refused(reader.query(&statement, &[&more]).await.unwrap_err()), "53400");
    let other = client::connect(&url).await;
    for sql in [
        format!("select id from customers where ssn = '{more}'"),
        format!("select id from customers where ssn in ('900-00-0001', '{more}')"),
    ] {
        assert_eq!(refused(other.batch_execute(&sql).await.unwrap_err()), "53400", "{sql}");
    }
    let many: Vec<String> = (0..101).map(|n| format!("901-00-{n:04}")).collect();
    assert_eq!(
        refused(other.query("select id from customers where ssn = any ($1)", &[&many]).await.unwrap_err()),
        "53400"
    );
    // What it knows it may ask again; other columns, and another grant, have a hundred of their own.
    reader.query(&statement, &[&"900-00-0007"]).await.unwrap();
    reader.query("select id from customers where email = $1", &[&"nobody@example.com"]).await.unwrap();
    let another = client::connect(&dev.grant("read", "30m").url).await;
    another.query(ask, &[&more]).await.unwrap();
    // What is not masked has no end.
    let cities: Vec<String> = (0..200).map(|n| format!("City {n}")).collect();
    reader.query("select id from customers where city = any ($1)", &[&cities]).await.unwrap();
}
