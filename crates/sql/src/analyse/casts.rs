//! Casts: those that a statement asks for, and those that users' types are given unasked.
//!
//! Built-in casts do nothing that matters here. A cast of a user's making is a function that runs, also where it is made of
//! an array's elements or a row's fields; and what is made of a literal runs the checks of the domains in its type.

use pg_query::protobuf;

use super::{
    Analyser, Step,
    flow::{Flow, key_parts},
    missing, names,
    scope::{Scope, Ty},
};
use crate::{
    catalog::{Cast, FIRST_USER_OID, Relation, Type, TypeKind},
    facts::Object,
    total,
};

/// The types json and jsonb.
const JSON_OID: u32 = 114;
const JSONB_OID: u32 = 3802;
/// How deep a type's parts are looked into. What is deeper may be anything.
const MAX_PARTS: u32 = 8;

impl<'a> Analyser<'a> {
    /// `x::t`.
    pub(super) fn cast(&mut self, cast: &protobuf::TypeCast, scope: &Scope<'_, 'a>, flow: &mut Flow) -> Step<Ty> {
        let from = self.maybe(cast.arg.as_deref(), scope, flow)?;
        let Some(name) = &cast.type_name else { return Ok(Ty::Opaque) };
        let to = self.cast_to(name, from)?;
        self.cast_reached(from, to, flow);
        Ok(to)
    }

    /// A value may not be what it is cast to.
    pub(super) fn cast_reached(&mut self, from: Ty, to: Ty, flow: &Flow) {
        let base = |ty: Ty| if let Ty::Known(oid) = ty { Some(self.base_type(oid)) } else { None };
        let (source, target) = (base(from), base(to));
        let total = target.is_some_and(|target| Ty::Known(target) == to && total::cast(source, target));
        if !total {
            self.reached(flow);
        }
    }

    /// A conversion to a named type, from one that may be known.
    pub(super) fn cast_to(&mut self, name: &protobuf::TypeName, from: Ty) -> Step<Ty> {
        let Some(ty) = self.type_of(name)? else {
            // An array of a user's type whose own name was taken, `%TYPE`, or nothing.
            if name.pct_type || !name.array_bounds.is_empty() {
                return Ok(Ty::Opaque);
            }
            let name = names::parts(&name.names)?.join(".");
            return Err(missing(format!("type \"{name}\" does not exist"), -1));
        };
        self.cast_to_oid(ty.oid, from)
    }

    pub(super) fn cast_to_oid(&mut self, target: u32, from: Ty) -> Step<Ty> {
        self.enter()?;
        if target >= FIRST_USER_OID {
            self.facts.types.insert(target);
        }
        self.casts_into(target, from, |_| true, MAX_PARTS);
        self.type_checks(target)?;
        self.leave();
        Ok(Ty::Known(target))
    }

    /// The casts of users' making by which a value of one type becomes one of another: its own, its elements', its
    /// fields'.
    fn casts_into(&mut self, target: u32, from: Ty, wanted: fn(&Cast) -> bool, depth: u32) {
        let base = self.base_type(target);
        let source = match from {
            Ty::Known(oid) => Some(self.base_type(oid)),
            // It is read as what it is to be.
            Ty::Literal => return,
            Ty::Opaque => None,
        };
        if depth == 0 || self.catalog.user_casts().next().is_none() {
            return;
        }
        let may =
            |cast: &&Cast| cast.target == base && source.is_none_or(|source| cast.source == source) && wanted(cast);
        let functions: Vec<u32> = self.catalog.user_casts().filter(may).map(|cast| cast.function).collect();
        self.facts.called.extend(functions);
        let Some(ty) = self.catalog.type_by_oid(base) else { return };
        let of_array = source.is_none_or(|source| self.catalog.type_by_oid(source).is_some_and(|ty| ty.array));
        if ty.array && of_array {
            self.casts_into(ty.of, self.element_of(from), wanted, depth - 1);
        }
        let row = self.catalog.relation_by_oid(ty.relation).filter(|_| from == Ty::Opaque);
        for column in row.iter().flat_map(|relation| &relation.columns) {
            self.casts_into(column.ty, Ty::Opaque, wanted, depth - 1);
        }
    }

