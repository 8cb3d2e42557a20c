//! Whether a statement can change nothing at all.
//!
//! It is a list of what is allowed: reads without locks, functions that are known, settings of one's own results.

use crate::{
    facts::{Action, Manner, Object, Standing, Statement, Transaction},
    guards, settings,
};

/// Why a statement is not read-only.
#[derive(Clone, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Reason {
    /// It writes, changes the schema or the server.
    #[error("it does more than read: {0}")]
    Action(&'static str),
    /// It locks rows or relations.
    #[error("it locks what it reads")]
    Locks,
    /// It calls something that changes more than its result.
    #[error("the function {0} has effects")]
    Effectful(String),
    /// It calls something that nobody but its owner knows.
    #[error("it is not known what the function {0} does")]
    Unknown(String),
    /// It changes a setting that a reader has no business with.
    #[error("a reader may not change the setting {0}")]
    Setting(String),
    /// It asks for a transaction that may write.
    #[error("it asks for a transaction that may write")]
    ReadWrite,
    /// It takes part in a two-phase commit.
    #[error("it takes part in a two-phase commit")]
    TwoPhase,
}

impl Reason {
    /// The guard that gives it.
    fn guard(&self) -> &'static str {
        match self {
            Self::Action(action) => action,
            Self::Locks => "locks",
            Self::Effectful(_) => "functions with effects",
            Self::Unknown(_) => "functions that are not known",
            Self::Setting(_) => "settings",
            Self::ReadWrite => "transactions that may write",
            Self::TwoPhase => "two-phase commit",
        }
    }
}

/// Whether a statement can change nothing at all.
///
/// # Errors
///
/// The first reason why it could.
pub fn read_only(statement: &Statement) -> Result<(), Reason> {
    for access in &statement.accesses {
        match (access.action, access.manner) {
            (Action::Read, Manner::Locking) => stop(Reason::Locks)?,
            (Action::Read, Manner::Plain | Manner::Copy) => {}
            // Told below, by the function's name.
            (Action::Call, _) if matches!(access.object, Object::Function(_)) => {}
            (action, _) => stop(Reason::Action(action.as_str()))?,
        }
    }
    for function in &statement.functions {
        let name = || format!("{}.{}", function.name.schema, function.name.name);
        match function.standing {
            Standing::Harmless | Standing::Analysed => {}
            Standing::Effectful if statement_sets(statement, &function.name.name) => {}
            Standing::Effectful => stop(Reason::Effectful(name()))?,
            Standing::Unknown => stop(Reason::Unknown(name()))?,
        }
    }
    for setting in &statement.settings {
        match setting.name.as_deref() {
            // What it resets to is what the session began with.
            Some("*") => {}
            Some(name) if settings::is_readers(name, setting.value.as_deref()) => {}
            Some(name) => stop(Reason::Setting(name.to_owned()))?,
            None => stop(Reason::Setting("whose name is computed".to_owned()))?,
        }
    }
    match statement.transaction {
        Some(Transaction::Begin { read_only: Some(false) }) => stop(Reason::ReadWrite),
        Some(Transaction::TwoPhase) => stop(Reason::TwoPhase),
        _ => Ok(()),
    }
}

fn stop(reason: Reason) -> Result<(), Reason> {
    if guards::stops(reason.guard()) { Err(reason) } else { Ok(()) }
}

/// `set_config` with a constant name is judged by the setting.
fn statement_sets(statement: &Statement, function: &str) -> bool {
    function == "set_config" && !statement.settings.is_empty()
}
