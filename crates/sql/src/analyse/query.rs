//! SELECT, VALUES, set operations and the WITH in front of any of them.

use std::rc::Rc;

use pg_query::{
    Node, NodeEnum,
    protobuf::{self, CteMaterialize, SetOperation, a_const::Val},
};

use super::{
    Analyser, Step,
    flow::Flow,
    labels::output_name,
    names::string,
    scope::{Col, Cte, Ctes, Derived, Scope, Source, Ty},
    unexpected,
};
use crate::{
    facts::{Access, Action, Manner, Object, Place},
    version,
};

/// A query's result.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) columns: Vec<Col>,
    /// It may have columns that are not known: where their values come from.
    pub(super) rest: Option<Flow>,
}

impl Output {
    /// Where the values of all columns come from.
    pub(super) fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.columns.iter().map(|column| &column.flow).chain(&self.rest)
    }
}

impl<'a> Analyser<'a> {
    /// A query whose names are looked up in `outer` when they are not its own.
    pub(super) fn query(&mut self, select: &protobuf::SelectStmt, outer: &Scope<'_, 'a>) -> Step<Output> {
        self.enter()?;
        let mut scope = Scope::inside(outer);
        let ctes = self.with(select.with_clause.as_ref(), &mut scope)?;
        let output = self.query_body(select, &scope)?;
        self.finish_ctes(&ctes);
        self.leave();
        Ok(output)
    }

    fn query_body(&mut self, select: &protobuf::SelectStmt, scope: &Scope<'_, 'a>) -> Step<Output> {
        let op = SetOperation::try_from(select.op).map_err(|_| unexpected("a set operation"))?;
        match op {
            SetOperation::SetopNone if !select.values_lists.is_empty() => self.values(select, scope),
            SetOperation::SetopNone => self.plain(select, scope),
            SetOperation::SetopUnion | SetOperation::SetopIntersect | SetOperation::SetopExcept => {
                let (Some(left), Some(right)) = (&select.larg, &select.rarg) else {
                    return Err(unexpected("a set operation"));
                };
                let left = self.query(left, scope)?;
                let right = self.query(right, scope)?;
                // A literal that a part puts out is read as what the other part has there.
                let as_literal = |ty: Ty| if ty == Ty::Literal.settled() { Ty::Literal } else { ty };
                for (one, other) in left.columns.iter().zip(&right.columns) {
                    self.alternatives(&[as_literal(one.ty), as_literal(other.ty)])?;
                }
                let compares = !select.all || op != SetOperation::SetopUnion;
                if compares {
                    self.set_compared(&left, &right);
                }
                let output = merge(left, right);
                if compares {
                    self.grouped(&output);
                }
                self.tail(select, scope, &output)?;
                Ok(output)
            }
            SetOperation::Undefined => Err(unexpected("a set operation")),
        }
    }

    fn values(&mut self, select: &protobuf::SelectStmt, scope: &Scope<'_, 'a>) -> Step<Output> {
        let mut output = Output::default();
        for list in &select.values_lists {
            let Some(NodeEnum::List(list)) = &list.node else { return Err(unexpected("VALUES")) };
            for (at, item) in list.items.iter().enumerate() {
                let mut flow = Flow::default();
                let ty = self.expr(item, scope, &mut flow)?;
                match output.columns.get_mut(at) {
                    Some(column) => {
                        column.ty = self.alternatives(&[column.ty, ty])?;
                        column.flow.extend(&flow);
                    }
                    None => output.columns.push(Col { name: format!("column{}", at + 1).into(), ty, flow }),
                }
            }
        }
        output.columns.iter_mut().for_each(|column| column.ty = column.ty.settled());
        self.tail(select, scope, &output)?;
        Ok(output)
    }

    fn plain(&mut self, select: &protobuf::SelectStmt, outer: &Scope<'_, 'a>) -> Step<Output> {
        let mut scope = Scope::inside(outer);
        self.from(&select.from_clause, &mut scope)?;
        self.condition(select.where_clause.as_deref(), &scope, Place::Filter)?;
        let outer_windows = self.windows(select, &scope)?;
        let pinned = pinned_setting(select, &scope);
        self.reads_values |= pinned.is_some();
        let outer_name = std::mem::replace(&mut self.setting_name, pinned);
        let output = self.targets(&select.target_list, &scope)?;
        self.setting_name = outer_name;
        for group in &select.group_clause {
            self.group(group, &scope, &output)?;
        }
        if select.group_distinct {
            version::require("GROUP BY DISTINCT", 14, self.context.major)?;
        }
        self.condition(select.having_clause.as_deref(), &scope, Place::Filter)?;
        if let [only] = select.distinct_clause.as_slice()
            && only.node.is_none()
        {
            self.grouped(&output);
        } else {
            for node in &select.distinct_clause {
                self.by_output(node, &scope, &output, Place::Group)?;
            }
        }
        self.tail(select, &scope, &output)?;
        self.windows = outer_windows;
        if let Some(into) = &select.into_clause {
            self.select_into(into, &output)?;
        }
        self.finish_scope(&scope);
        Ok(output)
    }

