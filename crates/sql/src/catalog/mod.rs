//! What a database's own catalog says of names: an immutable snapshot, cheap to share.
//!
//! - `parts`: relations, functions, types and the rest, as plain data
//! - `load`: the queries by which a connector reads them, and the builder that takes their rows
//!
//! A snapshot has two halves. What came with the server (object ids under 16384) is the same for every database and does
//! not change, so it is loaded once and shared; the rest is loaded anew whenever something changed.

mod array;
mod load;
mod parts;

use std::{collections::HashMap, sync::Arc};

pub use load::{Builder, LoadError, Query, SETTINGS, queries};
pub use parts::{
    Cast, Column, ForeignKey, FunctionKind, Generated, Operator, Persistence, Policy, Relation, RelationKind, Routine,
    Rule, Trigger, Type, TypeKind,
};

/// The first object id that is given to what users make. What is below came with the server and is trusted.
pub const FIRST_USER_OID: u32 = 16_384;

/// One half of a snapshot.
#[derive(Debug, Default)]
pub struct Part {
    pub(crate) hash: u64,
    pub(crate) schemas: HashMap<Arc<str>, u32>,
    pub(crate) relations: Vec<Relation>,
    pub(crate) relation_by_name: HashMap<Arc<str>, Vec<usize>>,
    pub(crate) relation_by_oid: HashMap<u32, usize>,
    pub(crate) routines: Vec<Routine>,
    pub(crate) routine_by_name: HashMap<Arc<str>, Vec<usize>>,
    pub(crate) routine_by_oid: HashMap<u32, usize>,
    pub(crate) operators: HashMap<Arc<str>, Vec<Operator>>,
    pub(crate) types: HashMap<u32, Type>,
    pub(crate) type_by_name: HashMap<Arc<str>, Vec<u32>>,
    pub(crate) casts: HashMap<u32, Vec<Cast>>,
    pub(crate) event_triggers: Vec<u32>,
}

/// A snapshot of a database's catalog.
#[derive(Clone, Debug)]
pub struct Catalog {
    system: Arc<Part>,
    user: Arc<Part>,
}

impl Catalog {
    pub(crate) fn new(system: Arc<Part>, user: Part) -> Self {
        Self { system, user: Arc::new(user) }
    }

    /// The half that came with the server, to load the next snapshot of any database of that server with.
    #[must_use]
    pub fn system(&self) -> Arc<Part> {
        self.system.clone()
    }

    /// Differs whenever what was loaded differs, in whichever order it came. A part of the key of every cached decision.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.system.hash.rotate_left(32) ^ self.user.hash
    }

    /// Whether there is a schema of this name.
    #[must_use]
    pub fn has_schema(&self, name: &str) -> bool {
        self.halves().any(|part| part.schemas.contains_key(name))
    }

    /// The relation of this name in this schema.
    #[must_use]
    pub fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.halves().find_map(|part| {
            let found = part.relation_by_name.get(name)?;
            found.iter().filter_map(|&at| part.relations.get(at)).find(|relation| &*relation.name.schema == schema)
        })
    }

    /// The relation with this object id.
    #[must_use]
    pub fn relation_by_oid(&self, oid: u32) -> Option<&Relation> {
        self.halves().find_map(|part| part.relations.get(*part.relation_by_oid.get(&oid)?))
    }

    /// All relations of the database's users.
    pub fn user_relations(&self) -> impl Iterator<Item = &Relation> {
        self.user.relations.iter()
    }

    /// The functions and procedures of this name, in any schema.
    pub fn routines<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Routine> + use<'a> {
        let of = |part: &'a Part| {
            let found = part.routine_by_name.get(name).map(Vec::as_slice).unwrap_or_default();
            found.iter().filter_map(|&at| part.routines.get(at))
        };
        of(&self.system).chain(of(&self.user))
    }

    /// The function with this object id.
    #[must_use]
    pub fn routine_by_oid(&self, oid: u32) -> Option<&Routine> {
        self.halves().find_map(|part| part.routines.get(*part.routine_by_oid.get(&oid)?))
    }

    /// Whether a user made a function of this name in any schema.
    pub(crate) fn has_user_routine(&self, name: &str) -> bool {
        self.user.routine_by_name.contains_key(name)
    }

    /// Whether a user made an operator of this name in any schema.
    pub(crate) fn has_user_operator(&self, name: &str) -> bool {
        self.user.operators.contains_key(name)
    }

    /// The operators of this name, in any schema.
    pub(crate) fn operators<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Operator> + use<'a> {
        let of = |part: &'a Part| part.operators.get(name).map(Vec::as_slice).unwrap_or_default().iter();
        of(&self.system).chain(of(&self.user))
    }

    /// The type with this object id.
    #[must_use]
    pub fn type_by_oid(&self, oid: u32) -> Option<&Type> {
        self.halves().find_map(|part| part.types.get(&oid))
    }

    /// The type of this name in this schema.
    pub(crate) fn type_in(&self, schema: &str, name: &str) -> Option<&Type> {
        self.halves().find_map(|part| {
            let found = part.type_by_name.get(name)?;
            found.iter().filter_map(|oid| part.types.get(oid)).find(|ty| &*ty.schema == schema)
        })
    }

    /// The casts from this type.
    pub(crate) fn casts_from(&self, source: u32) -> impl Iterator<Item = &Cast> {
        self.halves().filter_map(move |part| part.casts.get(&source)).flatten()
    }

    /// The casts that users made.
    pub(crate) fn user_casts(&self) -> impl Iterator<Item = &Cast> {
        self.user.casts.values().flatten().filter(|cast| cast.function >= FIRST_USER_OID)
    }

    /// The functions that event triggers run on DDL.
    pub(crate) fn event_triggers(&self) -> impl Iterator<Item = &Routine> {
        self.user.event_triggers.iter().filter_map(|oid| self.routine_by_oid(*oid))
    }

    fn halves(&self) -> impl Iterator<Item = &Part> {
        [&*self.system, &*self.user].into_iter()
    }
}
