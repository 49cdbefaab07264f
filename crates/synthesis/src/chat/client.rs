//! Client of chat completions of the `OpenAI` protocol.
//!
//! | what happens | what is done |
//! |---|---|
//! | no connection, reset, timeout, half a reply, no JSON, no choice, 408, 5xx | retried after a backoff: `attempts` times where other requests get replies meanwhile, for `patience_seconds` where none does |
//! | 425, 429, and any of 5xx with `Retry-After` | no request is sent for the pause asked for; then retried, for `patience_seconds` |
//! | a refusal, a content filter, no text, a prompt that is too long | fails at once, and concerns this request only |
//! | 400, 413, 422 | the same, once any request had a reply; a server that refuses all of them concerns the run |
//! | 401, 402, 403, `insufficient_quota`, 404 and the like | fails at once, and concerns the run |
//! | the budget does not reach for the call | fails at once; nothing is sent |
//!
//! The backoff is that of [`forage_http::RetryPolicy`]: exponential, with deterministic jitter.
//! Only the time of a request depends on it. The first wait of an outage is a warning in the log,
//! which names the server, the cause and how long it is waited for.
//!
//! A call reserves the most that it can use: the bytes of its prompt, since no token has less than
//! one, and `max_tokens`. A reply without `usage` is entered with its bytes. An attempt without a
//! reply is not entered, because its usage is unknown.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use forage_http::header::AUTHORIZATION;
use forage_http::{
    Backoff, Credential, HttpClient, HttpOptions, HttpRequest, OutageLog, RetryClass, RetryPolicy,
};
use forage_trajectory::error_chain;
use serde_json::{Map, Value, json};

use super::budget::{Budget, Usage};
use super::config::{ChatConfig, Checked};
use super::error::ChatError;
use super::reply::ReplyParser;
use super::{ChatModel, ChatReply, ChatRequest};

/// Poll interval of waiting requests, which end when the run stops.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Pause of a rate limit from which on a warning tells of it.
const LONG_PAUSE: Duration = Duration::from_secs(5);
/// Largest body of a reply, in bytes.
const MAX_BODY: u64 = 1 << 28;
/// Stands in the place of the key in texts.
const MASK: &str = "…";
/// Tokens of a prompt beyond its text: the marks of a chat template.
const TEMPLATE_TOKENS: u64 = 64;

/// Counters of requests so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChatCounts {
    /// Requests with a usable reply.
    pub answered: u64,
    /// Requests that failed for good.
    pub failed: u64,
    /// Attempts after a failed one.
    pub retried: u64,
    /// Attempts that a rate limit put off.
    pub put_off: u64,
}

/// Chat model behind a server. Shared by many threads.
pub struct ChatClient {
    http: HttpClient,
    config: ChatConfig,
    checked: Checked,
    policy: RetryPolicy,
    outages: OutageLog,
    budget: Arc<Budget>,
    stop: Arc<AtomicBool>,
    free: Slots,
    /// No request is sent before: a rate limit holds for all.
    not_before: Mutex<Option<Instant>>,
    /// Requests that may still get a reply.
    open: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    put_off: AtomicU64,
}

impl std::fmt::Debug for ChatClient {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatClient").field("config", &self.config).finish_non_exhaustive()
    }
}

