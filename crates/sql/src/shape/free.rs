//! Which literals of a statement are free: those whose value the analysis never reads.
//!
//! It is a list of what is allowed. The walk goes only where the analysis asks of a literal nothing but its type, which is
//! the same for all literals of a kind: operands, items of IN and VALUES, bounds of BETWEEN, what is assigned, what is put
//! out. Whatever it does not go to stays as it is written: LIMIT and OFFSET; what ORDER BY, GROUP BY and DISTINCT ON
//! name by number; arguments of functions; what is cast, and so typed literals and intervals; types' modifiers;
//! subscripts; windows' frames; samples; options; statements other than SELECT, INSERT, UPDATE, DELETE and MERGE.

use std::collections::BTreeSet;

use pg_query::{
    Node, NodeEnum,
    protobuf::{self, SetOperation, a_const::Val},
};

use super::cut::Cut;

/// For each literal that was cut out of the text of this statement, whether it is free. `None` where the statement is of
/// no kind that has free literals, or where a literal is not where the text has one.
pub(super) fn free(statement: &NodeEnum, text: &[u8], cut: &Cut) -> Option<Box<[bool]>> {
    let mut walk = Walk { text, cut, found: BTreeSet::new() };
    walk.statement(statement)?;
    Some((0..cut.literals.len()).map(|at| walk.found.contains(&at)).collect())
}

struct Walk<'a> {
    text: &'a [u8],
    cut: &'a Cut,
    /// The free literals, by their place among those cut out.
    found: BTreeSet<usize>,
}

/// `None`: the statement has no free literals.
type Step = Option<()>;

