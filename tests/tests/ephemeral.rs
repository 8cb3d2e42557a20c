//! Access roles of mode `ephemeral`: each session has a database role of its own, which lives as long as it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client, sqlstate},
    cluster::Cluster,
    dev::{self, Grant},
    parts::{Part, Parts, Setup},
    process::tail,
    wait,
};
use serde_json::Value;
use std::{
    fs,
    time::{Duration, Instant},
};

/// "Within a second" is promised; a loaded machine with an unoptimised build gets this.
const SOON: Duration = Duration::from_secs(20);

const MAKER_PASSWORD: &str = "seeded-maker-password-3ac8";

/// What a role is told by.
const MADE: &str = "rolname ~ '^postern_[0-9a-z]{26}_[0-9a-z]{26}$'";

/// A cluster with a login that may make roles and nothing else, and what tells a mapped role's sessions from others.
const SET_UP: &str = "
    alter role app_reader set search_path = odd, public;
    alter role app_reader set statement_timeout = '77s';
    alter role app_reader in database app set statement_timeout = '78s';
    alter role app_reader set app.tenant = 'it''s \\ \"odd\"';
    alter role app_reader set log_min_duration_statement = '3h';
    create schema odd;
    grant usage on schema odd to app_reader;
    create table odd.named (id int);
    grant select on odd.named to app_reader;
    create table for_all (id int);
    grant select on for_all to public;
    grant create on schema public to app;
    create table not_for_app (id int);
";

struct Installation {
    parts: Parts,
    superuser: Client,
}

impl Installation {
    /// With both access roles of mode `ephemeral`.
    async fn start(cluster: &Cluster) -> Self {
        let mut parts = Parts::start_with(cluster, Setup::default()).await;
        parts.stop(Part::Connector);
        let file = parts.path("agent.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let maker = format!("ephemeral: {{ user: maker, password: {{ value: {MAKER_PASSWORD} }} }}");
        fs::write(&file, text.replace("  orders:\n", &format!("  orders:\n    {maker}\n"))).unwrap();
        let mut installation = Self { parts, superuser: cluster.superuser().await };
        installation.map("read: { mode: ephemeral }, all: { mode: ephemeral }");
        installation.launch();
        installation
    }

    fn launch(&mut self) {
        self.parts.launch(Part::Connector);
        self.parts.until_up();
    }

    fn map(&self, roles: &str) {
        let file = self.parts.path("roles.yaml");
        fs::write(&file, format!("kind: Connection\nname: orders\nroles: {{ {roles} }}\n")).unwrap();
        let _ = self.parts.admin().run(&["apply", "--merge", file.to_str().unwrap()]).ok();
    }

    fn grant(&self, role: &str, duration: &str) -> Grant {
        dev::grant(self.parts.agent(), self.parts.admin(), "orders", role, duration)
    }

    async fn open(&self, grant: &Grant) -> (Client, String) {
        let client =
            wait::until("a session opens", SOON, || async { client::try_connect(&grant.url).await.ok() }).await;
        let role = client.text("select session_user").await;
        (client, role)
    }

    /// The roles that were made, by name.
    async fn made(&self) -> Vec<String> {
        let sql = format!("select rolname from pg_roles where {MADE} order by 1");
        let rows = self.superuser.query(&sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0)).collect()
    }

