//! Retries of requests to search engines.
//!
//! | what happens | what is done |
//! |---|---|
//! | no connection, reset, timeout, half an answer, 500, 502, 503, 504 | retry after a backoff |
//! | 408, 425, 429, and any of these 5xx with `Retry-After` | retry after the pause asked for; one of more than a minute fails at once |
//! | any other status, or JSON of another shape | fails at once |
//! | five failures in a row | the circuit breaker opens for a pause that doubles; then one request tries |
//! | the retry budget is spent | every failure is final until a request succeeds |
//!
//! The first wait of an outage is a warning in the log, which names the server and the cause.
//!
//! The backoff is that of [`forage_http::RetryPolicy`]: exponential, with deterministic jitter.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use forage_http::header::{AUTHORIZATION, HeaderName};
use forage_http::{
    Backoff, Credential, HttpClient, HttpError, HttpOptions, HttpRequest, MAX_BACKOFF, OutageLog,
    RetryClass, RetryPolicy, ShapeFault,
};
use forage_trajectory::error_chain;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::breaker::CircuitBreaker;
use super::error::ClientError;

/// Stands in the place of a credential in texts.
const MASK: &str = "***";

/// HTTP options of a client: timeout, retries and credential.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Deadline of an attempt, from connecting to the last byte, in seconds. Default: 30.
    pub timeout_seconds: f64,
    /// Most attempts of a request. Default: 4.
    pub attempts: u32,
    /// First backoff between attempts, in seconds; it doubles with every attempt. Default: 0.5.
    pub backoff_seconds: f64,
    /// Retry budget: attempts that may fail before nothing is tried again; every request that
    /// succeeds pays one back. Default: 100.
    pub retry_budget: u32,
    /// Environment variable with the token to send as `Authorization: Bearer …`. One with a blank
    /// in it, such as `ApiKey …`, is sent as it is. Default: no token.
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

/// Counters of requests so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HttpCounts {
    /// Requests that succeeded.
    pub answered: u64,
    /// Requests that failed for good.
    pub failed: u64,
    /// Attempts after a first one.
    pub retried: u64,
}

/// Default number of queries in a request.
pub(super) const fn default_batch() -> usize {
    64
}

/// Default number of concurrent requests.
pub(crate) const fn default_connections() -> usize {
    8
}

/// Checks that an address is one, and that every count is 1 or more.
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

/// Reads a number of seconds above 0.
pub(crate) fn seconds(name: &'static str, seconds: f64) -> Result<Duration, ClientError> {
    let range = "a number of seconds above 0";
    let wrong = ClientError::Option { name, value: seconds.to_string(), range };
    Duration::try_from_secs_f64(seconds).ok().filter(|it| !it.is_zero()).ok_or(wrong)
}

/// Credential in an environment variable.
fn credential(header: HeaderName, variable: &str) -> Result<Credential, ClientError> {
    let token = std::env::var(variable).unwrap_or_default();
    Credential::new(header, &token, MASK).ok_or_else(|| ClientError::Option {
        name: "token_env",
        value: format!("`{variable}`"),
        range: "an environment variable that holds a token",
    })
}

/// HTTP client with retries, a retry budget and a circuit breaker. Shared by many threads.
pub(crate) struct Transport {
    client: HttpClient,
    config: HttpConfig,
    policy: RetryPolicy,
    breaker: CircuitBreaker,
    outages: OutageLog,
    /// Failures that are left in the retry budget.
    budget: Mutex<u32>,
    given_up: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
}

impl Transport {
    /// Transport with the token in `Authorization`. Fails where an option is out of range or the
    /// token is not there.
    pub(crate) fn new(config: &HttpConfig) -> Result<Self, ClientError> {
        Self::keyed(config, AUTHORIZATION, None)
    }

