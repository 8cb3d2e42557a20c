//! Roles that cannot read masked columns: the database itself refuses what the analysis might miss.
//!
//! Privileges add up, so that no member of the mapped role can be kept from a column. In its place stands a role of ours, which
//! has the mapped role's privileges as they are now, without what would show a masked column. It outlives sessions: a grant
//! changes the catalog, which every session would have to learn anew.
//!
//! Where a grant is for some relations, the session's own role has the mapped role's privileges on these and no others.

use super::{MakeError, Roles, Wanted, identifier, literal, workshop::Tool};
use aws_lc_rs::digest::{SHA256, digest};
use postern_dial::DialError;
use postern_sql::facts::Name;
use std::fmt::Write as _;

/// What the names of these roles begin with.
const PREFIX: &str = "postern_masked_";

/// Bytes of the hash in a name. It is of the connection, too: another may have other masks on the same database.
const HASH_BYTES: usize = 8;

/// After what is given for the whole table was taken, single columns are given.
const ROUNDS: u8 = 3;

/// What must not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The table's schema.
    pub schema: String,
    /// The table.
    pub relation: String,
    /// The column; all of them, where it is not known which.
    pub column: Option<String>,
}

/// What a session is kept to.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// What it must not read.
    pub hidden: Vec<Hidden>,
    /// All that it may touch, where its grant is for some relations.
    pub only: Option<Vec<Name>>,
}

/// Makes it so, and says which role stands in for the mapped one.
pub(super) async fn of(roles: &Roles, tool: &mut Tool, connection: &str, wanted: &Wanted) -> Result<String, MakeError> {
    let Wanted { mapped, bounds, .. } = wanted;
    let connector = super::without_kind(roles.shared.prefix.trim_end_matches('_'));
    let mut name = format!("{PREFIX}{connector}_");
    for byte in digest(&SHA256, format!("{connection}\0{mapped}").as_bytes()).as_ref().iter().take(HASH_BYTES) {
        let _ = write!(name, "{byte:02x}");
    }
    if tool.ask(&format!("SELECT FROM pg_roles WHERE rolname = {}", literal(&name))).await?.is_empty() {
        let sql = format!("CREATE ROLE {} NOLOGIN", identifier(&name));
        let made = tool.change(&sql, &sql).await;
        // Another session has just made it.
        made.or_else(|error| if is(&error, "42710") { Ok(()) } else { Err(error) })?;
    }
    give(tool, mapped, &name, bounds).await.map(|()| name)
}

/// Gives a role what the mapped one has within these bounds, and takes from it what it has besides.
pub(super) async fn give(tool: &mut Tool, mapped: &str, own: &str, bounds: &Bounds) -> Result<(), MakeError> {
    if let Some(table) = first(tool, &row_security(mapped, bounds.only.as_deref())).await? {
        return Err(MakeError::RowSecurity(table));
    }
    let mut question = differences(mapped, own, bounds);
    if bounds.only.is_none() {
        // Of the relations that a grant is for there is none.
        question = format!("{question}; {}", policies(mapped, own));
    }
    for _ in 0..ROUNDS {
        let rows = tool.ask(&question).await?;
        let statements: Vec<_> = rows.into_iter().flatten().flatten().collect();
        if statements.is_empty() {
            return Ok(());
        }
        let sql = format!("{}; {}", alone(), statements.join("; "));
        tool.change(&sql, &sql).await?;
    }
    match first(tool, &question).await? {
        None => Ok(()),
        Some(statement) => Err(MakeError::Shield(statement)),
    }
}

/// Two that change the privileges on a table at once would fail: the transaction goes on alone.
pub(super) fn alone() -> String {
    format!("SELECT pg_advisory_xact_lock(hashtextextended({}, 0))", literal(PREFIX))
}

async fn first(tool: &mut Tool, sql: &str) -> Result<Option<String>, DialError> {
    Ok(tool.ask(sql).await?.into_iter().flatten().flatten().next())
}

