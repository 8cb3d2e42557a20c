//! What the policies and masks in force say of a statement and of its results.

use super::{
    basis::Ruled,
    mask::{Cover, Expected, Masked, Shown},
    policy::Policy,
};
use crate::masked::{self, Known, resolve};
use postern_mask::{
    Key, Type,
    detect::Detectors,
    plan::{Permits, Plan, plan},
    refused::Refused,
    rules::Column,
};
use postern_policy::{Decision, Moment, Obligations, Outcome, Plan as Policies, objects::Describe};
use postern_sql::{
    Catalog,
    catalog::{FIRST_USER_OID, TypeKind},
    facts::{self, Action, Name, Origin, Place},
};
use postern_wire::error::Report;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// By which catalog a statement is understood.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// Whether it is the session's own, which has changed it and may roll that back.
    pub own: bool,
    /// The session's temporary schema.
    pub temp: Option<&'a str>,
}

impl Policy {
    /// Whether any column's values are masked.
    #[must_use]
    pub fn masks_anything(&self) -> bool {
        self.facts().is_ok_and(|facts| facts.masks.is_some())
    }

    /// The keys for values with these tags.
    ///
    /// # Errors
    /// When the connection's secret cannot be had: nothing that is masked may be shown then.
    pub fn keys(&self, tags: BTreeSet<Arc<str>>) -> Result<BTreeMap<Arc<str>, Key>, Report> {
        let key = |tag: Arc<str>| Ok((Arc::clone(&tag), self.known().keys.of(self.connection(), &tag)?));
        tags.into_iter().map(key).collect::<std::io::Result<_>>().map_err(|error| {
            tracing::error!(%error, connection = self.connection(), "the secret of the connection's masks cannot be had");
            Report::new(
                "57P03",
                "the connector cannot mask what the statement reads",
                "Try again; if it lasts, tell the operators of Postern.",
            )
        })
    }

    /// The masked columns, by object id and number.
    #[must_use]
    pub fn masked_places(&self, view: View<'_>) -> Arc<BTreeSet<(u32, i16)>> {
        let masked = self.known().masked(self.connection(), self.rules(), view.catalog, view.own);
        masked.map(|masked| Arc::clone(&masked.places)).unwrap_or_default()
    }

    /// How a statement is shown; nothing where it touches nothing masked.
    ///
    /// # Errors
    /// Why it may not run.
    pub fn mask(
        &self,
        statement: &facts::Statement,
        view: View<'_>,
        ruled: &mut Ruled,
    ) -> Result<Option<Masked>, Report> {
        let known: &Arc<Known> = self.known();
        let Some(masked) = known.masked(self.connection(), self.rules(), view.catalog, view.own) else {
            return Ok(None);
        };
        if let Some(column) = self.keeps_hidden().then(|| reads(statement, &masked)).flatten() {
            return Err(hidden(&column));
        }
        let told = Policy::told(statement);
        let mut asking = Asking {
            policy: self,
            told: &told,
            masked: &masked,
            ruled: &mut *ruled,
            unmasking: BTreeMap::new(),
            reviewed: Vec::new(),
            overwriting: Vec::new(),
        };
        let plan = plan(statement, &masked.rules, &mut asking).map_err(report)?;
        let Asking { mut unmasking, reviewed, overwriting, .. } = asking;
        // Whatever the plan makes of it.
        for decision in reviewed {
            self.oblige(statement, decision, ruled)?;
        }
        if plan.is_nothing() {
            return Ok(None);
        }
        let mut shown = Vec::new();
        for column in &plan.unmasked {
            if let Some(decision) = unmasking.remove(column) {
                shown.push(Shown {
                    column: column.to_string().into(),
                    tags: masked.rules.of(column).map(|rule| rule.tags.clone()).unwrap_or_default(),
                    policies: decision.policies.clone(),
                });
                self.oblige(statement, decision, ruled)?;
            }
        }
        for decision in overwriting {
            self.oblige(statement, decision, ruled)?;
        }
        let result = covered(Expected::of(statement, view.catalog, view.temp), &plan);
        Ok(Some(Masked { result, strict: true, withheld: plan.touches, shown, probes: plan.probes }))
    }

