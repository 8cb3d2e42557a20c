//! Whether a statement of a read-only session only reads. It is understood first: parsed with PostgreSQL's grammar, its
//! names resolved as the session would resolve them.
//!
//! What names mean is known from two sides: the database's catalog, which a [`Watched`] keeps fresh, and the session's
//! own settings, which are asked of its backend, in band, whenever a statement may have changed them.

use super::{
    basis::{Basis, Last},
    decide::{Answer, Decision, Refused},
    inspect::Statement,
    policy::Policy,
};
use crate::catalogs::{Snapshot, Watched};
use postern_proto::v1::StatementKind;
use postern_sql::{
    Analysis, Context, Handle, analyse_in_full,
    context::{Lexing, parse_search_path},
    facts::{self, Action, Barrier, Cause, Refusal, Transaction},
    parse::text_of,
    read_only,
    read_only::Reason,
};
use postern_wire::{
    error::Report,
    frame::{put_cstr, put_message},
};
use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};
use tokio_stream::{Stream, wrappers::WatchStream};

/// What the session itself says of what names mean. Every name in it is qualified, so that nothing can stand in for it.
pub const QUESTION: &str = "\
SELECT pg_catalog.current_setting('search_path'), current_user::pg_catalog.text, \
(SELECT nspname::pg_catalog.text FROM pg_catalog.pg_namespace WHERE oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()), \
pg_catalog.current_setting('standard_conforming_strings'), pg_catalog.current_setting('backslash_quote'), \
pg_catalog.current_setting('client_encoding'), \
(SELECT pg_catalog.string_agg(pg_catalog.quote_ident(nspname::pg_catalog.text), ', ') FROM pg_catalog.pg_namespace \
WHERE NOT pg_catalog.has_schema_privilege(oid, 'USAGE'))";

/// Names of ours in the session's own space, for the moment of one question.
const NAME: &[u8] = b"postern's own question";

/// Texts whose analysis is remembered, in bytes for one session.
const MAX_REMEMBERED: usize = 256 * 1024;

/// A statement waits no longer for a catalog that is fresh.
const FRESH_WITHIN: Duration = Duration::from_secs(15);

/// Search paths and their kind that one session may have had.
const MAX_MEANINGS: usize = 1_000;

/// Times that the question is put before the session is given up.
const MAX_QUESTIONS: u8 = 3;

/// Whether it is known what names mean in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Known,
    /// Nothing may run any more that depends on it until a new ReadyForQuery: the client has to send a Sync first.
    Unknown,
    /// A statement that may change it is under way, or has run. The question was put in vain so many times.
    Doubtful(u8),
}

/// What stands in the way of judging the next statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The session has to be asked what names mean.
    Names,
    /// The catalog has to be compared with the database.
    Catalog,
}

type Verdict = Rc<Understood>;

/// What is known of a text, and what policies were told of it last.
struct Understood {
    analysis: Result<Analysis, Box<Refusal>>,
    basis: Last,
}

/// What a session says of what names mean.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meaning {
    search_path: Vec<Arc<str>>,
    unusable: Arc<BTreeSet<Arc<str>>>,
    user: Arc<str>,
    temp_schema: Option<Arc<str>>,
    lexing: Lexing,
}

impl Meaning {
    fn of(answer: &[Option<String>]) -> Result<Self, NotUnderstood> {
        let text = |at: usize| answer.get(at).and_then(Option::as_deref);
        let list = |at| text(at).map_or(Some(Vec::new()), parse_search_path);
        let (search_path, unusable) = (list(0).ok_or(NotUnderstood)?, list(6).ok_or(NotUnderstood)?);
        let (user, temp_schema) = (text(1).ok_or(NotUnderstood)?, text(2));
        let lexing = Lexing {
            standard_conforming_strings: text(3).ok_or(NotUnderstood)? == "on",
            backslash_quote: text(4).ok_or(NotUnderstood)? != "off",
        };
        Ok(Self {
            search_path,
            unusable: Arc::new(unusable.into_iter().collect()),
            user: user.into(),
            temp_schema: temp_schema.map(Into::into),
            lexing,
        })
    }

    fn put(self, context: &mut Context) {
        let Self { search_path, unusable, user, temp_schema, lexing } = self;
        *context = Context { search_path, unusable, user, temp_schema, lexing, ..context.clone() };
    }
}

