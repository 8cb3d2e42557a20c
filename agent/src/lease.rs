//! Sessions run on a lease: while the control plane is heard. A partition cannot defeat a revocation for longer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// When the control plane was heard last.
#[derive(Clone, Debug)]
pub struct Lease {
    started: Instant,
    /// Milliseconds after `started`.
    holds_until: Arc<AtomicU64>,
}

impl Default for Lease {
    fn default() -> Self {
        Self { started: Instant::now(), holds_until: Arc::default() }
    }
}

impl Lease {
    /// It was heard just now, and grants this many seconds.
    pub fn renew(&self, seconds: u32) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.holds_until.store(now.saturating_add(u64::from(seconds) * 1000), Ordering::Relaxed);
    }

    /// Whether a statement may start.
    #[must_use]
    pub fn holds(&self) -> bool {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        now < self.holds_until.load(Ordering::Relaxed)
    }
}
