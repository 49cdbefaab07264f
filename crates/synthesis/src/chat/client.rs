//! A model behind a server of the `OpenAI` protocol.
//!
//! | what happens | what is done |
//! |---|---|
//! | no connection, reset, timeout, half a reply, no JSON, no choice, 408, 5xx | tried again after a pause: `attempts` times where others get replies meanwhile, for `patience_seconds` where nobody does |
//! | 425, 429, and any of 5xx with `Retry-After` | nobody asks for the pause asked for; then tried again, for `patience_seconds` |
//! | a refusal, a content filter, no text, a prompt that is too long | fails at once, and concerns this request only |
//! | 400, 413, 422 | the same, once any request had a reply; a server that refuses all of them concerns the run |
//! | 401, 402, 403, `insufficient_quota`, 404 and the like | fails at once, and concerns the run |
//! | the budget does not reach for the call | fails at once; nothing is sent |
//!
//! Pauses double from attempt to attempt, up to a minute. Each is drawn between half and all of its
//! length, by a hash of request and attempt: callers spread, and when something is asked is all
//! that depends on it. `Retry-After` is read in seconds.
//!
//! A call sets aside what it can take at most: the bytes of its prompt, since no token has less
//! than one, and `max_tokens`. A reply that does not say what it took is entered with its bytes. An
//! attempt without a reply is not entered: nobody says what it took.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};

use super::budget::{Budget as Ledger, Usage};
use super::config::{ChatConfig, Checked};
use super::error::{Blame, ChatError};
use super::reply::Source;
use super::{ChatModel, ChatReply, ChatRequest};

/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How often those who wait look whether the run is to stop.
const GLANCE: Duration = Duration::from_millis(50);
/// The largest reply that is read.
const MAX_REPLY: u64 = 1 << 28;
/// Tokens of a prompt beyond its text: the marks of a chat template.
const TEMPLATE_TOKENS: u64 = 64;

/// What happened to requests so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChatCounts {
    /// Requests with a reply that can be used.
    pub answered: u64,
    /// Requests that failed for good.
    pub failed: u64,
    /// Attempts after a failed one.
    pub retried: u64,
    /// Attempts that a limit of the rate put off.
    pub put_off: u64,
}