/// What names mean in a session that has answered [`QUESTION`] so, and has prepared nothing.
///
/// # Errors
/// When the answer is not understood.
pub fn context(major: u16, answer: &[Option<String>]) -> Result<Context, NotUnderstood> {
    let mut context = Context::new(major, "");
    Meaning::of(answer)?.put(&mut context);
    Ok(context)
}

/// What is known of a text, for parameters of these types.
type Remembered = (Box<[u32]>, Verdict);

/// Judges the statements of one session.
pub struct Judge {
    role: String,
    policy: Policy,
    watched: Arc<Watched>,
    changes: WatchStream<Option<Arc<Snapshot>>>,
    snapshot: Arc<Snapshot>,
    /// How long a newer one is waited for.
    waits: Option<Pin<Box<Sleep>>>,
    context: Context,
    /// Text in another encoding may be read otherwise by the server.
    encoding: String,
    names: Names,
    /// What names have meant so far, and which of it they mean now.
    meanings: Vec<Meaning>,
    now: usize,
    /// With which meaning a prepared statement's name was used; `None`: with several. PostgreSQL plans a statement anew
    /// when names have changed, and whether a second Parse of a name took effect is not known here: a name may be run
    /// only while names mean what they have meant whenever it was used.
    prepared_in: HashMap<Box<[u8]>, Option<usize>>,
    /// The same of the unnamed statement; `None`, where it is not known whether its last Parse took effect.
    unnamed_in: Option<usize>,
    /// The session has changed a setting of which names depend: the end of a transaction may change it back.
    touched: bool,
    /// Whether policies want the values recorded of anything that PREPARE or DECLARE has made.
    records_made_by_sql: bool,
    /// By text.
    remembered: HashMap<Box<[u8]>, Vec<Remembered>>,
    remembered_bytes: usize,
}

/// The session's answer is not understood.
#[derive(Clone, Copy, Debug)]
pub struct NotUnderstood;

impl Judge {
    /// For one session, which has answered [`QUESTION`] so.
    ///
    /// # Errors
    /// When the answer is not understood.
    pub fn new(
        role: String,
        policy: Policy,
        watched: Arc<Watched>,
        snapshot: Arc<Snapshot>,
        major: u16,
        answer: &[Option<String>],
    ) -> Result<Self, NotUnderstood> {
        let changes = WatchStream::from_changes(watched.snapshots());
        let mut judge = Self {
            role,
            policy,
            watched,
            changes,
            snapshot,
            waits: None,
            context: Context::new(major, ""),
            encoding: String::new(),
            names: Names::Known,
            meanings: Vec::new(),
            now: 0,
            prepared_in: HashMap::new(),
            unnamed_in: None,
            touched: false,
            records_made_by_sql: false,
            remembered: HashMap::new(),
            remembered_bytes: 0,
        };
        judge.learn(answer)?;
        Ok(judge)
    }

    /// Takes the session's answer to [`QUESTION`].
    ///
    /// # Errors
    /// When it is not understood.
    pub fn learn(&mut self, answer: &[Option<String>]) -> Result<(), NotUnderstood> {
        let meaning = Meaning::of(answer)?;
        let known = self.meanings.iter().position(|known| *known == meaning);
        let before = std::mem::replace(&mut self.now, known.unwrap_or(self.meanings.len()));
        if known.is_none() {
            if self.meanings.len() >= MAX_MEANINGS {
                return Err(NotUnderstood);
            }
            self.meanings.push(meaning.clone());
        }
        if before != self.now {
            self.forget();
        }
        answer.get(5).and_then(Option::as_deref).ok_or(NotUnderstood)?.clone_into(&mut self.encoding);
        meaning.put(&mut self.context);
        self.names = Names::Known;
        Ok(())
    }

    /// A Parse of this name goes on.
    pub fn parsed(&mut self, name: &[u8]) {
        if name.is_empty() {
            self.unnamed_in = Some(self.now);
        } else if let Some(before) = self.prepared_in.get_mut(name) {
            *before = before.filter(|before| *before == self.now);
        } else {
            self.prepared_in.insert(name.into(), Some(self.now));
        }
    }