    /// ORDER BY, LIMIT and FOR UPDATE, which any query may end with.
    fn tail(&mut self, select: &protobuf::SelectStmt, scope: &Scope<'_, 'a>, output: &Output) -> Step {
        for order in &select.sort_clause {
            let Some(NodeEnum::SortBy(sort)) = &order.node else { return Err(unexpected("ORDER BY")) };
            if let Some(node) = &sort.node {
                self.by_output(node, scope, output, Place::Order)?;
            }
            self.sort_operator(sort)?;
        }
        self.used(select.limit_offset.as_deref(), scope, Place::Filter)?;
        self.used(select.limit_count.as_deref(), scope, Place::Filter)?;
        for lock in &select.locking_clause {
            let Some(NodeEnum::LockingClause(lock)) = &lock.node else { return Err(unexpected("FOR UPDATE")) };
            self.locking(lock, scope)?;
        }
        Ok(())
    }

    /// ORDER BY and GROUP BY may name an output column, by name or number.
    fn by_output(&mut self, node: &Node, scope: &Scope<'_, 'a>, output: &Output, place: Place) -> Step {
        let column = match &node.node {
            Some(NodeEnum::AConst(constant)) => match &constant.val {
                Some(Val::Ival(number)) => {
                    let at = usize::try_from(number.ival).ok().and_then(|number| number.checked_sub(1));
                    at.and_then(|at| output.columns.get(at))
                }
                _ => None,
            },
            Some(NodeEnum::ColumnRef(column)) => match column.fields.as_slice() {
                [field] => {
                    let name = string(field);
                    let named = output.columns.iter().find(|column| Some(&*column.name) == name);
                    // GROUP BY prefers an input column of the name; to take both is never too little.
                    if named.is_some() && place == Place::Group && self.is_input(node, scope) {
                        self.used(Some(node), scope, place)?;
                    }
                    named
                }
                _ => None,
            },
            _ => None,
        };
        match column {
            Some(column) => {
                self.use_flow(&column.flow, place);
                Ok(())
            }
            None => self.used(Some(node), scope, place).map(drop),
        }
    }

    fn is_input(&self, node: &Node, scope: &Scope<'_, 'a>) -> bool {
        let Some(NodeEnum::ColumnRef(column)) = &node.node else { return false };
        let name = column.fields.first().and_then(string).unwrap_or_default();
        scope.items.iter().any(|item| item.lookup(name, &mut Flow::default()).is_some())
    }

    fn group(&mut self, node: &Node, scope: &Scope<'_, 'a>, output: &Output) -> Step {
        match &node.node {
            Some(NodeEnum::GroupingSet(set)) => {
                self.enter()?;
                for node in &set.content {
                    self.group(node, scope, output)?;
                }
                self.leave();
                Ok(())
            }
            Some(NodeEnum::RowExpr(row)) => {
                for node in &row.args {
                    self.by_output(node, scope, output, Place::Group)?;
                }
                Ok(())
            }
            _ => self.by_output(node, scope, output, Place::Group),
        }
    }

    /// Columns by which rows are told apart.
    fn grouped(&mut self, output: &Output) {
        for flow in output.flows() {
            self.use_flow(flow, Place::Group);
        }
    }

    /// ORDER BY inside of an aggregate or a window, which decides what the result is.
    pub(super) fn sorted(&mut self, nodes: &[Node], scope: &Scope<'_, 'a>, place: Place, flow: &mut Flow) -> Step {
        for node in nodes {
            let Some(NodeEnum::SortBy(sort)) = &node.node else { return Err(unexpected("ORDER BY")) };
            self.decides(sort.node.as_deref(), scope, place, flow)?;
            self.sort_operator(sort)?;
        }
        Ok(())
    }

