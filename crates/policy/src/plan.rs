//! What is decided for a grant, worked out ahead. For each (action, resource) the policies that read nothing that
//! changes are asked once; the others run for each statement, and only where their scope covers the access.
//!
//! INVARIANT: a plan answers exactly as [`Policies::decide`] does. Policies are independent of each other, so that those
//! that hold are the union of those that hold among the fixed and among the changing ones.

use crate::{
    cedar::{self, Changing, Fault, Ruling, Target},
    decide::{self, Judge, Question},
    decision::Decision,
    facts::{self, Action, Asked, Known, Resource, StatementFacts, Way},
    load::Policies,
    objects::Describe,
    reads::Reads,
    subject::{Moment, Subject},
};
use cedar_policy::{Context, Effect, PolicySet};
use parking_lot::RwLock;
use postern_sql::facts::{Access, Manner, Name, Object, Statement};
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

/// The most accesses that a plan keeps: some thousand tables with a few actions each, at a few kilobytes an access.
/// What comes beyond is worked out anew each time.
const MAX_CELLS: usize = 8192;

/// The decisions of one grant. Make a new one when the policies or anything in the subject changes.
#[derive(Debug)]
pub struct Plan {
    policies: Arc<Policies>,
    subject: Arc<Subject>,
    connect: OnceLock<Option<Arc<Cell>>>,
    cells: RwLock<HashMap<Access, Arc<Cell>>>,
    columns: RwLock<HashMap<ColumnName, Arc<Cell>>>,
}

/// What may be done to a column, which is known by its relation and name.
type ColumnName = (Action, Name, Arc<str>);

/// What is known ahead of one access.
#[derive(Debug)]
struct Cell {
    asked: Asked,
    /// What the policies say that read nothing that changes.
    fixed: Arc<Ruling>,
    /// Those to run for each statement, if there are any.
    changing: Option<Changes>,
}

#[derive(Debug)]
struct Changes {
    target: Target,
    permits: PolicySet,
    forbids: PolicySet,
}

impl Plan {
    /// A plan for a grant. Cells are filled as accesses are met; [`Plan::prepare`] fills them ahead.
    #[must_use]
    pub fn for_grant(policies: Arc<Policies>, subject: Arc<Subject>) -> Self {
        let (cells, columns) = (RwLock::default(), RwLock::default());
        Self { policies, subject, connect: OnceLock::new(), cells, columns }
    }

