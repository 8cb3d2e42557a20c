//! Questions that a connector answers on its control stream: an id, an answer or none in time.

use super::{ConnectorPeer, Hub};
use postern_proto::v1::{Analyse, Analysed, ConnectorCommand, analysed, connector_command::Command};
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

/// What an attached connector was asked and has not answered.
#[derive(Debug, Default)]
pub(super) struct Questions(Vec<(u64, oneshot::Sender<Option<analysed::Result>>)>);

impl Hub {
    /// Asks a connector of that name what a string would do. The question's id is given here.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn analyse(&self, connector: &str, question: Analyse) -> Result<analysed::Result, Unanswered> {
        let id = self.inner.questions.fetch_add(1, Ordering::Relaxed);
        let answer = self.ask(connector, Analyse { id, ..question })?;
        let answer = timeout(ANSWER_WITHIN, answer).await.map_err(|_| Unanswered::Silent)?;
        answer.map_err(|_| Unanswered::Gone)?.ok_or(Unanswered::Silent)
    }

    fn ask(
        &self,
        connector: &str,
        question: Analyse,
    ) -> Result<oneshot::Receiver<Option<analysed::Result>>, Unanswered> {
        let mut state = self.inner.state.lock();
        let serves = |peer: &&mut ConnectorPeer| peer.name == connector && peer.serves(&question.connection);
        let is_down = |peer: &ConnectorPeer| peer.health.get(&question.connection).is_some_and(|it| !it.reachable);
        let fitting = state.connectors.values_mut().filter(serves);
        let peer = fitting.min_by_key(|peer| is_down(peer)).ok_or(Unanswered::NotAttached)?;
        // Those that nobody waits for any more.
        peer.questions.0.retain(|(_, asked)| !asked.is_closed());
        if peer.questions.0.len() >= MAX_OPEN {
            return Err(Unanswered::Busy);
        }
        let (asked, answer) = oneshot::channel();
        let id = question.id;
        let command = ConnectorCommand { command: Some(Command::Analyse(question)) };
        peer.queue.try_send(Ok(command)).map_err(|_| Unanswered::Busy)?;
        peer.questions.0.push((id, asked));
        Ok(answer)
    }

    /// A connector has answered. What it was not asked, or is answered too late, nobody hears.
    pub fn answered(&self, key: &super::ConnectorKey, answer: Analysed) {
        self.with_connector(key, |peer| {
            if let Some(at) = peer.questions.0.iter().position(|(id, _)| *id == answer.id) {
                let (_, asked) = peer.questions.0.swap_remove(at);
                let _ = asked.send(answer.result);
            }
        });
    }
}