    /// Transport with the token in another header, and out of the environment variable `key_env`
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
        Ok(Self {
            client: HttpClient::new(&HttpOptions { timeout, ..HttpOptions::default() }, credential),
            config: config.clone(),
            policy: RetryPolicy::new(backoff),
            breaker: CircuitBreaker::new(backoff * 4),
            outages: OutageLog::default(),
            budget: Mutex::new(config.retry_budget),
            given_up: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            retried: AtomicU64::new(0),
        })
    }

    /// Counters of requests so far.
    pub(crate) fn counts(&self) -> HttpCounts {
        HttpCounts {
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
        }
    }

    /// Whether the last request failed and the retry budget was spent.
    pub(crate) fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Redacts the credential in a text of the server.
    pub(super) fn redact(&self, text: &str) -> String {
        self.client.redact(text)
    }

    /// Posts a body and reads the JSON of the response. `read` may refuse it, with a reason.
    pub(crate) fn post<T>(
        &self,
        url: &str,
        media_type: &str,
        body: &[u8],
        read: &dyn Fn(&Value) -> Result<T, ShapeFault>,
    ) -> Result<T, ClientError> {
        self.send(&HttpRequest::post(url, media_type, body), read)
    }

    /// Gets the JSON at an address.
    pub(crate) fn get<T>(
        &self,
        url: &str,
        read: &dyn Fn(&Value) -> Result<T, ShapeFault>,
    ) -> Result<T, ClientError> {
        self.send(&HttpRequest::get(url), read)
    }

    fn send<T>(
        &self,
        request: &HttpRequest<'_>,
        read: &dyn Fn(&Value) -> Result<T, ShapeFault>,
    ) -> Result<T, ClientError> {
        let answer = self.send_with_retries(request, read);
        let counter = if answer.is_ok() { &self.answered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let given_up = matches!(answer, Err(ClientError::BudgetSpent { .. }));
        self.given_up.store(given_up, Ordering::Relaxed);
        answer
    }

    fn send_with_retries<T>(
        &self,
        request: &HttpRequest<'_>,
        read: &dyn Fn(&Value) -> Result<T, ShapeFault>,
    ) -> Result<T, ClientError> {
        let mut backoff = self.policy.backoff(&[request.url().as_bytes(), request.body()]);
        let mut attempts = 0;
        loop {
            let error = match self.attempt(request, read) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            attempts += 1;
            let cause = error_chain(&error);
            let delay = self.delay_after(error, attempts, &mut backoff)?;
            self.outages.failed(|| cause, || self.patience(attempts, delay));
            thread::sleep(delay);
            self.retried.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One attempt, where the circuit breaker admits it.
    fn attempt<T>(
        &self,
        request: &HttpRequest<'_>,
        read: &dyn Fn(&Value) -> Result<T, ShapeFault>,
    ) -> Result<T, ClientError> {
        let url = || request.url().to_owned();
        let open = |(wait, cause)| ClientError::CircuitOpen { url: url(), wait, cause };
        self.breaker.admit().map_err(open)?;
        let answer = self.client.json(request).and_then(|answer| {
            read(&answer.value).map_err(|fault| {
                let what = self.redact(&answer.explained(fault.to_string()));
                HttpError::Shape { url: url(), what }
            })
        });
        match &answer {
            Ok(_) => {
                self.breaker.succeeded();
                self.outages.answered(request.url());
                self.pay_back();
            }
            Err(error) if error.retry_class() == RetryClass::Unavailable => {
                self.breaker.failed(error_chain(error));
            }
            // The server is alive.
            Err(_) => self.breaker.succeeded(),
        }
        answer.map_err(ClientError::from)
    }

    /// How long a request is tried again, as the rest of the sentence "it is asked again …".
    fn patience(&self, attempts: u32, delay: Duration) -> String {
        let times = match self.config.attempts.saturating_sub(attempts) {
            1 => "once".to_owned(),
            n => format!("{n} times"),
        };
        let (delay, timeout) = (delay.as_secs_f64(), self.config.timeout_seconds);
        format!("{times}, after {delay:.1} s at first, and each time for up to {timeout} s")
    }

    /// Delay before the next attempt, or the error that ends the request.
    fn delay_after(
        &self,
        error: ClientError,
        attempts: u32,
        backoff: &mut Backoff,
    ) -> Result<Duration, ClientError> {
        let delay = match &error {
            ClientError::CircuitOpen { wait, .. } => backoff.next_delay(Some(*wait)),
            _ if error.retry_class() == RetryClass::Permanent => return Err(error),
            ClientError::Http(error) => backoff.next_delay(error.retry_after()),
            _ => backoff.next_delay(None),
        };
        if delay > MAX_BACKOFF {
            return Err(error);
        }
        let source = Box::new(error);
        if !self.spend() {
            return Err(ClientError::BudgetSpent { budget: self.config.retry_budget, source });
        }
        if attempts >= self.config.attempts {
            return Err(ClientError::GaveUp { attempts, source });
        }
        Ok(delay)
    }

    /// Takes a failure off the retry budget. False where it is spent.
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
