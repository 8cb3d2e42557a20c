//! What a session's own state makes of the same text.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{on_deep_stack, small_catalog, small_catalog_with};
use postern_sql::{
    Context, Handle, analyse, analyse_in_full,
    catalog::Query,
    context::Lexing,
    executed,
    facts::{Action, Cause, Object, Refusal, Script, Setting},
    read_only,
};

fn session() -> Context {
    Context::new(17, "reader")
}

fn ask(text: &str, session: &Context) -> Result<Script, Refusal> {
    let catalog = small_catalog();
    on_deep_stack(|| analyse(text, &catalog, session))
}

/// The relations of the last statement.
fn relations(text: &str, session: &Context) -> Vec<String> {
    let script = ask(text, session).unwrap();
    let accesses = &script.statements.last().unwrap().accesses;
    let name = |object: &Object| match object {
        Object::Relation(name) => Some(format!("{}.{}", name.schema, name.name)),
        _ => None,
    };
    accesses.iter().filter_map(|access| name(&access.object)).collect()
}

#[test]
fn the_path_decides_which_table_is_meant() {
    let mut session = session();
    assert_eq!(relations("SELECT a FROM t", &session), ["public.t"]);
    session.search_path = vec!["first".into(), "public".into()];
    assert_eq!(relations("SELECT other FROM t", &session), ["first.t"]);
    assert_eq!(ask("SELECT a FROM t", &session).unwrap_err().cause, Cause::Missing);
    session.search_path = vec!["$user".into(), "public".into()];
    session.user = "first".into();
    assert_eq!(relations("SELECT other FROM t", &session), ["first.t"]);
}

#[test]
fn schemas_that_may_not_be_used_are_passed_over() {
    let mut session = session();
    session.search_path = vec!["first".into(), "public".into()];
    session.unusable = Arc::new(["first".into()].into());
    assert_eq!(relations("SELECT a FROM t", &session), ["public.t"]);
}

#[test]
fn temporary_tables_come_first_unless_the_path_places_them() {
    let mut session = session();
    // Another session's is nobody's.
    assert_eq!(relations("SELECT a FROM t", &session), ["public.t"]);
    assert_eq!(ask("SELECT mine FROM pg_temp.t", &session).unwrap_err().cause, Cause::Missing);
    session.temp_schema = Some("pg_temp_3".into());
    assert_eq!(relations("SELECT mine FROM t", &session), ["pg_temp.t"]);
    assert_eq!(relations("SELECT mine FROM pg_temp.t", &session), ["pg_temp.t"]);
    assert_eq!(relations("SELECT mine FROM pg_temp_3.t", &session), ["pg_temp.t"]);
    assert_eq!(relations("SELECT a FROM public.t", &session), ["public.t"]);
    session.search_path = vec!["public".into(), "pg_temp".into()];
    assert_eq!(relations("SELECT a FROM t", &session), ["public.t"]);
    session.search_path = vec![];
    assert_eq!(relations("SELECT mine FROM t", &session), ["pg_temp.t"]);
}

#[test]
fn functions_are_never_looked_up_among_temporary_ones() {
    let mut session = session();
    session.temp_schema = Some("pg_temp_3".into());
    session.search_path = vec!["pg_temp".into()];
    assert!(ask("SELECT lower('A')", &session).is_ok());
    assert_eq!(ask("SELECT pg_temp.lower('A')", &session).unwrap_err().cause, Cause::Missing);
}

#[test]
fn literals_are_read_as_the_session_reads_them() {
    let crafted = "SELECT '\\'; DELETE FROM t; --'";
    let mut session = session();
    let script = ask(crafted, &session).unwrap();
    assert_eq!(script.statements.len(), 2);
    assert_eq!(script.statements[1].accesses[0].action, Action::Delete);
    session.lexing = Lexing { standard_conforming_strings: false, backslash_quote: true };
    assert_eq!(ask(crafted, &session).unwrap().statements.len(), 1);
    // `backslash_quote = off` makes the server refuse what we refuse then.
    session.lexing.backslash_quote = false;
    assert_eq!(ask(crafted, &session).unwrap_err().cause, Cause::Syntax);
    // A change in the same string comes too late for the literals and too early for us.
    let inside = "SET standard_conforming_strings = off; SELECT 1";
    assert_eq!(ask(inside, &self::session()).unwrap_err().cause, Cause::Unresolved);
}