    /// What is looked for in the columns of results that are not masked.
    #[must_use]
    pub fn detectors(&self) -> Detectors {
        self.facts().map(|facts| facts.detectors).unwrap_or_default()
    }

    /// Finds out which columns of a result detectors do not look through: those that come from nothing but columns that
    /// carry a tag, or that policies let the principal see unmasked and ask for nothing in return.
    ///
    /// # Errors
    /// When it is not known what is in force.
    pub fn exempt(
        &self,
        statement: &facts::Statement,
        result: &mut Expected,
        view: View<'_>,
        ruled: &mut Ruled,
    ) -> Result<(), Report> {
        let masked = self.known().masked(self.connection(), self.rules(), view.catalog, view.own);
        let objects = masked.as_ref().map_or(&self.facts()?.objects, |masked| &masked.objects);
        let told = Policy::told(statement);
        let mut exempt = |relation: &Name, column: &Arc<str>| {
            if !objects.column(relation, Some(column)).is_empty() {
                return true;
            }
            let decision = self.plan().decide_unmask(&ruled.moment, &told, objects, relation, column);
            ruled.lifetime = ruled.lifetime.and(decision.lifetime);
            matches!(decision.outcome, Outcome::Allow { obligations } if obligations == Obligations::default())
        };
        for (column, output) in result.columns.iter_mut().zip(&statement.output.columns) {
            let is_text = column.ty.is_none_or(|ty| is_text(&text_type(view.catalog, ty)));
            // In other types nothing is looked for: nobody need be asked.
            column.exempt = is_text
                && !output.origins.is_empty()
                && output.origins.iter().all(|Origin { relation, column }| match column {
                    Some(column) => exempt(relation, column),
                    None => view.catalog.relation(&relation.schema, &relation.name).is_some_and(|relation| {
                        relation.columns.iter().all(|column| exempt(&relation.name, &column.name))
                    }),
                });
        }
        Ok(())
    }
}

/// The types of a database, beyond those of PostgreSQL, that are text or arrays of it.
#[must_use]
pub fn texts(catalog: &Catalog, result: &Expected) -> BTreeMap<u32, Type> {
    let own = result.columns.iter().filter_map(|column| column.ty).filter(|ty| *ty >= FIRST_USER_OID);
    own.map(|ty| (ty, text_type(catalog, ty))).filter(|(_, ty)| is_text(ty)).collect()
}

/// A type as detectors tell types apart.
fn text_type(catalog: &Catalog, oid: u32) -> Type {
    let composite = |oid| catalog.type_by_oid(oid).is_some_and(|ty| ty.kind == TypeKind::Composite);
    match catalog.type_by_oid(oid) {
        Some(_) if composite(oid) => Type::Row,
        Some(ty) if ty.array && composite(ty.of) => Type::Row.into_array(),
        _ => resolve::column_type(catalog, oid, -1).0,
    }
}

fn is_text(ty: &Type) -> bool {
    match ty {
        Type::Text(_) | Type::Json | Type::Jsonb | Type::Row => true,
        Type::Array(element) => is_text(element),
        _ => false,
    }
}

impl Policy {
    /// How a statement of ours is shown to whoever may see nothing that is masked.
    ///
    /// # Errors
    /// When it is not shown at all.
    pub(super) fn mask_for_anybody(
        &self,
        statement: &facts::Statement,
        view: View<'_>,
    ) -> Result<Option<Masked>, Report> {
        let Some(masked) = self.known().masked(self.connection(), self.rules(), view.catalog, view.own) else {
            return Ok(None);
        };
        let plan = plan(statement, &masked.rules, &mut Anybody).map_err(report)?;
        if plan.is_nothing() {
            return Ok(None);
        }
        let result = covered(Expected::of(statement, view.catalog, view.temp), &plan);
        Ok(Some(Masked { result, strict: true, withheld: plan.touches, ..Masked::default() }))
    }
}

/// Somebody to whom no policy shows anything, and who could write values of their own, so that no key is used for them.
struct Anybody;

