//! From tags, which name columns, to the columns of a database as its catalog has them.

use super::{
    Masked, Unsuited,
    found::{Spot, Spots},
    wanted::{Place, Wanted},
};
use postern_mask::{
    Mask, Type,
    rules::{Column, ColumnRule, Compare, Rules},
};
use postern_policy::objects::Objects;
use postern_sql::{
    Catalog,
    catalog::{self, Persistence, Relation, RelationKind, TypeKind},
    facts::Name,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Domains over domains.
const MOST_DOMAINS: usize = 32;

/// The tags of columns.
type Tagged = BTreeMap<Spot, BTreeSet<Arc<str>>>;

/// What is masked in the database of a catalog. `before` is where tagged columns were found earlier, `named` what is tagged
/// by name. With it comes where they are now.
pub fn resolve(wanted: &Wanted, named: &Objects, catalog: &Catalog, before: &Spots) -> (Masked, Spots) {
    let mut tagged = Tagged::new();
    let mut spots = Spots::new();
    let mut rules = Rules { safe: wanted.safe.clone(), ..Rules::default() };
    for (place, tag) in &wanted.tags {
        let key = format!("{}.{}.{}", place.schema, place.relation, place.column);
        let earlier = before.get(&key).into_iter().flatten().copied();
        if place.column.is_empty() {
            if !wanted.masks.contains_key(tag) {
                continue;
            }
            // What masks a table or schema masks each of its columns.
            let (found, whole) = within(place, catalog, earlier);
            for spot in found {
                tagged.entry(spot).or_default().insert(tag.clone());
            }
            spots.entry(key).or_default().extend(whole);
            continue;
        }
        let (found, lost) = column(place, catalog, earlier);
        if let Some(relation) = lost.filter(|_| wanted.masks.contains_key(tag)) {
            for name in names(relation) {
                rules.tables.entry(name).or_default().lost.insert(place.column.clone(), tag.clone());
            }
        }
        for spot in &found {
            tagged.entry(*spot).or_default().insert(tag.clone());
        }
        spots.entry(key).or_default().extend(found);
    }
    inherit(&mut tagged, catalog);
    let mut objects = named.clone();
    let (mut unsuited, mut places) = (Vec::new(), BTreeSet::new());
    for (spot, tags) in &tagged {
        let Some((relation, column)) = at(catalog, *spot) else { continue };
        let rule = rule(wanted, catalog, (relation, column), tags, &mut unsuited);
        if rule.is_some() {
            places.insert(*spot);
        }
        for name in names(relation) {
            let of = objects.columns.entry(name.clone()).or_default().entry(column.name.clone()).or_default();
            *of = Arc::new(of.union(tags).cloned().collect());
            if let Some(rule) = rule.clone() {
                rules.tables.entry(name).or_default().columns.insert(column.name.clone(), rule);
            }
        }
    }
    let foreign = catalog.user_relations().filter(|relation| relation.kind == RelationKind::Foreign);
    rules.foreign = foreign.map(|relation| relation.name.clone()).collect();
    (Masked { rules, objects, places: Arc::new(places), unsuited }, spots)
}

/// Where a column is, by name and as it was known earlier; and its table, if that lost it.
fn column<'a>(
    place: &Place,
    catalog: &'a Catalog,
    earlier: impl Iterator<Item = Spot>,
) -> (BTreeSet<Spot>, Option<&'a Relation>) {
    let mut found: BTreeSet<Spot> = earlier.filter(|spot| at(catalog, *spot).is_some()).collect();
    let Some(relation) = catalog.relation(&place.schema, &place.relation) else { return (found, None) };
    if let Some(column) = relation.column(&place.column) {
        found.insert((relation.oid, column.number));
        return (found, None);
    }
    // Renamed within its table: it is known which one it is.
    let known = found.iter().any(|(oid, _)| *oid == relation.oid);
    (found, (!known).then_some(relation))
}

/// All columns of a relation, or of all relations of a schema; and the relations themselves, where one is named.
fn within(place: &Place, catalog: &Catalog, earlier: impl Iterator<Item = Spot>) -> (BTreeSet<Spot>, BTreeSet<Spot>) {
    let mut relations: Vec<&Relation> = earlier.filter_map(|(oid, _)| catalog.relation_by_oid(oid)).collect();
    if place.relation.is_empty() {
        relations.extend(catalog.user_relations().filter(|relation| relation.name.schema == place.schema));
    } else {
        relations.extend(catalog.relation(&place.schema, &place.relation));
    }
    relations.retain(|relation| has_rows(relation));
    let whole = relations.iter().filter(|_| !place.relation.is_empty()).map(|relation| (relation.oid, 0)).collect();
    let columns = relations
        .iter()
        .flat_map(|relation| relation.columns.iter().map(|column| (relation.oid, column.number)))
        .collect();
    (columns, whole)
}

