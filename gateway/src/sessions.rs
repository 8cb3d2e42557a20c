//! The sessions of this gateway: who can be cancelled or ended from elsewhere. Touched when a session begins
//! and ends, never in between.

use parking_lot::Mutex;
use postern_wire::{backend::BackendKey, error::Report};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

/// What a running session can be told.
#[derive(Debug)]
pub enum Command {
    /// Cancel what runs, and say when the request is on its way: whatever the client says after that follows it.
    Cancel(oneshot::Sender<()>),
    /// End, with this error.
    End(Report),
}

#[derive(Debug)]
struct Entry {
    grant: String,
    cancel_key: Option<(i32, Vec<u8>)>,
    commands: UnboundedSender<Command>,
}

#[derive(Debug, Default)]
struct Tables {
    by_id: HashMap<String, Entry>,
    by_key: HashMap<(i32, Vec<u8>), String>,
}

/// All sessions of a gateway.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    tables: Arc<Mutex<Tables>>,
}

/// Takes the session out of the tables when it ends.
#[derive(Debug)]
pub struct Registration {
    sessions: Sessions,
    id: String,
}

impl Sessions {
    /// A session begins.
    #[must_use]
    pub fn register(&self, id: String, grant: String, commands: UnboundedSender<Command>) -> Registration {
        self.tables.lock().by_id.insert(id.clone(), Entry { grant, cancel_key: None, commands });
        metrics::gauge!("postern_gateway_sessions").increment(1.0);
        Registration { sessions: self.clone(), id }
    }

    /// Cancels the session whose key this is; the answer comes once the request is on its way, or the session
    /// over. None when it is none of this gateway's.
    #[must_use]
    pub fn cancel(&self, pid: i32, secret: &[u8]) -> Option<oneshot::Receiver<()>> {
        let tables = self.tables.lock();
        let id = tables.by_key.get(&(pid, secret.to_vec()));
        let entry = id.and_then(|id| tables.by_id.get(id))?;
        let (sent, answer) = oneshot::channel();
        entry.commands.send(Command::Cancel(sent)).is_ok().then_some(answer)
    }

    /// Ends one session.
    pub fn end_session(&self, id: &str, report: &Report) {
        if let Some(entry) = self.tables.lock().by_id.get(id) {
            // A session that is just ending has dropped its end: nothing is left to do.
            let _ = entry.commands.send(Command::End(report.clone()));
        }
    }

    /// Ends all sessions of a grant.
    pub fn end_grant(&self, grant: &str, report: &Report) {
        for entry in self.tables.lock().by_id.values().filter(|entry| entry.grant == grant) {
            let _ = entry.commands.send(Command::End(report.clone()));
        }
    }

    /// Ends everything.
    pub fn end_all(&self, report: &Report) {
        for entry in self.tables.lock().by_id.values() {
            let _ = entry.commands.send(Command::End(report.clone()));
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tables.lock().by_id.len()
    }
}

impl Registration {
    /// The client is told this key. False when another session has the same.
    #[must_use]
    pub fn set_cancel_key(&self, key: &BackendKey) -> bool {
        let mut tables = self.sessions.tables.lock();
        let key = (key.pid, key.secret.clone());
        if tables.by_key.contains_key(&key) {
            return false;
        }
        if let Some(entry) = tables.by_id.get_mut(&self.id) {
            entry.cancel_key = Some(key.clone());
        }
        tables.by_key.insert(key, self.id.clone());
        true
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        metrics::gauge!("postern_gateway_sessions").decrement(1.0);
        let mut tables = self.sessions.tables.lock();
        if let Some(key) = tables.by_id.remove(&self.id).and_then(|entry| entry.cancel_key) {
            tables.by_key.remove(&key);
        }
    }
}
