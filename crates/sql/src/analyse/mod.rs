//! From a syntax tree and the catalog to facts.
//!
//! - `scope`: the names that a part of a statement sees; `flow`: where values come from
//! - `names`: relations, functions, types by the session's search path
//! - `statement`: each kind of statement, one treatment each; `utility`, `copy`, `session`, `ddl`, `alter` hold them
//! - `query`, `labels`, `from`, `write`: SELECT, FROM, INSERT to MERGE
//! - `expr`, `condition`, `call`, `argument`, `casts`, `json`: expressions and conditions; functions, operators and casts
//! - `effects`, `routines`: what a relation or function starts besides what the text says
//! - `script`: a query string of several statements; `finish`: the facts of each

mod alter;
mod argument;
mod call;
mod casts;
mod condition;
mod copy;
mod ddl;
mod effects;
mod expr;
mod finish;
mod flow;
mod from;
mod json;
mod labels;
mod names;
mod query;
mod routines;
mod scope;
mod script;
mod session;
mod statement;
mod utility;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use crate::{
    catalog::Catalog,
    context::Context,
    facts::{
        Access, Action, Barrier, Bound, Cause, CopyOut, Function, Manner, Meets, Name, Object, Origin, OutputColumn,
        Place, Refusal, Script, Setting, Statement, Transaction,
    },
    memo::Shown,
    parse::too_complex,
    shape::Free,
};
use flow::{Flow, Key};
use scope::{Arguments, Scope};

pub use script::{analyse, analyse_in_full};
pub use session::executed;

/// How deep a statement may nest. PostgreSQL's own limit (`max_stack_depth`) is of this order.
const MAX_DEPTH: u32 = 2_000;
/// How many nodes one query string may have, those of the view definitions and function bodies that it reaches included.
/// What is over it takes more than about a second to analyse.
const MAX_NODES: u32 = 2_000_000;

/// The facts of a query string, and what each statement does to the session's prepared statements and cursors.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Analysis {
    /// The facts.
    pub script: Script,
    /// For each statement in the script's order.
    pub handles: Vec<Vec<Handle>>,
    /// Which literals could have other values with the same facts. `None`: it cannot be told.
    pub free: Option<Free>,
}

impl Analysis {
    /// Whether nothing in it makes, runs or closes a prepared statement or cursor.
    #[must_use]
    pub fn has_no_handles(&self) -> bool {
        self.handles.iter().all(Vec::is_empty)
    }

    /// The memory that it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of_column = |column: &OutputColumn| {
            size_of::<OutputColumn>() + (column.origins.len() + column.direct.len()) * size_of::<Origin>()
        };
        let of = |statement: &Statement| {
            let texts = statement.settings.iter().flat_map(|setting| [&setting.name, &setting.value]).flatten();
            let texts: usize = texts.chain(&statement.effects).map(|text| text.len() + size_of::<String>()).sum();
            size_of_val(statement.accesses.as_slice())
                + size_of_val(statement.functions.as_slice())
                + size_of_val(statement.columns.as_slice())
                + size_of_val(statement.joins.as_slice())
                + size_of_val(statement.meets.as_slice())
                + statement.output.columns.iter().map(of_column).sum::<usize>()
                + texts
                + size_of::<Statement>()
        };
        let handles = self.handles.iter().flatten().map(|handle| match handle {
            Handle::Prepare { query, .. } => query.len(),
            Handle::Declare { facts, .. } => of(facts),
            _ => size_of::<Handle>(),
        });
        self.script.statements.iter().map(of).chain(handles).sum()
    }
}

/// What a statement does to the session's prepared statements and cursors. The caller keeps the tables in [`Context`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Handle {
    /// PREPARE: the name, and the text that it stands for from now on.
    Prepare {
        /// The name.
        name: String,
        /// The statement's text.
        query: Arc<str>,
    },
    /// EXECUTE of this name.
    Execute(String),
    /// DEALLOCATE of this name; `None` for all.
    Deallocate(Option<String>),
    /// DECLARE: the name, and the facts of the cursor's query.
    Declare {
        /// The name.
        name: String,
        /// The facts that each FETCH has again.
        facts: Arc<Statement>,
        /// Whether it outlives the transaction.
        hold: bool,
    },
    /// FETCH or MOVE of this name.
    Fetch(String),
    /// CLOSE of this name; `None` for all.
    Close(Option<String>),
}

/// What has been found out about the statement at hand.
#[derive(Debug, Default)]
struct Facts {
    accesses: BTreeSet<Access>,
    functions: BTreeSet<Function>,
    uses: BTreeSet<(Key, Place)>,
    /// Pairs of columns by which rows are joined, the lesser first.
    joins: BTreeSet<(Key, Key)>,
    /// Constants, the columns that they meet, and how.
    meets: BTreeSet<(u64, Key, Meets)>,
    output: query::Output,
    /// What a cursor gives and uses, whose query was analysed before.
    fetched: Option<Arc<Statement>>,
    /// What the columns of the view, or generated columns, at hand are made of.
    shown: Vec<Shown>,
    copy_out: Option<CopyOut>,
    settings: Vec<Setting>,
    transaction: Option<Transaction>,
    unfiltered: bool,
    limit: Option<u64>,
    effects: BTreeSet<String>,
    barrier: Barrier,
    handles: Vec<Handle>,
    /// Whether values are turned into JSON.
    makes_json: bool,
    /// Users' types of which the statement makes values by casts.
    types: BTreeSet<u32>,
    /// Whether a value of a type that is not known is an operand, so that any implicit cast may be made of it.
    unknown_operand: bool,
    /// Whether one is a condition, a limit or a subscript, by whichever cast that takes.
    unknown_used: bool,
    /// Functions that are called and not yet judged.
    called: Vec<u32>,
    /// The same of those that definitions call, of views, defaults, policies. What their bodies use is their owners' doing.
    started: Vec<u32>,
    /// Whether something could not be understood that does not stop the statement from running.
    unknown: bool,
}