#[test]
fn numbers_are_read_as_the_server_reads_them() {
    for (text, major, ok) in [
        ("SELECT 1_000", 15, false),
        ("SELECT 1_000", 16, true),
        ("SELECT 0x1f", 13, false),
        ("SELECT 0b11", 14, false),
        ("SELECT 0o17", 15, false),
        ("SELECT '1_000', \"0x1\" FROM (SELECT 1) AS s (\"0x1\") -- 1_000", 13, true),
    ] {
        assert_eq!(ask(text, &Context::new(major, "reader")).is_ok(), ok, "{text} on {major}");
    }
    let mut old = Context::new(13, "reader");
    old.lexing.standard_conforming_strings = false;
    assert!(ask("SELECT '\\' || 1_000 || '", &old).is_err());
}

#[test]
fn what_was_prepared_has_its_facts_when_it_is_executed() {
    let catalog = small_catalog();
    let mut session = session();
    let keep = |text: &str, session: &mut Context| {
        let analysis = on_deep_stack(|| analyse_in_full(text, &catalog, session)).unwrap();
        analysis.handles.iter().flatten().for_each(|handle| session.keep(handle));
        analysis
    };
    let analysis = keep("/* PREPARE p AS x */ PREPARE p (int) AS DELETE FROM t WHERE a = $1 -- AS\n", &mut session);
    let Handle::Prepare { name, query } = &analysis.handles[0][0] else { panic!("{analysis:?}") };
    assert_eq!((name.as_str(), query.split(" --").next().unwrap()), ("p", "DELETE FROM t WHERE a = $1"));
    assert_eq!(relations("EXECUTE p (1)", &session), ["public.t", "public.t"]);
    // The path has changed since: so has what it does.
    session.search_path = vec!["first".into()];
    assert!(ask("EXECUTE p (1)", &session).is_err());
    keep("DEALLOCATE p", &mut session);
    assert_eq!(ask("EXECUTE p (1)", &session).unwrap_err().cause, Cause::Unresolved);
    keep("PREPARE \"A b\" AS SELECT 1; PREPARE q AS SELECT 2; DEALLOCATE ALL", &mut session);
    assert!(session.prepared.is_empty());
}

#[test]
fn cursors_have_their_querys_facts() {
    let catalog = small_catalog();
    let mut session = session();
    let analysis =
        on_deep_stack(|| analyse_in_full("DECLARE c CURSOR FOR SELECT b FROM t", &catalog, &session)).unwrap();
    analysis.handles.iter().flatten().for_each(|handle| session.keep(handle));
    session.search_path = vec!["first".into()];
    assert_eq!(relations("FETCH 5 FROM c", &session), ["public.t"]);
    assert_eq!(ask("FETCH 5 FROM d", &session).unwrap_err().cause, Cause::Unresolved);
}

#[test]
fn settings_are_told_with_their_values() {
    let setting = |text: &str| ask(text, &session()).unwrap().statements[0].settings.clone();
    let is = |name: &str, value: Option<&str>, local: bool| {
        vec![Setting { name: Some(name.into()), value: value.map(Into::into), local }]
    };
    assert_eq!(setting("SET Search_Path TO A, \"B\", 'c, d'"), is("search_path", Some("a, \"B\", \"c, d\""), false));
    assert_eq!(setting("SET LOCAL statement_timeout = 5000"), is("statement_timeout", Some("5000"), true));
    assert_eq!(setting("SET jit = off"), is("jit", Some("off"), false));
    assert_eq!(setting("RESET ALL"), is("*", None, false));
}

#[test]
fn declared_parameters_count() {
    let mut session = session();
    session.parameters = vec![25, 23];
    assert!(ask("SELECT lower($1), $2 + 1", &session).is_ok());
    let script = ask("SELECT a FROM t WHERE a = $2", &session).unwrap();
    assert_eq!(read_only(&script.statements[0]), Ok(()));
}

/// A function of a user's, of which nothing is known.
fn dark(oid: &'static str, arguments: &'static str) -> [&'static str; 19] {
    let null = "NULL";
    [
        oid, "public", "dark", "f", "plpgsql", "v", "false", arguments, "0", "0", "25", "false", null, null, null,
        null, null, null, null,
    ]
}

#[test]
fn values_of_declared_types_are_made_even_if_they_are_not_used() {
    let catalog = small_catalog_with(&[
        (Query::Routines, &dark("30000", "25")),
        (Query::Types, &["20500", "public", "checked", "d", "25", "false", "0", "-1"]),
        (Query::Types, &["20501", "public", "_checked", "b", "20500", "true", "0", "-1"]),
        (Query::Extras, &["domain", "20500", "c", "NULL", "NULL", "public.dark(VALUE)"]),
    ]);
    let ask = |text: &str, parameters: &[u32]| {
        let context = Context { parameters: parameters.to_vec(), ..session() };
        on_deep_stack(|| analyse(text, &catalog, &context))
    };
    for parameters in [vec![20_500], vec![25, 20_501]] {
        let script = ask("SELECT 1", &parameters).unwrap();
        assert!(read_only(&script.statements[0]).is_err(), "{parameters:?}");
        assert_eq!(ask("", &parameters).unwrap_err().cause, Cause::Unresolved, "{parameters:?}");
    }
    let script = ask("SELECT 1", &[25, 0]).unwrap();
    assert_eq!(read_only(&script.statements[0]), Ok(()));
    assert_eq!(ask("", &[25]).unwrap().statements.len(), 0);
}

