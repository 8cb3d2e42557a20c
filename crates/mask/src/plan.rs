//! From a statement's facts to what becomes of its output, or why it may not run.

use crate::{
    Mask, Type, around, guards,
    refused::{self, Refused},
    rules::{Column, ColumnRule, Compare, Rules, is_keyed},
};
use postern_sql::facts::{ColumnUse, Constant, Meets, Name, Object, Origin, OutputColumn, Place, Statement};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a principal may do with masked columns. Each is asked once for a statement and column.
pub trait Permits {
    /// Whether they may see its values.
    fn unmask(&mut self, column: &Column) -> bool;
    /// Whether they may write over its values, though they see them masked.
    fn overwrite(&mut self, column: &Column) -> bool;
    /// Whether they may ever write values of their own into a relation.
    fn write(&mut self, relation: &Name) -> bool;
}

/// What becomes of a statement that may run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// What becomes of each column of its output. Empty: nothing of any.
    pub columns: Vec<Option<OutputMask>>,
    /// It reads or writes a relation of which something is masked: the texts of its errors and notices are withheld.
    pub touches: bool,
    /// What it asks of masked columns by constants.
    pub probes: Vec<Probe>,
    /// The masked columns that it uses and that the policies show.
    pub unmasked: BTreeSet<Column>,
}

impl Plan {
    /// Whether it passes as if nothing were masked.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        !self.touches && self.columns.is_empty() && self.unmasked.is_empty()
    }
}

/// What becomes of a column of the output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutputMask {
    /// The mask; `None`: it derives from masked columns, and becomes NULL.
    pub mask: Option<Mask>,
    /// The type that the catalog gives it, where it stands as it is.
    pub ty: Option<Type>,
    /// The tags for which it is masked. A keyed mask has one.
    pub tags: BTreeSet<Arc<str>>,
    /// The masked columns that it is made of.
    pub of: BTreeSet<Column>,
}

/// A question to a masked column whose answer tells whether it has a value.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Probe {
    /// The column.
    pub column: Column,
    /// The value; `None`: one that the text does not have, such as a row of COPY.
    pub constant: Option<Constant>,
}

/// What becomes of a statement.
///
/// # Errors
/// Why it may not run.
pub fn plan(statement: &Statement, rules: &Rules, permits: &mut dyn Permits) -> Result<Plan, Refused> {
    if rules.is_empty() {
        return Ok(Plan::default());
    }
    let mut sight = Sight::new(rules, permits);
    sight.look_at(statement)?;
    around::none(statement, &mut sight)?;
    let mut plan = Plan { unmasked: sight.unmasked(statement), ..Plan::default() };
    if sight.hidden.is_empty() {
        return Ok(plan);
    }
    plan.touches = guards::stops(guards::WITHHELD);
    if statement.tag == "EXPLAIN" {
        // Its result is a plan, with estimates made of samples of the columns' values.
        sight.none_is_used(statement)?;
        return Ok(plan);
    }
    if statement.output.open && guards::stops(guards::UNRESOLVED) {
        return Err(refused::open(statement));
    }
    for used in &statement.columns {
        for column in sight.hidden_of(&used.relation, used.column.as_ref()) {
            sight.admit(statement, used, &column)?;
        }
    }
    let columns: Vec<_> = statement.output.columns.iter().map(|column| sight.mask(column)).collect();
    if columns.iter().any(Option::is_some) {
        plan.columns = columns;
    }
    plan.probes = sight.probes(statement);
    Ok(plan)
}

/// What is masked, as the principal of a statement sees it.
pub(crate) struct Sight<'a> {
    pub(crate) rules: &'a Rules,
    permits: &'a mut dyn Permits,
    asked: BTreeMap<Column, bool>,
    /// By tag, whether keyed masks are withheld.
    withheld: BTreeMap<Arc<str>, bool>,
    /// The columns of the statement's relations that are masked.
    hidden: BTreeMap<Name, BTreeSet<Arc<str>>>,
}

impl<'a> Sight<'a> {
    fn new(rules: &'a Rules, permits: &'a mut dyn Permits) -> Self {
        Self { rules, permits, asked: BTreeMap::new(), withheld: BTreeMap::new(), hidden: BTreeMap::new() }
    }

    fn is_hidden(&mut self, column: Column) -> bool {
        if let Some(hidden) = self.asked.get(&column) {
            return *hidden;
        }
        let hidden = !self.permits.unmask(&column);
        self.asked.insert(column, hidden);
        hidden
    }

