//! Fetching of web pages, from public addresses only.
//!
//! This agent is apart from `forage_http`: names are resolved by the guard, redirections are
//! followed by hand, a page is read up to a limit, and nothing is retried.

use std::io::Read;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use encoding_rs::{Encoding, UTF_8};
use ureq::Agent;
use ureq::http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use ureq::http::{HeaderMap, HeaderName};
use ureq::unversioned::transport::DefaultConnector;
use url::Url;

use super::guard::{Blocklist, GuardedResolver};
use super::html::{self, Page};

/// Most redirections that are followed.
const MAX_REDIRECTS: usize = 5;
/// Bytes of a page that are read; the rest is left.
const MAX_PAGE_BYTES: u64 = 2 << 20;
/// Bytes of a page in which its encoding is looked for.
const SNIFF_LEN: usize = 1024;

/// Error of fetching a page.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("it is no address of a page")]
    Address,
    #[error("`{0}` is blocked")]
    Blocked(String),
    #[error("there are more than {MAX_REDIRECTS} redirections")]
    Redirections,
    #[error("it answered {0}")]
    Status(u16),
    #[error("it is `{0}` and no page")]
    Kind(String),
    #[error("it took too long")]
    Time,
    #[error("there was no answer")]
    Http(#[from] ureq::Error),
    #[error("it cannot be read to its end")]
    Read(#[from] std::io::Error),
}

/// Fetcher of pages, from permitted addresses and domains that are not blocked.
pub(super) struct PageReader {
    agent: Agent,
    blocked: Blocklist,
    timeout: Duration,
}

impl PageReader {
    /// Fetcher that connects to the addresses that `permits` accepts.
    pub(super) fn new(blocked: Blocklist, timeout: Duration, permits: fn(IpAddr) -> bool) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A proxy would look the name up by itself.
            .proxy(None)
            // Each address on the way is looked at here.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("forage/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent =
            Agent::with_parts(config, DefaultConnector::default(), GuardedResolver::new(permits));
        Self { agent, blocked, timeout }
    }

    /// Checks that an address is that of a page and not blocked. Its host is not resolved.
    pub(super) fn check(&self, url: &Url) -> Result<(), PageError> {
        let is_web = matches!(url.scheme(), "http" | "https");
        let is_plain = url.username().is_empty() && url.password().is_none();
        match url.host_str() {
            Some(host) if is_web && is_plain => {
                if self.blocked.has(host) {
                    return Err(PageError::Blocked(host.to_owned()));
                }
                Ok(())
            }
            _ => Err(PageError::Address),
        }
    }

    /// Fetches a page, and follows redirections.
    pub(super) fn read(&self, url: &Url) -> Result<Page, PageError> {
        let until = Instant::now() + self.timeout;
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.check(&url)?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(PageError::Time);
            }
            let request = self.agent.get(url.as_str()).config().timeout_global(Some(left)).build();
            let kinds = "text/html,application/xhtml+xml,text/plain;q=0.9";
            let mut response = request.header(ACCEPT, kinds).call()?;
            let status = response.status();
            if let Some(to) = header(response.headers(), &LOCATION)
                && status.is_redirection()
            {
                url = url.join(to).map_err(|_| PageError::Address)?;
                continue;
            }
            if !status.is_success() {
                return Err(PageError::Status(status.as_u16()));
            }
            let kind = header(response.headers(), &CONTENT_TYPE).unwrap_or("text/html").to_owned();
            let name = kind.split(';').next().unwrap_or_default().trim().to_lowercase();
            let is_text = name == "text/plain";
            if !is_text && !matches!(name.as_str(), "text/html" | "application/xhtml+xml") {
                return Err(PageError::Kind(name));
            }
            let mut bytes = Vec::new();
            response.body_mut().as_reader().take(MAX_PAGE_BYTES).read_to_end(&mut bytes)?;
            let (text, ..) = encoding(&kind, &bytes).decode(&bytes);
            return Ok(if is_text {
                Page { title: String::new(), text: text.into_owned() }
            } else {
                html::read(&text)
            });
        }
        Err(PageError::Redirections)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Encoding by the header, or else by the `charset` in the page, or else UTF-8.
fn encoding(kind: &str, bytes: &[u8]) -> &'static Encoding {
    let prologue = String::from_utf8_lossy(&bytes[..bytes.len().min(SNIFF_LEN)]).to_lowercase();
    let label = |text: &str| {
        let (_, after) = text.split_once("charset")?;
        let after = after.trim_start().strip_prefix('=')?;
        let after = after.trim_start().trim_start_matches(['"', '\'']);
        let end = after.find(['"', '\'', ';', '>', '/', ' ']).unwrap_or(after.len());
        Encoding::for_label(&after.as_bytes()[..end])
    };
    label(&kind.to_lowercase()).or_else(|| label(&prologue)).unwrap_or(UTF_8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        for (kind, page, name) in [
            ("text/html; charset=ISO-8859-1", "", "windows-1252"),
            ("text/html;charset=\"utf-8\"", "<meta charset=latin1>", "UTF-8"),
            ("text/html", "<html><META charset='Shift_JIS'/>", "Shift_JIS"),
            ("text/html", "<meta content=\"text/html; charset=gb2312\">", "GBK"),
            ("text/html; charset=nonsense", "", "UTF-8"),
        ] {
            assert_eq!(encoding(kind, page.as_bytes()).name(), name, "{kind} {page}");
        }
    }
}
