//! TRUNCATE, CALL, DO, EXPLAIN, CREATE TABLE AS, LOCK, LISTEN, VACUUM and their kind.

use std::sync::Arc;

use pg_query::{
    NodeEnum,
    protobuf::{self, ReindexObjectType, SetOperation, a_const::Val},
};

use super::{
    Analyser, Step,
    expr::TEXT,
    flow::Flow,
    missing,
    names::{self, SYSTEM, range_schema},
    query::Output,
    scope::{Col, Item, Scope, Source, Ty},
    session::constant,
    unexpected,
};
use crate::{
    catalog::Relation,
    facts::{Action, Function, Manner, Name, Object, Place, Standing, Volatility},
    memo::Shown,
};

/// The number of ACCESS SHARE among PostgreSQL's lock modes.
const ACCESS_SHARE: i32 = 1;

impl<'a> Analyser<'a> {
    pub(super) fn truncate(&mut self, truncate: &protobuf::TruncateStmt) -> Step {
        let cascade = truncate.behavior == protobuf::DropBehavior::DropCascade as i32;
        for node in &truncate.relations {
            let Some(NodeEnum::RangeVar(range)) = &node.node else { return Err(unexpected("TRUNCATE")) };
            if let Some((name, _)) = self.made(range_schema(range), &range.relname) {
                self.access(Action::Truncate, Object::Relation(name));
                continue;
            }
            let relation = self.relation(range)?;
            self.written(relation, Action::Truncate)?;
            if truncate.restart_seqs {
                self.effect("sequences are restarted".into());
            }
            if cascade {
                self.truncate_cascade(relation)?;
            }
        }
        Ok(())
    }

    /// CASCADE empties the tables that refer to a truncated one, and those that refer to them.
    fn truncate_cascade(&mut self, relation: &'a Relation) -> Step {
        let mut seen = vec![relation.oid];
        let mut next = vec![relation];
        while let Some(relation) = next.pop() {
            for key in &relation.referenced_by {
                let Some(other) = self.catalog.relation_by_oid(key.table) else { continue };
                if seen.contains(&other.oid) {
                    continue;
                }
                seen.push(other.oid);
                self.written(other, Action::Truncate)?;
                next.push(other);
            }
        }
        Ok(())
    }

    pub(super) fn call_procedure(&mut self, call: &protobuf::CallStmt) -> Step {
        let Some(call) = call.funccall.as_deref() else { return Err(unexpected("CALL")) };
        let root = self.root();
        for arg in &call.args {
            self.used(Some(arg), &root, Place::Source)?;
        }
        let (schema, name) = names::qualified(&call.funcname)?;
        let path = match schema {
            Some(schema) => vec![self.real_schema(schema)],
            None => self.function_path(),
        };
        // OUT arguments are passed too, so that the count says little.
        let found: Vec<_> = self.catalog.routines(name).filter(|routine| path.contains(&routine.name.schema)).collect();
        if found.is_empty() {
            return Err(missing(format!("procedure {name} does not exist"), call.location));
        }
        for routine in found {
            self.call(routine, &call.args);
            // The values of OUT arguments come back as a row.
            if !routine.out.is_empty() {
                self.facts.output.rest.get_or_insert_default();
            }
        }
        if let Some(mut rest) = self.facts.output.rest.take() {
            self.draw(0, &mut rest)?;
            self.use_flow(&rest, Place::Derived);
            self.facts.output.rest = Some(rest);
        }
        // A procedure can end transactions, whatever its body says.
        self.barrier();
        Ok(())
    }

    /// DO runs code that is not analysed.
    pub(super) fn code_block(&mut self) {
        self.barrier();
        self.access(Action::Call, Object::Database);
        let name = Name { schema: SYSTEM.into(), name: "do".into() };
        let function = Function { name, volatility: Volatility::Volatile, standing: Standing::Unknown };
        self.facts.functions.insert(function);
    }

