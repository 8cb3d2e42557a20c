//! What messages have prepared and SQL executes: PostgreSQL has one namespace for both. What is known of a name that a Parse
//! has given is the [`Inspector`]'s to say.

use super::{
    Judge,
    report::{names_have_changed, not_understood, prepared_unseen},
};
use crate::pipeline::{
    basis::Ruled,
    inspect::{Inspector, Prepared},
};
use postern_sql::{Context, executed, parse::text_of};
use postern_wire::error::Report;
use std::{collections::BTreeMap, rc::Rc};

/// What a text may execute of it, by name.
#[derive(Debug, Default)]
pub(super) struct Parsed(BTreeMap<String, Rc<Prepared>>);

impl Parsed {
    /// Only what is certain to be what the server has under its name.
    pub fn of(text: &[u8], names: &Inspector) -> Self {
        let Ok(text) = text_of(text) else { return Self::default() };
        let known = executed(text).into_iter().filter_map(|name| Some((names.executed(&name)?, name)));
        Self(known.map(|(prepared, name)| (name, prepared)).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&Prepared> {
        self.0.get(name).map(Rc::as_ref)
    }

    /// Makes it a session's.
    pub fn put(&self, context: &mut Context) {
        for (name, prepared) in &self.0 {
            if let Ok(text) = text_of(prepared.text.bytes()) {
                context.keep_parsed(name.clone(), text, &prepared.types);
            }
        }
    }
}

impl Judge {
    /// Whether what a Parse has made may be executed: where an Execute of it by message may run.
    pub(super) fn admit_parsed(&mut self, prepared: &Prepared, failed: bool, ruled: &mut Ruled) -> Result<(), Report> {
        let meaning = prepared.judged.borrow().as_ref().map(|judged| judged.meaning);
        if meaning.ok_or_else(prepared_unseen)? != self.now {
            return Err(names_have_changed());
        }
        let verdict = self.analysed(prepared.text.bytes(), &prepared.types);
        let analysis = verdict.analysis.as_ref().map_err(|refusal| not_understood(refusal))?;
        self.admit(&analysis.script, failed, ruled)?;
        self.admit_as_planned(prepared, &verdict, failed, ruled)
    }
}
