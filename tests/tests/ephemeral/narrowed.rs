//! Grants for some relations: the session's role has the mapped role's privileges on these alone.

use crate::installation::{Installation, cluster};
use postern_e2e::{client::sqlstate, cluster::Cluster};
use std::fs;

const SET_UP: &str = "
    alter role app_reader reset log_min_duration_statement;
    alter schema odd owner to app;
    alter table odd.named owner to app;
    create sequence shared;
    create table people (id serial primary key, email text, note text, number int default nextval('shared'));
    insert into people (email, note) values ('ada@example.com', 'noted');
    create table secrets (id int, value text);
    create view shown as select id from secrets;
    create table partly (a int, b int);
    create function touch() returns trigger language plpgsql as 'begin new.note = upper(new.note); return new; end';
    create trigger touch before update on people for each row execute function touch();
    alter table people owner to app;
    alter sequence shared owner to app;
    alter table secrets owner to app;
    alter view shown owner to app;
    alter table partly owner to app;
    create role worker;
    grant select, insert, update on people, secrets to worker;
    grant usage on shared, people_id_seq to worker;
    grant select on shown, odd.named to worker;
    grant usage on schema odd to worker;
    grant select (a) on partly to worker;
";

#[tokio::test(flavor = "multi_thread")]
async fn sessions_have_what_their_grant_is_for() {
    least_privilege(&cluster(None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_18() {
    least_privilege(&cluster(Some(18)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_17() {
    least_privilege(&cluster(Some(17)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_16() {
    least_privilege(&cluster(Some(16)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_14() {
    least_privilege(&cluster(Some(14)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_13() {
    least_privilege(&cluster(Some(13)).await).await;
}

async fn least_privilege(cluster: &Cluster) {
    let installation = Installation::start(cluster).await;
    let superuser = &installation.superuser;
    superuser.batch_execute(SET_UP).await.unwrap();
    installation.maker_may_give_what_app_has().await;
    superuser.batch_execute("grant worker to maker with admin option").await.unwrap();
    let policies = installation.parts.path("all.cedar");
    fs::write(&policies, "@id(\"all\") permit (principal, action, resource);").unwrap();
    let _ = installation.parts.admin().run(&["apply", policies.to_str().unwrap()]).ok();
    installation.map("all: { database_role: worker }");
    let grant = installation.grant_for("all", &["public.people", "public.partly"]);
    let (client, role) = installation.open(&grant).await;

    // By decision, whatever the policies permit.
    for (sql, what) in [
        ("select * from public.secrets", "read on public.secrets"),
        ("select * from public.people p, public.secrets s", "read on public.secrets"),
        ("insert into public.secrets values (1)", "insert on public.secrets"),
        ("select * from public.shown", "read on public.shown"),
        ("select * from public.for_all", "read on public.for_all"),
        ("create table public.made (id int)", "ddl on public.made"),
        ("set role worker", "admin on the database"),
    ] {
        let error = client.batch_execute(sql).await.unwrap_err();
        let told = error.as_db_error().unwrap();
        assert!(told.code().code() == "42501" && told.message().ends_with(what), "{sql}: {told:?}");
        assert!(told.message().contains("the grant is for public.partly, public.people alone"), "{told:?}");
    }
    client.batch_execute("insert into public.people (email, note) values ('b@example.com', 'b')").await.unwrap();
    client.batch_execute("update public.people set note = 'small' where id = 1").await.unwrap();
    assert_eq!(client.text("select string_agg(note, ',' order by id) from public.people").await, "SMALL,b");
    client.batch_execute("create temp table mine as select * from public.people; select * from mine").await.unwrap();
    assert_eq!(client.text("select current_user").await, role);

    // By the database, past Postern, as that very role.
    for (what, expected) in [
        ("has_table_privilege('{}', 'people', 'select,insert,update')", "true"),
        ("has_table_privilege('{}', 'people', 'delete')", "false"),
        ("has_sequence_privilege('{}', 'shared', 'usage')", "true"),
        ("has_sequence_privilege('{}', 'people_id_seq', 'usage')", "true"),
        ("has_table_privilege('{}', 'secrets', 'select')", "false"),
        ("has_table_privilege('{}', 'shown', 'select')", "false"),
        ("has_schema_privilege('{}', 'odd', 'usage')", "false"),
        ("has_column_privilege('{}', 'partly', 'a', 'select')", "true"),
        ("has_column_privilege('{}', 'partly', 'b', 'select')", "false"),
        // What PUBLIC may is no secret of the mapped role's.
        ("has_table_privilege('{}', 'for_all', 'select')", "true"),
        ("pg_has_role('{}', 'worker', 'member')", "false"),
    ] {
        let sql = format!("select ({})::text", what.replace("{}", &role));
        assert_eq!(superuser.text(&sql).await, expected, "{what}");
    }

    // A second session at once, and what one leaves.
    let (second, other) = installation.open(&grant).await;
    installation.until_made(&[&role, &other]).await;
    drop(client);
    installation.until_made(&[&other]).await;
    assert_eq!(second.text("select count(*) from public.people").await, "2");
    drop(second);
    installation.until_made(&[]).await;
    what_it_makes_is_handed_on(&installation).await;
    what_cannot_be_is_told(&installation).await;
}

/// Policies that a grant is not narrowed by do not let it make anything; PUBLIC's rights in a schema may.
async fn what_it_makes_is_handed_on(installation: &Installation) {
    installation.superuser.batch_execute("create schema open; grant all on schema open to public").await.unwrap();
    let (client, role) = installation.open(&installation.grant_for("all", &["public.people"])).await;
    // Past Postern, as what the analysis might miss.
    let sql = format!("set role {role}; create table open.left_behind (id int); reset role");
    installation.superuser.batch_execute(&sql).await.unwrap();
    drop(client);
    installation.until_made(&[]).await;
    let owner = "select relowner::regrole::text from pg_class where relname = 'left_behind'";
    assert_eq!(installation.superuser.text(owner).await, "worker");
}

async fn what_cannot_be_is_told(installation: &Installation) {
    let missing = installation.grant_for("all", &["public.people", "public.missing"]);
    let told = installation.refusal(&missing).await;
    assert!(told.contains("42P01") && told.contains("\"public.missing\""), "{told}");
    let superuser = &installation.superuser;
    superuser.batch_execute("create policy own on people to worker using (true)").await.unwrap();
    let told = installation.refusal(&installation.grant_for("all", &["public.people"])).await;
    assert!(told.contains("08006") && told.contains("row security on public.people"), "{told}");
    // That of another table is no hindrance.
    let (client, _) = installation.open(&installation.grant_for("all", &["odd.named"])).await;
    assert_eq!(client.text("select count(*) from odd.named").await, "0");
    assert_eq!(sqlstate(&client.batch_execute("select * from public.people").await.unwrap_err()), "42501");
    drop(client);
    // Each by itself: both at once could wait for who reads the catalog, which waits for the other.
    for sql in ["drop policy own on people", "alter table secrets owner to postgres"] {
        superuser.batch_execute(sql).await.unwrap();
    }
    let told = installation.refusal(&installation.grant_for("all", &["public.secrets"])).await;
    assert!(told.contains("08006") && told.to_lowercase().contains("secrets"), "{told}");
    installation.until_made(&[]).await;
}
