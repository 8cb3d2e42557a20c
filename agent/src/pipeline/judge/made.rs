//! The prepared statements and cursors that SQL has made in a session. What PREPARE and DECLARE make counts once the server
//! has said that they ran; until then nothing that may depend on it is judged.

use super::{
    report::{made_unseen, names_have_changed},
    with_statements,
};
use crate::pipeline::inspect::NAME_BYTES;
use postern_sql::{
    Analysis, Context, Handle,
    facts::{self, Standing},
};
use postern_wire::{
    error::Report,
    tracker::{Ended, Outcome},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

/// Meanings that one prepared statement may have had.
const MAX_PLANNED: usize = 8;

/// Statements that one session has prepared by SQL, and cursors: PostgreSQL has no bound, a client that leaks them has.
/// What is made beyond may not run.
const MAX_MADE: usize = 10_000;

/// One that PREPARE has made.
#[derive(Debug)]
struct Prepared {
    /// What names meant then.
    meaning: usize,
    /// What it was understood to do whenever it may have been planned.
    planned: Vec<Rc<facts::Statement>>,
    /// When it was prepared, as the server says; not known before it is asked.
    when: Option<String>,
}

/// A string that makes or removes something.
#[derive(Debug)]
struct Awaited {
    seq: Option<u64>,
    meaning: usize,
    handles: Vec<(Handle, Rc<facts::Statement>)>,
    /// Where it fails, it may have done a part of it.
    several: bool,
    /// It also ran what is not known, which may have made other things of the same name.
    opaque: bool,
}

/// What there is, as far as it was seen made.
#[derive(Debug, Default)]
pub struct Made {
    prepared: BTreeMap<String, Prepared>,
    awaited: VecDeque<Awaited>,
    renamed: Vec<String>,
    /// Cursors that go with the transaction.
    fleeting: BTreeSet<String>,
}

impl Made {
    /// A string goes on. Whether it makes something, so that what follows has to wait for its outcome.
    pub fn runs(&mut self, analysis: &Analysis, meaning: usize) -> bool {
        let lasting = |handle: &Handle| !matches!(handle, Handle::Execute(_) | Handle::Fetch(_));
        let handles: Vec<_> = with_statements(analysis)
            .filter(|(_, handle)| lasting(handle))
            .map(|(statement, handle)| (handle.clone(), Rc::new(statement.clone())))
            .collect();
        if handles.is_empty() {
            return false;
        }
        let makes = handles.iter().any(|(handle, _)| matches!(handle, Handle::Prepare { .. } | Handle::Declare { .. }));
        let statements = &analysis.script.statements;
        let unknown = |function: &facts::Function| function.standing == Standing::Unknown;
        let opaque = statements.iter().flat_map(|statement| &statement.functions).any(unknown);
        self.awaited.push_back(Awaited { seq: None, meaning, handles, several: statements.len() > 1, opaque });
        makes
    }

    /// It has this number.
    pub fn sent(&mut self, seq: u64) {
        if let Some(last) = self.awaited.back_mut() {
            last.seq.get_or_insert(seq);
        }
    }

    /// A statement has ended. Whether that changes what there is.
    pub fn ended(&mut self, end: &Ended<u64>, context: &mut Context) -> bool {
        let Some(at) = self.awaited.iter().position(|awaited| awaited.seq == Some(end.statement)) else { return false };
        let Some(awaited) = self.awaited.remove(at) else { return false };
        let ran = end.outcome == Outcome::Ok;
        if !ran && (!awaited.several || end.outcome == Outcome::Skipped) {
            return false;
        }
        for (handle, statement) in awaited.handles {
            match &handle {
                // What an error left of several statements is not known.
                Handle::Prepare { name, .. } if !ran || awaited.opaque || self.prepared.len() >= MAX_MADE => {
                    self.lose(name, context);
                }
                Handle::Declare { name, .. } if !ran || context.cursors.len() >= MAX_MADE => {
                    context.keep(&Handle::Close(Some(name.clone())));
                }
                Handle::Declare { name, hold, .. } => {
                    if *hold {
                        self.fleeting.remove(name);
                    } else {
                        self.fleeting.insert(name.clone());
                    }
                    context.keep(&handle);
                }
                Handle::Prepare { name, .. } => {
                    let made = Prepared { meaning: awaited.meaning, planned: vec![statement], when: None };
                    self.prepared.insert(name.clone(), made);
                    self.renamed.push(name.clone());
                    context.keep(&handle);
                }
                Handle::Deallocate(name) if ran => {
                    match name {
                        Some(name) => drop(self.prepared.remove(name)),
                        None => self.prepared.clear(),
                    }
                    context.keep(&handle);
                }
                _ if ran => context.keep(&handle),
                _ => {}
            }
        }
        true
    }

    /// The transaction ends. Whether cursors end with it: what has the name of one later is another.
    pub fn transaction_ends(&mut self, context: &mut Context) -> bool {
        let gone = std::mem::take(&mut self.fleeting);
        let some = !gone.is_empty();
        for name in gone {
            context.keep(&Handle::Close(Some(name)));
        }
        some
    }

    /// What the server says that SQL has prepared, and when. What was not seen made may not run. Whether that is news.
    pub fn agree(&mut self, server: BTreeMap<String, String>, context: &mut Context) -> bool {
        let gone: Vec<_> = self.prepared.keys().filter(|name| !server.contains_key(*name)).cloned().collect();
        let mut lost = !gone.is_empty();
        for name in gone {
            self.lose(&name, context);
        }
        for (name, when) in server {
            match self.prepared.get_mut(&name) {
                Some(made) if made.when.as_ref().is_none_or(|known| *known == when) => made.when = Some(when),
                known => {
                    lost |= known.is_some();
                    self.lose(&name, context);
                }
            }
        }
        lost
    }

    /// A Parse takes a name. Whether SQL had made something under it.
    pub fn gives_way(&mut self, name: &[u8], context: &mut Context) -> bool {
        let name = name.get(..NAME_BYTES).unwrap_or(name);
        let Some(name) = std::str::from_utf8(name).ok().filter(|name| self.prepared.contains_key(*name)) else {
            return false;
        };
        self.prepared.remove(name);
        context.keep(&Handle::Deallocate(Some(name.to_owned())));
        true
    }

    fn lose(&mut self, name: &str, context: &mut Context) {
        self.prepared.remove(name);
        context.keep(&Handle::Deallocate(Some(name.to_owned())));
        self.renamed.push(name.to_owned());
    }

    /// Names that a Parse may have given to something else.
    pub fn take_renamed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.renamed)
    }

    /// What a prepared statement was understood to do whenever it may have been planned, that is to say besides now.
    ///
    /// # Errors
    /// When names have changed, or too often.
    pub fn planned(
        &mut self,
        name: &str,
        meaning: usize,
        now: &facts::Statement,
    ) -> Result<Vec<Rc<facts::Statement>>, Report> {
        let made = self.prepared.get_mut(name).ok_or_else(|| made_unseen(name))?;
        if made.meaning != meaning {
            return Err(names_have_changed());
        }
        let earlier = made.planned.clone();
        if !earlier.iter().any(|planned| does_the_same(planned, now)) {
            if earlier.len() >= MAX_PLANNED {
                return Err(names_have_changed());
            }
            made.planned.push(Rc::new(now.clone()));
        }
        Ok(earlier)
    }
}

fn does_the_same(one: &facts::Statement, other: &facts::Statement) -> bool {
    (&one.accesses, &one.functions, &one.columns) == (&other.accesses, &other.functions, &other.columns)
}
