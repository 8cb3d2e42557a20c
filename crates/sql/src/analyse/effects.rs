//! What a relation starts besides what the statement says: views, policies, defaults, constraints, triggers, rules,
//! foreign keys.

use std::sync::{Arc, OnceLock};

use pg_query::NodeEnum;

use super::{
    Analyser, Step,
    flow::Flow,
    scope::{Col, Item, Scope, Source, Ty},
    utility::of_relation,
};
use crate::{
    catalog::{Generated, Relation, RelationKind},
    context::Context,
    facts::{Action, Barrier, Cause, Function, Name, Object, Place, Refusal, SEQUENCE, Standing, VIEW, Volatility},
    memo::{Shown, Started},
    parse,
};

/// A way to write a relation, with the bit that triggers have for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Event {
    Insert = 4,
    Delete = 8,
    Update = 16,
    Truncate = 32,
}

impl Event {
    fn action(self) -> Action {
        match self {
            Self::Insert => Action::Insert,
            Self::Delete => Action::Delete,
            Self::Update => Action::Update,
            Self::Truncate => Action::Truncate,
        }
    }
}

/// A text of the catalog, with what is in sight of it.
type Definition<'d, 'a> = &'d dyn Fn(&mut Analyser<'a>) -> Step;

impl<'a> Analyser<'a> {
    /// What reading a relation starts. A materialised view holds rows; only REFRESH runs its query.
    pub(super) fn started_by_reading(&mut self, relation: &'a Relation) -> Step {
        let name = self.facts_name(relation);
        let Some(started) = self.definition_of(relation)? else { return Ok(()) };
        self.reads_through(relation, &name, &started);
        if relation.kind != RelationKind::Matview {
            self.take(&started, &name);
        } else if started.unknown {
            // Nothing runs, but nobody can tell what its columns are made of.
            self.unknown_definition(&name);
        }
        Ok(())
    }

    /// What the columns of a view are made of, and those that are generated.
    pub(super) fn shown(&mut self, relation: &'a Relation) -> Step<Option<Arc<[Shown]>>> {
        if relation.definition.is_some() {
            return match self.definition_of(relation)? {
                Some(started) => self.resolved(&started.columns).map(Some),
                None => Ok(None),
            };
        }
        if relation.is_builtin() || relation.columns.iter().all(|column| column.generated.is_none()) {
            return Ok(None);
        }
        let started = self.memo(&relation.on_generate, relation.oid, &|inner| {
            for column in &relation.columns {
                let mut flow = Flow::default();
                if let (Some(_), Some(text)) = (column.generated, &column.default) {
                    flow = inner.definition_expressions(text, Some(relation))?;
                    flow.change();
                }
                inner.facts.shown.push(shown_as(&flow));
            }
            Ok(())
        })?;
        if started.unknown {
            let name = self.facts_name(relation);
            self.unknown_definition(&name);
        }
        self.resolved(&started.columns).map(Some)
    }

    /// What making a materialised view's rows anew starts.
    pub(super) fn started_by_refreshing(&mut self, relation: &'a Relation) -> Step {
        let name = self.facts_name(relation);
        if let Some(started) = self.definition_of(relation)? {
            self.reads_through(relation, &name, &started);
            self.take(&started, &name);
        }
        Ok(())
    }

    /// What a relation's definition starts.
    fn definition_of(&mut self, relation: &'a Relation) -> Step<Option<Arc<Started>>> {
        let silent = relation.definition.is_none()
            && relation.policies.is_empty()
            && relation.columns.iter().all(|column| column.generated != Some(Generated::Virtual));
        if relation.is_builtin() || silent {
            return Ok(None);
        }
        let started = self.memo(&relation.on_read, relation.oid, &|inner| {
            if let Some(definition) = &relation.definition {
                inner.view_definition(definition)?;
            }
            let policies = relation.policies.iter().flat_map(|policy| policy.using.iter().chain(&policy.check));
            let generated = relation.columns.iter().filter(|column| column.generated == Some(Generated::Virtual));
            for text in policies.chain(generated.filter_map(|column| column.default.as_ref())) {
                inner.definition_expressions(text, Some(relation))?;
            }
            Ok(())
        })?;
        Ok(Some(started))
    }

