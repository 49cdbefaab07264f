//! Client of `OpenSearch`, Elasticsearch and Quickwit, by their common `_msearch` API.

use forage_http::{HttpError, ShapeFault, StatusError, elements};
use forage_trajectory::{Hit, Retriever, SearchError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ClientError;
use super::hits;
use super::remote::{Found, in_halves, in_requests};
use super::transport::{
    HttpConfig, HttpCounts, Transport, check, default_batch, default_connections,
};

/// Index of `OpenSearch`, Elasticsearch or Quickwit: address and fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElasticConfig {
    /// Address of the API: `http://127.0.0.1:9200`, for Quickwit
    /// `http://127.0.0.1:7280/api/v1/_elastic`.
    pub url: String,
    /// Name of the index.
    pub index: String,
    /// Fields that are searched, perhaps with boosts: `title^2`. Default: `contents`.
    #[serde(default = "default_fields")]
    pub fields: Vec<String>,
    /// Engine behind the API. Default: `opensearch`.
    #[serde(default)]
    pub engine: ElasticEngine,
    /// Most queries in a request. Default: 64.
    #[serde(default = "default_batch")]
    pub batch: usize,
    /// Most concurrent requests. Default: 8.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// Timeout, retries and token. Default: those of [`HttpConfig`].
    #[serde(default)]
    pub http: HttpConfig,
}

/// Search engine with the `_msearch` API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ElasticEngine {
    /// `OpenSearch` and Elasticsearch.
    #[default]
    Opensearch,
    /// Quickwit, whose hits are in the order of the index unless they are sorted by score, and
    /// whose scores are among the sort values.
    Quickwit,
}

fn default_fields() -> Vec<String> {
    vec!["contents".to_owned()]
}

/// Retriever over an index of `OpenSearch`, Elasticsearch or Quickwit.
///
/// A document has its words in `contents`, or in `title` and `text`; its id is its field `id`, or
/// else the `_id` of the engine. Analysis and ranking are set up in the engine. A query
/// that the engine fails on or refuses fails alone.
pub struct Elastic {
    config: ElasticConfig,
    url: String,
    transport: Transport,
}

impl Elastic {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Where an option is out of range or the token is not there.
    pub fn new(config: &ElasticConfig) -> Result<Self, ClientError> {
        let counts = [
            ("fields", config.fields.len()),
            ("batch", config.batch),
            ("connections", config.connections),
        ];
        check(&config.url, &counts)?;
        let url = format!("{}/_msearch", config.url.trim_end_matches('/'));
        Ok(Self { config: config.clone(), url, transport: Transport::new(&config.http)? })
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
        let mut body = String::new();
        for query in queries {
            let fields = &self.config.fields;
            let mut search = json!({
                "query": { "multi_match": { "query": query, "fields": fields } },
                "size": k,
                "track_total_hits": false,
            });
            if self.config.engine == ElasticEngine::Quickwit {
                search["sort"] = json!(["_score"]);
            }
            for line in [json!({ "index": self.config.index }), search] {
                body.push_str(&line.to_string());
                body.push('\n');
            }
        }
        let read = |answer: &Value| {
            hits::of_member(answer, "responses", |responses| {
                hits::checked_count(responses, queries.len())?;
                elements(responses, |response| self.response(response))
            })
        };
        self.transport.post(&self.url, "application/x-ndjson", body.as_bytes(), &read)
    }

    /// Hits of one query, or the error that stands in their place.
    fn response(&self, response: &Value) -> Result<Result<Vec<Hit>, ClientError>, ShapeFault> {
        if let Some(error) = response.get("error") {
            let status = response.get("status").and_then(Value::as_u64).unwrap_or(500) as u16;
            let (url, body) = (self.url.clone(), self.transport.redact(&error.to_string()));
            let error = HttpError::from(StatusError { url, status, body, retry_after: None });
            return Ok(Err(error.into()));
        }
        if let Some(what) = incomplete(response) {
            let url = self.url.clone();
            return Ok(Err(HttpError::Shape { url, what }.into()));
        }
        let found = hits::of_member(response, "hits", |found| {
            hits::of_member(found, "hits", |rows| elements(rows, hit))
        });
        found.map(Ok)
    }
}

/// Why the hits of a response are not all: engines answer with those of the shards that could be
/// searched, and status 200.
fn incomplete(response: &Value) -> Option<String> {
    if response["timed_out"] == true {
        return Some("`timed_out` is true, so that hits may be missing".to_owned());
    }
    let n_failed = response["_shards"]["failed"].as_u64().filter(|n| *n > 0)?;
    let n_shards = response["_shards"]["total"].as_u64().unwrap_or(n_failed);
    Some(format!("{n_failed} of {n_shards} shards failed, so that hits may be missing"))
}

/// Hit of a row. Quickwit has the score among the sort values.
fn hit(row: &Value) -> Result<Hit, ShapeFault> {
    let score = match row["sort"].get(0).filter(|it| it.is_number()) {
        Some(sorted_by) => hits::score(sorted_by)?,
        None => hits::of_member(row, "_score", hits::score)?,
    };
    hits::of_member(row, "_source", |source| hits::hit_of(source, row.get("_id"), score))
}

impl Retriever for Elastic {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        in_requests(queries, self.config.batch, self.config.connections, |queries| {
            if k == 0 {
                return vec![Ok(Vec::new()); queries.len()];
            }
            in_halves(queries, &|queries| self.request(queries, k))
        })
    }
}