impl ChatClient {
    /// Makes a client. Nothing is sent yet, and nothing more once `stop` is set: then all waiting
    /// ends, and requests that are under way end by themselves. Fails where an option is out of
    /// range or the key is not there.
    pub fn new(
        config: &ChatConfig,
        budget: Arc<Budget>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, ChatError> {
        let checked = config.checked()?;
        let options = HttpOptions {
            timeout: checked.timeout,
            max_idle: config.concurrency,
            max_body: MAX_BODY,
        };
        let credential = checked.key.as_deref().map(|key| {
            Credential::new(AUTHORIZATION, key, MASK).ok_or_else(|| ChatError::Option {
                name: "api_key_env",
                value: format!("`{}`", config.api_key_env.as_deref().unwrap_or_default()),
                range: "an environment variable that holds a key",
            })
        });
        let credential = credential.transpose()?;
        Ok(Self {
            http: HttpClient::new(&options, credential),
            config: config.clone(),
            policy: RetryPolicy::new(checked.backoff),
            outages: OutageLog::default(),
            checked,
            budget,
            stop,
            free: Slots::new(config.concurrency),
            not_before: Mutex::new(None),
            open: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            put_off: AtomicU64::new(0),
        })
    }

    /// Counters of requests so far.
    pub fn counts(&self) -> ChatCounts {
        ChatCounts {
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            put_off: self.put_off.load(Ordering::Relaxed),
        }
    }

    fn body(&self, request: &ChatRequest<'_>) -> Vec<u8> {
        let mut body = Map::new();
        body.insert("model".into(), json!(self.config.model));
        body.insert("messages".into(), json!([{ "role": "user", "content": request.prompt }]));
        body.insert("temperature".into(), json!(request.temperature));
        body.insert("max_tokens".into(), json!(self.config.max_tokens));
        if let Some(top_p) = self.config.top_p {
            body.insert("top_p".into(), json!(top_p));
        }
        if !request.stop.is_empty() {
            body.insert("stop".into(), json!(request.stop));
        }
        if self.config.send_seed {
            // Some servers keep seeds in 32 bits with a sign.
            body.insert("seed".into(), json!(request.seed & 0x7fff_ffff));
        }
        body.extend(self.config.extra.clone());
        Value::Object(body).to_string().into_bytes()
    }

    /// Sends a request until there is a reply, or until a retry cannot help.
    fn send_with_retries(
        &self,
        request: &ChatRequest<'_>,
        usage: &mut Usage,
    ) -> Result<ChatReply, ChatError> {
        let body = self.body(request);
        let mut retries = Retries::new(self, &body);
        loop {
            self.wait_for_rate()?;
            match self.attempt(&body, request, usage) {
                Ok(reply) => {
                    self.outages.answered(&self.checked.url);
                    return Ok(reply);
                }
                Err(error) => retries.wait_after(error)?,
            }
        }
    }

    /// One attempt, once a slot is free.
    fn attempt(
        &self,
        body: &[u8],
        request: &ChatRequest<'_>,
        usage: &mut Usage,
    ) -> Result<ChatReply, ChatError> {
        let _slot = self.free.take();
        self.wait_until(Instant::now())?;
        let most = self.usage(
            request.prompt.len() as u64 + TEMPLATE_TOKENS,
            u64::from(self.config.max_tokens),
        );
        self.reserve(most)?;
        let mut took = Usage::default();
        let reply = self.exchange(body, request, &mut took);
        self.budget.settle(most, took);
        *usage += took;
        reply
    }

    /// Reserves the most that a call may use. Calls in flight mostly use far less than they
    /// reserve, so where only they exceed the budget, their end is waited for.
    fn reserve(&self, most: Usage) -> Result<(), ChatError> {
        loop {
            // Asked before: a call that ends in between must not look like an empty account.
            let waits = self.budget.has_reservations();
            match self.budget.reserve(most) {
                Err(_) if waits => self.wait_until(Instant::now() + POLL_INTERVAL)?,
                reserved => return Ok(reserved?),
            }
        }
    }

    /// Sends a request and parses the reply.
    fn exchange(
        &self,
        body: &[u8],
        request: &ChatRequest<'_>,
        took: &mut Usage,
    ) -> Result<ChatReply, ChatError> {
        let url = self.checked.url.as_str();
        let response = self.http.send(&HttpRequest::post(url, "application/json", body))?;
        let parser = ReplyParser { url, model: &self.config.model, client: &self.http };
        if !response.is_success() {
            return Err(parser.error_of(&response));
        }
        let (metered, reply) = parser.read(&response.body);
        *took = if let Some(metered) = metered {
            self.usage(metered.prompt_tokens, metered.completion_tokens)
        } else {
            let written = reply.as_ref().map_or(0, |reply| reply.text.len());
            self.usage(request.prompt.len() as u64, written as u64)
        };
        reply
    }

    /// Decides whether a refused request concerns the run: where every other was refused too, a key
    /// of the request is wrong and not its prompt. Waits for the first that is known.
    fn weighed(&self, error: ChatError) -> ChatError {
        if !error.is_bad_request() {
            return error;
        }
        while self.answered.load(Ordering::SeqCst) == 0 {
            if self.open.load(Ordering::SeqCst) == 0 || self.stop.load(Ordering::Relaxed) {
                return ChatError::NoneAccepted(Box::new(error));
            }
            thread::sleep(POLL_INTERVAL);
        }
        error
    }

    fn usage(&self, prompt_tokens: u64, completion_tokens: u64) -> Usage {
        let money = self.config.price.of(prompt_tokens, completion_tokens);
        Usage { calls: 1, prompt_tokens, completion_tokens, money }
    }

    /// Waits until a time, or fails where the run is to stop.
    fn wait_until(&self, then: Instant) -> Result<(), ChatError> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(ChatError::Stopping);
            }
            let left = then.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(POLL_INTERVAL));
        }
    }

    /// Waits while a rate limit holds.
    fn wait_for_rate(&self) -> Result<(), ChatError> {
        loop {
            let then = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
            match then {
                Some(then) if then > Instant::now() => self.wait_until(then)?,
                _ => return Ok(()),
            }
        }
    }

    fn hold_until(&self, then: Instant) {
        let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        *not_before = Some(not_before.map_or(then, |it| it.max(then)));
    }
}

