//! A number of rows that a statement may write is kept whoever writes them: cascades, triggers, rules, functions and the
//! statements in its WITH count, in every form in which it can be sent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client},
    cluster::{Cluster, SUPERUSER_PASSWORD},
    dev::Dev,
    raw::{self, Login, Message, Raw, Tls},
    wait,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);

const SCHEMA: &str = "
create table parent (id int primary key, note text);
create table child (id int primary key, parent int references parent on delete cascade on update cascade);
create table log (n int);
create table noisy (n int);
create function noise() returns trigger language plpgsql as
    'begin insert into log select generate_series(1, new.n); return null; end';
create trigger noise after insert on noisy for each row execute function noise();
create table late (n int);
create constraint trigger late after insert on late deferrable initially deferred for each row execute function noise();
create table ruled (n int);
create rule also as on insert to ruled do also insert into log select generate_series(1, new.n);
create function spread(n int) returns int language plpgsql as
    'begin insert into log select generate_series(1, n); return n; end';
create table pile (id int primary key);
";

/// What each attempt begins with.
const CONTENT: &str = "
truncate parent, child, log, noisy, late, ruled, pile;
insert into parent values (1, 'many'), (2, 'few');
insert into child select g, 1 from generate_series(1, 10) g;
insert into child values (11, 2), (12, 2);
insert into pile select generate_series(1, 20);
";

const POLICIES: &str = r#"
@id("open")
permit (principal, action in [Action::"connect", Action::"read"], resource);

@id("bounded")
@max_rows("5")
permit (principal, action in [Action::"insert", Action::"update", Action::"delete", Action::"call"], resource);
"#;

struct Fixture {
    _cluster: Cluster,
    dev: Dev,
    owner: Client,
    url: String,
}

impl Fixture {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let url = cluster.url("postgres", SUPERUSER_PASSWORD, "app");
        let owner = client::connect(&url).await;
        owner.batch_execute(SCHEMA).await.unwrap();
        let without = url.replace(&format!(":{SUPERUSER_PASSWORD}"), "");
        let dev = Dev::start_with(&["--postgres", &without], &[("PGPASSWORD", SUPERUSER_PASSWORD)]);
        let file = dev.data().join("bounded.cedar");
        std::fs::write(&file, POLICIES).unwrap();
        let _ = dev.admin().run(&["apply", "--merge", file.to_str().unwrap()]).ok();
        let url = dev.grant("all", "1h").url;
        Self { _cluster: cluster, dev, owner, url }
    }

    async fn raw(&self) -> Raw {
        let mut raw = Raw::connect(self.dev.pg_port, Tls::None).await;
        raw.login(&Login::of_url(&self.url)).await.unwrap();
        raw
    }

    async fn refill(&self) {
        self.owner.batch_execute(CONTENT).await.unwrap();
    }

    /// All that there is.
    async fn content(&self) -> String {
        let tables = ["parent", "child", "log", "noisy", "late", "ruled", "pile"];
        let each = tables.map(|table| format!("(select string_agg(t::text, ',' order by t::text) from {table} t)"));
        self.owner.text(&format!("select concat_ws(';', {})", each.join(", "))).await
    }
}

/// A statement, and what would be written by it.
struct Case {
    /// With `{}` for the number that makes it large or small.
    sql: &'static str,
    /// That number, and how many rows it writes then.
    large: (i32, u32),
    small: i32,
    /// What writes besides does so when the transaction ends.
    at_commit: bool,
}

const fn case(sql: &'static str, large: (i32, u32), small: i32) -> Case {
    Case { sql, large, small, at_commit: false }
}

const CASES: [Case; 10] = [
    case("delete from parent where id = {}", (1, 11), 2),
    case("update parent set id = id + 100 where id = {}", (1, 11), 2),
    case("insert into noisy values ({})", (6, 7), 3),
    Case { at_commit: true, ..case("insert into late values ({})", (6, 7), 3) },
    case("insert into ruled values ({})", (6, 7), 3),
    case("select spread({})", (6, 6), 3),
    case("with gone as (delete from pile where id <= {} returning id) select count(*) from gone", (6, 6), 3),
    case("with gone as (delete from pile where id <= {} returning id) insert into log select id from gone", (3, 6), 2),
    case("delete from pile where id <= {} returning id", (6, 6), 3),
    case("merge into pile using generate_series(1, {}) g on id = g when matched then delete", (6, 6), 3),
];

/// How it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Simple,
    /// Its number is a parameter: as text, or in binary.
    Parameter {
        binary: bool,
    },
    /// No more than so many rows of its result are taken.
    Part,
}

