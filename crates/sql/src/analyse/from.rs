//! FROM: relations, joins, sub-queries and functions.

use std::{collections::HashSet, sync::Arc};

use pg_query::{
    Node, NodeEnum,
    protobuf::{self, JoinType},
};

use super::{
    Analyser, Step,
    expr::{INT8, TEXT},
    flow::Flow,
    missing,
    names::{self, range_schema, string},
    query::rename,
    scope::{Col, Item, Scope, Source, Star, Ty, find_cte},
    unexpected, unresolved,
};
use crate::{
    catalog::{Relation, RelationKind},
    facts::{Action, Meets, Name, Object, Place},
    version,
};

impl<'a> Analyser<'a> {
    /// All of FROM.
    pub(super) fn from(&mut self, nodes: &[Node], scope: &mut Scope<'_, 'a>) -> Step {
        for node in nodes {
            let star = self.item_of_from(node, scope)?;
            scope.star.extend(star);
        }
        Ok(())
    }

    /// One item; it is added to the scope, and what it adds to `*` is returned.
    pub(super) fn item_of_from(&mut self, node: &Node, scope: &mut Scope<'_, 'a>) -> Step<Vec<Star>> {
        self.enter()?;
        let Some(inner) = &node.node else { return Err(unexpected("FROM")) };
        let star = match inner {
            NodeEnum::RangeVar(range) => {
                let item = self.range(range, scope)?;
                add(scope, item)
            }
            NodeEnum::RangeSubselect(sub) => self.range_subselect(sub, scope)?,
            NodeEnum::RangeFunction(function) => self.range_function(function, scope)?,
            NodeEnum::RangeTableFunc(table) => self.range_table_func(table, scope)?,
            NodeEnum::JsonTable(table) => {
                let mut columns = self.json_table(table, scope)?;
                let alias = alias_of(table.alias.as_ref(), &mut columns);
                add(scope, Item::derived(alias, columns, None))
            }
            NodeEnum::RangeTableSample(sample) => {
                let Some(relation) = sample.relation.as_deref() else { return Err(unexpected("TABLESAMPLE")) };
                let star = self.item_of_from(relation, scope)?;
                for arg in &sample.args {
                    self.used(Some(arg), scope, Place::Filter)?;
                }
                self.used(sample.repeatable.as_deref(), scope, Place::Filter)?;
                let (schema, name) = names::qualified(&sample.method)?;
                self.call_by_name(schema, name, &[Ty::Opaque], &[], sample.location)?;
                star
            }
            NodeEnum::JoinExpr(join) => self.join(join, scope)?,
            _ => return Err(unexpected("FROM")),
        };
        self.leave();
        Ok(star)
    }