    /// The server reports an error: what follows up to the next Sync takes no effect.
    pub fn failed(&mut self) {
        self.unnamed_in = None;
    }

    /// Refuses what was prepared when names meant something else, or may have been.
    fn prepared_now(&self, name: &[u8]) -> Result<(), Report> {
        let when = if name.is_empty() { self.unnamed_in } else { self.prepared_in.get(name).copied().flatten() };
        if self.meanings.len() == 1 || when == Some(self.now) {
            return Ok(());
        }
        Err(Report::new(
            "0A000",
            "the statement was prepared when names may have meant something else",
            "Prepare it again, under a name that was not used before.",
        ))
    }

    fn forget(&mut self) {
        self.remembered.clear();
        self.remembered_bytes = 0;
    }

    /// What stands in the way. In a failed transaction the server runs nothing but what ends it, so that it does not
    /// matter what names mean.
    #[must_use]
    pub fn obstacle(&self, in_failed_transaction: bool) -> Option<Obstacle> {
        match self.names {
            Names::Doubtful(_) if !in_failed_transaction => Some(Obstacle::Names),
            _ if !self.snapshot.is_fresh() => Some(Obstacle::Catalog),
            _ => None,
        }
    }

    /// Takes the newest snapshot. Pending where there is none newer, and then wakes once there is.
    ///
    /// # Errors
    /// When none has come for too long.
    pub fn poll_snapshot(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), NotUnderstood>> {
        match Pin::new(&mut self.changes).poll_next(cx) {
            Poll::Ready(Some(Some(snapshot))) => {
                if snapshot.catalog.hash() != self.snapshot.catalog.hash() {
                    self.forget();
                }
                self.snapshot = snapshot;
                self.waits = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => {
                let waits = self.waits.get_or_insert_with(|| {
                    self.watched.verify();
                    Box::pin(sleep(FRESH_WITHIN))
                });
                waits.as_mut().poll(cx).map(|()| Err(NotUnderstood))
            }
        }
    }

    /// It cannot be learnt now what names mean: what depends on it is refused.
    pub fn give_up_names(&mut self) {
        self.names = Names::Unknown;
    }

    /// The question was put in vain. Whether it may be put again.
    pub fn asked_in_vain(&mut self) -> bool {
        let Names::Doubtful(times) = &mut self.names else { return true };
        *times += 1;
        *times < MAX_QUESTIONS
    }

    /// Whether a statement may run. If it may, and does, what it changes of what names mean is kept in mind.
    pub fn decide(&mut self, statement: &Statement) -> Decision {
        match self.judge(statement) {
            Err(refused) => refused.into(),
            Ok(judged) => {
                let Some((verdict, basis)) = judged else { return Decision::ALLOW };
                if statement.kind != StatementKind::Parse
                    && let Ok(analysis) = &verdict.analysis
                {
                    self.runs(analysis);
                }
                Decision { answer: Answer::Allow, basis }
            }
        }
    }

    /// Whether a statement that was prepared may be planned. If it may, whether the values that it is bound with are to be
    /// recorded.
    ///
    /// # Errors
    /// Why not.
    pub fn admit_bind(&mut self, name: &[u8], statement: &Statement) -> Result<bool, Refused> {
        self.prepared_now(name)?;
        Ok(match self.judge(statement)? {
            Some((_, basis)) => basis.is_some_and(|basis| basis.record_binds),
            None => self.records_made_by_sql,
        })
    }

    /// What is known of a statement that may run; nothing, where it was judged when it was made.
    fn judge(&mut self, statement: &Statement) -> Result<Option<(Verdict, Option<Basis>)>, Refused> {
        if self.names == Names::Unknown {
            self.names = Names::Doubtful(0);
            return Err(Report::new(
                "0A000",
                "an earlier statement may have changed what names mean, and its outcome is not known yet",
                "Send a Sync, or wait for its result, and then send this statement again.",
            )
            .into());
        }
        self.known_encoding()?;
        let prepared = &statement.prepared;
        if let Some(name) = &prepared.made_by_sql {
            self.made_by_sql(name)?;
            return Ok(None);
        }
        let verdict = self.analysed(prepared.text.bytes(), &prepared.types);
        let analysis = verdict.analysis.as_ref().map_err(|refusal| not_understood(refusal))?;
        for statement in &analysis.script.statements {
            read_only(statement).map_err(|reason| more_than_reading(&self.role, statement, &reason))?;
        }
        let mut ruled = self.policy.begin()?;
        let admitted =
            analysis.script.statements.iter().try_for_each(|statement| self.policy.admit(statement, &mut ruled));
        let basis = self.policy.basis(ruled, analysis, &verdict.basis)?;
        if let Err(report) = admitted {
            return Err(Refused { report: Box::new(report), basis });
        }
        if analysis.handles.iter().any(|handles| !handles.is_empty()) {
            self.records_made_by_sql |= basis.as_ref().is_some_and(|basis| basis.record_binds);
        }
        for handle in analysis.handles.iter().flatten() {
            if let Handle::Execute(name) = handle {
                self.prepared_now(name.as_bytes())?;
            }
        }
        Ok(Some((verdict, basis)))
    }

    /// Judges a parameter that the client asked for at start-up as the SET that it is; `options` as each of its own.
    ///
    /// # Errors
    /// Why it may not ask for it.
    pub fn admit_parameter(&mut self, name: &str, value: &str) -> Result<(), Report> {
        if name == "options" {
            let refused = || {
                let hint = "Give each setting as `-c name=value`, or set it by SET.";
                Report::new("42501", "these command-line options are not understood, so they are refused", hint)
            };
            for (name, value) in command_line(value).ok_or_else(refused)? {
                self.admit_parameter(&name, &value)?;
            }
            return Ok(());
        }
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '$');
        if !name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_') || !name.chars().all(plain) {
            let hint = "Names of settings are letters, digits and underscores.";
            return Err(Report::new("42501", format!("the parameter {name:?} is not understood"), hint));
        }
        let value = value.replace('\'', "''");
        // A session that is told its encoding at start-up has it: that is judged with each statement.
        if matches!(name, "client_encoding" | "replication") {
            return Ok(());
        }
        let text = format!("SET {name} TO '{value}'");
        let verdict = self.analysed(text.as_bytes(), &[]);
        match &verdict.analysis {
            Ok(analysis) => analysis.script.statements.iter().try_for_each(|statement| {
                read_only(statement).map_err(|reason| more_than_reading(&self.role, statement, &reason))
            }),
            Err(refusal) => Err(not_understood(refusal)),
        }
    }

    fn analysed(&mut self, text: &[u8], types: &[u32]) -> Verdict {
        let mut remembered = self.remembered.get(text).into_iter().flatten();
        if let Some((_, verdict)) = remembered.find(|(of, _)| **of == *types) {
            return Rc::clone(verdict);
        }
        let context = Context { parameters: types.to_vec(), ..self.context.clone() };
        let analysis =
            text_of(text).and_then(|text| analyse_in_full(text, &self.snapshot.catalog, &context)).map_err(Box::new);
        let verdict = Rc::new(Understood { analysis, basis: Last::default() });
        if self.remembered_bytes + text.len() > MAX_REMEMBERED {
            self.forget();
        }
        if text.len() <= MAX_REMEMBERED {
            self.remembered_bytes += text.len();
            self.remembered.entry(text.into()).or_default().push((types.into(), Rc::clone(&verdict)));
        }
        verdict
    }

    /// What PREPARE or DECLARE has made is run by a message of the protocol: it was judged when it was made.
    fn made_by_sql(&self, name: &str) -> Result<(), Report> {
        if self.context.prepared.contains_key(name) || self.context.cursors.contains_key(name) {
            return Ok(());
        }
        Err(Report::new(
            "26000",
            format!("it was not seen how {name:?} was prepared or declared, so it may not run"),
            "Prepare or declare it in this session.",
        ))
    }

    /// Keeps what the statements make, and whether names may mean something else after them.
    fn runs(&mut self, analysis: &Analysis) {
        let handles = analysis.handles.iter().flatten();
        let keeps = handles.clone().next().is_some();
        for handle in handles {
            self.context.keep(handle);
            if let Handle::Prepare { name, .. } = handle {
                self.parsed(name.as_bytes());
            }
        }
        for statement in &analysis.script.statements {
            let names = statement.barrier == Barrier::Names;
            self.touched |= names && !statement.settings.is_empty();
            let ends = matches!(
                statement.transaction,
                Some(Transaction::Commit | Transaction::Rollback | Transaction::RollbackTo(_))
            );
            if if ends { self.touched } else { names } {
                self.names = Names::Doubtful(0);
            }
        }
        if keeps {
            self.forget();
        }
    }

    /// Encodings in which a byte of ASCII may be a part of another letter are not read as the server reads them.
    fn known_encoding(&self) -> Result<(), Report> {
        const ASCII_IS_ASCII: [&str; 7] = ["UTF8", "SQL_ASCII", "LATIN", "WIN", "ISO_8859", "KOI8", "UNICODE"];
        if ASCII_IS_ASCII.iter().any(|prefix| self.encoding.starts_with(prefix)) {
            return Ok(());
        }
        Err(Report::new(
            "0A000",
            format!("statements in the client encoding {} are not understood", self.encoding),
            "Connect again, and let client_encoding be UTF8.",
        ))
    }
}

