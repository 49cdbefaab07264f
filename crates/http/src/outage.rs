//! Warnings while a server is waited for.
//!
//! A client that retries is silent for as long as its patience lasts; whoever waits for it must see
//! at once which server does not answer, and why. The warnings go to the log, `tracing`, which the
//! program writes to standard error.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two warnings of the same outage.
const REPEATED_EVERY: Duration = Duration::from_secs(30);

/// Log of the outages of one server: a warning at the first failed attempt of any thread, at most
/// one every half a minute after that, and a line when the server answers again.
#[derive(Debug, Default)]
pub struct OutageLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// First failure of the present outage.
    since: Option<Instant>,
    /// Whether the present outage was warned of.
    is_known: bool,
    /// Last warning of any outage.
    warned: Option<Instant>,
}

impl OutageLog {
    /// Warns of a failed attempt. `cause` names the server; `patience` says how long it is asked
    /// again, as the rest of the sentence "it is asked again …".
    pub fn failed(&self, cause: impl FnOnce() -> String, patience: impl FnOnce() -> String) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *state.since.get_or_insert(now);
        if state.warned.is_some_and(|warned| now - warned < REPEATED_EVERY) {
            return;
        }
        let was_known = std::mem::replace(&mut state.is_known, true);
        state.warned = Some(now);
        drop(state);
        let passed = if was_known {
            format!(", {:.0} s after the first failure", (now - since).as_secs_f64())
        } else {
            String::new()
        };
        tracing::warn!("{}{passed}; it is asked again {}", cause(), patience());
    }

    /// Ends an outage: the server at this address answered.
    pub fn answered(&self, url: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, is_known) = (state.since.take(), std::mem::take(&mut state.is_known));
        drop(state);
        if let Some(since) = since.filter(|_| is_known) {
            tracing::warn!("`{url}` answers again, after {:.1} s", since.elapsed().as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn outages_are_told_of_now_and_then() {
        let (logged, writer) = io::pipe().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.try_clone().unwrap())
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let log = OutageLog::default();
            let fail = || log.failed(|| "refused".to_owned(), || "3 times".to_owned());
            fail();
            fail();
            log.answered("http://x/");
            log.answered("http://x/");
            // A server that comes and goes does not fill the screen.
            fail();
            log.answered("http://x/");
        });
        let text = io::read_to_string(logged).unwrap();
        let expected = " WARN refused; it is asked again 3 times\n \
                        WARN `http://x/` answers again, after 0.0 s\n";
        assert_eq!(text, expected);
    }
}
