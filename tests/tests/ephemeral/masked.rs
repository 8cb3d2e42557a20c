//! Where the database keeps masked columns from sessions.

use crate::installation::{Installation, cluster};
use postern_e2e::{client::sqlstate, cluster::Cluster, dev::Grant};
use std::fs;

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
async fn on_postgresql_18() {
    masks_are_enforced(&cluster(Some(18)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_17() {
    masks_are_enforced(&cluster(Some(17)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_16() {
    masks_are_enforced(&cluster(Some(16)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_14() {
    masks_are_enforced(&cluster(Some(14)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn on_postgresql_13() {
    masks_are_enforced(&cluster(Some(13)).await).await;
}

async fn masks_are_enforced(cluster: &Cluster) {
    let installation = Installation::start(cluster).await;
    let superuser = &installation.superuser;
    superuser.batch_execute(MASKED).await.unwrap();
    installation.maker_may_give_what_app_has().await;
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
    row_security_holds(&installation, &grant).await;
    what_cannot_be_kept_is_told(&installation, &grant).await;
    installation.until_made(&[]).await;
}

/// What policies let the mapped role see, its stand-in sees, and no more.
async fn row_security_holds(installation: &Installation, grant: &Grant) {
    let superuser = &installation.superuser;
    let rows = async |expected: &str| {
        let (client, _) = installation.open(grant).await;
        let found =
            client.text("select coalesce(string_agg(id::text, ',' order by id), 'none') from public.people").await;
        assert_eq!(found, expected);
    };
    superuser
        .batch_execute("insert into people values (2), (3), (4); alter table people enable row level security")
        .await
        .unwrap();
    rows("none").await;
    superuser
        .batch_execute(
            "create role readers; create role others;
             create policy two on people to app_reader, others using (id = 2);
             create policy three on people to readers using (id = 3);
             create policy four on people to others using (id = 4)",
        )
        .await
        .unwrap();
    rows("2").await;
    superuser.batch_execute("grant readers to app_reader").await.unwrap();
    rows("2,3").await;
    superuser.batch_execute("revoke readers from app_reader; alter policy four on people to public").await.unwrap();
    rows("2,4").await;
    let of = "select string_agg(polname || case when r = 0 then '' else ' ' || r::regrole::text end, ',' order by polname, r)
              from pg_policy, unnest(polroles) r where r::regrole::text !~ '^postern_masked'";
    assert_eq!(superuser.text(of).await, "four,three readers,two app_reader,two others");
    superuser
        .batch_execute("alter table people disable row level security; drop policy two on people; drop policy three on people; drop policy four on people; delete from people where id > 1")
        .await
        .unwrap();
}

async fn what_cannot_be_kept_is_told(installation: &Installation, grant: &Grant) {
    for (give, take, word) in [
        ("grant select on people to public", "revoke select on people from public", "public.people"),
        (
            "create policy own on people as restrictive to app_reader using (true)",
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
