//! What the connector does in databases by itself, on connections of its own: recorded before it is done. What it asks on a
//! session's connection is recorded with the session's statements.

use crate::outbox::recorder::{MAX_TEXT_BYTES, Recorder};
use postern_proto::v1::{OwnWork, Purpose, audit_record::Record};
use postern_types::time::Micros;
use std::io;
use tokio::sync::{mpsc, oneshot};

/// Works that wait to be written. Each holds up whoever wants to do it.
const MAX_WAITING: usize = 64;

/// Records what this connector is about to do.
#[derive(Clone, Debug)]
pub struct Journal {
    works: mpsc::Sender<Waiting>,
}

/// What is to be written, by a thread that has a recorder.
#[derive(Debug)]
pub struct Works(mpsc::Receiver<Waiting>);

type Waiting = (OwnWork, oneshot::Sender<io::Result<()>>);

impl Journal {
    /// Of this connector.
    #[must_use]
    pub fn new() -> (Self, Works) {
        let (works, waiting) = mpsc::channel(MAX_WAITING);
        (Self { works }, Works(waiting))
    }

    /// Returns once it is recorded. The text must not have a secret in it.
    ///
    /// # Errors
    /// When it cannot be recorded: then it must not be done.
    pub async fn write(&self, connection: &str, purpose: Purpose, sql: &str) -> io::Result<()> {
        let work = OwnWork {
            at_us: Micros::now().0,
            connection: connection.to_owned(),
            purpose: purpose.into(),
            sql: sql.as_bytes().get(..MAX_TEXT_BYTES).unwrap_or(sql.as_bytes()).to_vec().into(),
            length: sql.len() as u64,
        };
        let (written, answer) = oneshot::channel();
        self.works.send((work, written)).await.map_err(io::Error::other)?;
        answer.await.map_err(io::Error::other)?
    }
}

impl Works {
    /// Writes them, for as long as anybody works.
    pub async fn write_forever(mut self, recorder: &Recorder) {
        while let Some((work, written)) = self.0.recv().await {
            let done = recorder.append(Record::OwnWork(work)).and_then(|()| recorder.flush());
            // Whoever does not wait any more does nothing.
            let _ = written.send(done.map_err(io::Error::other));
        }
    }
}
