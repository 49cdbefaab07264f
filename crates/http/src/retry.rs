//! Exponential backoff with deterministic jitter.
//!
//! Delays double from attempt to attempt, up to [`MAX_BACKOFF`]. Each is drawn between half and all
//! of its length, by a hash of request and attempt, so callers do not retry at the same time, and a
//! run that is repeated waits the same. The schedule is backon's. Its jitter comes from a generator
//! that is seeded once for a schedule and adds up to a whole delay, so the jitter is ours; and its
//! retry loop for blocking calls has no place for `Retry-After`, so the loops stay with the
//! protocols.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// Longest delay between two attempts.
pub const MAX_BACKOFF: Duration = Duration::from_mins(1);

/// Retry policy: exponential backoff with factor 2, up to [`MAX_BACKOFF`].
#[derive(Debug, Clone)]
pub struct RetryPolicy(ExponentialBuilder);

impl RetryPolicy {
    /// Policy with a first delay, before jitter.
    pub fn new(first_delay: Duration) -> Self {
        let schedule = ExponentialBuilder::new()
            .with_factor(2.0)
            .with_min_delay(first_delay.min(MAX_BACKOFF))
            .with_max_delay(MAX_BACKOFF)
            .without_max_times();
        Self(schedule)
    }

    /// Backoff of one request. What identifies the request, such as address and body, seeds the
    /// jitter.
    pub fn backoff(&self, request: &[&[u8]]) -> Backoff {
        let mut seed = blake3::Hasher::new();
        for part in request {
            seed.update(part);
        }
        Backoff { schedule: self.0.build(), seed, n_failed: 0 }
    }
}

/// Backoff of one request.
#[derive(Debug)]
pub struct Backoff {
    schedule: <ExponentialBuilder as BackoffBuilder>::Backoff,
    seed: blake3::Hasher,
    n_failed: u32,
}

impl Backoff {
    /// Delay after a failed attempt: `Retry-After` where the server sent one, else the next of the
    /// schedule. A `Retry-After` may be longer than [`MAX_BACKOFF`].
    pub fn next_delay(&mut self, retry_after: Option<Duration>) -> Duration {
        self.n_failed += 1;
        let delay = self.schedule.next().unwrap_or(MAX_BACKOFF);
        let hash = self.seed.clone().update(&self.n_failed.to_le_bytes()).finalize();
        let share = 0.5 + f64::from(hash.as_bytes()[0]) / 512.0;
        retry_after.unwrap_or_else(|| delay.mul_f64(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_are_the_same_again() {
        let policy = RetryPolicy::new(Duration::from_secs(1));
        let delays = |request: &[u8]| {
            let mut backoff = policy.backoff(&[b"url", request]);
            (0..12).map(|_| backoff.next_delay(None)).collect::<Vec<_>>()
        };
        let first = delays(b"a");
        assert_eq!(first, delays(b"a"));
        assert_ne!(first, delays(b"b"));
        for (idx, delay) in first.iter().enumerate() {
            let longest = Duration::from_secs(1 << idx).min(MAX_BACKOFF);
            assert!(longest / 2 <= *delay && *delay <= longest, "{idx}: {delay:?}");
        }
    }

    #[test]
    fn retry_after_takes_the_place_of_a_delay() {
        let policy = RetryPolicy::new(Duration::from_secs(1));
        let (mut asked, mut alone) = (policy.backoff(&[b"a"]), policy.backoff(&[b"a"]));
        let hour = Duration::from_hours(1);
        assert_eq!(asked.next_delay(Some(hour)), hour);
        alone.next_delay(None);
        assert_eq!(asked.next_delay(None), alone.next_delay(None));
    }
}
