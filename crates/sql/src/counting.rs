//! What the grammar alone says of how PostgreSQL counts the rows that a query string writes: for sessions in which only
//! their number is bounded. What functions, triggers, cascades and rules write is not in any count.

use pg_query::{NodeEnum, protobuf};

use crate::{
    context::Lexing,
    facts::Refusal,
    parse::{self, text_of},
    version,
};

/// How the rows are counted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Counting {
    /// It writes none by itself.
    Nothing,
    /// It is one query, so that only functions which it calls can write.
    Query,
    /// It is several statements, of which none writes by itself, and one is a query.
    Queries,
    /// Its command tag counts them.
    ByTag,
    /// Its command tag does not count all of them: the server has to be asked what it has counted.
    ByAsking,
    /// There are several statements, some of which write.
    Several,
    /// Nothing counts all of them. What it is.
    Not(&'static str),
}

/// How the rows that a string writes are counted. How the session reads backslashes is not known here, so that of both
/// ways to read them the worse one is told.
///
/// # Errors
///
/// When neither can be parsed.
pub fn counting(text: &[u8]) -> Result<Counting, Refusal> {
    let text = text_of(text)?;
    let plain = read(text, Lexing::default());
    if !text.contains('\\') {
        return plain;
    }
    let escaped = read(text, Lexing { standard_conforming_strings: false, backslash_quote: true });
    match (plain, escaped) {
        // The server does not parse what its own reading does not.
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
        (Ok(one), Ok(other)) => Ok(one.max(other)),
        (Err(refusal), Err(_)) => Err(refusal),
    }
}

fn read(text: &str, lexing: Lexing) -> Result<Counting, Refusal> {
    let tree = parse::parse(text, lexing, version::NEWEST)?;
    let kinds = tree.statements.iter().map(|raw| of_node(raw.stmt.as_deref()));
    Ok(match kinds.max() {
        Some(Counting::ByTag | Counting::ByAsking) if tree.statements.len() > 1 => Counting::Several,
        Some(Counting::Query) if tree.statements.len() > 1 => Counting::Queries,
        Some(worst) => worst,
        None => Counting::Nothing,
    })
}

fn of_node(node: Option<&protobuf::Node>) -> Counting {
    let Some(node) = node.and_then(|node| node.node.as_ref()) else { return Counting::Nothing };
    let by_tag = |with: Option<&protobuf::WithClause>| if writes(with) { Counting::ByAsking } else { Counting::ByTag };
    match node {
        NodeEnum::InsertStmt(insert) => {
            by_tag(insert.with_clause.as_ref()).max(of_source(insert.select_stmt.as_deref()))
        }
        NodeEnum::UpdateStmt(update) => by_tag(update.with_clause.as_ref()),
        NodeEnum::DeleteStmt(delete) => by_tag(delete.with_clause.as_ref()),
        NodeEnum::MergeStmt(merge) => by_tag(merge.with_clause.as_ref()),
        NodeEnum::SelectStmt(select) => of_select(select),
        NodeEnum::CopyStmt(copy) if copy.is_from => Counting::ByTag,
        NodeEnum::CopyStmt(copy) => of_run(copy.query.as_deref()),
        NodeEnum::FetchStmt(_) => Counting::Query,
        NodeEnum::CreateTableAsStmt(create) => Counting::ByTag.max(of_source(create.query.as_deref())),
        // Whoever executes it is asked.
        NodeEnum::PrepareStmt(prepare) => match of_node(prepare.query.as_deref()) {
            not @ Counting::Not(_) => not,
            _ => Counting::Nothing,
        },
        NodeEnum::ExplainStmt(explain) if explain.options.iter().any(is_analyze) => of_run(explain.query.as_deref()),
        // What it stands for is not seen here.
        NodeEnum::ExecuteStmt(_) => Counting::ByAsking,
        NodeEnum::DoStmt(_) => Counting::Not("a DO block"),
        NodeEnum::CallStmt(_) => Counting::Not("a CALL"),
        _ => Counting::Nothing,
    }
}

/// What is run by a statement whose command tag says nothing of it.
fn of_run(node: Option<&protobuf::Node>) -> Counting {
    match of_node(node) {
        Counting::ByTag => Counting::ByAsking,
        other => other,
    }
}

