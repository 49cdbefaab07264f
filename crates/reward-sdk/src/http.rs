//! HTTP client for rewards that call a server: the feature `http`.

use std::thread;
use std::time::Duration;

use crate::RewardError;

/// Largest reply, in bytes.
const MAX_REPLY: u64 = 1 << 26;
/// Bytes on either side of a fault that a message shows.
const SHOWN: usize = 20;

/// HTTP server with its headers, timeout and number of retries.
#[derive(Debug)]
pub struct Server {
    url: String,
    headers: Vec<(String, String)>,
    n_retries: u32,
    agent: ureq::Agent,
}

impl Server {
    /// Client for the options `url`, `timeout_s` (timeout of one request in seconds) and `retries`
    /// of a reward.
    ///
    /// # Errors
    ///
    /// An invalid option, which the message names.
    pub fn new(url: &str, timeout_s: f64, retries: u32) -> Result<Self, RewardError> {
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            let message = format!("`url` is `{url}`: it begins with `http://` or `https://`");
            return Err(RewardError::new(message));
        }
        let timeout = Duration::try_from_secs_f64(timeout_s)
            .ok()
            .filter(|it| !it.is_zero())
            .ok_or_else(|| RewardError::new("`timeout_s` must be a time above 0"))?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .build()
            .into();
        Ok(Self { url: url.to_owned(), headers: Vec::new(), n_retries: retries, agent })
    }

    /// The same client, which sends this header with every request.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends JSON by POST to a path below the URL, and returns the body of the reply.
    ///
    /// Requests are retried after status 429, a status of 500 and above, and a failure to connect,
    /// with exponential backoff: after 0.5 seconds, 1 second, 2 seconds, ….
    ///
    /// # Errors
    ///
    /// [`RewardError::broken`], with the URL and the last problem.
    pub fn post(&self, path: &str, body: &str) -> Result<String, RewardError> {
        self.try_post(path, body).map_err(|(_, problem)| RewardError::broken(problem))
    }

    /// As [`post`](Self::post); an error is the status, where there was one, and the problem.
    pub(crate) fn try_post(&self, path: &str, body: &str) -> Result<String, (Option<u16>, String)> {
        let url = format!("{}{path}", self.url);
        let mut wait = Duration::from_millis(500);
        let mut n_left = self.n_retries;
        loop {
            let (status, problem, may_help) = match self.once(&url, body) {
                Ok((200..300, bytes)) => match String::from_utf8(bytes) {
                    Ok(text) => return Ok(text),
                    Err(err) => (None, not_utf8(&err), false),
                },
                Ok((status, bytes)) => {
                    let text = String::from_utf8_lossy(&bytes);
                    let start: String = text.trim().chars().take(200).collect();
                    let problem = format!("answered with status {status}: `{start}`");
                    (Some(status), problem, status == 429 || status >= 500)
                }
                Err(ureq::Error::BodyExceedsLimit(most)) => {
                    (None, format!("answered with more than {most} bytes"), false)
                }
                Err(err) => (None, format!("could not be asked: {err}"), true),
            };
            let problem = format!("the server `{url}` {problem}");
            if n_left == 0 || !may_help {
                return Err((status, problem));
            }
            let wait_s = wait.as_secs_f64();
            let times = if n_left == 1 { "once".to_owned() } else { format!("{n_left} times") };
            crate::warn(&format!(
                "{problem}; it is asked again {times}, after {wait_s} s at first"
            ));
            n_left -= 1;
            thread::sleep(wait);
            wait *= 2;
        }
    }

    fn once(&self, url: &str, body: &str) -> Result<(u16, Vec<u8>), ureq::Error> {
        let request = self.agent.post(url).header("Content-Type", "application/json");
        let request = self.headers.iter().fold(request, |it, (name, value)| it.header(name, value));
        let mut response = request.send(body)?;
        let bytes = response.body_mut().with_config().limit(MAX_REPLY).read_to_vec()?;
        Ok((response.status().as_u16(), bytes))
    }

    /// URL, without the path of a request.
    #[cfg(feature = "judge")]
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Fault of a reply that is no text: where, and the bytes there.
fn not_utf8(err: &std::string::FromUtf8Error) -> String {
    let (at, bytes) = (err.utf8_error().valid_up_to(), err.as_bytes());
    let shown = &bytes[at.saturating_sub(SHOWN)..bytes.len().min(at + SHOWN)];
    format!(
        "answered with bytes that are not UTF-8, at byte {}: `{}`",
        at + 1,
        shown.escape_ascii()
    )
}
