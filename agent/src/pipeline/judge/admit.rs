//! Whether what was understood is permitted.

use super::{
    Judge, MAX_VERDICTS, Statement, Verdict,
    parsed::Parsed,
    report::{frozen, more_than_reading, names_have_changed, not_understood, of_several, prepared_unseen},
    with_statements,
};
use crate::pipeline::{
    basis::{Basis, Kept, Ruled},
    decide::{Refused, Terms},
    inspect::Prepared,
};
use postern_policy::{Lifetime, Moment};
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
pub(super) struct Permitted(RefCell<Option<Permit>>);

#[derive(Debug)]
struct Permit {
    counter: u64,
    lifetime: Lifetime,
    terms: Terms,
    /// What that rests on, and whether values are to be recorded.
    basis: Option<(Rc<Kept>, bool)>,
}

impl Permitted {
    /// Whether they would permit the same again, on what terms, and what that rests on.
    pub(super) fn again(&self, counter: u64, moment: &Moment) -> Option<(Terms, Option<Basis>)> {
        let last = self.0.borrow();
        let last = last.as_ref().filter(|last| last.counter == counter && last.lifetime.covers(moment.now))?;
        let basis = |(kept, record_binds): &(Rc<Kept>, bool)| Basis {
            moment: *moment,
            kept: Rc::clone(kept),
            record_binds: *record_binds,
        };
        Some((last.terms.clone(), last.basis.as_ref().map(basis)))
    }

    fn keep(&self, counter: u64, lifetime: Lifetime, terms: &Terms, basis: Option<&Basis>) {
        let basis = basis.map(|basis| (Rc::clone(&basis.kept), basis.record_binds));
        *self.0.borrow_mut() = Some(Permit { counter, lifetime, terms: terms.clone(), basis });
    }
}

/// Whether a statement, or what it may have been planned as, may write more rows than its command tag counts.
fn may_write_besides(statement: &Statement, analysis: &Analysis) -> bool {
    let besides = |analysis: &Analysis| analysis.script.statements.iter().any(facts::Statement::may_write_besides);
    let judged = statement.prepared.judged.borrow();
    let mut planned = judged.iter().flat_map(|judged| &judged.verdicts);
    besides(analysis) || planned.any(|verdict| verdict.analysis.as_ref().is_ok_and(besides))
}

impl Judge {
    /// Whether policies are asked of nothing but the statements of the text, so that what they permitted last counts. In a
    /// freeze it matters, too, what the transaction has done.
    pub(super) fn asks_of_text_alone(&self, statement: &Statement, verdict: &Verdict) -> bool {
        let planned = || {
            let judged = statement.prepared.judged.borrow();
            judged
                .as_ref()
                .is_some_and(|judged| matches!(judged.verdicts.as_slice(), [only] if Rc::ptr_eq(only, verdict)))
        };
        !self.frozen
            && verdict.analysis.as_ref().is_ok_and(Analysis::has_no_handles)
            && (statement.kind != StatementKind::Execute || planned())
    }

    /// Whether a statement may run, on what terms, and what that rests on.
    pub(super) fn rule(
        &mut self,
        statement: &Statement,
        verdict: &Verdict,
        parsed: &Parsed,
        failed: bool,
    ) -> Result<(Terms, Option<Basis>), Refused> {
        let analysis = verdict.analysis.as_ref().map_err(|refusal| not_understood(refusal))?;
        let (moment, counter) = (self.policy.moment(), self.policy.counter());
        if self.asks_of_text_alone(statement, verdict)
            && let Some(permitted) = verdict.permitted.again(counter, &moment)
        {
            return Ok(permitted);
        }
        let mut ruled = Ruled::at(moment);
        let admitted = self.admit_all(statement, verdict, analysis, parsed, failed, &mut ruled);
        let mut terms = Terms {
            limits: std::mem::take(&mut ruled.limits),
            masks: ruled.masks.take(),
            consent: ruled.consent.take().map(Rc::new),
        };
        terms.limits.writes_besides = may_write_besides(statement, analysis);
        let lifetime = ruled.lifetime;
        let by_policies = admitted.is_ok() || ruled.refused.is_some();
        let basis = self.policy.basis(ruled, analysis, &verdict.basis)?.filter(|_| by_policies);
        if let Err(report) = admitted {
            return Err(Refused { report: Box::new(report), basis, review: None });
        }
        // What it was planned as may have been learnt just now.
        if self.asks_of_text_alone(statement, verdict) {
            verdict.permitted.keep(counter, lifetime, &terms, basis.as_ref());
        }
        Ok((terms, basis))
    }

    /// Whether everything may run that a statement may stand for.
    fn admit_all(
        &mut self,
        statement: &Statement,
        verdict: &Verdict,
        analysis: &Analysis,
        parsed: &Parsed,
        failed: bool,
        ruled: &mut Ruled,
    ) -> Result<(), Report> {
        self.admit(&analysis.script, failed, ruled)?;
        self.cover(&analysis.script, ruled)?;
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