    /// Names what a view reads as effects of reading it.
    fn reads_through(&mut self, relation: &Relation, name: &Name, started: &Started) {
        if relation.definition.is_some() {
            for base in &started.relations {
                self.effect(format!("{VIEW}{}.{} reads {}.{}", name.schema, name.name, base.schema, base.name));
            }
        }
    }

    /// What writing a relation starts.
    pub(super) fn started_by_writing(&mut self, relation: &'a Relation, event: Event) -> Step {
        let mut seen = vec![];
        self.write_starts(relation, event, &mut seen)
    }

    fn write_starts(&mut self, relation: &'a Relation, event: Event, seen: &mut Vec<(u32, Event)>) -> Step {
        if relation.is_builtin() || seen.contains(&(relation.oid, event)) {
            return Ok(());
        }
        seen.push((relation.oid, event));
        self.enter()?;
        let name = self.facts_name(relation);
        self.computed_by_writing(relation, &name)?;
        if event == Event::Insert {
            self.started_by_defaults(relation)?;
        }
        for trigger in relation.triggers.iter().filter(|trigger| trigger.events & event as u16 != 0) {
            self.effect(format!("trigger {} on {}.{}", trigger.name, name.schema, name.name));
            self.facts.started.push(trigger.function);
        }
        self.rules(relation, event, &name)?;
        if relation.kind == RelationKind::View {
            self.written_through(relation, event, seen)?;
        }
        for key in &relation.referenced_by {
            let action = match event {
                Event::Delete => key.on_delete,
                Event::Update => key.on_update,
                Event::Insert | Event::Truncate => 'a',
            };
            let (Some(other), 'c' | 'n' | 'd') = (self.catalog.relation_by_oid(key.table), action) else { continue };
            let other_name = self.facts_name(other);
            self.effect(format!("cascade to {}.{}", other_name.schema, other_name.name));
            if action == 'd' {
                self.started_by_defaults(other)?;
            }
            let event = if event == Event::Delete && action == 'c' { Event::Delete } else { Event::Update };
            self.write_starts(other, event, seen)?;
        }
        // Rows of children are rows of their parent, and a partition's rows are kept to its parent's key.
        let family: Vec<u32> = relation.children.iter().chain(&relation.parents).copied().collect();
        for oid in family {
            if let Some(other) = self.catalog.relation_by_oid(oid) {
                self.write_starts(other, event, seen)?;
            }
        }
        self.leave();
        Ok(())
    }

    pub(super) fn computed_by_writing(&mut self, relation: &'a Relation, name: &Name) -> Step {
        let generated = |column: &&crate::catalog::Column| column.generated.is_some();
        let silent = relation.computed.is_empty()
            && relation.policies.is_empty()
            && relation.triggers.is_empty()
            && !relation.columns.iter().any(|column| generated(&column));
        if !silent {
            let started = self.memo(&relation.on_write, relation.oid, &|inner| {
                let policies = relation.policies.iter().flat_map(|policy| policy.using.iter().chain(&policy.check));
                let columns = relation.columns.iter().filter(generated).filter_map(|column| column.default.as_ref());
                for text in relation.computed.iter().chain(policies).chain(columns) {
                    inner.definition_expressions(text, Some(relation))?;
                }
                for trigger in &relation.triggers {
                    inner.trigger_condition(&trigger.definition, relation)?;
                }
                Ok(())
            })?;
            self.take(&started, name);
        }
        for column in &relation.columns {
            self.type_checks(column.ty)?;
        }
        Ok(())
    }

