//! CREATE of everything that belongs to a schema.

use std::sync::Arc;

use pg_query::{
    Node, NodeEnum,
    protobuf::{self, ConstrType},
};

use super::{
    Analyser, Step,
    flow::Flow,
    names::{self, qualified, range_schema},
    scope::{Col, Item, Scope, Ty},
    unexpected,
    utility::of_relation,
};
use crate::{
    catalog::{Relation, RelationKind},
    facts::{Action, Name, Object},
};

impl<'a> Analyser<'a> {
    pub(super) fn creation(&mut self, node: &NodeEnum) -> Step<Option<&'static str>> {
        let tag = match node {
            NodeEnum::CreateStmt(create) => {
                self.create_table(create)?;
                "CREATE TABLE"
            }
            NodeEnum::ViewStmt(view) => {
                self.create_view(view)?;
                "CREATE VIEW"
            }
            NodeEnum::IndexStmt(index) => {
                self.create_index(index)?;
                "CREATE INDEX"
            }
            NodeEnum::CreateSeqStmt(sequence) => {
                self.created(sequence.sequence.as_ref());
                "CREATE SEQUENCE"
            }
            NodeEnum::CreateFunctionStmt(create) => {
                self.create_function(create)?;
                if create.is_procedure { "CREATE PROCEDURE" } else { "CREATE FUNCTION" }
            }
            NodeEnum::CreateTrigStmt(trigger) => {
                self.create_trigger(trigger)?;
                "CREATE TRIGGER"
            }
            NodeEnum::CreatePolicyStmt(policy) => {
                let quals = [policy.qual.as_deref(), policy.with_check.as_deref()];
                self.on_table(policy.table.as_ref(), &quals)?;
                "CREATE POLICY"
            }
            NodeEnum::RuleStmt(rule) => {
                self.create_rule(rule)?;
                "CREATE RULE"
            }
            NodeEnum::CreateStatsStmt(statistics) => {
                for node in &statistics.relations {
                    let Some(NodeEnum::RangeVar(range)) = &node.node else {
                        return Err(unexpected("CREATE STATISTICS"));
                    };
                    let relation = self.changed(range, false)?;
                    let scope = self.scope_of(relation, range)?;
                    for node in &statistics.exprs {
                        if let Some(NodeEnum::StatsElem(element)) = &node.node {
                            self.defined(element.expr.as_deref(), &scope)?;
                        }
                    }
                }
                "CREATE STATISTICS"
            }
            NodeEnum::CreateSchemaStmt(schema) => {
                self.create_schema(schema)?;
                "CREATE SCHEMA"
            }
            NodeEnum::CompositeTypeStmt(ty) => {
                let name = ty.typevar.as_ref().map(|range| self.new_name(range));
                self.in_schema(name.map(|name| name.schema));
                "CREATE TYPE"
            }
            NodeEnum::CreateEnumStmt(ty) => self.named(&ty.type_name, "CREATE TYPE")?,
            NodeEnum::CreateRangeStmt(ty) => self.named(&ty.type_name, "CREATE TYPE")?,
            NodeEnum::CreateDomainStmt(domain) => {
                self.domain_constraints(&domain.constraints)?;
                self.named(&domain.domainname, "CREATE DOMAIN")?
            }
            NodeEnum::DefineStmt(define) => self.define(define)?,
            NodeEnum::CreateConversionStmt(conversion) => {
                self.named(&conversion.conversion_name, "CREATE CONVERSION")?
            }
            NodeEnum::CreateOpClassStmt(class) => self.named(&class.opclassname, "CREATE OPERATOR CLASS")?,
            NodeEnum::CreateOpFamilyStmt(family) => self.named(&family.opfamilyname, "CREATE OPERATOR FAMILY")?,
            NodeEnum::CreateCastStmt(_) => {
                self.access(Action::Ddl, Object::Database);
                "CREATE CAST"
            }
            NodeEnum::CreateTransformStmt(_) => {
                self.access(Action::Ddl, Object::Database);
                "CREATE TRANSFORM"
            }
            _ => return Ok(None),
        };
        Ok(Some(tag))
    }

    /// A relation that is changed or used by DDL: an index counts as its table. One that is not there is refused, unless
    /// the statement itself does not mind or an earlier one of the string may have made it.
    pub(super) fn changed(&mut self, range: &protobuf::RangeVar, missing_ok: bool) -> Step<Option<&'a Relation>> {
        if let Some((name, _)) = self.made(range_schema(range), &range.relname) {
            self.access(Action::Ddl, Object::Relation(name));
            return Ok(None);
        }
        if self.lost.is_some() && range_schema(range).is_none() {
            self.behind(&range.relname);
        }
        match self.relation(range) {
            Ok(relation) => {
                let relation = match (relation.kind, relation.belongs_to) {
                    (RelationKind::Index, Some(table)) => self.catalog.relation_by_oid(table).unwrap_or(relation),
                    _ => relation,
                };
                let name = self.facts_name(relation);
                self.access(Action::Ddl, Object::Relation(name));
                if relation.is_builtin() {
                    self.admin();
                }
                Ok(Some(relation))
            }
            Err(_) if missing_ok || self.lost.is_some() => {
                let name = self.new_name(range);
                self.access(Action::Ddl, Object::Relation(name));
                Ok(None)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// An earlier statement of the string may have taken away or renamed what a name meant, so that it means the next of
    /// that name in the path: it may be any of them.
    fn behind(&mut self, name: &str) {
        let found: Vec<_> = self.path().iter().filter_map(|schema| self.catalog.relation(schema, name)).collect();
        for relation in found {
            let name = self.facts_name(relation);
            self.access(Action::Ddl, Object::Relation(name));
        }
    }

    fn created(&mut self, range: Option<&protobuf::RangeVar>) {
        match range {
            Some(range) => {
                let name = self.new_name(range);
                self.access(Action::Ddl, Object::Relation(name));
            }
            None => self.access(Action::Ddl, Object::Database),
        }
    }

    fn in_schema(&mut self, schema: Option<Arc<str>>) {
        match schema {
            Some(schema) => self.access(Action::Ddl, Object::Schema(schema)),
            None => self.access(Action::Ddl, Object::Database),
        }
    }

    /// An object in a schema that is neither relation nor function.
    pub(super) fn named(&mut self, name: &[Node], tag: &'static str) -> Step<&'static str> {
        let (schema, _) = qualified(name)?;
        let schema = schema.map_or_else(|| self.creation_schema(), Arc::from);
        self.in_schema(Some(schema));
        Ok(tag)
    }

    pub(super) fn function_named(&mut self, name: &[Node]) -> Step {
        let (schema, name) = qualified(name)?;
        let schema = match schema {
            Some(schema) => schema.into(),
            None => {
                let path = self.function_path();
                let known = self.catalog.routines(name).filter(|routine| path.contains(&routine.name.schema));
                let schemas: Vec<_> = known.map(|routine| routine.name.schema.clone()).collect();
                if self.lost.is_some() {
                    for schema in &schemas {
                        let name = Name { schema: schema.clone(), name: name.into() };
                        self.access(Action::Ddl, Object::Function(name));
                    }
                }
                schemas.into_iter().next().unwrap_or_else(|| self.creation_schema())
            }
        };
        self.access(Action::Ddl, Object::Function(Name { schema, name: name.into() }));
        Ok(())
    }

    fn define(&mut self, define: &protobuf::DefineStmt) -> Step<&'static str> {
        use protobuf::ObjectType as Kind;
        let kind = Kind::try_from(define.kind).map_err(|_| unexpected("CREATE"))?;
        match kind {
            Kind::ObjectAggregate => {
                self.function_named(&define.defnames)?;
                Ok("CREATE AGGREGATE")
            }
            Kind::ObjectOperator => self.named(&define.defnames, "CREATE OPERATOR"),
            Kind::ObjectType => self.named(&define.defnames, "CREATE TYPE"),
            Kind::ObjectCollation => self.named(&define.defnames, "CREATE COLLATION"),
            Kind::ObjectTsparser => self.named(&define.defnames, "CREATE TEXT SEARCH PARSER"),
            Kind::ObjectTsdictionary => self.named(&define.defnames, "CREATE TEXT SEARCH DICTIONARY"),
            Kind::ObjectTstemplate => self.named(&define.defnames, "CREATE TEXT SEARCH TEMPLATE"),
            Kind::ObjectTsconfiguration => self.named(&define.defnames, "CREATE TEXT SEARCH CONFIGURATION"),
            _ => Err(unexpected("CREATE")),
        }
    }

    fn create_table(&mut self, create: &protobuf::CreateStmt) -> Step {
        let Some(range) = &create.relation else { return Err(unexpected("CREATE TABLE")) };
        let exists = create.if_not_exists && self.look_up(range_schema(range), &range.relname).is_some();
        let name = self.new_name(range);
        self.access(Action::Ddl, Object::Relation(name.clone()));
        let mut columns = Some(Vec::new());
        for node in &create.inh_relations {
            let Some(NodeEnum::RangeVar(parent)) = &node.node else { return Err(unexpected("INHERITS")) };
            // To become a partition or child is a change of the parent.
            self.changed(parent, false)?;
            columns = None;
        }
        if create.of_typename.is_some() {
            columns = None;
        }
        for node in &create.table_elts {
            match &node.node {
                Some(NodeEnum::ColumnDef(column)) => {
                    let ty = self.ty_of(column.type_name.as_ref())?;
                    if let Some(columns) = &mut columns {
                        columns.push((Arc::<str>::from(column.colname.as_str()), ty));
                    }
                }
                Some(NodeEnum::TableLikeClause(like)) => {
                    columns = None;
                    if let Some(range) = &like.relation
                        && self.made(range_schema(range), &range.relname).is_none()
                        && self.lost.is_none()
                    {
                        self.relation(range)?;
                    }
                }
                _ => {}
            }
        }
        let scope = self.definition_scope(&range.relname, columns.as_deref());
        for node in create.table_elts.iter().chain(&create.constraints) {
            self.element(node, &scope)?;
        }
        drop(scope);
        if !exists {
            self.make(name, columns);
        }
        Ok(())
    }

    /// The columns of a table that is being defined.
    fn definition_scope<'p>(&self, name: &str, columns: Option<&[(Arc<str>, Ty)]>) -> Scope<'p, 'a> {
        let mut scope = Scope { arguments: self.arguments.clone(), ..Scope::default() };
        let known = columns.unwrap_or_default().iter().map(|(name, ty)| Col {
            name: name.clone(),
            ty: *ty,
            flow: Flow::default(),
        });
        let rest = columns.is_none().then(Flow::default);
        scope.push(Item::derived(Some(name), known.collect(), rest));
        scope
    }

    /// The expressions of a column or constraint definition.
    pub(super) fn element(&mut self, node: &Node, scope: &Scope<'_, 'a>) -> Step {
        match &node.node {
            Some(NodeEnum::ColumnDef(column)) => {
                self.defined(column.raw_default.as_deref(), scope)?;
                for node in &column.constraints {
                    self.element(node, scope)?;
                }
                Ok(())
            }
            Some(NodeEnum::Constraint(constraint)) => {
                if ConstrType::try_from(constraint.contype).is_err() {
                    return Err(unexpected("a constraint"));
                }
                self.defined(constraint.raw_expr.as_deref(), scope)?;
                self.defined(constraint.where_clause.as_deref(), scope)?;
                if let Some(range) = &constraint.pktable {
                    self.refers_to(range)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A foreign key puts triggers on the table that it refers to, and tells which of its keys exist.
    fn refers_to(&mut self, range: &protobuf::RangeVar) -> Step {
        if self.made(range_schema(range), &range.relname).is_some() {
            return Ok(());
        }
        match self.relation(range) {
            Ok(relation) => {
                let name = self.facts_name(relation);
                self.access(Action::Read, Object::Relation(name));
                Ok(())
            }
            Err(_) if self.lost.is_some() => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    /// An expression in a definition. It may use what an earlier statement of the string made: then it could be anything.
    pub(super) fn defined(&mut self, node: Option<&Node>, scope: &Scope<'_, 'a>) -> Step {
        let Some(node) = node else { return Ok(()) };
        let (depth, lost) = (self.depth, self.lost.is_some() || !self.made.is_empty());
        match self.in_definition(Some(node), scope) {
            Err(refusal) if lost && refusal.cause != crate::facts::Cause::TooComplex => {
                self.depth = depth;
                let name = Name { schema: names::SYSTEM.into(), name: "do".into() };
                self.unknown_definition(&name);
                Ok(())
            }
            other => other,
        }
    }

    fn create_view(&mut self, view: &protobuf::ViewStmt) -> Step {
        let Some(range) = &view.view else { return Err(unexpected("CREATE VIEW")) };
        let name = self.new_name(range);
        self.access(Action::Ddl, Object::Relation(name));
        let Some(NodeEnum::SelectStmt(select)) = view.query.as_ref().and_then(|node| node.node.as_ref()) else {
            return Err(unexpected("CREATE VIEW"));
        };
        let (depth, lost) = (self.depth, self.lost.is_some());
        let root = self.root();
        match self.query(select, &root) {
            // Whoever makes a view can read by it from then on.
            Ok(output) => {
                self.put_away(&output);
                Ok(())
            }
            Err(refusal) if lost && refusal.cause != crate::facts::Cause::TooComplex => {
                self.depth = depth;
                Err(super::unresolved(
                    "what this view reads depends on an earlier statement of the same query string",
                    "Send the statements separately.",
                ))
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn create_index(&mut self, index: &protobuf::IndexStmt) -> Step {
        let Some(range) = &index.relation else { return Err(unexpected("CREATE INDEX")) };
        let relation = self.changed(range, false)?;
        let scope = self.scope_of(relation, range)?;
        for node in index.index_params.iter().chain(&index.index_including_params) {
            if let Some(NodeEnum::IndexElem(element)) = &node.node {
                self.defined(element.expr.as_deref(), &scope)?;
            }
        }
        self.defined(index.where_clause.as_deref(), &scope)
    }

    /// The columns of a relation, or any columns where it is not known.
    pub(super) fn scope_of<'p>(
        &mut self,
        relation: Option<&'a Relation>,
        range: &protobuf::RangeVar,
    ) -> Step<Scope<'p, 'a>> {
        let Some(relation) = relation else { return Ok(self.definition_scope(&range.relname, None)) };
        let mut scope = Scope { arguments: self.arguments.clone(), ..Scope::default() };
        let shown = self.shown(relation)?;
        scope.push(of_relation(relation, &self.facts_name(relation), shown));
        Ok(scope)
    }

    /// DDL on a table with expressions over its columns.
    pub(super) fn on_table(&mut self, range: Option<&protobuf::RangeVar>, exprs: &[Option<&Node>]) -> Step {
        let Some(range) = range else { return Err(unexpected("DDL without a table")) };
        let relation = self.changed(range, false)?;
        let scope = self.scope_of(relation, range)?;
        for expr in exprs {
            self.defined(*expr, &scope)?;
        }
        Ok(())
    }

    fn create_function(&mut self, create: &protobuf::CreateFunctionStmt) -> Step {
        self.function_named(&create.funcname)?;
        let root = self.root();
        for node in &create.parameters {
            if let Some(NodeEnum::FunctionParameter(parameter)) = &node.node {
                self.defined(parameter.defexpr.as_deref(), &root)?;
            }
        }
        Ok(())
    }

    fn create_trigger(&mut self, trigger: &protobuf::CreateTrigStmt) -> Step {
        let Some(range) = &trigger.relation else { return Err(unexpected("CREATE TRIGGER")) };
        self.changed(range, false)?;
        if let Some(range) = &trigger.constrrel {
            self.changed(range, false)?;
        }
        Ok(())
    }

    /// A rule's actions are not run now, and may be anything from then on: they are DDL on the table, and told no further.
    fn create_rule(&mut self, rule: &protobuf::RuleStmt) -> Step {
        let Some(range) = &rule.relation else { return Err(unexpected("CREATE RULE")) };
        self.changed(range, false).map(drop)
    }

    fn create_schema(&mut self, schema: &protobuf::CreateSchemaStmt) -> Step {
        let owner = schema.authrole.as_ref().map_or("", |role| role.rolename.as_str());
        let name = if schema.schemaname.is_empty() { owner } else { &schema.schemaname };
        self.access(Action::Ddl, Object::Schema(name.into()));
        if schema.authrole.is_some() {
            self.admin();
        }
        for node in &schema.schema_elts {
            let Some(node) = &node.node else { continue };
            // They are made in the new schema, whatever the path says.
            let path = std::mem::replace(&mut self.context.search_path, vec![name.into()]);
            self.new_schema = Some(name.into());
            let done = self.statement(node);
            self.new_schema = None;
            self.context.search_path = path;
            done?;
        }
        Ok(())
    }

    pub(super) fn domain_constraints(&mut self, nodes: &[Node]) -> Step {
        let scope = self.definition_scope("value", None);
        nodes.iter().try_for_each(|node| self.element(node, &scope))
    }
}