/// What whoever sent a statement is told, for which an access role that only reads does not do.
pub fn more_than_reading(role: &str, statement: &facts::Statement, reason: &Reason) -> Report {
    let writes =
        statement.accesses.iter().find(|access| access.action != Action::Read && access.action != Action::Call);
    let what =
        writes.map_or_else(|| reason.to_string(), |access| format!("{} on {}", access.action.as_str(), access.object));
    Report {
        sqlstate: "42501".to_owned(),
        message: format!("permission denied by Postern: the access role \"{role}\" only reads: {what}"),
        detail: format!("Refused was the {} statement at byte {}.", statement.tag, statement.span.start),
        hint: "Read only, or ask for an access role that may do this: `postern connections` lists them, `postern \
               request` asks."
            .to_owned(),
    }
}

/// The settings in `options`, as PostgreSQL reads its command line: words, in which a backslash quotes a letter.
fn command_line(options: &str) -> Option<Vec<(String, String)>> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quoted) = (None::<String>, false);
    for letter in options.chars() {
        match letter {
            '\\' if !quoted => quoted = true,
            letter if letter.is_ascii_whitespace() && !quoted => words.extend(word.take()),
            letter => {
                word.get_or_insert_default().push(letter);
                quoted = false;
            }
        }
    }
    words.extend(word);
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next()?,
            Some(setting) => setting.to_owned(),
            None => return None,
        };
        let (name, value) = setting.split_once('=')?;
        // As PostgreSQL does it.
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Some(settings)
}

