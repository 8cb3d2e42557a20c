//! What names a part of a statement sees: the relations of its FROM, of the queries around it, and the CTEs.

use std::{cell::Cell, rc::Rc, sync::Arc};

use super::flow::{Flow, Key};
use crate::{
    catalog::{Relation, RelationKind},
    facts::Name,
    memo::Shown,
};

/// A type, as far as it is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ty {
    /// This one.
    Known(u32),
    /// A literal or parameter that takes whichever type is wanted.
    Literal,
    /// It could be any.
    Opaque,
}

impl Ty {
    /// What a literal becomes where nothing says what it is to be: in a sub-query's result, in CASE and COALESCE.
    pub(super) fn settled(self) -> Self {
        if self == Self::Literal { Self::Known(25) } else { self }
    }

    /// What two alternatives have in common.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (same, other) if same == other => same,
            (Self::Literal, known @ Self::Known(_)) | (known @ Self::Known(_), Self::Literal) => known,
            _ => Self::Opaque,
        }
    }
}

/// A column of a query's result or of a FROM item that is no relation of the database.
#[derive(Clone, Debug)]
pub(super) struct Col {
    pub(super) name: Arc<str>,
    pub(super) ty: Ty,
    pub(super) flow: Flow,
}

/// The columns of a sub-query, CTE or function in FROM.
#[derive(Debug, Default)]
pub(super) struct Derived {
    pub(super) columns: Vec<Col>,
    pub(super) used: Vec<Cell<bool>>,
    /// It may have columns that are not known: where their values come from.
    pub(super) rest: Option<Flow>,
    /// It is not known yet: a WITH query that is defined further on.
    pub(super) later: bool,
}

impl Derived {
    pub(super) fn new(columns: Vec<Col>, rest: Option<Flow>) -> Self {
        let used = columns.iter().map(|_| Cell::new(false)).collect();
        Self { columns, used, rest, later: false }
    }

    fn touch(&self, at: usize) {
        if let Some(used) = self.used.get(at) {
            used.set(true);
        }
    }
}

/// What a FROM item's columns are.
#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    /// A relation, by the name under which facts speak of it; and what its columns are made of, where they are.
    Base(&'a Relation, Name, Option<Arc<[Shown]>>),
    /// Anything else.
    Derived(Rc<Derived>),
}

/// The key of a relation's column, by its place; of all of them without one.
pub(super) fn key(relation: &Relation, at: Option<usize>) -> Key {
    made_key(relation.oid, at)
}

/// The same by the relation's object id.
pub(super) fn made_key(oid: u32, at: Option<usize>) -> Key {
    // A relation has 1600 columns at most.
    (u64::from(oid) << 16) | at.map_or(0, |at| at as u64 + 1)
}

/// What a column of a relation is: itself, and what it is made of.
fn base_flow(relation: &Relation, shown: Option<&Arc<[Shown]>>, at: usize) -> Flow {
    let mut flow = Flow::of(key(relation, Some(at)));
    if let Some(shown) = shown.and_then(|shown| shown.get(at)) {
        flow.origins.extend(&shown.origins.iter().copied().collect());
        flow.changed.extend(&shown.changed.iter().copied().collect());
    }
    flow
}

/// An item of FROM.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    /// By what its columns can be qualified.
    pub(super) alias: Option<Rc<str>>,
    /// The schema that may stand before it: only of a relation without an alias.
    pub(super) schema: Option<Arc<str>>,
    pub(super) source: Source<'a>,
    /// New names for its first columns.
    pub(super) renames: Vec<Arc<str>>,
    /// The relation that an UPDATE, DELETE or MERGE writes.
    pub(super) target: bool,
    /// Seen only with its qualifier: `excluded`, `old`, `new`.
    pub(super) qualified_only: bool,
}

impl<'a> Item<'a> {
    pub(super) fn new(alias: Option<&str>, source: Source<'a>) -> Self {
        let alias = alias.map(Rc::from);
        Self { alias, schema: None, source, renames: Vec::new(), target: false, qualified_only: false }
    }