    async fn until_made(&self, expected: &[&str]) {
        let mut expected: Vec<_> = expected.iter().map(|name| (*name).to_owned()).collect();
        expected.sort();
        let start = Instant::now();
        let made = async {
            while self.made().await != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(SOON, made).await.is_err() {
            let log = self.parts.log(Part::Connector);
            panic!("there are the roles {:?} and not {expected:?}: {}", self.made().await, tail(&log));
        }
        eprintln!("the roles were {expected:?} after {:.0?}", start.elapsed());
    }

    /// The SQLSTATE, message, detail and hint with which a session is refused.
    async fn refusal(&self, grant: &Grant) -> String {
        let error = client::try_connect(&grant.url).await.err().expect("the session is refused");
        let told = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
        format!("{} {} {:?} {:?}", sqlstate(&error), told.message(), told.detail(), told.hint())
    }
}

async fn cluster(major: Option<u16>) -> Cluster {
    let settings = ["log_statement=ddl"];
    let cluster = match major {
        Some(major) => Cluster::start_major(major, &settings).await,
        None => Cluster::start_with(&settings).await,
    };
    let superuser = cluster.superuser().await;
    superuser.batch_execute(&format!("create role maker login createrole password '{MAKER_PASSWORD}'")).await.unwrap();
    superuser.batch_execute(SET_UP).await.unwrap();
    if superuser.text("select current_setting('server_version_num')").await.parse::<u32>().unwrap() >= 16_00_00 {
        // As little as makes members of it.
        let sql = "grant app_reader, app to maker with admin option, inherit false, set false;
                   grant set on parameter log_min_duration_statement to maker";
        superuser.batch_execute(sql).await.unwrap();
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_have_roles_of_their_own() {
    story(&cluster(None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_18() {
    story(&cluster(Some(18)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_17() {
    story(&cluster(Some(17)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_16() {
    story(&cluster(Some(16)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_14() {
    story(&cluster(Some(14)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_13() {
    story(&cluster(Some(13)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_makes_none_and_says_so() {
    let mut cluster = cluster(None).await;
    let installation = Installation::start(&cluster).await;
    installation.superuser.batch_execute("alter role app_reader reset log_min_duration_statement").await.unwrap();
    let grant = installation.grant("read", "1h");
    installation.open(&grant).await;
    fs::write(cluster.data().join("standby.signal"), "").unwrap();
    cluster.crash().await;
    let told = installation.refusal(&grant).await;
    assert!(["08006", "standby", "`login`"].iter().all(|word| told.contains(word)), "{told}");
    // The same way in by a login that is there already.
    installation.map("read: { mode: login }");
    installation.open(&installation.grant("read", "1h")).await;
}

async fn story(cluster: &Cluster) {
    let mut installation = Installation::start(cluster).await;
    privileged_settings(&installation).await;
    the_role_is_the_sessions(&installation, cluster).await;
    it_behaves_as_the_mapped_role(&installation).await;
    what_it_makes_belongs_to_the_mapped_role(&installation).await;
    a_grants_end(&installation).await;
    what_is_asked_of_policies_leaves_none(&installation).await;
    another_mapping(&installation).await;
    what_is_missing_is_told(&installation).await;
    a_crash_leaves_nothing(&mut installation, cluster).await;
    a_stop_leaves_nothing(&mut installation).await;
}

/// A setting that only a superuser may give is not left out: before 15 nobody else can hand it on.
async fn privileged_settings(installation: &Installation) {
    let grant = installation.grant("read", "1h");
    let version = installation.superuser.text("select current_setting('server_version_num')").await;
    if version.parse::<u32>().unwrap() < 16_00_00 {
        let told = installation.refusal(&grant).await;
        assert!(told.contains("08006") && told.contains("log_min_duration_statement"), "{told}");
        installation.superuser.batch_execute("alter role app_reader reset log_min_duration_statement").await.unwrap();
        installation.open(&grant).await;
    } else {
        let (client, _) = installation.open(&grant).await;
        assert_eq!(client.text("show log_min_duration_statement").await, "3h");
    }
    installation.until_made(&[]).await;
}

async fn the_role_is_the_sessions(installation: &Installation, cluster: &Cluster) {
    let superuser = &installation.superuser;
    let grant = installation.grant("read", "1h");
    let (first, role) = installation.open(&grant).await;
    let sessions = installation.parts.admin().run(&["sessions", "--json"]).json();
    let session = &sessions[0];
    assert_eq!(session["database_role"], "app_reader");
    let id = session["id"].as_str().unwrap();
    assert_eq!(role.rsplit('_').next(), id.strip_prefix("ses_"), "{role} {id}");
    let of = |what: &str| format!("select ({what})::text from pg_authid where rolname = '{role}'");
    for (what, expected) in [
        ("rolcanlogin and rolinherit", "true"),
        ("rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls", "false"),
        ("rolconnlimit", "1"),
        ("rolvaliduntil between now() + interval '50 minutes' and now() + interval '1 hour'", "true"),
        ("rolpassword like 'SCRAM-SHA-256$4096:%'", "true"),
        (
            "select string_agg(roleid::regrole::text, ',') from pg_auth_members where member = pg_authid.oid",
            "app_reader",
        ),
        ("shobj_description(oid, 'pg_authid')", &format!("Postern: grant {}, session {id}", grant.id)),
        ("select usename from pg_stat_activity where usesysid = pg_authid.oid", &role),
    ] {
        assert_eq!(superuser.text(&of(what)).await, expected, "{what}");
    }
    let log = cluster.log();
    let created = log.lines().find(|line| line.contains("CREATE ROLE") && line.contains(&role)).unwrap();
    assert!(created.contains("PASSWORD 'SCRAM-SHA-256$"), "{created}");

    // Another session of the grant has another role, and their ends do not touch each other.
    let (second, other) = installation.open(&grant).await;
    installation.until_made(&[&role, &other]).await;
    drop(first);
    installation.until_made(&[&other]).await;
    assert_eq!(second.text("select current_user").await, "app_reader");
    drop(second);
    installation.until_made(&[]).await;
}

async fn it_behaves_as_the_mapped_role(installation: &Installation) {
    let grant = installation.grant("read", "1h");
    let (client, _) = installation.open(&grant).await;
    for (sql, expected) in [
        ("select current_user", "app_reader"),
        ("show search_path", "odd, public"),
        ("show statement_timeout", "78s"),
        ("select current_setting('app.tenant')", "it's \\ \"odd\""),
        ("select count(*) from named", "0"),
        ("select count(*) from items", "100"),
        ("select count(*) from for_all", "0"),
        ("select has_table_privilege('public.not_for_app', 'select')::text", "false"),
    ] {
        assert_eq!(client.text(sql).await, expected, "{sql}");
    }
    assert_eq!(sqlstate(&client.batch_execute("select * from public.not_for_app").await.unwrap_err()), "42501");
    client.batch_execute("set search_path = public").await.unwrap();
    client.batch_execute("reset search_path").await.unwrap();
    assert_eq!(client.text("show search_path").await, "odd, public");
    // What the client asks for counts for more, as it does with a login's own settings.
    let options = "?options=-c%20search_path%3Dpublic%20-c%20statement_timeout%3D5s&";
    let client = client::connect(&grant.url.replacen('?', options, 1)).await;
    assert_eq!(client.text("show search_path").await, "public");
    assert_eq!(client.text("show statement_timeout").await, "5s");
    assert_eq!(client.text("select current_user").await, "app_reader");
    drop(client);
}

async fn what_it_makes_belongs_to_the_mapped_role(installation: &Installation) {
    let owner = "select string_agg(relname || ' ' || relowner::regrole, ',' order by relname) from pg_class where relname like 'made_%'";
    let grant = installation.grant("all", "1h");
    let (client, role) = installation.open(&grant).await;
    let mut raw = format!(
        "create table made_as_mapped (id int); set role none;
        create schema made_by_login; create table made_by_login.made_as_login (id int);
        grant select on made_by_login.made_as_login to app_reader;
        alter default privileges grant select on tables to app_reader;
        grant select on items to \"{role}\""
    );
    raw.push_str("; insert into made_by_login.made_as_login values (1)");
    installation.superuser.batch_execute("grant create on database app to app").await.unwrap();
    client.batch_execute(&raw).await.unwrap();
    assert_eq!(client.text("select current_user").await, role);
    assert_eq!(installation.superuser.text(owner).await, format!("made_as_login {role},made_as_mapped app"));
    // It ends by itself, also where it is at work.
    let busy = "set role none; select pg_sleep(60)";
    let working = tokio::spawn(async move { client.batch_execute(busy).await });
    wait::until("it works", SOON, || async {
        let sql = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
        (installation.superuser.text(sql).await == "1").then_some(())
    })
    .await;
    let _ = installation.parts.admin().run(&["revoke", &grant.id]).ok();
    assert!(working.await.unwrap().is_err());
    installation.until_made(&[]).await;
    assert_eq!(installation.superuser.text(owner).await, "made_as_login app,made_as_mapped app");
    let kept = "select has_table_privilege('app_reader', 'made_by_login.made_as_login', 'select')::text || (table made_by_login.made_as_login)";
    assert_eq!(installation.superuser.text(kept).await, "true1");
    let grant = installation.grant("all", "1h");
    installation
        .open(&grant)
        .await
        .0
        .batch_execute("drop schema made_by_login cascade; drop table made_as_mapped")
        .await
        .unwrap();
}

async fn a_grants_end(installation: &Installation) {
    let grant = installation.grant("read", "4s");
    let (client, role) = installation.open(&grant).await;
    installation.until_made(&[&role]).await;
    wait::until("the session ends", SOON, || async { client.events(|events| events.end.clone()) }).await;
    installation.until_made(&[]).await;
}

async fn what_is_asked_of_policies_leaves_none(installation: &Installation) {
    let args = [
        "policy",
        "test",
        "--on",
        "orders",
        "--role",
        "read",
        "--as",
        "agent:ci",
        "--json",
        "--sql",
        "select * from named",
    ];
    let done = installation.parts.admin().run(&args);
    assert_eq!(done.code, 0, "{done:#?}");
    assert!(done.stdout.contains("odd"), "the mapped role's search path counts: {done:#?}");
    installation.until_made(&[]).await;
}

async fn another_mapping(installation: &Installation) {
    let grant = installation.grant("read", "1h");
    let (before, _) = installation.open(&grant).await;
    assert_eq!(before.text("select current_user").await, "app_reader");
    installation.superuser.batch_execute("create role other_reader").await.unwrap();
    installation.superuser.batch_execute("grant other_reader to maker with admin option").await.unwrap();
    installation.map("read: { database_role: other_reader }");
    wait::until("what was approved has ended", SOON, || async { before.events(|events| events.end.clone()) }).await;
    let (after, role) = installation.open(&installation.grant("read", "1h")).await;
    assert_eq!(after.text("select current_user").await, "other_reader");
    assert_eq!(sqlstate(&after.batch_execute("select * from items").await.unwrap_err()), "42501");
    installation.until_made(&[&role]).await;
    drop(after);
    installation.map("read: { database_role: app_reader }");
    installation.until_made(&[]).await;
}

async fn what_is_missing_is_told(installation: &Installation) {
    for (take, give, words) in [
        ("alter role maker nocreaterole", "alter role maker createrole", ["08006", "permission denied"]),
        ("alter role app_reader rename to gone", "alter role gone rename to app_reader", ["08006", "does not exist"]),
        (
            "alter role app_reader set role = other_reader",
            "alter role app_reader reset role",
            ["08006", "setting `role`"],
        ),
        (
            "alter role maker nologin; select pg_terminate_backend(pid) from pg_stat_activity where usename = 'maker'",
            "alter role maker login",
            ["08006", "refused the connector's login"],
        ),
    ] {
        let grant = installation.grant("read", "1h");
        installation.superuser.batch_execute(take).await.unwrap();
        let told = installation.refusal(&grant).await;
        assert!(words.iter().all(|word| told.contains(word)), "{take}: {told}");
        wait::until_now("it is on record", SOON, || {
            let found = installation
                .parts
                .admin()
                .run(&["audit", "search", "--type", "control", "--action", "session.refused", "--json"])
                .json();
            let refused =
                |event: &&Value| event["action"] == "session.refused" && event.to_string().contains(&grant.id);
            let message = found.as_array().unwrap().iter().find(refused)?["detail"]["message"].clone();
            assert!(told.contains(message.as_str().unwrap()), "{message} {told}");
            Some(())
        });
        assert!(!told.contains("SCRAM") && !told.contains(MAKER_PASSWORD), "{told}");
        installation.superuser.batch_execute(give).await.unwrap();
        installation.open(&grant).await;
        installation.until_made(&[]).await;
    }
}

/// Killed in the midst of work, a connector takes away at its next start what is its own, and nothing else.
async fn a_crash_leaves_nothing(installation: &mut Installation, cluster: &Cluster) {
    let neighbour = Installation::start(cluster).await;
    let (kept, neighbours) = neighbour.open(&neighbour.grant("read", "1h")).await;
    // What another left, whose grant is over.
    let abandoned = format!("postern_{}_{}", "0".repeat(26), "1".repeat(26));
    let fresh = format!("postern_{}_{}", "0".repeat(26), "2".repeat(26));
    let leave = |role: &str, hours: i32| {
        format!(
            "create role {role} login in role app_reader; do $$ begin execute format('alter role {role} valid until %L', now() + interval '{hours} hours'); end $$"
        )
    };
    let maker = client::connect(&cluster.url("maker", MAKER_PASSWORD, "app")).await;
    let (client, role) = installation.open(&installation.grant("all", "1h")).await;
    client.batch_execute("set role none; create table made_and_left (id int)").await.unwrap();
    let working = tokio::spawn(async move { client.batch_execute("select pg_sleep(600)").await });
    wait::until("it works", SOON, || async {
        let sql = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
        (installation.superuser.text(sql).await == "1").then_some(())
    })
    .await;
    installation.until_made(&[&role, &neighbours]).await;

    // A second process would take the first one's roles for its own: there is none.
    let mut second = installation.parts.admin().command(&["agent", "--config"]);
    let second = second.arg(installation.parts.path("agent.yaml")).output().unwrap();
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && told.contains("another process uses the data folder"), "{told}");

    installation.parts.kill(Part::Connector);
    assert!(working.await.unwrap().is_err());
    maker.batch_execute(&leave(&abandoned, -1)).await.unwrap();
    maker.batch_execute(&leave(&fresh, 1)).await.unwrap();
    installation.until_made(&[&role, &neighbours, &abandoned, &fresh]).await;
    let start = Instant::now();
    installation.launch();
    installation.until_made(&[&neighbours, &fresh]).await;
    eprintln!("reaped {:.0?} after the start", start.elapsed());
    let owner = "select relowner::regrole::text from pg_class where relname = 'made_and_left'";
    assert_eq!(installation.superuser.text(owner).await, "app");
    let backends = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    assert_eq!(installation.superuser.text(backends).await, "0", "its backend is gone, too");
    assert_eq!(kept.text("select session_user").await, neighbours);
    // Its own role lives on through the other's look, and is dropped by its own connector.
    drop(kept);
    neighbour.until_made(&[&fresh]).await;
    maker.batch_execute(&format!("drop role {fresh}")).await.unwrap();
}

async fn a_stop_leaves_nothing(installation: &mut Installation) {
    let (client, role) = installation.open(&installation.grant("read", "1h")).await;
    installation.until_made(&[&role]).await;
    let process = installation.parts.process(Part::Connector);
    process.signal(nix::sys::signal::Signal::SIGTERM);
    drop(client);
    installation.parts.stop(Part::Connector);
    assert_eq!(installation.made().await, [] as [String; 0]);
    installation.launch();
}

const MASKED: &str = "
    alter role app_reader reset log_min_duration_statement;
    alter schema odd owner to app;
    create table people (id int primary key, email text, note text);
    insert into people values (1, 'ada@example.com', 'noted');
    create view addresses as select email from people;
    create view twice as select * from addresses;
    create table partly (a int, b int);
    alter table odd.named owner to app;
    alter table people owner to app;
    alter view addresses owner to app;
    alter view twice owner to app;
    alter table partly owner to app;
    grant select, insert, update on people to app_reader;
    grant select on addresses, twice to app_reader;
    grant select (a) on partly to app_reader;
";

#[tokio::test(flavor = "multi_thread")]
async fn the_database_keeps_masked_columns() {
    masks_are_enforced(&cluster(None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_keeps_masked_columns_on_postgresql_18() {
    masks_are_enforced(&cluster(Some(18)).await).await;
}

async fn masks_are_enforced(cluster: &Cluster) {
    let installation = Installation::start(cluster).await;
    let superuser = &installation.superuser;
    superuser.batch_execute(MASKED).await.unwrap();
    let version = superuser.text("select current_setting('server_version_num')").await;
    let inherit = if version.parse::<u32>().unwrap() < 16_00_00 { "" } else { " with inherit true" };
    superuser.batch_execute(&format!("grant app to maker{inherit}")).await.unwrap();
    let file = installation.parts.path("masks.yaml");
    fs::write(
        &file,
        "kind: Connection\nname: orders\ntags: { public.people.email: pii.email }\nmasks: { pii.email: email }\n",
    )
    .unwrap();
    let _ = installation.parts.admin().run(&["apply", "--merge", file.to_str().unwrap()]).ok();
    installation.map("read: { enforce_masks: true }, all: { enforce_masks: true }");
    let grant = installation.grant("read", "1h");
    let (client, role) = installation.open(&grant).await;
    assert_eq!(client.text("select id || note from public.people").await, "1noted");
    assert_eq!(client.text("select count(*) from public.items").await, "100");
    for sql in [
        "select email from public.people",
        "select * from public.people",
        "select id from public.people where email = 'ada@example.com'",
        "select count(email) from public.people",
    ] {
        let error = client.batch_execute(sql).await.unwrap_err();
        let told = error.as_db_error().unwrap();
        assert!(told.code().code() == "42501" && told.message().contains("public.people.email"), "{sql}: {told:?}");
    }

    // Past Postern, as that very role.
    for (what, expected) in [
        ("has_column_privilege('{}', 'people', 'email', 'select')", "false"),
        ("has_column_privilege('{}', 'people', 'note', 'select')", "true"),
        ("has_table_privilege('{}', 'people', 'update')", "true"),
        ("has_table_privilege('{}', 'people', 'delete')", "false"),
        ("has_table_privilege('{}', 'addresses', 'select')", "false"),
        ("has_table_privilege('{}', 'twice', 'select')", "false"),
        ("has_table_privilege('{}', 'odd.named', 'select')", "true"),
        ("has_table_privilege('{}', 'for_all', 'select')", "true"),
        ("has_column_privilege('{}', 'partly', 'a', 'select')", "true"),
        ("has_column_privilege('{}', 'partly', 'b', 'select')", "false"),
        ("pg_has_role('{}', 'app_reader', 'member')", "false"),
    ] {
        let sql = format!("select ({})::text", what.replace("{}", &role));
        assert_eq!(superuser.text(&sql).await, expected, "{what}");
    }
    superuser.batch_execute(&format!("set role {role}")).await.unwrap();
    let refused = ["select email from people", "select * from people", "table twice", "update people set note = email"];
    for sql in refused {
        assert_eq!(sqlstate(&superuser.batch_execute(sql).await.unwrap_err()), "42501", "{sql}");
    }
    assert_eq!(superuser.text("select id || note from people").await, "1noted");
    superuser.batch_execute("reset role").await.unwrap();
    drop(client);

    // Who may see everything has what the mapped role has.
    let (client, _) = installation.open(&installation.grant("all", "1h")).await;
    assert_eq!(client.text("select current_user || email from people").await, "appada@example.com");
    drop(client);

    // What the mapped role is given, the next session has.
    superuser.batch_execute("grant select on partly to app_reader").await.unwrap();
    let (client, _) = installation.open(&grant).await;
    client.batch_execute("select b from public.partly").await.unwrap();
    drop(client);
    what_cannot_be_kept_is_told(&installation, &grant).await;
    installation.until_made(&[]).await;
}

async fn what_cannot_be_kept_is_told(installation: &Installation, grant: &Grant) {
    for (give, take, word) in [
        ("grant select on people to public", "revoke select on people from public", "public.people"),
        (
            "create policy own on people to app_reader using (true)",
            "drop policy own on people",
            "row security on public.people",
        ),
        (
            "alter table partly owner to postgres; revoke all on partly from app_reader; grant insert on partly to app_reader",
            "alter table partly owner to app",
            "partly",
        ),
    ] {
        installation.superuser.batch_execute(give).await.unwrap();
        let told = installation.refusal(grant).await;
        assert!(told.contains("08006") && told.to_lowercase().contains(&word.to_lowercase()), "{give}: {told}");
        installation.superuser.batch_execute(take).await.unwrap();
        installation.open(grant).await;
    }
}
