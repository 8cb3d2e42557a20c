//! What is known of a statement once it was parsed and its names were resolved. Policies rule on these facts; they
//! hold nothing of the grammar, so that a policy does not depend on how a statement was put.
//!
//! INVARIANT: facts say at least what is true. Where the analysis cannot tell, it says more (`Standing::Unknown`,
//! every column) or does not produce facts at all.

use std::{collections::BTreeSet, fmt, ops::Range, sync::Arc};

/// A whole query string: its statements in order. None of it runs unless all of it may.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Script {
    /// In the order in which they would run. Empty for an empty string.
    pub statements: Vec<Statement>,
}

/// With what an effect begins that only takes numbers of a sequence which a column owns: `sequence public.orders_id_seq`.
pub const SEQUENCE: &str = "sequence ";

/// With what one begins that is only that a view shows a relation: `view public.open reads public.orders`.
pub const VIEW: &str = "view ";

/// One statement, with everything nested in it (CTEs, the query of a COPY or an EXPLAIN, the body of a DO block).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Statement {
    /// Where it stands in the query string, in bytes.
    pub span: Range<usize>,
    /// Its kind as PostgreSQL's command tag names it: `SELECT`, `CREATE TABLE`, `EXPLAIN`.
    pub tag: &'static str,
    /// What it does to what. Empty for a statement that touches nothing that a policy could name (`SELECT 1`, `BEGIN`).
    pub accesses: Vec<Access>,
    /// The functions that run, however they were reached (calls, operators, casts, defaults, triggers).
    pub functions: Vec<Function>,
    /// Which columns it uses, and where.
    pub columns: Vec<ColumnUse>,
    /// The pairs of columns by which rows are joined: those with the place `Joined`. Of a view's column that shows another the
    /// other stands here, without the view's.
    pub joins: Vec<(Origin, Origin)>,
    /// The constants that meet a column.
    pub meets: Vec<Meeting>,
    /// The rows that it returns.
    pub output: Output,
    /// How they are written, where it is COPY to the client.
    pub copy_out: Option<CopyOut>,
    /// The settings it changes.
    pub settings: Vec<Setting>,
    /// What it does to the transaction.
    pub transaction: Option<Transaction>,
    /// What bounds its rows.
    pub bound: Bound,
    /// What it starts besides what its text says: rules and triggers of the relations it writes, cascades.
    pub effects: BTreeSet<String>,
    /// Whether names may mean something else once it has run.
    pub barrier: Barrier,
}

/// What is done. As policies name it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Action {
    /// Rows are read. Also a row lock, `COPY … TO STDOUT` and whatever reveals rows.
    Read,
    /// Rows are added, also by `COPY … FROM STDIN`.
    Insert,
    /// Rows are changed. A sequence is advanced or set.
    Update,
    /// Rows are removed.
    Delete,
    /// A relation is emptied.
    Truncate,
    /// The schema is changed: CREATE, ALTER, DROP, COMMENT, REINDEX, VACUUM and their kind.
    Ddl,
    /// A function or procedure runs whose effect is not known to be none.
    Call,
    /// The server, its files, programs and roles: SET ROLE, GRANT, COPY with a file or program, ALTER SYSTEM.
    Admin,
}

impl Action {
    /// As policies and messages name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Ddl => "ddl",
            Self::Call => "call",
            Self::Admin => "admin",
        }
    }
}

/// One thing done to one object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Access {
    /// What.
    pub action: Action,
    /// To what.
    pub object: Object,
    /// How, where a policy may want to tell.
    pub manner: Manner,
}

/// How something is done.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Manner {
    /// As the action says.
    #[default]
    Plain,
    /// With the rows locked (`FOR UPDATE`, `FOR SHARE`), or the relation (`LOCK`).
    Locking,
    /// By COPY.
    Copy,
}

/// What an action is done to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Object {
    /// A table, view, materialised view, foreign table or sequence.
    Relation(Name),
    /// A function or procedure.
    Function(Name),
    /// A schema as a whole, or an object in it that is neither of the above (a type, an operator).
    Schema(Arc<str>),
    /// The database or the server as a whole.
    Database,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relation(name) | Self::Function(name) => write!(f, "{}.{}", name.schema, name.name),
            Self::Schema(schema) => write!(f, "schema {schema}"),
            Self::Database => f.write_str("the database"),
        }
    }
}

/// A resolved name: as the catalog has it, without quotes.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name {
    /// The schema. The session's temporary schema is `pg_temp`.
    pub schema: Arc<str>,
    /// The object.
    pub name: Arc<str>,
}

