//! Information gain and redundancy penalty of each search.

use std::collections::{BTreeSet, HashMap};

use forage_reward_sdk::{prelude::*, text};

use crate::Redundancy;
use crate::tfidf::Gold;

/// Coverage of the gold passages of a question by retrieved texts, as TF-IDF cosines.
///
/// They are cached: a text is compared once, even if several searches or trajectories found it.
#[derive(Debug)]
pub struct Coverage<'a> {
    gold: Gold,
    n_gold: usize,
    known: HashMap<&'a str, Vec<f64>>,
}

impl<'a> Coverage<'a> {
    /// Coverage of these gold passages.
    pub fn new(gold: &[Passage]) -> Self {
        let texts: Vec<String> =
            gold.iter().map(|passage| text::normalize_answer(&passage.text)).collect();
        Self { gold: Gold::new(&texts), n_gold: gold.len(), known: HashMap::new() }
    }

    /// Cosine of a text with each gold passage.
    fn cosines(&mut self, found: &'a str) -> &[f64] {
        let Self { gold, known, .. } = self;
        known.entry(found).or_insert_with(|| gold.cosines(&text::normalize_answer(found)))
    }
}

/// Information gain and redundancy penalty of a search.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Step {
    /// Information gain G: the increase in coverage of the gold passages, from 0 to 1. The gains of
    /// a trajectory add up to at most 1.
    pub gain: f64,
    /// Redundancy penalty P: the share of its passages that had been found before, from 0 to 1.
    pub penalty: f64,
}

/// Information gain and redundancy penalty of each search, in order (arXiv 2505.15107, equations 6
/// to 8).
///
/// `c_i^t` is the largest cosine of gold passage `i` with a passage of search `t`, and
/// `m_i^t = max(m_i^{t-1}, c_i^t)`. `G^t = mean_i max(c_i^t − m_i^{t-1}, 0)`.
pub fn of_searches<'a>(
    coverage: &mut Coverage<'a>,
    searches: &'a [Search<'a>],
    rule: Redundancy,
) -> Vec<Step> {
    let n_gold = coverage.n_gold;
    let mut covered = vec![0.0_f64; n_gold];
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut steps = Vec::with_capacity(searches.len());
    for search in searches {
        let mut best = vec![0.0_f64; n_gold];
        for hit in &search.hits {
            for (best, cosine) in best.iter_mut().zip(coverage.cosines(&hit.text)) {
                *best = best.max(*cosine);
            }
        }
        let mut gain = 0.0;
        for (covered, best) in covered.iter_mut().zip(best) {
            gain += (best - *covered).max(0.0) / n_gold as f64;
            *covered = covered.max(best);
        }

        let mut n_again = 0;
        let mut new = Vec::new();
        for hit in &search.hits {
            let key = match rule {
                Redundancy::Earlier if !hit.id.is_empty() => hit.id.as_str(),
                _ => hit.text.as_str(),
            };
            let within_round = rule == Redundancy::TextAndRound && new.contains(&key);
            n_again += usize::from(seen.contains(key) || within_round);
            new.push(key);
        }
        seen.extend(new);
        let penalty = n_again as f64 / search.hits.len().max(1) as f64;
        steps.push(Step { gain, penalty });
    }
    steps
}