    /// Casts of users' making that are made unasked: those whose source may be among the operands.
    pub(super) fn implicit_casts(&mut self, types: &[Ty]) {
        for ty in types {
            self.facts.unknown_operand |= *ty == Ty::Opaque;
            self.casts_of(*ty, |cast| cast.implicit);
        }
    }

    /// The casts that a value of a known type may be given, or its elements.
    fn casts_of(&mut self, from: Ty, wanted: fn(&Cast) -> bool) {
        let Ty::Known(oid) = from else { return };
        if self.catalog.user_casts().next().is_none() {
            return;
        }
        let (base, element) = (self.base_type(oid), self.element_of(from));
        let is = |source: u32| source == oid || source == base || element == Ty::Known(source);
        let may = |cast: &&Cast| wanted(cast) && is(cast.source);
        let functions: Vec<u32> = self.catalog.user_casts().filter(may).map(|cast| cast.function).collect();
        self.facts.called.extend(functions);
    }

    /// The casts of what was not known where it was used: those whose source the statement may have at all.
    pub(super) fn casts_of_unknown(&mut self) {
        let (operand, used) = (self.facts.unknown_operand, self.facts.unknown_used);
        let casts: Vec<&Cast> = self.catalog.user_casts().collect();
        for cast in casts {
            if ((operand && cast.implicit) || (used && is_of_use(cast))) && self.may_have(cast.source) {
                self.facts.called.push(cast.function);
            }
        }
    }

    /// The casts that turn what an SQL function's last statement gives into the function's result.
    pub(super) fn casts_of_result(&mut self, result: u32) {
        let base = self.base_type(result);
        let casts: Vec<&Cast> =
            self.catalog.user_casts().filter(|cast| cast.assignment && cast.target == base).collect();
        for cast in casts {
            if self.may_have(cast.source) {
                self.facts.called.push(cast.function);
            }
        }
    }

    /// A literal beside an array, range or row is read as one, which runs the checks of the domains in it. Beside a domain
    /// it is read as what that is over.
    pub(super) fn literals_beside(&mut self, types: &[Ty]) -> Step {
        if !types.contains(&Ty::Literal) {
            return Ok(());
        }
        for ty in types {
            let Ty::Known(oid) = ty else { continue };
            let base = self.base_type(*oid);
            let has_parts = |ty: &Type| ty.of != 0 || ty.relation != 0;
            if self.catalog.type_by_oid(base).is_some_and(has_parts) {
                self.type_checks(base)?;
            }
        }
        Ok(())
    }

    /// The type of alternatives: each may be cast to what they have in common.
    pub(super) fn alternatives(&mut self, types: &[Ty]) -> Step<Ty> {
        let mut others = types.iter().filter(|ty| **ty != Ty::Literal);
        let first = others.next();
        // Two that are not known may differ.
        if others.any(|ty| *ty == Ty::Opaque || Some(ty) != first) {
            self.implicit_casts(types);
        }
        self.literals_beside(types)?;
        Ok(types.iter().copied().reduce(Ty::or).unwrap_or(Ty::Literal))
    }

    /// What becomes JSON goes by way of a cast to it where a user made one, however deep in a row the value lies. So each
    /// such cast is called whose source is the type of anything that the statement reads or makes.
    pub(super) fn casts_to_json(&mut self) {
        let casts: Vec<&Cast> =
            self.catalog.user_casts().filter(|cast| matches!(cast.target, JSON_OID | JSONB_OID)).collect();
        for cast in casts {
            if self.may_have(cast.source) || self.reads_any() {
                self.facts.called.push(cast.function);
            }
        }
    }

