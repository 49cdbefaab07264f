//! Web search: Serper, Brave and `SearXNG`, and the pages that they find.
//!
//! The id of a hit is its address. Its text is the engine's snippet, or, where pages are read, the
//! part of the page with most of the query's terms. A page that cannot be read leaves the
//! snippet, and is counted; a search that fails is an error, never an empty result.
//!
//! Pages and their links are untrusted: [`guard`] decides what is connected to, [`html`] parses in
//! bounded memory, and blocked domains are neither shown nor read, which keeps the answers of a
//! benchmark out of its search results.

mod guard;
mod html;
mod page;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use forage_http::header::{AUTHORIZATION, HeaderName};
use forage_http::{ShapeFault, elements, text};
use forage_trajectory::{Hit, Retriever, SearchError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::client::{Transport, default_connections, in_requests, of_member, seconds};
use crate::{Analyzer, ClientError, HttpConfig, HttpCounts, Snippet};
use guard::Blocklist;
use page::PageReader;

/// Longest query that every engine takes, in characters. Longer ones are cut: a query that is
/// refused would take its trajectory out of the statistics.
const MAX_QUERY_CHARS: usize = 400;
/// Longest query that every engine takes, in words.
const MAX_QUERY_WORDS: usize = 50;
/// Fewest results of a request, so that some are left after the blocked ones.
const MIN_RESULTS: usize = 10;
/// Most results that an engine gives.
const MAX_RESULTS: usize = 20;

/// Search engine of the web: engine, blocked domains, and whether pages are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebConfig {
    /// Engine. Its key is in the environment variable that `http.token_env` names, or else in
    /// `SERPER_API_KEY` or `BRAVE_API_KEY`; `SearXNG` needs none.
    pub engine: WebEngine,
    /// Address of the engine; `SearXNG` needs one, such as `http://127.0.0.1:8080/search`. Default:
    /// the public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Blocked domains, which are never shown and never read, with all below them. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<String>,
    /// Length of the snippets of pages, in bytes: the pages of hits are read. Default: the snippets
    /// of the engine are shown, and no page is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_bytes: Option<usize>,
    /// Most concurrent requests. Default: 8.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// Timeout, of a request and of a page, and retries. Default: those of [`HttpConfig`].
    #[serde(default)]
    pub http: HttpConfig,
}

/// Engine of web search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebEngine {
    /// Serper: Google's results, by serper.dev.
    Serper,
    /// Brave, with an index of its own.
    Brave,
    /// `SearXNG`, an instance of your own; `search.formats` of its settings must have `json`.
    Searxng,
}

/// Counters of pages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// Pages that were read.
    pub read: u64,
    /// Pages that could not be read, or must not be: the snippet of the engine was shown.
    pub left: u64,
}

/// Retriever over the web. The score of a hit is 1 divided by its rank.
pub struct Web {
    config: WebConfig,
    url: Url,
    transport: Transport,
    pages: PageReader,
    read: AtomicU64,
    left: AtomicU64,
}

impl Web {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Where an option is out of range or the key is not there.
    pub fn new(config: &WebConfig) -> Result<Self, ClientError> {
        Self::with_address_filter(config, guard::is_public)
    }

