//! Which object a name means, by the session's search path.

use std::sync::Arc;

use pg_query::{Node, NodeEnum, protobuf};

use super::{Analyser, Step, missing, scope::Ty, unexpected};
use crate::{
    catalog::{Persistence, Relation, RelationKind, Type, TypeKind},
    facts::Name,
};

/// The schema of the session's temporary objects, as facts call it.
pub(super) const TEMP: &str = "pg_temp";
/// The schema of what came with the server.
pub(super) const SYSTEM: &str = "pg_catalog";

/// The strings of a list of name parts.
pub(super) fn parts(nodes: &[Node]) -> Step<Vec<&str>> {
    nodes.iter().map(|node| string(node).ok_or_else(|| unexpected("a name"))).collect()
}

/// The text of a string node.
pub(super) fn string(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(string)) => Some(&string.sval),
        _ => None,
    }
}

/// Splits a list of name parts into schema and name. A database name before them must be this database's, which the server
/// sees to.
pub(super) fn qualified(nodes: &[Node]) -> Step<(Option<&str>, &str)> {
    match parts(nodes)?.as_slice() {
        [name] => Ok((None, name)),
        [schema, name] | [_, schema, name] => Ok((Some(schema), name)),
        _ => Err(unexpected("a name of more than three parts")),
    }
}

impl<'a> Analyser<'a> {
    /// The schemas in which unqualified relations and types are looked up, in order.
    pub(super) fn path(&self) -> Vec<Arc<str>> {
        let explicit = &self.context.search_path;
        let mut path: Vec<Arc<str>> = Vec::with_capacity(explicit.len() + 2);
        // Both come first unless the path places them.
        if !explicit.iter().any(|item| &**item == TEMP) {
            path.extend(self.context.temp_schema.clone());
        }
        if !explicit.iter().any(|item| &**item == SYSTEM) {
            path.push(SYSTEM.into());
        }
        for item in explicit {
            match &**item {
                TEMP => path.extend(self.context.temp_schema.clone()),
                "$user" => path.push(self.context.user.clone()),
                _ => path.push(item.clone()),
            }
        }
        if !self.context.unusable.is_empty() {
            path.retain(|schema| !self.context.unusable.contains(schema));
        }
        path
    }

    /// The schemas in which unqualified functions and operators are looked up: never the temporary one.
    pub(super) fn function_path(&self) -> Vec<Arc<str>> {
        let mut path = self.path();
        path.retain(|schema| Some(schema) != self.context.temp_schema.as_ref());
        path
    }

    /// The schema in which something new is made that names none.
    pub(super) fn creation_schema(&self) -> Arc<str> {
        let user = &self.context.user;
        let items = self.context.search_path.iter();
        let mut names = items.map(|item| if &**item == "$user" { user } else { item });
        let exists = |name: &str| {
            (self.catalog.has_schema(name) && !self.context.unusable.contains(name))
                || self.new_schema.as_deref() == Some(name)
        };
        let found = names.find(|name| &***name == TEMP || exists(name));
        found.cloned().unwrap_or_else(|| "public".into())
    }

    /// A schema as it is looked up in the catalog.
    pub(super) fn real_schema(&self, schema: &str) -> Arc<str> {
        match &self.context.temp_schema {
            Some(temp) if schema == TEMP => temp.clone(),
            _ => schema.into(),
        }
    }

    /// A relation's name as facts give it.
    pub(super) fn facts_name(&self, relation: &Relation) -> Name {
        if relation.persistence == Persistence::Temporary
            && Some(&relation.name.schema) == self.context.temp_schema.as_ref()
        {
            return Name { schema: TEMP.into(), name: relation.name.name.clone() };
        }
        relation.name.clone()
    }

    /// The relation of this name, if there is one.
    pub(super) fn look_up(&self, schema: Option<&str>, name: &str) -> Option<&'a Relation> {
        match schema {
            Some(schema) => self.catalog.relation(&self.real_schema(schema), name),
            None => self.path().iter().find_map(|schema| self.catalog.relation(schema, name)),
        }
    }

    /// The relation that a RangeVar means.
    pub(super) fn relation(&self, range: &protobuf::RangeVar) -> Step<&'a Relation> {
        self.look_up(range_schema(range), &range.relname).ok_or_else(|| missing_relation(range))
    }

    /// The name that facts give to a RangeVar's relation, whether or not it exists.
    pub(super) fn name_or_new(&self, range: &protobuf::RangeVar) -> Name {
        match self.look_up(range_schema(range), &range.relname) {
            Some(relation) => self.facts_name(relation),
            None => self.new_name(range),
        }
    }

    /// The name of what a CREATE makes.
    pub(super) fn new_name(&self, range: &protobuf::RangeVar) -> Name {
        let schema = match range_schema(range) {
            _ if range.relpersistence == "t" => TEMP.into(),
            Some(schema) if self.context.temp_schema.as_deref() == Some(schema) => TEMP.into(),
            Some(schema) => schema.into(),
            None => self.creation_schema(),
        };
        Name { schema, name: range.relname.as_str().into() }
    }

    /// The type that a name means. `None` where there is none, or where it is one of a relation that the string makes.
    pub(super) fn type_of(&self, name: &protobuf::TypeName) -> Step<Option<&'a Type>> {
        let (schema, type_name) = match qualified(&name.names) {
            Ok(found) => found,
            // `table.column%TYPE` has as many parts as it wants.
            Err(_) if name.pct_type => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        if name.pct_type {
            return Ok(None);
        }
        let find = |name: &str| match schema {
            Some(schema) => self.catalog.type_in(&self.real_schema(schema), name),
            None => self.path().iter().find_map(|schema| self.catalog.type_in(schema, name)),
        };
        if !name.array_bounds.is_empty() {
            // An array type's name is the element's with an underscore, cut and made unique when need be.
            let Some(element) = find(type_name) else { return Ok(None) };
            let array = self.catalog.type_in(&element.schema, &format!("_{}", element.name));
            return Ok(array.filter(|array| array.array && array.of == element.oid));
        }
        Ok(find(type_name))
    }

    /// What a domain is over, at the end.
    pub(super) fn base_type(&self, oid: u32) -> u32 {
        let mut oid = oid;
        // A domain over a domain over …: PostgreSQL has no limit, and no loop.
        for _ in 0..32 {
            match self.catalog.type_by_oid(oid) {
                Some(ty) if ty.kind == TypeKind::Domain => oid = ty.of,
                _ => return oid,
            }
        }
        oid
    }

    /// Whether a relation can be in FROM.
    pub(super) fn is_readable(relation: &Relation) -> bool {
        !matches!(relation.kind, RelationKind::Index | RelationKind::Composite)
    }

    /// The type of a node that the grammar gives a type name to.
    pub(super) fn ty_of(&self, name: Option<&protobuf::TypeName>) -> Step<Ty> {
        let Some(name) = name else { return Ok(Ty::Opaque) };
        Ok(self.type_of(name)?.map_or(Ty::Opaque, |ty| Ty::Known(ty.oid)))
    }
}

/// The schema that a RangeVar names.
pub(super) fn range_schema(range: &protobuf::RangeVar) -> Option<&str> {
    (!range.schemaname.is_empty()).then_some(range.schemaname.as_str())
}

pub(super) fn missing_relation(range: &protobuf::RangeVar) -> crate::facts::Refusal {
    let name = match range_schema(range) {
        Some(schema) => format!("{schema}.{}", range.relname),
        None => range.relname.clone(),
    };
    missing(format!("relation \"{name}\" does not exist"), range.location)
}
