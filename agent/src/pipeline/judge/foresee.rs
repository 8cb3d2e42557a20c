//! What of a statement may be tried for the people who decide on it, and what of its rows may be shown to them.

use super::{Judge, parsed::Parsed, quoted};
use crate::pipeline::{
    inspect::Statement,
    mask::{Expected, Masks},
    masking,
    preview::{Of, Preview, Screen, Target, Trial},
};
use postern_mask::Encoding;
use postern_sql::{
    Analysis, Catalog,
    catalog::{Relation, RelationKind},
    excerpt::{Change, Count, Excerpt, excerpt},
    facts::{self, Access, Action, Function, Name, Object, SEQUENCE, Standing, VIEW},
    locks::{Work, heavy},
};
use std::{collections::HashMap, rc::Rc};

/// Rows of which a preview shows some.
const SAMPLED: usize = 5;

/// Values of a Bind that are sent again for a preview.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// Partitions and children that are told from other relations.
const MAX_PARTS: usize = 10_000;

impl Judge {
    /// Begins the preview of a statement that is held, in a transaction of this state. `bound` is what its Bind says after the
    /// names; nothing of a simple Query.
    pub fn preview(&mut self, statement: &Statement, bound: Option<&[u8]>, status: u8) -> Preview {
        let prepared = &statement.prepared;
        let verdict = self.analysed(prepared.text.bytes(), &prepared.types);
        let Ok(analysis) = &verdict.analysis else { return Preview::not_made("it is not understood") };
        let [only] = analysis.script.statements.as_slice() else {
            return Preview::not_made("it is several statements, or none");
        };
        if !analysis.has_no_handles() || prepared.made_by_sql.is_some() {
            return Preview::not_made("it makes or runs a prepared statement or cursor");
        }
        let values = bound.map(values_of);
        if values.is_some_and(|values| values.is_none_or(|values| values.len() > MAX_VALUE_BYTES)) {
            return Preview::not_made("its values are too long to be sent twice");
        }
        let Some(catalog) = self.sight.catalog() else { return Preview::not_made("the catalog is not known yet") };
        let mut named = HashMap::new();
        for relation in self.touched(only, catalog, |access| is_change(access) || is_heavy(access)) {
            let count_as = (relation.oid, format!("{}.{}", relation.name.schema, relation.name.name));
            parts(relation, catalog, &mut |part| {
                named.entry(part.oid).or_insert_with(|| count_as.clone());
            });
        }
        let (trial, mut notes) = self.trial(only, catalog, prepared.text.bytes(), &named);
        let target = match &trial {
            Trial::Nothing(_) => None,
            _ => self.target(only, catalog, prepared.text.bytes(), &prepared.types, &mut notes),
        };
        notes.extend(only.effects.iter().filter(|effect| !effect.starts_with(VIEW)).map(ToString::to_string));
        Preview::begin(Of {
            text: prepared.text.bytes().to_vec(),
            types: prepared.types.to_vec(),
            values: values.flatten().map(<[u8]>::to_vec),
            in_transaction: status != b'I',
            trial,
            target,
            named,
            withholds: self.policy.masks_anything() || !self.policy.detectors().is_empty(),
            notes,
        })
    }

