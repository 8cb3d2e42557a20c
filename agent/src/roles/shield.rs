//! Roles that cannot read masked columns: the database itself refuses what the analysis might miss.
//!
//! Privileges add up, so that no member of the mapped role can be kept from a column. In its place stands a role of ours, which
//! has the mapped role's privileges as they are now, without what would show a masked column. It outlives sessions: a grant
//! changes the catalog, which every session would have to learn anew.

use super::{MakeError, Roles, Wanted, identifier, literal, workshop::Tool};
use aws_lc_rs::digest::{SHA256, digest};
use postern_dial::DialError;
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

/// Makes it so, and says which role stands in for the mapped one.
pub(super) async fn of(roles: &Roles, tool: &mut Tool, wanted: &Wanted) -> Result<String, MakeError> {
    let Wanted { connection, mapped, hidden, .. } = wanted;
    let connector = super::without_kind(roles.shared.prefix.trim_end_matches('_'));
    let mut name = format!("{PREFIX}{connector}_");
    for byte in digest(&SHA256, format!("{connection}\0{mapped}").as_bytes()).as_ref().iter().take(HASH_BYTES) {
        let _ = write!(name, "{byte:02x}");
    }
    if tool.ask(&format!("SELECT FROM pg_roles WHERE rolname = {}", literal(&name))).await?.is_empty() {
        let made = tool.ask(&format!("CREATE ROLE {} NOLOGIN", identifier(&name))).await;
        // Another session has just made it.
        made.map(drop).or_else(|error| if is(&error, "42710") { Ok(()) } else { Err(error) })?;
    }
    if let Some(table) = first(tool, &row_security(mapped)).await? {
        return Err(MakeError::RowSecurity(table));
    }
    let question = differences(mapped, &name, hidden);
    for _ in 0..ROUNDS {
        let rows = tool.ask(&question).await?;
        let statements: Vec<_> = rows.into_iter().flatten().flatten().collect();
        if statements.is_empty() {
            return Ok(name);
        }
        // Two that change the same table at once would fail.
        let lock = format!("SELECT pg_advisory_xact_lock(hashtextextended({}, 0))", literal(PREFIX));
        tool.ask(&format!("{lock}; {}", statements.join("; "))).await?;
    }
    match first(tool, &question).await? {
        None => Ok(name),
        Some(statement) => Err(MakeError::Shield(statement)),
    }
}

async fn first(tool: &mut Tool, sql: &str) -> Result<Option<String>, DialError> {
    Ok(tool.ask(sql).await?.into_iter().flatten().flatten().next())
}

fn is(error: &DialError, code: &str) -> bool {
    matches!(error, DialError::Server { sqlstate, .. } if sqlstate == code)
}

/// A table with a row-security policy for the mapped role or one that it belongs to: for others it would not hold.
fn row_security(mapped: &str) -> String {
    format!(
        "SELECT polrelid::regclass FROM pg_policy WHERE EXISTS (SELECT FROM unnest(polroles) AS for_role \
         WHERE for_role <> 0 AND pg_has_role({}::name, for_role, 'USAGE')) ORDER BY 1 LIMIT 1",
        literal(mapped)
    )
}

/// Statements that give a role what the mapped one has, and take from it what it has not, in this database; none, once it is
/// so. Views over tables with hidden columns are hidden as a whole: they read with their owner's privileges.
fn differences(mapped: &str, own: &str, hidden: &[Hidden]) -> String {
    let column = |hidden: &Hidden| {
        let column = hidden.column.as_deref().map_or("NULL".to_owned(), literal);
        format!("({}, {}, {column})", literal(&hidden.schema), literal(&hidden.relation))
    };
    let named = hidden.iter().map(column).collect::<Vec<_>>().join(", ");
    DIFFERENCES.replace("$NAMED", &named).replace("$MAPPED", &literal(mapped)).replace("$OWN", &literal(own))
}

const DIFFERENCES: &str = "\
WITH RECURSIVE named(nspname, relname, attname) AS (VALUES $NAMED),
role AS (SELECT (SELECT oid FROM pg_roles WHERE rolname = $MAPPED) AS mapped, (SELECT oid FROM pg_roles WHERE rolname = $OWN) AS own),
masked AS (SELECT c.oid AS relation, a.attnum AS number FROM named JOIN pg_namespace n ON n.nspname = named.nspname::name
  JOIN pg_class c ON relnamespace = n.oid AND c.relname = named.relname::name
  JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND coalesce(a.attname = named.attname::name, true)),
through(relation) AS (SELECT relation FROM masked UNION SELECT ev_class FROM through JOIN pg_depend ON refclassid = 'pg_class'::regclass
  AND refobjid = relation AND classid = 'pg_rewrite'::regclass JOIN pg_rewrite w ON w.oid = objid),
relations AS (SELECT c.oid AS relation, relkind, format('%I.%I', nspname, relname) AS name, c.oid IN (SELECT relation FROM masked) AS partly,
  c.oid IN (SELECT relation FROM through EXCEPT SELECT relation FROM masked) AS closed
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind = ANY ('{r,p,v,m,f,S}') AND nspname !~ '^pg_' AND nspname <> 'information_schema'),
privileges(what, want, have) AS (
  SELECT format('%s ON TABLE %s', p, name), has_table_privilege(mapped, relation, p) AND NOT closed AND NOT (partly AND p = 'SELECT'),
    has_table_privilege(own, relation, p)
  FROM role, relations, unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS p WHERE relkind <> 'S'
  UNION ALL SELECT format('%s (%I) ON TABLE %s', p, attname, name), has_column_privilege(mapped, relation, attnum, p) AND NOT closed
    AND NOT (p = 'SELECT' AND (relation, attnum) IN (SELECT * FROM masked)), has_column_privilege(own, relation, attnum, p)
  FROM role, relations JOIN pg_attribute ON attrelid = relation AND attnum > 0 AND NOT attisdropped, unnest('{SELECT,INSERT,UPDATE}'::text[]) AS p
  WHERE relkind <> 'S' AND (partly OR closed OR attacl IS NOT NULL)
    AND NOT (has_table_privilege(mapped, relation, p) AND NOT closed AND NOT (partly AND p = 'SELECT'))
  UNION ALL SELECT format('%s ON SEQUENCE %s', p, name), has_sequence_privilege(mapped, relation, p), has_sequence_privilege(own, relation, p)
  FROM role, relations, unnest('{USAGE,SELECT,UPDATE}'::text[]) AS p WHERE relkind = 'S'
  UNION ALL SELECT format('USAGE ON SCHEMA %I', nspname), has_schema_privilege(mapped, oid, 'USAGE'), has_schema_privilege(own, oid, 'USAGE')
  FROM role, pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
  UNION ALL SELECT format('EXECUTE ON ROUTINE %s', p.oid::regprocedure), has_function_privilege(mapped, p.oid, 'EXECUTE'),
    has_function_privilege(own, p.oid, 'EXECUTE')
  FROM role, pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
  UNION ALL SELECT format('%s ON DATABASE %I', p, current_database()), has_database_privilege(mapped, current_database(), p),
    has_database_privilege(own, current_database(), p)
  FROM role, unnest('{CONNECT,TEMPORARY}'::text[]) AS p)
SELECT format(CASE WHEN want THEN 'GRANT %s TO %I' ELSE 'REVOKE %s FROM %I' END, what, $OWN) FROM privileges WHERE want <> have ORDER BY want, what";
