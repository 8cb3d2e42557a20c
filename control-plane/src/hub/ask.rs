//! Questions that a connector answers on its control stream: an id, an answer or none in time.

use super::{ConnectorPeer, Hub};
use crate::problem::{Problem, shorten};
use postern_proto::v1::{
    Analyse, Analysed, CheckMasks, ConnectorCommand, MasksChecked, Scan, Scanned, analysed, connector_command::Command,
    masks_checked, scanned,
};
use std::{sync::atomic::Ordering, time::Duration};
use thiserror::Error;
use tokio::{sync::oneshot, time::timeout};

/// How long an answer is awaited: the connector may have to read the catalog of a large database first.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// Questions that one connector may owe an answer.
const MAX_OPEN: usize = 16;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// No such connector is attached here and serves the connection.
    #[error("it is not attached to this control plane")]
    NotAttached,
    /// It owes too many already.
    #[error("it is busy with other questions")]
    Busy,
    /// Its stream ended first.
    #[error("its control stream ended")]
    Gone,
    /// It said nothing in time.
    #[error("it did not answer in time")]
    Silent,
}

impl Unanswered {
    /// The same for a caller who wanted to know `what`.
    #[must_use]
    pub fn told(self, what: &str, connector: &str) -> Problem {
        let hint = match self {
            Self::NotAttached => "`postern connectors` shows which are up; start it, or wait until it is back",
            Self::Busy => "try again shortly",
            Self::Gone => "try again once it is back: `postern connectors` shows it",
            Self::Silent => "its log says why; one of an older version cannot answer this",
        };
        let connector = shorten(connector);
        Problem::unavailable(format!("{what} is known by the connector `{connector}` alone, and {self}")).hint(hint)
    }
}

/// What a connector answers.
#[derive(Debug)]
pub enum Answer {
    /// What a string would do.
    Analysed(Option<analysed::Result>),
    /// What seems to stand in columns.
    Scanned(Option<scanned::Result>),
    /// Which masks do not suit their columns.
    MasksChecked(Option<masks_checked::Result>),
}

/// What an attached connector was asked and has not answered.
#[derive(Debug, Default)]
pub(super) struct Questions(Vec<(u64, oneshot::Sender<Answer>)>);

impl Hub {
    /// Asks a connector of that name what a string would do. The question's id is given here.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn analyse(&self, connector: &str, question: Analyse) -> Result<analysed::Result, Unanswered> {
        let (connection, id) = (question.connection.clone(), self.next_question());
        match self.ask(connector, &connection, id, Command::Analyse(Analyse { id, ..question })).await? {
            Answer::Analysed(Some(answer)) => Ok(answer),
            _ => Err(Unanswered::Silent),
        }
    }

    /// Asks a connector of that name what columns seem to hold. The question's id is given here.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn scan(&self, connector: &str, question: Scan) -> Result<scanned::Result, Unanswered> {
        let (connection, id) = (question.connection.clone(), self.next_question());
        match self.ask(connector, &connection, id, Command::Scan(Scan { id, ..question })).await? {
            Answer::Scanned(Some(answer)) => Ok(answer),
            _ => Err(Unanswered::Silent),
        }
    }

    /// Asks a connector of that name whether masks suit the columns that they are for. The question's id is given here.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn check_masks(
        &self,
        connector: &str,
        question: CheckMasks,
    ) -> Result<masks_checked::Result, Unanswered> {
        let (connection, id) = (question.connection.clone(), self.next_question());
        match self.ask(connector, &connection, id, Command::CheckMasks(CheckMasks { id, ..question })).await? {
            Answer::MasksChecked(Some(answer)) => Ok(answer),
            _ => Err(Unanswered::Silent),
        }
    }

    fn next_question(&self) -> u64 {
        self.inner.questions.fetch_add(1, Ordering::Relaxed)
    }

    async fn ask(&self, connector: &str, connection: &str, id: u64, command: Command) -> Result<Answer, Unanswered> {
        let answer = self.put(connector, connection, id, command)?;
        let answer = timeout(ANSWER_WITHIN, answer).await.map_err(|_| Unanswered::Silent)?;
        answer.map_err(|_| Unanswered::Gone)
    }

    fn put(
        &self,
        connector: &str,
        connection: &str,
        id: u64,
        command: Command,
    ) -> Result<oneshot::Receiver<Answer>, Unanswered> {
        let mut state = self.inner.state.lock();
        let serves = |peer: &&mut ConnectorPeer| peer.name == connector && peer.serves(connection);
        let is_down = |peer: &ConnectorPeer| peer.health.get(connection).is_some_and(|it| !it.reachable);
        let fitting = state.connectors.values_mut().filter(serves);
        let peer = fitting.min_by_key(|peer| is_down(peer)).ok_or(Unanswered::NotAttached)?;
        // Those that nobody waits for any more.
        peer.questions.0.retain(|(_, asked)| !asked.is_closed());
        if peer.questions.0.len() >= MAX_OPEN {
            return Err(Unanswered::Busy);
        }
        let (asked, answer) = oneshot::channel();
        peer.queue.try_send(Ok(ConnectorCommand { command: Some(command) })).map_err(|_| Unanswered::Busy)?;
        peer.questions.0.push((id, asked));
        Ok(answer)
    }

    /// A connector has said what a string would do.
    pub fn analysed(&self, key: &super::ConnectorKey, Analysed { id, result }: Analysed) {
        self.answered(key, id, Answer::Analysed(result));
    }

    /// A connector has said what columns seem to hold.
    pub fn scanned(&self, key: &super::ConnectorKey, Scanned { id, result }: Scanned) {
        self.answered(key, id, Answer::Scanned(result));
    }

    /// A connector has said which masks do not suit their columns.
    pub fn masks_checked(&self, key: &super::ConnectorKey, MasksChecked { id, result }: MasksChecked) {
        self.answered(key, id, Answer::MasksChecked(result));
    }

    /// What it was not asked, or is answered too late, nobody hears.
    fn answered(&self, key: &super::ConnectorKey, id: u64, answer: Answer) {
        self.with_connector(key, |peer| {
            if let Some(at) = peer.questions.0.iter().position(|(asked, _)| *asked == id) {
                let (_, asked) = peer.questions.0.swap_remove(at);
                let _ = asked.send(answer);
            }
        });
    }
}
