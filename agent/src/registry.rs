//! The sessions of this connector: how they are ended from elsewhere. Touched when a session begins and ends,
//! never in between.

use parking_lot::Mutex;
use postern_proto::v1::Ticket;
use postern_wire::error::Report;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

/// A grant that has ended is remembered for longer than a ticket of it can be under way.
const REMEMBER_ENDED: Duration = Duration::from_secs(120);

/// Tells a session to end.
#[derive(Clone, Debug)]
pub struct End {
    /// In a word, for the record.
    pub reason: &'static str,
    /// What the client is told.
    pub report: Report,
}

#[derive(Debug)]
struct Entry {
    grant: String,
    end: UnboundedSender<End>,
}

#[derive(Debug, Default)]
struct Tables {
    sessions: HashMap<String, Entry>,
    ended_grants: HashMap<String, (Report, Instant)>,
}

/// All sessions of a connector.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    tables: Arc<Mutex<Tables>>,
    draining: CancellationToken,
}

/// Takes the session out when it ends.
#[derive(Debug)]
pub struct Registration {
    registry: Registry,
    id: String,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.tables.lock().sessions.remove(&self.id);
    }
}

impl Registry {
    /// A session begins.
    ///
    /// # Errors
    /// What the client is to be told when its grant has just ended, or the connector is about to stop.
    pub fn register(&self, ticket: &Ticket, end: UnboundedSender<End>) -> Result<Registration, Report> {
        let (id, grant) = (ticket.session_id.clone(), ticket.grant_id.clone());
        let mut tables = self.tables.lock();
        if self.draining.is_cancelled() {
            let hint = "Connect again: another connector, or this one after its restart, will serve you.";
            return Err(Report::new("57P03", "the connector is about to stop and takes no new session", hint));
        }
        tables.ended_grants.retain(|_, (_, at)| at.elapsed() < REMEMBER_ENDED);
        if let Some((report, _)) = tables.ended_grants.get(&grant) {
            return Err(report.clone());
        }
        let entry = Entry { grant, end };
        tables.sessions.insert(id.clone(), entry);
        Ok(Registration { registry: self.clone(), id })
    }

    /// Ends one session.
    pub fn end_session(&self, id: &str, end: &End) {
        if let Some(entry) = self.tables.lock().sessions.get(id) {
            // A session that is just ending needs no telling.
            let _ = entry.end.send(end.clone());
        }
    }

    /// Ends all sessions of a grant, and refuses those that are under way.
    pub fn end_grant(&self, grant: &str, end: &End) {
        let mut tables = self.tables.lock();
        tables.ended_grants.insert(grant.to_owned(), (end.report.clone(), Instant::now()));
        for entry in tables.sessions.values().filter(|entry| entry.grant == grant) {
            let _ = entry.end.send(end.clone());
        }
    }

    /// Ends everything.
    pub fn end_all(&self, end: &End) {
        for entry in self.tables.lock().sessions.values() {
            let _ = entry.end.send(end.clone());
        }
    }

    /// Takes no new session from now on.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Waits until [`drain`](Self::drain) was called.
    pub async fn drained(&self) {
        self.draining.cancelled().await;
    }

    /// Their ids.
    #[must_use]
    pub fn live(&self) -> Vec<String> {
        self.tables.lock().sessions.keys().cloned().collect()
    }
}