#[test]
fn event_triggers_run_on_all_that_makes_relations() {
    let catalog = small_catalog_with(&[
        (Query::Routines, &dark("30000", "")),
        (Query::Extras, &["event trigger", "NULL", "watch", "30000", "NULL", "NULL"]),
    ]);
    let calls = |text: &str| {
        let script = on_deep_stack(|| analyse(text, &catalog, &session())).unwrap();
        script.statements[0].functions.iter().any(|function| &*function.name.name == "dark")
    };
    for text in
        ["CREATE TABLE x (a int)", "CREATE TABLE x AS SELECT a FROM t", "SELECT a INTO x FROM t", "DROP TABLE t"]
    {
        assert!(calls(text), "{text}");
    }
    assert!(!calls("SELECT a FROM t") && !calls("INSERT INTO t VALUES (1, 'x')"));
}

#[test]
fn what_a_string_takes_away_hides_nothing() {
    let mut session = session();
    session.search_path = vec!["first".into(), "public".into()];
    for text in ["DROP TABLE t; DROP TABLE t", "ALTER TABLE t RENAME TO u; ALTER TABLE t ADD COLUMN x int"] {
        assert_eq!(relations(text, &session), ["first.t", "public.t"], "{text}");
    }
    let lost =
        |text: &str, session: &Context| matches!(ask(text, session), Err(Refusal { cause: Cause::Unresolved, .. }));
    for then in ["DROP TABLE t", "DELETE FROM t"] {
        for first in [
            "ROLLBACK",
            "RESET search_path",
            "DISCARD TEMP",
            "BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP; COMMIT",
        ] {
            assert!(lost(&format!("{first}; {then}"), &session), "{first}; {then}");
        }
        // The end of a transaction that has changed something may change it back.
        assert!(!lost(&format!("COMMIT; {then}"), &session), "{then}");
        session.uncommitted = true;
        assert!(lost(&format!("COMMIT; {then}"), &session), "{then}");
        session.uncommitted = false;
    }
    // What names nothing can follow anything.
    assert!(ask("ROLLBACK; BEGIN; SET work_mem = 1; COMMIT", &session).is_ok());
}

#[test]
fn what_a_message_prepared_is_executed_with_its_declared_types() {
    let mut session = session();
    session.keep_parsed("m".to_owned(), "SELECT a FROM t WHERE a = $1", &[23]);
    assert_eq!(relations("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE m (NULL)", &session), ["public.t"]);
    let reads = |session: &Context| read_only(&ask("EXECUTE m (1)", session).unwrap().statements[0]).is_ok();
    assert!(reads(&session));
    session.keep_parsed("m".to_owned(), "DELETE FROM t WHERE a = $1", &[23]);
    assert!(!reads(&session));
    // What PREPARE would not take.
    for text in ["SET search_path = first", "COMMIT", "EXECUTE m", "EXPLAIN EXECUTE m", "PREPARE n AS SELECT 1"] {
        session.keep_parsed("m".to_owned(), text, &[]);
        assert_eq!(ask("EXECUTE m", &session).unwrap_err().cause, Cause::Unresolved, "{text}");
    }
}

#[test]
fn the_parameters_of_what_is_executed_are_its_own() {
    let mut session = session();
    session.keep_parsed("m".to_owned(), "SELECT lower($1)", &[25]);
    session.parameters = vec![23];
    assert!(ask("EXECUTE m ($1)", &session).is_ok());
    session.keep_parsed("m".to_owned(), "SELECT a FROM t WHERE a = $1", &[0]);
    assert_eq!(relations("EXECUTE m ($1)", &session), ["public.t"]);
}

#[test]
fn names_that_a_text_may_execute_are_found() {
    let found = |text: &str| executed(text);
    assert_eq!(found("EXPLAIN (VERBOSE) execute sqlx_s_1 (NULL)"), ["sqlx_s_1"]);
    assert_eq!(found("eXecute /* - */ \"A\"\"b\"; EXECUTE C"), ["A\"b", "c"]);
    assert!(found("SELECT 'execute a' -- execute b").is_empty() && found("EXECUTE").is_empty());
}