    /// `ORDER BY x USING <`.
    fn sort_operator(&mut self, sort: &protobuf::SortBy) -> Step {
        if sort.use_op.is_empty() {
            return Ok(());
        }
        let (schema, name) = super::names::qualified(&sort.use_op)?;
        self.operator_call(schema, name, Some(Ty::Opaque), Ty::Opaque).map(drop)
    }

    /// The windows of a WINDOW clause, which are in sight from then on; those that were before are given back.
    fn windows(&mut self, select: &protobuf::SelectStmt, scope: &Scope<'_, 'a>) -> Step<Vec<(String, Flow)>> {
        let outer = std::mem::take(&mut self.windows);
        for node in &select.window_clause {
            let Some(NodeEnum::WindowDef(window)) = &node.node else { return Err(unexpected("a window")) };
            let mut flow = Flow::default();
            self.window(window, scope, &mut flow)?;
            self.windows.push((window.name.clone(), flow));
        }
        Ok(outer)
    }

    /// A window: its partition, order and frame, which decide what the result is.
    pub(super) fn window(&mut self, window: &protobuf::WindowDef, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step {
        // `OVER w`, or `OVER (w …)`, which goes on from another.
        for named in [&window.name, &window.refname] {
            if let Some((_, known)) = self.windows.iter().find(|(own, _)| own == named) {
                flow.derive(known);
            }
        }
        for node in &window.partition_clause {
            self.decides(Some(node), scope, Place::Window, flow)?;
        }
        self.sorted(&window.order_clause, scope, Place::Window, flow)?;
        for offset in [&window.start_offset, &window.end_offset] {
            let ty = self.decides(offset.as_deref(), scope, Place::Window, flow)?;
            self.casts_of_use(ty);
        }
        Ok(())
    }

    /// A target list: the columns of the result.
    pub(super) fn targets(&mut self, nodes: &[Node], scope: &Scope<'_, 'a>) -> Step<Output> {
        let mut output = Output::default();
        for node in nodes {
            let Some(NodeEnum::ResTarget(target)) = &node.node else { return Err(unexpected("a column")) };
            let Some(value) = target.val.as_deref() else { return Err(unexpected("a column")) };
            if let Some(columns) = self.star(value, scope)? {
                output.columns.extend(columns);
                for rest in scope.items.iter().filter_map(super::scope::Item::rest) {
                    output.rest.get_or_insert_default().derive(rest);
                }
                continue;
            }
            let mut flow = Flow::default();
            let ty = self.expr(value, scope, &mut flow)?.settled();
            // `(row).*` has as many columns as the row's type.
            if let Some(NodeEnum::AIndirection(indirection)) = &value.node
                && indirection.indirection.iter().any(|step| matches!(step.node, Some(NodeEnum::AStar(_))))
            {
                output.rest.get_or_insert_default().derive(&flow);
            }
            let name = if target.name.is_empty() { output_name(value) } else { target.name.as_str() };
            output.columns.push(Col { name: name.into(), ty, flow });
        }
        Ok(output)
    }

    /// The columns of `*` or `t.*`; `None` for anything else.
    pub(super) fn star(&mut self, node: &Node, scope: &Scope<'_, 'a>) -> Step<Option<Vec<Col>>> {
        let Some(NodeEnum::ColumnRef(column)) = &node.node else { return Ok(None) };
        let Some((Node { node: Some(NodeEnum::AStar(_)) }, qualifier)) = column.fields.split_last() else {
            return Ok(None);
        };
        self.nodes += 1;
        if qualifier.is_empty() {
            let (columns, _) = scope.star_columns(&scope.star);
            return Ok(Some(columns));
        }
        let (schema, name) = super::names::qualified(qualifier)?;
        let schema = schema.map(|schema| self.real_schema(schema));
        match scope.item(schema.as_deref(), name) {
            Some(item) => Ok(Some(item.columns())),
            None => {
                // An argument of the function at hand that is a row.
                self.column(column, scope, &mut Flow::default())?;
                Ok(Some(Vec::new()))
            }
        }
    }

    /// Row locks: on the relations named, or all of FROM.
    fn locking(&mut self, lock: &protobuf::LockingClause, scope: &Scope<'_, 'a>) -> Step {
        let mut names = Vec::new();
        for node in &lock.locked_rels {
            let Some(NodeEnum::RangeVar(range)) = &node.node else { return Err(unexpected("FOR UPDATE OF")) };
            names.push(range.relname.as_str());
        }
        for item in &scope.items {
            if !names.is_empty() && !item.alias.as_deref().is_some_and(|alias| names.contains(&alias)) {
                continue;
            }
            match &item.source {
                Source::Base(_, name, _) => {
                    self.access_in(Action::Read, Object::Relation(name.clone()), Manner::Locking);
                }
                // It reaches into sub-queries: all that the statement has read so far is taken to be locked.
                Source::Derived(_) => {
                    let read = |access: &&Access| {
                        access.action == Action::Read && matches!(access.object, Object::Relation(_))
                    };
                    let objects: Vec<Object> =
                        self.facts.accesses.iter().filter(read).map(|access| access.object.clone()).collect();
                    for object in objects {
                        self.access_in(Action::Read, object, Manner::Locking);
                    }
                }
            }
        }
        if scope.items.is_empty() {
            return Err(unexpected("FOR UPDATE without FROM"));
        }
        Ok(())
    }

    /// The CTEs of a WITH, which are in sight from then on.
    pub(super) fn with(
        &mut self,
        with: Option<&protobuf::WithClause>,
        scope: &mut Scope<'_, 'a>,
    ) -> Step<Vec<Rc<Derived>>> {
        let mut made = Vec::new();
        let Some(with) = with else { return Ok(made) };
        if with.recursive {
            self.forward_ctes(with, scope)?;
        }
        for node in &with.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = &node.node else { return Err(unexpected("WITH")) };
            if CteMaterialize::try_from(cte.ctematerialized).is_err() {
                return Err(unexpected("WITH"));
            }
            let output = self.cte(cte, with.recursive, scope)?;
            let derived = Rc::new(Derived::new(output.columns, output.rest));
            made.push(derived.clone());
            scope.ctes = bind(&cte.ctename, Source::Derived(derived), scope.ctes.take());
        }
        Ok(made)
    }

