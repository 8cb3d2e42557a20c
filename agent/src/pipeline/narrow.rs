//! Grants that are narrowed to some relations: their sessions read and write these and nothing else, whatever the policies
//! permit.
//!
//! What counts is what the session's own role would need privileges on. A view that is named shows what its owner lets it
//! show, a cascade goes as far as the owner of the table has it go. What cannot be told to stay within is refused: a function
//! of which it is not known what it does, unless a trigger of a named table runs it, and any change of the schema but of the
//! session's own temporary tables, by which names could come to mean something else.

use postern_sql::{
    Catalog, Context, analyse,
    catalog::{Relation, RelationKind},
    facts::{self, Access, Action, Name, Object},
};
use postern_wire::error::Report;
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

/// The most that are named in an error.
const SHOWN: usize = 5;

/// Schemas of the server's own relations: to read them is for the policies to permit.
const SYSTEM: [&str; 2] = ["pg_catalog", "information_schema"];

/// The schema of a session's own temporary relations.
const TEMPORARY: &str = "pg_temp";

/// What may be made of the session's own in it: nothing that runs code when it is used.
const MAKES_OWN: [&str; 6] =
    ["ANALYZE", "CREATE INDEX", "CREATE TABLE", "CREATE TABLE AS", "DROP TABLE", "SELECT INTO"];

/// What a session is narrowed to.
#[derive(Debug)]
pub struct Narrow {
    /// As the grant has it.
    named: Vec<String>,
    /// How more is asked for.
    ask: String,
    reach: Reach,
}

/// What those names stand for in a database: while it is not known, nothing.
#[derive(Debug, Default)]
pub struct Reach {
    /// The relations.
    relations: BTreeSet<Name>,
    /// The sequences that their columns' defaults draw on.
    sequences: BTreeSet<Name>,
    /// What their triggers run and nothing else can.
    triggers: BTreeSet<Name>,
}

impl Reach {
    /// All that may be touched.
    pub fn all(&self) -> impl Iterator<Item = &Name> {
        self.relations.union(&self.sequences)
    }
}

impl Narrow {
    /// To these, if any are named. More is asked for by this command.
    #[must_use]
    pub fn to(named: &[String], ask: String) -> Option<Self> {
        (!named.is_empty()).then(|| Self { named: named.to_vec(), ask, reach: Reach::default() })
    }

    /// Finds what the names stand for.
    ///
    /// # Errors
    /// When one of them stands for nothing.
    pub fn resolve(&mut self, catalog: &Catalog, major: u16) -> Result<&Reach, Report> {
        let mut reach = Reach::default();
        let mut functions = HashSet::new();
        for named in &self.named {
            let relation = named_relation(catalog, named).ok_or_else(|| self.unknown(named))?;
            reach.relations.insert(relation.name.clone());
            reach.sequences.extend(drawn_on(catalog, major, relation));
            functions.extend(relation.triggers.iter().map(|trigger| trigger.function));
        }
        // By its name another with arguments could be called.
        let alone = |oid: &u32| {
            let name = &catalog.routine_by_oid(*oid)?.name;
            let mut others = catalog.routines(&name.name).filter(|other| other.name == *name);
            others.all(|other| functions.contains(&other.oid)).then(|| name.clone())
        };
        reach.triggers = functions.iter().filter_map(alone).collect();
        self.reach = reach;
        Ok(&self.reach)
    }

    fn unknown(&self, named: &str) -> Report {
        Report {
            sqlstate: "42P01".to_owned(),
            message: format!("the grant is for the relation \"{named}\", which does not exist in this database"),
            detail: "Relations are named as the database has them, with their schema: public.orders.".to_owned(),
            hint: format!("Ask for those that there are: {}", self.ask),
        }
    }

