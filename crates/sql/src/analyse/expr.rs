//! Expressions: where their value comes from, what they call, and which type they have.

use pg_query::{
    Node, NodeEnum,
    protobuf::{self, AExprKind, SubLinkType, a_const::Val},
};

use super::{
    Analyser, Step, missing,
    names::{self, string},
    scope::{Flow, Scope, Ty},
    unexpected,
};
use crate::{facts::Place, version};

pub(super) const BOOL: Ty = Ty::Known(16);
pub(super) const INT4: Ty = Ty::Known(23);
pub(super) const INT8: Ty = Ty::Known(20);
pub(super) const TEXT: Ty = Ty::Known(25);
pub(super) const NUMERIC: Ty = Ty::Known(1700);
pub(super) const XML: Ty = Ty::Known(142);

impl<'a> Analyser<'a> {
    /// An expression; what its value derives from is added to `flow`.
    pub(super) fn expr(&mut self, node: &Node, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        let Some(inner) = &node.node else { return Ok(Ty::Literal) };
        self.enter()?;
        let ty = self.expr_inner(inner, scope, flow)?;
        self.leave();
        Ok(ty)
    }

    /// An expression that may be missing.
    pub(super) fn maybe(&mut self, node: Option<&Node>, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        node.map_or(Ok(Ty::Literal), |node| self.expr(node, scope, flow))
    }

    pub(super) fn each(&mut self, nodes: &[Node], scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        let mut types = Vec::with_capacity(nodes.len());
        for node in nodes {
            types.push(self.expr(node, scope, flow)?);
        }
        self.alternatives(&types)
    }

