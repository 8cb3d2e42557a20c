//! All that a decision rests on, as plain data. It is recorded with the decision, and a changed policy can be tried on it
//! again: [`Policies::decide_again`](crate::Policies::decide_again).

use crate::{
    objects::{Describe, Kind},
    subject::{Moment, Subject, Tags},
};
use postern_sql::facts::{self, Access, Manner, Name, Object, Standing, Statement, Transaction};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::Arc,
};

/// Tags of statements within which others run.
const NESTING: [&str; 7] = ["EXPLAIN", "PREPARE", "EXECUTE", "DECLARE CURSOR", "FETCH", "DO", "CALL"];

/// What a decision rests on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Who, where, by which grant.
    pub subject: Subject,
    /// When, from where.
    pub moment: Moment,
    /// The statement.
    pub statement: StatementFacts,
    /// What is asked besides `connect`.
    pub accesses: Vec<Asked>,
}

/// What policies can read of a statement. Exactly the schema's `Statement`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StatementFacts {
    /// The command tag; empty for a session that begins.
    pub tag: String,
    /// Whether each UPDATE and DELETE has a WHERE that names a column.
    pub filtered: bool,
    /// The outermost constant LIMIT; -1 without one.
    pub limit: i64,
    /// The functions that run, as `schema.name`.
    pub functions: BTreeSet<String>,
    /// Those of them of which it is not known what they do.
    pub unknown_functions: BTreeSet<String>,
    /// The settings that it changes; `*` for all, `?` where the name is computed.
    pub settings: BTreeSet<String>,
    /// What it does to the transaction, or empty.
    pub transaction: String,
    /// Whether a statement runs inside another.
    pub nested: bool,
    /// What it starts besides what its text says: rules, triggers, cascades.
    pub effects: BTreeSet<String>,
    /// How many relations it touches.
    pub tables: i64,
    /// The tags of the columns that it uses.
    pub column_tags: Tags,
}

impl Default for StatementFacts {
    fn default() -> Self {
        Self {
            tag: String::new(),
            filtered: true,
            limit: -1,
            functions: BTreeSet::new(),
            unknown_functions: BTreeSet::new(),
            settings: BTreeSet::new(),
            transaction: String::new(),
            nested: false,
            effects: BTreeSet::new(),
            tables: 0,
            column_tags: Tags::new(),
        }
    }
}

/// One action on one resource.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The action.
    pub action: Action,
    /// The resource.
    pub resource: Resource,
    /// `plain`, `locking` or `copy`.
    pub manner: Way,
}

/// An action as policies name it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are the words of the schema")]
pub enum Action {
    Connect,
    Read,
    Insert,
    Update,
    Delete,
    Truncate,
    Ddl,
    Call,
    Admin,
    Unmask,
    Overwrite,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Connect,
        Self::Read,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Truncate,
        Self::Ddl,
        Self::Call,
        Self::Admin,
        Self::Unmask,
        Self::Overwrite,
    ];

    /// As policies name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Ddl => "ddl",
            Self::Call => "call",
            Self::Admin => "admin",
            Self::Unmask => "unmask",
            Self::Overwrite => "overwrite",
        }
    }

    /// Whether statements do it, so that it can be held for a review.
    #[must_use]
    pub fn is_of_statements(self) -> bool {
        !matches!(self, Self::Connect | Self::Unmask | Self::Overwrite)
    }
}

impl Action {
    /// As a statement's facts name it.
    pub(crate) fn of_statement(self) -> Option<facts::Action> {
        Some(match self {
            Self::Connect | Self::Unmask | Self::Overwrite => return None,
            Self::Read => facts::Action::Read,
            Self::Insert => facts::Action::Insert,
            Self::Update => facts::Action::Update,
            Self::Delete => facts::Action::Delete,
            Self::Truncate => facts::Action::Truncate,
            Self::Ddl => facts::Action::Ddl,
            Self::Call => facts::Action::Call,
            Self::Admin => facts::Action::Admin,
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<facts::Action> for Action {
    fn from(action: facts::Action) -> Self {
        match action {
            facts::Action::Read => Self::Read,
            facts::Action::Insert => Self::Insert,
            facts::Action::Update => Self::Update,
            facts::Action::Delete => Self::Delete,
            facts::Action::Truncate => Self::Truncate,
            facts::Action::Ddl => Self::Ddl,
            facts::Action::Call => Self::Call,
            facts::Action::Admin => Self::Admin,
        }
    }
}

/// How it is done.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are the words of the schema")]
pub enum Way {
    #[default]
    Plain,
    Locking,
    Copy,
}

impl Way {
    /// As policies name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Locking => "locking",
            Self::Copy => "copy",
        }
    }
}

impl From<Manner> for Way {
    fn from(manner: Manner) -> Self {
        match manner {
            Manner::Plain => Self::Plain,
            Manner::Locking => Self::Locking,
            Manner::Copy => Self::Copy,
        }
    }
}

/// What an action is done to. `tags` are its own, `schema_tags` its schema's; the connection's hold too.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are the attributes of the schema")]
pub enum Resource {
    /// The connection.
    Connection,
    /// A schema, or what is in it and neither a relation nor a function.
    Schema { schema: Arc<str>, schema_tags: Arc<Tags> },
    /// A relation.
    Relation { schema: Arc<str>, name: Arc<str>, kind: Kind, tags: Arc<Tags>, schema_tags: Arc<Tags> },
    /// A function.
    Function { schema: Arc<str>, name: Arc<str>, standing: Known, tags: Arc<Tags>, schema_tags: Arc<Tags> },
    /// A column.
    Column { schema: Arc<str>, table: Arc<str>, name: Arc<str>, tags: Arc<Tags>, schema_tags: Arc<Tags> },
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => f.write_str("the database"),
            Self::Schema { schema, .. } => write!(f, "schema {schema}"),
            Self::Relation { schema, name, .. } => write!(f, "{schema}.{name}"),
            Self::Function { schema, name, .. } => write!(f, "function {schema}.{name}"),
            Self::Column { schema, table, name, .. } => write!(f, "{schema}.{table}.{name}"),
        }
    }
}

