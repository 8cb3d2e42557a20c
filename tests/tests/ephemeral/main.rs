//! Access roles of mode `ephemeral`: each session has a database role of its own, which lives as long as it.
//!
//! - [`installation`]: a cluster with a login that makes roles, and the parts on it
//! - [`masked`]: where the database keeps masked columns from sessions
//! - [`narrowed`]: grants for some relations

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod installation;
mod masked;
mod narrowed;

use installation::{Installation, MAKER_PASSWORD, SOON, cluster};
use postern_e2e::{
    client::{self, sqlstate},
    cluster::Cluster,
    parts::Part,
    wait,
};
use serde_json::Value;
use std::{fs, time::Instant};

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
        ("shobj_description(oid, 'pg_authid')", &format!("Postern: grant {}, session {id}, for app_reader", grant.id)),
        ("select usename from pg_stat_activity where usesysid = pg_authid.oid", &role),
    ] {
        assert_eq!(superuser.text(&of(what)).await, expected, "{what}");
    }
    let log = cluster.log();
    let created = log.lines().find(|line| line.contains("CREATE ROLE") && line.contains(&role)).unwrap();
    assert!(created.contains("PASSWORD 'SCRAM-SHA-256$") && created.contains(&grant.id), "{created}");

    // Another session of the grant has another role, and their ends do not touch each other.
    let (second, other) = installation.open(&grant).await;
    installation.until_made(&[&role, &other]).await;
    drop(first);
    installation.until_made(&[&other]).await;
    assert_eq!(second.text("select current_user").await, "app_reader");
    drop(second);
    installation.until_made(&[]).await;
    recorded(installation, &role).await;
}

/// What was done for a role is in the audit, without what verifies its password.
async fn recorded(installation: &Installation, role: &str) {
    let works = wait::until("both are recorded", SOON, || async {
        let args = ["audit", "search", "--type", "connector", "--action", "connector.role", "--text", role, "--json"];
        let works = installation.parts.admin().run(&args).json();
        (works.as_array().unwrap().len() == 2).then_some(works)
    });
    let works = works.await;
    let sql = |at: usize| works[at]["sql"].as_str().unwrap();
    assert!(sql(0).contains(&format!("DROP ROLE IF EXISTS \"{role}\"")), "{works}");
    assert!(sql(1).starts_with(&format!("CREATE ROLE \"{role}\" LOGIN")) && sql(1).contains("PASSWORD '…'"), "{works}");
    assert_eq!((&works[1]["connection"], &works[1]["principal"]), (&Value::from("orders"), &Value::Null));
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