    /// Whether a statement stays within.
    ///
    /// # Errors
    /// What leads out.
    pub fn admit(&self, statement: &facts::Statement) -> Result<(), Report> {
        if let Some(name) = postern_mask::shows_others(statement) {
            return Err(self.refused(statement, &format!("{}.{} shows values of others", name.schema, name.name)));
        }
        let makes_own = MAKES_OWN.contains(&statement.tag);
        let beyond = statement.accesses.iter().find(|access| !self.includes(access, makes_own));
        beyond.map_or(Ok(()), |Access { action, object, .. }| {
            Err(self.refused(statement, &format!("{} on {object}", action.as_str())))
        })
    }

    fn includes(&self, access: &Access, makes_own: bool) -> bool {
        let Reach { relations, sequences, triggers } = &self.reach;
        match (&access.object, access.action) {
            (Object::Function(name), Action::Call) => triggers.contains(name),
            (Object::Relation(name), Action::Read) if SYSTEM.contains(&&*name.schema) => true,
            (Object::Relation(name), Action::Ddl) => makes_own && &*name.schema == TEMPORARY,
            (Object::Relation(name), _) => {
                relations.contains(name) || sequences.contains(name) || &*name.schema == TEMPORARY
            }
            _ => false,
        }
    }

    fn refused(&self, statement: &facts::Statement, what: &str) -> Report {
        let mut named = self.named.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        if self.named.len() > SHOWN {
            named = format!("{named} and {} others", self.named.len() - SHOWN);
        }
        Report {
            sqlstate: "42501".to_owned(),
            message: format!("permission denied by Postern: the grant is for {named} alone: {what}"),
            detail: format!("Refused was the {} statement at byte {}.", statement.tag, statement.span.start),
            hint: format!("Stay with what the grant is for, or ask for more: {}", self.ask),
        }
    }
}

/// `schema.name`, as the catalog has them.
fn named_relation<'a>(catalog: &'a Catalog, named: &str) -> Option<&'a Relation> {
    use RelationKind::{Foreign, Matview, Partitioned, Sequence, Table, View};
    let (schema, name) = named.split_once('.')?;
    let relation = catalog.relation(schema, name)?;
    matches!(relation.kind, Table | Partitioned | View | Matview | Foreign | Sequence).then_some(relation)
}

