//! The k best passages of a bag of terms, exactly, without scoring all of them.
//!
//! `MaxScore` (Turtle and Flood 1995) with the most that a term adds in each block of its list
//! (Ding and Suel 2011), a window of passages at a time. In a window, the light terms that cannot
//! together lift a passage over the worst of the k best do not propose passages. The others are
//! added up in an array; then the light terms are looked up for those sums that they could still
//! lift, or added up too where their lists are short for that many. A window that no term can lift
//! anything in is not read at all.
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

/// Passages of the first window. Each is twice as long as the one before, because a bar to clear
/// is there only after the first.
const FIRST_WINDOW: usize = 256;
/// Passages of the longest window: sums that stay in the nearest cache.
const LONGEST_WINDOW: usize = 2048;
/// The most passages of a block.
const BLOCK: usize = 128;
/// A list is added up for all passages of a window, instead of looking candidates up in it, where
/// it has fewer than so many postings there for each candidate: that is what a look-up costs.
const DENSE: f32 = 5.0;
/// Term frequencies whose divisors are in a table.
const TABLED: usize = 16;

/// What decides how much of its weight a term adds: 1 + tf / norm, by term frequency and length.
///
/// A term adds w - w / (1 + tf / norm), which is w · tf / (tf + norm): this is how Lucene writes
/// it. In `f32` and in this form the sum is Lucene's to the last bit, and it never falls as tf
/// grows.
pub(crate) struct Divisors {
    /// Length code of every passage.
    lengths: Vec<u8>,
    /// 1 / (k1 · (1 - b + b · length / average length)), by length code.
    inverse_norms: [f32; 256],
    /// Divisors of small frequencies, 256 length codes each.
    table: Vec<f32>,
}

impl Divisors {
    pub(crate) fn new(lengths: Vec<u8>, norms: &[f32; 256]) -> Self {
        let inverse_norms = norms.map(|norm| 1.0 / norm);
        let of_tf = |tf| inverse_norms.map(|inverse| divisor(tf, inverse));
        let table = (0..TABLED as u32).flat_map(of_tf).collect();
        Self { lengths, inverse_norms, table }
    }

    fn of(&self, doc: DocId, tf: u32) -> f32 {
        let code = usize::from(self.lengths[doc as usize]);
        if (tf as usize) < TABLED {
            self.table[tf as usize * 256 + code]
        } else {
            divisor(tf, self.inverse_norms[code])
        }
    }
}

fn divisor(tf: u32, inverse_norm: f32) -> f32 {
    1.0 + tf as f32 * inverse_norm
}

/// What a term of a weight adds.
fn gain(weight: f32, divisor: f32) -> f32 {
    weight - weight / divisor
}

/// The greatest divisor in each block of a list.
pub(crate) struct Impacts {
    /// The last passage of each block.
    lasts: Vec<DocId>,
    divisors: Vec<f32>,
    /// The greatest of all.
    most: f32,
}

impl Impacts {
    /// Reads a whole list, once.
    pub(crate) fn of(mut postings: BlockSegmentPostings, divisors: &Divisors) -> Self {
        let (mut lasts, mut most) = (Vec::new(), Vec::new());
        while let Some(&last) = postings.docs().last() {
            let in_block = postings.docs().iter().zip(postings.freqs());
            let in_block = in_block.map(|(&doc, &tf)| divisors.of(doc, tf));
            most.push(in_block.fold(1.0, f32::max));
            lasts.push(last);
            postings.advance();
        }
        Self { lasts, most: most.iter().copied().fold(1.0, f32::max), divisors: most }
    }

    /// The first block, from `from` on, that may hold `doc` or a later passage.
    fn block(&self, from: usize, doc: DocId) -> usize {
        let mut block = from;
        while self.lasts.get(block).is_some_and(|&last| last < doc) {
            block += 1;
        }
        block
    }
}

