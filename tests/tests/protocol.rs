//! The protocol as a client sees it, byte by byte where drivers hide it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client,
    cluster::{APP_PASSWORD, Cluster},
    dev::Dev,
    raw::{self, GSSENC_REQUEST, Greeting, Login, Message, Raw, Tls},
    scenario::Scenarios,
    wait,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

struct Fixture {
    dev: Dev,
    cluster: Cluster,
    read: String,
    all: String,
}

impl Fixture {
    fn login(&self) -> Login {
        Login::of_url(&self.all)
    }

    async fn open(&self, tls: Tls, login: &Login) -> (Raw, Greeting) {
        let mut raw = Raw::connect(self.dev.pg_port, tls).await;
        let greeting = raw.login(login).await.unwrap_or_else(|error| panic!("{tls:?} {login:?}: {error:?}"));
        (raw, greeting)
    }

    async fn refused(&self, tls: Tls, login: &Login) -> Message {
        let mut raw = Raw::connect(self.dev.pg_port, tls).await;
        let error = raw.login(login).await.unwrap_err();
        assert_eq!(error.field(b'V').as_deref(), Some("FATAL"), "{error:?}");
        assert_eq!(raw.until_closed().await, [], "nothing follows");
        error
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol() {
    let cluster = Cluster::start().await;
    let url = cluster.app_url_without_password();
    let dev = Dev::start_with(&["--postgres", &url], &[("PGPASSWORD", APP_PASSWORD)]);
    let (read, all) = (dev.grant("read", "1h").url, dev.grant("all", "1h").url);
    let fixture = Arc::new(Fixture { dev, cluster, read, all });
    let mut scenarios = Scenarios::default();
    macro_rules! run {
        ($($name:ident),* $(,)?) => {
            $(scenarios.run(stringify!($name), $name(Arc::clone(&fixture))).await;)*
        };
    }
    run!(
        versions_and_tls,
        direct_tls_needs_alpn,
        gssapi_is_refused_politely,
        newer_versions_are_negotiated,
        channel_binding,
        cancel_by_both_keys,
        cancel_with_a_wrong_key_does_nothing,
        database_names,
        wrong_secrets,
        parameters_are_as_directly,
        startup_parameters_are_passed_on,
        application_names,
        the_backend_is_who_it_says,
        function_calls_are_refused,
        replication_is_refused,
        reading_is_reading,
        errors_keep_their_fields,
        transaction_status_is_the_servers,
        skip_until_sync,
        protocol_version_two_is_refused,
    );
    scenarios.end();
}

async fn versions_and_tls(fixture: Arc<Fixture>) {
    for tls in [Tls::None, Tls::Negotiated, Tls::Direct] {
        for (minor, secret) in [(0, 4), (2, 32)] {
            let login = Login { minor, ..fixture.login() };
            let (mut raw, greeting) = fixture.open(tls, &login).await;
            assert_eq!(greeting.secret.len(), secret, "{tls:?} 3.{minor}");
            assert_eq!(greeting.negotiated, None, "{tls:?} 3.{minor}");
            let plus = greeting.mechanisms.contains(&"SCRAM-SHA-256-PLUS".to_owned());
            assert_eq!(plus, tls != Tls::None, "{greeting:?}");
            assert_eq!(raw.text("select 1").await, "1");
        }
    }
}

async fn direct_tls_needs_alpn(fixture: Arc<Fixture>) {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", fixture.dev.pg_port)).await.unwrap();
    // Whether the handshake or what follows fails is the server's choice.
    if let Ok(mut stream) = raw::tls::connect(stream, None).await {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let _ = stream.write_all(&fixture.login().packet()).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = wait::within("it closes", Duration::from_secs(5), read).await;
        assert!(answer.is_empty(), "{answer:?}");
    }
}

async fn gssapi_is_refused_politely(fixture: Arc<Fixture>) {
    let mut raw = Raw::connect(fixture.dev.pg_port, Tls::None).await;
    raw.send(&raw::packet(&GSSENC_REQUEST.to_be_bytes())).await;
    assert_eq!(raw.read_byte().await, b'N');
    // The client goes on in clear on the same connection, as libpq does.
    raw.login(&fixture.login()).await.unwrap();
    assert_eq!(raw.text("select 1").await, "1");
}

async fn newer_versions_are_negotiated(fixture: Arc<Fixture>) {
    let mut login = Login { minor: 9, ..fixture.login() };
    login.parameters.push(("_pq_.unheard_of".to_owned(), "1".to_owned()));
    let (mut raw, greeting) = fixture.open(Tls::Negotiated, &login).await;
    let (minor, unknown) = greeting.negotiated.unwrap();
    assert_eq!(minor & 0xffff, 2);
    assert_eq!(unknown, ["_pq_.unheard_of"]);
    assert_eq!(greeting.secret.len(), 32);
    assert_eq!(raw.text("select 1").await, "1");
}

async fn channel_binding(fixture: Arc<Fixture>) {
    for tls in [Tls::Negotiated, Tls::Direct] {
        let login = Login { plus: true, ..fixture.login() };
        let (mut raw, _) = fixture.open(tls, &login).await;
        assert_eq!(raw.text("select 1").await, "1");
        let wrong = Login { secret: "wrong".to_owned(), ..login };
        let error = fixture.refused(tls, &wrong).await;
        assert_eq!(error.sqlstate(), "28P01", "{error:?}");
    }
    let client = client::connect_tls(&fixture.all).await;
    assert_eq!(client.text("select 1").await, "1");
    let sessions = fixture.dev.admin().run(&["sessions", "--json"]).json();
    assert!(
        sessions.to_string().to_lowercase().contains("plus"),
        "how the client proved itself is on record: {sessions}"
    );
}

async fn cancel_by_both_keys(fixture: Arc<Fixture>) {
    for (minor, tls) in [(0, Tls::None), (2, Tls::None), (0, Tls::Negotiated), (2, Tls::Direct)] {
        let login = Login { minor, ..fixture.login() };
        let (mut raw, greeting) = fixture.open(Tls::Negotiated, &login).await;
        raw.send(&raw::query("select pg_sleep(60)")).await;
        until_active(&fixture, greeting.pid).await;
        let start = Instant::now();
        raw::cancel(fixture.dev.pg_port, tls, greeting.pid, &greeting.secret).await;
        let messages = raw.until_ready().await;
        let error = messages.iter().find(|message| message.tag == b'E').unwrap();
        assert_eq!(error.sqlstate(), "57014", "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(2));
        assert_eq!(raw.text("select 1").await, "1", "the session goes on");
    }
    // As a driver does it.
    let client = Arc::new(client::connect(&fixture.all).await);
    let pid = client.backend_pid().await;
    let running = Arc::clone(&client);
    let statement = tokio::spawn(async move { running.batch_execute("select pg_sleep(60)").await });
    until_active(&fixture, pid).await;
    client.cancel_token().cancel_query(tokio_postgres::NoTls).await.unwrap();
    let error = wait::within("cancelled", Duration::from_secs(5), statement).await.unwrap().unwrap_err();
    assert_eq!(client::sqlstate(&error), "57014");
}

async fn until_active(fixture: &Fixture, pid: i32) {
    let watcher = fixture.cluster.superuser().await;
    wait::until("it runs", Duration::from_secs(5), || async {
        let sql = "select 1 from pg_stat_activity where pid = $1 and state = 'active'
                   and query like '%pg_sleep%' and wait_event = 'PgSleep'";
        let rows = watcher.query(sql, &[&pid]).await.unwrap();
        (!rows.is_empty()).then_some(())
    })
    .await;
}

async fn cancel_with_a_wrong_key_does_nothing(fixture: Arc<Fixture>) {
    let (mut raw, greeting) = fixture.open(Tls::None, &fixture.login()).await;
    raw.send(&raw::query("select 'undisturbed' from pg_sleep(1)")).await;
    until_active(&fixture, greeting.pid).await;
    let mut wrong = greeting.secret.clone();
    wrong[0] ^= 1;
    for secret in [&wrong[..], &[0; 32], &greeting.secret[..3], &[7; 256]] {
        raw::cancel(fixture.dev.pg_port, Tls::None, greeting.pid, secret).await;
    }
    raw::cancel(fixture.dev.pg_port, Tls::None, greeting.pid + 1, &greeting.secret).await;
    let messages = raw.until_ready().await;
    assert!(messages.iter().any(|message| message.tag == b'D'), "{messages:?}");
}

async fn database_names(fixture: Arc<Fixture>) {
    for database in ["demo", "app", ""] {
        let login = Login { database: database.to_owned(), ..fixture.login() };
        let (mut raw, _) = fixture.open(Tls::None, &login).await;
        assert_eq!(raw.text("select current_database()").await, "app");
    }
    let login = Login { database: "postgres".to_owned(), ..fixture.login() };
    let error = fixture.refused(Tls::None, &login).await;
    assert_eq!(error.sqlstate(), "3D000", "{error:?}");
    // Which databases there are is for those who have proved themselves.
    let login = Login { secret: "wrong".to_owned(), ..login };
    let error = fixture.refused(Tls::None, &login).await;
    assert_eq!(error.sqlstate(), "28P01", "{error:?}");
}

async fn wrong_secrets(fixture: Arc<Fixture>) {
    let wrong = Login { secret: "wrong".to_owned(), ..fixture.login() };
    let unknown = Login { user: "grt_01k0000000000000000000000".to_owned(), ..wrong.clone() };
    let nonsense = Login { user: "postgres".to_owned(), ..wrong.clone() };
    let expected = fixture.refused(Tls::None, &wrong).await;
    assert_eq!(expected.sqlstate(), "28P01", "{expected:?}");
    let hint = expected.field(b'H').unwrap();
    assert!(hint.contains("postern request"), "{hint}");
    for login in [unknown, nonsense] {
        let error = fixture.refused(Tls::None, &login).await;
        let hidden = |error: &Message, user: &str| String::from_utf8_lossy(&error.body).replace(user, "USER");
        assert_eq!(
            hidden(&error, &login.user),
            hidden(&expected, &wrong.user),
            "an unknown grant looks like a wrong secret"
        );
    }
    // The same salt each time, so that an unknown grant cannot be told by that either.
    let salt = async |user: &str| {
        let mut raw = Raw::connect(fixture.dev.pg_port, Tls::None).await;
        let login = Login { user: user.to_owned(), ..fixture.login() };
        raw.send(&login.packet()).await;
        raw.read().await;
        let first = b"n,,n=,r=clientnonce";
        let length = i32::try_from(first.len()).unwrap().to_be_bytes();
        let body = [&raw::cstr("SCRAM-SHA-256")[..], &length, first].concat();
        raw.send(&raw::message(b'p', &body)).await;
        let answer = String::from_utf8(raw.read().await.body[4..].to_vec()).unwrap();
        answer.split_once(',').unwrap().1.to_owned()
    };
    let user = "grt_01k0000000000000000000000";
    let decoy = salt(user).await;
    assert_eq!(decoy, salt(user).await);
    let real = salt(&fixture.login().user).await;
    assert_ne!(decoy, real);
    assert_eq!(decoy.len(), real.len(), "{decoy} {real}");
    assert!(decoy.ends_with(",i=4096") && real.ends_with(",i=4096"), "{decoy} {real}");
}

/// A direct login, for comparison.
async fn direct(fixture: &Fixture, parameters: &[(&str, &str)]) -> (Raw, Greeting) {
    let mut raw = Raw::connect(fixture.cluster.port, Tls::None).await;
    let login = Login {
        minor: 0,
        user: "app".to_owned(),
        secret: APP_PASSWORD.to_owned(),
        database: "app".to_owned(),
        parameters: owned(parameters),
        plus: false,
    };
    let greeting = raw.login(&login).await.unwrap();
    (raw, greeting)
}

fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn parameters_are_as_directly(fixture: Arc<Fixture>) {
    let sets: [&[(&str, &str)]; 4] = [
        &[],
        &[("client_encoding", "LATIN1"), ("DateStyle", "German, DMY")],
        &[("TimeZone", "Asia/Kathmandu"), ("application_name", "my app"), ("IntervalStyle", "iso_8601")],
        &[("options", "-c standard_conforming_strings=off -c search_path=a,\\ b")],
    ];
    for parameters in sets {
        let (mut expected_raw, expected) = direct(&fixture, parameters).await;
        let login = Login { parameters: owned(parameters), ..fixture.login() };
        let (mut raw, greeting) = fixture.open(Tls::Negotiated, &login).await;
        assert_eq!(greeting.parameters, expected.parameters, "{parameters:?}");
        let settings = "select string_agg(name || '=' || setting, E'\\n' order by name) from pg_settings
                        where source in ('client', 'override', 'session', 'user', 'database')
                        and name not like 'config_file'";
        assert_eq!(raw.text(settings).await, expected_raw.text(settings).await, "{parameters:?}");
        // What is set later is reported too.
        let changed = raw.query("set datestyle = 'SQL, MDY'").await;
        assert_eq!(changed, expected_raw.query("set datestyle = 'SQL, MDY'").await);
    }
}

async fn startup_parameters_are_passed_on(fixture: Arc<Fixture>) {
    let login =
        Login { parameters: owned(&[("options", "-c work_mem=7MB"), ("statement_timeout", "12s")]), ..fixture.login() };
    let (mut raw, _) = fixture.open(Tls::None, &login).await;
    assert_eq!(raw.text("show work_mem").await, "7MB");
    assert_eq!(raw.text("show statement_timeout").await, "12s");
    raw.query("set work_mem = '9MB'; reset work_mem").await;
    assert_eq!(raw.text("show work_mem").await, "7MB");
    let login = Login { parameters: owned(&[("no_such_setting", "1")]), ..fixture.login() };
    let error = fixture.refused(Tls::None, &login).await;
    assert_eq!(error.sqlstate(), "42704", "the server's own error: {error:?}");
    assert!(error.field(b'M').unwrap().contains("no_such_setting"), "{error:?}");
    // Neither read-only nor the time limit of `read` can be talked away at the start.
    let login = |parameters: &[(&str, &str)]| Login { parameters: owned(parameters), ..Login::of_url(&fixture.read) };
    for parameters in [("default_transaction_read_only", "off"), ("options", "-c default_transaction_read_only=off")] {
        let error = fixture.refused(Tls::None, &login(&[parameters])).await;
        assert_eq!(error.sqlstate(), "42501", "{error:?}");
    }
    let login = login(&[("options", "-c statement_timeout=0")]);
    let (mut raw, _) = fixture.open(Tls::None, &login).await;
    assert_eq!(raw.text("show transaction_read_only").await, "on");
    assert_eq!(raw.text("show statement_timeout").await, "30s");
    raw.query("reset all").await;
    assert_eq!(raw.text("show transaction_read_only").await, "on");
    assert_eq!(raw.text("show statement_timeout").await, "30s");
}

async fn application_names(fixture: Arc<Fixture>) {
    let name = async |url: &str, given: Option<&str>| {
        let login = Login {
            parameters: given.map(|name| ("application_name".to_owned(), name.to_owned())).into_iter().collect(),
            ..Login::of_url(url)
        };
        let (mut raw, greeting) = fixture.open(Tls::None, &login).await;
        let shown = raw.text("show application_name").await;
        assert_eq!(greeting.parameters["application_name"], shown);
        (login.user, shown)
    };
    assert_eq!(name(&fixture.all, Some("mine")).await.1, "mine");
    assert_eq!(name(&fixture.all, None).await.1, "");
    let (grant, shown) = name(&fixture.read, Some("mine")).await;
    assert_eq!(shown, format!("postern:{grant}:mine"));
    let (grant, shown) = name(&fixture.read, Some(&"x".repeat(100))).await;
    assert_eq!(shown.len(), 63);
    assert!(shown.starts_with(&format!("postern:{grant}:x")), "{shown}");
}

async fn the_backend_is_who_it_says(fixture: Arc<Fixture>) {
    let (mut raw, greeting) = fixture.open(Tls::None, &fixture.login()).await;
    assert_eq!(raw.text("select pg_backend_pid()").await, greeting.pid.to_string());
    let (mut other, _) = fixture.open(Tls::None, &fixture.login()).await;
    raw.query("listen protocol_channel").await;
    other.query("notify protocol_channel, 'from the other'").await;
    let note = raw.read().await;
    assert_eq!(note.tag, b'A');
    let sender = other.text("select pg_backend_pid()").await;
    assert_eq!(i32::from_be_bytes(note.body[..4].try_into().unwrap()).to_string(), sender);
    assert_eq!(&note.body[4..], b"protocol_channel\0from the other\0");
}

async fn function_calls_are_refused(fixture: Arc<Fixture>) {
    // pg_backend_pid() by its OID, no arguments, text result.
    let call = [&2026_i32.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0]].concat();
    for url in [&fixture.all, &fixture.read] {
        let (mut raw, _) = fixture.open(Tls::None, &Login::of_url(url)).await;
        raw.send(&raw::message(b'F', &call)).await;
        let messages = raw.until_ready().await;
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert_eq!(messages[0].sqlstate(), "0A000", "{messages:?}");
        assert!(messages[0].field(b'H').is_some(), "{messages:?}");
        assert_eq!(messages[1].body, b"I");
        assert_eq!(raw.text("select 1").await, "1", "the session goes on");
        raw.query("begin").await;
        raw.send(&raw::message(b'F', &call)).await;
        let messages = raw.until_ready().await;
        assert_eq!(messages.last().unwrap().body, b"E", "the transaction has failed");
    }
    let found = wait::until("the refusal is on record", Duration::from_secs(3), || async {
        let found = fixture.dev.admin().run(&["audit", "search", "--kind", "function_call", "--json"]).json();
        let found = found.as_array().unwrap().clone();
        (found.len() == 4).then_some(found)
    })
    .await;
    assert!(found.iter().all(|event| event["decision"] == "deny" && event["sqlstate"] == "0A000"), "{found:?}");
}

async fn replication_is_refused(fixture: Arc<Fixture>) {
    for value in ["true", "database", "on", "1", "yes"] {
        let login = Login { parameters: owned(&[("replication", value)]), ..fixture.login() };
        let error = fixture.refused(Tls::None, &login).await;
        assert_eq!(error.sqlstate(), "0A000", "{value}: {error:?}");
    }
    let login = Login { parameters: owned(&[("replication", "false")]), ..fixture.login() };
    let (mut raw, _) = fixture.open(Tls::None, &login).await;
    assert_eq!(raw.text("select 1").await, "1");
}

async fn reading_is_reading(fixture: Arc<Fixture>) {
    let (mut raw, _) = fixture.open(Tls::None, &Login::of_url(&fixture.read)).await;
    for message in [
        raw::query("insert into items values (0, 'x')"),
        [raw::extended("insert into items values (0, 'x')"), raw::sync()].concat(),
    ] {
        raw.send(&message).await;
        let messages = raw.until_ready().await;
        let error = messages.iter().find(|message| message.tag == b'E').unwrap();
        assert_eq!(error.sqlstate(), "42501", "{error:?}");
    }
    assert_eq!(raw.text("select count(*) from items").await, "100");
}

async fn errors_keep_their_fields(fixture: Arc<Fixture>) {
    let (mut expected_raw, _) = direct(&fixture, &[]).await;
    let (mut raw, _) = fixture.open(Tls::None, &fixture.login()).await;
    for sql in [
        "selec 1",
        "insert into items values (1, 'twice')",
        "select 1/0",
        "do $$begin raise exception 'm' using errcode = 'ZZ001', detail = 'd', hint = 'h', table = 't'; end$$",
        "do $$begin raise warning 'w' using detail = 'd'; end$$",
        "select id, name from items where id < 3; select 2 where false; update items set name = name where id = 5",
        "",
        "   -- nothing",
        "select from items limit 2",
        "show server_version",
    ] {
        assert_eq!(raw.query(sql).await, expected_raw.query(sql).await, "{sql}");
        let extended = [raw::extended(sql), raw::sync()].concat();
        raw.send(&extended).await;
        expected_raw.send(&extended).await;
        assert_eq!(raw.until_ready().await, expected_raw.until_ready().await, "{sql}");
    }
}

async fn transaction_status_is_the_servers(fixture: Arc<Fixture>) {
    let (mut raw, _) = fixture.open(Tls::None, &fixture.login()).await;
    for (sql, status) in
        [("begin", b"T"), ("select 1", b"T"), ("select 1/0", b"E"), ("select 1", b"E"), ("rollback", b"I")]
    {
        let messages = raw.query(sql).await;
        assert_eq!(messages.last().unwrap().body, status, "{sql}");
    }
}

async fn skip_until_sync(fixture: Arc<Fixture>) {
    let (mut expected_raw, _) = direct(&fixture, &[]).await;
    let (mut raw, _) = fixture.open(Tls::None, &fixture.login()).await;
    let pipeline = [
        raw::extended("select 1"),
        raw::extended("select 1/0"),
        raw::extended("select 'skipped'"),
        raw::message(b'H', &[]),
        raw::sync(),
        raw::extended("select 'after'"),
        raw::sync(),
        raw::query("select 'simple'"),
    ]
    .concat();
    raw.send(&pipeline).await;
    expected_raw.send(&pipeline).await;
    for _ in 0..3 {
        assert_eq!(raw.until_ready().await, expected_raw.until_ready().await);
    }
    let found = wait::until("all is on record", Duration::from_secs(3), || async {
        let found = fixture.dev.admin().statements("'skipped'");
        found.first().filter(|event| !event["outcome"].is_null()).cloned()
    })
    .await;
    assert_eq!(found["outcome"], "skipped", "{found}");
}

async fn protocol_version_two_is_refused(fixture: Arc<Fixture>) {
    let mut raw = Raw::connect(fixture.dev.pg_port, Tls::None).await;
    raw.send(&raw::packet(&[0, 2, 0, 0, 0, 0])).await;
    let messages = raw.until_closed().await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0].field(b'V').as_deref(), Some("FATAL"));
}