/// The sequences that a relation owns, and those that an INSERT without values would advance.
fn drawn_on(catalog: &Catalog, major: u16, relation: &Relation) -> BTreeSet<Name> {
    let is_sequence = |name: &Name| {
        catalog.relation(&name.schema, &name.name).is_some_and(|found| found.kind == RelationKind::Sequence)
    };
    let quoted = |part: &Arc<str>| format!("\"{}\"", part.replace('"', "\"\""));
    let insert =
        format!("INSERT INTO {}.{} DEFAULT VALUES", quoted(&relation.name.schema), quoted(&relation.name.name));
    let analysis = analyse(&insert, catalog, &Context::new(major, ""));
    // What takes no rows has no defaults.
    let statements = analysis.map(|script| script.statements).unwrap_or_default();
    let advanced = statements.into_iter().flat_map(|statement| statement.accesses).filter_map(|access| match access {
        Access { action: Action::Update, object: Object::Relation(name), .. } => Some(name),
        _ => None,
    });
    let owned = catalog.user_relations().filter(|other| other.belongs_to == Some(relation.oid));
    owned.map(|other| other.name.clone()).chain(advanced).filter(is_sequence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::policy::Policy;
    use postern_sql::catalog::{Builder, Query};

    /// `orders`, whose trigger runs `touch` and whose numbers come of two sequences, one its own; `secrets`, which the view
    /// `shown` shows; and a few of the server's own.
    fn catalog() -> Catalog {
        let mut builder = Builder::new(None);
        let mut rows = |query: Query, row: &str| {
            let row: Vec<_> = row.split('|').map(|value| Some(value).filter(|value| *value != "-")).collect();
            builder.row(query, &row).unwrap();
        };
        for (oid, name) in [("11", "pg_catalog"), ("2200", "public")] {
            rows(Query::Schemas, &format!("{oid}|{name}"));
        }
        for (oid, name) in
            [("16", "bool"), ("20", "int8"), ("23", "int4"), ("25", "text"), ("2205", "regclass"), ("2279", "trigger")]
        {
            rows(Query::Types, &format!("{oid}|pg_catalog|{name}|b|0|false|0|-1"));
        }
        let definition = "SELECT secrets.id FROM public.secrets";
        for (oid, schema, name, kind, definition, owner) in [
            ("16400", "public", "orders", "r", "-", "-"),
            ("16401", "public", "orders_id_seq", "S", "-", "16400"),
            ("16402", "public", "shared", "S", "-", "-"),
            ("16403", "public", "other", "S", "-", "-"),
            ("16410", "public", "secrets", "r", "-", "-"),
            ("16430", "public", "shown", "v", definition, "-"),
            ("1259", "pg_catalog", "pg_class", "r", "-", "-"),
            ("12000", "pg_catalog", "pg_stats", "v", "-", "-"),
        ] {
            rows(Query::Relations, &format!("{oid}|{schema}|{name}|{kind}|p|u|false|0|{definition}|{owner}|-"));
            rows(Query::Columns, &format!("{oid}|1|id|23|-||false|-1"));
        }
        rows(Query::Operators, "=|pg_catalog|23|23|16|65|96");
        rows(Query::Columns, "16400|2|number|23|nextval('public.shared'::regclass)||false|-1");
        for (oid, schema, name, language, args, result) in [
            ("65", "pg_catalog", "int4eq", "internal", "23 23", "16"),
            ("1574", "pg_catalog", "nextval", "internal", "2205", "20"),
            ("2626", "pg_catalog", "pg_sleep", "internal", "23", "20"),
            ("16500", "public", "touch", "plpgsql", "", "2279"),
            ("16501", "public", "other", "plpgsql", "", "2279"),
            ("16502", "public", "twice", "plpgsql", "", "2279"),
            ("16503", "public", "twice", "plpgsql", "23", "23"),
        ] {
            let rest = "0|0|{result}|false|-|-|-|-|-|-|-".replace("{result}", result);
            rows(Query::Routines, &format!("{oid}|{schema}|{name}|f|{language}|v|false|{args}|{rest}"));
        }
        for (table, name, function, of) in [
            ("16400", "touch", "16500", "orders"),
            ("16410", "other", "16501", "secrets"),
            ("16410", "twice", "16502", "secrets"),
        ] {
            let definition =
                format!("CREATE TRIGGER {name} BEFORE INSERT ON public.{of} FOR EACH ROW EXECUTE FUNCTION {name}()");
            rows(Query::Extras, &format!("trigger|{table}|{name}|{function}|7|{definition}"));
        }
        builder.build()
    }

    fn narrow(named: &[&str]) -> Narrow {
        let named: Vec<_> = named.iter().map(|name| (*name).to_owned()).collect();
        Narrow::to(&named, "`postern request demo`".to_owned()).unwrap()
    }

    /// What is said of a text's statements, for a grant for these.
    fn says(named: &[&str], text: &str) -> Result<(), Report> {
        let (catalog, mut narrow) = (catalog(), narrow(named));
        narrow.resolve(&catalog, 18).unwrap();
        let script =
            analyse(text, &catalog, &Context::new(18, "u")).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        script.statements.iter().try_for_each(|statement| narrow.admit(&Policy::told(statement)))
    }

    #[test]
    fn what_is_not_named_is_refused() {
        for text in [
            "SELECT * FROM public.secrets",
            "SELECT * FROM orders WHERE id IN (SELECT id FROM secrets)",
            "WITH s AS (SELECT * FROM secrets) SELECT 1 FROM orders",
            "INSERT INTO orders (id) SELECT id FROM secrets",
            "INSERT INTO secrets (id) VALUES (1)",
            "UPDATE orders SET id = s.id FROM secrets s",
            "DELETE FROM secrets",
            "TRUNCATE secrets",
            "COPY secrets TO STDOUT",
            "LOCK TABLE secrets",
            "EXPLAIN SELECT * FROM secrets",
            "PREPARE p AS SELECT * FROM secrets",
            "DECLARE c CURSOR FOR SELECT * FROM secrets",
            "SELECT * FROM shown",
            "CREATE TEMP TABLE t AS SELECT * FROM secrets",
            "CREATE TEMP VIEW t AS SELECT * FROM orders",
            "CREATE TABLE public.t (id int)",
            "CREATE VIEW public.t AS SELECT * FROM orders",
            "ALTER TABLE orders RENAME TO secrets2",
            "DROP TABLE orders",
            "SELECT pg_sleep(1)",
            "SELECT nextval('other')",
            "SELECT * FROM pg_stats",
            "DO 'BEGIN END'",
            "SET ROLE u",
            "UPDATE pg_class SET id = 1",
        ] {
            let report = says(&["public.orders"], text).expect_err(text);
            assert_eq!(report.sqlstate, "42501", "{text}");
            assert!(report.message.contains("the grant is for public.orders alone: "), "{report:?}");
            assert!(report.hint.contains("`postern request demo`"), "{report:?}");
        }
        let report = says(&["public.orders"], "SELECT * FROM secrets").unwrap_err();
        assert!(report.message.ends_with(": read on public.secrets"), "{report:?}");
    }

    #[test]
    fn what_is_named_is_not() {
        for text in [
            "SELECT * FROM public.orders o JOIN orders USING (id)",
            "INSERT INTO orders (id) VALUES (1)",
            "UPDATE orders SET id = 2",
            "DELETE FROM orders",
            "TRUNCATE orders",
            "COPY orders TO STDOUT",
            "LOCK TABLE orders",
            "SELECT nextval('shared'), nextval('orders_id_seq')",
            "SELECT id FROM pg_class",
            "CREATE TEMP TABLE t AS SELECT * FROM orders",
            "SET search_path = public",
            "BEGIN",
            "SELECT 1",
        ] {
            says(&["public.orders"], text).unwrap_or_else(|report| panic!("{text}: {report:?}"));
        }
        // A view shows what its owner may see, and no more than itself.
        says(&["public.shown"], "SELECT * FROM shown").unwrap();
        says(&["public.shown"], "SELECT * FROM secrets").unwrap_err();
        says(&["public.secrets", "public.orders"], "SELECT * FROM secrets, orders").unwrap();
    }

    #[test]
    fn a_trigger_runs_where_nothing_else_could_run_it() {
        says(&["public.orders"], "INSERT INTO orders (id) VALUES (1)").unwrap();
        // Of `twice` there is one with an argument, which a statement could call.
        let report = says(&["public.secrets"], "INSERT INTO secrets (id) VALUES (1)").unwrap_err();
        assert!(report.message.ends_with("call on public.twice"), "{report:?}");
    }

    #[test]
    fn until_it_is_resolved_there_is_nothing() {
        let (catalog, narrow) = (catalog(), narrow(&["public.orders"]));
        let script = analyse("SELECT * FROM orders", &catalog, &Context::new(18, "u")).unwrap();
        narrow.admit(&script.statements[0]).unwrap_err();
        assert!(Narrow::to(&[], String::new()).is_none());
    }

    #[test]
    fn what_does_not_exist_is_told() {
        for named in ["public.missing", "orders", "other.orders", "public.", ""] {
            let report = narrow(&["public.orders", named]).resolve(&catalog(), 18).unwrap_err();
            assert_eq!(report.sqlstate, "42P01");
            assert!(report.message.contains(&format!("\"{named}\"")), "{report:?}");
        }
        let catalog = catalog();
        let mut narrow = narrow(&["public.orders"]);
        let reach = narrow.resolve(&catalog, 18).unwrap();
        let sequences: Vec<_> = reach.sequences.iter().map(|name| &*name.name).collect();
        assert_eq!(sequences, ["orders_id_seq", "shared"]);
    }
}
