//! How replicas that share a PostgreSQL tell each other of changes.

use super::{Store, StoreError};
use sqlx::postgres::PgListener;

/// The channel of LISTEN and NOTIFY.
const CHANNEL: &str = "postern_hub";

/// Tells all replicas. Without effect on SQLite, where there is one process.
pub async fn publish(store: &Store, payload: &str) -> Result<(), StoreError> {
    if let Some(pool) = store.postgres() {
        sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(pool).await?;
    }
    Ok(())
}

/// Hears what replicas say, this one too.
pub struct Listener(PgListener);

impl Listener {
    /// Begins to listen; none on SQLite.
    pub async fn start(store: &Store) -> Result<Option<Self>, StoreError> {
        let Some(pool) = store.postgres() else { return Ok(None) };
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Some(Self(listener)))
    }

    /// The next message. None: the connection was lost, and messages may have been missed.
    ///
    /// Cancel safe: no message is lost with the future.
    pub async fn next(&mut self) -> Result<Option<String>, StoreError> {
        let notification = self.0.try_recv().await?;
        Ok(notification.map(|notification| notification.payload().to_owned()))
    }
}
