//! The pauses between attempts to reach another part: longer each time, jittered, bounded, and short again once
//! an attempt has succeeded. There is no last attempt.

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Pauses {
    builder: ExponentialBuilder,
    next: ExponentialBackoff,
    longest: Duration,
}

impl Pauses {
    /// From `shortest` up to `longest`.
    #[must_use]
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        let builder = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(shortest)
            .with_max_delay(longest)
            .without_max_times();
        Self { builder, next: builder.build(), longest }
    }

    /// An attempt has succeeded.
    pub fn reset(&mut self) {
        self.next = self.builder.build();
    }

    /// How long to wait before the next attempt.
    pub fn after_failure(&mut self) -> Duration {
        self.next.next().unwrap_or(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_to_a_bound_never_end_and_begin_anew() {
        let (shortest, longest) = (Duration::from_millis(50), Duration::from_secs(2));
        let mut pauses = Pauses::new(shortest, longest);
        let first = pauses.after_failure();
        assert!(first >= shortest && first <= shortest * 2, "{first:?}");
        for _ in 0..1000 {
            assert!(pauses.after_failure() <= longest * 2);
        }
        assert!(pauses.after_failure() >= longest);
        pauses.reset();
        assert!(pauses.after_failure() <= shortest * 2);
    }
}