/// Works through one query string.
struct Analyser<'a> {
    catalog: &'a Catalog,
    context: Context,
    facts: Facts,
    depth: u32,
    nodes: u32,
    /// References to the relation that is written, which tell whether a WHERE is about it.
    target_hits: u32,
    /// The functions of this statement that were judged.
    judged: HashSet<u32>,
    /// Of those of them whose bodies were analysed, what their results come from and what they use.
    bodies: HashMap<u32, Rc<routines::Body>>,
    /// How many of the functions that are called were looked into for what their results come from.
    drawn: usize,
    /// Whether the text at hand is the client's, so that its literals are constants of the statement.
    own_text: bool,
    /// The windows that the query at hand has names for, and what they are made of.
    windows: Vec<(String, Flow)>,
    /// Whether the text at hand is a definition of the catalog, which is read once for all sessions.
    defining: bool,
    /// What the result of the function whose body this is comes from.
    returned: Flow,
    /// The values of the parameters of what EXECUTE runs.
    given: Option<Rc<Vec<Flow>>>,
    /// What the string itself made so far, by name: columns are known or not.
    made: BTreeMap<Name, script::Made>,
    /// Whether an earlier statement of the string made it unknown what names mean.
    lost: Option<&'static str>,
    /// Whether it is unknown, too, in which schemas names are looked up.
    lost_path: bool,
    /// The arguments of the function whose body this is.
    arguments: Option<Rc<Arguments>>,
    /// The relations, types and functions whose definitions are being read, outermost first.
    active: Vec<u32>,
    /// The one value that the column `name` of pg_settings has in the query at hand.
    setting_name: Option<String>,
    /// The schema that the CREATE SCHEMA at hand makes.
    new_schema: Option<Arc<str>>,
    /// Whether the string changed a setting that names depend on for its transaction only.
    local: bool,
    /// The text of the statement at hand, for what quotes it.
    text: Arc<str>,
    /// Whether the value of a literal that stands in a condition says what is done.
    reads_values: bool,
}

/// The result of a step that may refuse.
type Step<T = ()> = Result<T, Refusal>;

impl<'a> Analyser<'a> {
    fn new(catalog: &'a Catalog, context: Context, text: Arc<str>) -> Self {
        Self {
            catalog,
            context,
            facts: Facts::default(),
            depth: 0,
            nodes: 0,
            target_hits: 0,
            judged: HashSet::new(),
            bodies: HashMap::new(),
            drawn: 0,
            own_text: true,
            windows: Vec::new(),
            defining: false,
            returned: Flow::default(),
            given: None,
            made: BTreeMap::new(),
            lost: None,
            lost_path: false,
            setting_name: None,
            new_schema: None,
            local: false,
            arguments: None,
            active: Vec::new(),
            text,
            reads_values: false,
        }
    }

    /// What is in sight where nothing is but a function's arguments.
    fn root<'p>(&self) -> Scope<'p, 'a> {
        Scope { arguments: self.arguments.clone(), ..Scope::default() }
    }

    /// Goes one level down. Each is followed by a `leave`, or by giving up altogether.
    fn enter(&mut self) -> Step {
        self.depth += 1;
        self.nodes += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_complex("the statement nests too deeply"));
        }
        if self.nodes > MAX_NODES {
            return Err(too_complex("the statement, with the views and functions that it uses, is too large"));
        }
        Ok(())
    }

    const fn leave(&mut self) {
        self.depth -= 1;
    }

    fn access(&mut self, action: Action, object: Object) {
        self.facts.accesses.insert(Access { action, object, manner: Manner::Plain });
    }

    fn access_in(&mut self, action: Action, object: Object, manner: Manner) {
        self.facts.accesses.insert(Access { action, object, manner });
    }

    /// The server, its files, programs and roles.
    fn admin(&mut self) {
        self.access(Action::Admin, Object::Database);
    }

    fn effect(&mut self, effect: String) {
        self.facts.effects.insert(effect);
    }

    const fn barrier(&mut self) {
        self.facts.barrier = Barrier::Names;
    }

    /// Counts work that is not that of a node.
    fn charge(&mut self, work: usize) {
        self.nodes = self.nodes.saturating_add(u32::try_from(work).unwrap_or(u32::MAX));
    }

    /// Records that what flowed here is used in this place.
    fn use_flow(&mut self, flow: &Flow, place: Place) {
        self.facts.uses.extend(flow.origins.iter().map(|origin| (origin, place)));
    }

    fn bound(&self) -> Bound {
        Bound { filtered: !self.facts.unfiltered, limit: self.facts.limit }
    }
}

/// The refusal of what is SQL but whose meaning we cannot tell.
fn unresolved(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal { cause: Cause::Unresolved, message: message.into(), hint: hint.into(), position: None }
}

/// The refusal of what names something that does not exist.
fn missing(message: impl Into<String>, position: i32) -> Refusal {
    Refusal {
        cause: Cause::Missing,
        message: message.into(),
        hint: "Check the name and the search path.".into(),
        position: usize::try_from(position).ok(),
    }
}

/// The refusal of a part of the tree that is not where the grammar puts it.
fn unexpected(what: &str) -> Refusal {
    unresolved(format!("{what} is not understood here"), "Put the statement in another way.")
}
