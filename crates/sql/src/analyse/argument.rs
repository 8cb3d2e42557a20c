//! What reaches functions and operators: whether they are total for it, and what else they do with it.

use pg_query::{Node, NodeEnum, protobuf};

use super::{
    Analyser,
    flow::Flow,
    names::{SYSTEM, string},
    scope::Ty,
};
use crate::{
    builtin,
    catalog::Routine,
    facts::{Meets, Place, Standing},
    total,
};

impl Analyser<'_> {
    /// The arguments of a call: what they are used for, and what of them the result comes from.
    pub(super) fn arguments(
        &mut self,
        call: &protobuf::FuncCall,
        (schema, name): (Option<&str>, &str),
        types: &[Ty],
        flows: &[Flow],
        flow: &mut Flow,
    ) {
        let mut all = Flow::default();
        flows.iter().for_each(|of| all.extend(of));
        self.meet(&all, &all, Meets::Other);
        if all.origins.is_empty() {
            flow.extend(&all);
            return;
        }
        let sql_syntax = call.funcformat == protobuf::CoercionForm::CoerceSqlSyntax as i32 && schema == Some(SYSTEM);
        let candidates = if sql_syntax { Vec::new() } else { self.candidates(schema, name, types) };
        if candidates.iter().any(|routine| !routine.is_builtin()) {
            self.reached(&all);
        } else if candidates.is_empty() && !sql_syntax {
            self.called_as_cast(schema, name, types, &all);
        } else {
            if name == "count" && self.counted(call, &all) {
                return;
            }
            self.arguments_reached(call, name, &candidates, flows);
        }
        if call.agg_distinct {
            self.use_flow(&all, Place::Group);
        }
        if candidates.iter().any(|routine| routine.returns_set) {
            // How many rows there are depends on what they are made of.
            self.use_flow(&all, Place::Filter);
        }
        if candidates.iter().any(|routine| self.keeps(routine)) {
            self.use_flow(&all, Place::Source);
        }
        flow.extend(&all);
    }

    /// `count(x)` of a column as it stands says how often it is not NULL, and `count(DISTINCT x)` how many values it has.
    fn counted(&mut self, call: &protobuf::FuncCall, flow: &Flow) -> bool {
        let is_column = matches!(call.args.as_slice(), [Node { node: Some(NodeEnum::ColumnRef(_)) }]);
        if !is_column || !flow.is_direct() {
            return false;
        }
        self.use_flow(flow, if call.agg_distinct { Place::Group } else { Place::Counted });
        true
    }

    /// Whether a function keeps what it is given, or sends it elsewhere.
    fn keeps(&self, routine: &Routine) -> bool {
        routine.is_builtin() && builtin::standing(routine) == Standing::Effectful
    }

    fn arguments_reached(&mut self, call: &protobuf::FuncCall, name: &str, candidates: &[&Routine], flows: &[Flow]) {
        // By name they may stand in any order; an array of arguments counts as any of them.
        let named = call.args.iter().any(|arg| matches!(arg.node, Some(NodeEnum::NamedArgExpr(_))));
        let total = match total::arguments(name, flows.len()) {
            u32::MAX => u32::MAX,
            _ if named || call.func_variadic => 0,
            some => some,
        };
        let sums = total::sums(name) && candidates.iter().all(|routine| routine.is_builtin());
        for (at, flow) in flows.iter().enumerate() {
            let is_total =
                total == u32::MAX || total.checked_shr(u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or(0) & 1 == 1;
            if !(is_total || sums && flow.is_direct()) {
                self.reached(flow);
            }
        }
    }

    /// `text(x)`, which is a cast where no function has the name; or a field of a row.
    fn called_as_cast(&mut self, schema: Option<&str>, name: &str, types: &[Ty], flow: &Flow) {
        match (types, self.type_named(schema, name)) {
            ([from], Some(to)) => self.cast_reached(*from, Ty::Known(to), flow),
            _ => self.reached(flow),
        }
    }

    /// What reaches an operator that is not total. Those of users' making are seen by the functions that they call.
    pub(super) fn operands_reached(
        &mut self,
        expr: &protobuf::AExpr,
        (left, left_flow): (Option<Ty>, &Flow),
        (right, right_flow): (Ty, &Flow),
    ) {
        use protobuf::AExprKind as Kind;
        if left_flow.origins.is_empty() && right_flow.origins.is_empty() {
            return;
        }
        let base = |ty: Ty| if let Ty::Known(oid) = ty { Some(self.base_type(oid)) } else { None };
        let name = expr.name.last().and_then(string).unwrap_or_default();
        let (of_left, of_right) = match Kind::try_from(expr.kind) {
            // Equality and order; SIMILAR TO makes a pattern of what is on its right.
            Ok(
                Kind::AexprNullif
                | Kind::AexprDistinct
                | Kind::AexprNotDistinct
                | Kind::AexprIn
                | Kind::AexprBetween
                | Kind::AexprNotBetween
                | Kind::AexprBetweenSym
                | Kind::AexprNotBetweenSym,
            ) => (true, true),
            Ok(Kind::AexprSimilar) => (true, false),
            _ => total::operands(name, left.and_then(base), base(right)),
        };
        if !of_left {
            self.reached(left_flow);
        }
        if !of_right {
            self.reached(right_flow);
        }
    }
}
