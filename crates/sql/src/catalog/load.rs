//! How a connector loads a snapshot: the queries, and the builder that takes their rows.
//!
//! The queries run in one transaction, `REPEATABLE READ, READ ONLY`, under [`SETTINGS`], which make PostgreSQL print every
//! name in full. Every column is text; arrays are in PostgreSQL's own text form.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use crate::{
    catalog::{
        Cast, Catalog, Column, ForeignKey, FunctionKind, Generated, Operator, Part, Persistence, Policy, Relation,
        RelationKind, Routine, Rule, Trigger, Type, TypeKind, array,
    },
    facts::{Name, Volatility},
};

/// The settings under which the queries run, for their transaction. The temporary schema comes last, where it would come
/// first: nothing in it can stand in for what the queries name.
pub const SETTINGS: [(&str, &str); 2] = [("search_path", "pg_catalog, pg_temp"), ("quote_all_identifiers", "off")];

/// Which of the queries, and so which columns a row has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Query {
    /// Schemas.
    Schemas,
    /// Types.
    Types,
    /// Relations.
    Relations,
    /// Columns.
    Columns,
    /// Functions and procedures.
    Routines,
    /// Operators.
    Operators,
    /// Casts.
    Casts,
    /// Triggers, rules, policies, constraints, index expressions.
    Extras,
}

/// The queries for a server of this major version, in the order in which the builder wants their rows. Their one
/// parameter `$1` is an object id as a bigint: rows of objects from it on are wanted, 0 for all,
/// [`super::FIRST_USER_OID`] where the half that came with the server is known already.
#[must_use]
pub fn queries(major: u16) -> Vec<(Query, String)> {
    let body = if major >= 14 { "coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)" } else { "p.prosrc" };
    let multirange = if major >= 14 {
        "WHEN 'm' THEN (SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid)"
    } else {
        ""
    };
    vec![
        (Query::Schemas, SCHEMAS.into()),
        (Query::Types, TYPES.replace("{multirange}", multirange)),
        (Query::Relations, RELATIONS.into()),
        (Query::Columns, COLUMNS.into()),
        (Query::Routines, ROUTINES.replace("{body}", body)),
        (Query::Operators, OPERATORS.into()),
        (Query::Casts, CASTS.into()),
        (Query::Extras, EXTRAS.into()),
    ]
}

const SCHEMAS: &str = "SELECT oid::text, nspname::text FROM pg_catalog.pg_namespace";

const TYPES: &str = "\
SELECT t.oid::text, n.nspname::text, t.typname::text, t.typtype::text,
       CASE t.typtype WHEN 'd' THEN t.typbasetype
            WHEN 'r' THEN (SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid)
            {multirange} ELSE t.typelem END::text,
       (t.typcategory = 'A')::text, t.typrelid::text, t.typtypmod::text
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid::bigint >= $1";

