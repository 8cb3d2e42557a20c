//! What PostgreSQL calls an output column that was given no name. Outer queries refer to it by that name.

use pg_query::{Node, NodeEnum, protobuf};

use super::names::string;

/// The name that PostgreSQL gives to an output column without one.
pub(super) fn output_name(node: &Node) -> &str {
    match &node.node {
        Some(NodeEnum::ColumnRef(column)) => column.fields.iter().rev().find_map(string).unwrap_or("?column?"),
        Some(NodeEnum::FuncCall(call)) => call.funcname.last().and_then(string).unwrap_or("?column?"),
        Some(NodeEnum::TypeCast(cast)) => {
            let inner = cast.arg.as_deref().map_or("?column?", output_name);
            let of_type = || cast.type_name.as_ref().and_then(|name| name.names.last()).and_then(string);
            if inner == "?column?" { of_type().unwrap_or(inner) } else { inner }
        }
        Some(NodeEnum::CollateClause(clause)) => clause.arg.as_deref().map_or("?column?", output_name),
        Some(NodeEnum::AIndirection(indirection)) => {
            let field = indirection.indirection.iter().rev().find_map(string);
            field.unwrap_or_else(|| indirection.arg.as_deref().map_or("?column?", output_name))
        }
        Some(NodeEnum::SubLink(link)) => sub_link_name(link),
        Some(NodeEnum::CaseExpr(case)) => match case.defresult.as_deref().map(output_name) {
            Some(name) if name != "?column?" => name,
            _ => "case",
        },
        Some(NodeEnum::CoalesceExpr(_)) => "coalesce",
        Some(NodeEnum::AArrayExpr(_)) => "array",
        Some(NodeEnum::RowExpr(_)) => "row",
        Some(NodeEnum::GroupingFunc(_)) => "grouping",
        Some(NodeEnum::MinMaxExpr(expr)) if expr.op == protobuf::MinMaxOp::IsLeast as i32 => "least",
        Some(NodeEnum::MinMaxExpr(_)) => "greatest",
        Some(NodeEnum::SqlvalueFunction(function)) => value_name(function.op),
        Some(NodeEnum::AExpr(expr)) if expr.kind == protobuf::AExprKind::AexprNullif as i32 => "nullif",
        Some(NodeEnum::XmlExpr(xml)) => xml_name(xml.op),
        Some(NodeEnum::XmlSerialize(_)) => "xmlserialize",
        Some(NodeEnum::MergeSupportFunc(_)) => "merge_action",
        Some(NodeEnum::JsonObjectConstructor(_)) => "json_object",
        Some(NodeEnum::JsonArrayConstructor(_) | NodeEnum::JsonArrayQueryConstructor(_)) => "json_array",
        Some(NodeEnum::JsonObjectAgg(_)) => "json_objectagg",
        Some(NodeEnum::JsonArrayAgg(_)) => "json_arrayagg",
        Some(NodeEnum::JsonParseExpr(_)) => "json",
        Some(NodeEnum::JsonScalarExpr(_)) => "json_scalar",
        Some(NodeEnum::JsonSerializeExpr(_)) => "json_serialize",
        Some(NodeEnum::JsonFuncExpr(call)) => match protobuf::JsonExprOp::try_from(call.op) {
            Ok(protobuf::JsonExprOp::JsonExistsOp) => "json_exists",
            Ok(protobuf::JsonExprOp::JsonQueryOp) => "json_query",
            _ => "json_value",
        },
        _ => "?column?",
    }
}

fn xml_name(op: i32) -> &'static str {
    use protobuf::XmlExprOp as Op;
    match Op::try_from(op) {
        Ok(Op::IsXmlconcat) => "xmlconcat",
        Ok(Op::IsXmlelement) => "xmlelement",
        Ok(Op::IsXmlforest) => "xmlforest",
        Ok(Op::IsXmlparse) => "xmlparse",
        Ok(Op::IsXmlpi) => "xmlpi",
        Ok(Op::IsXmlroot) => "xmlroot",
        _ => "?column?",
    }
}

fn sub_link_name(link: &protobuf::SubLink) -> &str {
    use protobuf::SubLinkType as Kind;
    match Kind::try_from(link.sub_link_type) {
        Ok(Kind::ExistsSublink) => "exists",
        Ok(Kind::ArraySublink) => "array",
        Ok(Kind::ExprSublink) => {
            let Some(NodeEnum::SelectStmt(select)) = link.subselect.as_ref().and_then(|node| node.node.as_ref()) else {
                return "?column?";
            };
            match select.target_list.first().map(|node| &node.node) {
                Some(Some(NodeEnum::ResTarget(target))) if !target.name.is_empty() => &target.name,
                Some(Some(NodeEnum::ResTarget(target))) => target.val.as_deref().map_or("?column?", output_name),
                _ => "?column?",
            }
        }
        _ => "?column?",
    }
}

fn value_name(op: i32) -> &'static str {
    use protobuf::SqlValueFunctionOp as Op;
    match Op::try_from(op) {
        Ok(Op::SvfopCurrentDate) => "current_date",
        Ok(Op::SvfopCurrentTime | Op::SvfopCurrentTimeN) => "current_time",
        Ok(Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN) => "current_timestamp",
        Ok(Op::SvfopLocaltime | Op::SvfopLocaltimeN) => "localtime",
        Ok(Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN) => "localtimestamp",
        Ok(Op::SvfopCurrentRole) => "current_role",
        Ok(Op::SvfopCurrentUser) => "current_user",
        Ok(Op::SvfopUser) => "user",
        Ok(Op::SvfopSessionUser) => "session_user",
        Ok(Op::SvfopCurrentCatalog) => "current_catalog",
        Ok(Op::SvfopCurrentSchema) => "current_schema",
        _ => "?column?",
    }
}
