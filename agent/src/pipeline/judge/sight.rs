//! By which catalog a session's statements are understood: the one that all sessions of a connection share, or, while its
//! transaction has changed the catalog, one that is read within it.

use super::super::question::{Answer, Row};
use super::names::Why;
use crate::catalogs::{self, FINGERPRINT, Snapshot, Watched};
use postern_sql::{
    Catalog,
    catalog::{Query, SETTINGS},
};
use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::{Sleep, sleep};
use tokio_stream::{Stream, wrappers::WatchStream};

/// A statement waits no longer for a catalog that is fresh.
const FRESH_WITHIN: Duration = Duration::from_secs(15);

/// Times that a catalog which changes while it is read is read again.
const MAX_READS: u8 = 5;

/// Bounds of a reading within the client's transaction. What it locks is unlocked at its end.
const BOUNDS: [(&str, &str); 2] = [("statement_timeout", "15s"), ("lock_timeout", "5s")];

/// The snapshots of a database, the newest first.
type Changes = WatchStream<Option<Arc<Snapshot>>>;

/// Makes one's own part of watching a database; called once a session's statements have to be understood.
pub type Watch = Box<dyn Fn() -> Arc<Watched>>;

/// What has to be done before the catalog may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A newer comparison of the shared one with the database.
    Shared,
    /// To ask within the transaction.
    Ask,
    /// To wait until what was read is built.
    Build,
}

/// Whether the session may have changed the catalog since it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    No,
    Maybe,
    Surely,
}

/// What is being asked within the transaction.
enum Asking {
    Nothing,
    /// Whether the catalog is one that is known.
    Compare {
        at: Instant,
    },
    /// The catalog, as it was then at the earliest.
    Read {
        at: Instant,
        queries: Vec<Query>,
    },
}

/// A catalog as it is within the session's transaction.
struct Own {
    catalog: Catalog,
    fingerprint: Arc<str>,
    verified_at: Instant,
}

/// What was read and is being built.
struct Building {
    catalog: Pin<Box<dyn Future<Output = io::Result<Catalog>>>>,
    fingerprint: Arc<str>,
    at: Instant,
}

/// Which catalog counts, and how it is kept true.
pub struct Sight {
    watch: Watch,
    major: u16,
    watched: Option<(Arc<Watched>, Changes)>,
    shared: Option<Arc<Snapshot>>,
    /// The shared one counts if it was compared then or later.
    since: Option<Instant>,
    waits: Option<Pin<Box<Sleep>>>,
    own: Option<Own>,
    change: Change,
    asking: Asking,
    building: Option<Building>,
    reads: u8,
}

/// No catalog came for too long.
#[derive(Clone, Copy, Debug)]
pub struct Blind;

impl fmt::Debug for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sight").field("own", &self.own.is_some()).field("change", &self.change).finish_non_exhaustive()
    }
}

impl Sight {
    /// Of a session that is not looked at yet.
    pub fn new(major: u16, watch: Watch) -> Self {
        Self {
            watch,
            major,
            watched: None,
            shared: None,
            since: None,
            waits: None,
            own: None,
            change: Change::No,
            asking: Asking::Nothing,
            building: None,
            reads: 0,
        }
    }

    /// The server's major version.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// The database, while it is watched.
    pub fn watched(&self) -> Option<Arc<Watched>> {
        self.watched.as_ref().map(|(watched, _)| Arc::clone(watched))
    }

    /// Takes a catalog before the session begins.
    pub fn take(&mut self, snapshot: Arc<Snapshot>) {
        (self.shared, self.change) = (Some(snapshot), Change::No);
    }

    /// Differs whenever the catalog that counts does.
    pub fn hash(&self) -> Option<u64> {
        self.catalog().map(Catalog::hash)
    }

    /// Statements are to be understood from now on. What the session's transaction did so far is not known.
    pub fn open(&mut self) {
        let watched = (self.watch)();
        self.watched = Some((Arc::clone(&watched), WatchStream::new(watched.snapshots())));
        self.change = Change::Maybe;
    }

    /// Statements are not to be understood any more: the database need not be watched for this session.
    pub fn close(&mut self) {
        (self.watched, self.shared, self.own, self.building) = (None, None, None, None);
        (self.asking, self.reads, self.since) = (Asking::Nothing, 0, None);
    }

    /// The catalog that counts.
    pub fn catalog(&self) -> Option<&Catalog> {
        self.own.as_ref().map(|own| &own.catalog).or(self.shared.as_deref().map(|shared| &shared.catalog))
    }

    /// Whether the transaction may have changed the catalog, so that its end may change it back.
    pub fn is_own(&self) -> bool {
        self.own.is_some() || self.change != Change::No
    }

    /// A statement that may change the catalog goes on.
    pub fn may_change(&mut self, surely: bool) {
        self.change = if surely || self.change == Change::Surely { Change::Surely } else { Change::Maybe };
    }

    /// Nothing is under way, and the transaction's state is this.
    pub fn settle(&mut self, status: u8) {
        if status == b'I' && self.is_own() {
            // What it has changed, if anything, can be seen by others now.
            (self.own, self.change, self.since) = (None, Change::No, Some(Instant::now()));
        }
    }

