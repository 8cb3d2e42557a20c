//! The sessions of this connector: how they are ended from elsewhere. Touched when a session begins and ends,
//! never in between.

use parking_lot::Mutex;
use postern_proto::v1::Ticket;
use postern_types::time::Micros;
use postern_wire::error::Report;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    time::sleep,
};
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
    /// When its grant ends.
    ends_at: watch::Sender<Micros>,
}

#[derive(Debug, Default)]
struct Tables {
    sessions: HashMap<String, Entry>,
    ended_grants: HashMap<String, (Report, Instant)>,
    /// The ends of those that end later than tickets under way may say.
    extended_grants: HashMap<String, Micros>,
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
    ends_at: watch::Receiver<Micros>,
}

impl Registration {
    /// Waits until the grant is over, however often its end is put off meanwhile, and says when that was.
    pub async fn over(&mut self) -> Micros {
        loop {
            let ends_at = *self.ends_at.borrow_and_update();
            tokio::select! {
                () = sleep(ends_at.since(Micros::now())) => return ends_at,
                Ok(()) = self.ends_at.changed() => {}
            }
        }
    }
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
        let now = Micros::now();
        tables.extended_grants.retain(|_, ends_at| *ends_at > now);
        let later = tables.extended_grants.get(&grant).copied().unwrap_or(Micros(i64::MIN));
        let (ends_at, heard) = watch::channel(later.max(Micros(ticket.grant_ends_at_us)));
        tables.sessions.insert(id.clone(), Entry { grant, end, ends_at });
        Ok(Registration { registry: self.clone(), id, ends_at: heard })
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

    /// All sessions of a grant end later, those under way too.
    pub fn extend_grant(&self, grant: &str, ends_at: Micros) {
        let mut tables = self.tables.lock();
        let known = tables.extended_grants.entry(grant.to_owned()).or_insert(ends_at);
        *known = ends_at.max(*known);
        for entry in tables.sessions.values().filter(|entry| entry.grant == grant) {
            entry.ends_at.send_if_modified(|known| {
                let later = *known < ends_at;
                *known = ends_at.max(*known);
                later
            });
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{sync::mpsc::unbounded_channel, time::timeout};

    fn ticket(ends_at: Micros) -> Ticket {
        let (session_id, grant_id) = ("ses_a".to_owned(), "grt_a".to_owned());
        Ticket { session_id, grant_id, grant_ends_at_us: ends_at.0, ..Ticket::default() }
    }

    #[tokio::test]
    async fn a_grant_ends_when_it_was_said_last_to_and_never_earlier() {
        let registry = Registry::default();
        let soon = Micros::now().plus(Duration::from_millis(200));
        let later = soon.plus(Duration::from_millis(400));
        let mut session = registry.register(&ticket(soon), unbounded_channel().0).unwrap();
        let mut other = registry
            .register(
                &Ticket { session_id: "ses_b".to_owned(), grant_id: "grt_b".to_owned(), ..ticket(soon) },
                unbounded_channel().0,
            )
            .unwrap();
        let waiting = tokio::spawn(async move { session.over().await });
        registry.extend_grant("grt_a", later);
        registry.extend_grant("grt_a", soon);
        assert_eq!(other.over().await, soon);
        assert_eq!(waiting.await.unwrap(), later);
        assert!(Micros::now() >= later);
        // One whose ticket was signed before ends then too; what is over is over.
        registry.extend_grant("grt_c", Micros::now().plus(Duration::from_secs(60)));
        let early = Ticket { session_id: "ses_c".to_owned(), grant_id: "grt_c".to_owned(), ..ticket(soon) };
        let mut early = registry.register(&early, unbounded_channel().0).unwrap();
        assert!(timeout(Duration::from_millis(50), early.over()).await.is_err());
    }
}
