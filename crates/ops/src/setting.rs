//! Settings that more than one part has.

use serde::Deserialize;
use std::{net::SocketAddr, time::Duration};

/// The operator's listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// The address to bind.
    pub listen: SocketAddr,
}

/// How long sessions may go on when a part is told to stop, unless the configuration says otherwise.
#[must_use]
pub fn default_drain() -> Duration {
    Duration::from_secs(30)
}
