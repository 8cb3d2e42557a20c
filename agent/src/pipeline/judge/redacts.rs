//! What is not recorded of the statement that is judged.

use super::{Judge, Statement, Verdict};
use crate::pipeline::{
    binds::Bound,
    redact::{Names, Redacted, Redaction},
};
use postern_proto::v1::StatementKind;
use std::{cell::RefCell, rc::Rc};

/// What was not to be recorded of a text, by rules of which counter.
#[derive(Debug, Default)]
pub(super) struct Redacts(RefCell<Option<(u64, Redaction)>>);

impl Judge {
    /// What is recorded in place of the text of the statement that was judged last; nothing: it is recorded as it stands.
    #[must_use]
    pub fn redacted(&self, statement: &Statement) -> Option<Rc<Redacted>> {
        let prepared = &statement.prepared;
        // A text of our own.
        if self.redaction == Redaction::Nothing
            || prepared.made_by_sql.is_some()
            || statement.kind == StatementKind::FunctionCall
        {
            return None;
        }
        let mut last = prepared.redacted.borrow_mut();
        if let Some((redaction, redacted)) = &*last
            && *redaction == self.redaction
        {
            return Some(Rc::clone(redacted));
        }
        let redacted = Rc::new(self.redaction.text(prepared.text.bytes(), self.context.lexing)?);
        *last = Some((self.redaction.clone(), Rc::clone(&redacted)));
        Some(redacted)
    }

    /// Takes out of the values that it is run with what is not recorded.
    pub fn redact(&self, bound: &mut Bound) {
        self.redaction.bound(bound);
    }

    /// A statement comes of which nothing is known.
    pub(super) fn redacts_blindly(&mut self, statement: &Statement) {
        self.redaction = if !self.policy.masks_anything() {
            Redaction::Nothing
        } else if self.resting {
            self.redaction_by_name(statement.prepared.text.bytes())
        } else {
            Redaction::Values
        };
    }

    /// It was looked at.
    pub(super) fn redacts(&mut self, verdict: &Verdict) {
        let Ok(facts) = self.policy.facts() else { return };
        let Ok(analysis) = &verdict.analysis else { return };
        if self.redaction == Redaction::Nothing {
            return;
        }
        let counter = self.policy.counter();
        let mut known = verdict.redaction.0.borrow_mut();
        if let Some((of, redaction)) = &*known
            && *of == counter
        {
            self.redaction = redaction.clone();
            return;
        }
        self.redaction = Redaction::of(&analysis.script, &facts.objects);
        *known = Some((counter, self.redaction.clone()));
    }

    fn redaction_by_name(&mut self, text: &[u8]) -> Redaction {
        let counter = self.policy.counter();
        if self.tagged.as_ref().is_none_or(|(of, _)| *of != counter) {
            let names = self.policy.facts().map(|facts| Names::of(&facts.objects));
            self.tagged = names.ok().map(|names| (counter, names));
        }
        self.tagged.as_ref().map_or(Redaction::Values, |(_, names)| names.redaction(text))
    }
}
