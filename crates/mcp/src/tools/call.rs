//! One call of a tool: its client may give it up, and hears of it meanwhile if it wants to.

use rmcp::{
    Peer, RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::RequestContext,
};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a client may take to hear something, before it is left out.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest message.
const MAX_TOLD: usize = 500;

/// One call of a tool.
pub(crate) struct Call {
    given_up: CancellationToken,
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    told: u32,
}

impl Call {
    pub(crate) fn new(context: RequestContext<RoleServer>) -> Self {
        Self { given_up: context.ct, token: context.meta.get_progress_token(), peer: context.peer, told: 0 }
    }

    /// Once the client has given up.
    pub(crate) async fn cancelled(&self) {
        self.given_up.cancelled().await;
    }

    /// Tells a client that has asked for it how things stand.
    pub(crate) async fn tell(&mut self, message: &str) {
        let Some(token) = &self.token else { return };
        self.told = self.told.saturating_add(1);
        let message: String = message.chars().take(MAX_TOLD).collect();
        let told = ProgressNotificationParam::new(token.clone(), f64::from(self.told)).with_message(message);
        // Whoever does not hear it gets the answer all the same.
        let _ = timeout(PATIENCE, self.peer.notify_progress(told)).await;
    }
}
