//! A whole query string: its statements one after the other, each in the light of those before it.

use std::{ops::Range, sync::Arc};

use pg_query::{Node, NodeEnum, protobuf};

use super::{
    Analyser, Analysis, Facts, Step,
    flow::Flow,
    names::{SYSTEM, TEMP},
    scope::{Col, Item, Ty, made_key},
    unresolved,
};
use crate::{
    catalog::Catalog,
    context::{Context, parse_search_path},
    facts::{Action, Barrier, Name, Refusal, Script, Standing, Statement, Transaction},
    guards, parse, settings, shape,
};

/// What an earlier statement of the string made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// What stands in its columns' keys for an object id.
    pub(super) number: u32,
    /// Its columns; `None`: not known.
    pub(super) columns: Option<Vec<(Arc<str>, Ty)>>,
}

impl Made {
    /// It as an item of FROM.
    pub(super) fn item<'a>(self, alias: &str) -> Item<'a> {
        let rest = self.columns.is_none().then(|| Flow::of(made_key(self.number, None)));
        let columns = self.columns.unwrap_or_default().into_iter().enumerate();
        let columns = columns.map(|(at, (name, ty))| Col { name, ty, flow: Flow::of(made_key(self.number, Some(at))) });
        Item::derived(Some(alias), columns.collect(), rest)
    }
}

/// The facts of a query string.
///
/// Must run on a thread with [`crate::parse::STACK_BYTES`] of stack.
///
/// # Errors
///
/// Why there are no facts; nothing of the string may run then.
pub fn analyse(text: &str, catalog: &Catalog, context: &Context) -> Result<Script, Refusal> {
    analyse_in_full(text, catalog, context).map(|analysis| analysis.script)
}

/// The facts of a query string, and what it does to prepared statements and cursors.
///
/// Must run on a thread with [`crate::parse::STACK_BYTES`] of stack.
///
/// # Errors
///
/// Why there are no facts; nothing of the string may run then.
pub fn analyse_in_full(text: &str, catalog: &Catalog, context: &Context) -> Result<Analysis, Refusal> {
    let tree = parse::parse(text, context.lexing, context.major)?;
    let mut analyser = Analyser::new(catalog, context.clone(), "".into());
    let mut analysis = Analysis::default();
    let last = tree.statements.len().saturating_sub(1);
    analyser.parameters(&tree)?;
    for (at, raw) in tree.statements.iter().enumerate() {
        let span = span(raw, text);
        let Some(node) = raw.stmt.as_ref().and_then(|node| node.node.as_ref()) else { continue };
        let located = |mut refusal: Refusal| {
            refusal.position = refusal.position.or(Some(span.start));
            refusal
        };
        analyser.text = text.get(span.clone()).unwrap_or_default().into();
        analyser.in_time(node).map_err(located)?;
        let tag = analyser.statement(node).and_then(|tag| analyser.settle().map(|()| tag)).map_err(located)?;
        let statement = analyser.statement_facts(tag, span.clone(), Some(text));
        let handles = std::mem::take(&mut analyser.facts.handles);
        analyser.facts = Facts::default();
        analyser.judged.clear();
        analyser.bodies.clear();
        analyser.drawn = 0;
        if at != last {
            analyser.go_on(node, &statement);
            for handle in &handles {
                analyser.context.keep(handle);
            }
        }
        analysis.script.statements.push(statement);
        analysis.handles.push(handles);
    }
    if !analyser.reads_values {
        analysis.free = shape::free(text, &tree.statements, context);
    }
    Ok(analysis)
}

/// Where a statement stands, without the white space before it.
fn span(raw: &protobuf::RawStmt, text: &str) -> Range<usize> {
    let start = usize::try_from(raw.stmt_location).unwrap_or_default().min(text.len());
    let length = usize::try_from(raw.stmt_len).unwrap_or_default();
    let end = if length == 0 { text.len() } else { (start + length).min(text.len()) };
    let inner = text.get(start..end).unwrap_or_default();
    let blank = inner.len() - inner.trim_start().len();
    start + blank..end
}