/// What a write gets its rows from: only a WITH that writes makes a difference.
fn of_source(node: Option<&protobuf::Node>) -> Counting {
    of_node(node).max(Counting::ByTag)
}

fn of_select(select: &protobuf::SelectStmt) -> Counting {
    let of_part = |select: &protobuf::SelectStmt| {
        if writes(select.with_clause.as_ref()) {
            Counting::ByAsking
        } else if select.into_clause.is_some() {
            Counting::ByTag
        } else {
            Counting::Query
        }
    };
    // Chains of UNION are as long as their text: not by recursion to the left.
    let mut worst = of_part(select);
    let mut rest = Some(select);
    while let Some(select) = rest {
        worst = select.rarg.as_deref().map_or(worst, |right| worst.max(of_select(right)));
        rest = select.larg.as_deref();
        if let Some(left) = rest {
            worst = worst.max(of_part(left));
        }
    }
    worst
}

/// Whether a WITH writes.
pub(crate) fn writes(with: Option<&protobuf::WithClause>) -> bool {
    let queries = with.into_iter().flat_map(|with| &with.ctes).filter_map(|cte| match cte.node.as_ref() {
        Some(NodeEnum::CommonTableExpr(cte)) => cte.ctequery.as_deref(),
        _ => None,
    });
    queries.map(|query| of_node(Some(query))).any(|kind| kind > Counting::Queries)
}

fn is_analyze(option: &protobuf::Node) -> bool {
    matches!(option.node.as_ref(), Some(NodeEnum::DefElem(option)) if option.defname == "analyze")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_rows_are_counted() {
        for (text, expected) in [
            ("", Counting::Nothing),
            ("set a = 1; begin", Counting::Nothing),
            ("select 1; select 2", Counting::Queries),
            ("begin; select 2", Counting::Queries),
            ("select 1 union select 2", Counting::Query),
            ("with c as (select 1) select * from c", Counting::Query),
            ("fetch all from c", Counting::Query),
            ("insert into t values (1)", Counting::ByTag),
            ("insert into t select * from u", Counting::ByTag),
            ("with c as (select 1) update t set a = 1", Counting::ByTag),
            ("merge into t using u on true when matched then delete", Counting::ByTag),
            ("copy t from stdin", Counting::ByTag),
            ("copy t to stdout", Counting::Nothing),
            ("copy (select 1) to stdout", Counting::Query),
            ("explain analyze select 1", Counting::Query),
            ("create table t as select 1", Counting::ByTag),
            ("select 1 into t", Counting::ByTag),
            ("select 1 into t union select 2", Counting::ByTag),
            ("execute p", Counting::ByAsking),
            ("prepare p as delete from t", Counting::Nothing),
            ("prepare p as with c as (delete from t returning *) select * from c", Counting::Nothing),
            ("with c as (delete from t returning *) select * from c", Counting::ByAsking),
            ("with c as (delete from t returning *) insert into u select * from c", Counting::ByAsking),
            ("insert into u with c as (delete from t returning *) select * from c", Counting::ByAsking),
            ("with a as (with b as (delete from t returning *) select * from b) select * from a", Counting::ByAsking),
            ("explain analyze delete from t", Counting::ByAsking),
            ("explain (analyze, costs off) execute p", Counting::ByAsking),
            ("copy (delete from t returning *) to stdout", Counting::ByAsking),
            ("with c as (delete from t returning *) select * from c; select 1", Counting::Several),
            ("explain delete from t", Counting::Nothing),
            ("begin; delete from t; commit", Counting::Several),
            ("select '\\'; select '; delete from t; --'", Counting::Several),
            ("select 'C:\\'", Counting::Query),
        ] {
            assert_eq!(counting(text.as_bytes()), Ok(expected), "{text}");
        }
        for text in [
            "do 'begin delete from t; end'",
            "call p()",
            "select 1; call p()",
            "select '\\'', $$'; do 'begin delete from t; end' --$$",
        ] {
            assert!(
                matches!(counting(text.as_bytes()), Ok(Counting::Not(_))),
                "{text}: {:?}",
                counting(text.as_bytes())
            );
        }
        assert!(counting(b"selec 1").is_err());
    }
}
