//! What the databases' own catalogs say of names, for sessions whose statements are understood before they run.
//!
//! A database is watched while such a session is connected to it, and no longer: a connection of ours would keep it
//! from being dropped. PostgreSQL has no version number for its catalog, so that what stands in it is asked for again
//! and again: no statement is decided by a snapshot that was not compared with the database within [`FRESH_FOR`].

use crate::journal::Journal;
use parking_lot::Mutex;
use postern_dial::{DialError, Target, query};
use postern_proto::v1::Purpose;
use postern_sql::{
    Catalog,
    catalog::{Builder, FIRST_USER_OID, Part, Query, SETTINGS, queries},
};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::spawn_blocking,
    time::{error::Elapsed, sleep, timeout},
};

/// How old the last comparison with the database may be when a statement is decided: the longest that a change made
/// outside Postern stays unseen.
pub const FRESH_FOR: Duration = Duration::from_secs(1);

/// The database is asked this often.
const EVERY: Duration = Duration::from_millis(400);

/// One question, or the whole catalog, takes no longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A new watch takes a while to read the catalog of a large database.
const FIRST_WITHIN: Duration = Duration::from_secs(20);

/// Between two attempts to reach the database.
const PAUSE: Duration = Duration::from_millis(500);

/// Differs whenever a row was added, changed or removed that says what a name means, and from database to database and
/// server to server. What is only counted there (`relpages` and its kind) is changed in place and does not show.
pub const FINGERPRINT: &str = "\
SELECT pg_catalog.version() || pg_catalog.pg_postmaster_start_time() || \
(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) || pg_catalog.string_agg(kind || ':' || n || ':' || coalesce(h, 0), ',' ORDER BY kind) FROM (
SELECT 'namespace', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_namespace UNION ALL
SELECT 'class', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_class WHERE oid >= 16384 UNION ALL
SELECT 'attribute', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, attrelid::bigint)) FROM pg_catalog.pg_attribute WHERE attrelid >= 16384 UNION ALL
SELECT 'attrdef', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_attrdef UNION ALL
SELECT 'proc', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_proc UNION ALL
SELECT 'aggregate', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, aggfnoid::oid::bigint)) FROM pg_catalog.pg_aggregate WHERE aggfnoid::oid >= 16384 UNION ALL
SELECT 'type', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_type WHERE oid >= 16384 UNION ALL
SELECT 'operator', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_operator UNION ALL
SELECT 'cast', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_cast UNION ALL
SELECT 'trigger', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_trigger UNION ALL
SELECT 'rewrite', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_rewrite UNION ALL
SELECT 'policy', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_policy UNION ALL
SELECT 'constraint', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_constraint UNION ALL
SELECT 'index', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, indexrelid::bigint)) FROM pg_catalog.pg_index WHERE indexrelid >= 16384 UNION ALL
SELECT 'inherits', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, inhrelid::bigint)) FROM pg_catalog.pg_inherits UNION ALL
SELECT 'event trigger', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(xmin::text || ctid::text, oid::bigint)) FROM pg_catalog.pg_event_trigger
) AS part (kind, n, h)";

/// A database's catalog, as it was at some moment.
#[derive(Debug)]
pub struct Snapshot {
    /// What it says.
    pub catalog: Catalog,
    /// What the database answered to [`FINGERPRINT`] then.
    pub fingerprint: Arc<str>,
    /// It said so then, or later.
    pub verified_at: Instant,
}

impl Snapshot {
    /// Whether statements may be decided by it.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.verified_at.elapsed() < FRESH_FOR
    }
}

/// A database that is watched as long as this is held.
#[derive(Debug)]
pub struct Watched {
    /// How to reach it: as the session did that came last.
    target: Mutex<Target>,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    /// Somebody waits for a newer comparison.
    wanted: Arc<Notify>,
}

impl Watched {
    /// One whose database is looked at by nobody.
    #[cfg(test)]
    pub fn with(snapshot: Snapshot) -> Arc<Self> {
        let target = Target::parse("postgresql://localhost/x").unwrap_or_else(|error| panic!("{error}"));
        let (snapshots, _) = watch::channel(Some(Arc::new(snapshot)));
        Arc::new(Self { target: Mutex::new(target), snapshots, wanted: Arc::default() })
    }

    /// As if the database had been compared now.
    #[cfg(test)]
    pub fn put(&self, snapshot: Snapshot) {
        self.snapshots.send_replace(Some(Arc::new(snapshot)));
    }

    /// The newest snapshot, and those that follow.
    pub fn snapshots(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.snapshots.subscribe()
    }

    /// A snapshot by which statements may be decided, once there is one.
    ///
    /// # Errors
    /// When none has come for too long.
    pub async fn fresh(&self) -> Result<Arc<Snapshot>, Elapsed> {
        let mut snapshots = self.snapshots();
        let fresh = async {
            loop {
                let newest = snapshots.borrow_and_update().clone();
                match newest.filter(|snapshot| snapshot.is_fresh()) {
                    Some(snapshot) => return snapshot,
                    // The sender is this watch's own, which is there as long as it is asked.
                    None => drop(snapshots.changed().await),
                }
            }
        };
        timeout(FIRST_WITHIN, fresh).await
    }

    /// Has the database compared with the snapshot now.
    pub fn verify(&self) {
        self.wanted.notify_one();
    }
}