/// A function that runs.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Function {
    /// Which.
    pub name: Name,
    /// As the catalog declares it.
    pub volatility: Volatility,
    /// What is known of what it does.
    pub standing: Standing,
}

/// What a function promises, by the catalog's word for it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Volatility {
    /// The same for the same arguments.
    Immutable,
    /// The same within one statement.
    Stable,
    /// Anything.
    Volatile,
}

/// What is known of what a function does.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Standing {
    /// Built in, and changes nothing that outlives the statement.
    Harmless,
    /// Its SQL body was analysed; what it does is among the statement's accesses.
    Analysed,
    /// Built in, and changes something or reaches out of the database: `setval`, `pg_sleep`, `lo_import`.
    Effectful,
    /// Not built in, and its body says nothing that we can read. It could do anything its owner or caller may.
    Unknown,
}

impl Statement {
    /// Whether more rows may be written than those of the relations that it names: by triggers, cascades, rules and functions.
    #[must_use]
    pub fn may_write_besides(&self) -> bool {
        let only_reads = |access: &Access| matches!(access.action, Action::Read | Action::Call);
        let by_function = |function: &Function| match function.standing {
            Standing::Harmless => false,
            // What its body does is among the accesses.
            Standing::Analysed => !self.accesses.iter().all(only_reads),
            Standing::Effectful | Standing::Unknown => true,
        };
        self.effects.iter().any(|effect| !effect.starts_with(SEQUENCE) && !effect.starts_with(VIEW))
            || self.functions.iter().any(by_function)
    }

    /// One of this kind that does nothing.
    #[must_use]
    pub const fn nothing(tag: &'static str) -> Self {
        Self {
            span: 0..0,
            tag,
            accesses: Vec::new(),
            functions: Vec::new(),
            columns: Vec::new(),
            joins: Vec::new(),
            meets: Vec::new(),
            output: Output { columns: Vec::new(), open: false },
            copy_out: None,
            settings: Vec::new(),
            transaction: None,
            bound: Bound { filtered: true, limit: None },
            effects: BTreeSet::new(),
            barrier: Barrier::None,
        }
    }
}

/// The columns of a result.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Output {
    /// In order. Empty for a statement that returns no rows.
    pub columns: Vec<OutputColumn>,
    /// There may be others, of which nothing is known.
    pub open: bool,
}

/// A column of a result.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutputColumn {
    /// Its name.
    pub name: Arc<str>,
    /// Its type's object id, where it is known.
    pub ty: Option<u32>,
    /// What its values can be derived from, conditions that choose between them included. A column of a view stands here
    /// with the columns that the view takes it from, a generated column with those that it is computed from.
    pub origins: BTreeSet<Origin>,
    /// Those of its origins that its values are as they stand, where they come from them at all: of a view that shows a
    /// column both, of a set operation one of each part.
    pub direct: BTreeSet<Origin>,
}

/// A column of a relation of the database that a value can be derived from.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Origin {
    /// Of which relation.
    pub relation: Name,
    /// Its name; `None`: any of its columns.
    pub column: Option<Arc<str>>,
}

/// One use of one column. Of a view's column also those that it is made of are used; what the view's definition does with
/// them, and with others, its owner has decided, and is none.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ColumnUse {
    /// Of which relation.
    pub relation: Name,
    /// Its name; `None`: all of them, or it cannot be told which.
    pub column: Option<Arc<str>>,
    /// Where it is used.
    pub place: Place,
}

/// Where a column is used. A condition is a WHERE, HAVING, FILTER, ON or WHEN.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// It is an output column as it stands.
    Output,
    /// An output column derives from it.
    Derived,
    /// The argument of a `count`, from which nothing else derives.
    Counted,
    /// In a condition, where nothing but equality to constants or parameters, or NULL, is asked of it: `=`, `<>`, `IN`,
    /// `= ANY`, `IS DISTINCT FROM`, `IS NULL` and their negations.
    Compared,
    /// In a condition otherwise. In LIMIT.
    Filter,
    /// In a condition, as it stands, equal to another as it stands: [`Statement::joins`] names the pairs. In USING, NATURAL
    /// JOIN and `IN (SELECT …)`.
    Joined,
    /// In the condition of a join otherwise.
    Join,
    /// Rows are told apart by it: GROUP BY, DISTINCT, UNION, INTERSECT, EXCEPT.
    Group,
    /// ORDER BY.
    Order,
    /// A window's partition or order.
    Window,
    /// It is written in a new row.
    Write,
    /// It is written in a row that is there: UPDATE, ON CONFLICT DO UPDATE, MERGE.
    Overwrite,
    /// It flows into what is written, kept or sent elsewhere.
    Source,
    /// It reaches a function, operator or cast that could fail, or tell something, depending on its value.
    Argument,
    /// In the body of a function that the statement calls.
    Inside,
}