    /// What the columns' defaults start. A sequence that a column owns is advanced as a part of the insert; another is
    /// updated.
    pub(super) fn started_by_defaults(&mut self, relation: &'a Relation) -> Step {
        if relation.is_builtin() || relation.columns.iter().all(|column| column.default.is_none()) {
            return Ok(());
        }
        let defaults = relation.columns.iter().filter(|column| column.generated.is_none());
        let started = self.memo(&relation.on_default, relation.oid, &|inner| {
            for text in defaults.clone().filter_map(|column| column.default.as_ref()) {
                inner.definition_expressions(text, None)?;
            }
            let sequences: Vec<Name> = inner.facts.accesses.iter().filter_map(sequence_of).cloned().collect();
            if !sequences.is_empty() {
                // The sequence says all that there is to say of the call.
                let catalog = inner.catalog;
                let is_nextval = |oid: &u32| {
                    catalog
                        .routine_by_oid(*oid)
                        .is_some_and(|routine| &*routine.name.name == "nextval" && routine.is_builtin())
                };
                inner.facts.called.retain(|oid| !is_nextval(oid));
            }
            for name in sequences {
                let sequence = catalog_sequence(inner, &name);
                if sequence.and_then(|sequence| sequence.belongs_to) == Some(relation.oid) {
                    inner.facts.accesses.retain(|access| sequence_of(access) != Some(&name));
                    inner.effect(format!("{SEQUENCE}{}.{}", name.schema, name.name));
                }
            }
            Ok(())
        })?;
        let name = self.facts_name(relation);
        self.take(&started, &name);
        Ok(())
    }

    /// The constraints of a domain, and of what it is over.
    pub(super) fn type_checks(&mut self, oid: u32) -> Step {
        let mut oid = oid;
        for _ in 0..32 {
            let Some(ty) = self.catalog.type_by_oid(oid) else { return Ok(()) };
            if ty.oid < crate::catalog::FIRST_USER_OID && !ty.array {
                return Ok(());
            }
            self.row_type_checks(ty)?;
            if !ty.checks.is_empty() {
                let started = self.memo(&ty.on_check, ty.oid, &|inner| {
                    ty.checks.iter().try_for_each(|text| inner.definition_expressions(text, None).map(drop))
                })?;
                let name = Name { schema: ty.schema.clone(), name: ty.name.clone() };
                self.take(&started, &name);
            }
            if ty.of == 0 {
                return Ok(());
            }
            oid = ty.of;
        }
        Ok(())
    }

    /// A value of a row type is made of values of its columns' types.
    fn row_type_checks(&mut self, ty: &crate::catalog::Type) -> Step {
        let Some(relation) = self.catalog.relation_by_oid(ty.relation) else { return Ok(()) };
        if self.active.contains(&ty.oid) {
            return Ok(());
        }
        self.active.push(ty.oid);
        self.enter()?;
        for column in &relation.columns {
            self.type_checks(column.ty)?;
        }
        self.leave();
        self.active.pop();
        Ok(())
    }

    /// A write to a view goes on to the relations that it shows.
    fn written_through(&mut self, view: &'a Relation, event: Event, seen: &mut Vec<(u32, Event)>) -> Step {
        let Some(started) = view.on_read.get().cloned() else {
            // Working out what reading it starts is what tells the relations.
            self.started_by_reading(view)?;
            return match view.on_read.get().cloned() {
                Some(started) => self.through(&started, event, seen),
                None => Ok(()),
            };
        };
        self.through(&started, event, seen)
    }

    /// Whoever may make a view of what it reads must not thereby write it.
    fn through(&mut self, started: &Started, event: Event, seen: &mut Vec<(u32, Event)>) -> Step {
        for name in &started.relations {
            if let Some(base) = self.catalog.relation(&self.real_schema(&name.schema), &name.name) {
                self.effect(format!("writes through to {}.{}", name.schema, name.name));
                self.access(event.action(), Object::Relation(name.clone()));
                self.write_starts(base, event, seen)?;
            }
        }
        Ok(())
    }

    fn rules(&mut self, relation: &'a Relation, event: Event, name: &Name) -> Step {
        let number = match event {
            Event::Update => 2,
            Event::Insert => 3,
            Event::Delete => 4,
            Event::Truncate => 0,
        };
        for rule in relation.rules.iter().filter(|rule| rule.event == number) {
            self.effect(format!("rule {} on {}.{}", rule.name, name.schema, name.name));
            let mut inner = self.inner(self.context.of_definitions(), relation.oid);
            match inner.rule_actions(&rule.definition, relation).and_then(|()| inner.settle()) {
                Ok(()) => self.absorb(inner),
                Err(refusal) if refusal.cause == Cause::TooComplex => return Err(refusal),
                Err(_) => self.unknown_definition(name),
            }
        }
        Ok(())
    }

