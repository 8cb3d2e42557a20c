//! Slows down guessing. Only failed proofs count, by address and by grant; a failure's answer is held back the
//! longer the more there were. Success is never delayed, and malformed or closed connections do not count.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Failures that are answered at once.
const FREE_FAILURES: u32 = 3;

/// The longest that an answer is held back.
const MAX_DELAY: Duration = Duration::from_secs(8);

/// After this long without a failure all is forgotten.
const MEMORY: Duration = Duration::from_secs(300);

/// Subjects remembered at once; when full, those are dropped that failed longest ago.
const MAX_SUBJECTS: usize = 10_000;

/// Counts failures.
#[derive(Debug, Default)]
pub struct Throttle {
    failures: Mutex<HashMap<Subject, (u32, Instant)>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Address(IpAddr),
    Grant(String),
}

impl Throttle {
    /// Counts a failed proof and says how long its answer is to be held back.
    pub fn failed(&self, address: IpAddr, grant: &str, now: Instant) -> Duration {
        let mut failures = self.failures.lock();
        if failures.len() >= MAX_SUBJECTS {
            failures.retain(|_, (_, last)| now.duration_since(*last) < MEMORY);
            // Half at once, so that the work is small for each failure even while somebody fills the table.
            if failures.len() >= MAX_SUBJECTS {
                let mut times: Vec<_> = failures.values().map(|(_, last)| *last).collect();
                let (_, median, _) = times.select_nth_unstable(MAX_SUBJECTS / 2);
                let mut surplus = MAX_SUBJECTS / 2;
                failures.retain(|_, (_, last)| {
                    let drop = *last <= *median && surplus > 0;
                    surplus -= usize::from(drop);
                    !drop
                });
            }
        }
        let grant: String = grant.chars().take(64).collect();
        let count = [Subject::Address(address), Subject::Grant(grant)].into_iter().map(|subject| {
            let entry = failures.entry(subject).or_insert((0, now));
            if now.duration_since(entry.1) >= MEMORY {
                entry.0 = 0;
            }
            entry.0 = entry.0.saturating_add(1);
            entry.1 = now;
            entry.0
        });
        delay(count.max().unwrap_or(0))
    }
}

fn delay(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES + 1) {
        None => Duration::ZERO,
        Some(extra) => (Duration::from_millis(250) * 2u32.saturating_pow(extra.min(10))).min(MAX_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_are_forgotten() {
        let throttle = Throttle::default();
        let address = IpAddr::from([127, 0, 0, 1]);
        let start = Instant::now();
        let delays: Vec<_> = (0..20).map(|_| throttle.failed(address, "grt_x", start)).collect();
        assert!(delays[..3].iter().all(Duration::is_zero));
        assert_eq!(delays[3], Duration::from_millis(250));
        assert_eq!(*delays.last().unwrap(), MAX_DELAY);
        assert_eq!(throttle.failed(address, "grt_x", start + MEMORY), Duration::ZERO);
        for i in 0..MAX_SUBJECTS as u32 * 2 {
            throttle.failed(IpAddr::from(i.to_be_bytes()), "grt_y", start);
        }
        assert!(throttle.failures.lock().len() <= MAX_SUBJECTS + 2);
    }
}