    /// EXPLAIN, with ANALYZE or without, is judged as if its statement ran: planning runs functions too. What it puts out is
    /// the plan.
    pub(super) fn explain(&mut self, explain: &protobuf::ExplainStmt) -> Step {
        let Some(query) = explain.query.as_ref().and_then(|node| node.node.as_ref()) else {
            return Err(unexpected("EXPLAIN"));
        };
        self.statement(query)?;
        self.facts.output = Output::default();
        let ty = match option(&explain.options, "format").as_deref() {
            Some("json") => 114,
            Some("xml") => 142,
            _ => 25,
        };
        self.put_out_plain("QUERY PLAN", Ty::Known(ty));
        Ok(())
    }

    /// SHOW: a setting's value, or the names, values and descriptions of all.
    pub(super) fn show(&mut self, show: &protobuf::VariableShowStmt) {
        let names: &[&str] = if show.name == "all" { &["name", "setting", "description"] } else { &[&show.name] };
        names.iter().for_each(|name| self.put_out_plain(name, TEXT));
    }

    /// A column of the result that comes from no relation.
    fn put_out_plain(&mut self, name: &str, ty: Ty) {
        self.facts.output.columns.push(Col { name: name.into(), ty, flow: Flow::default() });
    }

    /// A result that is kept elsewhere.
    pub(super) fn put_away(&mut self, output: &Output) {
        for flow in output.flows() {
            self.use_flow(flow, Place::Source);
        }
    }

    pub(super) fn create_table_as(&mut self, create: &protobuf::CreateTableAsStmt) -> Step<&'static str> {
        let Some(range) = create.into.as_ref().and_then(|into| into.rel.as_ref()) else {
            return Err(unexpected("CREATE TABLE AS"));
        };
        let name = self.new_name(range);
        self.access(Action::Ddl, Object::Relation(name.clone()));
        self.barrier();
        self.event_triggers();
        let mut made = None;
        match create.query.as_ref().and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) => {
                let root = self.root();
                let output = self.query(select, &root)?;
                let columns = output.columns.iter().map(|column| (column.name.clone(), column.ty)).collect::<Vec<_>>();
                made = output.rest.is_none().then_some(columns);
                self.put_away(&output);
            }
            Some(NodeEnum::ExecuteStmt(execute)) => {
                self.execute(execute)?;
                let output = std::mem::take(&mut self.facts.output);
                self.put_away(&output);
            }
            _ => return Err(unexpected("CREATE TABLE AS")),
        }
        let names = create.into.as_ref().map(|into| into.col_names.as_slice()).unwrap_or_default();
        if let Some(columns) = &mut made {
            for (column, name) in columns.iter_mut().zip(names) {
                if let Some(name) = names::string(name) {
                    column.0 = name.into();
                }
            }
        }
        self.make(name, made);
        let view = create.objtype == protobuf::ObjectType::ObjectMatview as i32;
        Ok(if view { "CREATE MATERIALIZED VIEW" } else { "CREATE TABLE AS" })
    }

    /// SELECT … INTO, wherever the grammar lets it stand.
    pub(super) fn select_into(&mut self, into: &protobuf::IntoClause, output: &Output) -> Step {
        let Some(range) = &into.rel else { return Err(unexpected("SELECT INTO")) };
        let name = self.new_name(range);
        self.access(Action::Ddl, Object::Relation(name.clone()));
        self.barrier();
        self.event_triggers();
        self.put_away(output);
        self.make(name, None);
        Ok(())
    }

    pub(super) fn refresh(&mut self, refresh: &protobuf::RefreshMatViewStmt) -> Step {
        let Some(range) = &refresh.relation else { return Err(unexpected("REFRESH")) };
        let relation = self.relation(range)?;
        let name = self.facts_name(relation);
        self.access(Action::Ddl, Object::Relation(name));
        self.event_triggers();
        self.started_by_refreshing(relation)
    }

    pub(super) fn lock(&mut self, lock: &protobuf::LockStmt) -> Step {
        for node in &lock.relations {
            let Some(NodeEnum::RangeVar(range)) = &node.node else { return Err(unexpected("LOCK")) };
            let relation = self.relation(range)?;
            let name = self.facts_name(relation);
            // What every SELECT takes locks nobody out but those who change the schema; pg_dump asks for it.
            let manner = if lock.mode == ACCESS_SHARE { Manner::Plain } else { Manner::Locking };
            self.access_in(Action::Read, Object::Relation(name), manner);
        }
        Ok(())
    }

    pub(super) fn listen(&mut self, channel: &str) {
        self.access(Action::Read, Object::Database);
        self.effect(format!("listens to {channel}"));
    }

    pub(super) fn notify(&mut self, notify: &protobuf::NotifyStmt) {
        let name = Name { schema: SYSTEM.into(), name: "pg_notify".into() };
        self.access(Action::Call, Object::Function(name.clone()));
        let function = Function { name, volatility: Volatility::Volatile, standing: Standing::Effectful };
        self.facts.functions.insert(function);
        self.effect(format!("notifies {}", notify.conditionname));
    }

    pub(super) fn vacuum(&mut self, vacuum: &protobuf::VacuumStmt) -> Step {
        if vacuum.rels.is_empty() {
            self.access(Action::Ddl, Object::Database);
        }
        for node in &vacuum.rels {
            let Some(NodeEnum::VacuumRelation(vacuumed)) = &node.node else { return Err(unexpected("VACUUM")) };
            self.kept_up(vacuumed.relation.as_ref())?;
        }
        Ok(())
    }

    pub(super) fn cluster(&mut self, cluster: &protobuf::ClusterStmt) -> Step {
        self.kept_up(cluster.relation.as_ref())
    }

    pub(super) fn reindex(&mut self, reindex: &protobuf::ReindexStmt) -> Step {
        self.event_triggers();
        match ReindexObjectType::try_from(reindex.kind) {
            Ok(ReindexObjectType::ReindexObjectIndex | ReindexObjectType::ReindexObjectTable) => {
                self.kept_up(reindex.relation.as_ref())
            }
            Ok(ReindexObjectType::ReindexObjectSchema) => {
                self.access(Action::Ddl, Object::Schema(reindex.name.as_str().into()));
                Ok(())
            }
            _ => {
                self.access(Action::Ddl, Object::Database);
                Ok(())
            }
        }
    }

    /// A relation whose storage or statistics are worked on, which computes its indexes' expressions.
    fn kept_up(&mut self, range: Option<&protobuf::RangeVar>) -> Step {
        let Some(range) = range else {
            self.access(Action::Ddl, Object::Database);
            return Ok(());
        };
        match self.changed(range, false)? {
            Some(relation) => {
                let name = self.facts_name(relation);
                self.computed_by_writing(relation, &name)
            }
            None => Ok(()),
        }
    }

    /// An expression in DDL, with a relation's columns in sight.
    pub(super) fn in_definition(&mut self, node: Option<&pg_query::Node>, scope: &Scope<'_, 'a>) -> Step {
        // Rows that are there already are looked at, and what is found of them is kept or told.
        self.used(node, scope, Place::Source).map(drop)
    }
}