fn messages(sql: &str, number: i32, form: Form) -> Vec<u8> {
    let (text, value, binary) = match form {
        Form::Simple => return raw::query(&sql.replace("{}", &number.to_string())),
        Form::Parameter { binary: true } => (sql.replace("{}", "$1"), number.to_be_bytes().to_vec(), true),
        Form::Parameter { binary: false } => (sql.replace("{}", "$1"), number.to_string().into_bytes(), false),
        Form::Part => (sql.replace("{}", &number.to_string()), Vec::new(), false),
    };
    let parameters = !value.is_empty();
    let mut parse = [raw::cstr(""), raw::cstr(&text)].concat();
    parse.extend_from_slice(if parameters { &[0, 1, 0, 0, 0, 23] } else { &[0, 0] });
    let mut bind = [raw::cstr(""), raw::cstr("")].concat();
    if parameters {
        bind.extend_from_slice(&[0, 1, 0, u8::from(binary), 0, 1]);
        bind.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        bind.extend_from_slice(&value);
    } else {
        bind.extend_from_slice(&[0, 0, 0, 0]);
    }
    // Results in the same format.
    bind.extend_from_slice(&[0, 1, 0, u8::from(binary)]);
    let execute = [0, 0, 0, 0, u8::from(form == Form::Part)];
    [raw::message(b'P', &parse), raw::message(b'B', &bind), raw::message(b'E', &execute), raw::sync()].concat()
}

fn error(answer: &[Message]) -> Option<String> {
    let error = answer.iter().find(|message| message.tag == b'E')?;
    Some([b'C', b'M', b'D'].map(|code| error.field(code).unwrap_or_default()).join(" | "))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_them_the_rows_count() {
    let fixture = Fixture::start().await;
    let mut raw = wait::until("the limit is in force", SOON, || async {
        fixture.refill().await;
        let mut raw = fixture.raw().await;
        error(&raw.query("delete from pile").await).map(|_| raw)
    })
    .await;
    let forms = [Form::Simple, Form::Parameter { binary: false }, Form::Parameter { binary: true }, Form::Part];
    for Case { sql, large, small, at_commit } in &CASES {
        for form in forms {
            for in_transaction in [false, true] {
                // What comes at COMMIT is not counted before that.
                if *at_commit && in_transaction {
                    continue;
                }
                let what = format!("{sql} {form:?} in a transaction: {in_transaction}");
                fixture.refill().await;
                let before = fixture.content().await;
                if in_transaction {
                    assert_eq!(error(&raw.query("begin").await), None);
                }
                raw.send(&messages(sql, large.0, form)).await;
                let answer = raw.until_ready().await;
                let told = error(&answer).unwrap_or_else(|| panic!("{what}: {answer:?}"));
                let words = if sql.ends_with("returning id") && form != Form::Part {
                    ["53400", "bounded", "more than 5 rows", "failed"].map(str::to_owned)
                } else {
                    let wrote = format!("would write {} rows", large.1);
                    ["53400", "bounded", "is 5", wrote.as_str()].map(str::to_owned)
                };
                assert!(words.iter().all(|word| told.contains(word.as_str())), "{what}: {told}");
                assert_eq!(
                    char::from(answer.last().unwrap().body[0]),
                    if in_transaction { 'E' } else { 'I' },
                    "{what}"
                );
                if in_transaction {
                    raw.query("commit").await;
                }
                assert_eq!(fixture.content().await, before, "{what}");
                // Its twin.
                if in_transaction {
                    assert_eq!(error(&raw.query("begin").await), None);
                }
                raw.send(&messages(sql, *small, form)).await;
                let answer = raw.until_ready().await;
                assert_eq!(error(&answer), None, "{what}");
                if in_transaction {
                    assert_eq!(error(&raw.query("commit").await), None, "{what}");
                }
                assert_ne!(fixture.content().await, before, "{what}");
            }
        }
    }
    // What cannot be held to a number is refused, alone and in a string.
    for sql in ["do 'begin perform spread(1); end'", "select spread(1); select spread(1)", "delete from pile; select 1"]
    {
        assert!(error(&raw.query(sql).await).is_some_and(|told| told.starts_with("0A000")), "{sql}");
    }
    // What writes nothing costs nothing, and passes.
    for sql in ["select count(*) from pile; select 2", "begin; select 1; commit", "vacuum pile"] {
        let denied = error(&raw.query(sql).await);
        assert!(denied.is_none() || (sql.starts_with("vacuum") && denied.unwrap().starts_with("42501")), "{sql}");
    }
}
