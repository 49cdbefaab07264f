//! Block-max `MaxScore`: exact top-k of a bag of terms, without scoring every passage.
//!
//! `MaxScore` (Turtle and Flood 1995) with score upper bounds for blocks of a posting list (Ding
//! and Suel 2011), a window of passages at a time. In a window, the non-essential terms are those
//! whose upper bounds together stay below the worst of the k best: they propose no passages. The
//! essential terms are added up in an array of accumulators; then the non-essential ones are looked
//! up for the sums that they could still lift, or added up too where their lists are short for that
//! many. A window without essential terms is not read at all.
//!
//! Floating-point sums depend on their order. Here a score is always summed in one order, from the
//! heaviest term to the lightest, in double precision, and rounded at the end, whatever was pruned;
//! and bounds are widened by more than the rounding error of such a sum. So pruning changes no bit
//! of the result.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use tantivy::postings::BlockSegmentPostings;
use tantivy::{DocId, TERMINATED};

/// Passages of the first window. Each is twice as long as the one before, because there is a
/// threshold only after the first.
const FIRST_WINDOW: usize = 256;
/// Passages of the longest window: accumulators that stay in the first-level cache.
const LONGEST_WINDOW: usize = 2048;
/// Most passages of a block.
const BLOCK: usize = 128;
/// Cost of a look-up, in postings. A list with fewer postings than that for each candidate of a
/// window is added up instead of looked up.
const LOOK_UP_COST: f32 = 5.0;
/// Term frequencies whose factors are in a table.
const TABLED: usize = 16;

/// Length norms of BM25 for every passage, and the factors 1 + tf / norm by term frequency.
///
/// A term of weight w adds w - w / (1 + tf / norm), which is w · tf / (tf + norm): this is how
/// Lucene writes it. In `f32` and in this form the sum is Lucene's to the last bit, and it never
/// falls as tf grows.
pub(crate) struct LengthNorms {
    /// Length code of every passage: one byte, as in Lucene.
    lengths: Vec<u8>,
    /// 1 / (k1 · (1 - b + b · length / average length)), by length code.
    inverse_norms: [f32; 256],
    /// Factors of small frequencies, 256 length codes each.
    table: Vec<f32>,
}

impl LengthNorms {
    pub(crate) fn new(lengths: Vec<u8>, norms: &[f32; 256]) -> Self {
        let inverse_norms = norms.map(|norm| 1.0 / norm);
        let of_tf = |tf| inverse_norms.map(|inverse| tf_factor(tf, inverse));
        let table = (0..TABLED as u32).flat_map(of_tf).collect();
        Self { lengths, inverse_norms, table }
    }

    fn tf_factor(&self, doc: DocId, tf: u32) -> f32 {
        let code = usize::from(self.lengths[doc as usize]);
        if (tf as usize) < TABLED {
            self.table[tf as usize * 256 + code]
        } else {
            tf_factor(tf, self.inverse_norms[code])
        }
    }
}

/// Factor 1 + tf / norm.
fn tf_factor(tf: u32, inverse_norm: f32) -> f32 {
    1.0 + tf as f32 * inverse_norm
}

/// Score contribution of a term.
fn term_score(weight: f32, tf_factor: f32) -> f32 {
    weight - weight / tf_factor
}

/// Block-max impacts of a posting list: the greatest factor 1 + tf / norm of each block.
pub(crate) struct Impacts {
    /// Last passage of each block.
    lasts: Vec<DocId>,
    /// Greatest factor of each block.
    factors: Vec<f32>,
    /// Greatest factor of the list.
    max_factor: f32,
}

