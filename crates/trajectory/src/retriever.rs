//! Search engine, as the agent loop sees it: queries in, passages out.

use serde::{Deserialize, Serialize};

use crate::BoxError;

/// Search hit: a passage with its score.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Identifier of the passage in its corpus.
    pub id: String,
    /// Title of the document that the passage is from.
    pub title: String,
    /// Text, without the title.
    pub text: String,
    /// Relevance score: higher is better. Scores of two searches cannot be compared.
    pub score: f32,
}

/// Search that failed for reasons of infrastructure, such as a server that is down.
///
/// It is never turned into an empty result or into text for the agent: the trajectory ends as
/// [`Outcome::Failed`](crate::Outcome::Failed) and is left out of the loss.
#[derive(Debug, thiserror::Error)]
#[error("search for `{query}` failed")]
pub struct SearchError {
    /// Query of the search.
    pub query: String,
    /// Error of the search engine.
    #[source]
    pub source: BoxError,
}

/// Search engine over a corpus. One retriever is shared by many threads.
pub trait Retriever: Send + Sync {
    /// Top-`k` search: the best `k` passages for each query, best first.
    ///
    /// There is one result for each query, in their order. The same index and query give the same
    /// hits, whatever else is in the batch.
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>>;
}
