//! Conditions: what they ask of which column. And where constants meet columns.

use pg_query::{
    Node, NodeEnum,
    protobuf::{self, AExprKind, BooleanTest, NullTest, SubLinkType},
};

use super::{
    Analyser, Step,
    flow::{Flow, Key, Set, key_parts},
    names::string,
    query::Output,
    scope::{Scope, Ty},
    unexpected,
};
use crate::{
    catalog::RelationKind,
    facts::{Meets, Place},
};

/// The most pairs of columns that one comparison may join. Where there are more, the columns are no plain ones.
const MAX_PAIRS: usize = 256;

/// An operand: what stands there, where its value comes from and its type.
pub(super) struct Operand<'n> {
    node: &'n Node,
    flow: Flow,
    pub(super) ty: Ty,
}

impl Operand<'_> {
    pub(super) const fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Whether it is a column as it stands.
    fn is_column(&self) -> bool {
        matches!(self.node.node, Some(NodeEnum::ColumnRef(_))) && self.flow.is_direct()
    }
}

impl<'a> Analyser<'a> {
    /// A condition. Its columns are used in places that say what is asked of them, `place` where nothing better is known.
    pub(super) fn condition(&mut self, node: Option<&Node>, scope: &Scope<'_, 'a>, place: Place) -> Step {
        self.choice(node, scope, place, &mut Flow::default())
    }

    /// A condition that a value depends on: what it is about is added to `flow`.
    pub(super) fn choice(&mut self, node: Option<&Node>, scope: &Scope<'_, 'a>, place: Place, flow: &mut Flow) -> Step {
        let Some(node) = node else { return Ok(()) };
        self.enter()?;
        match &node.node {
            Some(NodeEnum::BoolExpr(expr)) => {
                expr.args.iter().try_for_each(|arg| self.choice(Some(arg), scope, place, flow))?;
            }
            Some(NodeEnum::NullTest(test)) => self.null_test(test, scope, place, flow)?,
            Some(NodeEnum::BooleanTest(test)) => self.boolean_test(test, scope, place, flow)?,
            Some(NodeEnum::AExpr(expr)) if is_equality(expr) => self.equality(expr, scope, place, flow)?,
            Some(NodeEnum::SubLink(link)) if is_membership(link) => self.membership(link, scope, place, flow)?,
            _ => self.asked(node, scope, place, flow)?,
        }
        self.leave();
        Ok(())
    }

    /// A condition of which nothing better is known than its columns.
    fn asked(&mut self, node: &Node, scope: &Scope<'_, 'a>, place: Place, flow: &mut Flow) -> Step {
        let operand = self.operand(node, scope)?;
        self.casts_of_use(operand.ty);
        flow.derive(&operand.flow);
        self.use_flow(&operand.flow, if operand.is_column() { Place::Compared } else { place });
        Ok(())
    }

    fn null_test(&mut self, test: &NullTest, scope: &Scope<'_, 'a>, place: Place, flow: &mut Flow) -> Step {
        let Some(node) = test.arg.as_deref() else { return Err(unexpected("IS NULL")) };
        let operand = self.operand(node, scope)?;
        flow.derive(&operand.flow);
        self.use_flow(&operand.flow, if operand.is_column() { Place::Compared } else { place });
        Ok(())
    }

    fn boolean_test(&mut self, test: &BooleanTest, scope: &Scope<'_, 'a>, place: Place, flow: &mut Flow) -> Step {
        self.choice(test.arg.as_deref(), scope, place, flow)
    }