    pub(super) fn derived(alias: Option<&str>, columns: Vec<Col>, rest: Option<Flow>) -> Self {
        Self::new(alias, Source::Derived(Rc::new(Derived::new(columns, rest))))
    }

    /// The columns that are not known, where there may be some.
    pub(super) fn rest(&self) -> Option<&Flow> {
        match &self.source {
            Source::Derived(derived) => derived.rest.as_ref(),
            Source::Base(..) => None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.rest().is_some()
    }

    /// Whether it is a WITH query that is defined further on.
    pub(super) fn is_later(&self) -> bool {
        matches!(&self.source, Source::Derived(derived) if derived.later)
    }

    fn name_of<'n>(&'n self, at: usize, own: &'n Arc<str>) -> &'n Arc<str> {
        self.renames.get(at).unwrap_or(own)
    }

    /// Adds the column of this name to `flow`, if there is one.
    pub(super) fn lookup(&self, name: &str, flow: &mut Flow) -> Option<Ty> {
        let mut found: Option<Ty> = None;
        match &self.source {
            Source::Base(relation, _, shown) => {
                for (at, column) in relation.columns.iter().enumerate() {
                    if **self.name_of(at, &column.name) == *name {
                        flow.extend(&base_flow(relation, shown.as_ref(), at));
                        found = Some(Ty::Known(column.ty));
                    }
                }
                if found.is_none() && relation.kind != RelationKind::View {
                    found = system_column(name).map(Ty::Known);
                }
            }
            Source::Derived(derived) => {
                for (at, column) in derived.columns.iter().enumerate() {
                    if **self.name_of(at, &column.name) == *name {
                        derived.touch(at);
                        flow.extend(&column.flow);
                        found = Some(found.map_or(column.ty, |ty| ty.or(column.ty)));
                    }
                }
            }
        }
        found
    }

    /// All its columns, which are used thereby.
    pub(super) fn columns(&self) -> Vec<Col> {
        if let Source::Derived(derived) = &self.source {
            derived.used.iter().for_each(|used| used.set(true));
        }
        self.known_columns()
    }

    /// All its columns, without a use of them.
    pub(super) fn known_columns(&self) -> Vec<Col> {
        match &self.source {
            Source::Base(relation, _, shown) => {
                let each = relation.columns.iter().enumerate();
                each.map(|(at, column)| Col {
                    name: self.name_of(at, &column.name).clone(),
                    ty: Ty::Known(column.ty),
                    flow: base_flow(relation, shown.as_ref(), at),
                })
                .collect()
            }
            Source::Derived(derived) => {
                let each = derived.columns.iter().enumerate();
                each.map(|(at, column)| Col { name: self.name_of(at, &column.name).clone(), ..column.clone() })
                    .collect()
            }
        }
    }

    /// A reference to whole rows of it.
    pub(super) fn whole_row(&self, flow: &mut Flow) -> Ty {
        match &self.source {
            Source::Base(relation, _, shown) => {
                let mut row = Flow::of(key(relation, None));
                for shown in shown.iter().flat_map(|shown| shown.iter()) {
                    row.origins.extend(&shown.origins.iter().copied().collect());
                }
                flow.derive(&row);
                Ty::Known(relation.row_type)
            }
            Source::Derived(derived) => {
                for (at, column) in derived.columns.iter().enumerate() {
                    derived.touch(at);
                    flow.derive(&column.flow);
                }
                derived.rest.iter().for_each(|rest| flow.derive(rest));
                // A function in FROM that returns one plain value is that value under its alias.
                match derived.columns.as_slice() {
                    [only] if derived.rest.is_none() => only.ty.or(Ty::Opaque),
                    _ => Ty::Opaque,
                }
            }
        }
    }
}

/// The type of a system column.
fn system_column(name: &str) -> Option<u32> {
    Some(match name {
        "ctid" => 27,
        "tableoid" => 26,
        "xmin" | "xmax" => 28,
        "cmin" | "cmax" => 29,
        _ => return None,
    })
}

/// The CTEs in sight, the nearest first.
pub(super) type Ctes<'a> = Option<Rc<Cte<'a>>>;

/// A CTE in sight.
#[derive(Debug)]
pub(super) struct Cte<'a> {
    pub(super) name: Rc<str>,
    pub(super) source: Source<'a>,
    pub(super) next: Ctes<'a>,
}

