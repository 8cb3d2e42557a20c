//! What policies say of a statement before it runs, what the audit keeps of a decision, and what changed policies would
//! have decided.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    cluster::{Cluster, SUPERUSER_PASSWORD},
    dev::{Caller, Dev, Done},
    parts::{Part, Parts},
    raw::{self, Login, Raw, Tls},
    shop::{IN_FORCE_WITHIN, READERS, until},
    wait,
};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};

/// The audit has a statement two seconds after it has run; here, later.
const RECORDED_WITHIN: Duration = Duration::from_secs(20);

const WRITERS: &str = r#"
@id("writers")
permit (principal, action in Action::"write", resource)
when { context.statement.filtered && context.grant.role == "write" };
"#;

const NO_ORDERS: &str = r#"
@id("no-orders")
forbid (principal, action == Action::"read", resource == Table::"demo/public.orders");
"#;

fn file(dev: &Dev, name: &str, text: &str) -> PathBuf {
    let path = dev.data().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn test(caller: &Caller, role: &str, sql: &str, more: &[&str]) -> Done {
    let args = ["policy", "test", "--as", "agent:agent", "--on", "demo", "--role", role, "--sql", sql];
    caller.run(&[&args[..], more].concat())
}

fn json_of(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:#?}"))
}

/// The agent's name, as `--as` takes it.
fn agent(dev: &Dev) -> String {
    let whoami = dev.agent().run(&["whoami", "--json"]).json();
    whoami["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_explained_and_not_run() {
    let dev = Dev::start(&[]);
    let admin = dev.admin();
    assert_eq!(agent(&dev), "agent");

    // By the policies that come with Postern.
    let done = test(&admin, "read", "select count(*) from orders", &[]);
    assert!(done.code == 0 && done.stdout.starts_with("allowed\n"), "{done:#?}");
    assert!(done.stdout.contains("read on public.orders: permitted"), "{done:#?}");
    let done = test(&admin, "read", "delete from orders", &[]);
    assert!(done.code == 3 && done.stdout.contains("only reads: delete on public.orders"), "{done:#?}");
    assert!(done.stdout.contains("forbidden by postern:read-only"), "{done:#?}");

    // By files that were not applied, and then by those in force.
    let readers = file(&dev, "readers.cedar", &[READERS, WRITERS].concat());
    let payments = "select amount from payments";
    assert_eq!(test(&admin, "read", payments, &[]).code, 0);
    for applied in [false, true] {
        let tried = if applied { vec![] } else { vec![readers.to_str().unwrap()] };
        if applied {
            let _ = admin.run(&["apply", readers.to_str().unwrap()]).ok();
        }
        let done = test(&admin, "read", payments, &tried);
        assert_eq!(done.code, 3, "{done:#?}");
        for words in [
            "denied: read on public.payments",
            "payments are not for agents",
            "hint: ask finance",
            "forbidden by no-payments",
            "as agent:agent in [",
            "role read (read-only)",
        ] {
            assert!(done.stdout.contains(words), "{words}: {done:#?}");
        }
        assert_eq!(test(&admin, "read", "select total from orders", &tried).code, 0, "its twin is allowed");
        // A person may.
        let args = ["policy", "test", "--as", "user:admin", "--on", "demo", "--role", "read", "--sql", payments];
        assert_eq!(admin.run(&[&args[..], &tried].concat()).code, 0);
        // Held is not allowed.
        let done = test(&admin, "read", "select * from order_items", &[&["--json"], &tried[..]].concat());
        assert_eq!((done.code, &json_of(&done)["outcome"]), (3, &json!("held")));
    }
    // Beside those in force, or in the place of the one of its name; and nothing is changed by it.
    let (more, none) = (file(&dev, "more.cedar", NO_ORDERS), dev.data().join("sub"));
    std::fs::create_dir(&none).unwrap();
    std::fs::write(
        none.join("readers.cedar"),
        [READERS, WRITERS].concat().replace("forbid (principal is Agent", "forbid (principal is User"),
    )
    .unwrap();
    let done = test(&admin, "read", "select total from orders", &[more.to_str().unwrap()]);
    assert!(done.code == 3 && done.stdout.contains("no-orders"), "{done:#?}");
    assert_eq!(test(&admin, "read", payments, &[none.join("readers.cedar").to_str().unwrap()]).code, 0);
    assert_eq!(test(&admin, "read", payments, &[]).code, 3);
    assert!(!admin.run(&["policy", "list"]).ok().contains("more.cedar"));

    // Each of several statements; what would permit one.
    let done = test(&admin, "write", "select 1; delete from products where id = -1; delete from products", &["--json"]);
    let told = json_of(&done);
    let outcomes: Vec<_> = told["statements"].as_array().unwrap().iter().map(|it| it["outcome"].clone()).collect();
    assert_eq!((done.code, &told["outcome"]), (3, &json!("denied")));
    assert_eq!(outcomes, ["allowed", "allowed", "denied"]);
    assert_eq!(told["statements"][2]["sql"], "delete from products");
    let near = &told["statements"][2]["explanation"]["accesses"][1]["near"][0];
    assert_eq!((&near["policy"], &near["unmet"][0]), (&json!("writers"), &json!("context.statement.filtered")));
    let facts = &told["statements"][1]["explanation"]["facts"];
    assert_eq!((&facts["statement"]["tag"], &facts["statement"]["filtered"]), (&json!("DELETE"), &json!(true)));
    // Nothing of it was run.
    let writer = client::connect(&dev.grant("read", "30m").url).await;
    let rows = writer.query("select count(*) from products", &[]).await.unwrap();
    assert!(rows[0].get::<_, i64>(0) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_mean_what_they_mean_to_the_login() {
    let cluster = Cluster::start().await;
    let owner = client::connect(&cluster.url("postgres", SUPERUSER_PASSWORD, "app")).await;
    owner
        .batch_execute(
            "create schema shop; create table shop.things (id int); create table public.things (id int); \
             create schema other; create table other.things (id int); \
             alter database app set search_path = shop, public; \
             grant usage on schema shop, other to public",
        )
        .await
        .unwrap();
    let mut parts = Parts::start(&cluster).await;
    let admin = parts.admin().clone();
    let of = |sql: &str, more: &[&str]| {
        let args = ["policy", "test", "--as", "agent:ci", "--on", "orders", "--role", "read", "--sql", sql];
        admin.run(&[&args[..], more].concat())
    };
    for (path, expect) in [
        (&[][..], "shop.things"),
        (&["--search-path", "other"], "other.things"),
        (&["--search-path", "\"nowhere\", public"], "public.things"),
    ] {
        let done = of("select * from things", path);
        assert!(done.code == 0 && done.stdout.contains(&format!("read on {expect}: permitted")), "{done:#?}");
    }
    // What changed a moment ago counts.
    owner.batch_execute("drop table shop.things").await.unwrap();
    wait::until_now("the change is seen", IN_FORCE_WITHIN, || {
        of("select * from things", &[]).stdout.contains("read on public.things").then_some(())
    });

    // When, from where, with which reason.
    let conditions = parts.path("conditions.cedar");
    std::fs::write(
        &conditions,
        "@id(\"all\") permit (principal, action, resource) when { context.time.hour == 9 && \
         context.client.address.isInRange(ip(\"192.0.2.0/24\")) && context.grant.reason like \"*4711*\" };",
    )
    .unwrap();
    let conditions = conditions.to_str().unwrap();
    let good = ["--at", "2026-11-25T09:30:00Z", "--from", "192.0.2.7", "--reason", "incident 4711"];
    assert_eq!(of("select 1", &[&good[..], &[conditions]].concat()).code, 0);
    for (at, other) in [(1, "2026-11-25T10:00:00Z"), (3, "192.0.3.7"), (5, "curious")] {
        let mut bad = good;
        bad[at] = other;
        assert_eq!(of("select 1", &[&bad[..], &[conditions]].concat()).code, 3, "{bad:?}");
    }

    // What cannot be understood: why, what to do, where.
    for (sql, code, words) in [
        ("selekt 1", "42601", "at or near"),
        ("select * from nothing", "42P01", "nothing"),
        ("select 'é', * from nothing", "42P01", "at character 20"),
    ] {
        let done = of(sql, &[]);
        assert!(done.code == 1 && done.stderr.contains(code) && done.stderr.contains(words), "{done:#?}");
        assert!(done.stderr.contains("hint: "), "{done:#?}");
        let done = of(sql, &["--json"]);
        assert_eq!(json_of(&done)["outcome"], "not_understood");
        assert_eq!(json_of(&done)["problem"]["sqlstate"], code);
    }
    let bad = parts.path("bad.cedar");
    std::fs::write(&bad, "@id(\"x\")\npermit (principal, action == Action::\"raed\", resource);").unwrap();
    let done = of("select 1", &[bad.to_str().unwrap()]);
    assert!(done.code == 1 && done.stderr.contains("bad.cedar:2:"), "{done:#?}");

    // What is not there, and who may not ask.
    for (args, code, words) in [
        (["--as", "agent:nobody", "--on", "orders", "--role", "read"], 1, "no agent `nobody`"),
        (["--as", "agent:ci", "--on", "nowhere", "--role", "read"], 1, "no connection `nowhere`"),
        (["--as", "agent:ci", "--on", "orders", "--role", "most"], 1, "no access role `most`"),
        (["--as", "ci", "--on", "orders", "--role", "read"], 2, "user:NAME"),
    ] {
        let done = admin.run(&[&["policy", "test", "--sql", "select 1"], &args[..]].concat());
        assert!(done.code == code && done.stderr.contains(words), "{done:#?}");
    }
    let done = parts.agent().run(&["policy", "test", "--sql", "select 1", "--as", "agent:ci", "--on", "orders"]);
    assert!(done.code == 3 && done.stderr.contains("admins and auditors"), "{done:#?}");
    let done = parts.agent().run(&["policy", "replay"]);
    assert!(done.code == 3 && done.stderr.contains("admins and auditors"), "{done:#?}");

    // Which hop failed.
    parts.stop(Part::Connector);
    let done = wait::until_now("the connector is gone", IN_FORCE_WITHIN, || {
        let done = of("select 1", &[]);
        (done.code != 0).then_some(done)
    });
    assert!(done.code == 1 && done.stderr.contains("connector `con-1`"), "{done:#?}");
    assert!(done.stderr.contains("not attached") && done.stderr.contains("postern connectors"), "{done:#?}");
}

/// The statements of a text that are on record, once there are so many that have ended.
fn recorded(caller: &Caller, text: &str, count: usize) -> Vec<Value> {
    wait::until_now("it is on record", RECORDED_WITHIN, || {
        let args = ["audit", "search", "--text", text, "--facts", "--json"];
        let found = caller.run(&args).json().as_array().unwrap().clone();
        (found.len() == count && found.iter().all(|event| !event["outcome"].is_null())).then_some(found)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_decided_is_on_record_and_can_be_replayed() {
    let dev = Dev::start(&[]);
    let admin = dev.admin();
    let url = dev.grant("read", "30m").url;
    let reader = client::connect(&url).await;
    reader.batch_execute("select 'before' from orders").await.unwrap();
    let readers = file(&dev, "readers.cedar", &[READERS, WRITERS].concat());
    let _ = admin.run(&["apply", readers.to_str().unwrap()]).ok();
    until(&reader, "select 1 from payments", true).await;
    reader.batch_execute("select 'allowed' from orders; select 'too' from products").await.unwrap();
    reader.batch_execute("select 'denied' from payments").await.unwrap_err();
    for _ in 0..3 {
        reader.query("select 'often' from orders where id = $1", &[&7_i32]).await.unwrap();
    }

    // Before any was applied, those of Postern's own decide.
    let before = recorded(&admin, "'before'", 1);
    assert_eq!(
        (&before[0]["policy_version"], &before[0]["policies"]),
        (&json!(0), &json!(["default-connect", "default-read"]))
    );
    let allowed = recorded(&admin, "'allowed'", 1);
    assert_eq!((&allowed[0]["policy_version"], &allowed[0]["policies"]), (&json!(1), &json!(["readers"])));
    let facts = allowed[0]["facts"].as_array().unwrap();
    assert_eq!(facts.len(), 2, "of each statement");
    assert_eq!(facts[1]["accesses"][0]["resource"]["relation"]["name"], "products");
    assert_eq!(facts[0]["subject"]["principal"]["name"], "agent");
    assert_eq!(facts[0]["subject"]["grant"]["reason"], "a test");
    assert_eq!(facts[0]["moment"]["client"], "127.0.0.1");
    let denied = recorded(&admin, "'denied'", 1);
    assert_eq!((&denied[0]["decision"], &denied[0]["policies"]), (&json!("deny"), &json!(["no-payments"])));
    assert!(admin.run(&["audit", "search", "--text", "'denied'"]).ok().contains("denied 42501 by no-payments"));
    let often = recorded(&admin, "'often'", 3);
    assert!(often.iter().all(|event| event["policies"] == json!(["readers"])), "{often:#?}");
    // They are large: who does not ask for them does not get them.
    let bare = admin.run(&["audit", "search", "--text", "'denied'", "--json"]).json();
    assert!(bare[0].get("facts").is_none() && bare[0]["policies"] == json!(["no-payments"]), "{bare:#}");

    // The same policies decide the same, changed ones do not.
    let refused = ["audit", "search", "--text", "select 1 from payments", "--sqlstate", "42501", "--json"];
    let since = admin.run(&refused).json()[0]["at"].as_str().unwrap().to_owned();
    let replay = |more: &[&str]| admin.run(&[&["policy", "replay", "--since", &since, "--json"], more].concat()).json();
    let replayed = replay(&[]);
    assert_eq!((&replayed["decided"], &replayed["undecided"]), (&json!(6), &json!(0)), "{replayed:#}");
    assert_eq!(replayed["differing"], json!([]));
    let more = file(&dev, "more.cedar", NO_ORDERS);
    let replayed = replay(&["--on", "demo", more.to_str().unwrap()]);
    let differing = replayed["differing"].as_array().unwrap();
    assert_eq!(differing.len(), 4, "{replayed:#}");
    for one in differing {
        assert_eq!((&one["was"]["outcome"], &one["would_be"]["outcome"]), (&json!("allowed"), &json!("denied")));
        assert_eq!(one["would_be"]["policies"], json!(["no-orders"]));
    }
    let open = file(&dev, "open.cedar", "@id(\"all\") permit (principal, action, resource);");
    let looser = dev.data().join("none");
    std::fs::create_dir(&looser).unwrap();
    std::fs::write(
        looser.join("readers.cedar"),
        "@id(\"nothing\") forbid (principal, action == Action::\"ddl\", resource);",
    )
    .unwrap();
    let looser = looser.join("readers.cedar");
    let args = ["policy", "replay", "--since", &since, looser.to_str().unwrap(), open.to_str().unwrap()];
    let told = admin.run(&args).ok();
    assert!(told.contains("was denied: read on public.payments") && told.contains("would be allowed (all)"), "{told}");
    let elsewhere = admin.run(&["policy", "replay", "--on", "elsewhere", "--json"]).json();
    assert_eq!((&elsewhere["decided"], &elsewhere["undecided"]), (&json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn bound_values_are_recorded_where_a_policy_says_so() {
    let dev = Dev::start(&[]);
    let admin = dev.admin();
    let policies = file(
        &dev,
        "binds.cedar",
        "@id(\"connect\") permit (principal, action == Action::\"connect\", resource);\n\
         @id(\"read\") permit (principal, action == Action::\"read\", resource);\n\
         @id(\"keep\") @record_binds permit (principal, action == Action::\"read\", \
         resource == Table::\"demo/public.orders\");\n\
         @id(\"no\") forbid (principal, action, resource == Table::\"demo/public.payments\");",
    );
    let url = dev.grant("read", "30m").url;
    let reader = client::connect(&url).await;
    // Off by default, and where no policy says so.
    reader.query("select 'default' from orders where id = $1", &[&7_i32]).await.unwrap();
    let _ = admin.run(&["apply", policies.to_str().unwrap()]).ok();
    until(&reader, "select 1 from payments", true).await;
    assert!(test(&admin, "read", "select 1 from orders", &[]).stdout.contains("bound values are recorded"));
    reader.query("select 'other' from products where id = $1", &[&7_i32]).await.unwrap();
    let statement = reader.prepare("select 'kept' from orders where id = $1 and status = $2").await.unwrap();
    for id in [7_i32, 8] {
        reader.query(&statement, &[&id, &"paid"]).await.unwrap();
    }
    assert!(recorded(&admin, "'default'", 1)[0].get("binds").is_none());
    assert!(recorded(&admin, "'other'", 1)[0].get("binds").is_none());
    let kept = recorded(&admin, "'kept'", 2);
    for (event, id) in kept.iter().zip(["AAAACA==", "AAAABw=="]) {
        // This driver sends binary values; that of a text is its bytes.
        assert_eq!(event["binds"]["values"][0], json!({ "value": id, "format": "binary" }), "{event:#}");
        assert_eq!(event["binds"]["values"][1], json!({ "value": "cGFpZA==", "format": "binary" }));
        assert_eq!(event["binds"]["omitted"], 0);
    }

    // In text, NULL, and larger than what comes at once or is kept.
    let mut raw = Raw::connect(dev.pg_port, Tls::None).await;
    raw.login(&Login::of_url(&url)).await.unwrap();
    let large = "x".repeat(3 << 20);
    let parse = [raw::cstr(""), raw::cstr("select 'text' from orders where $1 = $2 or $3 = ''"), vec![0, 0]].concat();
    let mut bind = vec![0, 0, 0, 0, 0, 3];
    for value in [Some("a"), None, Some(large.as_str())] {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
        bind.extend_from_slice(&length.to_be_bytes());
        bind.extend_from_slice(value.unwrap_or_default().as_bytes());
    }
    bind.extend_from_slice(&[0, 0]);
    let execute = [0, 0, 0, 0, 0];
    let messages =
        [raw::message(b'P', &parse), raw::message(b'B', &bind), raw::message(b'E', &execute), raw::sync()].concat();
    raw.send(&messages).await;
    let answer = raw.until_ready().await;
    assert!(answer.iter().all(|message| message.tag != b'E'), "{answer:?}");
    let text = recorded(&admin, "'text'", 1);
    let values = text[0]["binds"]["values"].as_array().unwrap();
    assert_eq!(values[0], json!({ "value": "a", "format": "text" }));
    assert_eq!(values[1], json!({ "value": null, "format": "text" }));
    assert_eq!((values[2]["value"].as_str().unwrap().len(), &values[2]["length"]), (4096, &json!(3 << 20)));
}
