//! Ways around the masks: what shows values of columns that the statement does not name, or runs code that nobody has
//! looked at. They are closed to whoever has anything masked on the connection.

use crate::{
    guards,
    plan::Sight,
    refused::{self, Refused},
};
use postern_sql::facts::{Access, Action, Function, Name, Object, Standing, Statement};

const SYSTEM: &str = "pg_catalog";

/// Relations of the server that hold what stands in others, or what others do; and the column that does, if it is one.
const TELLING: [(&str, Option<&str>); 7] = [
    ("pg_largeobject", None),
    ("pg_stat_activity", Some("query")),
    ("pg_statistic", None),
    ("pg_statistic_ext_data", None),
    ("pg_stats", None),
    ("pg_stats_ext", None),
    ("pg_stats_ext_exprs", None),
];

/// Functions of the server that read what their text or arguments name, or show what others do.
const TELLERS: [&str; 9] = [
    "loread",
    "pg_read_binary_file",
    "pg_read_file",
    "pg_read_file_old",
    "pg_stat_file",
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "ts_rewrite",
    "ts_stat",
];

/// The same, by how they begin.
const TELLERS_BEGIN: [&str; 4] = ["dblink", "lo_", "pg_logical_slot_", "pg_ls_"];

/// Statements that change the schema, or the server, and neither make code that the database runs for others nor reach
/// out of it. All others of them are refused.
const PLAIN_CHANGES: [&str; 34] = [
    "ALTER INDEX",
    "ALTER MATERIALIZED VIEW",
    "ALTER SCHEMA",
    "ALTER SEQUENCE",
    "ALTER TABLE",
    "ALTER TYPE",
    "ALTER VIEW",
    "ANALYZE",
    "CHECKPOINT",
    "CLUSTER",
    "COMMENT",
    "CREATE INDEX",
    "CREATE MATERIALIZED VIEW",
    "CREATE ROLE",
    "CREATE SCHEMA",
    "CREATE SEQUENCE",
    "CREATE TABLE",
    "CREATE TABLE AS",
    "CREATE TYPE",
    "CREATE VIEW",
    "DISCARD ALL",
    "DISCARD TEMP",
    "DROP ROLE",
    "GRANT",
    "GRANT ROLE",
    "LOCK TABLE",
    "REFRESH MATERIALIZED VIEW",
    "REINDEX",
    "RESET",
    "REVOKE",
    "REVOKE ROLE",
    "SELECT INTO",
    "SET",
    "VACUUM",
];

/// Those of them that tell nothing about the values of the relation that they change.
const BLIND_CHANGES: [&str; 9] = [
    "ANALYZE",
    "CLUSTER",
    "COMMENT",
    "GRANT",
    "LOCK TABLE",
    "REFRESH MATERIALIZED VIEW",
    "REINDEX",
    "REVOKE",
    "VACUUM",
];

/// Statements with data, which may need `admin` for a function that they call: functions are told by their names.
const WITH_DATA: [&str; 14] = [
    "CALL",
    "DECLARE CURSOR",
    "DELETE",
    "EXECUTE",
    "EXPLAIN",
    "FETCH",
    "INSERT",
    "MERGE",
    "MOVE",
    "PREPARE",
    "SELECT",
    "SHOW",
    "TRUNCATE TABLE",
    "UPDATE",
];

/// What `LISTEN` is told by.
const LISTENS: &str = "listens to ";

/// Whether a statement goes no way around the masks.
///
/// # Errors
/// Which one it goes, if anything is masked for whoever sent it.
pub(crate) fn none(statement: &Statement, sight: &mut Sight<'_>) -> Result<(), Refused> {
    let by = |guard: &str, found: Option<Refused>| found.filter(|_| guards::stops(guard));
    let found = by(guards::RELATIONS, by_relation(statement, sight))
        .or_else(|| by(guards::FUNCTIONS, by_function(statement, sight)))
        .or_else(|| by(guards::CHANNELS, by_channel(statement, sight)))
        .or_else(|| by(guards::CHANGES, by_change(statement, sight)));
    match found {
        Some(refused) if sight.hides_anything() => Err(refused),
        _ => Ok(()),
    }
}

