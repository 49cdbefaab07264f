//! Client of Qdrant: dense search over a collection.

use std::sync::Arc;

use forage_http::{ShapeFault, elements};
use forage_trajectory::{Embedder, Hit, Retriever, SearchError, TextRole};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ClientError;
use super::hits;
use super::remote::{Found, in_halves, in_requests};
use super::transport::{
    HttpConfig, HttpCounts, Transport, check, default_batch, default_connections,
};

/// Collection of Qdrant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QdrantConfig {
    /// Address of the API, for example `http://127.0.0.1:6333`.
    pub url: String,
    /// Name of the collection.
    pub collection: String,
    /// Name of the vectors, where the collection has several. Default: its only ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<String>,
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

/// Retriever over a collection of Qdrant, whose points were embedded by the embedder of the
/// queries.
///
/// The payload of a point has its words in `contents`, or in `title` and `text`; its id is its
/// key `id`, or else the id of the point.
pub struct Qdrant {
    config: QdrantConfig,
    url: String,
    transport: Transport,
    embedder: Arc<dyn Embedder>,
}

impl Qdrant {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Where an option is out of range or the token is not there.
    pub fn new(config: &QdrantConfig, embedder: Arc<dyn Embedder>) -> Result<Self, ClientError> {
        check(&config.url, &[("batch", config.batch), ("connections", config.connections)])?;
        let base = config.url.trim_end_matches('/');
        let url = format!("{base}/collections/{}/points/query/batch", config.collection);
        let transport = Transport::new(&config.http)?;
        Ok(Self { config: config.clone(), url, transport, embedder })
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
        let embedded = self.embedder.embed(queries, TextRole::Query);
        let vectors = embedded.map_err(ClientError::Embedder)?;
        let search = |vector: &Vec<f32>| {
            let mut search = json!({ "query": vector, "limit": k, "with_payload": true });
            if let Some(name) = &self.config.vector {
                search["using"] = json!(name);
            }
            search
        };
        let searches: Vec<Value> = vectors.iter().map(search).collect();
        let body = json!({ "searches": searches }).to_string();
        let read = |answer: &Value| {
            // The error of a server that has no result stands in `status`.
            hits::refuse_error(answer)?;
            hits::of_member(answer, "result", |results| {
                hits::checked_count(results, queries.len())?;
                elements(results, |result| {
                    hits::of_member(result, "points", |points| elements(points, hit)).map(Ok)
                })
            })
        };
        self.transport.post(&self.url, "application/json", body.as_bytes(), &read)
    }
}

/// Hit of a point.
fn hit(point: &Value) -> Result<Hit, ShapeFault> {
    let score = hits::of_member(point, "score", hits::score)?;
    hits::of_member(point, "payload", |payload| hits::hit_of(payload, point.get("id"), score))
}

impl Retriever for Qdrant {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        in_requests(queries, self.config.batch, self.config.connections, |queries| {
            if k == 0 {
                return vec![Ok(Vec::new()); queries.len()];
            }
            in_halves(queries, &|queries| self.request(queries, k))
        })
    }
}