    /// The relations to which a statement does such things.
    fn touched<'a>(
        &self,
        statement: &facts::Statement,
        catalog: &'a Catalog,
        is_such: fn(&Access) -> bool,
    ) -> Vec<&'a Relation> {
        let names =
            statement.accesses.iter().filter(|access| is_such(access)).filter_map(|access| match &access.object {
                Object::Relation(name) => Some(name),
                _ => None,
            });
        names.filter_map(|name| catalog.relation(self.schema_of(name), &name.name)).collect()
    }

    fn schema_of<'a>(&'a self, name: &'a Name) -> &'a str {
        if &*name.schema == "pg_temp" { self.context.temp_schema.as_deref().unwrap_or("pg_temp") } else { &name.schema }
    }

    /// How far a statement may be tried, and what people should know of it otherwise.
    fn trial(
        &self,
        statement: &facts::Statement,
        catalog: &Catalog,
        text: &[u8],
        named: &HashMap<u32, (u32, String)>,
    ) -> (Trial, Vec<String>) {
        let nothing = |why: String| (Trial::Nothing(why), Vec::new());
        if statement.accesses.iter().any(is_heavy) {
            let notes = heavy(text, self.context.lexing).map(|heavy| told(&heavy)).unwrap_or_default();
            return (Trial::Nothing(format!("{} is never run for show", statement.tag)), notes);
        }
        if !matches!(statement.tag, "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "SELECT") {
            let while_it_runs = if statement.tag == "COPY" { ": its rows come while it runs" } else { "" };
            return nothing(format!("{} is not tried{while_it_runs}", statement.tag));
        }
        if !statement.settings.is_empty() || statement.transaction.is_some() {
            return nothing("it changes the session or its transaction".to_owned());
        }
        if let Some(unknown) = statement.functions.iter().find(|function| self.is_unknown(function)) {
            return nothing(format!(
                "it runs {}.{}, of which it is not known whether a roll-back undoes what it does (the connection's \
                 `undoable_functions` can say so)",
                unknown.name.schema, unknown.name.name
            ));
        }
        (self.trial_of_known(statement, catalog, named), Vec::new())
    }

    fn is_unknown(&self, function: &Function) -> bool {
        let undoes = |facts: &crate::rules::Facts| facts.undoable_functions.contains(&function.name);
        function.standing == Standing::Unknown && !self.policy.facts().is_ok_and(undoes)
    }

    /// The same of one whose functions are known.
    fn trial_of_known(
        &self,
        statement: &facts::Statement,
        catalog: &Catalog,
        named: &HashMap<u32, (u32, String)>,
    ) -> Trial {
        let sequence = statement.effects.iter().find_map(|effect| effect.strip_prefix(SEQUENCE).map(str::to_owned));
        let is_sequence = |relation: &&&Relation| relation.kind == RelationKind::Sequence;
        let updated = self.touched(statement, catalog, is_change);
        let sequence = sequence.or_else(|| updated.iter().find(is_sequence).map(|sequence| shown(sequence)));
        let inserted = self.touched(statement, catalog, |access| access.action == Action::Insert);
        let numbers = |relation: &&&Relation| relation.columns.iter().any(|column| column.identity);
        let sequence = sequence.or_else(|| {
            let relation = inserted.iter().find(numbers)?;
            Some(format!("of {}", shown(relation)))
        });
        if let Some(sequence) = sequence {
            return Trial::Plan(format!("it takes numbers of the sequence {sequence}, which no roll-back gives back"));
        }
        if let Some(other) = statement.functions.iter().find(|function| function.standing == Standing::Effectful) {
            let Name { schema, name } = &other.name;
            return Trial::Plan(format!("no roll-back undoes what {schema}.{name} does"));
        }
        let foreign = named.keys().filter_map(|oid| catalog.relation_by_oid(*oid));
        if let Some(foreign) = foreign.filter(|relation| relation.kind == RelationKind::Foreign).map(shown).min() {
            return Trial::Plan(format!("{foreign} is a foreign table, whose server may not roll back"));
        }
        if !statement.accesses.iter().any(is_change) {
            return Trial::Plan("it changes no rows".to_owned());
        }
        Trial::Run
    }

    /// The relation whose rows are shown.
    fn target(
        &self,
        statement: &facts::Statement,
        catalog: &Catalog,
        text: &[u8],
        types: &[u32],
        notes: &mut Vec<String>,
    ) -> Option<Target> {
        let Excerpt { schema, relation: name, change, before, count, returning } =
            excerpt(text, self.context.lexing, SAMPLED)?;
        let mut such = self.touched(statement, catalog, is_change);
        such.retain(|relation| {
            *relation.name.name == *name && schema.as_deref().is_none_or(|schema| self.is_schema(schema, relation))
        });
        let [relation] = such.as_slice() else { return None };
        let quoted = format!("{}.{}", quoted(&relation.name.schema), quoted(&relation.name.name));
        let screen = self.screen(&quoted);
        if screen.is_none() {
            notes.push("its rows are not shown: what of them is masked cannot be told".to_owned());
        }
        let fits = |sql: Option<String>, only_reads: bool| {
            sql.filter(|sql| self.does_no_more(sql, types, statement, only_reads))
        };
        let count = match count {
            Some(Count::Asked(sql)) => fits(Some(sql), true).map(Count::Asked),
            known => known,
        };
        Some(Target {
            oid: relation.oid,
            name: shown(relation),
            quoted,
            change: match change {
                Change::Insert => 0,
                Change::Update | Change::Merge => 1,
                Change::Delete => 2,
            },
            before: fits(before, true),
            count,
            returning: fits(returning, false),
            stays: change == Change::Update,
            screen,
        })
    }

    fn is_schema(&self, schema: &str, relation: &Relation) -> bool {
        let schema = if schema == "pg_temp" { self.context.temp_schema.as_deref().unwrap_or(schema) } else { schema };
        *relation.name.schema == *schema
    }

    /// Whether a statement that was made of another one's tree does nothing that this does not, and nothing that a roll-back
    /// does not undo, since it may be sent where that is not tried.
    fn does_no_more(&self, sql: &str, types: &[u32], than: &facts::Statement, only_reads: bool) -> bool {
        let verdict = self.understand(sql.as_bytes(), types, &Parsed::default());
        let Ok(Analysis { script, handles, .. }) = &verdict.analysis else { return false };
        let [made] = script.statements.as_slice() else { return false };
        let admitted = |access: &Access| match access.action {
            Action::Read => true,
            Action::Call => than.accesses.contains(access),
            _ => !only_reads && than.accesses.contains(access),
        };
        let undone = |function: &Function| function.standing != Standing::Effectful && !self.is_unknown(function);
        handles.iter().all(Vec::is_empty)
            && made.settings.is_empty()
            && made.accesses.iter().all(admitted)
            && made.functions.iter().all(undone)
    }

    /// What hides what is masked of the rows of a relation from whoever may see nothing of that.
    fn screen(&self, relation: &str) -> Option<Screen> {
        let detectors = self.policy.detectors();
        if !self.policy.masks_anything() && detectors.is_empty() {
            return Some(Screen::new(None));
        }
        let sql = format!("SELECT shown.* FROM {relation} AS shown");
        let verdict = self.understand(sql.as_bytes(), &[], &Parsed::default());
        let [statement] = verdict.analysis.as_ref().ok()?.script.statements.as_slice() else { return None };
        let view = self.view().ok()?;
        let masked = self.policy.mask_for_anybody(statement, view).ok()?;
        let covers = masked.iter().flat_map(|masked| &masked.result.columns);
        let tags = covers.filter_map(|column| column.cover.as_ref()?.tags.first().cloned()).collect();
        let keys = self.policy.keys(tags).ok()?;
        // No column is exempt from what detectors look for.
        let texts = masking::texts(view.catalog, &Expected::of(statement, view.catalog, view.temp));
        let (encoding, places) = (Encoding::named(&self.encoding), self.policy.masked_places(view));
        let statements = vec![masked];
        Some(Screen::new(Some(Rc::new(Masks { statements, keys, encoding, places, reads: true, detectors, texts }))))
    }
}

