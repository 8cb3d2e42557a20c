//! The constructors and queries of SQL/JSON, each of which older servers do not have.

use pg_query::{
    NodeEnum,
    protobuf::{self, JsonBehavior, JsonFormatType, JsonOutput, JsonValueExpr},
};

use super::{
    Analyser, Step,
    expr::BOOL,
    flow::Flow,
    scope::{Col, Scope, Ty},
    unexpected,
};
use crate::{facts::Place, version};

impl<'a> Analyser<'a> {
    /// The expressions of SQL/JSON; anything else is refused.
    pub(super) fn json(&mut self, node: &NodeEnum, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        let major = self.context.major;
        self.facts.makes_json = true;
        match node {
            NodeEnum::JsonIsPredicate(test) => {
                version::require("IS JSON", 16, major)?;
                self.maybe(test.expr.as_deref(), scope, flow)?;
                Ok(BOOL)
            }
            NodeEnum::JsonObjectConstructor(object) => {
                version::require("JSON_OBJECT", 16, major)?;
                self.each(&object.exprs, scope, flow)?;
                self.json_output(object.output.as_ref())
            }
            NodeEnum::JsonArrayConstructor(array) => {
                version::require("JSON_ARRAY", 16, major)?;
                self.each(&array.exprs, scope, flow)?;
                self.json_output(array.output.as_ref())
            }
            NodeEnum::JsonArrayQueryConstructor(array) => {
                version::require("JSON_ARRAY", 16, major)?;
                let query = array.query.as_ref().and_then(|node| node.node.as_ref());
                let Some(NodeEnum::SelectStmt(select)) = query else { return Err(unexpected("JSON_ARRAY")) };
                self.query(select, scope)?.flows().for_each(|of| flow.derive(of));
                self.json_output(array.output.as_ref())
            }
            NodeEnum::JsonObjectAgg(aggregate) => {
                version::require("JSON_OBJECTAGG", 16, major)?;
                if let Some(pair) = &aggregate.arg {
                    self.json_pair(pair, scope, flow)?;
                }
                self.json_aggregate(aggregate.constructor.as_deref(), scope, flow)
            }
            NodeEnum::JsonArrayAgg(aggregate) => {
                version::require("JSON_ARRAYAGG", 16, major)?;
                self.json_value(aggregate.arg.as_deref(), scope, flow)?;
                self.json_aggregate(aggregate.constructor.as_deref(), scope, flow)
            }
            NodeEnum::JsonParseExpr(parse) => {
                version::require("JSON()", 17, major)?;
                self.json_value(parse.expr.as_deref(), scope, flow)?;
                self.reached(flow);
                self.json_output(parse.output.as_ref())
            }
            NodeEnum::JsonScalarExpr(scalar) => {
                version::require("JSON_SCALAR", 17, major)?;
                self.maybe(scalar.expr.as_deref(), scope, flow)?;
                self.json_output(scalar.output.as_ref())
            }
            NodeEnum::JsonSerializeExpr(serialize) => {
                version::require("JSON_SERIALIZE", 17, major)?;
                self.json_value(serialize.expr.as_deref(), scope, flow)?;
                self.json_output(serialize.output.as_ref())
            }
            NodeEnum::JsonFuncExpr(call) => self.json_query(call, scope, flow),
            NodeEnum::JsonValueExpr(value) => {
                self.json_value(Some(value), scope, flow)?;
                Ok(Ty::Opaque)
            }
            NodeEnum::JsonKeyValue(pair) => {
                self.json_pair(pair, scope, flow)?;
                Ok(Ty::Opaque)
            }
            NodeEnum::JsonArgument(argument) => {
                self.json_value(argument.val.as_deref(), scope, flow)?;
                Ok(Ty::Opaque)
            }
            _ => Err(unexpected("an expression")),
        }
    }

    fn json_query(&mut self, call: &protobuf::JsonFuncExpr, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        version::require("JSON_EXISTS, JSON_QUERY and JSON_VALUE", 17, self.context.major)?;
        self.json_value(call.context_item.as_deref(), scope, flow)?;
        self.maybe(call.pathspec.as_deref(), scope, flow)?;
        self.each(&call.passing, scope, flow)?;
        self.json_behavior(call.on_empty.as_deref(), scope, flow)?;
        self.json_behavior(call.on_error.as_deref(), scope, flow)?;
        self.reached(flow);
        self.json_output(call.output.as_ref())
    }