/// A relation as the one thing in sight.
pub(super) fn of_relation<'a>(relation: &'a Relation, name: &Name, shown: Option<Arc<[Shown]>>) -> Item<'a> {
    let item = Item::new(Some(&relation.name.name), Source::Base(relation, name.clone(), shown));
    Item { schema: Some(relation.name.schema.clone()), ..item }
}

/// The value of an option of this name, the last where there are several.
fn option(options: &[pg_query::Node], name: &str) -> Option<String> {
    let found = options.iter().rev().find_map(|node| match &node.node {
        Some(NodeEnum::DefElem(option)) if option.defname == name => Some(option),
        _ => None,
    });
    found.and_then(|option| option.arg.as_deref().and_then(constant)).map(|value| value.to_ascii_lowercase())
}

/// The outermost LIMIT, where it is a constant.
pub(super) fn limit(select: &protobuf::SelectStmt) -> Option<u64> {
    // WITH TIES gives more than it says.
    if select.limit_option == protobuf::LimitOption::WithTies as i32 {
        return None;
    }
    match &select.limit_count.as_ref()?.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(Val::Ival(number)) => u64::try_from(number.ival).ok(),
            Some(Val::Fval(number)) => number.fval.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The INTO of a SELECT: of a set operation it stands in its first part.
pub(super) fn into(select: &protobuf::SelectStmt) -> Option<&protobuf::IntoClause> {
    let mut select = select;
    while select.op != SetOperation::SetopNone as i32 {
        match &select.larg {
            Some(left) => select = left,
            None => break,
        }
    }
    select.into_clause.as_deref()
}