/// The formats and values of a Bind, without the formats of its results.
fn values_of(bound: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| bound.get(at..)?.first_chunk().map(|number| usize::from(u16::from_be_bytes(*number)));
    let mut at = 2 + 2 * number(0)?;
    let count = number(at)?;
    at += 2;
    for _ in 0..count {
        // A length below 0 is that of NULL.
        let length = i32::from_be_bytes(*bound.get(at..)?.first_chunk()?);
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    bound.get(..at)
}

/// Whether rows are changed, or a sequence is.
fn is_change(access: &Access) -> bool {
    matches!(access.action, Action::Insert | Action::Update | Action::Delete)
}

/// Whether it is what is never run for show.
fn is_heavy(access: &Access) -> bool {
    matches!(access.action, Action::Ddl | Action::Truncate | Action::Admin)
}

fn shown(relation: &Relation) -> String {
    format!("{}.{}", relation.name.schema, relation.name.name)
}

/// A relation, and all that are parts of it.
fn parts<'a>(relation: &'a Relation, catalog: &'a Catalog, each: &mut dyn FnMut(&'a Relation)) {
    let mut rest = vec![relation];
    let mut seen = std::collections::HashSet::new();
    while let Some(next) = rest.pop().filter(|_| seen.len() < MAX_PARTS) {
        if seen.insert(next.oid) {
            each(next);
            rest.extend(next.children.iter().filter_map(|oid| catalog.relation_by_oid(*oid)));
        }
    }
}

/// What there is to say of a statement that is not run for show.
fn told(heavy: &postern_sql::locks::Heavy) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(lock) = heavy.lock.told() {
        notes.push(format!("it takes the lock {lock}, until its transaction ends"));
    }
    match heavy.rewrites {
        Work::Yes => notes.push("it writes all of the relation anew".to_owned()),
        Work::Maybe => notes.push("it may write all of the relation anew".to_owned()),
        Work::No if heavy.scans => notes.push("it reads all of the relation".to_owned()),
        Work::No => {}
    }
    if heavy.outside {
        notes.push("it cannot run in a transaction, so that nothing can hold it to a number of rows".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_before_the_formats_of_results() {
        let values = [&[0, 1, 0, 1, 0, 2, 0, 0, 0, 1, 7][..], &[255; 4]].concat();
        assert_eq!(values_of(&[&values[..], &[0, 1, 0, 1]].concat()), Some(&values[..]));
        assert_eq!(values_of(&values[..8]), None);
        assert_eq!(values_of(&[0, 0, 0, 0, 0, 0]), Some(&[0; 4][..]));
    }
}