    /// WITH RECURSIVE lets a CTE refer to later ones, which are not known yet.
    fn forward_ctes(&mut self, with: &protobuf::WithClause, scope: &mut Scope<'_, 'a>) -> Step {
        for node in &with.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = &node.node else { return Err(unexpected("WITH")) };
            let unknown = Source::Derived(Rc::new(Derived { later: true, ..Derived::default() }));
            scope.ctes = bind(&cte.ctename, unknown, scope.ctes.take());
        }
        Ok(())
    }

    fn cte(&mut self, cte: &protobuf::CommonTableExpr, recursive: bool, scope: &Scope<'_, 'a>) -> Step<Output> {
        self.enter()?;
        let Some(query) = cte.ctequery.as_ref().and_then(|node| node.node.as_ref()) else {
            return Err(unexpected("WITH"));
        };
        let mut output = match query {
            NodeEnum::SelectStmt(select) if recursive => self.recursive_cte(cte, select, scope)?,
            NodeEnum::SelectStmt(select) => self.query(select, scope)?,
            other => self.data_modifying(other, scope)?,
        };
        rename(&mut output.columns, &cte.aliascolnames);
        self.search_and_cycle(cte, scope, &mut output)?;
        self.leave();
        Ok(output)
    }

    /// A query that may refer to itself: repeated until what its columns derive from grows no more.
    fn recursive_cte(
        &mut self,
        cte: &protobuf::CommonTableExpr,
        select: &protobuf::SelectStmt,
        scope: &Scope<'_, 'a>,
    ) -> Step<Output> {
        let is_union = select.op == SetOperation::SetopUnion as i32;
        let (Some(first), true) = (&select.larg, is_union) else { return self.query(select, scope) };
        let mut inner = Scope::inside(scope);
        let made = self.with(select.with_clause.as_ref(), &mut inner)?;
        let mut known = self.query(first, &inner)?;
        self.finish_ctes(&made);
        // A value passes through one column in each round, so that this many rounds reach every column.
        let rounds = known.columns.len() + 2;
        for _ in 0..rounds {
            let size = |known: &Output| known.flows().map(|flow| flow.size() + flow.changed.len()).sum::<usize>();
            let before = size(&known);
            let mut columns = known.columns.clone();
            rename(&mut columns, &cte.aliascolnames);
            self.search_columns(cte, &mut columns);
            let mut round = Scope::inside(scope);
            let itself = Source::Derived(Rc::new(Derived::new(columns, known.rest.clone())));
            round.ctes = bind(&cte.ctename, itself, round.ctes.take());
            let output = self.query(select, &round)?;
            known = merge(known, output);
            if size(&known) == before {
                break;
            }
        }
        Ok(known)
    }

    fn search_and_cycle(
        &mut self,
        cte: &protobuf::CommonTableExpr,
        scope: &Scope<'_, 'a>,
        output: &mut Output,
    ) -> Step {
        if cte.search_clause.is_none() && cte.cycle_clause.is_none() {
            return Ok(());
        }
        version::require("SEARCH and CYCLE", 14, self.context.major)?;
        if let Some(cycle) = &cte.cycle_clause {
            self.used(cycle.cycle_mark_value.as_deref(), scope, Place::Filter)?;
            self.used(cycle.cycle_mark_default.as_deref(), scope, Place::Filter)?;
        }
        self.search_columns(cte, &mut output.columns);
        Ok(())
    }

    /// The columns that SEARCH and CYCLE add: rows of the CTE's own columns.
    fn search_columns(&self, cte: &protobuf::CommonTableExpr, columns: &mut Vec<Col>) {
        let mut flow = Flow::default();
        columns.iter().for_each(|column| flow.derive(&column.flow));
        let search = cte.search_clause.iter().map(|search| search.search_seq_column.as_str());
        let cycle = cte.cycle_clause.iter();
        let cycle = cycle.flat_map(|cycle| [cycle.cycle_mark_column.as_str(), cycle.cycle_path_column.as_str()]);
        for name in search.chain(cycle) {
            if columns.iter().all(|column| *column.name != *name) {
                columns.push(Col { name: name.into(), ty: Ty::Opaque, flow: flow.clone() });
            }
        }
    }

    /// What a sub-query puts out and nobody takes is read all the same.
    pub(super) fn finish_scope(&mut self, scope: &Scope<'_, 'a>) {
        for item in &scope.items {
            if let Source::Derived(derived) = &item.source
                && Rc::strong_count(derived) == 1
            {
                self.finish_derived(derived);
            }
        }
    }

    pub(super) fn finish_ctes(&mut self, made: &[Rc<Derived>]) {
        for derived in made {
            self.finish_derived(derived);
        }
    }

    fn finish_derived(&mut self, derived: &Derived) {
        for (column, used) in derived.columns.iter().zip(&derived.used) {
            if !used.get() {
                self.use_flow(&column.flow, Place::Derived);
            }
        }
    }
}