    /// Expressions that are taken as numbers or truth values, by whichever casts that takes.
    fn coerced<'n>(
        &mut self,
        nodes: impl IntoIterator<Item = &'n Node>,
        scope: &Scope<'_, 'a>,
        flow: &mut Flow,
    ) -> Step {
        for node in nodes {
            let ty = self.expr(node, scope, flow)?;
            self.casts_of_use(ty);
        }
        Ok(())
    }

    /// An expression whose columns are used in this place, and flow no further.
    pub(super) fn used(&mut self, node: Option<&Node>, scope: &Scope<'_, 'a>, place: Place) -> Step<Ty> {
        let mut flow = Flow::default();
        let ty = self.maybe(node, scope, &mut flow)?;
        // A condition is taken as a truth value, LIMIT as a number.
        if matches!(place, Place::Filter | Place::Join) {
            self.casts_of_use(ty);
        }
        self.use_flow(flow, place);
        Ok(ty)
    }

    fn expr_inner(&mut self, node: &NodeEnum, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        match node {
            NodeEnum::AConst(constant) => Ok(constant_type(constant)),
            NodeEnum::ColumnRef(column) => self.column(column, scope, flow),
            NodeEnum::ParamRef(parameter) => self.parameter(parameter.number, scope),
            NodeEnum::FuncCall(call) => self.function_call(call, scope, flow),
            NodeEnum::AExpr(expr) => self.operator_expr(expr, scope, flow),
            NodeEnum::BoolExpr(expr) => {
                self.coerced(&expr.args, scope, flow)?;
                Ok(BOOL)
            }
            NodeEnum::NullTest(test) => {
                self.maybe(test.arg.as_deref(), scope, flow)?;
                Ok(BOOL)
            }
            NodeEnum::BooleanTest(test) => {
                self.coerced(test.arg.as_deref(), scope, flow)?;
                Ok(BOOL)
            }
            NodeEnum::SubLink(link) => self.sub_link(link, scope, flow),
            NodeEnum::CaseExpr(case) => self.case(case, scope, flow),
            NodeEnum::CoalesceExpr(expr) => Ok(self.each(&expr.args, scope, flow)?.settled()),
            NodeEnum::MinMaxExpr(expr) => Ok(self.each(&expr.args, scope, flow)?.settled()),
            NodeEnum::TypeCast(cast) => self.cast(cast, scope, flow),
            NodeEnum::CollateClause(clause) => self.maybe(clause.arg.as_deref(), scope, flow),
            NodeEnum::AArrayExpr(array) => {
                let element = self.each(&array.elements, scope, flow)?;
                Ok(self.array_of(element.settled()))
            }
            NodeEnum::RowExpr(row) => {
                self.row(&row.args, scope, flow)?;
                Ok(Ty::Opaque)
            }
            NodeEnum::AIndirection(indirection) => self.indirection(indirection, scope, flow),
            NodeEnum::NamedArgExpr(arg) => self.maybe(arg.arg.as_deref(), scope, flow),
            NodeEnum::GroupingFunc(grouping) => {
                self.each(&grouping.args, scope, flow)?;
                Ok(INT4)
            }
            NodeEnum::List(list) => {
                self.row(&list.items, scope, flow)?;
                Ok(Ty::Opaque)
            }
            NodeEnum::SqlvalueFunction(function) => self.value_function(function),
            // It names a row that the session itself fetched, so it is as good as a WHERE.
            NodeEnum::CurrentOfExpr(_) => {
                self.target_hits += 1;
                Ok(BOOL)
            }
            NodeEnum::SetToDefault(_) => Ok(Ty::Literal),
            NodeEnum::MultiAssignRef(assign) => {
                self.maybe(assign.source.as_deref(), scope, flow)?;
                Ok(Ty::Opaque)
            }
            NodeEnum::ResTarget(target) => self.maybe(target.val.as_deref(), scope, flow),
            NodeEnum::MergeSupportFunc(_) => {
                version::require("merge_action()", 17, self.context.major)?;
                Ok(TEXT)
            }
            NodeEnum::XmlExpr(xml) => {
                version_of_xml(xml.indent, self.context.major)?;
                self.each(&xml.named_args, scope, flow)?;
                self.each(&xml.args, scope, flow)?;
                Ok(if xml.op == protobuf::XmlExprOp::IsDocument as i32 { BOOL } else { XML })
            }
            NodeEnum::XmlSerialize(xml) => {
                version_of_xml(xml.indent, self.context.major)?;
                self.maybe(xml.expr.as_deref(), scope, flow)?;
                self.ty_of(xml.type_name.as_ref())
            }
            other => self.json(other, scope, flow),
        }
    }

    /// The fields of a row constructor, where `t.*` stands for all of its columns.
    pub(super) fn row(&mut self, nodes: &[Node], scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step {
        for node in nodes {
            if let Some(columns) = self.star(node, scope)? {
                columns.iter().for_each(|column| flow.extend(&column.flow));
            } else {
                self.expr(node, scope, flow)?;
            }
        }
        Ok(())
    }

    /// A column reference, whole row or argument of the function at hand.
    pub(super) fn column(&mut self, column: &protobuf::ColumnRef, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        let fields: Vec<Option<&str>> = column.fields.iter().map(string).collect();
        match fields.as_slice() {
            [Some(name)] => self.plain_column(name, column.location, scope, flow),
            [Some(qualifier), Some(name)] => self.qualified_column(None, qualifier, name, column.location, scope, flow),
            [Some(schema), Some(table), Some(name)] | [Some(_), Some(schema), Some(table), Some(name)] => {
                let schema = self.real_schema(schema);
                self.qualified_column(Some(&schema), table, name, column.location, scope, flow)
            }
            // `t.*` as a value: a whole row.
            [Some(qualifier), None] => self.whole_row(None, qualifier, column.location, scope, flow),
            [Some(schema), Some(table), None] | [Some(_), Some(schema), Some(table), None] => {
                let schema = self.real_schema(schema);
                self.whole_row(Some(&schema), table, column.location, scope, flow)
            }
            _ => Err(unexpected("a column reference")),
        }
    }

    fn plain_column(&mut self, name: &str, at: i32, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        let mut level = Some(scope);
        let mut open = false;
        while let Some(current) = level {
            let mut found: Option<Ty> = None;
            for item in current.items.iter().filter(|item| !item.qualified_only) {
                if let Some(ty) = item.lookup(name, flow) {
                    found = Some(found.map_or(ty, |other| other.or(ty)));
                    self.target_hits += u32::from(item.target);
                } else if item.is_open() {
                    // It may be a column of what we do not know, or one further out: both are taken.
                    item.whole_row(flow);
                    open = true;
                }
            }
            if let Some(ty) = found {
                return Ok(if open { Ty::Opaque } else { ty });
            }
            level = current.parent;
        }
        if open {
            return Ok(Ty::Opaque);
        }
        if let Some(item) = scope.item(None, name) {
            self.target_hits += u32::from(item.target);
            return Ok(item.whole_row(flow));
        }
        if let Some(ty) = argument(scope, None, name) {
            return Ok(ty);
        }
        Err(missing(format!("column \"{name}\" does not exist"), at))
    }

    fn qualified_column(
        &mut self,
        schema: Option<&str>,
        qualifier: &str,
        name: &str,
        at: i32,
        scope: &Scope<'_, 'a>,
        flow: &mut Flow,
    ) -> Step<Ty> {
        let Some(item) = scope.item(schema, qualifier) else {
            // `arg.field`, or `function.arg`, in a function's body. A column of a composite type is `(c).field`.
            let known = schema.is_none().then(|| argument(scope, Some(qualifier), name)).flatten();
            let known = known.or_else(|| argument(scope, None, qualifier).map(|_| Ty::Opaque));
            return known.ok_or_else(|| missing(format!("missing FROM-clause entry for table \"{qualifier}\""), at));
        };
        self.target_hits += u32::from(item.target);
        if let Some(ty) = item.lookup(name, flow) {
            return Ok(ty);
        }
        let row = item.whole_row(flow);
        let open = item.is_open();
        // `t.f` is the call `f(t)` where t has no such column.
        let called = self.call_by_attribute(name, row)?;
        match called {
            Some(ty) => Ok(ty),
            // Nothing is called; the value is one of columns that are not known.
            None if open => Ok(Ty::Opaque),
            None => Err(missing(format!("column {qualifier}.{name} does not exist"), at)),
        }
    }

    fn whole_row(
        &mut self,
        schema: Option<&str>,
        qualifier: &str,
        at: i32,
        scope: &Scope<'_, 'a>,
        flow: &mut Flow,
    ) -> Step<Ty> {
        if let Some(item) = scope.item(schema, qualifier) {
            self.target_hits += u32::from(item.target);
            return Ok(item.whole_row(flow));
        }
        match argument(scope, None, qualifier) {
            Some(_) => Ok(Ty::Opaque),
            None => Err(missing(format!("missing FROM-clause entry for table \"{qualifier}\""), at)),
        }
    }

    fn case(&mut self, case: &protobuf::CaseExpr, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        let subject = match case.arg.as_deref() {
            Some(arg) => Some(self.used(Some(arg), scope, Place::Filter)?),
            None => None,
        };
        let mut results = Vec::with_capacity(case.args.len() + 1);
        for arm in &case.args {
            let Some(NodeEnum::CaseWhen(when)) = &arm.node else { return Err(unexpected("a part of CASE")) };
            let condition = self.used(when.expr.as_deref(), scope, Place::Filter)?;
            if let Some(subject) = subject {
                self.operator_call(None, "=", Some(subject), condition)?;
            }
            results.push(self.maybe(when.result.as_deref(), scope, flow)?);
        }
        results.push(self.maybe(case.defresult.as_deref(), scope, flow)?);
        Ok(self.alternatives(&results)?.settled())
    }

    fn operator_expr(&mut self, expr: &protobuf::AExpr, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        let left = match expr.lexpr.as_deref() {
            Some(node) => Some(self.expr(node, scope, flow)?),
            None => None,
        };
        let right = match expr.rexpr.as_deref() {
            // The items of IN and the bounds of BETWEEN are compared one by one, and are no row.
            Some(Node { node: Some(NodeEnum::List(list)) }) => self.each(&list.items, scope, flow)?,
            other => self.maybe(other, scope, flow)?,
        };
        let (schema, name) = names::qualified(&expr.name)?;
        let kind = AExprKind::try_from(expr.kind).map_err(|_| unexpected("an operator"))?;
        match kind {
            AExprKind::AexprOp => self.operator_call(schema, name, left, right),
            AExprKind::AexprNullif => {
                self.operator_call(schema, name, left, right)?;
                Ok(left.unwrap_or(Ty::Opaque))
            }
            AExprKind::AexprOpAny | AExprKind::AexprOpAll => {
                let element = self.element_of(right);
                self.operator_call(schema, name, left, element)?;
                Ok(BOOL)
            }
            AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => {
                for name in ["<", "<=", ">", ">="] {
                    self.operator_call(None, name, left, right)?;
                }
                Ok(BOOL)
            }
            AExprKind::AexprDistinct
            | AExprKind::AexprNotDistinct
            | AExprKind::AexprIn
            | AExprKind::AexprLike
            | AExprKind::AexprIlike
            | AExprKind::AexprSimilar => {
                self.operator_call(schema, name, left, right)?;
                Ok(BOOL)
            }
            AExprKind::Undefined => Err(unexpected("an operator")),
        }
    }

    /// The type of an array's elements.
    pub(super) fn element_of(&self, array: Ty) -> Ty {
        match array {
            Ty::Known(oid) => {
                let ty = self.catalog.type_by_oid(self.base_type(oid));
                ty.filter(|ty| ty.array).map_or(Ty::Opaque, |ty| Ty::Known(ty.of))
            }
            other => other,
        }
    }

    /// The type of arrays with such elements.
    fn array_of(&self, element: Ty) -> Ty {
        let Ty::Known(oid) = element else { return Ty::Opaque };
        let Some(ty) = self.catalog.type_by_oid(oid) else { return Ty::Opaque };
        if ty.array {
            return element;
        }
        let array = self.catalog.type_in(&ty.schema, &format!("_{}", ty.name));
        array.filter(|array| array.array && array.of == oid).map_or(Ty::Opaque, |array| Ty::Known(array.oid))
    }

    fn sub_link(&mut self, link: &protobuf::SubLink, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        let Some(NodeEnum::SelectStmt(select)) = link.subselect.as_ref().and_then(|node| node.node.as_ref()) else {
            return Err(unexpected("a sub-query"));
        };
        let test = match link.testexpr.as_deref() {
            Some(node) => Some(self.expr(node, scope, flow)?),
            None => None,
        };
        let columns = self.query(select, scope)?;
        let kind = SubLinkType::try_from(link.sub_link_type).map_err(|_| unexpected("a sub-query"))?;
        // Rows are compared column by column.
        let first = match columns.columns.as_slice() {
            [only] if !columns.open => only.ty,
            _ => Ty::Opaque,
        };
        if kind == SubLinkType::ExistsSublink {
            for column in columns.columns {
                self.use_flow(column.flow, Place::Filter);
            }
            return Ok(BOOL);
        }
        columns.columns.iter().for_each(|column| flow.extend(&column.flow));
        match kind {
            SubLinkType::AnySublink | SubLinkType::AllSublink => {
                let (schema, name) =
                    if link.oper_name.is_empty() { (None, "=") } else { names::qualified(&link.oper_name)? };
                self.operator_call(schema, name, test, first)?;
                Ok(BOOL)
            }
            SubLinkType::ExprSublink => Ok(first),
            SubLinkType::ArraySublink | SubLinkType::MultiexprSublink => Ok(Ty::Opaque),
            _ => Err(unexpected("a sub-query")),
        }
    }

    fn indirection(
        &mut self,
        indirection: &protobuf::AIndirection,
        scope: &Scope<'_, 'a>,
        flow: &mut Flow,
    ) -> Step<Ty> {
        let mut ty = self.maybe(indirection.arg.as_deref(), scope, flow)?;
        for step in &indirection.indirection {
            ty = match &step.node {
                Some(NodeEnum::AIndices(indices)) => {
                    self.coerced(indices.lidx.as_deref().into_iter().chain(indices.uidx.as_deref()), scope, flow)?;
                    if indices.is_slice { ty } else { self.element_of(ty) }
                }
                Some(NodeEnum::String(field)) => self.field(ty, &field.sval)?,
                Some(NodeEnum::AStar(_)) => Ty::Opaque,
                _ => return Err(unexpected("a subscript")),
            };
        }
        Ok(ty)
    }

    /// `(row).name`: a field where the row has one of that name, a function call where not.
    fn field(&mut self, row: Ty, name: &str) -> Step<Ty> {
        if let Ty::Known(oid) = row {
            let ty = self.catalog.type_by_oid(self.base_type(oid));
            let relation = ty.and_then(|ty| self.catalog.relation_by_oid(ty.relation));
            if let Some(column) = relation.and_then(|relation| relation.column(name)) {
                return Ok(Ty::Known(column.ty));
            }
        }
        Ok(self.call_by_attribute(name, row)?.unwrap_or(Ty::Opaque))
    }

    /// `$1`: a function's argument in its body, a value that the client sends elsewhere. Values of a domain are checked.
    fn parameter(&mut self, number: i32, scope: &Scope<'_, 'a>) -> Step<Ty> {
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        if let Some(arguments) = &scope.arguments {
            return Ok(at.and_then(|at| arguments.types.get(at)).copied().unwrap_or(Ty::Opaque));
        }
        match at.and_then(|at| self.context.parameters.get(at)).copied() {
            None | Some(0) => Ok(Ty::Literal),
            Some(oid) => {
                self.type_checks(oid)?;
                Ok(Ty::Known(oid))
            }
        }
    }

    fn value_function(&self, function: &protobuf::SqlValueFunction) -> Step<Ty> {
        use protobuf::SqlValueFunctionOp as Op;
        Ok(match Op::try_from(function.op).map_err(|_| unexpected("a value function"))? {
            Op::SvfopCurrentDate => Ty::Known(1082),
            Op::SvfopCurrentTime | Op::SvfopCurrentTimeN => Ty::Known(1266),
            Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN => Ty::Known(1184),
            Op::SvfopLocaltime | Op::SvfopLocaltimeN => Ty::Known(1083),
            Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN => Ty::Known(1114),
            _ => Ty::Known(19),
        })
    }
}

fn version_of_xml(indent: bool, major: u16) -> Step {
    if indent { version::require("XMLSERIALIZE with INDENT", 16, major) } else { Ok(()) }
}

fn constant_type(constant: &protobuf::AConst) -> Ty {
    match &constant.val {
        Some(Val::Ival(_)) => INT4,
        Some(Val::Fval(number)) if number.fval.parse::<i64>().is_ok() => INT8,
        Some(Val::Fval(_)) => NUMERIC,
        Some(Val::Boolval(_)) => BOOL,
        Some(Val::Bsval(_)) => Ty::Known(1560),
        Some(Val::Sval(_)) | None => Ty::Literal,
    }
}

/// The type of an argument by its name, in a function's body.
fn argument(scope: &Scope<'_, '_>, function: Option<&str>, name: &str) -> Option<Ty> {
    let arguments = scope.arguments.as_ref()?;
    if function.is_some_and(|function| function != arguments.function) {
        return None;
    }
    arguments.names.iter().find(|(own, _)| own == name).map(|&(_, ty)| ty)
}