impl Impacts {
    /// Impacts of a posting list, all of which is read.
    pub(crate) fn of(mut postings: BlockSegmentPostings, norms: &LengthNorms) -> Self {
        let (mut lasts, mut factors) = (Vec::new(), Vec::new());
        while let Some(&last) = postings.docs().last() {
            let in_block = postings.docs().iter().zip(postings.freqs());
            let in_block = in_block.map(|(&doc, &tf)| norms.tf_factor(doc, tf));
            factors.push(in_block.fold(1.0, f32::max));
            lasts.push(last);
            postings.advance();
        }
        Self { lasts, max_factor: factors.iter().copied().fold(1.0, f32::max), factors }
    }

    /// First block, from `from` on, that may hold `doc` or a later passage.
    fn block(&self, from: usize, doc: DocId) -> usize {
        let mut block = from;
        while self.lasts.get(block).is_some_and(|&last| last < doc) {
            block += 1;
        }
        block
    }
}

/// Posting list of one query term, read from front to back.
pub(crate) struct TermList {
    postings: BlockSegmentPostings,
    /// Position in the block.
    at: usize,
    /// Inverse document frequency times how often the query has the term.
    weight: f32,
    /// Block-max impacts; none for a short list.
    impacts: Option<Arc<Impacts>>,
    /// Block of `impacts` where the window begins.
    block: usize,
}

impl TermList {
    pub(crate) fn new(
        postings: BlockSegmentPostings,
        weight: f32,
        impacts: Option<Arc<Impacts>>,
    ) -> Self {
        Self { postings, at: 0, weight, impacts, block: 0 }
    }

    /// Share of all passages that the list has.
    fn share(&self, n_passages: usize) -> f32 {
        self.postings.doc_freq() as f32 / n_passages as f32
    }

    /// Passage that the list stands at.
    fn doc(&self) -> DocId {
        self.postings.docs().get(self.at).copied().unwrap_or(TERMINATED)
    }

    /// Advances to the first passage that is not before `doc`.
    fn seek(&mut self, doc: DocId) {
        if self.doc() >= doc {
            return;
        }
        let docs = self.postings.docs();
        if docs.last().is_some_and(|&last| last >= doc) {
            self.at += docs[self.at..].partition_point(|&it| it < doc);
        } else {
            self.at = self.postings.seek(doc);
        }
    }

    /// Adds the term to the accumulators of a window, and advances to the first passage behind it.
    fn add_up(&mut self, window: &mut Window, norms: &LengthNorms) {
        self.seek(window.start);
        // Apart from the look-ups, many divisions at once are one instruction.
        let mut scores = [0.0; BLOCK];
        loop {
            let (docs, freqs) = (self.postings.docs(), self.postings.freqs());
            if docs.is_empty() {
                return;
            }
            let (docs, freqs) = (&docs[self.at..], &freqs[self.at..]);
            let n = docs.partition_point(|&it| it < window.end);
            let scores = &mut scores[..n];
            for ((score, &doc), &tf) in scores.iter_mut().zip(docs).zip(freqs) {
                *score = norms.tf_factor(doc, tf);
            }
            for score in &mut *scores {
                *score = term_score(self.weight, *score);
            }
            for (&doc, &score) in docs.iter().zip(&*scores) {
                window.add(doc, score);
            }
            self.at += n;
            if n < docs.len() {
                return;
            }
            self.postings.advance();
            self.at = 0;
        }
    }

    /// Score contribution to a passage, unless the upper bound of its block is not worth reading
    /// it. Passages must come in order.
    fn look_up(
        &mut self,
        doc: DocId,
        norms: &LengthNorms,
        is_worth: impl Fn(f32) -> bool,
    ) -> LookUp {
        if let Some(impacts) = &self.impacts {
            self.block = impacts.block(self.block, doc);
            match impacts.factors.get(self.block) {
                None => return LookUp::Score(0.0),
                Some(&factor) if !is_worth(term_score(self.weight, factor)) => {
                    return LookUp::Skipped;
                }
                Some(_) => {}
            }
        }
        self.seek(doc);
        if self.doc() == doc {
            let tf = self.postings.freqs()[self.at];
            LookUp::Score(term_score(self.weight, norms.tf_factor(doc, tf)))
        } else {
            LookUp::Score(0.0)
        }
    }