    /// Whether anything at all is masked for the principal.
    pub(crate) fn hides_anything(&mut self) -> bool {
        let rules = self.rules;
        rules.tables.iter().any(|(relation, table)| {
            let names = table.columns.keys().chain(table.lost.keys());
            names.cloned().any(|name| self.is_hidden(Column { relation: relation.clone(), name }))
        })
    }

    /// Whether anything of a relation that the statement touches is.
    pub(crate) fn hides_of(&self, relation: &Name) -> bool {
        self.hidden.contains_key(relation)
    }

    /// Finds out what is masked of the relations that a statement touches.
    fn look_at(&mut self, statement: &Statement) -> Result<(), Refused> {
        let rules = self.rules;
        for relation in relations(statement) {
            let Some(table) = rules.tables.get(relation) else { continue };
            let column = |name: &Arc<str>| Column { relation: relation.clone(), name: name.clone() };
            for (name, tag) in &table.lost {
                if self.is_hidden(column(name)) {
                    return Err(refused::lost(statement, &column(name), tag));
                }
            }
            let hidden: BTreeSet<_> =
                table.columns.keys().filter(|name| self.is_hidden(column(name))).cloned().collect();
            if !hidden.is_empty() {
                self.hidden.insert(relation.clone(), hidden);
            }
        }
        Ok(())
    }

    /// The masked columns that a name stands for; `None`: any of the relation.
    fn hidden_of(&self, relation: &Name, column: Option<&Arc<str>>) -> Vec<Column> {
        let hidden = self.hidden.get(relation).into_iter().flatten();
        let named = hidden.filter(|name| column.is_none_or(|column| column == *name));
        named.map(|name| Column { relation: relation.clone(), name: name.clone() }).collect()
    }

    /// The columns that a statement uses, that have a mask and are shown.
    fn unmasked(&self, statement: &Statement) -> BTreeSet<Column> {
        let uses = statement.columns.iter().filter(|used| used.place != Place::Write);
        let columns = uses.flat_map(|used| {
            let table = self.rules.tables.get(&used.relation);
            let names = table.into_iter().flat_map(|table| table.columns.keys());
            let named = names.filter(move |name| used.column.as_ref().is_none_or(|column| column == *name));
            named.map(move |name| Column { relation: used.relation.clone(), name: name.clone() })
        });
        columns.filter(|column| self.asked.get(column) == Some(&false)).collect()
    }

    fn none_is_used(&self, statement: &Statement) -> Result<(), Refused> {
        let uses = statement.columns.iter();
        let used = uses.flat_map(|used| self.hidden_of(&used.relation, used.column.as_ref())).next();
        let used = used.filter(|_| guards::stops(guards::EXPLAIN));
        used.map_or(Ok(()), |column| Err(refused::explained(&column, self.tags(&column))))
    }

    fn tags(&self, column: &Column) -> String {
        self.rules.of(column).map(ColumnRule::told).unwrap_or_default()
    }

    /// Whether a column may be used in this place.
    fn admit(&mut self, statement: &Statement, used: &ColumnUse, column: &Column) -> Result<(), Refused> {
        let Some(rule) = self.rules.of(column) else { return Ok(()) };
        let admitted = match used.place {
            Place::Output | Place::Derived | Place::Write => true,
            Place::Compared | Place::Counted => rule.compare >= Compare::Equality,
            Place::Filter | Place::Join | Place::Order | Place::Window => rule.compare == Compare::Any,
            Place::Group => rule.compare == Compare::Any || self.tells_apart(column),
            Place::Joined => rule.compare == Compare::Any || self.joins(statement, column),
            Place::Overwrite => self.permits.overwrite(column),
            Place::Source | Place::Argument | Place::Inside => false,
        };
        if admitted || !guards::stops(guards::of(used.place)) {
            return Ok(());
        }
        Err(refused::place(statement, column, rule, used.place))
    }

    /// Whether the mask itself shows which values are equal, and may.
    fn tells_apart(&mut self, column: &Column) -> bool {
        let Some(rule) = self.rules.of(column) else { return false };
        rule.compare >= Compare::Equality && self.mask_of(rule) == Mask::Hash
    }

