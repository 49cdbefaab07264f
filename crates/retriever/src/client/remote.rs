//! Client of the `/retrieve` protocol, in any of its dialects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use forage_trajectory::{Hit, Retriever, SearchError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ClientError;
use super::hits;
use super::transport::{
    HttpConfig, HttpCounts, Transport, check, default_batch, default_connections,
};
use crate::Dialect;

/// Server of the `/retrieve` protocol: address and dialect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// Whole address, for example `http://127.0.0.1:8000/retrieve`.
    pub url: String,
    /// Dialect of the server. Default: `search-r1`.
    #[serde(default)]
    pub dialect: Dialect,
    /// Most queries in a request, where the dialect sends several. Default: 64.
    #[serde(default = "default_batch")]
    pub batch: usize,
    /// Most concurrent requests. Default: 8.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// Timeout, retries and token. Default: those of [`HttpConfig`].
    #[serde(default)]
    pub http: HttpConfig,
}

impl RemoteConfig {
    /// Server with the default options.
    pub fn new(url: impl Into<String>, dialect: Dialect) -> Self {
        let (batch, connections) = (default_batch(), default_connections());
        Self { url: url.into(), dialect, batch, connections, http: HttpConfig::default() }
    }
}

/// Retriever behind a server of the `/retrieve` protocol.
///
/// Queries are trimmed; an empty one finds nothing and is not sent. A server that refuses a
/// request of several queries is asked again with fewer, so that one bad query does not cost the
/// others their answer. More hits than were asked for are dropped.
pub struct Remote {
    config: RemoteConfig,
    transport: Transport,
}

impl Remote {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Where an option is out of range or the token is not there.
    pub fn new(config: &RemoteConfig) -> Result<Self, ClientError> {
        check(&config.url, &[("batch", config.batch), ("connections", config.connections)])?;
        Ok(Self { config: config.clone(), transport: Transport::new(&config.http)? })
    }

    /// Counters of requests so far.
    pub fn counts(&self) -> HttpCounts {
        self.transport.counts()
    }

    /// Whether the last request failed and the retry budget was spent: the server is down for good.
    pub fn has_given_up(&self) -> bool {
        self.transport.has_given_up()
    }

    fn request(&self, queries: &[&str], k: usize) -> Found {
        let dialect = self.config.dialect;
        let body = match dialect {
            Dialect::SearchR1 => json!({"queries": queries, "topk": k, "return_scores": true}),
            Dialect::Slime => json!({"queries": queries, "topk": k, "return_scores": false}),
            Dialect::SkyRl => json!({"query": queries[0], "topk": k, "return_scores": true}),
            Dialect::Rllm | Dialect::ZeroSearch => json!({"query": queries[0], "top_k": k}),
            Dialect::FlashRag => json!({"query": queries, "top_n": k, "return_score": true}),
            Dialect::R1Searcher => json!({"queries": queries, "k": k}),
        };
        let read = |answer: &Value| {
            let found = hits::read(answer, dialect, queries.len())?;
            Ok(hits::without_skipped(answer, found))
        };
        let (url, body) = (&self.config.url, body.to_string());
        let mut found = self.transport.post(url, "application/json", body.as_bytes(), &read)?;
        for hits in found.iter_mut().flatten() {
            hits.truncate(k);
        }
        Ok(found)
    }
}

impl Retriever for Remote {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let batch = if self.config.dialect.is_single() { 1 } else { self.config.batch };
        in_requests(queries, batch, self.config.connections, |queries| {
            if k == 0 {
                return vec![Ok(Vec::new()); queries.len()];
            }
            in_halves(queries, &|queries| self.request(queries, k))
        })
    }
}

/// Hits of each query of a request, or the error of all of them.
pub(super) type Found = Result<Vec<Result<Vec<Hit>, ClientError>>, ClientError>;

/// Searches for a batch of queries in one request, and in two of half as many where the server
/// refuses it: so one bad query fails alone.
pub(super) fn in_halves(
    queries: &[&str],
    request: &dyn Fn(&[&str]) -> Found,
) -> Vec<Result<Vec<Hit>, Arc<ClientError>>> {
    match request(queries) {
        Ok(found) => found.into_iter().map(|hits| hits.map_err(Arc::new)).collect(),
        Err(error) if error.is_bad_request() && queries.len() > 1 => {
            let (first, second) = queries.split_at(queries.len() / 2);
            let mut found = in_halves(first, request);
            found.extend(in_halves(second, request));
            found
        }
        Err(error) => {
            let error = Arc::new(error);
            queries.iter().map(|_| Err(Arc::clone(&error))).collect()
        }
    }
}

/// Sends queries in batches, `connections` of them at once, and puts the answers into the order of
/// the queries. An empty query is not sent and finds nothing.
pub(crate) fn in_requests(
    queries: &[&str],
    batch: usize,
    connections: usize,
    search: impl Fn(&[&str]) -> Vec<Result<Vec<Hit>, Arc<ClientError>>> + Sync,
) -> Vec<Result<Vec<Hit>, SearchError>> {
    let asked: Vec<(usize, &str)> = queries.iter().map(|it| it.trim()).enumerate().collect();
    let asked: Vec<(usize, &str)> =
        asked.into_iter().filter(|(_, query)| !query.is_empty()).collect();
    let requests: Vec<&[(usize, &str)]> = asked.chunks(batch).collect();
    let answers: Vec<_> = queries.iter().map(|_| Ok(Vec::new())).collect();
    let answers = Mutex::new(answers);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let texts: Vec<&str> = request.iter().map(|it| it.1).collect();
            let found = search(&texts);
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            for (&(idx, query), found) in request.iter().zip(found) {
                let failed =
                    |error| SearchError { query: query.to_owned(), source: Box::new(error) };
                answers[idx] = found.map_err(failed);
            }
        }
    };
    match requests.len() {
        0 => {}
        1 => work(),
        n => thread::scope(|scope| {
            for _ in 0..n.min(connections) {
                scope.spawn(work);
            }
        }),
    }
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}