    /// Upper bound of the score contribution to any passage.
    fn upper_bound(&self) -> f64 {
        let impacts = self.impacts.as_ref();
        f64::from(
            impacts.map_or(self.weight, |impacts| term_score(self.weight, impacts.max_factor)),
        )
    }

    /// Upper bound of the score contribution in a window.
    fn upper_bound_in(&mut self, start: DocId, end: DocId) -> f64 {
        let Some(impacts) = &self.impacts else {
            return if self.doc() >= end { 0.0 } else { f64::from(self.weight) };
        };
        self.block = impacts.block(self.block, start);
        let mut factor = 1.0_f32;
        for block in self.block..impacts.lasts.len() {
            factor = factor.max(impacts.factors[block]);
            if impacts.lasts[block] >= end - 1 {
                break;
            }
        }
        f64::from(term_score(self.weight, factor))
    }
}

/// Result of a look-up.
enum LookUp {
    /// Score contribution.
    Score(f32),
    /// The block was not read: its upper bound is too low.
    Skipped,
}

/// Accumulators: sums of scores for the passages from `start` to `end`.
struct Window {
    start: DocId,
    end: DocId,
    sums: Vec<f64>,
    /// Bit set of the passages that a term proposed.
    proposed: Vec<u64>,
}

impl Window {
    fn new() -> Self {
        let sums = vec![0.0; LONGEST_WINDOW];
        Self { start: 0, end: 0, sums, proposed: vec![0; LONGEST_WINDOW / 64] }
    }

    fn add(&mut self, doc: DocId, score: f32) {
        let place = (doc - self.start) as usize;
        self.sums[place] += f64::from(score);
        self.proposed[place / 64] |= 1 << (place % 64);
    }

    /// Resets all sums to 0.
    fn clear(&mut self) {
        for (idx, word) in self.proposed.iter_mut().enumerate() {
            if *word != 0 {
                self.sums[idx * 64..][..64].fill(0.0);
                *word = 0;
            }
        }
    }

    /// Moves the sums that are worth it to `candidates`, in order, and clears the window.
    fn drain(&mut self, candidates: &mut Vec<(DocId, f64)>, is_worth: impl Fn(f64) -> bool) {
        for (idx, word) in self.proposed.iter_mut().enumerate() {
            while *word != 0 {
                let place = idx * 64 + word.trailing_zeros() as usize;
                *word &= *word - 1;
                let sum = std::mem::take(&mut self.sums[place]);
                if is_worth(sum) {
                    candidates.push((self.start + place as DocId, sum));
                }
            }
        }
    }
}

/// Scored document: a passage, by its ordinal in the corpus, and its score. The better one is the
/// greater: higher score, then earlier passage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ScoredDoc {
    pub(crate) doc: DocId,
    pub(crate) score: f32,
}

impl Eq for ScoredDoc {}

impl Ord for ScoredDoc {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.doc.cmp(&self.doc))
    }
}

impl PartialOrd for ScoredDoc {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Top-k heap: the best documents so far, the worst of them on top.
pub(crate) struct TopK {
    heap: BinaryHeap<Reverse<ScoredDoc>>,
    k: usize,
}

impl TopK {
    pub(crate) fn new(k: usize) -> Self {
        Self { heap: BinaryHeap::new(), k }
    }

    /// Score that a later document must exceed to enter: ties go to the earlier one.
    fn threshold(&self) -> f64 {
        if self.heap.len() < self.k {
            return f64::NEG_INFINITY;
        }
        self.heap.peek().map_or(f64::INFINITY, |Reverse(worst)| f64::from(worst.score))
    }