/// What of the server's own a statement uses that shows values of relations which it does not name, or statements of others.
#[must_use]
pub fn shows_others(statement: &Statement) -> Option<&Name> {
    let relations = statement.accesses.iter().filter_map(relation).filter(|name| is_telling(statement, name));
    let functions = statement.functions.iter().map(|function| &function.name).filter(|name| is_teller(name));
    relations.chain(functions).next()
}

fn by_relation(statement: &Statement, sight: &Sight<'_>) -> Option<Refused> {
    let listed = &sight.rules.safe.relations;
    let mut named = statement.accesses.iter().filter_map(relation).filter(|name| !listed.contains(*name));
    named.find_map(|name| {
        let what = if &*name.schema == "pg_toast" {
            "holds long values of other relations"
        } else if sight.rules.foreign.contains(name) {
            "is a foreign table, whose rows come from where nothing is masked"
        } else if &*name.name == "pg_stat_statements" || is_telling(statement, name) {
            "shows values of other relations or statements of others"
        } else {
            return None;
        };
        Some(refused::relation(statement, name, what))
    })
}

fn is_telling(statement: &Statement, name: &Name) -> bool {
    let telling = TELLING.iter().find(|(telling, _)| &*name.schema == SYSTEM && *telling == &*name.name);
    telling.is_some_and(|(_, column)| {
        let uses = |column: &str| {
            let mut uses = statement.columns.iter().filter(|used| used.relation == *name);
            uses.any(|used| used.column.as_deref().is_none_or(|used| used == column))
        };
        column.is_none_or(uses)
    })
}

fn by_function(statement: &Statement, sight: &Sight<'_>) -> Option<Refused> {
    let listed = &sight.rules.safe.functions;
    statement.functions.iter().filter(|function| !listed.contains(&function.name)).find_map(|function| {
        let Function { name, standing, .. } = function;
        if statement.tag == "DO" {
            return Some(refused::around(
                statement,
                "it is not known what a block of code reads",
                "Send its statements one by one",
            ));
        }
        let what = if *standing == Standing::Unknown {
            "could read it: it is not known what it does"
        } else if is_teller(name) {
            "shows values of other relations, files or statements of others"
        } else {
            return None;
        };
        Some(refused::function(statement, name, what))
    })
}

fn is_teller(Name { schema, name }: &Name) -> bool {
    let begins = || TELLERS_BEGIN.iter().any(|begin| name.starts_with(begin));
    &**schema == SYSTEM && (TELLERS.contains(&&**name) || begins() || name.contains("_to_xml"))
}

fn by_channel(statement: &Statement, sight: &Sight<'_>) -> Option<Refused> {
    let channels = statement.effects.iter().filter_map(|effect| effect.strip_prefix(LISTENS));
    let mut unlisted = channels.filter(|channel| !sight.rules.safe.channels.contains(*channel));
    unlisted.next().map(|channel| refused::channel(statement, channel))
}

fn by_change(statement: &Statement, sight: &Sight<'_>) -> Option<Refused> {
    let changes = |access: &&Access| matches!(access.action, Action::Ddl | Action::Admin);
    let mut changed = statement.accesses.iter().filter(changes).peekable();
    changed.peek()?;
    let tag = statement.tag;
    if tag == "COPY" {
        return Some(refused::around(
            statement,
            "files and programs of the server hold values as they are",
            "Use COPY … TO STDOUT or FROM STDIN",
        ));
    }
    if WITH_DATA.contains(&tag) {
        return None;
    }
    let drops = tag.starts_with("DROP ");
    if !drops && !PLAIN_CHANGES.contains(&tag) {
        return Some(refused::around(
            statement,
            "this makes code that the database runs, or reaches out of it",
            "Leave it to whoever owns the schema",
        ));
    }
    if drops || BLIND_CHANGES.contains(&tag) {
        return None;
    }
    let name = changed.filter_map(relation).find(|name| sight.hides_of(name))?;
    Some(refused::around(
        statement,
        &format!("constraints, indexes and types of {}.{} tell about its values", name.schema, name.name),
        "Leave it to whoever owns the schema",
    ))
}

fn relation(access: &Access) -> Option<&Name> {
    match &access.object {
        Object::Relation(name) => Some(name),
        _ => None,
    }
}