impl Walk<'_> {
    fn statement(&mut self, node: &NodeEnum) -> Step {
        match node {
            NodeEnum::SelectStmt(select) => self.select(select),
            NodeEnum::InsertStmt(insert) => {
                self.with(insert.with_clause.as_ref())?;
                if let Some(NodeEnum::SelectStmt(select)) =
                    insert.select_stmt.as_ref().and_then(|node| node.node.as_ref())
                {
                    self.select(select)?;
                }
                if let Some(conflict) = &insert.on_conflict_clause {
                    self.each(&conflict.target_list)?;
                    self.maybe(conflict.where_clause.as_deref())?;
                }
                self.returning(insert.returning_clause.as_ref())
            }
            NodeEnum::UpdateStmt(update) => {
                self.with(update.with_clause.as_ref())?;
                self.each(&update.target_list)?;
                self.from(&update.from_clause)?;
                self.maybe(update.where_clause.as_deref())?;
                self.returning(update.returning_clause.as_ref())
            }
            NodeEnum::DeleteStmt(delete) => {
                self.with(delete.with_clause.as_ref())?;
                self.from(&delete.using_clause)?;
                self.maybe(delete.where_clause.as_deref())?;
                self.returning(delete.returning_clause.as_ref())
            }
            NodeEnum::MergeStmt(merge) => {
                self.with(merge.with_clause.as_ref())?;
                merge.source_relation.as_deref().map_or(Some(()), |source| self.item_of_from(source))?;
                self.maybe(merge.join_condition.as_deref())?;
                for node in &merge.merge_when_clauses {
                    let Some(NodeEnum::MergeWhenClause(when)) = &node.node else { return None };
                    self.maybe(when.condition.as_deref())?;
                    self.each(&when.target_list)?;
                    self.each(&when.values)?;
                }
                self.returning(merge.returning_clause.as_ref())
            }
            _ => None,
        }
    }

    fn select(&mut self, select: &protobuf::SelectStmt) -> Step {
        self.with(select.with_clause.as_ref())?;
        if select.op != SetOperation::SetopNone as i32 {
            self.select(select.larg.as_deref()?)?;
            return self.select(select.rarg.as_deref()?);
        }
        self.each(&select.values_lists)?;
        self.from(&select.from_clause)?;
        self.maybe(select.where_clause.as_deref())?;
        self.each(&select.target_list)?;
        self.maybe(select.having_clause.as_deref())
    }

    fn with(&mut self, with: Option<&protobuf::WithClause>) -> Step {
        for node in with.map(|with| with.ctes.as_slice()).unwrap_or_default() {
            let Some(NodeEnum::CommonTableExpr(cte)) = &node.node else { return None };
            self.statement(cte.ctequery.as_ref()?.node.as_ref()?)?;
        }
        Some(())
    }

    fn from(&mut self, nodes: &[Node]) -> Step {
        nodes.iter().try_for_each(|node| self.item_of_from(node))
    }

    fn item_of_from(&mut self, node: &Node) -> Step {
        match &node.node {
            Some(NodeEnum::JoinExpr(join)) => {
                self.item_of_from(join.larg.as_deref()?)?;
                self.item_of_from(join.rarg.as_deref()?)?;
                self.maybe(join.quals.as_deref())
            }
            Some(NodeEnum::RangeSubselect(sub)) => self.sub_select(sub.subquery.as_deref()),
            _ => Some(()),
        }
    }

    fn sub_select(&mut self, node: Option<&Node>) -> Step {
        match node.and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) => self.select(select),
            _ => None,
        }
    }

    fn returning(&mut self, clause: Option<&protobuf::ReturningClause>) -> Step {
        clause.map_or(Some(()), |clause| self.each(&clause.exprs))
    }

    fn each(&mut self, nodes: &[Node]) -> Step {
        nodes.iter().try_for_each(|node| self.expr(node))
    }

    fn maybe(&mut self, node: Option<&Node>) -> Step {
        node.map_or(Some(()), |node| self.expr(node))
    }

    fn expr(&mut self, node: &Node) -> Step {
        match node.node.as_ref()? {
            NodeEnum::AConst(constant) => self.constant(constant),
            NodeEnum::AExpr(expr) => {
                self.maybe(expr.lexpr.as_deref())?;
                self.maybe(expr.rexpr.as_deref())
            }
            NodeEnum::BoolExpr(expr) => self.each(&expr.args),
            NodeEnum::NullTest(test) => self.maybe(test.arg.as_deref()),
            NodeEnum::BooleanTest(test) => self.maybe(test.arg.as_deref()),
            NodeEnum::CoalesceExpr(expr) => self.each(&expr.args),
            NodeEnum::MinMaxExpr(expr) => self.each(&expr.args),
            NodeEnum::AArrayExpr(array) => self.each(&array.elements),
            NodeEnum::RowExpr(row) => self.each(&row.args),
            NodeEnum::List(list) => self.each(&list.items),
            NodeEnum::ResTarget(target) => self.maybe(target.val.as_deref()),
            NodeEnum::MultiAssignRef(assign) => self.maybe(assign.source.as_deref()),
            NodeEnum::CaseExpr(case) => {
                self.maybe(case.arg.as_deref())?;
                for arm in &case.args {
                    let Some(NodeEnum::CaseWhen(when)) = &arm.node else { return None };
                    self.maybe(when.expr.as_deref())?;
                    self.maybe(when.result.as_deref())?;
                }
                self.maybe(case.defresult.as_deref())
            }
            NodeEnum::SubLink(link) => {
                self.maybe(link.testexpr.as_deref())?;
                self.sub_select(link.subselect.as_deref())
            }
            _ => Some(()),
        }
    }

    fn constant(&mut self, constant: &protobuf::AConst) -> Step {
        if !matches!(constant.val, Some(Val::Ival(_) | Val::Sval(_))) {
            return Some(());
        }
        let located = usize::try_from(constant.location).ok()?;
        let at = self.cut.literals.partition_point(|literal| literal.start < located);
        let literal = self.cut.literals.get(at)?;
        // A negative number stands where its sign does.
        let sign = self.text.get(located..literal.start)?;
        let signed = sign.iter().all(|byte| matches!(byte, b'-' | b'(' | b' ' | b'\t' | b'\n' | b'\r'));
        let is_string = self.text.get(literal.start) == Some(&b'\'');
        if !signed || is_string != matches!(constant.val, Some(Val::Sval(_))) {
            return None;
        }
        self.found.insert(at);
        Some(())
    }
}