impl Analyser<'_> {
    /// What a client sends for parameters is turned into their declared types, whether or not the text uses them.
    fn parameters(&mut self, tree: &parse::Tree) -> Step {
        for oid in self.context.parameters.clone() {
            self.type_checks(oid)?;
        }
        let runs = !self.facts.called.is_empty() || !self.facts.started.is_empty();
        if tree.statements.is_empty() && runs {
            return Err(unresolved(
                "a parameter of an empty statement has a type that runs functions",
                "Declare the parameters of a statement that uses them.",
            ));
        }
        Ok(())
    }

    /// Whether a statement can be judged at all after those that stand before it in the same string.
    fn in_time(&self, node: &NodeEnum) -> Step {
        let Some(earlier) = self.lost else { return Ok(()) };
        let unnamed = if self.lost_path { names_nothing(node) } else { !looks_names_up(node) };
        if unnamed || !guards::stops(guards::ORDER) {
            return Ok(());
        }
        Err(unresolved(
            format!("after {earlier} in the same query string it cannot be told what the names in this statement mean"),
            "Send the statements separately.",
        ))
    }

    /// What a statement changes for those that follow it in the same string.
    fn go_on(&mut self, node: &NodeEnum, statement: &Statement) {
        // What was set for the transaction only is as it was before, and a temporary table may go with it.
        let fleeting = self.local || self.context.uncommitted || self.made.keys().any(|name| *name.schema == *TEMP);
        if statement.transaction == Some(Transaction::Commit) && fleeting {
            (self.lost, self.lost_path) = (Some(statement.tag), true);
        }
        if statement.barrier == Barrier::None {
            return;
        }
        let known = match node {
            NodeEnum::VariableSetStmt(_) | NodeEnum::SelectStmt(_) => self.follow_settings(statement),
            // They make a relation whose columns are known, or were noted as unknown.
            NodeEnum::CreateStmt(_) | NodeEnum::CreateTableAsStmt(_) => true,
            // Of columns alone it computes nothing that a later write would run.
            NodeEnum::IndexStmt(index) => index.where_clause.is_none() && index.index_params.iter().all(is_column),
            _ => false,
        };
        if !known {
            self.lost = Some(statement.tag);
            self.lost_path |= !only_changes_schema(statement);
        }
    }

    /// Follows changes of settings that are plain in the text.
    fn follow_settings(&mut self, statement: &Statement) -> bool {
        let silent = statement.functions.iter().all(|function| function.standing != Standing::Unknown);
        let mut known = silent && !statement.settings.is_empty();
        for setting in &statement.settings {
            let Some(name) = setting.name.as_deref() else { return false };
            if !settings::changes_meaning(name) {
                continue;
            }
            self.local |= setting.local;
            match (name, setting.value.as_deref().and_then(parse_search_path)) {
                ("search_path", Some(path)) => self.context.search_path = path,
                _ => known = false,
            }
        }
        known
    }

    /// Notes a relation that the string makes.
    pub(super) fn make(&mut self, name: Name, columns: Option<Vec<(Arc<str>, Ty)>>) {
        if *name.schema == *TEMP && self.context.temp_schema.is_none() {
            // Its real name is not known before it is made; nothing else can be in it yet.
            self.context.temp_schema = Some(TEMP.into());
        }
        // No relation of the catalog has so high an object id.
        let number = self.made.values().map(|made| made.number).min().map_or(u32::MAX, |number| number - 1);
        self.made.insert(name, Made { number, columns });
    }

    /// A relation that the string made, unless one of the catalog comes before it.
    pub(super) fn made(&self, schema: Option<&str>, name: &str) -> Option<(Name, Made)> {
        if self.made.is_empty() {
            return None;
        }
        let temp = self.context.temp_schema.as_deref();
        let find = |schema: &str| {
            let schema = if Some(schema) == temp { TEMP } else { schema };
            let key = Name { schema: schema.into(), name: name.into() };
            self.made.get(&key).map(|made| (key, made.clone()))
        };
        match schema {
            Some(schema) => find(schema),
            None => {
                for schema in self.path() {
                    if let Some(found) = find(&schema) {
                        return Some(found);
                    }
                    if *schema != *SYSTEM && self.catalog.relation(&schema, name).is_some() {
                        return None;
                    }
                }
                None
            }
        }
    }
}

/// Whether a part of an index is a column as it stands.
fn is_column(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::IndexElem(element)) if element.expr.is_none())
}

/// Whether names are looked up in the same schemas after a statement as before it, whatever there is in them.
fn only_changes_schema(statement: &Statement) -> bool {
    let mut actions = statement.accesses.iter().map(|access| access.action);
    let silent = statement.functions.iter().all(|function| function.standing != Standing::Unknown);
    silent
        && statement.settings.is_empty()
        && statement.transaction.is_none()
        && actions.any(|done| done == Action::Ddl)
}

/// Whether a statement names no object of the database.
fn names_nothing(node: &NodeEnum) -> bool {
    matches!(
        node,
        NodeEnum::TransactionStmt(_)
            | NodeEnum::VariableSetStmt(_)
            | NodeEnum::VariableShowStmt(_)
            | NodeEnum::ConstraintsSetStmt(_)
            | NodeEnum::DeallocateStmt(_)
            | NodeEnum::FetchStmt(_)
            | NodeEnum::ClosePortalStmt(_)
            | NodeEnum::DiscardStmt(_)
            | NodeEnum::ListenStmt(_)
            | NodeEnum::UnlistenStmt(_)
            | NodeEnum::NotifyStmt(_)
            | NodeEnum::CheckPointStmt(_)
    )
}

/// Whether a statement's facts depend on what names mean. Of the others only the object that they name is told, and they
/// do not read or change rows.
fn looks_names_up(node: &NodeEnum) -> bool {
    matches!(
        node,
        NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_)
            | NodeEnum::CopyStmt(_)
            | NodeEnum::CallStmt(_)
            | NodeEnum::ExecuteStmt(_)
            | NodeEnum::PrepareStmt(_)
            | NodeEnum::DeclareCursorStmt(_)
            | NodeEnum::ExplainStmt(_)
            | NodeEnum::TruncateStmt(_)
            | NodeEnum::CreateTableAsStmt(_)
            | NodeEnum::RefreshMatViewStmt(_)
            | NodeEnum::LockStmt(_)
    )
}
