//! Relations, functions, types and the rest, as plain data.

use std::sync::{Arc, OnceLock};

use crate::{
    catalog::FIRST_USER_OID,
    facts::{Name, Volatility},
    memo::Started,
};

/// What kind of relation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RelationKind {
    /// An ordinary table.
    Table,
    /// A partitioned table.
    Partitioned,
    /// A view.
    View,
    /// A materialised view.
    Matview,
    /// A foreign table.
    Foreign,
    /// A sequence.
    Sequence,
    /// An index, partitioned or not.
    Index,
    /// A composite type, which has columns and no rows.
    Composite,
    /// The side table of a table's long values.
    Toast,
}

impl RelationKind {
    pub(crate) fn of(letter: &str) -> Option<Self> {
        Some(match letter {
            "r" => Self::Table,
            "p" => Self::Partitioned,
            "v" => Self::View,
            "m" => Self::Matview,
            "f" => Self::Foreign,
            "S" => Self::Sequence,
            "i" | "I" => Self::Index,
            "c" => Self::Composite,
            "t" => Self::Toast,
            _ => return None,
        })
    }
}

/// How long a relation lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Persistence {
    /// Until it is dropped.
    Permanent,
    /// Until it is dropped, but emptied by a crash.
    Unlogged,
    /// As long as its session.
    Temporary,
}

/// A table, view, sequence, index or what else has a row in pg_class.
#[derive(Debug)]
pub struct Relation {
    /// Its object id.
    pub oid: u32,
    /// Its name. A temporary relation's schema stands here as it is (`pg_temp_3`).
    pub name: Name,
    /// Its kind.
    pub kind: RelationKind,
    /// How long it lives.
    pub persistence: Persistence,
    /// The role that owns it.
    pub owner: Arc<str>,
    /// Whether row-level security is on.
    pub row_security: bool,
    /// The type of its rows; 0 where it has none.
    pub row_type: u32,
    /// What a user's view selects, with all names qualified.
    pub definition: Option<Arc<str>>,
    /// The table of an index, or the one that owns a sequence.
    pub belongs_to: Option<u32>,
    /// Those that it inherits from, or is a partition of.
    pub parents: Vec<u32>,
    /// Those that inherit from it.
    pub children: Vec<u32>,
    /// Its columns by number, without the dropped ones.
    pub columns: Vec<Column>,
    /// Its triggers, without disabled ones and those that keep foreign keys.
    pub triggers: Vec<Trigger>,
    /// Its rules, without the one that makes a view.
    pub rules: Vec<Rule>,
    /// Its row-level security policies; none where they are off.
    pub policies: Vec<Policy>,
    /// The expressions of check constraints, indexes, partition keys: whatever a write computes.
    pub computed: Vec<Arc<str>>,
    /// The foreign keys of other tables that refer to it.
    pub referenced_by: Vec<ForeignKey>,
    /// What reading it starts, worked out once.
    pub(crate) on_read: OnceLock<Arc<Started>>,
    /// The same of writing it, whichever way.
    pub(crate) on_write: OnceLock<Arc<Started>>,
    /// The same of its generated columns, which says what they are made of.
    pub(crate) on_generate: OnceLock<Arc<Started>>,
    /// The same of its columns' defaults.
    pub(crate) on_default: OnceLock<Arc<Started>>,
}

impl Relation {
    /// Whether it came with the server.
    #[must_use]
    pub const fn is_builtin(&self) -> bool {
        self.oid < FIRST_USER_OID
    }

    /// Its column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| &*column.name == name)
    }
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its number, which survives renaming.
    pub number: i16,
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub ty: u32,
    /// What was declared with the type, as the length of `varchar(20)`; -1 for nothing.
    pub modifier: i32,
    /// The expression of its default or of a generated column.
    pub default: Option<Arc<str>>,
    /// Whether it is generated, and then whether on reading.
    pub generated: Option<Generated>,
    /// Whether it is an identity column.
    pub identity: bool,
}

/// When a generated column is computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Generated {
    /// On writing.
    Stored,
    /// On reading.
    Virtual,
}

/// A trigger.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its name.
    pub name: Arc<str>,
    /// The function that it calls.
    pub function: u32,
    /// PostgreSQL's bits: 4 insert, 8 delete, 16 update, 32 truncate.
    pub events: u16,
    /// The statement that would make it.
    pub definition: Arc<str>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: Arc<str>,
    /// PostgreSQL's number: 2 update, 3 insert, 4 delete.
    pub event: u8,
    /// The statement that would make it.
    pub definition: Arc<str>,
}

