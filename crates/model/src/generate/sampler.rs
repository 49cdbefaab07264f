//! Sampling of tokens from logits: temperature, top-k, top-p (nucleus, arXiv 1904.09751) and min-p
//! (arXiv 2407.01082).

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `with_simd` is compiled for the oldest processor"
)]

use forage_trajectory::{Sampling, TokenId, Truncation};
use pulp::{Arch, Simd, WithSimd};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::simd::exp;

/// Tokens that are sorted at first for top-p.
const FIRST_SORTED: usize = 64;

/// Token sampler, which keeps its buffers from one token to the next.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    /// Unnormalized probabilities: exp((logit - largest logit) / temperature) of every token.
    weights: Vec<f64>,
    /// Tokens that may be sampled.
    candidates: Vec<usize>,
}

impl Sampler {
    /// Samples a token. Returns it with its log-probability under softmax(logits / temperature),
    /// before truncation.
    pub(crate) fn sample(
        &mut self,
        logits: &[f32],
        sampling: Sampling,
        rng: &mut ChaCha8Rng,
    ) -> (TokenId, f32) {
        let temperature = sampling.temperature();
        let (mut best, mut max) = (0, f32::NEG_INFINITY);
        for (id, &logit) in logits.iter().enumerate() {
            if logit > max {
                (best, max) = (id, logit);
            }
        }
        self.weights.resize(logits.len(), 0.0);
        Arch::new().dispatch(ExpKernel { logits, max, temperature, filled: &mut self.weights });
        let total: f64 = self.weights.iter().sum();
        let token = match sampling {
            Sampling::Greedy => best,
            Sampling::Temperature(_) => {
                let mut rest = rng.random::<f64>() * total;
                // Rounding may leave a rest at the end: the most likely token takes it.
                let found = self.weights.iter().position(|weight| {
                    rest -= weight;
                    rest < 0.0
                });
                found.unwrap_or(best)
            }
            Sampling::Truncated { keep, .. } => {
                self.truncate(keep, total);
                let Self { weights, candidates } = &*self;
                let mut rest =
                    rng.random::<f64>() * candidates.iter().map(|&it| weights[it]).sum::<f64>();
                let found = candidates.iter().copied().find(|&candidate| {
                    rest -= weights[candidate];
                    rest < 0.0
                });
                found.unwrap_or(best)
            }
        };
        let logprob = f64::from((logits[token] - max) / temperature) - total.ln();
        (token as TokenId, logprob as f32)
    }

    /// Truncates the distribution: leaves in `candidates` the tokens that may be sampled, the most
    /// likely first, ties by id. Top-k comes first, then top-p of the rest, then min-p, the order
    /// of transformers. At least one token is left.
    fn truncate(&mut self, keep: Truncation, total: f64) {
        let Self { weights, candidates } = self;
        candidates.clear();
        candidates.extend(0..weights.len());
        let mut total = total;
        if let Some(top_k) = keep.top_k.filter(|&it| it < candidates.len()) {
            put_first(candidates, weights, top_k.max(1));
            candidates.truncate(top_k.max(1));
            total = candidates.iter().map(|&it| weights[it]).sum();
        }
        if let Some(top_p) = keep.top_p {
            let n_kept = sort_top_p(candidates, weights, f64::from(top_p) * total);
            candidates.truncate(n_kept);
        }
        if let Some(min_p) = keep.min_p {
            // The most likely token has weight 1.
            candidates.retain(|&candidate| weights[candidate] >= f64::from(min_p.min(1.0)));
        }
        let n = candidates.len();
        put_first(candidates, weights, n);
    }
}

/// Brings the most likely tokens to the front, in order, until their weights reach a mass. Returns
/// their number.
fn sort_top_p(candidates: &mut [usize], weights: &[f64], mass: f64) -> usize {
    // Mostly a few tokens are enough: to sort the whole vocabulary takes long.
    let mut n_sorted = FIRST_SORTED.min(candidates.len());
    loop {
        put_first(candidates, weights, n_sorted);
        let mut sum = 0.0;
        let last = candidates[..n_sorted].iter().position(|&candidate| {
            sum += weights[candidate];
            sum >= mass
        });
        match last {
            Some(last) => return last + 1,
            None if n_sorted == candidates.len() => return n_sorted,
            None => n_sorted = (n_sorted * 16).min(candidates.len()),
        }
    }
}

/// Brings the `n` most likely of some tokens to the front, in order, ties by id.
fn put_first(candidates: &mut [usize], weights: &[f64], n: usize) {
    let likelier = |a: &usize, b: &usize| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b));
    if n < candidates.len() {
        candidates.select_nth_unstable_by(n - 1, likelier);
    }
    candidates[..n].sort_unstable_by(likelier);
}

