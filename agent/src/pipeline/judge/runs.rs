//! What a statement that goes on changes of what names mean.

use super::{Judge, names::Names};
use postern_sql::{
    Analysis,
    facts::{self, Barrier, Standing, Transaction},
};

impl Judge {
    /// Keeps whether names may mean something else after the statements, and what they make.
    pub(super) fn runs(&mut self, analysis: &Analysis) {
        if self.made.runs(analysis, self.now) {
            self.names = Names::DOUBTFUL;
        }
        for statement in &analysis.script.statements {
            let names = statement.barrier == Barrier::Names;
            self.touched |= names && !statement.settings.is_empty();
            let ends = matches!(
                statement.transaction,
                Some(Transaction::Commit | Transaction::Rollback | Transaction::RollbackTo(_))
            );
            if matches!(statement.transaction, Some(Transaction::Commit | Transaction::Rollback)) {
                self.transaction_ends();
            }
            let fleeting = self.touched || self.context.uncommitted || self.wrote;
            if if ends { fleeting } else { names } {
                self.names = Names::DOUBTFUL;
            }
            if let Some(surely) = changes_catalog(statement) {
                self.sight.may_change(surely);
            } else if ends && self.context.uncommitted {
                self.sight.may_change(false);
            }
        }
        if self.sight.is_own() && !self.context.uncommitted {
            self.context.uncommitted = true;
            self.forget();
        }
    }
}

/// Whether a statement changes the catalog, surely or maybe; `None`: it does not. What it does to settings alone is asked of
/// the session, and the end of a transaction is judged by what was done in it.
fn changes_catalog(statement: &facts::Statement) -> Option<bool> {
    if statement.barrier != Barrier::Names {
        return None;
    }
    let surely = statement.accesses.iter().any(|access| access.action == facts::Action::Ddl);
    let unknown = statement.functions.iter().any(|function| function.standing == Standing::Unknown);
    let ends = matches!(statement.transaction, Some(Transaction::Rollback | Transaction::RollbackTo(_)));
    let only_sets = !statement.settings.is_empty() && !statement.tag.starts_with("DISCARD");
    (surely || unknown || !(ends || only_sets)).then_some(surely)
}