fn has_rows(relation: &Relation) -> bool {
    matches!(
        relation.kind,
        RelationKind::Table
            | RelationKind::Partitioned
            | RelationKind::View
            | RelationKind::Matview
            | RelationKind::Foreign
    )
}

fn at(catalog: &Catalog, (oid, number): Spot) -> Option<(&Relation, &catalog::Column)> {
    let relation = catalog.relation_by_oid(oid).filter(|relation| has_rows(relation))?;
    Some((relation, relation.columns.iter().find(|column| column.number == number)?))
}

/// What is tagged in a table is so in its partitions and children, whose rows it shows; and what is tagged in one of them is
/// so in the table.
fn inherit(tagged: &mut Tagged, catalog: &Catalog) {
    for relatives in [|relation: &Relation| relation.children.clone(), |relation: &Relation| relation.parents.clone()] {
        let mut fresh: Vec<Spot> = tagged.keys().copied().collect();
        while let Some(spot) = fresh.pop() {
            let (Some((relation, column)), Some(tags)) = (at(catalog, spot), tagged.get(&spot).cloned()) else {
                continue;
            };
            for relative in relatives(relation).into_iter().filter_map(|oid| catalog.relation_by_oid(oid)) {
                let Some(same) = relative.column(&column.name) else { continue };
                let spot = (relative.oid, same.number);
                let of = tagged.entry(spot).or_default();
                if !tags.is_subset(of) {
                    of.extend(tags.iter().cloned());
                    fresh.push(spot);
                }
            }
        }
    }
}

/// What a relation is called in the facts of statements: a session's own temporary one is in `pg_temp`.
fn names(relation: &Relation) -> impl Iterator<Item = Name> {
    let own = (relation.persistence == Persistence::Temporary)
        .then(|| Name { schema: "pg_temp".into(), name: relation.name.name.clone() });
    std::iter::once(relation.name.clone()).chain(own)
}

/// The strictest of what its tags say; nothing where none of them has a mask.
fn rule(
    wanted: &Wanted,
    catalog: &Catalog,
    (relation, column): (&Relation, &catalog::Column),
    tags: &BTreeSet<Arc<str>>,
    unsuited: &mut Vec<Unsuited>,
) -> Option<ColumnRule> {
    let of = column.ty;
    let (ty, few) = column_type(catalog, of, column.modifier);
    let rules = tags.iter().filter_map(|tag| {
        let masking = wanted.masks.get(tag)?;
        let mask = match masking.mask.suits(&ty) {
            Ok(()) => masking.mask,
            Err(why) => {
                let column = Column { relation: relation.name.clone(), name: column.name.clone() };
                let name = catalog.type_by_oid(of).map_or_else(|| "unknown".into(), |ty| Arc::clone(&ty.name));
                let suited = Mask::suiting(&ty).collect();
                unsuited.push(Unsuited { column, tag: tag.clone(), ty: name, why: why.to_string(), suited });
                Mask::Redact
            }
        };
        // Of few values each can be asked for.
        let compare = masking.compare.unwrap_or(if few { Compare::None } else { Compare::Equality });
        Some(ColumnRule { tags: BTreeSet::from([tag.clone()]), mask, compare, ty: ty.clone() })
    });
    rules.reduce(ColumnRule::and)
}

/// A column's type as masks tell types apart, and whether it has but few values: booleans, enums, dates and times.
pub fn column_type(catalog: &Catalog, oid: u32, modifier: i32) -> (Type, bool) {
    const FEW: [u32; 9] = [16, 1000, 1082, 1083, 1114, 1182, 1184, 1266, 1115];
    const FEW_MORE: [u32; 6] = [1185, 1183, 1270, 3908, 3910, 3912];
    let (mut oid, mut modifier) = (oid, modifier);
    for _ in 0..MOST_DOMAINS {
        let Some(ty) = catalog.type_by_oid(oid) else { return (Type::Other, true) };
        match ty.kind {
            TypeKind::Domain => {
                if modifier < 0 {
                    modifier = ty.modifier;
                }
                oid = ty.of;
            }
            TypeKind::Enum => return (Type::Other, true),
            _ if ty.oid >= catalog::FIRST_USER_OID && ty.array => {
                let (element, few) = column_type(catalog, ty.of, modifier);
                return (element.into_array(), few);
            }
            _ if ty.oid >= catalog::FIRST_USER_OID && &*ty.name == "citext" => return (Type::text(), false),
            _ => return (Type::of(oid, modifier), FEW.contains(&oid) || FEW_MORE.contains(&oid)),
        }
    }
    (Type::Other, true)
}
