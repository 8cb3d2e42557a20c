//! The connections of the login that makes roles: a few at once, and one is kept for a moment for whoever comes next.

use crate::{journal::Journal, session::open};
use parking_lot::Mutex;
use postern_dial::{Connection, DialError, Target, query};
use postern_proto::v1::Purpose;
use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

/// The most connections to one database at once. A role is made in a few milliseconds.
const AT_ONCE: usize = 4;

/// An idle one is kept for so long: while it is there, the database cannot be dropped.
const IDLE_FOR: Duration = Duration::from_secs(10);

/// Connecting, and each question, takes no longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Nothing of ours waits longer for a lock.
const LOCK_TIMEOUT: &str = "5s";

/// Those of all databases.
pub struct Workshops {
    journal: Journal,
    by_place: Mutex<HashMap<String, Arc<Workshop>>>,
}

/// The login that makes roles in a database.
#[derive(Clone)]
pub struct Maker {
    /// The connection's name.
    pub connection: String,
    /// How it gets in.
    pub login: Target,
}

struct Workshop {
    places: Arc<Semaphore>,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

/// A connection that is in use. Afterwards it is kept for whoever comes next, unless it failed.
pub struct Tool {
    connection: Option<Connection>,
    journal: Journal,
    /// What the database is called as.
    place: String,
    workshop: Arc<Workshop>,
    _turn: OwnedSemaphorePermit,
    standby: bool,
}

impl Workshops {
    /// Of nothing yet.
    pub fn new(journal: Journal) -> Self {
        Self { journal, by_place: Mutex::default() }
    }

    fn of(&self, maker: &Target) -> Arc<Workshop> {
        // By what tells databases and logins apart, and no secret.
        let place = format!("{:?} {:?} {:?}", maker.hosts, maker.database(), maker.user);
        let mut all = self.by_place.lock();
        all.retain(|_, workshop| Arc::strong_count(workshop) > 1 || !workshop.idle.lock().is_empty());
        let made = || Arc::new(Workshop { places: Arc::new(Semaphore::new(AT_ONCE)), idle: Mutex::default() });
        Arc::clone(all.entry(place).or_insert_with(made))
    }

    /// A connection that answers, kept or new.
    ///
    /// # Errors
    /// When the login does not get in.
    pub async fn tool(&self, maker: &Maker) -> Result<Tool, DialError> {
        let Maker { connection: place, login: maker } = maker;
        let workshop = self.of(maker);
        let turn = Arc::clone(&workshop.places).acquire_owned().await.map_err(io::Error::other)?;
        loop {
            let kept = workshop.idle.lock().pop();
            let is_new = kept.is_none();
            let mut connection = match kept {
                Some((connection, _)) => connection,
                None => connect(maker).await?,
            };
            match ask(&mut connection, "SELECT pg_catalog.pg_is_in_recovery()").await {
                Ok(rows) => {
                    let standby = rows.into_iter().flatten().flatten().any(|answer| answer == "t");
                    let (journal, place) = (self.journal.clone(), place.clone());
                    return Ok(Tool { connection: Some(connection), journal, place, workshop, _turn: turn, standby });
                }
                Err(error) if is_new => return Err(error),
                // It was closed while nobody used it.
                Err(_) => {}
            }
        }
    }
}

impl Tool {
    /// Whether the server is a standby, which changes nothing.
    pub fn is_standby(&self) -> bool {
        self.standby
    }

    /// The server's major version, if it says it.
    pub fn major(&self) -> Option<u16> {
        self.connection.as_ref().and_then(open::major)
    }

    /// Changes something, as a query string, which is one transaction. It is recorded as `shown`.
    ///
    /// # Errors
    /// What the server says, or that it says nothing; that it cannot be recorded, and was not done.
    pub async fn change(&mut self, sql: &str, shown: &str) -> Result<(), DialError> {
        self.journal.write(&self.place, Purpose::Role, shown).await?;
        self.ask(sql).await.map(drop)
    }

    /// Asks what stands in the server's catalog.
    ///
    /// # Errors
    /// What the server says, or that it says nothing.
    pub async fn ask(&mut self, sql: &str) -> Result<Vec<query::Row>, DialError> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let mut connection = self.connection.take().ok_or_else(gone)?;
        let answer = ask(&mut connection, sql).await;
        if matches!(answer, Ok(_) | Err(DialError::Server { .. })) {
            self.connection = Some(connection);
        }
        answer
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let (Some(connection), Ok(runtime)) = (self.connection.take(), Handle::try_current()) else { return };
        let workshop = Arc::clone(&self.workshop);
        workshop.idle.lock().push((connection, Instant::now()));
        runtime.spawn(async move {
            sleep(IDLE_FOR).await;
            workshop.idle.lock().retain(|(_, since)| since.elapsed() < IDLE_FOR);
        });
    }
}

async fn connect(maker: &Target) -> Result<Connection, DialError> {
    // Nothing in any schema but the server's own can stand in for what is named.
    let parameters = [
        ("application_name", "postern"),
        ("search_path", ""),
        ("standard_conforming_strings", "on"),
        ("default_transaction_read_only", "off"),
        ("lock_timeout", LOCK_TIMEOUT),
    ];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let target = Target { parameters, minor: 0, ..maker.clone() };
    timeout(ANSWER_WITHIN, postern_dial::connect(&target)).await.map_err(io::Error::from)?
}

async fn ask(connection: &mut Connection, sql: &str) -> Result<Vec<query::Row>, DialError> {
    timeout(ANSWER_WITHIN, query::rows(&mut connection.io, sql)).await.map_err(io::Error::from)?
}
