//! Requests that survive what networks and servers do.
//!
//! | what happens | what is done |
//! |---|---|
//! | no connection, reset, timeout, half an answer, 500, 502, 503, 504 | tried again after a pause |
//! | 408, 425, 429, and any of 5xx with `Retry-After` | tried again after the pause asked for; one of more than a minute fails at once |
//! | any other status, or JSON of another shape | fails at once |
//! | five failures in a row | the server is left alone for a pause that doubles; then one request tries |
//! | the budget of failed attempts is spent | every failure is final until a request succeeds |
//!
//! Pauses double from attempt to attempt. Each is drawn between half and all of its length, by a
//! hash of request and attempt: callers spread, and a run that is repeated waits the same.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};

use super::breaker::Breaker;
use super::error::{Blame, ClientError};

/// The longest pause that is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
/// The largest answer that is read.
const MAX_ANSWER: u64 = 1 << 30;
/// Bytes of an error's text that are kept.
const SAID: usize = 300;

/// How to talk to a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// How long an attempt may take, from connecting to the last byte.
    pub timeout_seconds: f64,
    /// How often a request is tried.
    pub attempts: u32,
    /// The first pause between attempts; each is twice as long as the one before.
    pub backoff_seconds: f64,
    /// Attempts that may fail before nothing is tried again; every request that succeeds pays one
    /// back.
    pub retry_budget: u32,
    /// Environment variable with the token to send as `Authorization: Bearer …`. One with a blank
    /// in it, such as `ApiKey …`, is sent as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_env: Option<String>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            timeout_seconds: 30.0,
            attempts: 4,
            backoff_seconds: 0.5,
            retry_budget: 100,
            token_env: None,
        }
    }
}

/// What happened to requests so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HttpCounts {
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that failed for good.
    pub failed: u64,
    /// Attempts after a first one.
    pub retried: u64,
}

/// Queries of a request, where nobody says how many.
pub(super) const fn default_batch() -> usize {
    64
}

/// Requests at once, where nobody says how many.
pub(crate) const fn default_connections() -> usize {
    8
}

