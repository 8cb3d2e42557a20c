//! Expressions: where their value comes from, what they call, and which type they have.

use pg_query::{
    Node, NodeEnum,
    protobuf::{self, AExprKind, SubLinkType, a_const::Val},
};

use super::{
    Analyser, Step,
    condition::is_constant,
    flow::{Flow, literal, parameter},
    missing,
    names::{self, string},
    query::Output,
    scope::{Scope, Ty},
    unexpected,
};
use crate::{
    facts::{Meets, Place},
    version,
};

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
        let since = self.facts.called.len();
        let mut own = Flow::default();
        let ty = self.expr_inner(inner, scope, &mut own)?;
        // A function of a user's making may fail as it likes.
        let given = own.clone();
        if self.draw(since, &mut own)? {
            self.reached(&given);
        }
        self.charge(own.size() / 32);
        if passes_on(inner) {
            flow.extend(&own);
        } else {
            flow.derive(&own);
        }
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
        self.decides(node, scope, place, &mut Flow::default())
    }

    /// An expression whose columns are used in this place, and decide what a value is.
    pub(super) fn decides(
        &mut self,
        node: Option<&Node>,
        scope: &Scope<'_, 'a>,
        place: Place,
        flow: &mut Flow,
    ) -> Step<Ty> {
        let mut own = Flow::default();
        let ty = self.maybe(node, scope, &mut own)?;
        // LIMIT is taken as a number.
        if place == Place::Filter {
            self.casts_of_use(ty);
        }
        self.use_flow(&own, place);
        flow.derive(&own);
        Ok(ty)
    }

    /// What reaches something that is not total.
    pub(super) fn reached(&mut self, flow: &Flow) {
        self.use_flow(flow, Place::Argument);
    }

    fn expr_inner(&mut self, node: &NodeEnum, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        match node {
            NodeEnum::AConst(constant) => {
                if let Some(literal) = literal(constant.location).filter(|_| self.own_text && !constant.isnull) {
                    flow.constants.insert(literal);
                }
                Ok(constant_type(constant))
            }
            NodeEnum::ColumnRef(column) => self.column(column, scope, flow),
            NodeEnum::ParamRef(parameter) => self.parameter(parameter.number, scope, flow),
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
                // It says which columns a row is grouped by, and nothing of their values.
                let mut grouped = Flow::default();
                self.each(&grouping.args, scope, &mut grouped)?;
                self.use_flow(&grouped, Place::Group);
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
                // The others read XML, which may be none, or put together what may not be.
                let makes = [protobuf::XmlExprOp::IsXmlelement, protobuf::XmlExprOp::IsXmlforest];
                if !makes.iter().any(|op| xml.op == *op as i32) {
                    self.reached(flow);
                }
                Ok(if xml.op == protobuf::XmlExprOp::IsDocument as i32 { BOOL } else { XML })
            }
            NodeEnum::XmlSerialize(xml) => {
                version_of_xml(xml.indent, self.context.major)?;
                self.maybe(xml.expr.as_deref(), scope, flow)?;
                self.reached(flow);
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
            Some(arg) => Some(self.operand(arg, scope)?),
            None => None,
        };
        let mut results = Vec::with_capacity(case.args.len() + 1);
        for arm in &case.args {
            let Some(NodeEnum::CaseWhen(when)) = &arm.node else { return Err(unexpected("a part of CASE")) };
            match (&subject, when.expr.as_deref()) {
                (Some(subject), Some(node)) => {
                    let value = self.operand(node, scope)?;
                    self.operator_call(None, "=", Some(subject.ty), value.ty)?;
                    self.equal(subject, &value, is_constant(node), Place::Filter);
                    flow.derive(subject.flow());
                    flow.derive(value.flow());
                }
                (_, condition) => self.choice(condition, scope, Place::Filter, flow)?,
            }
            results.push(self.maybe(when.result.as_deref(), scope, flow)?);
        }
        results.push(self.maybe(case.defresult.as_deref(), scope, flow)?);
        Ok(self.alternatives(&results)?.settled())
    }

    fn operator_expr(&mut self, expr: &protobuf::AExpr, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        let mut left_flow = Flow::default();
        let left = match expr.lexpr.as_deref() {
            Some(node) => Some(self.expr(node, scope, &mut left_flow)?),
            None => None,
        };
        let (right, right_flow) = match expr.rexpr.as_deref() {
            Some(node) => self.right_operand(node, scope)?,
            None => (Ty::Literal, Flow::default()),
        };
        self.meet(&left_flow, &right_flow, Meets::Other);
        self.operands_reached(expr, (left, &left_flow), (right, &right_flow));
        flow.extend(&left_flow);
        flow.extend(&right_flow);
        self.apply(expr, left, right)
    }

    /// What stands on the right of an operator.
    pub(super) fn right_operand(&mut self, node: &Node, scope: &Scope<'_, 'a>) -> Step<(Ty, Flow)> {
        let mut flow = Flow::default();
        let ty = match &node.node {
            // The items of IN and the bounds of BETWEEN are compared one by one, and are no row.
            Some(NodeEnum::List(list)) => self.each(&list.items, scope, &mut flow)?,
            _ => self.expr(node, scope, &mut flow)?,
        };
        Ok((ty, flow))
    }

    /// Calls what an operator stands for, with operands of these types.
    pub(super) fn apply(&mut self, expr: &protobuf::AExpr, left: Option<Ty>, right: Ty) -> Step<Ty> {
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
        let kind = SubLinkType::try_from(link.sub_link_type).map_err(|_| unexpected("a sub-query"))?;
        let mut test_flow = Flow::default();
        let test = self.maybe(link.testexpr.as_deref(), scope, &mut test_flow)?;
        let output = self.sub_query(link, scope)?;
        match kind {
            SubLinkType::ExistsSublink => {
                // Which values a row has does not matter. What they are is not even computed.
                output.flows().for_each(|of| self.use_flow(of, Place::Derived));
                Ok(BOOL)
            }
            SubLinkType::AnySublink | SubLinkType::AllSublink => {
                flow.derive(&test_flow);
                for of in output.flows() {
                    self.meet(&test_flow, of, Meets::Other);
                    flow.derive(of);
                }
                self.compared_with(link, test, &output)
            }
            SubLinkType::ExprSublink => {
                output.flows().for_each(|of| flow.extend(of));
                Ok(only_type(&output))
            }
            SubLinkType::ArraySublink | SubLinkType::MultiexprSublink => {
                output.flows().for_each(|of| flow.derive(of));
                Ok(Ty::Opaque)
            }
            _ => Err(unexpected("a sub-query")),
        }
    }

    /// The query of a sub-query in an expression.
    pub(super) fn sub_query(&mut self, link: &protobuf::SubLink, scope: &Scope<'_, 'a>) -> Step<Output> {
        match link.subselect.as_ref().and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) => self.query(select, scope),
            _ => Err(unexpected("a sub-query")),
        }
    }

    /// A value, or a row, is compared with each row of a sub-query.
    pub(super) fn compared_with(&mut self, link: &protobuf::SubLink, test: Ty, output: &Output) -> Step<Ty> {
        let (schema, name) = if link.oper_name.is_empty() { (None, "=") } else { names::qualified(&link.oper_name)? };
        self.operator_call(schema, name, Some(test), only_type(output))?;
        Ok(BOOL)
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
    fn parameter(&mut self, number: i32, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        if let Some(arguments) = &scope.arguments {
            return Ok(at.and_then(|at| arguments.types.get(at)).copied().unwrap_or(Ty::Opaque));
        }
        match &self.given {
            Some(given) => flow.extend(at.and_then(|at| given.get(at)).unwrap_or(&Flow::default())),
            None => parameter(number).into_iter().for_each(|constant| flow.constants.insert(constant)),
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

/// Whether an expression's value is that of a part of it as it stands, if it is any part's.
const fn passes_on(node: &NodeEnum) -> bool {
    matches!(
        node,
        NodeEnum::AConst(_)
            | NodeEnum::ColumnRef(_)
            | NodeEnum::ParamRef(_)
            | NodeEnum::CollateClause(_)
            | NodeEnum::CoalesceExpr(_)
            | NodeEnum::CaseExpr(_)
            | NodeEnum::SubLink(_)
            | NodeEnum::NamedArgExpr(_)
            | NodeEnum::MultiAssignRef(_)
            | NodeEnum::ResTarget(_)
    )
}

/// The type of a sub-query's one column. Rows are compared column by column.
fn only_type(output: &Output) -> Ty {
    match output.columns.as_slice() {
        [only] if output.rest.is_none() => only.ty,
        _ => Ty::Opaque,
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