    fn rule_actions(&mut self, text: &str, relation: &'a Relation) -> Step {
        let tree = parse::parse(text, crate::context::Lexing::default(), crate::version::NEWEST)?;
        for raw in &tree.statements {
            let Some(NodeEnum::RuleStmt(rule)) = raw.stmt.as_ref().and_then(|node| node.node.as_ref()) else {
                continue;
            };
            let mut scope = self.root();
            self.old_and_new(relation, &mut scope);
            self.condition(rule.where_clause.as_deref(), &scope, Place::Filter)?;
            for action in &rule.actions {
                if let Some(action) = &action.node {
                    let output = self.data_statement(action, &scope)?;
                    // What it puts out may come back to the client in place of what was asked for.
                    for flow in output.flows() {
                        self.facts.output.rest.get_or_insert_default().derive(flow);
                    }
                }
            }
        }
        Ok(())
    }

    fn trigger_condition(&mut self, text: &str, relation: &'a Relation) -> Step {
        let tree = parse::parse(text, crate::context::Lexing::default(), crate::version::NEWEST)?;
        for raw in &tree.statements {
            let Some(NodeEnum::CreateTrigStmt(trigger)) = raw.stmt.as_ref().and_then(|node| node.node.as_ref()) else {
                continue;
            };
            let mut scope = self.root();
            self.old_and_new(relation, &mut scope);
            self.maybe(trigger.when_clause.as_deref(), &scope, &mut Flow::default())?;
        }
        Ok(())
    }

    pub(super) fn old_and_new(&self, relation: &'a Relation, scope: &mut Scope<'_, 'a>) {
        for alias in ["old", "new"] {
            let item = Item::new(Some(alias), Source::Base(relation, self.facts_name(relation), None));
            scope.items.push(Item { qualified_only: true, ..item });
        }
    }

    fn view_definition(&mut self, text: &str) -> Step {
        let tree = parse::parse(text, crate::context::Lexing::default(), crate::version::NEWEST)?;
        for raw in &tree.statements {
            let Some(NodeEnum::SelectStmt(select)) = raw.stmt.as_ref().and_then(|node| node.node.as_ref()) else {
                return Err(super::unexpected("a view's definition"));
            };
            let output = self.query(select, &self.root())?;
            if output.rest.is_some() {
                return Err(super::unexpected("a view with columns that are not known"));
            }
            self.facts.shown = output.columns.iter().map(|column| shown_as(&column.flow)).collect();
        }
        Ok(())
    }

    /// Expressions of the catalog, and what they come from.
    pub(super) fn definition_expressions(&mut self, text: &str, relation: Option<&'a Relation>) -> Step<Flow> {
        let mut scope = self.root();
        match relation {
            Some(relation) => scope.push(of_relation(relation, &self.facts_name(relation), None)),
            // What a domain's constraint calls VALUE.
            None => {
                let value = Col { name: "value".into(), ty: Ty::Opaque, flow: Flow::default() };
                scope.push(Item::derived(None, vec![value], None));
            }
        }
        let mut flow = Flow::default();
        for node in parse::parse_expressions(text)? {
            self.expr(&node, &scope, &mut flow)?;
        }
        Ok(flow)
    }