fn is(error: &DialError, code: &str) -> bool {
    matches!(error, DialError::Server { sqlstate, .. } if sqlstate == code)
}

/// A table with a row-security policy for the mapped role or one that it belongs to, which would not hold for another: one
/// that restricts, since it could be made while sessions run; of the relations that a grant is for any, since to change
/// whom a policy is for locks its table, which is nothing for each session to do.
fn row_security(mapped: &str, only: Option<&[Name]>) -> String {
    format!(
        "SELECT polrelid::regclass FROM pg_policy JOIN pg_class c ON c.oid = polrelid JOIN pg_namespace n ON n.oid = relnamespace \
         WHERE EXISTS (SELECT FROM unnest(polroles) AS for_role \
         WHERE for_role <> 0 AND pg_has_role({}::name, for_role, 'USAGE')) AND NOT ({} AND polpermissive) AND {} ORDER BY 1 LIMIT 1",
        literal(mapped),
        only.is_none(),
        within(only)
    )
}

/// Statements by which the policies that let the mapped role see rows let another see them, and no other policies do.
fn policies(mapped: &str, own: &str) -> String {
    POLICIES.replace("$MAPPED", &literal(mapped)).replace("$OWN", &literal(own))
}

const POLICIES: &str = "\
SELECT format('ALTER POLICY %I ON %s TO %s', polname, polrelid::regclass, coalesce((SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC'
  ELSE quote_ident(pg_get_userbyid(r)) END, ', ') FROM unnest(CASE WHEN have THEN array_remove(polroles, own) ELSE polroles || own END) AS r),
  'CURRENT_USER')) FROM pg_policy, LATERAL (SELECT oid AS own FROM pg_roles WHERE rolname = $OWN) AS role,
  LATERAL (SELECT own = ANY (polroles) AS have, polpermissive AND EXISTS (SELECT FROM unnest(polroles) AS r
    WHERE r NOT IN (0, own) AND pg_has_role($MAPPED::name, r, 'USAGE')) AS want) AS compared
WHERE want <> have ORDER BY 1";

/// Whether a session may touch the relation `c` in the schema `n`.
fn within(only: Option<&[Name]>) -> String {
    let name = |name: &Name| format!("({}, {})", literal(&name.schema), literal(&name.name));
    only.map_or("true".to_owned(), |only| {
        let names = only.iter().map(name).collect::<Vec<_>>().join(", ");
        format!("(n.nspname, c.relname) IN (SELECT s::name, r::name FROM (VALUES {names}) AS listed(s, r))")
    })
}

/// Statements that give a role what the mapped one has, and take from it what it has not, in this database; none, once it is
/// so. Views over tables with hidden columns are hidden as a whole: they read with their owner's privileges. Of what is out of
/// bounds nothing is given; what PUBLIC has there stays, but on hidden columns.
fn differences(mapped: &str, own: &str, bounds: &Bounds) -> String {
    let column = |hidden: &Hidden| {
        let column = hidden.column.as_deref().map_or("NULL".to_owned(), literal);
        format!("({}, {}, {column})", literal(&hidden.schema), literal(&hidden.relation))
    };
    let mut named = bounds.hidden.iter().map(column).collect::<Vec<_>>().join(", ");
    if named.is_empty() {
        named = "(NULL, NULL, NULL)".to_owned();
    }
    let values = [
        ("NAMED", named),
        ("WITHIN", within(bounds.only.as_deref())),
        ("ALL", bounds.only.is_none().to_string()),
        ("MAPPED", literal(mapped)),
        ("OWN", literal(own)),
    ];
    // In one pass: a name may look like one of these.
    let put = |part: &str| {
        let found = values.iter().find_map(|(name, value)| Some(format!("{value}{}", part.strip_prefix(name)?)));
        found.unwrap_or_else(|| part.to_owned())
    };
    DIFFERENCES.split('$').map(put).collect()
}