/// Finds a CTE.
pub(super) fn find_cte<'c, 'a>(ctes: &'c Ctes<'a>, name: &str) -> Option<&'c Source<'a>> {
    let mut next = ctes.as_ref();
    while let Some(cte) = next {
        if *cte.name == *name {
            return Some(&cte.source);
        }
        next = cte.next.as_ref();
    }
    None
}

/// One entry of what `*` stands for.
#[derive(Clone, Debug)]
pub(super) enum Star {
    /// All columns of an item.
    Item(usize),
    /// A column, merged by USING or taken apart from its item because of one.
    Col(Col),
}

/// The names in sight in one query, and through it in the queries around it.
#[derive(Debug, Default)]
pub(super) struct Scope<'p, 'a> {
    pub(super) items: Vec<Item<'a>>,
    pub(super) star: Vec<Star>,
    pub(super) parent: Option<&'p Scope<'p, 'a>>,
    pub(super) ctes: Ctes<'a>,
    /// Names that may stand for arguments of the function whose body this is.
    pub(super) arguments: Option<Rc<Arguments>>,
}

/// The arguments of a function whose body is analysed.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) function: String,
    pub(super) names: Vec<(String, Ty)>,
    pub(super) types: Vec<Ty>,
}

impl<'p, 'a> Scope<'p, 'a> {
    /// A query's own names inside of another's.
    pub(super) fn inside(parent: &'p Scope<'p, 'a>) -> Scope<'p, 'a> {
        Scope {
            items: Vec::new(),
            star: Vec::new(),
            parent: Some(parent),
            ctes: parent.ctes.clone(),
            arguments: parent.arguments.clone(),
        }
    }

    /// Adds an item that `*` stands for.
    pub(super) fn push(&mut self, item: Item<'a>) {
        self.star.push(Star::Item(self.items.len()));
        self.items.push(item);
    }

    /// The columns that `*` stands for, and whether there may be more: then where those come from.
    pub(super) fn star_columns(&self, star: &[Star]) -> (Vec<Col>, Option<Flow>) {
        self.columns_of(star, Item::columns)
    }

    /// The same, without a use of them.
    pub(super) fn known_star_columns(&self, star: &[Star]) -> (Vec<Col>, Option<Flow>) {
        self.columns_of(star, Item::known_columns)
    }

    fn columns_of(&self, star: &[Star], of: impl Fn(&Item<'a>) -> Vec<Col>) -> (Vec<Col>, Option<Flow>) {
        let mut columns = Vec::new();
        let mut open: Option<Flow> = None;
        for entry in star {
            match entry {
                Star::Item(at) => {
                    if let Some(item) = self.items.get(*at) {
                        columns.extend(of(item));
                        if let Some(rest) = item.rest() {
                            open.get_or_insert_default().derive(rest);
                        }
                    }
                }
                Star::Col(column) => columns.push(column.clone()),
            }
        }
        (columns, open)
    }

    /// The item that a qualifier means, here or further out.
    pub(super) fn item(&self, schema: Option<&str>, name: &str) -> Option<&Item<'a>> {
        let matches = |item: &&Item<'a>| {
            item.alias.as_deref() == Some(name)
                && schema.is_none_or(|schema| item.schema.as_deref().is_some_and(|own| own == schema))
        };
        self.items.iter().find(matches).or_else(|| self.parent.and_then(|parent| parent.item(schema, name)))
    }
}