    fn json_pair(&mut self, pair: &protobuf::JsonKeyValue, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step {
        let mut key = Flow::default();
        self.maybe(pair.key.as_deref(), scope, &mut key)?;
        // It must not be NULL.
        self.reached(&key);
        flow.derive(&key);
        self.json_value(pair.value.as_deref(), scope, flow)
    }

    fn json_value(&mut self, value: Option<&JsonValueExpr>, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step {
        let Some(value) = value else { return Ok(()) };
        self.maybe(value.raw_expr.as_deref(), scope, flow)?;
        self.maybe(value.formatted_expr.as_deref(), scope, flow)?;
        // A FORMAT makes JSON of text, which may be none.
        if value.format.as_ref().is_some_and(|format| format.format_type != JsonFormatType::JsFormatDefault as i32) {
            self.reached(flow);
        }
        Ok(())
    }

    fn json_behavior(&mut self, behavior: Option<&JsonBehavior>, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step {
        let Some(behavior) = behavior else { return Ok(()) };
        self.maybe(behavior.expr.as_deref(), scope, flow)?;
        Ok(())
    }

    /// What RETURNING says the type is; a cast to it runs what any cast to it does.
    fn json_output(&mut self, output: Option<&JsonOutput>) -> Step<Ty> {
        let Some(name) = output.and_then(|output| output.type_name.as_ref()) else { return Ok(Ty::Opaque) };
        self.made_of_json(name)
    }

    /// A conversion of a piece of JSON: it may start from what is JSON or text.
    fn made_of_json(&mut self, name: &protobuf::TypeName) -> Step<Ty> {
        self.cast_to(name, Ty::Known(114))?;
        self.cast_to(name, Ty::Known(3802))?;
        self.cast_to(name, Ty::Known(25))
    }

    fn json_aggregate(
        &mut self,
        aggregate: Option<&protobuf::JsonAggConstructor>,
        scope: &Scope<'_, 'a>,
        flow: &mut Flow,
    ) -> Step<Ty> {
        let Some(aggregate) = aggregate else { return Ok(Ty::Opaque) };
        self.choice(aggregate.agg_filter.as_deref(), scope, Place::Filter, flow)?;
        self.sorted(&aggregate.agg_order, scope, Place::Order, flow)?;
        if let Some(window) = &aggregate.over {
            self.window(window, scope, flow)?;
        }
        self.json_output(aggregate.output.as_ref())
    }

    /// The columns of JSON_TABLE, all of them from its one input.
    pub(super) fn json_table(&mut self, table: &protobuf::JsonTable, scope: &Scope<'_, 'a>) -> Step<Vec<Col>> {
        version::require("JSON_TABLE", 17, self.context.major)?;
        let mut flow = Flow::default();
        self.json_value(table.context_item.as_deref(), scope, &mut flow)?;
        self.each(&table.passing, scope, &mut flow)?;
        self.json_behavior(table.on_error.as_deref(), scope, &mut flow)?;
        self.reached(&flow);
        self.use_flow(&flow, Place::Filter);
        let mut columns = Vec::new();
        self.json_columns(&table.columns, scope, &flow, &mut columns)?;
        Ok(columns)
    }

    fn json_columns(
        &mut self,
        nodes: &[pg_query::Node],
        scope: &Scope<'_, 'a>,
        flow: &Flow,
        columns: &mut Vec<Col>,
    ) -> Step {
        self.enter()?;
        for node in nodes {
            let Some(NodeEnum::JsonTableColumn(column)) = &node.node else {
                return Err(unexpected("a column of JSON_TABLE"));
            };
            let mut flow = flow.clone();
            self.json_behavior(column.on_empty.as_deref(), scope, &mut flow)?;
            self.json_behavior(column.on_error.as_deref(), scope, &mut flow)?;
            let ty = match &column.type_name {
                Some(name) => self.made_of_json(name)?,
                None => Ty::Opaque,
            };
            if column.columns.is_empty() {
                flow.change();
                columns.push(Col { name: column.name.as_str().into(), ty, flow });
            } else {
                self.json_columns(&column.columns, scope, &flow, columns)?;
            }
        }
        self.leave();
        Ok(())
    }
}
