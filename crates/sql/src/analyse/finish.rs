//! From what was found out about a statement to its facts: columns get their names back.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    Analyser,
    flow::{Key, Met, key_parts, met},
    names::TEMP,
    query,
    scope::Ty,
};
use crate::{
    facts::{ColumnUse, Constant, Function, Meeting, Name, Origin, Output, OutputColumn, Statement},
    literals::{literals, number_of},
};

impl Analyser<'_> {
    /// The facts of the statement at hand. Constants are told where the whole query string is given.
    pub(super) fn statement_facts(&mut self, tag: &'static str, span: Range<usize>, text: Option<&str>) -> Statement {
        let output = std::mem::take(&mut self.facts.output);
        let mut output = self.output(&output);
        let meets = text.map(|text| self.meetings(text)).unwrap_or_default();
        let facts = &self.facts;
        let mut columns: BTreeSet<ColumnUse> = BTreeSet::new();
        for &(key, place) in &facts.uses {
            let Origin { relation, column } = self.origin(key);
            columns.insert(ColumnUse { relation, column, place });
        }
        let mut joins: BTreeSet<(Origin, Origin)> = BTreeSet::new();
        joins.extend(facts.joins.iter().map(|&(one, other)| (self.origin(one), self.origin(other))));
        if let Some(fetched) = &facts.fetched {
            columns.extend(fetched.columns.iter().cloned());
            joins.extend(fetched.joins.iter().cloned());
            // MOVE and EXPLAIN put out none of it.
            if tag == "FETCH" {
                output = fetched.output.clone();
            }
        }
        Statement {
            span,
            tag,
            accesses: facts.accesses.iter().cloned().collect(),
            functions: one_of_each(&facts.functions),
            columns: columns.into_iter().collect(),
            joins: joins.into_iter().collect(),
            meets,
            output,
            copy_out: facts.copy_out.clone(),
            settings: facts.settings.clone(),
            transaction: facts.transaction.clone(),
            bound: self.bound(),
            effects: facts.effects.clone(),
            barrier: facts.barrier,
        }
    }

    /// The result's columns, which leave the database.
    fn output(&self, output: &query::Output) -> Output {
        // Columns of `*` and of views share much.
        let mut known: BTreeMap<Key, Origin> = BTreeMap::new();
        let mut name = |key: Key| known.entry(key).or_insert_with(|| self.origin(key)).clone();
        let columns = output.columns.iter().map(|column| {
            let ty = if let Ty::Known(oid) = column.ty { Some(oid) } else { None };
            let direct = column.flow.direct().map(&mut name).collect();
            let origins = column.flow.origins.iter().map(&mut name).collect();
            OutputColumn { name: column.name.clone(), ty, origins, direct }
        });
        Output { columns: columns.collect(), open: output.rest.is_some() }
    }

    /// The column of this key, with its name.
    fn origin(&self, key: Key) -> Origin {
        let (number, at) = key_parts(key);
        if let Some(relation) = self.catalog.relation_by_oid(number) {
            let column = at.and_then(|at| relation.columns.get(at)).map(|column| column.name.clone());
            return Origin { relation: self.facts_name(relation), column };
        }
        match self.made.iter().find(|(_, made)| made.number == number) {
            Some((name, made)) => {
                let columns = made.columns.as_deref().unwrap_or_default();
                let column = at.and_then(|at| columns.get(at)).map(|(name, _)| name.clone());
                Origin { relation: name.clone(), column }
            }
            // What an earlier statement of the string made has gone since. It is no column that anybody has tagged.
            None => Origin { relation: Name { schema: TEMP.into(), name: "".into() }, column: None },
        }
    }

    /// Which constants of the text meet which columns. Literals are left out where it cannot be told where they stand, which
    /// [`literals`] says.
    fn meetings(&self, text: &str) -> Vec<Meeting> {
        if self.facts.meets.is_empty() {
            return Vec::new();
        }
        let is_literal = |constant: u64| matches!(met(constant), Some(Met::Literal(_)));
        let known = if self.facts.meets.iter().any(|(constant, ..)| is_literal(*constant)) {
            literals(text, self.context.lexing).unwrap_or_default()
        } else {
            Vec::new()
        };
        let mut meetings = BTreeSet::new();
        for &(constant, key, how) in &self.facts.meets {
            let constant = match met(constant) {
                Some(Met::Literal(location)) => number_of(&known, text, location).map(Constant::Literal),
                Some(Met::Parameter(number)) => Some(Constant::Parameter(number)),
                None => None,
            };
            if let Some(constant) = constant {
                meetings.insert(Meeting { constant, column: self.origin(key), how });
            }
        }
        meetings.into_iter().collect()
    }
}

/// Functions of one name and standing, as the most volatile of them.
fn one_of_each(functions: &BTreeSet<Function>) -> Vec<Function> {
    let mut kept: Vec<Function> = Vec::with_capacity(functions.len());
    // They are ordered by name, then by volatility.
    for function in functions {
        match kept.last_mut() {
            Some(last) if last.name == function.name && last.standing == function.standing => {
                last.volatility = function.volatility;
            }
            _ => kept.push(function.clone()),
        }
    }
    kept
}