/// A row-level security policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: Arc<str>,
    /// Which rows are seen.
    pub using: Option<Arc<str>>,
    /// Which rows may be written.
    pub check: Option<Arc<str>>,
}

/// A foreign key, from the side of the table that it refers to.
#[derive(Clone, Debug)]
pub struct ForeignKey {
    /// The table that has it.
    pub table: u32,
    /// What a delete does, by PostgreSQL's letter: `c` cascade, `n` set null, `d` set default.
    pub on_delete: char,
    /// What an update does, likewise.
    pub on_update: char,
}

/// What kind of function.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FunctionKind {
    /// A function.
    Function,
    /// A procedure.
    Procedure,
    /// An aggregate.
    Aggregate,
    /// A window function.
    Window,
}

/// A function or procedure.
#[derive(Debug)]
pub struct Routine {
    /// Its object id.
    pub oid: u32,
    /// Its name.
    pub name: Name,
    /// Its kind.
    pub kind: FunctionKind,
    /// Its language.
    pub language: Arc<str>,
    /// What it promises.
    pub volatility: Volatility,
    /// Whether it runs with its owner's rights.
    pub security_definer: bool,
    /// The types of its input arguments.
    pub args: Vec<u32>,
    /// How many of them have defaults.
    pub defaults: usize,
    /// The expressions of those defaults, with commas between.
    pub default_values: Option<Arc<str>>,
    /// The type of the elements of its variadic argument; 0 where it has none.
    pub variadic: u32,
    /// The type of its result.
    pub result: u32,
    /// Whether it returns a set.
    pub returns_set: bool,
    /// The names of its input arguments, where they have names.
    pub arg_names: Vec<Arc<str>>,
    /// Its output columns, where it has OUT arguments or returns a table.
    pub out: Vec<(Arc<str>, u32)>,
    /// Its own settings (`search_path=…`).
    pub config: Vec<Arc<str>>,
    /// Its text, where it is SQL and a user's.
    pub body: Option<Arc<str>>,
    /// For an aggregate, the functions that it is made of.
    pub parts: Vec<u32>,
}

impl Routine {
    /// Whether it came with the server.
    #[must_use]
    pub const fn is_builtin(&self) -> bool {
        self.oid < FIRST_USER_OID
    }

    /// Whether it can be called with so many arguments.
    pub(crate) fn accepts(&self, count: usize) -> bool {
        let most = self.args.len();
        if self.variadic != 0 {
            count + 1 + self.defaults >= most
        } else {
            count <= most && count + self.defaults >= most
        }
    }
}

/// An operator.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Its schema.
    pub schema: Arc<str>,
    /// The type on its left; 0 for a prefix operator.
    pub left: u32,
    /// The type on its right.
    pub right: u32,
    /// The type of its result.
    pub result: u32,
    /// The function that it stands for.
    pub function: u32,
}

/// What kind of type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TypeKind {
    /// One that stands for itself: base types, ranges.
    Base,
    /// A list of labels.
    Enum,
    /// The rows of a relation.
    Composite,
    /// A type with constraints.
    Domain,
    /// A placeholder in declarations: `anyelement`, `record`, `void`.
    Pseudo,
}

/// A type.
#[derive(Clone, Debug)]
pub struct Type {
    /// Its object id.
    pub oid: u32,
    /// Its schema.
    pub schema: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: TypeKind,
    /// What a domain is over, the element of an array, what a range has bounds of; 0 for others.
    pub of: u32,
    /// Whether it is an array.
    pub array: bool,
    /// The relation of a composite type; 0 for others.
    pub relation: u32,
    /// Of a domain, what was declared with the type that it is over; -1 for nothing.
    pub modifier: i32,
    /// A domain's constraints and default.
    pub checks: Vec<Arc<str>>,
    /// What they start, worked out once.
    pub(crate) on_check: OnceLock<Arc<Started>>,
}

/// A cast.
#[derive(Clone, Debug)]
pub struct Cast {
    /// From.
    pub source: u32,
    /// To.
    pub target: u32,
    /// The function that does it; 0 where none is needed.
    pub function: u32,
    /// Whether it is made without being asked for in every expression.
    pub implicit: bool,
    /// Whether it is made without being asked for on assignment at least.
    pub assignment: bool,
}
