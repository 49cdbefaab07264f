//! The k best passages of a bag of terms, exactly, without scoring all of them.
//!
//! `MaxScore` (Turtle and Flood 1995): a term never adds more than its weight. Once k passages are
//! held, the light terms whose weights together cannot beat the worst of them no longer propose
//! passages; they are only looked up for passages that the heavy terms propose.
//!
//! Floating-point sums depend on their order. Here a score is always summed in one order, from the
//! lightest term to the heaviest, whatever was pruned; and bounds are widened by more than the
//! rounding error of such a sum. So pruning changes no bit of the result.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{Postings, SegmentPostings};
use tantivy::{DocId, DocSet, TERMINATED};

/// The passages of one query term.
pub(crate) struct TermList {
    pub(crate) postings: SegmentPostings,
    /// Inverse document frequency times how often the query has the term.
    pub(crate) weight: f32,
}

impl TermList {
    /// What the term adds to the score of the passage that the list stands at, in Lucene's form:
    /// weight · tf / (tf + norm), which is at most the weight.
    fn contribution(&self, norm: f32) -> f32 {
        let tf = self.postings.term_freq() as f32;
        self.weight * (tf / (tf + norm))
    }
}

/// A passage and its score. The better one is the greater: higher score, then earlier passage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) doc: DocId,
    pub(crate) score: f32,
}

impl Eq for Ranked {}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.doc.cmp(&self.doc))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best passages so far, the worst of them on top.
struct Best {
    heap: BinaryHeap<Reverse<Ranked>>,
    k: usize,
}

impl Best {
    /// Whether no later passage with a score of at most `bound` can enter. Equal scores lose to
    /// the earlier passage.
    fn excludes(&self, bound: f64) -> bool {
        self.heap.len() == self.k
            && self.heap.peek().is_none_or(|Reverse(worst)| bound <= f64::from(worst.score))
    }

    fn offer(&mut self, candidate: Ranked) {
        if self.heap.len() < self.k {
            self.heap.push(Reverse(candidate));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate > worst.0
        {
            *worst = Reverse(candidate);
        }
    }
}

/// The `k` best of the passages in `lists`, best first.
///
/// `lengths` has the length code of every passage and `norms` the value k1 · (1 - b + b · length /
/// average length) of every code. Terms of equal weight are summed in the order they come in.
pub(crate) fn top_k(
    mut lists: Vec<TermList>,
    lengths: &FieldNormReader,
    norms: &[f32; 256],
    k: usize,
) -> Vec<Ranked> {
    lists.sort_by(|left, right| left.weight.total_cmp(&right.weight));
    // One rounding for each addition, of half an epsilon each; this is twice that.
    let widen = 1.0 + lists.len() as f64 * f64::from(f32::EPSILON);
    // For each list, the most that it and all lighter ones can add together.
    let bounds: Vec<f64> = lists
        .iter()
        .scan(0.0, |sum, list| {
            *sum += f64::from(list.weight);
            Some(*sum * widen)
        })
        .collect();

    let mut best = Best { heap: BinaryHeap::new(), k };
    let mut contributions = vec![0.0_f32; lists.len()];
    let mut n_light = 0;
    'candidates: loop {
        while n_light < lists.len() && best.excludes(bounds[n_light]) {
            n_light += 1;
        }
        let (light, heavy) = lists.split_at_mut(n_light);
        let doc = heavy.iter().map(|list| list.postings.doc()).min().unwrap_or(TERMINATED);
        if doc == TERMINATED {
            break;
        }
        let norm = norms[usize::from(lengths.fieldnorm_id(doc))];
        contributions.fill(0.0);
        let mut reached = 0.0_f64;
        for (list, contribution) in heavy.iter_mut().zip(&mut contributions[n_light..]) {
            if list.postings.doc() == doc {
                *contribution = list.contribution(norm);
                reached += f64::from(*contribution);
                list.postings.advance();
            }
        }
        for (idx, list) in light.iter_mut().enumerate().rev() {
            if best.excludes(reached * widen + bounds[idx]) {
                continue 'candidates;
            }
            if list.postings.doc() < doc {
                list.postings.seek(doc);
            }
            if list.postings.doc() == doc {
                contributions[idx] = list.contribution(norm);
                reached += f64::from(contributions[idx]);
            }
        }
        best.offer(Ranked { doc, score: contributions.iter().sum() });
    }
    best.heap.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked).collect()
}
