//! Whether a statement may run. It is understood first: parsed with PostgreSQL's grammar, its names resolved as the session
//! would resolve them; then the policies in force decide.
//!
//! - [`names`]: what names mean in the session, which is asked in band
//! - [`sight`]: by which catalog statements are understood
//! - [`made`]: prepared statements and cursors that SQL makes; `parsed`: those that a message has made and SQL executes
//! - [`rename`]: `application_name` keeps its prefix
//! - `understand`: what a text does; `admit`: whether what was understood is permitted; `cover`: what of its results is masked;
//!   `runs`: what it changes of what names mean; `redacts`: what of it is not recorded
//! - [`reviewed`]: what people are asked to agree to
//! - `startup`: what a client asks for at start-up
//! - [`report`]: what a client is told
//!
//! While the policies permit a grant everything, its statements are not looked at. When that changes, what the session did
//! meanwhile is not known: names are asked for, and what was prepared meanwhile is refused.

mod admit;
mod cover;
mod foresee;
mod made;
pub mod names;
mod parsed;
mod redacts;
mod rename;
pub mod report;
pub mod reviewed;
mod runs;
pub mod sight;
pub mod startup;
mod understand;

use super::{
    basis::{Basis, Last},
    decide::{Answer as Decided, Decision, Refused, Terms},
    inspect::{Inspector, MadeBySql, Prepared, Statement},
    policy::Policy,
    question::{Answer, Question, Row},
    redact::{self, Redaction},
};
use crate::catalogs::{Snapshot, Watched};
use admit::Permitted;
use made::Made;
use names::{Answered, Meaning, Names, QUESTION, Why};
use parsed::Parsed;
use postern_proto::v1::StatementKind;
use postern_sql::{
    Analysis, Catalog, Context, Handle, Shapes,
    facts::{self, Refusal},
};
use postern_wire::{error::Report, tracker::Ended};
use redacts::Redacts;
use rename::Prefix;
use report::names_have_changed;
use sight::{Need, Sight};
use std::{
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    task::{self, Poll},
};

/// Texts and shapes whose analysis is remembered, in bytes of each for one session.
const MAX_REMEMBERED: usize = 256 * 1024;

/// What an entry takes besides its text and its analysis, about.
const ENTRY_BYTES: usize = 256;

/// Search paths and their kind that one session may have had.
const MAX_MEANINGS: usize = 1_000;

/// What they may take together: a search path may be as long as a statement.
const MAX_MEANING_BYTES: usize = 4 << 20;

/// Meanings that one prepared statement may have had.
const MAX_VERDICTS: usize = 8;

/// What stands in the way of judging the next statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The session has to be asked.
    Ask,
    /// A catalog is on its way.
    Catalog,
}

type Verdict = Rc<Understood>;

/// What is known of a text, what policies permitted it last, and what was recorded last of that.
#[derive(Debug)]
struct Understood {
    analysis: Result<Analysis, Box<Refusal>>,
    permitted: Permitted,
    basis: Last,
    redaction: Redacts,
}

/// What is known of a text, for parameters of these types.
type Remembered = (Box<[u32]>, Verdict);

/// What is known of a prepared statement: what names meant when it was prepared, and what it was understood to do whenever
/// it may have been planned. PostgreSQL plans anew when names may have changed, and not whenever they have: each of these
/// has to be permitted.
#[derive(Debug)]
pub struct Judged {
    meaning: usize,
    verdicts: Vec<Verdict>,
    /// What it is understood to do, and until what is forgotten next.
    known: Option<(u64, Verdict)>,
}

/// What the values are kept for that a statement is bound with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values {
    /// Policies want them recorded.
    pub recorded: bool,
    /// They ask about masked columns.
    pub asking: bool,
    /// People have to agree to them.
    pub reviewed: bool,
}

