//! One ranking out of several, and a second look at the best of one.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use forage_trajectory::{BoxError, Hit, Retriever, SearchError};

/// What is added to a rank, so that first places do not decide alone.
const K: f32 = 60.0;

/// Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009): the score of a passage is the sum
/// of 1 / (60 + rank) over the rankings it is in.
///
/// Passages are the same if their ids are. Ties go to the passage that an earlier retriever
/// ranks, then to the better rank there. A query that one retriever fails on fails.
pub struct Fused {
    retrievers: Vec<Arc<dyn Retriever>>,
    depth: usize,
}

impl Fused {
    /// Fuses the `depth` best of each retriever, or as many as are asked for, if that is more.
    pub fn new(retrievers: Vec<Arc<dyn Retriever>>, depth: usize) -> Self {
        Self { retrievers, depth }
    }
}

impl Retriever for Fused {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let depth = self.depth.max(k);
        let found: Vec<Vec<Result<Vec<Hit>, SearchError>>> = thread::scope(|scope| {
            let search = |it| scope.spawn(move || Retriever::search(it, queries, depth));
            let searches: Vec<_> = self.retrievers.iter().map(Arc::as_ref).map(search).collect();
            let join = |it: thread::ScopedJoinHandle<'_, _>| {
                it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            searches.into_iter().map(join).collect()
        });
        let mut found: Vec<_> = found.into_iter().map(Vec::into_iter).collect();
        let mut fused = Vec::with_capacity(queries.len());
        for query in queries {
            let broken_off = || {
                let source = BoxError::from("a retriever gave fewer answers than queries");
                Err(SearchError { query: (*query).to_owned(), source })
            };
            let rankings = found.iter_mut().map(|it| it.next().unwrap_or_else(broken_off));
            let rankings: Result<Vec<Vec<Hit>>, SearchError> = rankings.collect();
            fused.push(rankings.map(|rankings| fuse(rankings, k)));
        }
        fused
    }
}

fn fuse(rankings: Vec<Vec<Hit>>, k: usize) -> Vec<Hit> {
    let mut fused: Vec<Hit> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for ranking in rankings {
        for (idx, hit) in ranking.into_iter().enumerate() {
            let gain = 1.0 / (K + (idx + 1) as f32);
            if let Some(&place) = places.get(&hit.id) {
                fused[place].score += gain;
            } else {
                places.insert(hit.id.clone(), fused.len());
                fused.push(Hit { score: gain, ..hit });
            }
        }
    }
    // Stable: equal scores stay in the order in which they came.
    fused.sort_by(|left, right| right.score.total_cmp(&left.score));
    fused.truncate(k);
    fused
}

/// Ranks the best hits of a search again, with more effort than all passages could have.
pub trait Reranker: Send + Sync {
    /// The hits with new scores, in any order. Some may be left out.
    fn rerank(&self, query: &str, hits: Vec<Hit>) -> Result<Vec<Hit>, BoxError>;
}

/// A retriever whose `depth` best hits are ranked again.
pub struct Reranked {
    first: Arc<dyn Retriever>,
    second: Arc<dyn Reranker>,
    depth: usize,
}

impl Reranked {
    /// Ranks the `depth` best again, or as many as are asked for, if that is more.
    pub fn new(first: Arc<dyn Retriever>, second: Arc<dyn Reranker>, depth: usize) -> Self {
        Self { first, second, depth }
    }
}

impl Retriever for Reranked {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let found = self.first.search(queries, self.depth.max(k));
        let rerank = |(found, query): (Result<Vec<Hit>, SearchError>, &&str)| {
            let failed = |source| SearchError { query: (*query).to_owned(), source };
            let mut hits = self.second.rerank(query, found?).map_err(failed)?;
            hits.sort_by(|left, right| right.score.total_cmp(&left.score));
            hits.truncate(k);
            Ok(hits)
        };
        found.into_iter().zip(queries).map(rerank).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A retriever that always finds the same.
    struct Fixed(&'static [&'static str]);

    impl Retriever for Fixed {
        fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
            let hit = |id: &&str| Hit { id: (*id).to_owned(), ..Hit::default() };
            let answer = |query: &&str| {
                if *query == "fails" && self.0.len() == 2 {
                    let source = BoxError::from("out of order");
                    return Err(SearchError { query: (*query).to_owned(), source });
                }
                Ok(self.0.iter().take(k).map(hit).collect())
            };
            queries.iter().map(answer).collect()
        }
    }

    fn ids(hits: &[Hit]) -> Vec<&str> {
        hits.iter().map(|it| it.id.as_str()).collect()
    }

    #[test]
    fn rankings_are_fused() {
        let fused =
            Fused::new(vec![Arc::new(Fixed(&["a", "b", "c"])), Arc::new(Fixed(&["c", "d"]))], 10);
        let mut found = fused.search(&["x", "fails", "x"], 4);
        assert!(found.remove(1).is_err_and(|error| error.query == "fails"));
        for hits in found {
            let hits = hits.unwrap();
            assert_eq!(ids(&hits), ["c", "a", "b", "d"]);
            assert!((hits[0].score - (1.0 / 63.0 + 1.0 / 61.0)).abs() < 1e-7);
        }
        // `b` and `d` are tied, `c` is found although only one hit is asked for.
        assert_eq!(ids(fused.search(&["x"], 1)[0].as_ref().unwrap()), ["c"]);
    }

    #[test]
    fn hits_are_ranked_again() {
        struct ById;
        impl Reranker for ById {
            fn rerank(&self, query: &str, mut hits: Vec<Hit>) -> Result<Vec<Hit>, BoxError> {
                if query == "fails" {
                    return Err("no model".into());
                }
                for hit in &mut hits {
                    hit.score = f32::from(hit.id.as_bytes()[0]);
                }
                Ok(hits)
            }
        }
        let reranked = Reranked::new(Arc::new(Fixed(&["a", "b", "c"])), Arc::new(ById), 3);
        assert_eq!(ids(reranked.search(&["x"], 2)[0].as_ref().unwrap()), ["c", "b"]);
        assert!(reranked.search(&["fails"], 2)[0].is_err());
    }
}
