//! COPY: what it reads or writes, and how rows go to the client.

use std::collections::BTreeSet;

use pg_query::{Node, NodeEnum, protobuf};

use super::{
    Analyser, Step,
    effects::Event,
    flow::Flow,
    missing,
    names::{range_schema, string},
    query::Output,
    scope::{Col, Item, Ty, key, made_key},
    session::constant,
    unexpected,
    utility::of_relation,
};
use crate::{
    catalog::Relation,
    facts::{Action, CopyFormat, CopyOut, Manner, Object, Place},
};

impl<'a> Analyser<'a> {
    pub(super) fn copy(&mut self, copy: &protobuf::CopyStmt) -> Step {
        let elsewhere = copy.is_program || !copy.filename.is_empty();
        if elsewhere {
            self.admin();
            let what = if copy.is_program { "a program runs on the server" } else { "a file of the server is used" };
            self.effect(what.into());
        }
        let query = copy.query.as_ref().and_then(|node| node.node.as_ref());
        if copy.is_from {
            return self.copy_from(copy);
        }
        let output = match (query, &copy.relation) {
            (Some(query), _) => {
                let root = self.root();
                self.data_statement(query, &root)?
            }
            (None, Some(range)) => self.copied(range, &copy.attlist)?,
            (None, None) => return Err(unexpected("COPY")),
        };
        if elsewhere {
            self.put_away(&output);
            return Ok(());
        }
        let names: Vec<&str> = output.columns.iter().map(|column| &*column.name).collect();
        self.facts.copy_out = Some(copy_out(&copy.options, &names)?);
        self.put_out(output);
        Ok(())
    }

    fn copy_from(&mut self, copy: &protobuf::CopyStmt) -> Step {
        let Some(range) = &copy.relation else { return Err(unexpected("COPY")) };
        if let Some((name, made)) = self.made(range_schema(range), &range.relname) {
            self.access_in(Action::Insert, Object::Relation(name.clone()), Manner::Copy);
            self.facts.uses.insert((made_key(made.number, None), Place::Write));
            return Ok(());
        }
        let relation = self.relation(range)?;
        let name = self.facts_name(relation);
        self.access_in(Action::Insert, Object::Relation(name.clone()), Manner::Copy);
        if relation.is_builtin() {
            self.admin();
        }
        self.started_by_writing(relation, Event::Insert)?;
        for at in copied_columns(&copy.attlist, relation)? {
            self.facts.uses.insert((key(relation, Some(at)), Place::Write));
        }
        let mut scope = self.root();
        // Its WHERE is about what is copied, which the client sends.
        let columns = relation.columns.iter();
        let columns = columns.map(|of| Col { name: of.name.clone(), ty: Ty::Known(of.ty), flow: Flow::default() });
        scope.push(Item::derived(Some(&relation.name.name), columns.collect(), None));
        self.condition(copy.where_clause.as_deref(), &scope, Place::Filter)
    }

    /// A relation's rows, as COPY puts them out.
    fn copied(&mut self, range: &protobuf::RangeVar, names: &[Node]) -> Step<Output> {
        if let Some((name, made)) = self.made(range_schema(range), &range.relname) {
            self.access_in(Action::Read, Object::Relation(name), Manner::Copy);
            return Ok(Output { columns: Vec::new(), rest: Some(Flow::of(made_key(made.number, None))) });
        }
        let relation = self.relation(range)?;
        let name = self.facts_name(relation);
        self.access_in(Action::Read, Object::Relation(name.clone()), Manner::Copy);
        self.started_by_reading(relation)?;
        let columns = of_relation(relation, &name, self.shown(relation)?).columns();
        let wanted = copied_columns(names, relation)?;
        Ok(Output { columns: wanted.into_iter().filter_map(|at| columns.get(at).cloned()).collect(), rest: None })
    }
}

/// The places of the columns that a list of plain names means, in its order. Without a list it is all but the generated ones.
fn copied_columns(names: &[Node], relation: &Relation) -> Step<Vec<usize>> {
    let each = relation.columns.iter().enumerate();
    if names.is_empty() {
        return Ok(each.filter(|(_, column)| column.generated.is_none()).map(|(at, _)| at).collect());
    }
    let named = |node| {
        let name = string(node).unwrap_or_default();
        let found = relation.columns.iter().position(|column| &*column.name == name);
        found.ok_or_else(|| missing(format!("column \"{name}\" does not exist"), -1))
    };
    names.iter().map(named).collect()
}

/// What COPY's options say of how rows are written. What is none of the server's is its own to refuse.
fn copy_out(options: &[Node], names: &[&str]) -> Step<CopyOut> {
    let mut given: Vec<(&str, Option<&Node>)> = Vec::with_capacity(options.len());
    for node in options {
        let Some(NodeEnum::DefElem(option)) = &node.node else { return Err(unexpected("an option of COPY")) };
        given.push((&option.defname, option.arg.as_deref()));
    }
    let text = |name: &str| {
        let found = given.iter().find(|(own, _)| *own == name);
        found.and_then(|(_, value)| value.and_then(constant))
    };
    let byte = |name: &str| text(name).and_then(|text| text.bytes().next());
    let format = match text("format").as_deref() {
        Some("csv") => CopyFormat::Csv,
        Some("binary") => CopyFormat::Binary,
        _ => CopyFormat::Text,
    };
    let csv = format == CopyFormat::Csv;
    let quote = byte("quote").unwrap_or(b'"');
    let header = given.iter().any(|(name, value)| {
        let off = || value.and_then(constant).is_some_and(|value| is_off(&value));
        *name == "header" && !off()
    });
    let forced = given.iter().find(|(name, _)| *name == "force_quote").and_then(|(_, value)| *value);
    let force_quote = match forced.map(|node| &node.node) {
        Some(Some(NodeEnum::AStar(_))) => (0..names.len()).collect(),
        Some(Some(NodeEnum::List(list))) => {
            let forced: Vec<&str> = list.items.iter().filter_map(string).collect();
            (0..names.len()).filter(|at| names.get(*at).is_some_and(|name| forced.contains(name))).collect()
        }
        _ => BTreeSet::new(),
    };
    Ok(CopyOut {
        format,
        delimiter: byte("delimiter").unwrap_or(if csv { b',' } else { b'\t' }),
        null: text("null").unwrap_or_else(|| if csv { String::new() } else { "\\N".into() }),
        quote,
        escape: byte("escape").unwrap_or(quote),
        header,
        force_quote,
        encoding: text("encoding"),
    })
}

fn is_off(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "0")
}