    /// What is to be done before the next statement may be judged, in a transaction of this state.
    pub fn need(&self, status: u8) -> Option<Need> {
        let aged = |at: Instant| at.elapsed() >= catalogs::FRESH_FOR;
        if self.building.is_some() {
            return Some(Need::Build);
        }
        let Some(shared) = &self.shared else { return Some(Need::Shared) };
        if status == b'T' && (self.change != Change::No || self.own.as_ref().is_some_and(|own| aged(own.verified_at))) {
            return Some(Need::Ask);
        }
        let counts = self.since.is_none_or(|since| shared.verified_at >= since) && shared.is_fresh();
        (self.own.is_none() && !counts).then_some(Need::Shared)
    }

    /// Takes the newest shared snapshot. Pending where there is none newer, and then wakes once there is.
    pub fn poll_shared(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Blind>> {
        let Some((watched, changes)) = &mut self.watched else { return Poll::Ready(Err(Blind)) };
        while let Poll::Ready(Some(newest)) = Pin::new(&mut *changes).poll_next(cx) {
            if let Some(snapshot) = newest {
                self.shared = Some(snapshot);
                self.waits = None;
                return Poll::Ready(Ok(()));
            }
        }
        let waits = self.waits.get_or_insert_with(|| {
            watched.verify();
            Box::pin(sleep(FRESH_WITHIN))
        });
        waits.as_mut().poll(cx).map(|()| Err(Blind))
    }

    /// Takes what was built. What is not understood is read again.
    pub fn poll_built(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        let Some(building) = &mut self.building else { return Poll::Ready(()) };
        let built = ready!(building.catalog.as_mut().poll(cx));
        if let (Some(Building { fingerprint, at, .. }), Ok(catalog)) = (self.building.take(), built) {
            self.own = Some(Own { catalog, fingerprint, verified_at: at });
            (self.change, self.reads) = (Change::No, 0);
        }
        Poll::Ready(())
    }

    /// The statements of a question within the transaction. After what surely changed the catalog it is read at once.
    pub fn question(&mut self) -> Vec<String> {
        let at = Instant::now();
        let settings = SETTINGS.iter().chain(&BOUNDS);
        let settings = settings.map(|(name, value)| format!(", pg_catalog.set_config('{name}', '{value}', true)"));
        let isolation = "SELECT pg_catalog.current_setting('transaction_isolation')";
        let mut statements = vec![format!("{isolation}{}", settings.collect::<String>()), FINGERPRINT.to_owned()];
        if self.change == Change::Surely {
            let questions = catalogs::questions(true, self.major);
            let (queries, texts): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
            statements.extend(texts);
            statements.push(FINGERPRINT.to_owned());
            self.asking = Asking::Read { at, queries };
        } else {
            self.asking = Asking::Compare { at };
        }
        statements
    }

    /// Takes the answer to that, in a session with this client encoding.
    ///
    /// # Errors
    /// Why the catalog cannot be read.
    pub fn learn(&mut self, answer: Answer, encoding: &str) -> Result<(), Why> {
        let learnt = self.try_to_learn(answer, encoding);
        if learnt.is_err() {
            self.reads = 0;
        }
        learnt
    }

    fn try_to_learn(&mut self, answer: Answer, encoding: &str) -> Result<(), Why> {
        let asking = std::mem::replace(&mut self.asking, Asking::Nothing);
        self.reads += 1;
        if self.reads > MAX_READS {
            return Err(Why::Unanswered);
        }
        // What failed is asked again.
        let Some(answers) = answer else { return Ok(()) };
        let one = |at: usize| answers.get(at).map(Vec::as_slice).and_then(only);
        let (Some(isolation), Some(fingerprint)) = (one(0), one(1)) else { return Ok(()) };
        if self.shared.as_ref().is_some_and(|shared| &*shared.fingerprint == fingerprint) {
            (self.own, self.change, self.reads) = (None, Change::No, 0);
            return Ok(());
        }
        match (asking, &mut self.own) {
            (Asking::Compare { at }, Some(own)) if &*own.fingerprint == fingerprint => {
                own.verified_at = at;
                (self.change, self.reads) = (Change::No, 0);
            }
            (Asking::Compare { .. }, _) => self.change = Change::Surely,
            // The snapshot of such a transaction hides what others have changed since; the server itself sees it.
            (Asking::Read { .. }, _) if isolation != "read committed" => return Err(Why::Isolation),
            (Asking::Read { .. }, _) if encoding != "UTF8" => return Err(Why::Encoding),
            (Asking::Read { at, queries }, _) if one(2 + queries.len()) == Some(fingerprint) => {
                let fingerprint = fingerprint.into();
                let answers = queries.into_iter().zip(answers.into_iter().skip(2)).collect();
                let system = self.shared.as_ref().map(|shared| shared.catalog.system());
                let catalog = Box::pin(catalogs::build(system, answers));
                self.building = Some(Building { catalog, fingerprint, at });
            }
            // It changed while it was read.
            (Asking::Read { .. } | Asking::Nothing, _) => {}
        }
        Ok(())
    }
}

/// The first value of the only row.
fn only(rows: &[Row]) -> Option<&str> {
    rows.first()?.first()?.as_deref()
}