    pub(super) fn operand<'n>(&mut self, node: &'n Node, scope: &Scope<'_, 'a>) -> Step<Operand<'n>> {
        let mut flow = Flow::default();
        let ty = self.expr(node, scope, &mut flow)?;
        Ok(Operand { node, flow, ty })
    }

    /// `=`, `<>`, IN, `= ANY`, IS DISTINCT FROM.
    fn equality(&mut self, expr: &protobuf::AExpr, scope: &Scope<'_, 'a>, place: Place, flow: &mut Flow) -> Step {
        let (Some(left), Some(right)) = (expr.lexpr.as_deref(), expr.rexpr.as_deref()) else {
            return Err(unexpected("an operator"));
        };
        let mut own = Flow::default();
        let since = self.facts.called.len();
        if let (Some(NodeEnum::RowExpr(one)), Some(NodeEnum::RowExpr(other))) = (&left.node, &right.node)
            && one.args.len() == other.args.len()
            && !one.args.iter().chain(&other.args).any(is_star)
        {
            for (left, right) in one.args.iter().zip(&other.args) {
                let (left, right) = (self.operand(left, scope)?, self.operand(right, scope)?);
                self.equal(&left, &right, is_constant(right.node), place);
                own.derive(&left.flow);
                own.derive(&right.flow);
            }
            self.apply(expr, Some(Ty::Opaque), Ty::Opaque)?;
        } else {
            let left = self.operand(left, scope)?;
            let (ty, flow) = self.right_operand(right, scope)?;
            let right = Operand { node: right, flow, ty };
            // Of an array that is computed it cannot be told how many constants are in it.
            let constant = match AExprKind::try_from(expr.kind) {
                Ok(AExprKind::AexprOpAny | AExprKind::AexprOpAll) => is_plain_constant(right.node),
                Ok(AExprKind::AexprIn) => match &right.node.node {
                    Some(NodeEnum::List(list)) => list.items.iter().all(is_constant),
                    _ => false,
                },
                _ => is_constant(right.node),
            };
            self.equal(&left, &right, constant, place);
            own.derive(&left.flow);
            own.derive(&right.flow);
            self.apply(expr, Some(left.ty), right.ty)?;
        }
        let given = own.clone();
        if self.draw(since, &mut own)? {
            self.reached(&given);
        }
        flow.derive(&own);
        Ok(())
    }

    /// Records that two operands are asked whether they are equal, of which the right one may be constant.
    pub(super) fn equal(&mut self, left: &Operand<'_>, right: &Operand<'_>, constant: bool, place: Place) {
        if left.is_column() && right.is_column() {
            self.joined(&left.flow, &right.flow, place);
            return;
        }
        let (compared, how) = if (left.is_column() && constant) || (right.is_column() && is_constant(left.node)) {
            (Place::Compared, Meets::Compared)
        } else {
            (place, Meets::Other)
        };
        self.use_flow(&left.flow, compared);
        self.use_flow(&right.flow, compared);
        self.meet(&left.flow, &right.flow, how);
    }

    /// Records that rows are joined by two values; by which columns, if they are columns as they stand.
    pub(super) fn joined(&mut self, left: &Flow, right: &Flow, place: Place) {
        let pairs = left.origins.len().saturating_mul(right.origins.len());
        if !left.is_direct() || !right.is_direct() || pairs > MAX_PAIRS {
            self.use_flow(left, place);
            self.use_flow(right, place);
            return;
        }
        self.use_flow(left, Place::Joined);
        self.use_flow(right, Place::Joined);
        for one in self.shown_by(left).iter() {
            for other in self.shown_by(right).iter() {
                self.facts.joins.insert((one.min(other), one.max(other)));
            }
        }
    }

    /// Of what a view shows the columns that it shows, without the views' own.
    fn shown_by(&self, flow: &Flow) -> Set {
        let is_view = |key: Key| {
            let relation = self.catalog.relation_by_oid(key_parts(key).0);
            relation.is_some_and(|relation| matches!(relation.kind, RelationKind::View | RelationKind::Matview))
        };
        let shown: Set = flow.origins.iter().filter(|key| !is_view(*key)).collect();
        if shown.is_empty() { flow.origins.clone() } else { shown }
    }

    /// `x IN (SELECT y …)`, which joins; and NOT IN, which is its negation.
    fn membership(&mut self, link: &protobuf::SubLink, scope: &Scope<'_, 'a>, place: Place, flow: &mut Flow) -> Step {
        let Some(test) = link.testexpr.as_deref() else { return Err(unexpected("a sub-query")) };
        let nodes: &[Node] = match &test.node {
            Some(NodeEnum::RowExpr(row)) if !row.args.iter().any(is_star) => &row.args,
            _ => std::slice::from_ref(test),
        };
        let mut tests = Vec::with_capacity(nodes.len());
        for node in nodes {
            tests.push(self.operand(node, scope)?);
        }
        let output = self.sub_query(link, scope)?;
        let ty = if let [only] = tests.as_slice() { only.ty } else { Ty::Opaque };
        self.compared_with(link, ty, &output)?;
        let same = output.rest.is_none() && output.columns.len() == tests.len();
        for (at, test) in tests.iter().enumerate() {
            match output.columns.get(at).filter(|_| same) {
                Some(column) if test.is_column() => self.joined(&test.flow, &column.flow, place),
                _ => self.use_flow(&test.flow, place),
            }
            flow.derive(&test.flow);
        }
        for (at, column) in output.columns.iter().enumerate() {
            if !same || !tests.get(at).is_some_and(Operand::is_column) {
                self.use_flow(&column.flow, place);
            }
            if let Some(test) = tests.get(at) {
                self.meet(&test.flow, &column.flow, Meets::Other);
            }
            flow.derive(&column.flow);
        }
        if let Some(rest) = &output.rest {
            self.use_flow(rest, place);
            flow.derive(rest);
        }
        Ok(())
    }

    /// Columns whose rows a set operation compares with each other.
    pub(super) fn set_compared(&mut self, left: &Output, right: &Output) {
        for (one, other) in left.columns.iter().zip(&right.columns) {
            if !one.flow.origins.is_empty() && !other.flow.origins.is_empty() {
                self.joined(&one.flow, &other.flow, Place::Group);
            }
            self.meet(&one.flow, &other.flow, Meets::Other);
        }
    }

    /// Constants of one value meet the columns of the other.
    pub(super) fn meet(&mut self, left: &Flow, right: &Flow, how: Meets) {
        self.meets(&left.constants, &right.origins, how);
        self.meets(&right.constants, &left.origins, how);
    }

    fn meets(&mut self, constants: &Set, columns: &Set, how: Meets) {
        self.charge(constants.len().saturating_mul(columns.len()) / 4);
        for constant in constants.iter() {
            for column in columns.iter() {
                self.facts.meets.insert((constant, column, how));
            }
        }
    }

    /// Constants that are written to a column.
    pub(super) fn wrote(&mut self, flow: &Flow, column: Key) {
        self.meets(&flow.constants, &Set::One(column), Meets::Written);
    }
}