    pub(crate) fn offer(&mut self, candidate: ScoredDoc) {
        if self.heap.len() < self.k {
            self.heap.push(Reverse(candidate));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate > worst.0
        {
            *worst = Reverse(candidate);
        }
    }

    /// Best first.
    pub(crate) fn into_sorted(self) -> Vec<ScoredDoc> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked).collect()
    }
}

/// Top-k search: the `k` best of the passages in `lists`, best first. Terms of equal weight are
/// summed in the order they come in.
pub(crate) fn top_k(mut lists: Vec<TermList>, norms: &LengthNorms, k: usize) -> Vec<ScoredDoc> {
    lists.sort_by(|left, right| right.weight.total_cmp(&left.weight));
    // One rounding for each addition, of half an epsilon each; this is far more than that.
    let widen = 1.0 + lists.len() as f64 * f64::from(f32::EPSILON);
    let bounds = suffix_sums(lists.iter().map(TermList::upper_bound));
    let n_passages = norms.lengths.len();
    let mut best = TopK::new(k);
    let (mut window, mut other) = (Window::new(), Window::new());
    let mut candidates: Vec<(DocId, f64)> = Vec::new();
    let mut length = FIRST_WINDOW;
    loop {
        let threshold = best.threshold();
        // Lists from here on can never propose anything any more.
        let essential = &mut lists[..n_essential(&bounds, threshold / widen)];
        for list in &mut *essential {
            list.seek(window.end);
        }
        window.start = essential.iter().map(TermList::doc).min().unwrap_or(TERMINATED);
        if window.start == TERMINATED {
            return best.into_sorted();
        }
        window.end = (window.start as usize + length).min(n_passages) as DocId;
        length = (length * 2).min(LONGEST_WINDOW);
        let in_window = |list: &mut TermList| list.upper_bound_in(window.start, window.end);
        let bounds = suffix_sums(lists.iter_mut().map(in_window));
        let (essential, others) = lists.split_at_mut(n_essential(&bounds, threshold / widen));
        for list in &mut *essential {
            list.add_up(&mut window, norms);
        }
        candidates.clear();
        let clears = |sum: f64, rest: f64| (sum + rest) * widen > threshold;
        let rest = bounds[essential.len()];
        window.drain(&mut candidates, |sum| clears(sum, rest));
        for (list, &rest) in others.iter_mut().zip(&bounds[essential.len() + 1..]) {
            let n_postings = list.share(n_passages) * (window.end - window.start) as f32;
            if n_postings < LOOK_UP_COST * candidates.len() as f32 {
                (other.start, other.end) = (window.start, window.end);
                list.add_up(&mut other, norms);
                candidates.retain_mut(|(doc, sum)| {
                    *sum += other.sums[(*doc - other.start) as usize];
                    clears(*sum, rest)
                });
                other.clear();
                continue;
            }
            candidates.retain_mut(|(doc, sum)| {
                let is_worth = |bound| clears(*sum, f64::from(bound) + rest);
                match list.look_up(*doc, norms, is_worth) {
                    LookUp::Skipped => false,
                    LookUp::Score(score) => {
                        *sum += f64::from(score);
                        clears(*sum, rest)
                    }
                }
            });
        }
        for &(doc, sum) in &candidates {
            best.offer(ScoredDoc { doc, score: sum as f32 });
        }
    }
}

/// Suffix sums of the upper bounds: for each list, the most that it and all lighter ones can add
/// together; and 0 behind the last.
fn suffix_sums(bounds: impl DoubleEndedIterator<Item = f64>) -> Vec<f64> {
    let mut sums = vec![0.0];
    for bound in bounds.rev() {
        sums.push(sums[sums.len() - 1] + bound);
    }
    sums.reverse();
    sums
}

/// Number of essential lists: the heaviest ones, without which the rest stays at or below the
/// threshold.
fn n_essential(suffix_sums: &[f64], threshold: f64) -> usize {
    suffix_sums[..suffix_sums.len() - 1].iter().take_while(|&&rest| rest > threshold).count()
}