/// Whether an address is one, and whether there is at least one of everything.
pub(super) fn check(url: &str, counts: &[(&'static str, usize)]) -> Result<(), ClientError> {
    if !(url.starts_with("http://") || url.starts_with("https://")) {
        let range = "an address that begins with `http://` or `https://`";
        return Err(ClientError::Option { name: "url", value: format!("`{url}`"), range });
    }
    match counts.iter().find(|it| it.1 == 0) {
        Some(&(name, _)) => {
            Err(ClientError::Option { name, value: "0".to_owned(), range: "1 or more" })
        }
        None => Ok(()),
    }
}

/// Reads a number of seconds.
pub(crate) fn seconds(name: &'static str, seconds: f64) -> Result<Duration, ClientError> {
    let range = "a number of seconds above 0";
    let wrong = ClientError::Option { name, value: seconds.to_string(), range };
    Duration::try_from_secs_f64(seconds).ok().filter(|it| !it.is_zero()).ok_or(wrong)
}

/// What is sent with every request: in `Authorization` a bearer token, unless it says itself what
/// it is; the bare key in other headers.
fn credential(
    header: HeaderName,
    variable: &str,
) -> Result<(HeaderName, HeaderValue), ClientError> {
    let token = std::env::var(variable).unwrap_or_default();
    let token = match token.trim() {
        token if header == AUTHORIZATION && !token.contains(' ') && !token.is_empty() => {
            format!("Bearer {token}")
        }
        token => token.to_owned(),
    };
    match HeaderValue::try_from(&token) {
        Ok(mut value) if !token.is_empty() => {
            value.set_sensitive(true);
            Ok((header, value))
        }
        _ => Err(ClientError::Option {
            name: "token_env",
            value: format!("`{variable}`"),
            range: "an environment variable that holds a token",
        }),
    }
}

/// The part of a credential that nobody may see.
fn secret(credential: &str) -> &str {
    credential.rsplit_once(' ').map_or(credential, |it| it.1)
}

/// A request: a post where it has a body and a media type of it.
struct Ask<'a> {
    url: &'a str,
    body: Option<(&'a str, &'a [u8])>,
}

/// A connection pool with manners. Shared by many threads.
pub(crate) struct Transport {
    agent: Agent,
    config: HttpConfig,
    /// Sent with every request. Its value is never shown.
    credential: Option<(HeaderName, HeaderValue)>,
    breaker: Breaker,
    budget: Mutex<u32>,
    given_up: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
}

impl Transport {
    /// Fails where an option is out of range or the token is not there.
    pub(crate) fn new(config: &HttpConfig) -> Result<Self, ClientError> {
        Self::keyed(config, AUTHORIZATION, None)
    }

    /// The same with the token in another header, and out of the environment variable `key_env`
    /// where the options name none.
    pub(crate) fn keyed(
        config: &HttpConfig,
        header: HeaderName,
        key_env: Option<&str>,
    ) -> Result<Self, ClientError> {
        let timeout = seconds("timeout_seconds", config.timeout_seconds)?;
        let backoff = seconds("backoff_seconds", config.backoff_seconds)?;
        if config.attempts == 0 {
            let value = "0".to_owned();
            return Err(ClientError::Option { name: "attempts", value, range: "1 or more" });
        }
        let variable = config.token_env.as_deref().or(key_env);
        let credential = variable.map(|it| credential(header, it)).transpose()?;
        let agent = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_idle_connections_per_host(64)
            .max_idle_connections(64)
            .user_agent(concat!("forage/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            config: config.clone(),
            credential,
            breaker: Breaker::new(backoff * 4),
            budget: Mutex::new(config.retry_budget),
            given_up: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            retried: AtomicU64::new(0),
        })
    }

    pub(crate) fn counts(&self) -> HttpCounts {
        HttpCounts {
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
        }
    }

    /// Whether the last request failed and the budget of failures was spent.
    pub(crate) fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Posts a body and reads the JSON that comes back. `read` may refuse it, with a reason.
    pub(crate) fn post<T>(
        &self,
        url: &str,
        kind: &str,
        body: &[u8],
        read: &dyn Fn(Value) -> Result<T, String>,
    ) -> Result<T, ClientError> {
        self.send(&Ask { url, body: Some((kind, body)) }, read)
    }

    /// Gets the JSON at an address.
    pub(crate) fn get<T>(
        &self,
        url: &str,
        read: &dyn Fn(Value) -> Result<T, String>,
    ) -> Result<T, ClientError> {
        self.send(&Ask { url, body: None }, read)
    }

    fn send<T>(
        &self,
        ask: &Ask<'_>,
        read: &dyn Fn(Value) -> Result<T, String>,
    ) -> Result<T, ClientError> {
        let answer = self.try_to_send(ask, read);
        let counter = if answer.is_ok() { &self.answered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let given_up = matches!(answer, Err(ClientError::BudgetSpent { .. }));
        self.given_up.store(given_up, Ordering::Relaxed);
        answer
    }

    fn try_to_send<T>(
        &self,
        ask: &Ask<'_>,
        read: &dyn Fn(Value) -> Result<T, String>,
    ) -> Result<T, ClientError> {
        let mut attempt = 1;
        loop {
            let tried = match self.breaker.admit() {
                Ok(()) => self.once(ask, read),
                Err(wait) => Err(ClientError::LeftAlone { url: ask.url.to_owned(), wait }),
            };
            let error = match tried {
                Ok(answer) => {
                    self.breaker.succeeded();
                    self.pay_back();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let pause = match &error {
                ClientError::LeftAlone { wait, .. } => *wait,
                other => {
                    match other.blame() {
                        Blame::Server => self.breaker.failed(),
                        // It is alive.
                        Blame::Patience | Blame::Request => self.breaker.succeeded(),
                    }
                    match other {
                        _ if other.blame() == Blame::Request => return Err(error),
                        ClientError::Status { retry_after: Some(wait), .. } => *wait,
                        _ => self.pause(ask, attempt),
                    }
                }
            };
            if pause > PATIENCE {
                return Err(error);
            }
            let source = Box::new(error);
            if !self.spend() {
                return Err(ClientError::BudgetSpent { budget: self.config.retry_budget, source });
            }
            if attempt >= self.config.attempts {
                return Err(ClientError::GaveUp { attempts: attempt, source });
            }
            thread::sleep(pause);
            self.retried.fetch_add(1, Ordering::Relaxed);
            attempt += 1;
        }
    }

    /// One attempt.
    fn once<T>(
        &self,
        ask: &Ask<'_>,
        read: &dyn Fn(Value) -> Result<T, String>,
    ) -> Result<T, ClientError> {
        let url = ask.url.to_owned();
        let no_answer =
            |source| ClientError::NoAnswer { url: url.clone(), source: Box::new(source) };
        let credential = || self.credential.clone().into_iter();
        let sent = if let Some((kind, body)) = ask.body {
            let request = self.agent.post(ask.url).header(CONTENT_TYPE, kind);
            credential().fold(request, |it, (name, value)| it.header(name, value)).send(body)
        } else {
            let request = self.agent.get(ask.url);
            credential().fold(request, |it, (name, value)| it.header(name, value)).call()
        };
        let mut response = sent.map_err(no_answer)?;
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok());
        let retry_after = seconds.and_then(|it| it.trim().parse().ok()).map(Duration::from_secs);
        let bytes = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        if !status.is_success() {
            let said = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
            // Some servers repeat a key that they do not like.
            let key = self.credential.as_ref().and_then(|it| it.1.to_str().ok());
            let said = match key {
                Some(key) => said.replace(secret(key), "***"),
                None => said,
            };
            let said = said[..said.floor_char_boundary(SAID)].trim().to_owned();
            return Err(ClientError::Status { url, status: status.as_u16(), said, retry_after });
        }
        match serde_json::from_slice(&bytes.map_err(no_answer)?) {
            Ok(answer) => read(answer).map_err(|what| ClientError::Shape { url, what }),
            Err(source) => Err(ClientError::NotJson { url, source }),
        }
    }

    fn pause(&self, ask: &Ask<'_>, attempt: u32) -> Duration {
        let mut hasher = blake3::Hasher::new();
        let body = ask.body.map_or(&[][..], |it| it.1);
        hasher.update(ask.url.as_bytes()).update(body).update(&attempt.to_le_bytes());
        let hash = hasher.finalize();
        let share = 0.5 + f64::from(hash.as_bytes()[0]) / 512.0;
        let doubled = 2_f64.powi(attempt.min(16) as i32 - 1);
        let seconds = self.config.backoff_seconds * doubled * share;
        Duration::from_secs_f64(seconds.min(PATIENCE.as_secs_f64()))
    }

    fn spend(&self) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let is_left = *budget > 0;
        *budget = budget.saturating_sub(1);
        is_left
    }

    fn pay_back(&self) {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        *budget = (*budget + 1).min(self.config.retry_budget);
    }
}