    /// For whom.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// By which policies.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Works out ahead what may be done to relations.
    pub fn prepare<'a>(
        &self,
        relations: impl IntoIterator<Item = &'a Name>,
        actions: &[postern_sql::facts::Action],
        objects: &dyn Describe,
    ) {
        let none = Statement::nothing("");
        for name in relations {
            for action in actions {
                let object = Object::Relation(name.clone());
                let _ = self.cell(&Access { action: *action, object, manner: Manner::Plain }, &none, objects);
            }
        }
    }

    /// Decides on a statement, as [`Policies::decide`] would for the plan's subject.
    #[must_use]
    pub fn decide(&self, moment: &Moment, statement: &Statement, objects: &dyn Describe) -> Decision {
        let mut run = Run::new(self, moment, statement, objects, None);
        let items = std::iter::once(Item::Connect).chain(facts::accesses(statement).map(Item::Access));
        decide::conclude(&self.policies, &self.subject, moment, items, &mut run)
    }

    /// Decides whether a session may begin, as [`Policies::decide_session`] would.
    #[must_use]
    pub fn decide_session(&self, moment: &Moment) -> Decision {
        let (none, objects) = (Statement::nothing(""), crate::objects::Objects::default());
        let mut run = Run::new(self, moment, &none, &objects, Some(StatementFacts::default()));
        decide::conclude(&self.policies, &self.subject, moment, std::iter::once(Item::Connect), &mut run)
    }

    /// Decides whether a statement may show the values of a column, as [`Policies::decide_unmask`] would.
    #[must_use]
    pub fn decide_unmask(
        &self,
        moment: &Moment,
        statement: &Statement,
        objects: &dyn Describe,
        relation: &Name,
        column: &Arc<str>,
    ) -> Decision {
        self.decide_column(moment, statement, objects, (Action::Unmask, relation.clone(), column.clone()))
    }

    /// The same for whatever statement: what depends on one is not permitted.
    #[must_use]
    pub fn decide_unmask_always(
        &self,
        moment: &Moment,
        objects: &dyn Describe,
        relation: &Name,
        column: &Arc<str>,
    ) -> Decision {
        self.decide_unmask(moment, &Statement::nothing(""), objects, relation, column)
    }

    /// Decides whether a statement may write over the values of a masked column, as [`Policies::decide_overwrite`] would.
    #[must_use]
    pub fn decide_overwrite(
        &self,
        moment: &Moment,
        statement: &Statement,
        objects: &dyn Describe,
        relation: &Name,
        column: &Arc<str>,
    ) -> Decision {
        self.decide_column(moment, statement, objects, (Action::Overwrite, relation.clone(), column.clone()))
    }

    fn decide_column(
        &self,
        moment: &Moment,
        statement: &Statement,
        objects: &dyn Describe,
        column: ColumnName,
    ) -> Decision {
        let mut run = Run::new(self, moment, statement, objects, None);
        let item = std::iter::once(Item::Column(column));
        decide::conclude(&self.policies, &self.subject, moment, item, &mut run)
    }

    /// Whether some statement may do this to a relation, by the policies as they are. It is said of too many rather than of
    /// too few: conditions on the statement and the moment are taken to hold.
    #[must_use]
    pub fn may_ever(&self, action: postern_sql::facts::Action, relation: &Name, objects: &dyn Describe) -> bool {
        [Manner::Plain, Manner::Locking, Manner::Copy].into_iter().any(|manner| {
            let access = Access { action, object: Object::Relation(relation.clone()), manner };
            let Ok(cell) = self.cell(&access, &Statement::nothing(""), objects) else { return false };
            let changing = cell.changing.as_ref().is_some_and(|changes| !changes.permits.is_empty());
            cell.fixed.forbids.is_empty() && (changing || !cell.fixed.permits.is_empty())
        })
    }

    /// The question that a statement is, for the record.
    #[must_use]
    pub fn question<'a>(
        &'a self,
        moment: &'a Moment,
        statement: &'a Statement,
        objects: &'a dyn Describe,
    ) -> Question<'a> {
        Question { subject: &self.subject, moment, statement, objects }
    }

    fn cell(&self, access: &Access, statement: &Statement, objects: &dyn Describe) -> Result<Arc<Cell>, Fault> {
        if let Some(cell) = self.cells.read().get(access)
            && is_current(&cell.asked.resource, access, statement, objects)
        {
            return Ok(cell.clone());
        }
        let cell = Arc::new(self.work_out(Asked::of(access, statement, objects))?);
        let mut cells = self.cells.write();
        if cells.len() < MAX_CELLS || cells.contains_key(access) {
            cells.insert(access.clone(), cell.clone());
        }
        Ok(cell)
    }

    fn column(&self, key: &ColumnName, objects: &dyn Describe) -> Result<Arc<Cell>, Fault> {
        let (action, relation, column) = key;
        let asked = Asked::column(*action, relation, column, objects);
        if let Some(cell) = self.columns.read().get(key)
            && cell.asked == asked
        {
            return Ok(cell.clone());
        }
        let cell = Arc::new(self.work_out(asked)?);
        let mut columns = self.columns.write();
        if columns.len() < MAX_CELLS || columns.contains_key(key) {
            columns.insert(key.clone(), cell.clone());
        }
        Ok(cell)
    }

    fn connect(&self) -> Option<Arc<Cell>> {
        self.connect.get_or_init(|| self.work_out(Asked::connect()).ok().map(Arc::new)).clone()
    }

    fn work_out(&self, asked: Asked) -> Result<Cell, Fault> {
        let policies = &*self.policies;
        let target = Target::new(&policies.types, &policies.actions, &self.subject, &asked)?;
        let request = target.request(cedar::context(&self.subject, &asked, Changing::Left)?)?;
        let mut fixed = Ruling::default();
        let [permits, forbids] = &policies.fixed;
        fixed.add(policies, [permits, forbids], &request, &target.entities);
        let in_scope = policies.in_scope(&request, &target);
        fixed.reads = policies.reads_of(&in_scope);
        let of = |effect: Effect| {
            let rules = in_scope.iter().filter_map(|n| policies.rules.get(*n)).filter(|rule| rule.effect == effect);
            PolicySet::from_policies(rules.map(|rule| rule.policy.clone())).map_err(Fault::new)
        };
        let changing = if in_scope.is_empty() {
            None
        } else {
            Some(Changes { target, permits: of(Effect::Permit)?, forbids: of(Effect::Forbid)? })
        };
        Ok(Cell { asked, fixed: Arc::new(fixed), changing })
    }
}