const DIFFERENCES: &str = "\
WITH RECURSIVE named(nspname, relname, attname) AS (VALUES $NAMED),
role AS (SELECT (SELECT oid FROM pg_roles WHERE rolname = $MAPPED) AS mapped, (SELECT oid FROM pg_roles WHERE rolname = $OWN) AS own),
masked AS (SELECT c.oid AS relation, a.attnum AS number FROM named JOIN pg_namespace n ON n.nspname = named.nspname::name
  JOIN pg_class c ON relnamespace = n.oid AND c.relname = named.relname::name
  JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND coalesce(a.attname = named.attname::name, true)),
through(relation) AS (SELECT relation FROM masked UNION SELECT ev_class FROM through JOIN pg_depend ON refclassid = 'pg_class'::regclass
  AND refobjid = relation AND classid = 'pg_rewrite'::regclass JOIN pg_rewrite w ON w.oid = objid),
relations AS (SELECT c.oid AS relation, n.oid AS schema, relkind, format('%I.%I', nspname, relname) AS name,
  c.oid IN (SELECT relation FROM masked) AS partly, $WITHIN AS within,
  c.oid IN (SELECT relation FROM through EXCEPT SELECT relation FROM masked) OR NOT $WITHIN AS closed
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind = ANY ('{r,p,v,m,f,S}') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND ($WITHIN OR c.oid IN (SELECT relation FROM through))),
privileges(what, want, have) AS (
  SELECT format('%s ON TABLE %s', p, name), has_table_privilege(mapped, relation, p) AND NOT closed AND NOT (partly AND p = 'SELECT'),
    has_table_privilege(own, relation, p)
  FROM role, relations, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) AS p WHERE relkind <> 'S' AND (within OR p = 'SELECT')
  UNION ALL SELECT format('%s (%I) ON TABLE %s', p, attname, name), has_column_privilege(mapped, relation, attnum, p) AND NOT closed
    AND NOT (p = 'SELECT' AND (relation, attnum) IN (SELECT * FROM masked)), has_column_privilege(own, relation, attnum, p)
  FROM role, relations JOIN pg_attribute ON attrelid = relation AND attnum > 0 AND NOT attisdropped, unnest('{SELECT,INSERT,UPDATE}'::text[]) AS p
  WHERE relkind <> 'S' AND (within OR p = 'SELECT') AND (partly OR closed OR attacl IS NOT NULL)
    AND NOT (has_table_privilege(mapped, relation, p) AND NOT closed AND NOT (partly AND p = 'SELECT'))
  UNION ALL SELECT format('%s ON SEQUENCE %s', p, name), has_sequence_privilege(mapped, relation, p), has_sequence_privilege(own, relation, p)
  FROM role, relations, unnest('{USAGE,SELECT,UPDATE}'::text[]) AS p WHERE relkind = 'S'
  UNION ALL SELECT format('USAGE ON SCHEMA %I', nspname), has_schema_privilege(mapped, oid, 'USAGE'), has_schema_privilege(own, oid, 'USAGE')
  FROM role, pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND ($ALL OR oid IN (SELECT schema FROM relations WHERE within))
  UNION ALL SELECT format('EXECUTE ON ROUTINE %s', p.oid::regprocedure), has_function_privilege(mapped, p.oid, 'EXECUTE'),
    has_function_privilege(own, p.oid, 'EXECUTE')
  FROM role, pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE $ALL AND nspname !~ '^pg_' AND nspname <> 'information_schema'
  UNION ALL SELECT format('%s ON DATABASE %I', p, current_database()), has_database_privilege(mapped, current_database(), p),
    has_database_privilege(own, current_database(), p)
  FROM role, unnest('{CONNECT,TEMPORARY}'::text[]) AS p WHERE $ALL OR p = 'CONNECT')
SELECT format(CASE WHEN want THEN 'GRANT %s TO %I' ELSE 'REVOKE %s FROM %I' END, what, $OWN) FROM privileges WHERE want <> have ORDER BY want, what";
