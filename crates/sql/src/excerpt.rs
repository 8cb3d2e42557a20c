//! The rows that a statement changes, before and after, by statements that are made of its own tree: for people who decide
//! on it. What they would do is for the caller to find out, as of any statement.

use pg_query::{DeparseOptions, NodeEnum, protobuf};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{
    context::Lexing,
    counting,
    parse::{self, text_of},
    version,
};

/// What a statement does to the rows of its relation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// MERGE.
    Merge,
}

/// How many rows it changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Count {
    /// Its text says.
    Known(u64),
    /// This statement says.
    Asked(String),
}

/// What there is to see of a statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Excerpt {
    /// The schema of the relation, where the text names it.
    pub schema: Option<String>,
    /// The relation.
    pub relation: String,
    /// What becomes of its rows.
    pub change: Change,
    /// All columns of some of the rows that are there and would change.
    pub before: Option<String>,
    /// How many rows would change by it itself.
    pub count: Option<Count>,
    /// The same statement, which returns all columns of the rows as they become.
    pub returning: Option<String>,
}

/// What there is to see of a string that is one statement which changes rows; nothing of any other.
#[must_use]
pub fn excerpt(text: &[u8], lexing: Lexing, most: usize) -> Option<Excerpt> {
    let mut tree = parse::parse(text_of(text).ok()?, lexing, version::NEWEST).ok()?;
    let raw = tree.statements.pop().filter(|_| tree.statements.is_empty())?;
    match raw.stmt?.node? {
        NodeEnum::InsertStmt(insert) => of_insert(*insert),
        NodeEnum::UpdateStmt(update) => {
            let protobuf::UpdateStmt { relation, from_clause, where_clause, with_clause, .. } = *update;
            let met = Met { from: from_clause, condition: where_clause, with: with_clause };
            Some(of_met(&relation?, Change::Update, met, most))
        }
        NodeEnum::DeleteStmt(delete) => {
            let protobuf::DeleteStmt { relation, using_clause, where_clause, with_clause, .. } = *delete;
            let met = Met { from: using_clause, condition: where_clause, with: with_clause };
            Some(of_met(&relation?, Change::Delete, met, most))
        }
        NodeEnum::MergeStmt(merge) => Some(Excerpt::of(&merge.relation?, Change::Merge)),
        _ => None,
    }
}

impl Excerpt {
    fn of(relation: &protobuf::RangeVar, change: Change) -> Self {
        let schema = Some(relation.schemaname.clone()).filter(|schema| !schema.is_empty());
        Self { schema, relation: relation.relname.clone(), change, before: None, count: None, returning: None }
    }
}

/// Which rows an UPDATE or DELETE is for.
struct Met {
    from: Vec<protobuf::Node>,
    condition: Option<Box<protobuf::Node>>,
    with: Option<protobuf::WithClause>,
}

fn of_met(relation: &protobuf::RangeVar, change: Change, met: Met, most: usize) -> Excerpt {
    let of_cursor = |node: &protobuf::Node| matches!(node.node, Some(NodeEnum::CurrentOfExpr(_)));
    let excerpt = Excerpt::of(relation, change);
    if counting::writes(met.with.as_ref()) || met.condition.as_deref().is_some_and(of_cursor) {
        return excerpt;
    }
    let rows = format!("SELECT {}.* LIMIT {most}", quoted(alias(relation)));
    let with = |template: &str| {
        let mut select = template_of(template)?;
        select.from_clause = vec![node(NodeEnum::RangeVar(relation.clone()))];
        select.with_clause.clone_from(&met.with);
        select.where_clause = if met.from.is_empty() { met.condition.clone() } else { Some(Box::new(exists(&met)?)) };
        text_of_node(NodeEnum::SelectStmt(Box::new(select)))
    };
    let count = with("SELECT pg_catalog.count(*)").map(Count::Asked);
    Excerpt { before: with(&rows), count, ..excerpt }
}

/// That there is a row of the others which meets the condition: each row of the relation counts once.
fn exists(met: &Met) -> Option<protobuf::Node> {
    let mut condition = *template_of("SELECT 1 WHERE EXISTS (SELECT 1)")?.where_clause?;
    let Some(NodeEnum::SubLink(link)) = &mut condition.node else { return None };
    let Some(NodeEnum::SelectStmt(select)) = &mut link.subselect.as_deref_mut()?.node else { return None };
    select.from_clause.clone_from(&met.from);
    select.where_clause.clone_from(&met.condition);
    Some(condition)
}

fn of_insert(mut insert: protobuf::InsertStmt) -> Option<Excerpt> {
    let relation = insert.relation.clone()?;
    let excerpt = Excerpt::of(&relation, Change::Insert);
    if counting::writes(insert.with_clause.as_ref()) {
        return Some(excerpt);
    }
    let count = match insert.select_stmt.as_ref().map(|source| &source.node) {
        None => Some(Count::Known(1)),
        Some(Some(NodeEnum::SelectStmt(source))) if !source.values_lists.is_empty() => {
            Some(Count::Known(source.values_lists.len() as u64))
        }
        Some(Some(NodeEnum::SelectStmt(source))) if !counting::writes(source.with_clause.as_ref()) => {
            count_of(source, insert.with_clause.as_ref()).map(Count::Asked)
        }
        Some(_) => return Some(excerpt),
    };
    let returned = template_of(&format!("SELECT {}.*", quoted(alias(&relation))))?.target_list;
    insert.returning_clause = Some(protobuf::ReturningClause { options: Vec::new(), exprs: returned });
    Some(Excerpt { count, returning: text_of_node(NodeEnum::InsertStmt(Box::new(insert))), ..excerpt })
}

