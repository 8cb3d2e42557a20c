//! Masked columns on the real stack: by no form of the protocol does a value reach the client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client},
    dev::Dev,
    raw::{self, Login, Message, Raw, Tls},
    wait,
};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// What of the demo shop is tagged, as text.
const SECRETS: &str = "select unnest(array[name, email, phone, ssn, card_number, birth_date::text, address]) \
                       from customers where id <= 5";

struct Fixture {
    dev: Dev,
    secrets: Vec<String>,
}

impl Fixture {
    async fn start() -> Self {
        let dev = Dev::start(&[]);
        let all = client::connect(&dev.grant("all", "1h").url).await;
        let secrets: Vec<String> = all.query(SECRETS, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(secrets.len(), 35);
        Self { dev, secrets }
    }

    async fn raw(&self, role: &str) -> Raw {
        let mut raw = Raw::connect(self.dev.pg_port, Tls::None).await;
        raw.login(&Login::of_url(&self.dev.grant(role, "1h").url)).await.unwrap();
        raw
    }

    async fn client(&self, role: &str) -> Client {
        client::connect(&self.dev.grant(role, "1h").url).await
    }

    /// No message has any of the values in it, nor the days of a birth date in binary.
    #[track_caller]
    fn clean(&self, what: &str, messages: &[Message]) {
        for (message, secret) in messages.iter().flat_map(|message| self.secrets.iter().map(move |one| (message, one)))
        {
            let found = message.body.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{what}: {secret} is in {}", String::from_utf8_lossy(&message.body));
        }
    }

    async fn found(&self, text: &str) -> Value {
        wait::until("the audit has how it ended", SOON, || async {
            let found = self.dev.agent().statements(text);
            found.first().filter(|event| !event["outcome"].is_null()).cloned()
        })
        .await
    }
}

/// Parse, Bind, Execute and Sync, with results in this format; without a Describe of the client's own.
fn undescribed(sql: &str, format: u8) -> Vec<u8> {
    [
        raw::message(b'P', &[&raw::cstr(""), &raw::cstr(sql)[..], &[0, 0]].concat()),
        raw::message(b'B', &[0, 0, 0, 0, 0, 0, 0, 1, 0, format]),
        raw::message(b'E', &[0; 5]),
        raw::sync(),
    ]
    .concat()
}

fn rows(messages: &[Message]) -> Vec<Vec<Option<String>>> {
    messages.iter().filter(|message| message.tag == b'D').map(Message::columns).collect()
}

#[track_caller]
fn code(messages: &[Message]) -> Option<String> {
    messages.iter().find(|message| message.tag == b'E').map(Message::sqlstate)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_of_the_protocol_shows_a_masked_value() {
    let fixture = Fixture::start().await;
    let mut raw = fixture.raw("read").await;
    for sql in [
        "select id, email, city from customers where id <= 5 order by id",
        "select id, ssn as city, city as ssn from customers where id <= 5 order by id",
        "select id, upper(name) || phone, city from customers where id <= 5 order by id",
        "select id, row_to_json(c), city from customers c where id <= 5 order by id",
        "select c.id, c, c.city from customers c where id <= 5 order by id",
        "select id, birth_date, city from customers where id <= 5 order by id",
        "with c as (select * from customers) select id, array[card_number, address], city from c where id <= 5 order by id",
    ] {
        let simple = raw.query(sql).await;
        fixture.clean(sql, &simple);
        let (simple, count) = (rows(&simple), simple.iter().filter(|message| message.tag == b'T').count());
        assert_eq!((simple.len(), count), (5, 1), "{sql}");
        for described in [raw::extended(sql), [undescribed(sql, 0)].concat()] {
            raw.send(&described).await;
            raw.send(&raw::sync()).await;
            let messages = raw.until_ready().await;
            fixture.clean(sql, &messages);
            assert_eq!(rows(&messages), simple, "{sql}");
            if described == undescribed(sql, 0) {
                assert!(messages.iter().all(|message| message.tag != b'T'), "the client has not asked for it");
                raw.until_ready().await;
            }
        }
        raw.send(&undescribed(sql, 1)).await;
        let binary = raw.until_ready().await;
        fixture.clean(sql, &binary);
        assert_eq!(rows(&binary).len(), 5, "{sql}: {binary:?}");
    }
    // What is not masked is what it is, and who may see the rest sees it.
    let mut all = fixture.raw("all").await;
    let city = "select id, city from customers where id <= 5 order by id";
    assert_eq!(rows(&raw.query(city).await), rows(&all.query(city).await));
    assert_eq!(
        rows(&all.query("select email from customers where id = 1").await)[0][0].as_ref(),
        Some(&fixture.secrets[1])
    );

    let event = fixture.found("array[card_number").await;
    let masked = &event["masking"]["columns"][0];
    assert_eq!((&masked["name"], &masked["mask"]), (&"array".into(), &"redact".into()), "{event}");
    assert_eq!(masked["columns"].as_array().unwrap().len(), 2, "{event}");
}

/// Whoever may see values only if a reviewer agrees.
const SHOWN_IF_AGREED: &str = r#"
@id("reads")
permit (principal, action in [Action::"connect", Action::"read"], resource);

@id("shown-if-agreed")
@review("group:dba")
permit (principal, action == Action::"unmask", resource);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn values_are_shown_once_if_a_reviewer_agrees() {
    let fixture = Fixture::start().await;
    let admin = fixture.dev.admin();
    let file = fixture.dev.data().join("shown.cedar");
    std::fs::write(&file, SHOWN_IF_AGREED).unwrap();
    let _ = admin.run(&["apply", file.to_str().unwrap()]).ok();
    let mut raw = fixture.raw("read").await;
    let decided = async |answer: &[&str]| {
        let review = wait::until("a review waits", SOON, || async {
            let reviews = admin.run(&["reviews", "--status", "pending", "--json"]).json();
            let review = reviews.as_array().unwrap().first().cloned()?;
            Some(review["id"].as_str().unwrap().to_owned())
        })
        .await;
        let _ = admin.run(&[&[answer[0], &review], &answer[1..]].concat()).ok();
    };
    let sql = "select email from customers where id = 1";
    for message in [raw::query(sql), [undescribed(sql, 0)].concat()] {
        raw.send(&message).await;
        let (messages, ()) = tokio::join!(raw.until_ready(), decided(&["approve"]));
        assert_eq!(rows(&messages), [[Some(fixture.secrets[1].clone())]], "{messages:?}");
    }
    // Each time anew; and who does not agree shows nothing.
    raw.send(&raw::query(sql)).await;
    let (messages, ()) = tokio::join!(raw.until_ready(), decided(&["deny", "--reason", "no need"]));
    assert_eq!(code(&messages).as_deref(), Some("42501"));
    fixture.clean(sql, &messages);
    // What shows nothing of it waits for nobody.
    let city = raw.query("select city from customers where id = 1").await;
    assert_eq!((rows(&city).len(), code(&city)), (1, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_portals_and_prepared_statements_show_the_same() {
    let fixture = Fixture::start().await;
    let mut raw = fixture.raw("read").await;
    let select = "select id, email from customers where id <= 5 order by id";
    let expect = rows(&raw.query(select).await);
    assert_eq!(expect.len(), 5);

    // Cursors, also in binary and with hold.
    for kind in ["", "binary", "scroll"] {
        raw.query("begin").await;
        raw.query(&format!("declare c {kind} cursor for {select}")).await;
        for fetch in ["fetch 2 from c", "fetch forward all from c"] {
            let messages = raw.query(fetch).await;
            fixture.clean(fetch, &messages);
            assert!(rows(&messages).len() >= 2, "{kind}: {messages:?}");
        }
        raw.query("rollback").await;
    }
    raw.query(&format!("declare held cursor with hold for {select}")).await;
    assert_eq!(rows(&raw.query("fetch all from held").await), expect);

    // A portal in parts.
    let parse = |name: &str| raw::message(b'P', &[&raw::cstr(name), &raw::cstr(select)[..], &[0, 0]].concat());
    let bind =
        |portal: &str, name: &str| raw::message(b'B', &[raw::cstr(portal), raw::cstr(name), vec![0; 6]].concat());
    let execute =
        |portal: &str, rows: u32| raw::message(b'E', &[raw::cstr(portal), rows.to_be_bytes().to_vec()].concat());
    raw.query("begin").await;
    raw.send(&[parse("s"), bind("p", "s"), execute("p", 2), raw::sync()].concat()).await;
    assert_eq!(rows(&raw.until_ready().await), expect[..2]);
    raw.send(&[execute("p", 2), execute("p", 0), raw::sync()].concat()).await;
    assert_eq!(rows(&raw.until_ready().await), expect[2..]);
    raw.query("commit").await;
    // Prepared once, run again and again, also by SQL; in one pipeline, too.
    for _ in 0..2 {
        raw.send(&[bind("", "s"), execute("", 0), bind("", "s"), execute("", 0), raw::sync()].concat()).await;
        assert_eq!(rows(&raw.until_ready().await), [expect.clone(), expect.clone()].concat());
        assert_eq!(rows(&raw.query("execute s").await), expect);
    }
    raw.query(&format!("prepare by_sql as {select}")).await;
    assert_eq!(rows(&raw.query("execute by_sql").await), expect);
    raw.send(&[bind("", "by_sql"), execute("", 0), raw::sync()].concat()).await;
    assert_eq!(rows(&raw.until_ready().await), expect);
    // Several in a string: each its own.
    let string = format!("select 1 as a; {select}; select count(*) from orders; {select}");
    let messages = raw.query(&string).await;
    fixture.clean(&string, &messages);
    let (one, last) = (rows(&messages)[0].clone(), rows(&messages)[7..].to_vec());
    assert_eq!((one, last), (vec![Some("1".to_owned())], expect));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_carry_no_masked_value() {
    let fixture = Fixture::start().await;
    let (mut raw, mut all) = (fixture.raw("read").await, fixture.raw("all").await);
    for sql in [
        "select ssn::int from customers where id = 1",
        "select email::regclass from customers where id = 1",
        "select 1 / (length(name) - length(name)) from customers where id = 1",
    ] {
        assert!(code(&all.query(sql).await).is_some(), "{sql}");
        for message in [raw::query(sql), undescribed(sql, 0), undescribed(sql, 1)] {
            raw.send(&message).await;
            let messages = raw.until_ready().await;
            fixture.clean(sql, &messages);
            // Refused before it ran, or withheld after.
            let code = code(&messages).unwrap();
            assert!(["22000", "42501", "0A000"].contains(&code.as_str()), "{sql}: {code}");
        }
    }
    // An error that is not about values is what the server says.
    let wrong = "select id from customers where id in (select id, city from customers)";
    let (ours, theirs) = (raw.query(wrong).await, all.query(wrong).await);
    assert_eq!(ours[0].field(b'C'), theirs[0].field(b'C'));
    assert_eq!(ours[0].field(b'M'), theirs[0].field(b'M'));
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_see_masked_values_of_the_right_types() {
    let fixture = Fixture::start().await;
    let reader = fixture.client("read").await;
    let select = "select id, name, birth_date::text, created_at from customers where id = $1";
    let statement = reader.prepare(select).await.unwrap();
    for id in [1, 2, 1] {
        let row = reader.query_one(&statement, &[&id]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), id);
        let name: Option<String> = row.get(1);
        assert!(name.is_none_or(|name| !fixture.secrets.contains(&name)));
        let _: std::time::SystemTime = row.get(3);
    }
    let many = reader.query("select email, id from customers", &[]).await.unwrap();
    assert_eq!(many.len(), 20_000);
    let output = client::psql(&fixture.dev.grant("read", "1h").url, "select * from customers where id <= 5");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.lines().count() == 5, "{shown}");
    assert!(fixture.secrets.iter().all(|secret| !shown.contains(secret)), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_shows_what_select_shows() {
    let fixture = Fixture::start().await;
    let mut raw = fixture.raw("read").await;
    let data = |messages: &[Message]| -> Vec<Vec<u8>> {
        messages.iter().filter(|message| message.tag == b'd').map(|message| message.body.clone()).collect()
    };
    let query = "select id, email, city from customers where id <= 5 order by id";
    let shown = rows(&raw.query(query).await);
    let text = |row: &Vec<Option<String>>| row.iter().map(|value| value.clone().unwrap()).collect::<Vec<_>>();
    for (options, between) in [("", "\t"), ("with (format csv)", ","), ("with (format csv, delimiter ';')", ";")] {
        let sql = format!("copy ({query}) to stdout {options}");
        let expect: Vec<_> = shown.iter().map(|row| format!("{}\n", text(row).join(between)).into_bytes()).collect();
        for message in [raw::query(&sql), undescribed(&sql, 0)] {
            raw.send(&message).await;
            let messages = raw.until_ready().await;
            fixture.clean(&sql, &messages);
            assert_eq!(data(&messages), expect, "{sql}: {messages:?}");
        }
    }
    for sql in [
        "copy customers to stdout",
        "copy customers (id, ssn, city) to stdout with (format csv, header, force_quote *)",
        "copy customers to stdout with (format binary)",
        "copy (select c, row_to_json(c) from customers c) to stdout with (format binary)",
    ] {
        let messages = raw.query(sql).await;
        fixture.clean(sql, &messages);
        assert!(data(&messages).len() >= 20_000 && code(&messages).is_none(), "{sql}: {:?}", code(&messages));
    }
    let event = fixture.found("copy customers (id").await;
    assert_eq!((&event["masking"]["values"], &event["rows"]), (&20_000.into(), &20_000.into()), "{event}");
    // What is not masked comes as it is.
    let mut all = fixture.raw("all").await;
    let city = "copy (select id, city from customers) to stdout";
    assert_eq!(data(&raw.query(city).await), data(&all.query(city).await));
}