/// Judges the statements of one session.
pub struct Judge {
    role: String,
    read_only: bool,
    policy: Policy,
    prefix: Option<Prefix>,
    /// The policies permit everything: nothing is looked at.
    resting: bool,
    frozen: bool,
    sight: Sight,
    context: Context,
    /// Text in another encoding may be read otherwise by the server.
    encoding: String,
    names: Names,
    /// What names have meant so far, and which of it they mean now.
    meanings: Vec<Meaning>,
    meaning_bytes: usize,
    now: usize,
    made: Made,
    /// The session has changed a setting of which names depend: the end of a transaction may change it back.
    touched: bool,
    /// The transaction has changed something, as of the last question.
    wrote: bool,
    /// By shape, for statements without declared parameters.
    shapes: Shapes<Verdict>,
    /// By text, for all others.
    remembered: HashMap<Box<[u8]>, Vec<Remembered>>,
    remembered_bytes: usize,
    /// How often that was forgotten.
    forgotten: u64,
    /// What goes on in place of the text that was judged last.
    put_right: Option<String>,
    /// What is not recorded of it.
    redaction: Redaction,
    /// For that while nothing is looked at.
    tagged: Option<(u64, redact::Names)>,
}

/// The session's answer is not understood.
#[derive(Clone, Copy, Debug)]
pub struct NotUnderstood;

impl Judge {
    /// For one session of which nothing is known yet.
    #[must_use]
    pub fn new(role: String, read_only: bool, policy: Policy, prefix: Option<String>, sight: Sight) -> Self {
        Self {
            role,
            read_only,
            policy,
            prefix: prefix.map(Prefix),
            resting: true,
            frozen: false,
            context: Context::new(sight.major(), ""),
            sight,
            encoding: String::new(),
            names: Names::DOUBTFUL,
            meanings: Vec::new(),
            meaning_bytes: 0,
            now: 0,
            made: Made::default(),
            touched: false,
            wrote: false,
            shapes: Shapes::new(MAX_REMEMBERED),
            remembered: HashMap::new(),
            remembered_bytes: 0,
            forgotten: 0,
            put_right: None,
            redaction: Redaction::Nothing,
            tagged: None,
        }
    }