/// The setting that `SELECT … FROM pg_settings WHERE name = 'x'` is about: how pg_dump changes one that a server may not
/// have.
fn pinned_setting(select: &protobuf::SelectStmt, scope: &Scope<'_, '_>) -> Option<String> {
    let [item] = scope.items.as_slice() else { return None };
    let Source::Base(relation, ..) = &item.source else { return None };
    if !relation.is_builtin() || &*relation.name.name != "pg_settings" {
        return None;
    }
    let Some(NodeEnum::AExpr(test)) = select.where_clause.as_ref().and_then(|node| node.node.as_ref()) else {
        return None;
    };
    let is_equal = test.kind == protobuf::AExprKind::AexprOp as i32
        && matches!(test.name.as_slice(), [name] if string(name) == Some("="));
    let is_name = test.lexpr.as_deref().is_some_and(is_column_name);
    let value = test.rexpr.as_deref().and_then(super::call::constant_text)?;
    (is_equal && is_name).then(|| value.to_ascii_lowercase())
}

/// Whether a node is the column `name`.
pub(super) fn is_column_name(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::ColumnRef(column))
        if matches!(column.fields.as_slice(), [field] if string(field) == Some("name")))
}

fn bind<'a>(name: &str, source: Source<'a>, next: Ctes<'a>) -> Ctes<'a> {
    Some(Rc::new(Cte { name: name.into(), source, next }))
}

/// Column by column, what either may be.
pub(super) fn merge(left: Output, right: Output) -> Output {
    let mut columns = left.columns;
    for (at, other) in right.columns.into_iter().enumerate() {
        match columns.get_mut(at) {
            Some(column) => {
                column.ty = column.ty.or(other.ty);
                column.flow.extend(&other.flow);
            }
            None => columns.push(other),
        }
    }
    let mut rest = left.rest;
    if let Some(other) = right.rest {
        rest.get_or_insert_default().derive(&other);
    }
    Output { columns, rest }
}

/// Gives the first columns new names.
pub(super) fn rename(columns: &mut [Col], names: &[Node]) {
    for (column, name) in columns.iter_mut().zip(names) {
        if let Some(name) = string(name) {
            column.name = name.into();
        }
    }
}