const RELATIONS: &str = "\
SELECT c.oid::text, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
       pg_catalog.pg_get_userbyid(c.relowner)::text, c.relrowsecurity::text, c.reltype::text,
       CASE WHEN c.relkind IN ('v', 'm') AND c.oid::bigint >= 16384 THEN pg_catalog.pg_get_viewdef(c.oid) END,
       coalesce((SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = c.oid),
                (SELECT d.refobjid FROM pg_catalog.pg_depend d
                 WHERE c.relkind = 'S' AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
                   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') LIMIT 1))::text,
       (SELECT pg_catalog.array_agg(h.inhparent ORDER BY h.inhseqno)
        FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid)::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid::bigint >= $1";

const COLUMNS: &str = "\
SELECT a.attrelid::text, a.attnum::text, a.attname::text, a.atttypid::text,
       CASE WHEN a.attrelid::bigint >= 16384 THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
       a.attgenerated::text, (a.attidentity <> '')::text, a.atttypmod::text
FROM pg_catalog.pg_attribute a
     LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid::bigint >= $1
ORDER BY a.attrelid, a.attnum";

const ROUTINES: &str = "\
SELECT p.oid::text, n.nspname::text, p.proname::text, p.prokind::text, l.lanname::text, p.provolatile::text,
       p.prosecdef::text, p.proargtypes::text, p.pronargdefaults::text, p.provariadic::text, p.prorettype::text,
       p.proretset::text, p.proallargtypes::text, p.proargmodes::text, p.proargnames::text, p.proconfig::text,
       CASE WHEN l.lanname = 'sql' AND p.oid::bigint >= 16384 THEN {body} END,
       (SELECT pg_catalog.concat_ws(' ', a.aggtransfn::oid, a.aggfinalfn::oid, a.aggcombinefn::oid, a.aggserialfn::oid,
               a.aggdeserialfn::oid, a.aggmtransfn::oid, a.aggminvtransfn::oid, a.aggmfinalfn::oid)
        FROM pg_catalog.pg_aggregate a WHERE a.aggfnoid = p.oid AND p.oid::bigint >= 16384),
       CASE WHEN p.oid::bigint >= 16384 THEN pg_catalog.pg_get_expr(p.proargdefaults, 0) END
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.oid::bigint >= $1";

const OPERATORS: &str = "\
SELECT o.oprname::text, n.nspname::text, o.oprleft::text, o.oprright::text, o.oprresult::text, o.oprcode::oid::text,
       o.oid::text
FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
WHERE o.oid::bigint >= $1 AND o.oprcode <> 0";

const CASTS: &str = "\
SELECT castsource::text, casttarget::text, castfunc::text, castcontext::text, oid::text
FROM pg_catalog.pg_cast WHERE oid::bigint >= $1";

/// One row each: what, of which relation or type, its name, a number, two texts.
const EXTRAS: &str = "\
SELECT 'trigger', t.tgrelid::text, t.tgname::text, t.tgfoid::text, t.tgtype::text, pg_catalog.pg_get_triggerdef(t.oid)
FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.oid::bigint >= $1
UNION ALL
SELECT 'rule', r.ev_class::text, r.rulename::text, r.ev_type::text, NULL, pg_catalog.pg_get_ruledef(r.oid)
FROM pg_catalog.pg_rewrite r WHERE r.rulename <> '_RETURN' AND r.ev_enabled <> 'D' AND r.oid::bigint >= $1
  AND r.ev_class::bigint >= 16384
UNION ALL
SELECT 'policy', p.polrelid::text, p.polname::text, NULL, pg_catalog.pg_get_expr(p.polqual, p.polrelid),
       pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
FROM pg_catalog.pg_policy p WHERE p.oid::bigint >= $1
UNION ALL
SELECT 'computed', c.conrelid::text, c.conname::text, NULL, NULL, pg_catalog.pg_get_expr(c.conbin, c.conrelid)
FROM pg_catalog.pg_constraint c WHERE c.contype = 'c' AND c.conrelid <> 0 AND c.conrelid::bigint >= $1
UNION ALL
SELECT 'domain', c.contypid::text, c.conname::text, NULL, NULL, pg_catalog.pg_get_expr(c.conbin, 0)
FROM pg_catalog.pg_constraint c WHERE c.contype = 'c' AND c.contypid <> 0 AND c.contypid::bigint >= $1
UNION ALL
SELECT 'domain', t.oid::text, t.typname::text, NULL, NULL, pg_catalog.pg_get_expr(t.typdefaultbin, 0)
FROM pg_catalog.pg_type t WHERE t.typtype = 'd' AND t.typdefaultbin IS NOT NULL AND t.oid::bigint >= $1
UNION ALL
SELECT 'foreign key', c.confrelid::text, c.conname::text, c.conrelid::text, c.confdeltype::text, c.confupdtype::text
FROM pg_catalog.pg_constraint c WHERE c.contype = 'f' AND c.conrelid::bigint >= $1
UNION ALL
SELECT 'computed', i.indrelid::text, NULL, NULL, NULL, pg_catalog.pg_get_expr(i.indexprs, i.indrelid)
FROM pg_catalog.pg_index i WHERE i.indexprs IS NOT NULL AND i.indrelid::bigint >= $1
UNION ALL
SELECT 'computed', i.indrelid::text, NULL, NULL, NULL, pg_catalog.pg_get_expr(i.indpred, i.indrelid)
FROM pg_catalog.pg_index i WHERE i.indpred IS NOT NULL AND i.indrelid::bigint >= $1
UNION ALL
SELECT 'computed', p.partrelid::text, NULL, NULL, NULL, pg_catalog.pg_get_expr(p.partexprs, p.partrelid)
FROM pg_catalog.pg_partitioned_table p WHERE p.partexprs IS NOT NULL AND p.partrelid::bigint >= $1
UNION ALL
SELECT 'event trigger', NULL, e.evtname::text, e.evtfoid::text, NULL, NULL
FROM pg_catalog.pg_event_trigger e WHERE e.evtenabled <> 'D' AND e.oid::bigint >= $1
ORDER BY 1, 2, 3, 6";

/// A row of the catalog was not as the queries promise.
#[derive(Debug, thiserror::Error)]
#[error("a row of the catalog's {query:?} is not understood: column {column}")]
pub struct LoadError {
    query: Query,
    column: usize,
}

/// Takes the rows and makes a snapshot.
#[derive(Debug, Default)]
pub struct Builder {
    system: Option<Arc<Part>>,
    parts: [Part; 2],
}

impl Builder {
    /// A builder; with the half that came with the server, where it is known from an earlier snapshot of that server.
    #[must_use]
    pub fn new(system: Option<Arc<Part>>) -> Self {
        Self { system, ..Self::default() }
    }

    /// Takes one row, in the queries' order.
    ///
    /// # Errors
    ///
    /// When the row has not the columns of its query.
    pub fn row(&mut self, query: Query, row: &[Option<&str>]) -> Result<(), LoadError> {
        let mut hasher = DefaultHasher::new();
        (query as u8, row).hash(&mut hasher);
        let row = Row { query, row };
        let of = match query {
            Query::Operators => 6,
            Query::Casts => 4,
            _ => 0,
        };
        // An event trigger belongs to nothing, and is a user's.
        let extra = query == Query::Extras;
        let oid = match row.optional(1) {
            None if extra => super::FIRST_USER_OID,
            _ => row.number(if extra { 1 } else { of })?,
        };
        let part = self.part(oid);
        part.hash = part.hash.wrapping_add(hasher.finish());
        match query {
            Query::Schemas => {
                let oid: u32 = row.number(0)?;
                // A schema dropped since is still in nobody's half: schemas are always loaded whole.
                self.part(oid).schemas.insert(row.text(1)?.into(), oid);
                Ok(())
            }
            Query::Types => self.type_row(&row),
            Query::Relations => self.relation_row(&row),
            Query::Columns => self.column_row(&row),
            Query::Routines => self.routine_row(&row),
            Query::Operators => {
                let function = row.number(5)?;
                let operator = Operator {
                    schema: row.text(1)?.into(),
                    left: row.number(2)?,
                    right: row.number(3)?,
                    result: row.number(4)?,
                    function,
                };
                self.part(row.number(6)?).operators.entry(row.text(0)?.into()).or_default().push(operator);
                Ok(())
            }
            Query::Casts => {
                let (source, target, function) = (row.number(0)?, row.number(1)?, row.number(2)?);
                let (implicit, context) = (row.text(3)? == "i", row.text(3)?);
                let cast = Cast { source, target, function, implicit, assignment: context != "e" };
                self.part(row.number(4)?).casts.entry(source).or_default().push(cast);
                Ok(())
            }
            Query::Extras => self.extra_row(&row),
        }
    }

    /// The snapshot.
    #[must_use]
    pub fn build(self) -> Catalog {
        let [system, mut user] = self.parts;
        let mut children = Vec::new();
        for relation in &user.relations {
            children.extend(relation.parents.iter().map(|&parent| (parent, relation.oid)));
        }
        for (parent, child) in children {
            if let Some(relation) = user.relation_by_oid.get(&parent).and_then(|&at| user.relations.get_mut(at)) {
                relation.children.push(child);
            }
        }
        Catalog::new(self.system.unwrap_or_else(|| Arc::new(system)), user)
    }

    fn part(&mut self, oid: u32) -> &mut Part {
        let [system, user] = &mut self.parts;
        if oid < super::FIRST_USER_OID { system } else { user }
    }

    fn type_row(&mut self, row: &Row<'_>) -> Result<(), LoadError> {
        let oid = row.number(0)?;
        let kind = match row.text(3)? {
            "c" => TypeKind::Composite,
            "d" => TypeKind::Domain,
            "p" => TypeKind::Pseudo,
            "e" => TypeKind::Enum,
            _ => TypeKind::Base,
        };
        let (schema, name): (Arc<str>, Arc<str>) = (row.text(1)?.into(), row.text(2)?.into());
        let ty = Type {
            oid,
            schema,
            name: name.clone(),
            kind,
            of: row.number(4)?,
            array: row.flag(5)?,
            relation: row.number(6)?,
            modifier: row.number(7)?,
            checks: Vec::new(),
            on_check: OnceLock::new(),
        };
        let part = self.part(oid);
        part.types.insert(oid, ty);
        part.type_by_name.entry(name).or_default().push(oid);
        Ok(())
    }

    fn relation_row(&mut self, row: &Row<'_>) -> Result<(), LoadError> {
        let oid = row.number(0)?;
        let name = Name { schema: row.text(1)?.into(), name: row.text(2)?.into() };
        let relation = Relation {
            oid,
            name: name.clone(),
            kind: RelationKind::of(row.text(3)?).ok_or_else(|| row.wrong(3))?,
            persistence: match row.text(4)? {
                "t" => Persistence::Temporary,
                "u" => Persistence::Unlogged,
                _ => Persistence::Permanent,
            },
            owner: row.text(5)?.into(),
            row_security: row.flag(6)?,
            row_type: row.number(7)?,
            definition: row.optional(8).map(Into::into),
            belongs_to: row.optional(9).and_then(|oid| oid.parse().ok()),
            parents: row.numbers(10)?,
            children: Vec::new(),
            columns: Vec::new(),
            triggers: Vec::new(),
            rules: Vec::new(),
            policies: Vec::new(),
            computed: Vec::new(),
            referenced_by: Vec::new(),
            on_read: OnceLock::new(),
            on_write: OnceLock::new(),
            on_generate: OnceLock::new(),
            on_default: OnceLock::new(),
        };
        let part = self.part(oid);
        let at = part.relations.len();
        part.relations.push(relation);
        part.relation_by_name.entry(name.name).or_default().push(at);
        part.relation_by_oid.insert(oid, at);
        Ok(())
    }

    fn column_row(&mut self, row: &Row<'_>) -> Result<(), LoadError> {
        let column = Column {
            number: row.number(1)?,
            name: row.text(2)?.into(),
            ty: row.number(3)?,
            modifier: row.number(7)?,
            default: row.optional(4).map(Into::into),
            generated: match row.text(5)? {
                "s" => Some(Generated::Stored),
                "v" => Some(Generated::Virtual),
                _ => None,
            },
            identity: row.flag(6)?,
        };
        if let Some(relation) = self.relation(row.number(0)?) {
            relation.columns.push(column);
        }
        Ok(())
    }

    fn routine_row(&mut self, row: &Row<'_>) -> Result<(), LoadError> {
        let oid = row.number(0)?;
        let name = Name { schema: row.text(1)?.into(), name: row.text(2)?.into() };
        let args = row.spaced(7)?;
        let (arg_names, out) = row.arguments()?;
        let routine = Routine {
            oid,
            name: name.clone(),
            kind: match row.text(3)? {
                "p" => FunctionKind::Procedure,
                "a" => FunctionKind::Aggregate,
                "w" => FunctionKind::Window,
                _ => FunctionKind::Function,
            },
            language: row.text(4)?.into(),
            volatility: match row.text(5)? {
                "i" => Volatility::Immutable,
                "s" => Volatility::Stable,
                _ => Volatility::Volatile,
            },
            security_definer: row.flag(6)?,
            args,
            defaults: row.number(8)?,
            variadic: row.number(9)?,
            result: row.number(10)?,
            returns_set: row.flag(11)?,
            arg_names,
            out,
            config: row.list(15)?.into_iter().map(Into::into).collect(),
            body: row.optional(16).map(Into::into),
            default_values: row.optional(18).map(Into::into),
            parts: if row.optional(17).is_some() { row.spaced(17)? } else { Vec::new() },
        };
        let part = self.part(oid);
        let at = part.routines.len();
        part.routines.push(routine);
        part.routine_by_name.entry(name.name).or_default().push(at);
        part.routine_by_oid.insert(oid, at);
        Ok(())
    }

    fn extra_row(&mut self, row: &Row<'_>) -> Result<(), LoadError> {
        let kind = row.text(0)?;
        let text = || row.optional(5).map(Arc::<str>::from);
        if kind == "event trigger" {
            let function = row.number(3)?;
            self.part(super::FIRST_USER_OID).event_triggers.push(function);
            return Ok(());
        }
        let owner: u32 = row.number(1)?;
        if kind == "domain" {
            if let Some(ty) = self.part(owner).types.get_mut(&owner) {
                ty.checks.extend(text());
            }
            return Ok(());
        }
        let Some(relation) = self.relation(owner) else { return Ok(()) };
        match kind {
            "trigger" => relation.triggers.push(Trigger {
                name: row.text(2)?.into(),
                function: row.number(3)?,
                events: row.number(4)?,
                definition: row.text(5)?.into(),
            }),
            "rule" => relation.rules.push(Rule {
                name: row.text(2)?.into(),
                event: row.number(3)?,
                definition: row.text(5)?.into(),
            }),
            // Without row-level security on its table a policy does nothing.
            "policy" if !relation.row_security => {}
            "policy" => relation.policies.push(Policy {
                name: row.text(2)?.into(),
                using: row.optional(4).map(Into::into),
                check: text(),
            }),
            "computed" => relation.computed.extend(text()),
            "foreign key" => relation.referenced_by.push(ForeignKey {
                table: row.number(3)?,
                on_delete: row.text(4)?.chars().next().unwrap_or('a'),
                on_update: row.text(5)?.chars().next().unwrap_or('a'),
            }),
            _ => return Err(row.wrong(0)),
        }
        Ok(())
    }

    fn relation(&mut self, oid: u32) -> Option<&mut Relation> {
        let part = self.part(oid);
        part.relations.get_mut(*part.relation_by_oid.get(&oid)?)
    }
}

/// The names and types of a function's output columns.
type OutColumns = Vec<(Arc<str>, u32)>;

/// A row, read with its query's name for the error.
struct Row<'a> {
    query: Query,
    row: &'a [Option<&'a str>],
}