/// The passages of one query term, read from front to back.
pub(crate) struct TermList {
    postings: BlockSegmentPostings,
    /// Place in the block.
    at: usize,
    /// Inverse document frequency times how often the query has the term.
    weight: f32,
    /// None for a list so short that its blocks are not worth knowing.
    impacts: Option<Arc<Impacts>>,
    /// The block of `impacts` where the window begins.
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

    /// The share of all passages that the list has.
    fn share(&self, n_passages: usize) -> f32 {
        self.postings.doc_freq() as f32 / n_passages as f32
    }

    /// The passage that the list stands at.
    fn doc(&self) -> DocId {
        self.postings.docs().get(self.at).copied().unwrap_or(TERMINATED)
    }

    /// Goes to the first passage that is not before `doc`.
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

    /// Adds what the term adds to the passages of a window, and goes to the first behind it.
    fn add_up(&mut self, window: &mut Window, divisors: &Divisors) {
        self.seek(window.start);
        // Apart from the look-ups, many divisions at once are one instruction.
        let mut gains = [0.0; BLOCK];
        loop {
            let (docs, freqs) = (self.postings.docs(), self.postings.freqs());
            if docs.is_empty() {
                return;
            }
            let (docs, freqs) = (&docs[self.at..], &freqs[self.at..]);
            let n = docs.partition_point(|&it| it < window.end);
            let gains = &mut gains[..n];
            for ((gain, &doc), &tf) in gains.iter_mut().zip(docs).zip(freqs) {
                *gain = divisors.of(doc, tf);
            }
            for it in &mut *gains {
                *it = gain(self.weight, *it);
            }
            for (&doc, &gain) in docs.iter().zip(&*gains) {
                window.add(doc, gain);
            }
            self.at += n;
            if n < docs.len() {
                return;
            }
            self.postings.advance();
            self.at = 0;
        }
    }

    /// What the term adds to a passage, unless even the block that may hold it is not worth
    /// reading. Passages must come in order.
    fn look_up(
        &mut self,
        doc: DocId,
        divisors: &Divisors,
        is_worth: impl Fn(f32) -> bool,
    ) -> Looked {
        if let Some(impacts) = &self.impacts {
            self.block = impacts.block(self.block, doc);
            match impacts.divisors.get(self.block) {
                None => return Looked::Found(0.0),
                Some(&most) if !is_worth(gain(self.weight, most)) => return Looked::Worthless,
                Some(_) => {}
            }
        }
        self.seek(doc);
        if self.doc() == doc {
            let tf = self.postings.freqs()[self.at];
            Looked::Found(gain(self.weight, divisors.of(doc, tf)))
        } else {
            Looked::Found(0.0)
        }
    }

    /// The most that the term can add to any passage.
    fn most(&self) -> f64 {
        let impacts = self.impacts.as_ref();
        f64::from(impacts.map_or(self.weight, |it| gain(self.weight, it.most)))
    }

    /// The most that the term can add in a window.
    fn most_in(&mut self, start: DocId, end: DocId) -> f64 {
        let Some(impacts) = &self.impacts else {
            return if self.doc() >= end { 0.0 } else { f64::from(self.weight) };
        };
        self.block = impacts.block(self.block, start);
        let mut most = 1.0_f32;
        for block in self.block..impacts.lasts.len() {
            most = most.max(impacts.divisors[block]);
            if impacts.lasts[block] >= end - 1 {
                break;
            }
        }
        f64::from(gain(self.weight, most))
    }
}

/// What a look-up brings.
enum Looked {
    Found(f32),
    Worthless,
}

/// Sums of scores for the passages from `start` to `end`.
struct Window {
    start: DocId,
    end: DocId,
    sums: Vec<f64>,
    /// A bit for each passage that a term proposed.
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

    /// Forgets all sums.
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
pub(crate) struct Best {
    heap: BinaryHeap<Reverse<Ranked>>,
    k: usize,
}

impl Best {
    pub(crate) fn new(k: usize) -> Self {
        Self { heap: BinaryHeap::new(), k }
    }