/// What whoever sent a string is told that cannot be understood.
pub fn not_understood(refusal: &Refusal) -> Report {
    let sqlstate = match refusal.cause {
        Cause::Syntax => "42601",
        Cause::Unresolved => "0A000",
        Cause::Missing => missing(&refusal.message),
        Cause::TooComplex => "54001",
    };
    let detail = refusal.position.map(|at| format!("At byte {at} of the query string.")).unwrap_or_default();
    Report { sqlstate: sqlstate.to_owned(), message: refusal.message.clone(), detail, hint: refusal.hint.clone() }
}

/// PostgreSQL's own code for what does not exist, which drivers look at.
fn missing(message: &str) -> &'static str {
    match message.split_whitespace().next() {
        Some("column") => "42703",
        Some("function" | "procedure" | "operator") => "42883",
        Some("type") => "42704",
        Some("schema") => "3F000",
        _ => "42P01",
    }
}

/// Appends [`QUESTION`] as messages that touch nothing of the session's own: neither its unnamed statement nor portal.
pub fn put_question(out: &mut Vec<u8>) {
    put_message(out, b'P', |out| {
        put_cstr(out, NAME);
        put_cstr(out, QUESTION.as_bytes());
        out.extend_from_slice(&[0, 0]);
    });
    put_message(out, b'B', |out| {
        put_cstr(out, NAME);
        put_cstr(out, NAME);
        out.extend_from_slice(&[0; 6]);
    });
    put_message(out, b'E', |out| {
        put_cstr(out, NAME);
        out.extend_from_slice(&[0; 4]);
    });
    for kind in [b'P', b'S'] {
        put_message(out, b'C', |out| {
            out.push(kind);
            put_cstr(out, NAME);
        });
    }
    put_message(out, b'S', |_| {});
}