    /// Whether a column is joined with nothing but columns of its tag, all of which are shown as hashes.
    fn joins(&mut self, statement: &Statement, column: &Column) -> bool {
        let is = |origin: &Origin| {
            origin.relation == column.relation && origin.column.as_ref().is_none_or(|name| *name == column.name)
        };
        let others: BTreeSet<&Origin> = statement
            .joins
            .iter()
            .flat_map(|(one, other)| [is(one).then_some(other), is(other).then_some(one)])
            .flatten()
            .collect();
        !others.is_empty() && self.tells_apart(column) && others.into_iter().all(|other| self.is_alike(column, other))
    }

    fn is_alike(&mut self, column: &Column, other: &Origin) -> bool {
        let Some(name) = &other.column else { return false };
        let other = Column { relation: other.relation.clone(), name: name.clone() };
        let known = self.rules;
        let tags = |column: &Column| known.of(column).map(|rule| &rule.tags);
        let alike = tags(&other).is_some() && tags(&other) == tags(column);
        alike && !self.hidden_of(&other.relation, Some(&other.name)).is_empty() && self.tells_apart(&other)
    }

    /// A column's mask. One that keeps equal values equal is withheld from whoever may write values of their own where
    /// they come back under the same key.
    fn mask_of(&mut self, rule: &ColumnRule) -> Mask {
        if !is_keyed(rule.mask) {
            return rule.mask;
        }
        let rules = self.rules;
        let withheld = rule.tags.iter().any(|tag| {
            if let Some(withheld) = self.withheld.get(tag) {
                return *withheld;
            }
            let mut tables = rules.tables.iter();
            let withheld = tables.any(|(relation, table)| {
                table.columns.values().any(|rule| rule.tags.contains(tag)) && self.permits.write(relation)
            });
            self.withheld.insert(tag.clone(), withheld);
            withheld
        });
        if withheld { Mask::Redact } else { rule.mask }
    }

    /// What becomes of a column of the output.
    fn mask(&mut self, column: &OutputColumn) -> Option<OutputMask> {
        let of = |origins: &BTreeSet<Origin>| -> BTreeSet<Column> {
            origins.iter().flat_map(|origin| self.hidden_of(&origin.relation, origin.column.as_ref())).collect()
        };
        let (all, direct) = (of(&column.origins), of(&column.direct));
        let known = self.rules;
        let rules: Vec<&ColumnRule> = all.iter().filter_map(|column| known.of(column)).collect();
        let first = *rules.first().filter(|_| guards::stops(guards::MASK))?;
        let tags = rules.iter().flat_map(|rule| rule.tags.iter().cloned()).collect();
        let whole = column.direct.iter().any(|origin| origin.column.is_none());
        let same = |rule: &&ColumnRule| rule.mask == first.mask && (!is_keyed(rule.mask) || rule.tags == first.tags);
        if whole || direct != all || !rules.iter().all(same) {
            return Some(OutputMask { mask: None, ty: None, tags, of: all });
        }
        let ty = rules.iter().all(|rule| rule.ty == first.ty).then(|| first.ty.clone());
        Some(OutputMask { mask: Some(self.mask_of(first)), ty, tags, of: all })
    }

    /// What the statement asks of masked columns by constants. A row that is written is a question, too: a constraint or
    /// ON CONFLICT answers it.
    fn probes(&self, statement: &Statement) -> Vec<Probe> {
        let mut probes = BTreeSet::new();
        for meeting in statement.meets.iter().filter(|meeting| meeting.how != Meets::Other) {
            for column in self.hidden_of(&meeting.column.relation, meeting.column.column.as_ref()) {
                probes.insert(Probe { column, constant: Some(meeting.constant) });
            }
        }
        for used in statement.columns.iter().filter(|used| matches!(used.place, Place::Write | Place::Overwrite)) {
            for column in self.hidden_of(&used.relation, used.column.as_ref()) {
                let by_constants = statement.meets.iter().any(|meeting| {
                    let Origin { relation, column: name } = &meeting.column;
                    meeting.how == Meets::Written && *relation == column.relation && name.as_ref() == Some(&column.name)
                });
                if !by_constants {
                    probes.insert(Probe { column, constant: None });
                }
            }
        }
        probes.into_iter().collect()
    }
}

/// The relations that a statement touches.
fn relations(statement: &Statement) -> BTreeSet<&Name> {
    let accessed = statement.accesses.iter().filter_map(|access| match &access.object {
        Object::Relation(name) => Some(name),
        _ => None,
    });
    let used = statement.columns.iter().map(|used| &used.relation);
    let output = statement.output.columns.iter().flat_map(|column| &column.origins);
    accessed.chain(used).chain(output.map(|origin| &origin.relation)).collect()
}