    /// What a later passage must beat to enter: equal scores lose to the earlier passage.
    fn bar(&self) -> f64 {
        if self.heap.len() < self.k {
            return f64::NEG_INFINITY;
        }
        self.heap.peek().map_or(f64::INFINITY, |Reverse(worst)| f64::from(worst.score))
    }

    pub(crate) fn offer(&mut self, candidate: Ranked) {
        if self.heap.len() < self.k {
            self.heap.push(Reverse(candidate));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate > worst.0
        {
            *worst = Reverse(candidate);
        }
    }

    /// Best first.
    pub(crate) fn into_sorted(self) -> Vec<Ranked> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked).collect()
    }
}

/// The `k` best of the passages in `lists`, best first. Terms of equal weight are summed in the
/// order they come in.
pub(crate) fn top_k(mut lists: Vec<TermList>, divisors: &Divisors, k: usize) -> Vec<Ranked> {
    lists.sort_by(|left, right| right.weight.total_cmp(&left.weight));
    // One rounding for each addition, of half an epsilon each; this is far more than that.
    let widen = 1.0 + lists.len() as f64 * f64::from(f32::EPSILON);
    let anywhere = rests(lists.iter().map(TermList::most));
    let n_passages = divisors.lengths.len();
    let mut best = Best::new(k);
    let (mut window, mut other) = (Window::new(), Window::new());
    let mut candidates: Vec<(DocId, f64)> = Vec::new();
    let mut length = FIRST_WINDOW;
    loop {
        let bar = best.bar();
        // Lists from here on can never propose anything any more.
        let n_heavy = n_above(&anywhere, bar / widen);
        let heavy = &mut lists[..n_heavy];
        for list in &mut *heavy {
            list.seek(window.end);
        }
        window.start = heavy.iter().map(TermList::doc).min().unwrap_or(TERMINATED);
        if window.start == TERMINATED {
            return best.into_sorted();
        }
        window.end = (window.start as usize + length).min(n_passages) as DocId;
        length = (length * 2).min(LONGEST_WINDOW);
        let here = rests(lists.iter_mut().map(|it| it.most_in(window.start, window.end)));
        let (heavy, light) = lists.split_at_mut(n_above(&here, bar / widen));
        for list in &mut *heavy {
            list.add_up(&mut window, divisors);
        }
        candidates.clear();
        let clears = |sum: f64, rest: f64| (sum + rest) * widen > bar;
        let rest = here[heavy.len()];
        window.drain(&mut candidates, |sum| clears(sum, rest));
        for (list, &rest) in light.iter_mut().zip(&here[heavy.len() + 1..]) {
            let n_postings = list.share(n_passages) * (window.end - window.start) as f32;
            if n_postings < DENSE * candidates.len() as f32 {
                (other.start, other.end) = (window.start, window.end);
                list.add_up(&mut other, divisors);
                candidates.retain_mut(|(doc, sum)| {
                    *sum += other.sums[(*doc - other.start) as usize];
                    clears(*sum, rest)
                });
                other.clear();
                continue;
            }
            candidates.retain_mut(|(doc, sum)| {
                let is_worth = |most| clears(*sum, f64::from(most) + rest);
                match list.look_up(*doc, divisors, is_worth) {
                    Looked::Worthless => false,
                    Looked::Found(score) => {
                        *sum += f64::from(score);
                        clears(*sum, rest)
                    }
                }
            });
        }
        for &(doc, sum) in &candidates {
            best.offer(Ranked { doc, score: sum as f32 });
        }
    }
}

/// For each list, the most that it and all lighter ones can add together; and 0 behind the last.
fn rests(most: impl DoubleEndedIterator<Item = f64>) -> Vec<f64> {
    let mut rests = vec![0.0];
    for most in most.rev() {
        rests.push(rests[rests.len() - 1] + most);
    }
    rests.reverse();
    rests
}

/// How many of the heaviest lists must be read, for the rest to stay at or below a bar.
fn n_above(rests: &[f64], bar: f64) -> usize {
    rests[..rests.len() - 1].iter().take_while(|&&rest| rest > bar).count()
}
