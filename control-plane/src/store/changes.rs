//! What committed transactions have changed: noted within them, told once it lasts.

use parking_lot::Mutex;
use postern_api::event::Subject;
use std::{collections::BTreeSet, time::Duration};
use tokio::{sync::Notify, time::sleep};

/// How long changes of sessions are gathered: there are many, and nobody waits for one.
const GATHER: Duration = Duration::from_millis(100);

/// Things that have changed and were not told yet.
#[derive(Debug, Default)]
pub struct Changes {
    changed: Mutex<BTreeSet<(Subject, String)>>,
    /// Something has.
    more: Notify,
    /// Something for which somebody may be waiting.
    urgent: Notify,
}

impl Changes {
    pub(super) fn add(&self, changed: Vec<(Subject, String)>) {
        if changed.is_empty() {
            return;
        }
        let urgent = changed.iter().any(|(subject, _)| *subject != Subject::Session);
        self.changed.lock().extend(changed);
        if urgent { self.urgent.notify_one() } else { self.more.notify_one() }
    }

    /// Waits until something has changed and gives it. For one task.
    ///
    /// Cancel safe: what is not given stays.
    pub async fn next(&self) -> BTreeSet<(Subject, String)> {
        tokio::select! {
            () = self.urgent.notified() => {}
            () = self.more.notified() => {
                tokio::select! {
                    () = self.urgent.notified() => {}
                    () = sleep(GATHER) => {}
                }
            }
        }
        std::mem::take(&mut *self.changed.lock())
    }
}
