//! Circuit breaker: sends nothing to a server that keeps failing, except for a trial now and then.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;
/// Longest pause, in first pauses.
const LONGEST: u32 = 16;

/// Circuit breaker of one server.
pub(super) struct CircuitBreaker {
    /// First pause; every failed trial doubles it.
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    pauses: u32,
    /// End of the pause; set while the breaker is open.
    until: Option<Instant>,
    /// Whether a trial is in flight: the breaker is half open.
    on_trial: bool,
    /// Last failure.
    cause: String,
}

impl CircuitBreaker {
    pub(super) fn new(pause: Duration) -> Self {
        Self { pause, state: Mutex::default() }
    }

    /// Admits a request, or gives the time until the next may be sent, and the last failure.
    pub(super) fn admit(&self) -> Result<(), (Duration, String)> {
        let mut state = self.lock();
        let Some(until) = state.until else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Err((left, state.cause.clone()));
        }
        if state.on_trial {
            return Err((self.pause, state.cause.clone()));
        }
        state.on_trial = true;
        Ok(())
    }

    /// Closes the breaker: the server answered.
    pub(super) fn succeeded(&self) {
        *self.lock() = State::default();
    }

    /// Counts a failure of the server, and opens the breaker after a row of them.
    pub(super) fn failed(&self, cause: String) {
        let mut state = self.lock();
        state.failures += 1;
        state.cause = cause;
        if state.on_trial || state.failures >= FAILURES {
            let factor = 2_u32.saturating_pow(state.pauses).min(LONGEST);
            state.until = Some(Instant::now() + self.pause * factor);
            state.pauses += u32::from(state.on_trial || state.pauses == 0);
            state.on_trial = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    #[test]
    fn opens_tries_and_closes() {
        let pause = Duration::from_millis(30);
        let breaker = CircuitBreaker::new(pause);
        for _ in 0..FAILURES {
            assert_eq!(breaker.admit(), Ok(()));
            breaker.failed("refused".to_owned());
        }
        assert!(breaker.admit().is_err_and(|(wait, cause)| wait <= pause && cause == "refused"));
        sleep(pause);
        // One request tries, the others wait for it.
        assert_eq!(breaker.admit(), Ok(()));
        assert_eq!(breaker.admit(), Err((pause, "refused".to_owned())));
        breaker.failed("refused".to_owned());
        assert!(breaker.admit().is_err_and(|(wait, _)| wait <= pause * 2));
        sleep(pause * 2);
        assert_eq!(breaker.admit(), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.admit(), Ok(()));
        assert_eq!(breaker.admit(), Ok(()));
    }
}
