//! What is to be tried.

use super::Screen;
use postern_sql::excerpt::Count;
use std::collections::HashMap;

/// How far a statement may be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It runs, and is rolled back.
    Run,
    /// It is planned, and its rows are counted without it. Why it does not run.
    Plan(String),
    /// Nothing of it is sent to the server. Why.
    Nothing(String),
}

/// The relation that a statement changes.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its object id.
    pub oid: u32,
    /// As it is shown.
    pub name: String,
    /// As statements name it.
    pub quoted: String,
    /// Which of inserted, updated and deleted its rows are.
    pub change: usize,
    /// See [`postern_sql::excerpt::Excerpt`].
    pub before: Option<String>,
    /// Likewise.
    pub count: Option<Count>,
    /// Likewise.
    pub returning: Option<String>,
    /// Rows that were there are there afterwards, so that they are shown again.
    pub stays: bool,
    /// What hides its masked columns. `None`: none of its rows are shown.
    pub screen: Option<Screen>,
}

/// A statement that is to be tried.
#[derive(Clone, Debug)]
pub struct Of {
    /// Its text.
    pub text: Vec<u8>,
    /// The types that its parameters were declared to have.
    pub types: Vec<u32>,
    /// The formats and values that it is bound with, as a Bind has them, but for the formats of results.
    pub values: Option<Vec<u8>>,
    /// A transaction is open.
    pub in_transaction: bool,
    /// How far.
    pub trial: Trial,
    /// The relation that it changes, where it is one.
    pub target: Option<Target>,
    /// The relations that it names and their parts, by object id: what they count as, and how that is shown.
    pub named: HashMap<u32, (u32, String)>,
    /// Something of the database is masked: what the server says of errors may carry it.
    pub withholds: bool,
    /// What people should know.
    pub notes: Vec<String>,
}