impl<'a> Row<'a> {
    const fn wrong(&self, column: usize) -> LoadError {
        LoadError { query: self.query, column }
    }

    fn optional(&self, column: usize) -> Option<&'a str> {
        self.row.get(column).copied().flatten()
    }

    fn text(&self, column: usize) -> Result<&'a str, LoadError> {
        self.optional(column).ok_or_else(|| self.wrong(column))
    }

    fn number<T: std::str::FromStr>(&self, column: usize) -> Result<T, LoadError> {
        self.text(column)?.parse().map_err(|_| self.wrong(column))
    }

    fn flag(&self, column: usize) -> Result<bool, LoadError> {
        match self.text(column)? {
            "true" | "t" => Ok(true),
            "false" | "f" => Ok(false),
            _ => Err(self.wrong(column)),
        }
    }

    fn spaced(&self, column: usize) -> Result<Vec<u32>, LoadError> {
        self.text(column)?.split_whitespace().map(|item| item.parse().map_err(|_| self.wrong(column))).collect()
    }

    fn list(&self, column: usize) -> Result<Vec<String>, LoadError> {
        self.optional(column).map_or(Ok(Vec::new()), |text| array::items(text).ok_or_else(|| self.wrong(column)))
    }

    fn numbers(&self, column: usize) -> Result<Vec<u32>, LoadError> {
        self.list(column)?.iter().map(|item| item.parse().map_err(|_| self.wrong(column))).collect()
    }

    /// A function's argument names and output columns, of its columns with all argument types, modes and names.
    fn arguments(&self) -> Result<(Vec<Arc<str>>, OutColumns), LoadError> {
        let (types, modes, names) = (self.numbers(12)?, self.list(13)?, self.list(14)?);
        let mut inputs = Vec::new();
        let mut out = Vec::new();
        if modes.is_empty() {
            return Ok((names.into_iter().map(Into::into).collect(), out));
        }
        for (at, mode) in modes.iter().enumerate() {
            let name: Arc<str> = names.get(at).map_or("", String::as_str).into();
            if matches!(mode.as_str(), "i" | "b" | "v") {
                inputs.push(name.clone());
            }
            if matches!(mode.as_str(), "o" | "b" | "t") {
                let name = if name.is_empty() { format!("column{}", out.len() + 1).into() } else { name };
                out.push((name, types.get(at).copied().ok_or_else(|| self.wrong(12))?));
            }
        }
        Ok((inputs, out))
    }
}
