//! Statements that differ in literals are decided each as if it were the first: those that look alike and are not, too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    client::{self, Client},
    dev::Dev,
    shop::until,
};

const POLICIES: &str = r#"
@id("readers")
permit (principal, action in [Action::"connect", Action::"read"], resource);

@id("small-answers")
forbid (principal, action == Action::"read", resource) when { context.statement.limit > 10 };
"#;

async fn sqlstate(client: &Client, sql: &str) -> Option<String> {
    Some(client.batch_execute(sql).await.err()?.as_db_error().unwrap().code().code().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_look_alike_are_told_apart() {
    let dev = Dev::start(&[]);
    let file = dev.data().join("agents.cedar");
    std::fs::write(&file, POLICIES).unwrap();
    let reader = client::connect(&dev.grant("read", "30m").url).await;
    let _ = dev.admin().run(&["apply", file.to_str().unwrap()]).ok();
    until(&reader, "select id from orders limit 11", true).await;

    for number in 0..50 {
        // Each has its own answer, not that of the one before.
        let rows = reader.simple_query(&format!("select {number} + 1, '{number}' where {number} < 40")).await.unwrap();
        let row = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some((row.get(0)?.to_owned(), row.get(1)?.to_owned())),
            _ => None,
        });
        assert_eq!(row, (number < 40).then(|| ((number + 1).to_string(), number.to_string())));
        // What a literal decides is decided by its own value each time.
        let limited = format!("select id from orders where id > {number} limit {number}");
        assert_eq!(sqlstate(&reader, &limited).await.as_deref(), (number > 10).then_some("42501"), "{limited}");
    }
    // The first of each is known by now. The others are no such statements.
    for (known, other, expected) in [
        ("select id from orders where id = 1", "select id from orders where id = 1; delete from orders", "42501"),
        ("select id from orders where id = 1", "delete from orders where id = 1", "42501"),
        ("select id from orders where id = 1", "select id from orders where id = 1 for update", "42501"),
        ("select id from orders where id = 1", "select id from orders where id = 1a", "42601"),
        ("select 'a' where 'a' = 'b'", "select 'a' where 'a' = ''; delete from orders; --'", "42501"),
        ("select 'a' where 'a' = 'b'", "select 'a' where 'a' = E'\\'; delete from orders; --'", ""),
        ("select 'a' where 'a' = 'b'", "select 'a' where 'a' = $$b$$; delete from orders; --$$", "42501"),
        ("select lower('a') from orders where id = 1", "select pg_sleep('1') from orders where id = 1", "42501"),
        ("select set_config('work_mem', '8MB', false)", "select set_config('role', 'postgres', false)", "42501"),
        (
            "select set_config(name, '8MB', false) from pg_settings where name = 'work_mem'",
            "select set_config(name, 'postgres', false) from pg_settings where name = 'role'",
            "42501",
        ),
    ] {
        for _ in 0..2 {
            assert_eq!(sqlstate(&reader, known).await, None, "{known}");
        }
        assert_eq!(sqlstate(&reader, other).await.unwrap_or_default(), expected, "{other}");
    }
    // A backslash means something else from now on.
    reader.batch_execute("set standard_conforming_strings = off").await.unwrap();
    assert_eq!(sqlstate(&reader, "select 'a' where 'a' = 'b\\'; delete from orders; --'").await, None);
    reader.batch_execute("set standard_conforming_strings = on").await.unwrap();
    let told = sqlstate(&reader, "select 'a' where 'a' = 'b\\'; delete from orders; --'").await;
    assert_eq!(told.as_deref(), Some("42501"));
}
