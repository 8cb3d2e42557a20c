//! Records refusals of those who have proved nothing yet: so many within a minute, since anybody can call for more and the
//! audit is kept for ever.

use crate::{
    audit::{self, Event},
    store::{Store, StoreError},
};
use parking_lot::Mutex;
use postern_types::time::Micros;
use serde_json::Value;
use std::time::Duration;

/// Refusals that are recorded within a minute.
const RECORDED_IN_A_MINUTE: u32 = 60;

/// Refusals of one kind.
pub(crate) struct Refusals {
    action: &'static str,
    metric: &'static str,
    recorded: Mutex<(Micros, u32)>,
}

impl Refusals {
    /// Those that are recorded as `action`; `metric` counts all.
    pub(crate) fn new(action: &'static str, metric: &'static str) -> Self {
        Self { action, metric, recorded: Mutex::new((Micros(0), 0)) }
    }

    /// Counts one, and records it unless there were too many.
    pub(crate) async fn record(
        &self,
        store: &Store,
        subject: &str,
        detail: &Value,
        now: Micros,
    ) -> Result<(), StoreError> {
        metrics::counter!(self.metric).increment(1);
        if !self.is_within(now) {
            return Ok(());
        }
        let mut tx = store.begin().await?;
        audit::append_control(&mut tx, Event::new(now, self.action, None, subject, detail)).await?;
        tx.commit().await
    }

    fn is_within(&self, now: Micros) -> bool {
        let mut recorded = self.recorded.lock();
        if now.since(recorded.0) >= Duration::from_secs(60) {
            *recorded = (now, 0);
        }
        recorded.1 += 1;
        recorded.1 <= RECORDED_IN_A_MINUTE
    }
}
