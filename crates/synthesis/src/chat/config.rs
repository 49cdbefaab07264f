//! Configuration of a chat client: server, model, sampling, price and retries.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::ChatError;

/// Chat client of a server with the chat completions of the `OpenAI` protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatConfig {
    /// Base address of the server, up to and with `/v1`.
    pub url: String,
    /// Name of the model.
    pub model: String,
    /// Environment variable with the API key, which is sent as `Authorization: Bearer …`. Default:
    /// no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// Most tokens of a reply. Default: 4096.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: u32,
    /// Nucleus sampling (top-p), in (0, 1]. Default: that of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Whether requests have a `seed`, which some servers refuse. Default: true.
    #[serde(default = "default_true")]
    pub send_seed: bool,
    /// Further keys of the request's body, such as those that turn thinking off. Default: none.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// Price of tokens. Default: 0.
    #[serde(default)]
    pub price: Price,
    /// Most requests at once. Default: 16.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// Timeout of an attempt in seconds, from connecting to the last byte. Default: 180.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: f64,
    /// Most failed attempts of a request while others get replies. Default: 8.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// First pause between attempts in seconds; it doubles with every attempt, up to a minute.
    /// Default: 1.
    #[serde(default = "default_backoff")]
    pub backoff_seconds: f64,
    /// Longest outage in seconds, and longest delay of a request by rate limits. Default: 600.
    #[serde(default = "default_patience")]
    pub patience_seconds: f64,
}

/// Price of a million tokens, in any currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Price of prompt tokens.
    pub input: f64,
    /// Price of completion tokens.
    pub output: f64,
}

impl Price {
    /// Price of a call.
    pub fn of(self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        (prompt_tokens as f64 * self.input + completion_tokens as f64 * self.output) / 1e6
    }
}

const fn default_max_tokens() -> u32 {
    4096
}

const fn default_true() -> bool {
    true
}

const fn default_concurrency() -> usize {
    16
}

const fn default_timeout() -> f64 {
    180.0
}

const fn default_attempts() -> u32 {
    8
}

const fn default_backoff() -> f64 {
    1.0
}

const fn default_patience() -> f64 {
    600.0
}

/// Configuration whose values were checked.
pub(super) struct Checked {
    pub(super) url: String,
    pub(super) key: Option<String>,
    pub(super) timeout: Duration,
    pub(super) backoff: Duration,
    pub(super) patience: Duration,
}

impl ChatConfig {
    /// Client of a server and a model, with the defaults.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            model: model.into(),
            api_key_env: None,
            max_tokens: default_max_tokens(),
            top_p: None,
            send_seed: default_true(),
            extra: Map::new(),
            price: Price::default(),
            concurrency: default_concurrency(),
            timeout_seconds: default_timeout(),
            attempts: default_attempts(),
            backoff_seconds: default_backoff(),
            patience_seconds: default_patience(),
        }
    }

    /// Checks that every option is in range and the key is set.
    pub fn check(&self) -> Result<(), ChatError> {
        self.checked().map(drop)
    }

    pub(super) fn checked(&self) -> Result<Checked, ChatError> {
        let url = self.url.trim_end_matches('/');
        let is_address = url.starts_with("http://") || url.starts_with("https://");
        let range = "an address that begins with `http://` or `https://` and ends with `/v1`, or \
                     where the server has its `/chat/completions`";
        ensure(is_address && !url.ends_with("/chat/completions"), "url", quoted(&self.url), range)?;
        ensure(!self.model.trim().is_empty(), "model", quoted(&self.model), "a name")?;
        let counts = [
            ("max_tokens", u64::from(self.max_tokens)),
            ("concurrency", self.concurrency as u64),
            ("attempts", u64::from(self.attempts)),
        ];
        for (name, count) in counts {
            ensure(count > 0, name, count.to_string(), "1 or more")?;
        }
        if let Some(top_p) = self.top_p {
            ensure(top_p > 0.0 && top_p <= 1.0, "top_p", top_p.to_string(), "in (0, 1]")?;
        }
        for (name, price) in
            [("price.input", self.price.input), ("price.output", self.price.output)]
        {
            ensure(price.is_finite() && price >= 0.0, name, price.to_string(), "0 or more")?;
        }
        for key in ["model", "messages", "temperature", "top_p", "max_tokens", "stop", "seed", "n"]
        {
            let range = "without keys that have an option of their own, `n` or `stream`";
            ensure(!self.extra.contains_key(key), "extra", format!("with `{key}`"), range)?;
        }
        let streams = self.extra.contains_key("stream");
        ensure(!streams, "extra", "with `stream`".to_owned(), "for replies in one piece")?;
        Ok(Checked {
            url: format!("{url}/chat/completions"),
            key: self.api_key_env.as_deref().map(key).transpose()?,
            timeout: seconds("timeout_seconds", self.timeout_seconds)?,
            backoff: seconds("backoff_seconds", self.backoff_seconds)?,
            patience: seconds("patience_seconds", self.patience_seconds)?,
        })
    }
}

/// The API key in an environment variable.
fn key(variable: &str) -> Result<String, ChatError> {
    let key = std::env::var(variable).unwrap_or_default().trim().to_owned();
    let is_key = !key.is_empty() && key.bytes().all(|it| it.is_ascii_graphic());
    let range = "an environment variable that holds a key of visible characters";
    ensure(is_key, "api_key_env", quoted(variable), range)?;
    Ok(key)
}

fn seconds(name: &'static str, seconds: f64) -> Result<Duration, ChatError> {
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|it| !it.is_zero());
    duration.ok_or_else(|| ChatError::Option {
        name,
        value: seconds.to_string(),
        range: "a number of seconds above 0",
    })
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

fn ensure(
    holds: bool,
    name: &'static str,
    value: String,
    range: &'static str,
) -> Result<(), ChatError> {
    if holds { Ok(()) } else { Err(ChatError::Option { name, value, range }) }
}