impl Place {
    /// All of them, in their order.
    pub const ALL: [Self; 15] = [
        Self::Output,
        Self::Derived,
        Self::Counted,
        Self::Compared,
        Self::Filter,
        Self::Joined,
        Self::Join,
        Self::Group,
        Self::Order,
        Self::Window,
        Self::Write,
        Self::Overwrite,
        Self::Source,
        Self::Argument,
        Self::Inside,
    ];
}

/// A constant of the statement's text, or a parameter, that meets a column.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Meeting {
    /// Which.
    pub constant: Constant,
    /// What it meets.
    pub column: Origin,
    /// How.
    pub how: Meets,
}

/// A constant, by where it stands.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Constant {
    /// The so-manieth literal of the query string, from 0: [`crate::literals()`] says where it stands. It is not told by its
    /// place, since one analysis serves all texts of a shape.
    Literal(u32),
    /// `$1` is 1.
    Parameter(u16),
}

/// How a constant meets a column.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Meets {
    /// The column is asked whether it is equal to it, as with [`Place::Compared`].
    Compared,
    /// It is written to the column.
    Written,
    /// They are in one expression.
    Other,
}

/// How COPY writes rows to the client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CopyOut {
    /// The format.
    pub format: CopyFormat,
    /// What stands between two columns.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// What stands around a value, in CSV.
    pub quote: u8,
    /// What stands before a quote inside of one, in CSV.
    pub escape: u8,
    /// Whether a line with the columns' names comes first.
    pub header: bool,
    /// The columns whose values always have quotes, by their place in the output, in CSV.
    pub force_quote: BTreeSet<usize>,
    /// The encoding of what is sent, where it is not the client's.
    pub encoding: Option<String>,
}

/// The formats of COPY.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CopyFormat {
    /// Values with tabs between and backslashes before what is special.
    #[default]
    Text,
    /// Comma-separated values.
    Csv,
    /// PostgreSQL's own binary form.
    Binary,
}

/// A setting changed by SET, RESET, `set_config` or their kin.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Setting {
    /// In lower case; `*` for RESET ALL and DISCARD ALL; `None` when it is computed.
    pub name: Option<String>,
    /// The value as text, list items joined by `, `; `None` for the default, or when it is computed.
    pub value: Option<String>,
    /// For this transaction only.
    pub local: bool,
}

/// What a statement does to the transaction.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Transaction {
    /// BEGIN or START TRANSACTION; whether it asks for READ WRITE or READ ONLY.
    Begin {
        /// As asked; `None` where it says neither.
        read_only: Option<bool>,
    },
    /// COMMIT or END.
    Commit,
    /// ROLLBACK or ABORT.
    Rollback,
    /// SAVEPOINT.
    Savepoint(String),
    /// RELEASE.
    Release(String),
    /// ROLLBACK TO.
    RollbackTo(String),
    /// PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED.
    TwoPhase,
}

/// What bounds the rows that a statement reads or writes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Bound {
    /// Whether each UPDATE and DELETE in it has a WHERE that names a column. True when there is none of either.
    pub filtered: bool,
    /// The outermost LIMIT or FETCH, where it is a constant.
    pub limit: Option<u64>,
}

/// Whether names may mean something else once the statement has run.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Barrier {
    /// They mean what they meant.
    #[default]
    None,
    /// They may: DDL, ROLLBACK, a change of role or search path, a function that was not analysed.
    Names,
}

/// Why there are no facts of a string. The client is told; nothing of it runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What kind of trouble.
    pub cause: Cause,
    /// A sentence for whoever sent it: what could not be understood.
    pub message: String,
    /// What to do instead.
    pub hint: String,
    /// Where in the string, in bytes, when it is known.
    pub position: Option<usize>,
}

/// The kinds of trouble, each with its SQLSTATE.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Cause {
    /// Not SQL by PostgreSQL's grammar: 42601.
    Syntax,
    /// SQL, but what it would do cannot be told: 0A000.
    Unresolved,
    /// A relation, column or function that does not exist: the server's own answer is better than ours, so the caller may
    /// forward such a statement when it is certain to fail. 42P01, 42703, 42883.
    Missing,
    /// Over a limit of length or depth: 54000 or 54001.
    TooComplex,
}