/// What is known of what a function does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are the words of the schema")]
pub enum Known {
    Harmless,
    Analysed,
    Effectful,
    Unknown,
}

impl Known {
    /// As policies name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Harmless => "harmless",
            Self::Analysed => "analysed",
            Self::Effectful => "effectful",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Standing> for Known {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Harmless => Self::Harmless,
            Standing::Analysed => Self::Analysed,
            Standing::Effectful => Self::Effectful,
            Standing::Unknown => Self::Unknown,
        }
    }
}

impl StatementFacts {
    /// From the analysis of a statement.
    #[must_use]
    pub fn of(statement: &Statement, objects: &dyn Describe) -> Self {
        let of_standing = |wanted: Option<Standing>| -> BTreeSet<String> {
            let functions = statement.functions.iter();
            let functions = functions.filter(|function| wanted.is_none_or(|wanted| function.standing == wanted));
            functions.map(|function| dotted(&function.name)).collect()
        };
        let relations: HashSet<&Name> = statement
            .accesses
            .iter()
            .filter_map(|access| if let Object::Relation(name) = &access.object { Some(name) } else { None })
            .collect();
        let columns = statement.columns.iter();
        let column_tags = columns
            .flat_map(|used| Vec::from_iter(objects.column(&used.relation, used.column.as_deref()).iter().cloned()));
        let writes = |access: &Access| !matches!(access.action, facts::Action::Read | facts::Action::Call);
        Self {
            tag: statement.tag.to_owned(),
            filtered: statement.bound.filtered,
            // A limit beyond Cedar's integers is as good as that many.
            limit: statement.bound.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX)),
            functions: of_standing(None),
            unknown_functions: of_standing(Some(Standing::Unknown)),
            settings: statement.settings.iter().map(|setting| setting.name.clone().unwrap_or("?".to_owned())).collect(),
            transaction: statement.transaction.as_ref().map_or("", transaction).to_owned(),
            nested: NESTING.contains(&statement.tag)
                || (statement.tag == "SELECT" && statement.accesses.iter().any(writes)),
            effects: statement.effects.clone(),
            tables: i64::try_from(relations.len()).unwrap_or(i64::MAX),
            column_tags: column_tags.collect(),
        }
    }
}

/// What a statement asks: its accesses, and `call` of each function that may do something.
pub(crate) fn accesses(statement: &Statement) -> impl Iterator<Item = Access> {
    let calls = statement.functions.iter().filter(|function| is_call(function.standing));
    statement.accesses.iter().cloned().chain(calls.map(|function| Access {
        action: facts::Action::Call,
        object: Object::Function(function.name.clone()),
        manner: Manner::Plain,
    }))
}

fn is_call(standing: Standing) -> bool {
    match standing {
        Standing::Harmless | Standing::Analysed => false,
        Standing::Effectful | Standing::Unknown => true,
    }
}

/// The standing of a function among those that the statement runs. The worst counts, since overloads share a name;
/// one that it does not run, or that we know nothing of, is unknown.
pub(crate) fn standing(statement: &Statement, name: &Name) -> Known {
    let of_name = statement.functions.iter().filter(|function| &function.name == name);
    of_name.map(|function| function.standing).max().map_or(Known::Unknown, Known::from)
}

impl Asked {
    /// An access of a statement, with what is known of its object.
    pub(crate) fn of(access: &Access, statement: &Statement, objects: &dyn Describe) -> Self {
        let resource = match &access.object {
            Object::Database => Resource::Connection,
            Object::Schema(schema) => Resource::Schema { schema: schema.clone(), schema_tags: objects.schema(schema) },
            Object::Relation(Name { schema, name }) => {
                let (kind, tags) = objects.relation(&Name { schema: schema.clone(), name: name.clone() });
                let schema_tags = objects.schema(schema);
                Resource::Relation { schema: schema.clone(), name: name.clone(), kind, tags, schema_tags }
            }
            Object::Function(function) => Resource::Function {
                schema: function.schema.clone(),
                name: function.name.clone(),
                standing: standing(statement, function),
                tags: objects.function(function),
                schema_tags: objects.schema(&function.schema),
            },
        };
        Self { action: access.action.into(), resource, manner: access.manner.into() }
    }

    /// To see a column's values, or to write over them.
    pub(crate) fn column(action: Action, relation: &Name, column: &Arc<str>, objects: &dyn Describe) -> Self {
        let resource = Resource::Column {
            schema: relation.schema.clone(),
            table: relation.name.clone(),
            name: column.clone(),
            tags: objects.column(relation, Some(column)),
            schema_tags: objects.schema(&relation.schema),
        };
        Self { action, resource, manner: Way::Plain }
    }

    /// To have a session at all.
    pub(crate) fn connect() -> Self {
        Self { action: Action::Connect, resource: Resource::Connection, manner: Way::Plain }
    }
}

fn dotted(name: &Name) -> String {
    format!("{}.{}", name.schema, name.name)
}

fn transaction(transaction: &Transaction) -> &'static str {
    match transaction {
        Transaction::Begin { .. } => "begin",
        Transaction::Commit => "commit",
        Transaction::Rollback => "rollback",
        Transaction::Savepoint(_) => "savepoint",
        Transaction::Release(_) => "release",
        Transaction::RollbackTo(_) => "rollback_to",
        Transaction::TwoPhase => "two_phase",
    }
}
