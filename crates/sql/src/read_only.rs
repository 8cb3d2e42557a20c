//! Whether a statement can change nothing at all.
//!
//! It is a list of what is allowed: reads without locks, functions that are known, settings of one's own results.

use crate::{
    facts::{Action, Manner, Object, Standing, Statement, Transaction},
    settings,
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

/// Whether a statement can change nothing at all.
///
/// # Errors
///
/// The first reason why it could.
pub fn read_only(statement: &Statement) -> Result<(), Reason> {
    for access in &statement.accesses {
        match (access.action, access.manner) {
            (Action::Read, Manner::Locking) => return Err(Reason::Locks),
            (Action::Read, Manner::Plain | Manner::Copy) => {}
            // Told below, by the function's name.
            (Action::Call, _) if matches!(access.object, Object::Function(_)) => {}
            (action, _) => return Err(Reason::Action(action.as_str())),
        }
    }
    for function in &statement.functions {
        let name = || format!("{}.{}", function.name.schema, function.name.name);
        match function.standing {
            Standing::Harmless | Standing::Analysed => {}
            Standing::Effectful if statement_sets(statement, &function.name.name) => {}
            Standing::Effectful => return Err(Reason::Effectful(name())),
            Standing::Unknown => return Err(Reason::Unknown(name())),
        }
    }
    for setting in &statement.settings {
        match setting.name.as_deref() {
            // What it resets to is what the session began with.
            Some("*") => {}
            Some(name) if settings::is_readers(name, setting.value.as_deref()) => {}
            Some(name) => return Err(Reason::Setting(name.to_owned())),
            None => return Err(Reason::Setting("whose name is computed".to_owned())),
        }
    }
    match statement.transaction {
        Some(Transaction::Begin { read_only: Some(false) }) => Err(Reason::ReadWrite),
        Some(Transaction::TwoPhase) => Err(Reason::TwoPhase),
        _ => Ok(()),
    }
}

/// `set_config` with a constant name is judged by the setting.
fn statement_sets(statement: &Statement, function: &str) -> bool {
    function == "set_config" && !statement.settings.is_empty()
}