    /// Client that reads pages of permitted addresses: tests have their servers on this machine.
    fn with_address_filter(
        config: &WebConfig,
        permits: fn(IpAddr) -> bool,
    ) -> Result<Self, ClientError> {
        let wrong = |name, value: &str, range| {
            Err(ClientError::Option { name, value: format!("`{value}`"), range })
        };
        let public = match config.engine {
            WebEngine::Serper => "https://google.serper.dev/search",
            WebEngine::Brave => "https://api.search.brave.com/res/v1/web/search",
            WebEngine::Searxng => "",
        };
        let url = config.url.as_deref().unwrap_or(public);
        let Some(address) = Url::parse(url).ok().filter(Url::has_host) else {
            return wrong("url", url, "the address of the search engine");
        };
        let is_domain =
            |domain: &String| !domain.trim().is_empty() && !domain.contains(['/', ':', '*', '@']);
        if let Some(domain) = config.blocked.iter().find(|it| !is_domain(it)) {
            return wrong("blocked", domain, "a list of domains such as `example.org`");
        }
        for (name, count) in
            [("connections", config.connections), ("page_bytes", config.page_bytes.unwrap_or(1))]
        {
            if count == 0 {
                return wrong(name, "0", "1 or more");
            }
        }
        let key = match config.engine {
            WebEngine::Serper => (HeaderName::from_static("x-api-key"), Some("SERPER_API_KEY")),
            WebEngine::Brave => {
                (HeaderName::from_static("x-subscription-token"), Some("BRAVE_API_KEY"))
            }
            WebEngine::Searxng => (AUTHORIZATION, None),
        };
        let transport = Transport::keyed(&config.http, key.0, key.1)?;
        let timeout = seconds("timeout_seconds", config.http.timeout_seconds)?;
        let pages = PageReader::new(Blocklist::new(&config.blocked), timeout, permits);
        let (read, left) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { config: config.clone(), url: address, transport, pages, read, left })
    }

    /// Counters of searches so far.
    pub fn counts(&self) -> HttpCounts {
        self.transport.counts()
    }

    /// Counters of pages so far.
    pub fn page_counts(&self) -> PageCounts {
        let [read, left] = [&self.read, &self.left].map(|it| it.load(Ordering::Relaxed));
        PageCounts { read, left }
    }

    /// Whether the last request failed and the retry budget was spent: the engine is down for good.
    pub fn has_given_up(&self) -> bool {
        self.transport.has_given_up()
    }

    fn search_one(&self, query: &str, k: usize) -> Result<Vec<Hit>, ClientError> {
        let query = truncated(query);
        let n = k.clamp(MIN_RESULTS, MAX_RESULTS);
        let found = match self.config.engine {
            WebEngine::Serper => {
                let body = json!({ "q": query, "num": n }).to_string();
                let url = self.url.as_str();
                self.transport.post(url, "application/json", body.as_bytes(), &serper)?
            }
            WebEngine::Brave => {
                let count = n.to_string();
                self.get(&[("q", &query), ("count", &count)], brave)?
            }
            WebEngine::Searxng => self.get(&[("q", &query), ("format", "json")], searxng)?,
        };
        let mut results: Vec<(Url, Hit)> = Vec::new();
        for hit in found {
            // Results that are no pages, or are blocked, are not shown.
            let Ok(url) = Url::parse(&hit.id) else { continue };
            if self.pages.check(&url).is_ok() && results.iter().all(|it| it.0 != url) {
                results.push((url, hit));
            }
        }
        results.truncate(k);
        let show = |(idx, (url, hit)): (usize, (Url, Hit))| {
            let score = 1.0 / (idx + 1) as f32;
            Hit { score, ..self.with_page(&url, hit, &query) }
        };
        let results = results.into_iter().enumerate();
        if self.config.page_bytes.is_none() {
            return Ok(results.map(show).collect());
        }
        // Pages wait for servers and not for a processor: each is read on a thread of its own.
        Ok(thread::scope(|scope| {
            let reading: Vec<_> = results.map(|result| scope.spawn(|| show(result))).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            reading.into_iter().map(join).collect()
        }))
    }

    fn get(
        &self,
        pairs: &[(&str, &str)],
        read: fn(&Value) -> Result<Vec<Hit>, ShapeFault>,
    ) -> Result<Vec<Hit>, ClientError> {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(pairs);
        self.transport.get(url.as_str(), &read)
    }

    /// Hit with a snippet of its page, where pages are read and this one can be.
    fn with_page(&self, url: &Url, hit: Hit, query: &str) -> Hit {
        let Some(width) = self.config.page_bytes else { return hit };
        let page = self.pages.read(url).ok().filter(|page| !page.text.is_empty());
        let counter = if page.is_some() { &self.read } else { &self.left };
        counter.fetch_add(1, Ordering::Relaxed);
        let Some(page) = page else { return hit };
        let analyzer = Analyzer::English;
        let text = Snippet::new(&page.text, &analyzer.terms(query), analyzer, width);
        let title = if hit.title.is_empty() { page.title } else { hit.title };
        Hit { title, text: text.text().to_owned(), ..hit }
    }
}

impl Retriever for Web {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        in_requests(queries, 1, self.config.connections, |queries| {
            let search = |query: &&str| {
                let hits = if k == 0 { Ok(Vec::new()) } else { self.search_one(query, k) };
                hits.map_err(Arc::new)
            };
            queries.iter().map(search).collect()
        })
    }
}

/// Query that is cut to the length that every engine takes.
fn truncated(query: &str) -> String {
    let mut text = String::new();
    let mut n = 0;
    for word in query.split_whitespace().take(MAX_QUERY_WORDS) {
        let length = word.chars().count();
        if n > 0 && n + 1 + length > MAX_QUERY_CHARS {
            break;
        }
        if n > 0 {
            text.push(' ');
        }
        text.extend(word.chars().take(MAX_QUERY_CHARS));
        n += length + 1;
    }
    text
}

/// Hits of Serper.
fn serper(answer: &Value) -> Result<Vec<Hit>, ShapeFault> {
    of_member(answer, "organic", |it| rows(it, "link", "snippet"))
}

/// Hits of Brave.
fn brave(answer: &Value) -> Result<Vec<Hit>, ShapeFault> {
    match answer.get("web") {
        // A search without results has no such part.
        None if answer["type"] == "search" => Ok(Vec::new()),
        _ => of_member(answer, "web", |web| {
            of_member(web, "results", |it| rows(it, "url", "description"))
        }),
    }
}

/// Hits of `SearXNG`.
fn searxng(answer: &Value) -> Result<Vec<Hit>, ShapeFault> {
    let found = of_member(answer, "results", |it| rows(it, "url", "content"))?;
    let silent = answer.get("unresponsive_engines").and_then(Value::as_array);
    match silent.filter(|engines| found.is_empty() && !engines.is_empty()) {
        // No engine searched, which is not the same as an empty result.
        Some(silent) => {
            let what = format!("found nothing, as no engine behind it answered: {}", json!(silent));
            Err(ShapeFault::new(what))
        }
        None => Ok(found),
    }
}

/// Hits with their addresses as ids. Titles and snippets may hold markup.
fn rows(rows: &Value, url: &str, snippet: &str) -> Result<Vec<Hit>, ShapeFault> {
    elements(rows, |row| {
        let id = of_member(row, url, text)?.to_owned();
        let plain = |key| html::plain(row.get(key).and_then(Value::as_str).unwrap_or_default());
        Ok(Hit { id, title: plain("title"), text: plain(snippet), score: 0.0 })
    })
}