    /// Works out what a definition starts, or takes what was worked out before.
    fn memo(&mut self, cell: &OnceLock<Arc<Started>>, oid: u32, read: Definition<'_, 'a>) -> Step<Arc<Started>> {
        if let Some(started) = cell.get() {
            return Ok(started.clone());
        }
        if self.active.contains(&oid) {
            // PostgreSQL does not allow such a circle to run.
            return Ok(Arc::default());
        }
        let mut inner = self.inner(self.context.of_definitions(), oid);
        inner.defining = true;
        let done = read(&mut inner);
        if inner.facts.makes_json {
            // What the definition reads is known here; what uses it sees only the result.
            inner.casts_to_json();
        }
        inner.casts_of_unknown();
        let started = match done {
            Ok(()) => Started {
                routines: inner.facts.called.iter().chain(&inner.facts.started).copied().collect(),
                columns: std::mem::take(&mut inner.facts.shown).into(),
                relations: inner.facts.accesses.iter().filter_map(relation_read).cloned().collect(),
                effects: std::mem::take(&mut inner.facts.effects),
                accesses: inner.facts.accesses.iter().filter(|access| access.action != Action::Read).cloned().collect(),
                makes_json: inner.facts.makes_json,
                unknown: inner.facts.unknown,
            },
            Err(Refusal { cause: Cause::TooComplex, message, hint, position }) => {
                return Err(Refusal { cause: Cause::TooComplex, message, hint, position });
            }
            Err(_) => Started { unknown: true, ..Started::default() },
        };
        self.nodes = inner.nodes;
        let started = Arc::new(started);
        // Inside of a circle the result is not whole.
        if self.active.is_empty() { Ok(cell.get_or_init(|| started).clone()) } else { Ok(started) }
    }

    /// An analyser for a definition or body that this one has come upon.
    pub(super) fn inner(&self, context: Context, oid: u32) -> Self {
        let mut inner = Self::new(self.catalog, context, "".into());
        inner.own_text = false;
        inner.depth = self.depth;
        inner.nodes = self.nodes;
        inner.active.clone_from(&self.active);
        inner.active.push(oid);
        inner
    }

    fn take(&mut self, started: &Started, name: &Name) {
        self.facts.started.extend(&started.routines);
        self.facts.effects.extend(started.effects.iter().cloned());
        self.facts.accesses.extend(started.accesses.iter().cloned());
        self.facts.makes_json |= started.makes_json;
        if started.unknown {
            self.unknown_definition(name);
        }
    }

    /// Takes over what a body or rule was found to do.
    pub(super) fn absorb(&mut self, inner: Self) {
        self.nodes = inner.nodes;
        self.facts.accesses.extend(inner.facts.accesses);
        self.facts.functions.extend(inner.facts.functions);
        self.facts.uses.extend(inner.facts.uses);
        self.facts.joins.extend(inner.facts.joins);
        if let Some(rest) = inner.facts.output.rest {
            self.facts.output.rest.get_or_insert_default().derive(&rest);
        }
        self.facts.settings.extend(inner.facts.settings);
        self.facts.effects.extend(inner.facts.effects);
        self.facts.unfiltered |= inner.facts.unfiltered;
        self.facts.unknown_operand |= inner.facts.unknown_operand;
        self.facts.unknown_used |= inner.facts.unknown_used;
        self.facts.unknown |= inner.facts.unknown;
        if inner.facts.barrier == Barrier::Names {
            self.barrier();
        }
    }

    /// A definition of the catalog that could not be understood: anything may run.
    pub(super) fn unknown_definition(&mut self, name: &Name) {
        self.facts.unknown = true;
        let function = Function { name: name.clone(), volatility: Volatility::Volatile, standing: Standing::Unknown };
        self.facts.functions.insert(function);
        self.access(Action::Call, Object::Function(name.clone()));
        self.effect(format!("the definition of {}.{} is not understood", name.schema, name.name));
    }
}

pub(super) fn shown_as(flow: &Flow) -> Shown {
    Shown { origins: flow.origins.as_slice().into(), changed: flow.changed.as_slice().into() }
}

fn relation_read(access: &crate::facts::Access) -> Option<&Name> {
    match (&access.object, access.action) {
        (Object::Relation(name), Action::Read) => Some(name),
        _ => None,
    }
}

fn sequence_of(access: &crate::facts::Access) -> Option<&Name> {
    match (&access.object, access.action) {
        (Object::Relation(name), Action::Update) => Some(name),
        _ => None,
    }
}

fn catalog_sequence<'a>(analyser: &Analyser<'a>, name: &Name) -> Option<&'a Relation> {
    analyser.catalog.relation(&analyser.real_schema(&name.schema), &name.name)
}