/// Computes [`Sampler::weights`].
struct ExpKernel<'a> {
    logits: &'a [f32],
    max: f32,
    temperature: f32,
    filled: &'a mut [f64],
}

impl WithSimd for ExpKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (weight, logit) in self.filled.iter_mut().zip(self.logits) {
            *weight = f64::from(exp((logit - self.max) / self.temperature));
        }
    }
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{Purpose, Stream};

    use super::*;

    fn truncated(top_k: Option<usize>, top_p: Option<f32>, min_p: Option<f32>) -> Sampling {
        Sampling::Truncated { temperature: 0.7, keep: Truncation { top_k, top_p, min_p } }
    }

    /// How often each token is chosen; log-probabilities are checked on the way.
    fn shares(logits: &[f32], sampling: Sampling) -> Vec<f64> {
        let weights: Vec<f64> = logits.iter().map(|&it| f64::from(it / 0.7).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut rng = Stream::new(1, Purpose::Rollout).rng();
        let mut sampler = Sampler::default();
        let mut shares = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            let (token, logprob) = sampler.sample(logits, sampling, &mut rng);
            shares[token as usize] += 1.0 / 20_000.0;
            let wanted = (weights[token as usize] / total).ln();
            assert!((f64::from(logprob) - wanted).abs() < 1e-5, "{logprob} is not {wanted}");
        }
        shares
    }

    #[test]
    fn sampled_shares_follow_the_distribution_and_its_cuts() {
        // At 0.7, shares are 0.196, 0.560 (the best), 0.0328, 0.131 and 0.0800.
        let logits = [0.0_f32, 0.734, -1.251, -0.2797, -0.626];
        let all = [0, 1, 2, 3, 4];
        for (sampling, kept) in [
            (Sampling::Temperature(0.7), &all[..]),
            (truncated(None, None, None), &all),
            (truncated(Some(9), Some(1.0), Some(0.0)), &all),
            (truncated(Some(2), None, None), &[1, 0]),
            (truncated(Some(0), None, None), &[1]),
            (truncated(None, Some(0.5), None), &[1]),
            (truncated(None, Some(0.7), None), &[1, 0]),
            (truncated(None, Some(0.8), None), &[1, 0, 3]),
            // Of the two that are left, the best has 0.74.
            (truncated(Some(2), Some(0.73), None), &[1]),
            (truncated(None, None, Some(0.2)), &[1, 0, 3]),
            (truncated(None, None, Some(1.0)), &[1]),
        ] {
            let found = shares(&logits, sampling);
            let weight = |it: usize| f64::from(logits[it] / 0.7).exp();
            let total: f64 = kept.iter().map(|&it| weight(it)).sum();
            for (token, share) in found.iter().enumerate() {
                let wanted = if kept.contains(&token) { weight(token) / total } else { 0.0 };
                let what = format!("{sampling:?}: {token}: {share} for {wanted}");
                assert!((share - wanted).abs() < 0.015, "{what}");
                assert!(wanted > 0.0 || *share == 0.0, "{what}");
            }
        }
    }

    /// A vocabulary that is put in order piece by piece is cut where one is that is sorted.
    #[test]
    fn cuts_of_a_large_vocabulary_are_those_of_a_sorted_one() {
        let weights: Vec<f64> =
            (0..3000_u32).map(|it| f64::from(1 + it * 7919 % 1000) / 1000.0).collect();
        let total: f64 = weights.iter().sum();
        let mut sorted: Vec<usize> = (0..weights.len()).collect();
        sorted.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]).then(a.cmp(&b)));
        for top_p in [0.001, 0.03, 0.1, 0.7, 0.999, 1.0] {
            for (top_k, min_p) in
                [(None, None), (Some(900), None), (None, Some(0.5)), (Some(2000), Some(0.2))]
            {
                let keep = Truncation { top_k, top_p: Some(top_p), min_p };
                let mut sampler = Sampler { weights: weights.clone(), candidates: Vec::new() };
                sampler.truncate(keep, total);
                let among = &sorted[..top_k.unwrap_or(sorted.len())];
                let total: f64 = among.iter().map(|&it| weights[it]).sum();
                let mut sum = 0.0;
                let wanted: Vec<usize> = among
                    .iter()
                    .copied()
                    .take_while(|&it| {
                        let is_in = sum < f64::from(top_p) * total;
                        sum += weights[it];
                        is_in
                    })
                    .filter(|&it| weights[it] >= f64::from(min_p.unwrap_or(0.0)))
                    .collect();
                assert_eq!(sampler.candidates, wanted, "{keep:?}");
            }
        }
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        let mut rng = Stream::new(1, Purpose::Rollout).rng();
        let chosen = Sampler::default().sample(&[1.0, 2.0, 2.0], Sampling::Greedy, &mut rng);
        assert_eq!(chosen.0, 1);
        assert!((chosen.1 - -0.862).abs() < 1e-3);
    }
}