    /// Whether nothing is looked at.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.resting
    }

    /// Whether any column's values are masked for the session.
    #[must_use]
    pub fn masks_anything(&self) -> bool {
        !self.resting && self.policy.masks_anything()
    }

    /// Takes the policies that are in force now. Whether statements have to be understood.
    pub fn begin(&mut self) -> bool {
        self.policy.refresh();
        let rests = self.policy.permits_everything();
        if rests != self.resting {
            self.resting = rests;
            self.forget();
            self.made = Made::default();
            self.context.prepared = Arc::default();
            self.context.cursors = Arc::default();
            if rests {
                self.sight.close();
            } else {
                self.sight.open();
                self.names = Names::DOUBTFUL;
                self.touched = true;
                self.context.uncommitted = true;
                self.encoding.clear();
            }
        }
        let was_frozen = std::mem::replace(&mut self.frozen, self.policy.is_frozen());
        if self.frozen && !was_frozen {
            // Whether the transaction has changed anything already, it must not commit.
            self.names = Names::DOUBTFUL;
        }
        !rests
    }

    /// The database, to wait for its catalog before the session begins.
    #[must_use]
    pub fn watched(&self) -> Option<Arc<Watched>> {
        self.sight.watched()
    }

    /// Takes what is known before the session begins: a catalog, and the session's answer to [`QUESTION`].
    ///
    /// # Errors
    /// When the answer is not understood.
    pub fn prime(&mut self, snapshot: Arc<Snapshot>, answer: &Row) -> Result<(), NotUnderstood> {
        self.sight.take(snapshot);
        self.touched = false;
        self.learn_names(answer, b'I')
    }

    /// Finds what the grant is narrowed to, if it is.
    ///
    /// # Errors
    /// When it is for something that does not exist.
    pub fn narrow(&mut self, catalog: &Catalog) -> Result<(), Report> {
        self.policy.narrow(catalog, self.sight.major()).map(drop)
    }

    fn learn_names(&mut self, answer: &Row, status: u8) -> Result<(), NotUnderstood> {
        let Answered { mut meaning, encoding, prepared, wrote } = Answered::read(answer).ok_or(NotUnderstood)?;
        let before = (self.now, self.context.uncommitted, self.sight.hash());
        let known = self.meanings.iter().position(|known| *known == meaning);
        if known.is_none() {
            let bytes = self.meaning_bytes + meaning.share(self.meanings.last());
            // The first is the login's own.
            if !self.meanings.is_empty() && (self.meanings.len() >= MAX_MEANINGS || bytes > MAX_MEANING_BYTES) {
                return Err(NotUnderstood);
            }
            self.meaning_bytes = bytes;
            self.meanings.push(meaning.clone());
        }
        self.now = known.unwrap_or(self.meanings.len() - 1);
        let lost = self.made.agree(prepared, &mut self.context);
        self.sight.settle(status);
        self.encoding = encoding;
        self.wrote = wrote;
        meaning.put(&mut self.context);
        self.context.uncommitted = self.sight.is_own();
        self.names = Names::Known;
        if lost || before != (self.now, self.context.uncommitted, self.sight.hash()) {
            self.forget();
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.shapes.clear();
        self.remembered.clear();
        self.remembered_bytes = 0;
        self.forgotten += 1;
    }

    /// What stands in the way, in a transaction of this state. In a failed one the server runs nothing but what ends it, so
    /// that it does not matter what names mean.
    #[must_use]
    pub fn obstacle(&self, status: u8, failed: bool) -> Option<Obstacle> {
        if self.resting {
            return None;
        }
        match self.names {
            Names::Doubtful(_) if !failed => Some(Obstacle::Ask),
            // It is about to be refused.
            Names::Unknown(_) => None,
            _ => self.sight.need(status).map(|need| match need {
                Need::Ask => Obstacle::Ask,
                Need::Shared | Need::Build => Obstacle::Catalog,
            }),
        }
    }

    /// Whether a statement of this text needs no names, so that it need not wait until they are known.
    #[must_use]
    pub fn needs_no_names(&self, text: &[u8]) -> bool {
        // Of what has been changed before a freeze it has to be known whether it was.
        !self.frozen && !self.encoding.is_empty() && self.sight.catalog().is_some() && only_ends_or_begins(text)
    }

    /// Takes a newer catalog. Pending where there is none newer, and then wakes once there is.
    ///
    /// # Errors
    /// When none has come for too long.
    pub fn poll_catalog(&mut self, status: u8, cx: &mut task::Context<'_>) -> Poll<Result<(), sight::Blind>> {
        let before = self.sight.hash();
        let polled = match self.sight.need(status) {
            Some(Need::Build) => self.sight.poll_built(cx).map(Ok),
            _ => self.sight.poll_shared(cx),
        };
        if self.sight.hash() != before {
            self.forget();
        }
        self.context.uncommitted |= self.sight.is_own();
        polled
    }

    /// Puts the question whose answer stands in the way.
    pub fn ask(&mut self, out: &mut Vec<u8>) -> Question {
        if matches!(self.names, Names::Doubtful(_)) {
            return Question::ask(QUESTION, out);
        }
        Question::ask_apart(&self.sight.question(), out)
    }

    /// Takes the answer, and the transaction's state after it.
    pub fn answered(&mut self, answer: Answer, status: u8) {
        if matches!(self.names, Names::Doubtful(_)) {
            let row = answer.and_then(|mut answers| answers.pop()?.pop());
            if row.is_none_or(|row| self.learn_names(&row, status).is_err()) {
                self.names.asked_in_vain();
            }
            return;
        }
        let before = self.sight.hash();
        if let Err(why) = self.sight.learn(answer, &self.encoding) {
            self.names = Names::Unknown(why);
        }
        if self.sight.hash() != before {
            self.forget();
        }
        if self.context.uncommitted != self.sight.is_own() {
            self.context.uncommitted = self.sight.is_own();
            self.forget();
        }
    }

    /// It cannot be learnt now what names mean: what depends on it is refused.
    pub fn give_up_names(&mut self) {
        self.names = Names::Unknown(Why::Unsynced);
    }

    /// What goes on in place of the text that was judged last, if that is another one.
    pub fn take_put_right(&mut self) -> Option<String> {
        self.put_right.take()
    }

    /// Names that mean another prepared statement now than the one that a Parse has made under it, or none.
    pub fn take_renamed(&mut self) -> Vec<String> {
        self.made.take_renamed()
    }

    /// Whether a statement may run. If it may, and does, what it changes of what names mean is kept in mind.
    pub fn decide(&mut self, statement: &Statement, names: &Inspector, failed: bool) -> Decision {
        self.put_right = None;
        self.redacts_blindly(statement);
        if self.resting {
            return Decision::ALLOW;
        }
        match self.judge(statement, names, failed) {
            Err(refused) => refused.into(),
            Ok((verdict, terms, basis)) => {
                if statement.kind == StatementKind::Parse {
                    let judged = Judged { meaning: self.now, verdicts: vec![verdict], known: None };
                    *statement.prepared.judged.borrow_mut() = Some(judged);
                } else if let Ok(analysis) = &verdict.analysis {
                    self.runs(analysis);
                }
                let terms = (!terms.is_none()).then(|| Box::new(terms));
                Decision { answer: Decided::Allow(terms), basis, review: None }
            }
        }
    }

    /// A Parse of this name goes on. What SQL has made under it is gone by then, or else the Parse fails.
    pub fn parses(&mut self, name: &[u8]) {
        if self.made.gives_way(name, &mut self.context) {
            self.forget();
        }
    }

    /// A statement that was decided goes on under this number.
    pub fn sent(&mut self, seq: u64) {
        self.made.sent(seq);
    }

    /// A statement has ended.
    pub fn ended(&mut self, end: &Ended<u64>) {
        if self.made.ended(end, &mut self.context) {
            self.forget();
        }
    }

    /// There is no transaction any more, or the one that there is ends.
    pub fn transaction_ends(&mut self) {
        if self.made.transaction_ends(&mut self.context) {
            self.forget();
        }
    }

    /// Whether a statement that was prepared may be planned, for a portal of this name. If it may, what the values that it is
    /// bound with are kept for.
    ///
    /// # Errors
    /// Why not.
    pub fn admit_bind(
        &mut self,
        statement: &Statement,
        portal: &[u8],
        names: &Inspector,
        failed: bool,
    ) -> Result<Values, Refused> {
        if self.resting {
            return Ok(Values::default());
        }
        self.redacts_blindly(statement);
        // FETCH knows portals, too: a cursor that had the name is gone.
        if let Some(name) = std::str::from_utf8(portal).ok().filter(|name| self.context.cursors.contains_key(*name)) {
            self.context.keep(&Handle::Close(Some(name.to_owned())));
            self.forget();
        }
        let meant = statement.prepared.judged.borrow().as_ref().map(|judged| judged.meaning);
        if meant.is_some_and(|meaning| meaning != self.now) {
            return Err(names_have_changed().into());
        }
        let (_, terms, basis) = self.judge(statement, names, failed)?;
        Ok(Values {
            recorded: basis.is_some_and(|basis| basis.record_binds),
            asking: terms.masks.is_some_and(|masks| masks.probes().next().is_some()),
            reviewed: terms.consent.is_some(),
        })
    }

    /// What is known of a statement that may run, on what terms, and what that rests on.
    fn judge(
        &mut self,
        statement: &Statement,
        names: &Inspector,
        failed: bool,
    ) -> Result<(Verdict, Terms, Option<Basis>), Refused> {
        let prepared = &statement.prepared;
        if let Some(verdict) = self.known(statement) {
            self.known_encoding()?;
            self.redacts(&verdict);
            let (terms, basis) = self.rule(statement, &verdict, &Parsed::default(), failed)?;
            return Ok((verdict, terms, basis));
        }
        let standing_in = match &prepared.made_by_sql {
            None => None,
            Some(MadeBySql::Statement(name)) if self.context.prepared.contains_key(&**name) => {
                Some(format!("EXECUTE {}", quoted(name)))
            }
            Some(MadeBySql::Cursor(name)) if self.context.cursors.contains_key(&**name) => {
                Some(format!("FETCH ALL FROM {}", quoted(name)))
            }
            Some(MadeBySql::Statement(name) | MadeBySql::Cursor(name)) => return Err(report::made_unseen(name).into()),
        };
        let text = standing_in.as_deref().map_or(prepared.text.bytes(), str::as_bytes);
        if let Names::Unknown(why) = self.names
            && !self.needs_no_names(text)
        {
            self.names = Names::DOUBTFUL;
            return Err(why.report().into());
        }
        self.known_encoding()?;
        // What SQL has made is not a Parse's.
        let parsed = if standing_in.is_none() { Parsed::of(text, names) } else { Parsed::default() };
        // What a name stands for changes with each Parse: nothing that depends on it is remembered.
        let verdict = if parsed.is_empty() {
            self.analysed(text, &prepared.types)
        } else {
            self.understand(text, &prepared.types, &parsed)
        };
        self.redacts(&verdict);
        let (terms, basis) = self.rule(statement, &verdict, &parsed, failed)?;
        if statement.kind == StatementKind::Execute {
            self.know(prepared, &verdict);
        } else if let (Some(prefix), Ok(analysis)) = (&self.prefix, &verdict.analysis) {
            self.put_right = std::str::from_utf8(text).ok().and_then(|text| prefix.put_right(text, &analysis.script));
        }
        Ok((verdict, terms, basis))
    }

    /// What a prepared statement was understood to do when it was run last, if nothing has changed since that it depends on.
    fn known(&self, statement: &Statement) -> Option<Verdict> {
        if statement.kind != StatementKind::Execute || !matches!(self.names, Names::Known) {
            return None;
        }
        let judged = statement.prepared.judged.borrow();
        let (until, verdict) = judged.as_ref()?.known.as_ref()?;
        (*until == self.forgotten).then(|| Rc::clone(verdict))
    }

    /// Keeps that, unless it executes others: what their names stand for changes with each Parse.
    fn know(&self, prepared: &Prepared, verdict: &Verdict) {
        if let Some(judged) = prepared.judged.borrow_mut().as_mut()
            && verdict.analysis.as_ref().is_ok_and(Analysis::has_no_handles)
        {
            judged.known = Some((self.forgotten, Rc::clone(verdict)));
        }
    }
}

/// What the statements of a string do to prepared statements and cursors.
fn with_statements(analysis: &Analysis) -> impl Iterator<Item = (&facts::Statement, &Handle)> {
    let statements = analysis.script.statements.iter().zip(&analysis.handles);
    statements.flat_map(|(statement, handles)| handles.iter().map(move |handle| (statement, handle)))
}

/// Whether a text is nothing but the beginning or end of a transaction.
fn only_ends_or_begins(text: &[u8]) -> bool {
    const THESE: [&[u8]; 6] = [b"begin", b"commit", b"end", b"rollback", b"abort", b"start transaction"];
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
    THESE.iter().any(|this| text.eq_ignore_ascii_case(this))
}

/// Whether a text is nothing but the beginning of a transaction.
pub fn only_begins(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
    [&b"begin"[..], b"begin transaction", b"begin work", b"start transaction"]
        .iter()
        .any(|this| text.eq_ignore_ascii_case(this))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