    /// A relation or CTE by its name.
    fn range(&mut self, range: &protobuf::RangeVar, scope: &Scope<'_, 'a>) -> Step<Item<'a>> {
        let alias = range.alias.as_ref();
        let renames: Vec<Arc<str>> =
            alias.iter().flat_map(|alias| alias.colnames.iter().filter_map(string).map(Arc::from)).collect();
        let name = alias.map_or(range.relname.as_str(), |alias| alias.aliasname.as_str());
        if range.schemaname.is_empty()
            && let Some(source) = find_cte(&scope.ctes, &range.relname)
        {
            let item = Item::new(Some(name), source.clone());
            if item.is_later() {
                return Err(unresolved(
                    format!("WITH query \"{}\" is used before it is defined", range.relname),
                    "Put it before those that use it.",
                ));
            }
            return Ok(Item { renames, ..item });
        }
        if let Some(item) = self.made_item(range, name)? {
            return Ok(Item { renames, ..item });
        }
        let relation = self.relation(range)?;
        if !Self::is_readable(relation) {
            return Err(missing(format!("cannot open relation \"{}\"", range.relname), range.location));
        }
        let facts_name = self.read_relation(relation)?;
        let source = Source::Base(relation, facts_name, self.shown(relation)?);
        let schema = alias.is_none().then(|| relation.name.schema.clone());
        Ok(Item { schema, renames, ..Item::new(Some(name), source) })
    }

    /// A relation that is read.
    pub(super) fn read_relation(&mut self, relation: &'a Relation) -> Step<Name> {
        let name = self.facts_name(relation);
        self.access(Action::Read, Object::Relation(name.clone()));
        // These show the server's files.
        let of_files = ["pg_file_settings", "pg_hba_file_rules", "pg_ident_file_mappings"];
        if relation.is_builtin() && of_files.contains(&&*relation.name.name) {
            self.admin();
        }
        if relation.kind == RelationKind::Foreign {
            self.effect(format!("{}.{} is read from another server or a file", name.schema, name.name));
        }
        self.started_by_reading(relation)?;
        Ok(name)
    }

    fn range_subselect(&mut self, sub: &protobuf::RangeSubselect, scope: &mut Scope<'_, 'a>) -> Step<Vec<Star>> {
        let Some(NodeEnum::SelectStmt(select)) = sub.subquery.as_ref().and_then(|node| node.node.as_ref()) else {
            return Err(unexpected("a sub-query"));
        };
        let output = if sub.lateral {
            self.query(select, scope)?
        } else {
            // What stands beside it is not in sight, only what stands around the whole query.
            let outer = Scope {
                parent: scope.parent,
                ctes: scope.ctes.clone(),
                arguments: scope.arguments.clone(),
                ..Scope::default()
            };
            self.query(select, &outer)?
        };
        let mut columns = output.columns;
        let alias = alias_of(sub.alias.as_ref(), &mut columns);
        Ok(add(scope, Item::derived(alias, columns, output.rest)))
    }

    fn range_function(&mut self, function: &protobuf::RangeFunction, scope: &mut Scope<'_, 'a>) -> Step<Vec<Star>> {
        let mut columns = Vec::new();
        let mut rest: Option<Flow> = None;
        let mut own_name = None;
        for node in &function.functions {
            let Some(NodeEnum::List(list)) = &node.node else { return Err(unexpected("a function in FROM")) };
            let Some(call) = list.items.first() else { return Err(unexpected("a function in FROM")) };
            if let Some(args) = unnested(call) {
                own_name = Some("unnest".to_owned());
                for arg in args {
                    let mut flow = Flow::default();
                    let array = self.expr(arg, scope, &mut flow)?;
                    let ty = self.element_of(array);
                    self.call_by_name(None, "unnest", &[array], &[], -1)?;
                    self.use_flow(&flow, Place::Filter);
                    flow.change();
                    if ty == Ty::Opaque {
                        rest.get_or_insert_default().derive(&flow);
                    }
                    columns.push(Col { name: "unnest".into(), ty, flow });
                }
                continue;
            }
            let mut flow = Flow::default();
            let ty = self.expr(call, scope, &mut flow)?;
            // How many rows there are depends on what they are made of.
            self.use_flow(&flow, Place::Filter);
            flow.change();
            let definitions = match list.items.get(1).map(|node| &node.node) {
                Some(Some(NodeEnum::List(list))) => list.items.as_slice(),
                _ => &[],
            };
            let definitions = if definitions.is_empty() { function.coldeflist.as_slice() } else { definitions };
            let (name, known) = self.function_columns(call, ty, &flow);
            own_name = own_name.or(name.clone());
            if !definitions.is_empty() {
                for definition in definitions {
                    let Some(NodeEnum::ColumnDef(column)) = &definition.node else {
                        return Err(unexpected("a column"));
                    };
                    let ty = self.ty_of(column.type_name.as_ref())?;
                    // The function makes values of these types itself: no cast, but the checks of domains.
                    if let Ty::Known(oid) = ty {
                        self.type_checks(oid)?;
                    }
                    columns.push(Col { name: column.colname.as_str().into(), ty, flow: flow.clone() });
                }
            } else if let Some(known) = known {
                columns.extend(known);
            } else {
                // A plain value is one column, under the alias where there is one.
                let alias = function.alias.as_ref().filter(|_| function.functions.len() == 1);
                let name = alias.map(|alias| alias.aliasname.clone()).or(name).unwrap_or_default();
                if ty == Ty::Opaque {
                    rest.get_or_insert_default().derive(&flow);
                }
                columns.push(Col { name: name.into(), ty, flow });
            }
        }
        if function.ordinality {
            columns.push(Col { name: "ordinality".into(), ty: INT8, flow: Flow::default() });
        }
        let alias = alias_of(function.alias.as_ref(), &mut columns).map(str::to_owned).or(own_name);
        Ok(add(scope, Item::derived(alias.as_deref(), columns, rest)))
    }

    /// The name of a function in FROM, and its columns where it returns rows of a known shape.
    fn function_columns(&self, call: &Node, ty: Ty, flow: &Flow) -> (Option<String>, Option<Vec<Col>>) {
        let Some(NodeEnum::FuncCall(call)) = &call.node else { return (None, None) };
        let Ok((schema, name)) = names::qualified(&call.funcname) else { return (None, None) };
        let column = |(name, ty): &(Arc<str>, u32)| Col { name: name.clone(), ty: Ty::Known(*ty), flow: flow.clone() };
        let named = Some(name.to_owned());
        if let Ty::Known(oid) = ty
            && let Some(relation) =
                self.catalog.type_by_oid(oid).and_then(|ty| self.catalog.relation_by_oid(ty.relation))
        {
            let columns = relation.columns.iter().map(|of| column(&(of.name.clone(), of.ty))).collect();
            return (named, Some(columns));
        }
        let path = schema.map_or_else(|| self.function_path(), |schema| vec![self.real_schema(schema)]);
        let visible = self.catalog.routines(name).filter(|routine| path.contains(&routine.name.schema));
        let mut shapes: Vec<_> = visible.filter(|routine| routine.accepts(call.args.len())).collect();
        shapes.dedup_by(|a, b| a.out == b.out && a.result == b.result);
        match shapes.as_slice() {
            [only] if only.out.len() == 1 => {
                // One OUT argument is a plain value that has a name.
                (named, Some(only.out.iter().map(column).collect()))
            }
            [only] if !only.out.is_empty() => {
                let columns = only.out.iter().map(|(name, ty)| {
                    let ty = if self.is_polymorphic(*ty) { Ty::Opaque } else { Ty::Known(*ty) };
                    Col { name: name.clone(), ty, flow: flow.clone() }
                });
                (named, Some(columns.collect()))
            }
            _ => (named, None),
        }
    }

    pub(super) fn is_polymorphic(&self, oid: u32) -> bool {
        self.catalog.type_by_oid(oid).is_none_or(|ty| ty.kind == crate::catalog::TypeKind::Pseudo)
    }

    fn range_table_func(&mut self, table: &protobuf::RangeTableFunc, scope: &mut Scope<'_, 'a>) -> Step<Vec<Star>> {
        let mut flow = Flow::default();
        self.maybe(table.docexpr.as_deref(), scope, &mut flow)?;
        self.maybe(table.rowexpr.as_deref(), scope, &mut flow)?;
        self.each(&table.namespaces, scope, &mut flow)?;
        self.reached(&flow);
        self.use_flow(&flow, Place::Filter);
        flow.change();
        let mut columns = Vec::new();
        for node in &table.columns {
            let Some(NodeEnum::RangeTableFuncCol(column)) = &node.node else {
                return Err(unexpected("a column of XMLTABLE"));
            };
            let mut flow = flow.clone();
            self.maybe(column.colexpr.as_deref(), scope, &mut flow)?;
            self.maybe(column.coldefexpr.as_deref(), scope, &mut flow)?;
            self.reached(&flow);
            flow.change();
            let ty = match &column.type_name {
                Some(name) => self.cast_to(name, TEXT)?,
                None => Ty::Known(23),
            };
            columns.push(Col { name: column.colname.as_str().into(), ty, flow });
        }
        let alias = alias_of(table.alias.as_ref(), &mut columns);
        Ok(add(scope, Item::derived(alias.or(Some("xmltable")), columns, None)))
    }

    fn join(&mut self, join: &protobuf::JoinExpr, scope: &mut Scope<'_, 'a>) -> Step<Vec<Star>> {
        let kind = JoinType::try_from(join.jointype).map_err(|_| unexpected("a join"))?;
        if !matches!(kind, JoinType::JoinInner | JoinType::JoinLeft | JoinType::JoinFull | JoinType::JoinRight) {
            return Err(unexpected("a join"));
        }
        let (Some(left), Some(right)) = (join.larg.as_deref(), join.rarg.as_deref()) else {
            return Err(unexpected("a join"));
        };
        let first = scope.items.len();
        let left = self.item_of_from(left, scope)?;
        let right = self.item_of_from(right, scope)?;
        let shared = self.join_columns(join, scope, &left, &right)?;
        let star = match shared {
            Some(names) => self.merged(scope, &names, &left, &right)?,
            None => left.into_iter().chain(right).collect(),
        };
        // Only what the join itself brings is in sight of its condition.
        let within = Scope {
            items: scope.items.get(first..).unwrap_or_default().to_vec(),
            parent: scope.parent,
            ctes: scope.ctes.clone(),
            arguments: scope.arguments.clone(),
            ..Scope::default()
        };
        self.condition(join.quals.as_deref(), &within, Place::Join)?;
        drop(within);
        if let Some(alias) = &join.join_using_alias {
            version::require("an alias after USING", 14, self.context.major)?;
            let columns = star.iter().filter_map(|entry| match entry {
                Star::Col(column) => Some(column.clone()),
                Star::Item(_) => None,
            });
            let mut item = Item::derived(Some(&alias.aliasname), columns.collect(), None);
            item.qualified_only = true;
            scope.items.push(item);
        }
        let Some(alias) = &join.alias else { return Ok(star) };
        // With an alias the join is one item, and its parts are out of sight.
        let (mut columns, rest) = scope.star_columns(&star);
        let target = scope.items.get(first..).unwrap_or_default().iter().any(|item| item.target);
        scope.items.truncate(first);
        rename(&mut columns, &alias.colnames);
        let mut item = Item::derived(Some(&alias.aliasname), columns, rest);
        item.target = target;
        Ok(add(scope, item))
    }

    /// The columns that USING or NATURAL join by.
    fn join_columns(
        &mut self,
        join: &protobuf::JoinExpr,
        scope: &Scope<'_, 'a>,
        left: &[Star],
        right: &[Star],
    ) -> Step<Option<Vec<Arc<str>>>> {
        if join.is_natural {
            let (left, left_rest) = scope.known_star_columns(left);
            let (right, right_rest) = scope.known_star_columns(right);
            if left_rest.or(right_rest).is_some() {
                return Err(unexpected("NATURAL JOIN of a function's unknown columns"));
            }
            let names: HashSet<&Arc<str>> = right.iter().map(|column| &column.name).collect();
            let shared = left.iter().map(|column| &column.name).filter(|name| names.contains(name));
            return Ok(Some(shared.cloned().collect()));
        }
        if join.using_clause.is_empty() {
            return Ok(None);
        }
        Ok(Some(names::parts(&join.using_clause)?.into_iter().map(Arc::from).collect()))
    }

    /// What `*` is of a join by shared columns: those first, each from both sides, then the rest.
    fn merged(&mut self, scope: &Scope<'_, 'a>, shared: &[Arc<str>], left: &[Star], right: &[Star]) -> Step<Vec<Star>> {
        let (left, left_rest) = scope.known_star_columns(left);
        let (right, right_rest) = scope.known_star_columns(right);
        let mut star = Vec::new();
        for name in shared {
            let of = |columns: &[Col]| columns.iter().find(|column| column.name == *name).cloned();
            let (Some(mut one), Some(other)) = (of(&left), of(&right)) else {
                if left_rest.is_some() || right_rest.is_some() {
                    return Err(unexpected("JOIN USING of a function's unknown columns"));
                }
                return Err(missing(format!("column \"{name}\" specified in USING clause does not exist"), -1));
            };
            self.operator_call(None, "=", Some(one.ty), other.ty)?;
            self.joined(&one.flow, &other.flow, Place::Join);
            self.meet(&one.flow, &other.flow, Meets::Other);
            one.flow.extend(&other.flow);
            one.ty = one.ty.or(other.ty);
            star.push(Star::Col(one));
        }
        let rest = left.into_iter().chain(right).filter(|column| !shared.contains(&column.name));
        star.extend(rest.map(Star::Col));
        Ok(star)
    }

    /// A relation that an earlier statement of the same string made.
    fn made_item(&mut self, range: &protobuf::RangeVar, alias: &str) -> Step<Option<Item<'a>>> {
        let Some((name, made)) = self.made(range_schema(range), &range.relname) else { return Ok(None) };
        self.access(Action::Read, Object::Relation(name));
        Ok(Some(made.item(alias)))
    }
}

/// The arguments of `unnest(a, b)` in FROM, which stands for `ROWS FROM (unnest(a), unnest(b))`.
fn unnested(node: &Node) -> Option<&[Node]> {
    let Some(NodeEnum::FuncCall(call)) = &node.node else { return None };
    let (schema, name) = names::qualified(&call.funcname).ok()?;
    let several = call.args.len() > 1 && schema.is_none_or(|schema| schema == names::SYSTEM);
    (several && name == "unnest").then_some(call.args.as_slice())
}

/// Adds an item and returns what it adds to `*`.
fn add<'a>(scope: &mut Scope<'_, 'a>, item: Item<'a>) -> Vec<Star> {
    scope.items.push(item);
    vec![Star::Item(scope.items.len() - 1)]
}

/// An item's alias; the new names that it gives are put in place.
fn alias_of<'n>(alias: Option<&'n protobuf::Alias>, columns: &mut [Col]) -> Option<&'n str> {
    let alias = alias?;
    rename(columns, &alias.colnames);
    Some(&alias.aliasname)
}