/// Whether what a cell was worked out from is still so.
fn is_current(resource: &Resource, access: &Access, statement: &Statement, objects: &dyn Describe) -> bool {
    let same = |one: &Arc<_>, other: &Arc<_>| Arc::ptr_eq(one, other) || one == other;
    match (resource, &access.object) {
        (Resource::Connection, _) => true,
        (Resource::Schema { schema, schema_tags }, _) => same(schema_tags, &objects.schema(schema)),
        (Resource::Relation { schema, kind, tags, schema_tags, .. }, Object::Relation(name)) => {
            let (now_kind, now_tags) = objects.relation(name);
            *kind == now_kind && same(tags, &now_tags) && same(schema_tags, &objects.schema(schema))
        }
        (Resource::Function { schema, standing, tags, schema_tags, .. }, Object::Function(name)) => {
            let now: Known = facts::standing(statement, name);
            *standing == now && same(tags, &objects.function(name)) && same(schema_tags, &objects.schema(schema))
        }
        _ => false,
    }
}

/// What a run asks for.
#[derive(Clone)]
enum Item {
    Connect,
    Access(Access),
    Column(ColumnName),
}

/// One decision by a plan.
struct Run<'a> {
    plan: &'a Plan,
    moment: &'a Moment,
    statement: &'a Statement,
    objects: &'a dyn Describe,
    /// Gathered when the first policy needs them.
    facts: OnceLock<StatementFacts>,
    /// Made when the first policy needs it; again for an access of another manner, or policies that read something else.
    context: Option<(Way, Reads, Context)>,
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan,
        moment: &'a Moment,
        statement: &'a Statement,
        objects: &'a dyn Describe,
        facts: Option<StatementFacts>,
    ) -> Self {
        let facts = facts.map_or_else(OnceLock::new, OnceLock::from);
        Self { plan, moment, statement, objects, facts, context: None }
    }

    fn cell(&self, item: &Item) -> Option<Arc<Cell>> {
        match item {
            Item::Connect => self.plan.connect(),
            Item::Access(access) => self.plan.cell(access, self.statement, self.objects).ok(),
            Item::Column(column) => self.plan.column(column, self.objects).ok(),
        }
    }

    fn context(&mut self, cell: &Cell) -> Result<Context, Fault> {
        let (manner, reads) = (cell.asked.manner, cell.fixed.reads);
        if let Some((of, has, context)) = &self.context
            && (*of, *has) == (manner, reads)
        {
            return Ok(context.clone());
        }
        let statement = self.facts.get_or_init(|| StatementFacts::of(self.statement, self.objects));
        // INVARIANT: the cell's policies read nothing beyond `reads`, so that the rest need not be there.
        let changing = Changing::Given(statement, self.moment, reads);
        let context = cedar::context(&self.plan.subject, &cell.asked, changing)?;
        self.context = Some((manner, reads, context.clone()));
        Ok(context)
    }

    fn changed(&mut self, cell: &Cell, changes: &Changes) -> Result<Ruling, Fault> {
        let request = changes.target.request(self.context(cell)?)?;
        let mut ruling = (*cell.fixed).clone();
        let sets = [&changes.permits, &changes.forbids];
        ruling.add(&self.plan.policies, sets, &request, &changes.target.entities);
        Ok(ruling)
    }
}

impl Judge for Run<'_> {
    type Item = Item;

    fn rule(&mut self, item: &Item) -> Arc<Ruling> {
        let Some(cell) = self.cell(item) else { return Arc::new(Ruling::fault()) };
        match &cell.changing {
            None => cell.fixed.clone(),
            Some(changes) => Arc::new(self.changed(&cell, changes).unwrap_or_else(|_| Ruling::fault())),
        }
    }

    fn with_action(&self, item: &Item, action: Action) -> Option<Item> {
        let Item::Access(access) = item else { return None };
        let action = action.of_statement()?;
        Some(Item::Access(Access { action, object: access.object.clone(), manner: Manner::Plain }))
    }

    fn describe(&self, item: &Item) -> Asked {
        match item {
            Item::Connect => Asked::connect(),
            Item::Access(access) => Asked::of(access, self.statement, self.objects),
            Item::Column((action, relation, column)) => Asked::column(*action, relation, column, self.objects),
        }
    }

    fn action(&self, item: &Item) -> Action {
        match item {
            Item::Connect => Action::Connect,
            Item::Access(access) => access.action.into(),
            Item::Column((action, ..)) => *action,
        }
    }
}
