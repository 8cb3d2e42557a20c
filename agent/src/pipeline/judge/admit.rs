//! Whether what was understood is permitted.

use super::{
    Judge, MAX_VERDICTS, Statement, Verdict,
    parsed::Parsed,
    report::{frozen, more_than_reading, names_have_changed, of_several, prepared_unseen},
    with_statements,
};
use crate::pipeline::{basis::Ruled, inspect::Prepared};
use postern_proto::v1::StatementKind;
use postern_sql::{
    Analysis, Handle,
    facts::{self, Script, Transaction},
    read_only,
};
use postern_wire::error::Report;
use std::{cell::RefCell, rc::Rc};

/// What policies permitted the statements of a text last, and by rules of which counter.
#[derive(Debug, Default)]
pub(super) struct Permitted(RefCell<Option<(u64, Ruled)>>);

impl Permitted {
    /// Whether they would permit the same again.
    fn again(&self, counter: u64, ruled: &mut Ruled) -> bool {
        let last = self.0.borrow();
        let last = last.as_ref().filter(|(of, last)| *of == counter && last.lifetime.covers(ruled.moment.now));
        let Some((_, last)) = last else { return false };
        *ruled = Ruled { moment: ruled.moment, ..last.clone() };
        true
    }

    fn keep(&self, counter: u64, ruled: &Ruled) {
        *self.0.borrow_mut() = Some((counter, ruled.clone()));
    }
}

impl Judge {
    /// Whether everything may run that a statement may stand for.
    pub(super) fn admit_all(
        &mut self,
        statement: &Statement,
        verdict: &Verdict,
        analysis: &Analysis,
        parsed: &Parsed,
        failed: bool,
        ruled: &mut Ruled,
    ) -> Result<(), Report> {
        // In a freeze it matters, too, what the transaction has done.
        if self.frozen || !verdict.permitted.again(self.policy.counter(), ruled) {
            self.admit(&analysis.script, failed, ruled)?;
            self.cover(&analysis.script, ruled)?;
            verdict.permitted.keep(self.policy.counter(), ruled);
        }
        if statement.kind == StatementKind::Execute && statement.prepared.made_by_sql.is_none() {
            self.admit_as_planned(&statement.prepared, verdict, failed, ruled)?;
        }
        self.admit_executed(analysis, parsed, failed, ruled)
    }

    /// A prepared statement may have been planned when it meant something else: that has to be permitted as well.
    pub(super) fn admit_as_planned(
        &self,
        prepared: &Prepared,
        verdict: &Verdict,
        failed: bool,
        ruled: &mut Ruled,
    ) -> Result<(), Report> {
        let mut judged = prepared.judged.borrow_mut();
        let judged = judged.as_mut().ok_or_else(prepared_unseen)?;
        let known = |known: &Verdict| Rc::ptr_eq(known, verdict) || known.analysis == verdict.analysis;
        match judged.verdicts.last() {
            Some(last) if Rc::ptr_eq(last, verdict) => {}
            _ if judged.verdicts.iter().any(known) => {}
            _ if judged.verdicts.len() >= MAX_VERDICTS => return Err(names_have_changed()),
            _ => judged.verdicts.push(Rc::clone(verdict)),
        }
        let now = verdict.analysis.as_ref().map(|analysis| analysis.script.statements.as_slice()).unwrap_or_default();
        for earlier in judged.verdicts.iter().filter(|earlier| !Rc::ptr_eq(earlier, verdict)) {
            if let Ok(analysis) = &earlier.analysis {
                self.admit(&analysis.script, failed, ruled)?;
                for (earlier, now) in analysis.script.statements.iter().zip(now) {
                    self.is_shown_alike(earlier, now, ruled)?;
                }
            }
        }
        Ok(())
    }

    /// Likewise of what SQL executes, unless the string itself has just prepared it.
    fn admit_executed(
        &mut self,
        analysis: &Analysis,
        parsed: &Parsed,
        failed: bool,
        ruled: &mut Ruled,
    ) -> Result<(), Report> {
        let mut here = Vec::new();
        for (statement, handle) in with_statements(analysis) {
            match handle {
                Handle::Prepare { name, .. } => here.push(name),
                Handle::Execute(name) if here.contains(&name) => {}
                Handle::Execute(name) => {
                    if let Some(prepared) = parsed.get(name) {
                        self.admit_parsed(prepared, failed, ruled)?;
                        continue;
                    }
                    for earlier in self.made.planned(name, self.now, statement)? {
                        self.admit_one(&earlier, failed, ruled)?;
                        self.is_shown_alike(&earlier, statement, ruled)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether each statement of a string may run, and within which limits.
    pub(super) fn admit(&self, script: &Script, failed: bool, ruled: &mut Ruled) -> Result<(), Report> {
        for statement in &script.statements {
            let admitted = self.admit_one(statement, failed, ruled);
            let several = script.statements.len() > 1;
            admitted.map_err(|report| if several { of_several(report, statement) } else { report })?;
        }
        Ok(())
    }

    fn admit_one(&self, statement: &facts::Statement, failed: bool, ruled: &mut Ruled) -> Result<(), Report> {
        if self.read_only {
            read_only(statement).map_err(|reason| more_than_reading(&self.role, statement, &reason))?;
        }
        if let Some(prefix) = &self.prefix {
            prefix.admit(statement)?;
        }
        self.policy.admit(statement, ruled)?;
        match statement.transaction {
            Some(Transaction::Commit) if self.frozen && self.wrote && !failed => {
                Err(frozen("to commit what this transaction has changed"))
            }
            Some(Transaction::TwoPhase) if self.frozen => Err(frozen("a two-phase commit")),
            _ => Ok(()),
        }
    }
}