fn count_of(source: &protobuf::SelectStmt, with: Option<&protobuf::WithClause>) -> Option<String> {
    let mut select = template_of("SELECT pg_catalog.count(*) FROM (SELECT 1) AS counted")?;
    let Some(NodeEnum::RangeSubselect(sub)) = &mut select.from_clause.first_mut()?.node else { return None };
    sub.subquery = Some(Box::new(node(NodeEnum::SelectStmt(Box::new(source.clone())))));
    select.with_clause = with.cloned();
    text_of_node(NodeEnum::SelectStmt(Box::new(select)))
}

fn alias(relation: &protobuf::RangeVar) -> &str {
    relation.alias.as_ref().map_or(&relation.relname, |alias| &alias.aliasname)
}

fn node(node: NodeEnum) -> protobuf::Node {
    protobuf::Node { node: Some(node) }
}

/// A SELECT of ours, to be filled.
fn template_of(text: &str) -> Option<protobuf::SelectStmt> {
    let mut tree = parse::parse(text, Lexing::default(), version::NEWEST).ok()?;
    match tree.statements.pop()?.stmt?.node? {
        NodeEnum::SelectStmt(select) => Some(*select),
        _ => None,
    }
}

/// A tree as text. What cannot be written is not shown.
fn text_of_node(node: NodeEnum) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| node.deparse(DeparseOptions::default()).ok())).ok().flatten()
}

/// An identifier.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Excerpt {
        excerpt(text.as_bytes(), Lexing::default(), 5).unwrap()
    }

    fn asked(text: &str) -> Option<Count> {
        Some(Count::Asked(text.into()))
    }

    #[test]
    fn rows_that_an_update_or_delete_meets() {
        let found = of("delete from only shop.orders o where status = 'st''ale' and id > $1 returning id");
        assert_eq!((found.schema.as_deref(), &*found.relation), (Some("shop"), "orders"));
        let met = "FROM ONLY shop.orders o WHERE status = 'st''ale' AND id > $1";
        assert_eq!(found.before, Some(format!("SELECT o.* {met} LIMIT 5")));
        assert_eq!(found.count, asked(&format!("SELECT pg_catalog.count(*) {met}")));
        let found = of("with x as (select 1 as k) update \"T\" set a = 1 from x, y where x.k = y.k and \"T\".b = y.b");
        let before = "WITH x AS (SELECT 1 AS k) SELECT \"T\".* FROM \"T\" WHERE EXISTS (SELECT 1 FROM x, y WHERE x.k = y.k \
                      AND \"T\".b = y.b) LIMIT 5";
        assert_eq!(found.before.as_deref(), Some(before));
        assert_eq!(of("delete from t").before.as_deref(), Some("SELECT t.* FROM t LIMIT 5"));
    }

    #[test]
    fn what_cannot_be_asked_without_writing_is_not() {
        for text in [
            "delete from t where current of c",
            "with gone as (delete from u returning a) delete from t using gone where t.a = gone.a",
            "with gone as (delete from u returning a) insert into t select a from gone",
            "insert into t with gone as (delete from u returning a) select a from gone",
            "merge into t using u on t.a = u.a when matched then delete",
        ] {
            let Excerpt { before, count, returning, .. } = of(text);
            assert_eq!((before, count, returning), (None, None, None), "{text}");
        }
        for text in ["select 1", "delete from t; delete from t", "truncate t", "delete frm t"] {
            assert_eq!(excerpt(text.as_bytes(), Lexing::default(), 5), None, "{text}");
        }
    }

    #[test]
    fn rows_that_are_inserted() {
        let found = of("insert into t (a) values (1), (2) on conflict (a) do update set a = 3 returning 1");
        let returning = "INSERT INTO t (a) VALUES (1), (2) ON CONFLICT (a) DO UPDATE SET a = 3 RETURNING t.*";
        assert_eq!((found.count, found.returning.as_deref()), (Some(Count::Known(2)), Some(returning)));
        let found = of("with x as (select 1) insert into t select * from x");
        let count = "WITH x AS (SELECT 1) SELECT pg_catalog.count(*) FROM (SELECT * FROM x) counted";
        assert_eq!(found.count, asked(count));
        assert_eq!(of("insert into t default values").count, Some(Count::Known(1)));
    }

    #[test]
    fn literals_keep_their_meaning() {
        let lexing = Lexing { standard_conforming_strings: false, backslash_quote: true };
        let found = excerpt(br"delete from t where a = 'x\'y\\'", lexing, 5).unwrap();
        assert_eq!(found.before.as_deref(), Some(r"SELECT t.* FROM t WHERE a = E'x''y\\' LIMIT 5"));
    }
}