    /// Whether the statement reads, makes or is given a value with one of this type in it, as far as types say.
    fn may_have(&self, wanted: u32) -> bool {
        let read = self.facts.accesses.iter().any(|access| match &access.object {
            Object::Relation(name) => {
                let relation = self.catalog.relation(&self.real_schema(&name.schema), &name.name);
                // What the string itself made may have columns of any type.
                relation.is_none_or(|relation| !relation.is_builtin() && self.holds(relation, wanted, MAX_PARTS))
            }
            _ => false,
        });
        let given = || {
            let arguments = self.arguments.iter().flat_map(|arguments| &arguments.types);
            let known = arguments.filter_map(|ty| if let Ty::Known(oid) = ty { Some(oid) } else { None });
            // A parameter whose type is left open is read as what is asked of it: nothing is cast.
            let declared = self.context.parameters.iter().filter(|oid| **oid != 0);
            known.chain(declared).any(|oid| self.contains(*oid, wanted, MAX_PARTS))
        };
        let made = || self.facts.types.iter().any(|oid| self.contains(*oid, wanted, MAX_PARTS));
        let returned = || {
            let called = self.facts.called.iter().chain(&self.judged);
            let mut results = called.filter_map(|oid| self.catalog.routine_by_oid(*oid));
            results.any(|routine| !routine.is_builtin() && self.contains(routine.result, wanted, MAX_PARTS))
        };
        read || given() || made() || returned()
    }

    /// Whether one of the server's own columns is used that can hold values of any type: those of statistics, mostly.
    fn reads_any(&self) -> bool {
        self.facts.uses.iter().any(|&(key, _)| {
            let (relation, at) = key_parts(key);
            let relation = self.catalog.relation_by_oid(relation).filter(|relation| relation.is_builtin());
            let columns = relation.map(|relation| relation.columns.as_slice()).unwrap_or_default();
            let mut used = columns.iter().enumerate().filter(|(place, _)| at.is_none_or(|at| at == *place));
            used.any(|(_, column)| self.is_polymorphic(column.ty))
        })
    }

    fn holds(&self, relation: &Relation, wanted: u32, depth: u32) -> bool {
        relation.columns.iter().any(|column| self.contains(column.ty, wanted, depth))
    }

    /// Whether values of a type may have values of another in them. What is too deep to tell may.
    fn contains(&self, oid: u32, wanted: u32, depth: u32) -> bool {
        if oid == wanted || depth == 0 {
            return true;
        }
        let Some(ty) = self.catalog.type_by_oid(oid) else { return true };
        let element = ty.of != 0 && self.contains(ty.of, wanted, depth - 1);
        // `record` says nothing of what is in it.
        let unknown = ty.kind == TypeKind::Pseudo && oid != 2278;
        let relation = self.catalog.relation_by_oid(ty.relation);
        element || unknown || relation.is_some_and(|relation| self.holds(relation, wanted, depth - 1))
    }

    /// Casts that assignment to whichever type makes.
    pub(super) fn casts_of_assignment(&mut self, from: Ty) {
        self.casts_of(from, |cast| cast.assignment);
        if from == Ty::Opaque {
            let casts = self.catalog.user_casts().filter(|cast| cast.assignment);
            self.facts.called.extend(casts.map(|cast| cast.function));
        }
    }

    /// Casts by which a value is taken as a truth value or a number: a condition, LIMIT, a subscript.
    pub(super) fn casts_of_use(&mut self, from: Ty) {
        self.facts.unknown_used |= from == Ty::Opaque;
        self.casts_of(from, is_of_use);
    }

    /// A value that is written to a column: casts that assignment makes, and the constraints of its domain.
    pub(super) fn assigned(&mut self, target: u32, from: Ty) -> Step {
        self.casts_into(target, from, |cast| cast.assignment, MAX_PARTS);
        self.type_checks(target)
    }
}

/// Whether a cast makes what a condition, a limit or a subscript is: something of the server's own.
const fn is_of_use(cast: &Cast) -> bool {
    cast.assignment && cast.target < FIRST_USER_OID
}
