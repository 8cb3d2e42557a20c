//! The control plane's database: SQLite for one node, PostgreSQL for any number of replicas.
//!
//! Only this module speaks SQL. Statements are written once, with `$n` parameters and in the part of SQL that
//! both know; what differs is in the migrations, a folder for each. A change and the audit event that records
//! it are written in one [`Tx`].

pub mod access;
pub mod audit;
pub mod bus;
pub mod changes;
pub mod connections;
pub mod credentials;
pub mod device_logins;
pub mod external_identities;
pub mod freezes;
pub mod identities;
pub mod issuers;
pub mod join_tokens;
pub mod kv;
mod migrations;
pub mod notifications;
pub mod one_time;
pub mod overview;
pub mod policies;
pub mod principals;
pub mod providers;
pub mod requests;
pub mod reviews;
pub mod scim;
pub mod sessions;
pub mod sign_ins;
pub mod sql;
pub mod stops;
pub mod tokens;
pub mod web_sessions;

pub use changes::Changes;
pub use sql::{Row, Tx, Value};

use crate::config::StoreConfig;
use sqlx::{
    PgPool, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::sync::Mutex;

/// How long a statement waits for another process that writes to the same SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections to SQLite: one writes at a time, the others read.
const SQLITE_CONNECTIONS: u32 = 8;

/// Connections of one replica to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 16;

/// How long a caller waits for a free connection before it is told that the store cannot be reached.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// The store failed, or what it holds cannot be read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database failed or cannot be reached.
    #[error("the control plane's database failed")]
    Database(#[source] sqlx::Error),
    /// The schema cannot be brought up to date.
    #[error("the control plane's database cannot be migrated")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The file of the database cannot be made.
    #[error("the database file cannot be created")]
    File(#[source] std::io::Error),
    /// A stored value is not what this version writes.
    #[error("the stored {what} cannot be read: {problem}")]
    Corrupt {
        /// Which column or object.
        what: &'static str,
        /// Why.
        problem: String,
    },
    /// The audit's records cannot be packed or unpacked.
    #[error("an audit segment cannot be read or written")]
    Audit(#[source] postern_audit::segment::SegmentError),
}

impl StoreError {
    /// Whether a row of that key was there before.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }

    /// A stored value that this version does not write.
    pub fn corrupt(what: &'static str, problem: impl std::fmt::Display) -> Self {
        Self::Corrupt { what, problem: problem.to_string() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// The control plane's database. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Store {
    /// Embedded, for one node.
    Sqlite(Sqlite),
    /// Shared by all replicas.
    Postgres(Shared),
}

/// PostgreSQL, from one replica.
#[derive(Clone, Debug)]
pub struct Shared {
    pool: PgPool,
    changes: Arc<Changes>,
}

/// SQLite, with a lock in front: writers of one process queue here in order, instead of polling for SQLite's own.
#[derive(Clone, Debug)]
pub struct Sqlite {
    pool: SqlitePool,
    writer: Arc<Mutex<()>>,
    changes: Arc<Changes>,
}

impl Store {
    /// Opens the database that is configured and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be opened or migrated.
    pub async fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let store = match config {
            StoreConfig::Sqlite { path } => Self::open_sqlite(path).await?,
            StoreConfig::Postgres { url } => {
                let pool = PgPoolOptions::new()
                    .max_connections(POSTGRES_CONNECTIONS)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .connect(secrecy::ExposeSecret::expose_secret(url))
                    .await?;
                Self::Postgres(Shared { pool, changes: Arc::default() })
            }
        };
        migrations::run(&store).await?;
        Ok(store)
    }

    async fn open_sqlite(path: &Path) -> Result<Self, StoreError> {
        create_private(path).map_err(StoreError::File)?;
        // FULL: an audit segment that was acknowledged is deleted from the connector's outbox, so it has to
        // survive a power cut here.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(SQLITE_CONNECTIONS)
            // All from the start: what the process needs shows at once, and does not grow under load.
            .min_connections(SQLITE_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await?;
        Ok(Self::Sqlite(Sqlite { pool, writer: Arc::default(), changes: Arc::default() }))
    }

    /// Begins a transaction that may write. On SQLite it has the write lock from the start, so that what it read
    /// is still so when it writes.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        match self {
            Self::Sqlite(sqlite) => {
                let guard = Arc::clone(&sqlite.writer).lock_owned().await;
                let tx = sqlite.pool.begin_with("BEGIN IMMEDIATE").await?;
                Ok(Tx::sqlite(tx, Some(guard), Arc::clone(&sqlite.changes)))
            }
            Self::Postgres(shared) => Ok(Tx::postgres(shared.pool.begin().await?, Arc::clone(&shared.changes))),
        }
    }

    /// Begins a transaction that only reads, all of it at one moment.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        match self {
            Self::Sqlite(sqlite) => Ok(Tx::sqlite(sqlite.pool.begin().await?, None, Arc::clone(&sqlite.changes))),
            Self::Postgres(shared) => {
                let tx = shared.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
                Ok(Tx::postgres(tx, Arc::clone(&shared.changes)))
            }
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut tx = self.read().await?;
        tx.row("SELECT 1 AS one", []).await?;
        Ok(())
    }

    /// The pool of PostgreSQL, for LISTEN and NOTIFY; none on SQLite, where there is one process.
    #[must_use]
    pub fn postgres(&self) -> Option<&PgPool> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(shared) => Some(&shared.pool),
        }
    }

    /// What transactions of this process have changed.
    #[must_use]
    pub fn changes(&self) -> &Arc<Changes> {
        match self {
            Self::Sqlite(sqlite) => &sqlite.changes,
            Self::Postgres(shared) => &shared.changes,
        }
    }

    /// Closes all connections, once what runs on them has ended.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.pool.close().await,
            Self::Postgres(shared) => shared.pool.close().await,
        }
    }
}

/// Makes the file before SQLite does, readable for its owner only; SQLite gives its side files the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