impl Permits for Anybody {
    fn unmask(&mut self, _: &Column) -> bool {
        false
    }

    fn overwrite(&mut self, _: &Column) -> bool {
        false
    }

    fn write(&mut self, _: &Name) -> bool {
        true
    }
}

/// A masked column that a statement reads, in whatever place.
fn reads(statement: &facts::Statement, masked: &masked::Masked) -> Option<Column> {
    let mut used = statement.columns.iter().filter(|used| !matches!(used.place, Place::Write | Place::Overwrite));
    used.find_map(|used| {
        let table = masked.rules.tables.get(&used.relation)?;
        let name = match &used.column {
            Some(name) => table.columns.get_key_value(name)?.0,
            None => table.columns.keys().next()?,
        };
        Some(Column { relation: used.relation.clone(), name: Arc::clone(name) })
    })
}

/// Whether a statement's result shows a column, or what derives from it.
fn returns(statement: &facts::Statement, column: &Column) -> bool {
    let is_it = |origin: &facts::Origin| {
        origin.relation == column.relation && origin.column.as_ref().is_none_or(|name| *name == column.name)
    };
    statement.output.columns.iter().any(|output| output.origins.iter().any(is_it))
}

fn hidden(column: &Column) -> Report {
    Report {
        sqlstate: "42501".to_owned(),
        message: format!("the database keeps the column {column} from this access role"),
        detail: "It is masked, and this access role has `enforce_masks`.".to_owned(),
        hint: "Name the columns that you need, without it; `*` and whole rows have it, too.".to_owned(),
    }
}

/// What is done to the columns of a result.
fn covered(mut result: Expected, plan: &Plan) -> Expected {
    for (column, mask) in result.columns.iter_mut().zip(&plan.columns) {
        column.cover = mask.as_ref().map(|mask| Cover {
            mask: mask.mask,
            ty: mask.ty.clone(),
            columns: mask.of.iter().map(|column| column.to_string().into()).collect(),
            tags: mask.tags.clone(),
        });
    }
    result
}

fn report(Refused { message, hint, .. }: Refused) -> Report {
    Report::new("42501", message, hint)
}

/// Asks the policies for a statement.
struct Asking<'a> {
    policy: &'a Policy,
    told: &'a facts::Statement,
    masked: &'a masked::Masked,
    ruled: &'a mut Ruled,
    unmasking: BTreeMap<Column, Decision>,
    /// By which columns are shown if people agree.
    reviewed: Vec<Decision>,
    overwriting: Vec<Decision>,
}

impl Asking<'_> {
    fn decide(
        &mut self,
        column: &Column,
        decide: fn(&Policies, &Moment, &facts::Statement, &dyn Describe, &Name, &Arc<str>) -> Decision,
    ) -> Decision {
        let Self { policy, told, masked, ruled, .. } = self;
        let Column { relation, name } = column;
        let decision = decide(policy.plan(), &ruled.moment, told, &masked.objects, relation, name);
        ruled.lifetime = ruled.lifetime.and(decision.lifetime);
        decision
    }
}

impl Permits for Asking<'_> {
    fn unmask(&mut self, column: &Column) -> bool {
        let decision = self.decide(column, Policies::decide_unmask);
        // People are asked about what a statement returns. In all other places the column stays masked: what they were not
        // asked about must be no way around the masks.
        let by_review = !decision.is_allowed() && decision.is_permitted() && returns(self.told, column);
        if by_review {
            self.reviewed.push(decision.clone());
        }
        let allowed = decision.is_allowed() || by_review;
        self.unmasking.insert(column.clone(), decision);
        allowed
    }

    fn overwrite(&mut self, column: &Column) -> bool {
        let decision = self.decide(column, Policies::decide_overwrite);
        let allowed = decision.is_allowed();
        if allowed {
            self.overwriting.push(decision);
        }
        allowed
    }

    fn write(&mut self, relation: &Name) -> bool {
        let may = |action| self.policy.plan().may_ever(action, relation, &self.masked.objects);
        !self.policy.only_reads() && (may(Action::Insert) || may(Action::Update))
    }
}