/// Whether an operator asks for nothing but equality.
fn is_equality(expr: &protobuf::AExpr) -> bool {
    let operator = expr.name.last().and_then(string);
    match AExprKind::try_from(expr.kind) {
        Ok(AExprKind::AexprOp) => expr.lexpr.is_some() && matches!(operator, Some("=" | "<>")),
        Ok(AExprKind::AexprOpAny) => operator == Some("="),
        Ok(AExprKind::AexprOpAll) => operator == Some("<>"),
        Ok(AExprKind::AexprDistinct | AExprKind::AexprNotDistinct | AExprKind::AexprIn) => true,
        _ => false,
    }
}

fn is_membership(link: &protobuf::SubLink) -> bool {
    let plain = link.oper_name.is_empty() || matches!(link.oper_name.as_slice(), [name] if string(name) == Some("="));
    plain && SubLinkType::try_from(link.sub_link_type) == Ok(SubLinkType::AnySublink)
}

fn is_star(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::ColumnRef(column)) => {
            matches!(column.fields.last(), Some(Node { node: Some(NodeEnum::AStar(_)) }))
        }
        _ => false,
    }
}

/// Whether an expression is one value that stands in the text or is a parameter. Of one that is computed it cannot be told
/// which values are asked for, nor how many: `'a' || $1`, `random()::text`.
pub(super) fn is_constant(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AExpr(expr)) => is_signed(expr) && expr.rexpr.as_deref().is_some_and(is_constant),
        Some(NodeEnum::RowExpr(row)) => row.args.iter().all(is_constant),
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_constant),
        Some(NodeEnum::CollateClause(clause)) => clause.arg.as_deref().is_some_and(is_constant),
        Some(NodeEnum::SqlvalueFunction(_)) => true,
        _ => is_plain_constant(node),
    }
}

fn is_signed(expr: &protobuf::AExpr) -> bool {
    expr.lexpr.is_none() && matches!(expr.name.as_slice(), [sign] if matches!(string(sign), Some("-" | "+")))
}

/// Whether it is a constant or parameter, or an array of such that are written out.
fn is_plain_constant(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_plain_constant),
        Some(NodeEnum::AArrayExpr(array)) => array.elements.iter().all(is_plain_constant),
        _ => false,
    }
}
