//! Search engine, as the agent loop sees it: queries in, passages out.

use crate::question::Passage;
use serde::{Deserialize, Deserializer, Serialize};

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
    /// Relevance score: higher is better. Scores of two searches cannot be compared. One that is not
    /// finite is `null` in JSON, and read back as NaN.
    #[serde(deserialize_with = "number_or_nan")]
    pub score: f32,
}

impl Hit {
    /// Whether the hit has the title and the text of a passage, but for blanks: an index may give it
    /// another identifier. False for a passage without a text.
    pub fn has_content_of(&self, passage: &Passage) -> bool {
        let same = |one: &str, other: &str| one.split_whitespace().eq(other.split_whitespace());
        !passage.text.trim().is_empty()
            && same(&passage.title, &self.title)
            && same(&passage.text, &self.text)
    }
}

/// Number, or NaN for the `null` that JSON has for one that is not finite.
fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f32::NAN))
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

    /// Whether the engine is down for good: searches fail and its budget of failures is spent.
    fn has_given_up(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_are_read_back_whatever_they_hold() {
        let text = "a\u{0}b\u{2028}c\r\n\"\u{feff}";
        for score in [1.5, f32::NAN, f32::INFINITY] {
            let hit = Hit { id: "a b/\u{1f}".into(), title: text.into(), text: text.into(), score };
            let line = serde_json::to_string(&hit).unwrap();
            assert_eq!(line.lines().count(), 1);
            let found: Hit = serde_json::from_str(&line).unwrap();
            assert_eq!((&found.id, &found.text), (&hit.id, &hit.text));
            assert!(found.score.to_bits() == score.to_bits() || found.score.is_nan());
        }
        assert!(serde_json::from_str::<Hit>(r#"{"id": "", "title": "", "text": ""}"#).is_err());
    }
}
