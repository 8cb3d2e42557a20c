//! What has changed: told to callers that wait, on any replica, and to the sessions that wait for a review.

use super::{ConnectorKey, Hub, event::Event};
use crate::{
    reviews::tell,
    store::{
        StoreError,
        reviews::{self, Wait},
    },
};
use postern_api::{event::Subject, review::ReviewStatus};
use postern_proto::v1::{ConnectorCommand, connector_command::Command};
use postern_types::id::ReviewId;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::broadcast::{self, error::RecvError};

/// Changes that one caller may be behind; then it has to look at everything anew.
pub(super) const BEHIND: usize = 1024;

/// Ids in one message to other replicas, which has less than 8000 bytes.
pub(super) const MAX_IDS: usize = 150;

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This.
    Of(Subject, String),
    /// Not known what: something may have been missed.
    Unknown,
    /// The process stops: nothing more will be told.
    Closing,
}

/// Why somebody waits no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It may have changed: look again.
    Changed,
    /// The process stops.
    Ended,
}

/// Waits until something may have changed.
///
/// Cancel safe: what was heard is only a reason to look.
pub async fn until_changed(changes: &mut broadcast::Receiver<Change>, subject: Subject, id: &str) -> Waited {
    loop {
        match changes.recv().await {
            Ok(Change::Of(of, which)) if of != subject || which != id => {}
            Ok(Change::Of(..) | Change::Unknown) | Err(RecvError::Lagged(_)) => return Waited::Changed,
            Ok(Change::Closing) | Err(RecvError::Closed) => return Waited::Ended,
        }
    }
}

impl Hub {
    /// Runs for ever: tells all who wait what was changed here, wherever they are.
    pub(super) async fn tell_changes(&self) {
        loop {
            let mut of: BTreeMap<Subject, Vec<String>> = BTreeMap::new();
            for (subject, id) in self.inner.store.changes().next().await {
                of.entry(subject).or_default().push(id);
            }
            for (subject, ids) in of {
                for ids in ids.chunks(MAX_IDS) {
                    self.tell(Event::Changed { subject, ids: ids.to_vec() });
                }
            }
        }
    }

    /// Hears of all changes from now on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    /// Those who wait here look again.
    pub(super) fn note_changes(&self, subject: Subject, ids: &[String]) {
        for id in ids {
            // Nobody may be listening.
            let _ = self.inner.changes.send(Change::Of(subject, id.clone()));
        }
        if subject == Subject::Review {
            self.inner.reviews.lock().extend(ids.iter().cloned());
            self.inner.review_changed.notify_one();
        }
    }

    /// Those who wait here wait no more.
    pub(super) fn end_changes(&self) {
        let _ = self.inner.changes.send(Change::Closing);
    }

    /// Runs for ever: tells connectors how the reviews stand for which their sessions wait.
    pub(super) async fn tell_waiting(&self) {
        loop {
            self.inner.review_changed.notified().await;
            let changed: BTreeSet<String> = std::mem::take(&mut *self.inner.reviews.lock());
            for id in changed {
                if let Err(error) = self.tell_review(&id).await {
                    tracing::warn!(
                        review = id,
                        error = &error as &dyn std::error::Error,
                        "waiting sessions cannot be told; their clients get a ticket"
                    );
                }
            }
        }
    }

    async fn tell_review(&self, id: &str) -> Result<(), StoreError> {
        let Ok(id) = id.parse::<ReviewId>() else { return Ok(()) };
        let mut tx = self.inner.store.read().await?;
        let waits = reviews::waits(&mut tx, &id).await?;
        self.tell_waits(&mut tx, waits).await
    }

    /// Changes may have been missed: all who wait here look again.
    pub(super) async fn missed_changes(&self) -> Result<(), StoreError> {
        let _ = self.inner.changes.send(Change::Unknown);
        let keys: Vec<ConnectorKey> = self.inner.state.lock().connectors.keys().cloned().collect();
        let mut tx = self.inner.store.read().await?;
        for key in keys {
            let waits = reviews::waits_at(&mut tx, &key.id, &key.incarnation).await?;
            self.tell_waits(&mut tx, waits).await?;
        }
        Ok(())
    }

    async fn tell_waits(&self, tx: &mut crate::store::Tx, waits: Vec<Wait>) -> Result<(), StoreError> {
        for wait in waits {
            let key = ConnectorKey { id: wait.connector, incarnation: wait.incarnation };
            if !self.inner.state.lock().connectors.contains_key(&key) {
                continue;
            }
            // That it waits still, it knows.
            let row = reviews::by_id(tx, &wait.review).await?.filter(|row| row.status != ReviewStatus::Pending);
            let Some(row) = row else { continue };
            let votes = reviews::votes(tx, &wait.review).await?;
            let stands = tell::stands(&row, &votes, wait.session.as_str(), &wait.key, self.inner.public_url.as_deref());
            self.command(&key, Command::ReviewStands(stands));
        }
        Ok(())
    }

    /// Tells one connector; one that does not read is cut off.
    fn command(&self, key: &ConnectorKey, command: Command) {
        let mut state = self.inner.state.lock();
        let command = ConnectorCommand { command: Some(command) };
        if state.connectors.get(key).is_some_and(|peer| peer.queue.try_send(Ok(command)).is_err()) {
            tracing::warn!(connector = %key.id, "the connector does not read its commands and is cut off");
            state.connectors.remove(key);
        }
    }
}
