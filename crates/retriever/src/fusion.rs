//! Reciprocal rank fusion: one ranking out of several.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use forage_trajectory::{BoxError, Hit, Retriever, SearchError};

/// Constant k of the method, which keeps first places from deciding alone.
const K: f32 = 60.0;

/// Hybrid retriever by reciprocal rank fusion (Cormack, Clarke and Büttcher 2009): the score of a
/// passage is the sum of 1 / (60 + rank) over the rankings that it is in.
///
/// Passages are the same if their ids are. Ties go to the passage that an earlier retriever
/// ranks, then to the better rank there. A query that one retriever fails on fails.
pub struct Fused {
    retrievers: Vec<Arc<dyn Retriever>>,
    depth: usize,
}

impl Fused {
    /// Fuses the `depth` best hits of each retriever, or the k of the search if that is more.
    pub fn new(retrievers: Vec<Arc<dyn Retriever>>, depth: usize) -> Self {
        Self { retrievers, depth }
    }
}

impl Retriever for Fused {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let depth = self.depth.max(k);
        let found: Vec<Vec<Result<Vec<Hit>, SearchError>>> = thread::scope(|scope| {
            let search =
                |retriever| scope.spawn(move || Retriever::search(retriever, queries, depth));
            let searches: Vec<_> = self.retrievers.iter().map(Arc::as_ref).map(search).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
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
            let rankings = found.iter_mut().map(|lists| lists.next().unwrap_or_else(broken_off));
            let rankings: Result<Vec<Vec<Hit>>, SearchError> = rankings.collect();
            fused.push(rankings.map(|rankings| fuse(rankings, k)));
        }
        fused
    }
}

/// Fuses the rankings of one query.
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
}
