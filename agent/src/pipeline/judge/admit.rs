//! Whether what was understood is permitted.

use super::{
    Judge, Limits, MAX_VERDICTS, Statement, Verdict,
    report::{frozen, more_than_reading, names_have_changed, of_several, prepared_unseen},
    with_statements,
};
use postern_sql::{
    Analysis, Handle,
    facts::{self, Script, Transaction},
    read_only,
};
use postern_wire::error::Report;
use std::rc::Rc;

impl Judge {
    /// A prepared statement may have been planned when it meant something else: that has to be permitted as well.
    pub(super) fn admit_as_planned(
        &self,
        statement: &Statement,
        verdict: &Verdict,
        failed: bool,
        limits: &mut Limits,
    ) -> Result<(), Report> {
        let mut judged = statement.prepared.judged.borrow_mut();
        let judged = judged.as_mut().ok_or_else(prepared_unseen)?;
        let known = |known: &Verdict| Rc::ptr_eq(known, verdict) || known == verdict;
        match judged.verdicts.last() {
            Some(last) if Rc::ptr_eq(last, verdict) => {}
            _ if judged.verdicts.iter().any(known) => {}
            _ if judged.verdicts.len() >= MAX_VERDICTS => return Err(names_have_changed()),
            _ => judged.verdicts.push(Rc::clone(verdict)),
        }
        for earlier in judged.verdicts.iter().filter(|earlier| !Rc::ptr_eq(earlier, verdict)) {
            if let Ok(analysis) = &**earlier {
                self.admit(&analysis.script, failed, limits)?;
            }
        }
        Ok(())
    }

    /// Likewise of what SQL has prepared and executes, unless the string itself has just prepared it.
    pub(super) fn admit_executed(
        &mut self,
        analysis: &Analysis,
        failed: bool,
        limits: &mut Limits,
    ) -> Result<(), Report> {
        let mut here = Vec::new();
        for (statement, handle) in with_statements(analysis) {
            match handle {
                Handle::Prepare { name, .. } => here.push(name),
                Handle::Execute(name) if !here.contains(&name) => {
                    for earlier in self.made.planned(name, self.now, statement)? {
                        self.admit_one(&earlier, failed, limits)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether each statement of a string may run, and within which limits.
    pub(super) fn admit(&self, script: &Script, failed: bool, limits: &mut Limits) -> Result<(), Report> {
        for statement in &script.statements {
            let admitted = self.admit_one(statement, failed, limits);
            let several = script.statements.len() > 1;
            admitted.map_err(|report| if several { of_several(report, statement) } else { report })?;
        }
        Ok(())
    }

    fn admit_one(&self, statement: &facts::Statement, failed: bool, limits: &mut Limits) -> Result<(), Report> {
        if self.read_only {
            read_only(statement).map_err(|reason| more_than_reading(&self.role, statement, &reason))?;
        }
        if let Some(prefix) = &self.prefix {
            prefix.admit(statement)?;
        }
        self.policy.admit(statement, limits)?;
        match statement.transaction {
            Some(Transaction::Commit) if self.frozen && self.wrote && !failed => {
                Err(frozen("to commit what this transaction has changed"))
            }
            Some(Transaction::TwoPhase) if self.frozen => Err(frozen("a two-phase commit")),
            _ => Ok(()),
        }
    }
}