/// Retries of one request: what failed so far, and how long to wait for the next attempt.
struct Retries<'a> {
    client: &'a ChatClient,
    /// Backoff of failures, and how many there were.
    failures: Backoff,
    n_failed: u32,
    /// Backoff of rate limits.
    limits: Backoff,
    /// When the request first failed, and how many others had replies by then.
    trouble: Option<(Instant, u64)>,
}

impl<'a> Retries<'a> {
    fn new(client: &'a ChatClient, body: &[u8]) -> Self {
        let [failures, limits] = [(); 2].map(|()| client.policy.backoff(&[body]));
        Self { client, failures, n_failed: 0, limits, trouble: None }
    }

    /// Waits as long as the next attempt has to, or gives the error that ends the request.
    fn wait_after(&mut self, error: ChatError) -> Result<(), ChatError> {
        let client = self.client;
        let class = error.retry_class();
        if class == RetryClass::Permanent {
            return Err(error);
        }
        let n_answered = client.answered.load(Ordering::Relaxed);
        let (since, n_before) = *self.trouble.get_or_insert((Instant::now(), n_answered));
        let patience = client.checked.patience;
        let (seconds, is_late) =
            (patience.as_secs_f64(), |delay: Duration| since.elapsed() + delay > patience);
        if class == RetryClass::RateLimited {
            let delay = self.limits.next_delay(error.retry_after());
            if is_late(delay) {
                return Err(ChatError::PutOff { seconds, source: Box::new(error) });
            }
            if delay >= LONG_PAUSE {
                let patience = || format!("after {:.0} s", delay.as_secs_f64());
                client.outages.failed(|| error_chain(&error), patience);
            }
            client.hold_until(Instant::now() + delay);
            client.put_off.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.n_failed += 1;
        if self.n_failed >= client.config.attempts && n_answered > n_before {
            return Err(ChatError::GaveUp { attempts: self.n_failed, source: Box::new(error) });
        }
        let delay = self.failures.next_delay(None);
        if is_late(delay) {
            return Err(ChatError::Outage { seconds, source: Box::new(error) });
        }
        let patience = || {
            let left = patience.saturating_sub(since.elapsed()).as_secs_f64();
            format!("for up to {left:.0} s")
        };
        client.outages.failed(|| error_chain(&error), patience);
        client.wait_until(Instant::now() + delay)?;
        client.retried.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl ChatModel for ChatClient {
    fn name(&self) -> &str {
        &self.config.model
    }

    fn reply(&self, request: &ChatRequest<'_>, usage: &mut Usage) -> Result<ChatReply, ChatError> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let reply = self.send_with_retries(request, usage);
        let counter = if reply.is_ok() { &self.answered } else { &self.failed };
        counter.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_sub(1, Ordering::SeqCst);
        reply.map_err(|error| self.weighed(error))
    }
}

/// Semaphore of concurrent requests.
struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// Permit of the semaphore; free again when it is dropped.
struct Slot<'a>(&'a Slots);

impl Slots {
    fn new(n: usize) -> Self {
        Self { free: Mutex::new(n), freed: Condvar::new() }
    }

    fn take(&self) -> Slot<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            self.freed.wait_while(free, |it| *it == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Slot(self)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
