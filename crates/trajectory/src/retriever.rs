//! The search engine, as the agent loop sees it.

use serde::{Deserialize, Serialize};

use crate::BoxError;

/// A passage that a search found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Id of the passage in its corpus.
    pub id: String,
    /// Title of the page it is from.
    pub title: String,
    /// The text, without the title.
    pub text: String,
    /// Higher is better; comparable within one search only.
    pub score: f32,
}

/// A search that could not be made, for reasons of infrastructure.
///
/// Never an empty result and never text for the agent: the trajectory is excluded.
#[derive(Debug, thiserror::Error)]
#[error("search for `{query}` failed")]
pub struct SearchError {
    /// The query.
    pub query: String,
    /// What went wrong.
    #[source]
    pub source: BoxError,
}

/// Finds passages. Shared by many threads.
pub trait Retriever: Send + Sync {
    /// The `k` best passages for each query, best first, one result a query in their order.
    ///
    /// The same index and query give the same hits, whatever else is in the batch.
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>>;

    /// Whether the engine is down for good: searches fail and its budget of failures is spent.
    fn has_given_up(&self) -> bool {
        false
    }
}