/// A model behind a server. Shared by many threads.
pub struct ChatClient {
    agent: Agent,
    config: ChatConfig,
    checked: Checked,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    free: Slots,
    /// Nobody asks before: a limit of the rate is one for all.
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
        ledger: Arc<Ledger>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, ChatError> {
        let checked = config.checked()?;
        let agent = Agent::config_builder()
            .timeout_global(Some(checked.timeout))
            .http_status_as_error(false)
            .max_idle_connections_per_host(config.concurrency)
            .max_idle_connections(config.concurrency)
            .user_agent(concat!("forage/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            config: config.clone(),
            checked,
            ledger,
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

    /// What happened to requests so far.
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

    /// Asks until there is a reply or no hope.
    fn persist(
        &self,
        request: &ChatRequest<'_>,
        usage: &mut Usage,
    ) -> Result<ChatReply, ChatError> {
        let body = self.body(request);
        let patience = self.checked.patience;
        let mut n_failed = 0;
        let mut n_put_off = 0;
        // When this request first failed, and how many had replies by then.
        let mut trouble: Option<(Instant, u64)> = None;
        loop {
            self.wait_for_rate()?;
            let error = match self.attempt(&body, request, usage) {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if error.blame() == Blame::Request {
                return Err(error);
            }
            let n_answered = self.answered.load(Ordering::Relaxed);
            let (since, n_before) = *trouble.get_or_insert((Instant::now(), n_answered));
            if error.blame() == Blame::Patience {
                n_put_off += 1;
                let pause = error.retry_after().unwrap_or_else(|| self.pause(&body, n_put_off));
                if since.elapsed() + pause > patience {
                    let seconds = patience.as_secs_f64();
                    return Err(ChatError::PutOff { seconds, source: Box::new(error) });
                }
                self.hold_until(Instant::now() + pause);
                self.put_off.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            n_failed += 1;
            if n_failed >= self.config.attempts && n_answered > n_before {
                return Err(ChatError::GaveUp { attempts: n_failed, source: Box::new(error) });
            }
            let pause = self.pause(&body, n_failed);
            if since.elapsed() + pause > patience {
                let seconds = patience.as_secs_f64();
                return Err(ChatError::Outage { seconds, source: Box::new(error) });
            }
            self.wait_until(Instant::now() + pause)?;
            self.retried.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One attempt, when it is this one's turn.
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
        self.ledger.settle(most, took);
        *usage += took;
        reply
    }

    /// Sets aside what a call may take at most. Calls under way mostly take far less than that, so
    /// where only they stand against it, their end is waited for.
    fn reserve(&self, most: Usage) -> Result<(), ChatError> {
        loop {
            // Asked before: a call that ends in between must not look like an empty account.
            let waits = self.ledger.has_reservations();
            match self.ledger.reserve(most) {
                Err(_) if waits => self.wait_until(Instant::now() + GLANCE)?,
                reserved => return Ok(reserved?),
            }
        }
    }

    /// Sends a request and reads what comes back.
    fn exchange(
        &self,
        body: &[u8],
        request: &ChatRequest<'_>,
        took: &mut Usage,
    ) -> Result<ChatReply, ChatError> {
        let url = self.checked.url.as_str();
        let key = self.checked.key.as_deref();
        let source = Source { url, model: &self.config.model, key };
        let no_reply = |error| ChatError::NoReply { url: url.to_owned(), source: Box::new(error) };
        let mut post = self.agent.post(url).header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            post = post.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let mut response = post.send(body).map_err(no_reply)?;
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok());
        let retry_after = seconds
            .and_then(|it| it.trim().parse().ok())
            .and_then(|it| Duration::try_from_secs_f64(it).ok());
        let bytes = response.body_mut().with_config().limit(MAX_REPLY).read_to_vec();
        if !status.is_success() {
            return Err(source.refused_with(
                status.as_u16(),
                retry_after,
                &bytes.unwrap_or_default(),
            ));
        }
        let bytes = bytes.map_err(no_reply)?;
        let (metered, reply) = source.read(&bytes);
        *took = if let Some(metered) = metered {
            self.usage(metered.prompt_tokens, metered.completion_tokens)
        } else {
            let written = reply.as_ref().map_or(0, |it| it.text.len());
            self.usage(request.prompt.len() as u64, written as u64)
        };
        reply
    }

    /// Whether a request that was refused concerns the run: where every other was refused too, a
    /// key of the request is wrong and not its prompt. Waits for the first that is known.
    fn weighed(&self, error: ChatError) -> ChatError {
        if !matches!(error, ChatError::Status { status: 400 | 413 | 422, .. }) {
            return error;
        }
        while self.answered.load(Ordering::SeqCst) == 0 {
            if self.open.load(Ordering::SeqCst) == 0 || self.stop.load(Ordering::Relaxed) {
                return ChatError::NoneAccepted(Box::new(error));
            }
            thread::sleep(GLANCE);
        }
        error
    }

    fn usage(&self, prompt_tokens: u64, completion_tokens: u64) -> Usage {
        let money = self.config.price.of(prompt_tokens, completion_tokens);
        Usage { calls: 1, prompt_tokens, completion_tokens, money }
    }

    /// Waits until then, or fails where the run is to stop.
    fn wait_until(&self, then: Instant) -> Result<(), ChatError> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(ChatError::Stopping);
            }
            let left = then.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(GLANCE));
        }
    }

    /// Waits while a limit of the rate holds.
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

    fn pause(&self, body: &[u8], attempt: u32) -> Duration {
        let mut hasher = blake3::Hasher::new();
        hasher.update(body).update(&attempt.to_le_bytes());
        let share = 0.5 + f64::from(hasher.finalize().as_bytes()[0]) / 512.0;
        let doubled = self.checked.backoff.saturating_mul(1 << (attempt - 1).min(16));
        doubled.min(LONGEST_PAUSE).mul_f64(share)
    }
}

impl ChatModel for ChatClient {
    fn name(&self) -> &str {
        &self.config.model
    }

    fn reply(&self, request: &ChatRequest<'_>, usage: &mut Usage) -> Result<ChatReply, ChatError> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let reply = self.persist(request, usage);
        let counter = if reply.is_ok() { &self.answered } else { &self.failed };
        counter.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_sub(1, Ordering::SeqCst);
        reply.map_err(|error| self.weighed(error))
    }
}

/// So many at once.
struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One of them; free again when it is dropped.
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
