//! Text that carries no tag is looked through where a connection says so; and whether masks suit their columns is said before
//! they are applied.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    dev::{Caller, Dev, Done},
    raw::{self, Login, Message, Raw, Tls},
    wait,
};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

const ADDRESS: &str = "kim@notes.example";
const CARD: &str = "4111 1111 1111 1111";
const SSN: &str = "123-45-6789";

const NOTES: &str = "create table notes (id int, body text, doc jsonb, plain json, words text[], short varchar(60)); \
    insert into notes select n, 'write to kim@notes.example, pay by 4111 1111 1111 1111, not 123-45-6789', \
    '{\"to\": \"kim@notes.example\", \"n\": 7}', '{\"to\": \"kim@notes.example\"}', \
    array['kim@notes.example', 'a b'], 'kim@notes.example' from generate_series(1, 3) n; \
    grant select on notes to public";

const ALL: &str =
    "select id, body, doc, plain, words, short, upper(body), body || id, 'x' from notes where id < 3 order by id";

/// Applies a document over what is there.
fn apply(dev: &Dev, command: &str, document: &str) -> Done {
    let file = dev.data().join("document.yaml");
    std::fs::write(&file, document).unwrap();
    dev.admin().run(&[command, "--merge", file.to_str().unwrap()])
}

async fn login(dev: &Dev, role: &str) -> Raw {
    let mut raw = Raw::connect(dev.pg_port, Tls::None).await;
    raw.login(&Login::of_url(&dev.grant(role, "1h").url)).await.unwrap();
    raw
}