/// The databases that are watched, by connection.
#[derive(Clone, Debug)]
pub struct Catalogs {
    watched: Arc<Mutex<HashMap<String, Weak<Watched>>>>,
    /// What was read last, by connection: most often it still holds when the next session comes.
    known: Arc<Mutex<HashMap<String, Known>>>,
    journal: Journal,
    runtime: Handle,
}

/// A catalog, and the fingerprint that the database had before it was read.
#[derive(Clone, Debug)]
struct Known {
    fingerprint: Arc<str>,
    catalog: Catalog,
}

impl Catalogs {
    /// Watches on the runtime that this is called in.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self { watched: Arc::default(), known: Arc::default(), journal, runtime: Handle::current() }
    }

    /// A connection's database.
    #[must_use]
    pub fn watch(&self, connection: &str, target: &Target, major: u16) -> Arc<Watched> {
        // Our questions are not the client's: nothing that it asked for at start-up counts for them, and nothing in any
        // schema but the server's own can stand in for what they name.
        let parameters = [("application_name", "postern"), ("search_path", "")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let target = Target { parameters, ..target.clone() };
        let mut all = self.watched.lock();
        all.retain(|_, watched| watched.strong_count() > 0);
        if let Some(watched) = all.get(connection).and_then(Weak::upgrade) {
            *watched.target.lock() = target;
            return watched;
        }
        let (snapshots, _) = watch::channel(None);
        let watched = Arc::new(Watched { target: Mutex::new(target), snapshots, wanted: Arc::default() });
        all.insert(connection.to_owned(), Arc::downgrade(&watched));
        self.runtime.spawn(self.clone().follow_forever(Arc::downgrade(&watched), connection.to_owned(), major));
        watched
    }

    async fn follow_forever(self, watched: Weak<Watched>, connection: String, major: u16) {
        let mut known = self.known.lock().get(&connection).cloned();
        while let Some(target) = watched.upgrade().map(|watched| watched.target.lock().clone()) {
            let noted = (&self.journal, connection.as_str());
            let followed = follow(&watched, &target, major, &mut known, noted).await;
            if let Some(known) = &known {
                self.known.lock().insert(connection.clone(), known.clone());
            }
            if let Err(error) = followed {
                tracing::warn!(%error, connection, "the database's catalog cannot be read; its readers' statements wait");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Compares and loads until nobody watches any more.
async fn follow(
    watched: &Weak<Watched>,
    target: &Target,
    major: u16,
    known: &mut Option<Known>,
    (journal, connection): (&Journal, &str),
) -> Result<(), DialError> {
    let mut database = timeout(ANSWER_WITHIN, postern_dial::connect(target)).await.map_err(io::Error::from)??;
    // What came with the server is the same as long as it runs.
    let mut system = None;
    while let Some(current) = watched.upgrade() {
        let asked_at = Instant::now();
        let fingerprint = ask(&mut database.io, FINGERPRINT).await?;
        let fingerprint: Arc<str> = fingerprint.into_iter().flatten().next().flatten().unwrap_or_default().into();
        let catalog = match &*known {
            Some(known) if known.fingerprint == fingerprint => known.catalog.clone(),
            _ => {
                journal.write(connection, Purpose::Catalog, "").await?;
                let catalog = load(&mut database.io, system.take(), major).await?;
                *known = Some(Known { fingerprint: Arc::clone(&fingerprint), catalog: catalog.clone() });
                catalog
            }
        };
        system = Some(catalog.system());
        current.snapshots.send_replace(Some(Arc::new(Snapshot { catalog, fingerprint, verified_at: asked_at })));
        let wanted = Arc::clone(&current.wanted);
        drop(current);
        tokio::select! {
            () = sleep(EVERY) => {}
            () = wanted.notified() => {}
        }
    }
    Ok(())
}

async fn ask(io: &mut postern_dial::Io, sql: &str) -> Result<Vec<query::Row>, DialError> {
    timeout(ANSWER_WITHIN, query::rows(io, sql)).await.map_err(io::Error::from)?
}

async fn load(io: &mut postern_dial::Io, system: Option<Arc<Part>>, major: u16) -> Result<Catalog, DialError> {
    ask(io, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    for (name, value) in SETTINGS {
        ask(io, &format!("SELECT pg_catalog.set_config('{name}', '{value}', true)")).await?;
    }
    let mut answers = Vec::new();
    for (query, sql) in questions(system.is_some(), major) {
        answers.push((query, ask(io, &sql).await?));
    }
    ask(io, "COMMIT").await?;
    build(system, answers).await.map_err(DialError::from)
}

/// The queries that give a catalog, or the half of it that users made.
pub fn questions(users_only: bool, major: u16) -> Vec<(Query, String)> {
    let from = if users_only { FIRST_USER_OID } else { 0 };
    queries(major).into_iter().map(|(query, sql)| (query, sql.replace("$1", &from.to_string()))).collect()
}

/// A catalog from what the database answered to [`questions`]. A large one takes a while.
///
/// # Errors
/// When an answer is not understood.
pub async fn build(system: Option<Arc<Part>>, answers: Vec<(Query, Vec<query::Row>)>) -> io::Result<Catalog> {
    let built = spawn_blocking(move || {
        let mut builder = Builder::new(system);
        for (query, rows) in answers {
            for row in rows {
                let row: Vec<_> = row.iter().map(Option::as_deref).collect();
                builder.row(query, &row).map_err(io::Error::other)?;
            }
        }
        Ok::<_, io::Error>(builder.build())
    });
    built.await.map_err(io::Error::other)?
}