/// Parse, Bind, Execute and Sync, with results in this format.
fn extended(sql: &str, format: u8) -> Vec<u8> {
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

fn has(messages: &[Message], text: &str) -> bool {
    messages.iter().any(|message| message.body.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// What the audit says of the newest statement with this text, once it has ended.
fn masking(caller: &Caller, text: &str) -> Value {
    wait::until_now("its end is on record", SOON, || {
        let found = caller.statements(text);
        found.first().filter(|event| !event["outcome"].is_null()).map(|event| event["masking"].clone())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_in_text_without_a_tag_is_replaced_by_every_route() {
    let dev = Dev::start(&[]);
    client::connect(&dev.grant("all", "1h").url).await.batch_execute(NOTES).await.unwrap();
    let mut reader = login(&dev, "read").await;
    // Off by default.
    let before = reader.query(ALL).await;
    assert!(has(&before, ADDRESS) && has(&before, CARD), "{before:?}");

    let wrong = apply(&dev, "apply", "kind: Connection\nname: demo\ndetectors: [email, names]\n");
    assert!(wrong.code == 1 && wrong.stderr.contains("names"), "{wrong:?}");
    let _ = apply(&dev, "apply", "kind: Connection\nname: demo\ndetectors: [email, card]\n").ok();
    wait::until("the detectors are in force", SOON, || async {
        let mut reader = login(&dev, "read").await;
        (!has(&reader.query("select body from notes").await, ADDRESS)).then_some(())
    })
    .await;

    let expect = rows(&reader.query(ALL).await);
    let told = |text: &str| Some(text.to_owned());
    let found = "write to [email], pay by [card], not 123-45-6789";
    assert_eq!(expect.len(), 2);
    assert_eq!(
        expect[0],
        [
            told("1"),
            told(found),
            told(r#"{"n": 7, "to": "[email]"}"#),
            told(r#"{"to": "[email]"}"#),
            told(r#"{[email],"a b"}"#),
            told("[email]"),
            told("WRITE TO [email], PAY BY [card], NOT 123-45-6789"),
            told(&format!("{found}1")),
            told("x"),
        ]
    );
    for format in [0, 1] {
        reader.send(&extended("select n, array[n], row(id, body) from notes n", format)).await;
        assert!(!has(&reader.until_ready().await, ADDRESS), "{format}");
        reader.send(&extended(ALL, format)).await;
        let messages = reader.until_ready().await;
        assert!(!has(&messages, ADDRESS) && !has(&messages, CARD) && has(&messages, SSN), "{messages:?}");
        assert_eq!(rows(&messages).len(), 2);
        assert!(format == 1 || rows(&messages) == expect);
    }
    for sql in [
        "copy notes to stdout",
        "copy (select body, doc from notes) to stdout with (format csv, header)",
        "copy notes (id, body, doc, plain, words, short) to stdout with (format binary)",
        "table notes",
        "select n from notes n",
        "select row_to_json(n), to_jsonb(n) from notes n",
        "explain (verbose) select 'kim@notes.example' from notes",
        "begin",
        "declare c cursor for select body from notes",
        "fetch all from c",
        "commit",
    ] {
        let messages = reader.query(sql).await;
        assert!(!has(&messages, ADDRESS), "{sql}: {messages:?}");
        assert!(messages.iter().all(|message| message.tag != b'E'), "{sql}: {messages:?}");
    }
    // What is masked stays so, and other columns are what they are.
    let customers = "select id, email, city from customers where id <= 3 order by id";
    let shown = rows(&reader.query(customers).await);
    let all = rows(&login(&dev, "all").await.query(customers).await);
    assert!(
        shown
            .iter()
            .zip(&all)
            .all(|(ours, theirs)| ours[0] == theirs[0] && ours[1] != theirs[1] && ours[2] == theirs[2])
    );
    assert!(!shown[0][1].as_ref().unwrap().contains("[email]"), "its tag's mask, and no other");

    // Counted by detector, and by column where there is a mask; nothing of that where nothing was found.
    reader.query("select body as counted, words from notes where id < 3").await;
    let counted = masking(&dev.admin(), "as counted");
    assert_eq!(counted["detected"], json!({ "email": 4, "card": 2 }), "{counted}");
    assert_eq!((&counted["values"], &counted["columns"]), (&json!(4), &json!([])), "{counted}");
    reader.query("select name as by_column, city from customers where id <= 3").await;
    let by_column = masking(&dev.admin(), "as by_column");
    assert_eq!((&by_column["columns"][0]["values"], &by_column["detected"]), (&json!(3), &Value::Null), "{by_column}");
    reader.query("select id as nothing_found, 'x' from notes").await;
    assert!(masking(&dev.admin(), "as nothing_found").is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_unmask_a_column_sees_what_is_in_it() {
    let dev = Dev::start(&[]);
    let mut all = login(&dev, "all").await;
    all.query(NOTES).await;
    all.query("create table others as select * from notes; grant select on others to public").await;
    let policies = dev.data().join("unmask.cedar");
    let text = "@id(\"all\") permit (principal, action, resource) when { context.grant.role == \"all\" };\n\
        @id(\"everyone\") permit (principal, action in [Action::\"connect\", Action::\"statement\"], resource);\n\
        @id(\"sees\") permit (principal, action == Action::\"unmask\", resource in Table::\"demo/public.notes\");";
    std::fs::write(&policies, text).unwrap();
    let _ = dev.admin().run(&["apply", policies.to_str().unwrap()]).ok();
    let _ = apply(&dev, "apply", "kind: Connection\nname: demo\ndetectors: [email]\n").ok();
    let mut reader = login(&dev, "read").await;
    wait::until("the detectors are in force", SOON, || async {
        let mut reader = login(&dev, "read").await;
        (!has(&reader.query("select body from others").await, ADDRESS)).then_some(())
    })
    .await;
    for (sql, seen) in [
        ("select body, doc from notes", true),
        ("copy notes to stdout", true),
        ("select body, doc from others", false),
        ("select n.body || o.body from notes n, others o", false),
        ("copy others to stdout", false),
    ] {
        assert_eq!(has(&reader.query(sql).await, ADDRESS), seen, "{sql}");
        // Whoever is permitted everything is looked at by nobody.
        assert!(has(&all.query(sql).await, ADDRESS), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_that_does_not_suit_its_column_is_refused_before_it_is_applied() {
    let dev = Dev::start(&[]);
    let document = |masks: &str| {
        format!(
            "kind: Connection\nname: demo\ntags:\n  public.customers.id: x.n\n  public.customers.city: x.t\nmasks:\n{masks}"
        )
    };
    for command in ["plan", "apply"] {
        let done = apply(&dev, command, &document("  x.n: email\n  x.t: { partial: 2 }\n"));
        assert_eq!(done.code, 1, "{done:?}");
        for part in ["document.yaml", "masks.x.n", "public.customers.id", "int4", "email", "redact, null, hash, noise"]
        {
            assert!(done.stderr.contains(part), "{part}: {done:?}");
        }
        assert!(!done.stderr.contains("customers.city"), "{done:?}");
    }
    let both = apply(&dev, "plan", &document("  x.n: email\n  x.t: date_year\n"));
    assert!(
        both.code == 1 && both.stderr.contains("customers.city") && both.stderr.contains("customers.id"),
        "{both:?}"
    );
    let reader = client::connect(&dev.grant("read", "1h").url).await;
    reader.query_one("select id from customers where id = 1", &[]).await.unwrap();
    // What suits is applied, and nothing is said.
    for command in ["plan", "apply"] {
        let done = apply(&dev, command, &document("  x.n: noise\n  x.t: { partial: 2 }\n"));
        assert!(done.code == 0 && !done.stdout.contains("warning"), "{done:?}");
    }
    // Nobody knows what is in a database that is not there: it is applied, and said.
    let elsewhere = "kind: Connection\nname: elsewhere\ndatabase: postgresql://127.0.0.1:1/none\nconnector: dev\n\
        roles: { read: { mode: shared } }\ntags: { public.a.b: x.n }\nmasks: { x.n: email }\n";
    let not_yet = "does not serve it yet";
    for first in [true, false] {
        let done = apply(&dev, "apply", elsewhere);
        assert!(done.code == 0 && done.stdout.contains("was not checked"), "{done:?}");
        assert_eq!(done.stdout.contains(not_yet), first, "{done:?}");
    }
}
