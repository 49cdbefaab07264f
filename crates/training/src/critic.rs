//! Critic of PPO with GAE, trained beside the policy.

use burn::tensor::Tensor;
use forage_model::{Critic, Decoder, PackedSequences};
use forage_optimizer::{AdamW, ValueConfig, value_loss};
use forage_trajectory::TokenId;

use crate::micro_batch::{
    ScoredTargets, accumulate, gradients, number, packed, score_targets, split_by_tokens,
};

/// Critic with its optimizer.
#[derive(Debug, Clone)]
pub struct CriticState {
    /// Decoder and value head.
    pub critic: Critic,
    /// Optimizer.
    pub adamw: AdamW,
}

/// Sample of the value loss: a sequence with the returns of some of its positions.
#[derive(Debug, Clone, Default)]
pub struct ValueSample {
    /// All tokens.
    pub tokens: Vec<TokenId>,
    /// Positions, each 1 or more. The value of a position is the expected return before its token.
    pub at: Vec<usize>,
    /// Value of each position before the first update.
    pub old: Vec<f32>,
    /// Return of each position.
    pub returns: Vec<f32>,
}

/// Statistics of the value loss; sums over positions.
#[derive(Debug, Clone, Copy, Default)]
pub struct ValueLossStats {
    /// Positions.
    pub n: usize,
    /// Loss.
    pub loss: f64,
    /// Positions at which the clipped value was the worse one.
    pub n_clipped: usize,
}

impl ValueSample {
    /// Positions as targets of a forward pass.
    pub fn scored_targets(&self) -> ScoredTargets<'_> {
        ScoredTargets { tokens: &self.tokens, at: &self.at }
    }
}

impl ValueLossStats {
    /// Adds another batch.
    pub fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.loss += other.loss;
        self.n_clipped += other.n_clipped;
    }
}

impl CriticState {
    /// Critic with the weights of the policy and a value head of zeros.
    pub fn new(decoder: &Decoder) -> Self {
        let critic = Critic::new(decoder.merged());
        let adamw = AdamW::new(&critic.weights());
        Self { critic, adamw }
    }

    /// Values of the positions of some sequences, in micro-batches of at most `limit` tokens.
    pub fn values(&self, targets: &[ScoredTargets<'_>], limit: usize) -> Vec<Vec<f32>> {
        let decoder = self.critic.decoder();
        let values = |packed: &PackedSequences| self.critic.values(decoder.hidden_states(packed));
        score_targets(decoder.device(), targets, limit, values)
    }
}

/// Gradient of the mean value loss over the positions of some samples, in the order of
/// [`Critic::weights`].
pub fn critic_gradient(
    critic: &Critic,
    samples: &[&ValueSample],
    config: &ValueConfig,
    limit: usize,
) -> (Vec<Tensor<2>>, ValueLossStats) {
    let targets: Vec<ScoredTargets<'_>> = samples.iter().map(|it| it.scored_targets()).collect();
    let n: usize = targets.iter().map(|targets| targets.at.len()).sum();
    let batches = split_by_tokens(&targets, limit);
    let (gradients, parts) = accumulate(&critic.weights(), &batches, |batch| {
        let samples: Vec<&ValueSample> = batch.iter().map(|&idx| samples[idx]).collect();
        let targets: Vec<ScoredTargets<'_>> = batch.iter().map(|&idx| targets[idx]).collect();
        let gathered = |of: fn(&ValueSample) -> &[f32]| -> Vec<f32> {
            samples.iter().flat_map(|sample| of(sample)).copied().collect()
        };
        let (old, returns) = (gathered(|it| &it.old), gathered(|it| &it.returns));
        let tracked = critic.tracked();
        let values = tracked.values(tracked.decoder().hidden_states(&packed(&targets)));
        let loss = value_loss(config, values, &old, &returns, &vec![1.0; old.len()]);
        let sums =
            ValueLossStats { n: old.len(), loss: number(&loss.sum), n_clipped: loss.n_clipped };
        (gradients(&(loss.sum / n.max(1) as f32), &tracked.weights()), sums)
    });
    let mut sums = ValueLossStats::default();
    for part in &parts {
        sums.add(part);
    }
    (gradients, sums)
}

#[cfg(test)]
mod tests {
    use forage_model::numbers;
    use forage_optimizer::{OptimizerConfig, global_norm};

    use super::*;
    use crate::gradient::tests::decoder;
    use crate::gradient::tests::slopes::{direction, said};

    fn samples() -> Vec<ValueSample> {
        let one = |salt: u32| {
            let at: Vec<usize> = (1..12).collect();
            let returns = at.iter().map(|it| (*it as f32 - 6.0) / 6.0).collect();
            let tokens = (0..12).map(|it| (it * salt) % 40).collect();
            ValueSample { tokens, old: vec![0.0; at.len()], at, returns }
        };
        vec![one(3), one(11)]
    }

    /// A critic after some steps, in which no weight is 0 any more.
    fn trained(samples: &[&ValueSample], n_steps: usize) -> CriticState {
        let mut state = CriticState::new(&decoder());
        let config = ValueConfig { clip: 100.0 };
        let optimizer = OptimizerConfig::new(1e-2);
        for _ in 0..n_steps {
            let (gradients, _) = critic_gradient(&state.critic, samples, &config, 12);
            let weights = state.critic.weights();
            let decayed = vec![false; weights.len()];
            let weights = state.adamw.apply(&optimizer, 1e-2, &weights, &gradients, &decayed);
            state.adamw.update_moments(&optimizer, gradients);
            state.critic = state.critic.with_weights(weights);
        }
        state
    }

    #[test]
    fn a_critic_begins_with_zeros_and_learns_what_it_is_told() {
        let samples = samples();
        let samples: Vec<&ValueSample> = samples.iter().collect();
        let asked: Vec<ScoredTargets<'_>> =
            samples.iter().map(|it| ScoredTargets { tokens: &it.tokens, at: &it.at }).collect();
        let fresh = CriticState::new(&decoder());
        assert!(fresh.values(&asked, 64).iter().flatten().all(|it| *it == 0.0));

        let config = ValueConfig { clip: 100.0 };
        let loss = |it: &CriticState| critic_gradient(&it.critic, &samples, &config, 64).1.loss;
        let (first, last) = (loss(&fresh), loss(&trained(&samples, 60)));
        assert!(last < first / 20.0, "{first} {last}");
    }

    #[test]
    fn a_gradient_is_the_slope_of_its_loss() {
        let samples = samples();
        let samples: Vec<&ValueSample> = samples.iter().collect();
        let critic = trained(&samples, 5).critic;
        for clip in [0.1, 100.0] {
            let config = ValueConfig { clip };
            let (gradients, sums) = critic_gradient(&critic, &samples, &config, 64);
            let slope = |direction: &[Tensor<2>], size: f64| {
                let length = global_norm(direction);
                let loss = |size: f64| {
                    let weights = critic.weights();
                    let pairs = weights.iter().zip(direction);
                    let moved = pairs.map(|(it, by)| it.clone() + by.clone() * (size / length));
                    let moved = critic.with_weights(moved.collect());
                    let sums = critic_gradient(&moved, &samples, &config, 64).1;
                    sums.loss / sums.n as f64
                };
                (loss(size) - loss(-size)) / (2.0 * size)
            };
            let norm = global_norm(&gradients);
            let along = slope(&gradients, 2e-3);
            assert!((along - norm).abs() < 0.01 * norm, "{clip}: {along} {norm}");
            // Along a random direction; this is the typical size of its product with the gradient.
            let n_weights: usize = gradients.iter().map(|it| it.shape().num_elements()).sum();
            let typical = norm / (n_weights as f64).sqrt();
            for salt in 0..3 {
                let direction = direction(&gradients, salt);
                let (found, expected) = (slope(&direction, 0.02), said(&gradients, &direction));
                assert!((found - expected).abs() < 0.02 * typical, "{clip}: {found} {expected}");
            }
            assert_eq!(sums.n_clipped > 0, clip < 1.0, "{sums:?}");
        }
    }

    /// Eight samples by one, two and seven, and of different lengths.
    #[test]
    fn micro_batches_do_not_change_a_gradient() {
        let of = |lengths: &[u32]| -> Vec<ValueSample> {
            let one = |(salt, &n): (u32, &u32)| {
                let at: Vec<usize> = (1..n as usize).step_by(1 + salt as usize % 2).collect();
                let tokens = (0..n).map(|it| (it * (2 * salt + 3)) % 40).collect();
                let returns = at.iter().map(|it| (*it as f32 - 3.0) / (salt as f32 + 4.0));
                ValueSample { tokens, old: vec![0.1; at.len()], returns: returns.collect(), at }
            };
            (0..).zip(lengths).map(one).collect()
        };
        let warm = samples();
        let critic = trained(&warm.iter().collect::<Vec<_>>(), 5).critic;
        let config = ValueConfig { clip: 0.1 };
        for (samples, limits, n_batches) in [
            (of(&[12; 8]), [12, 24, 84], [8, 4, 2]),
            (of(&[9, 30, 14, 22, 5]), [1, 40, 70], [5, 3, 2]),
        ] {
            let samples: Vec<&ValueSample> = samples.iter().collect();
            let asked: Vec<ScoredTargets<'_>> =
                samples.iter().map(|it| ScoredTargets { tokens: &it.tokens, at: &it.at }).collect();
            assert_eq!(limits.map(|it| split_by_tokens(&asked, it).len()), n_batches);
            let (whole, sums) = critic_gradient(&critic, &samples, &config, 10_000);
            assert!(sums.n_clipped > 0 && sums.n_clipped < sums.n, "{sums:?}");
            for limit in limits {
                let (parts, of_parts) = critic_gradient(&critic, &samples, &config, limit);
                assert_eq!((of_parts.n, of_parts.n_clipped), (sums.n, sums.n_clipped));
                assert!((of_parts.loss - sums.loss).abs() < 1e-4, "{limit}");
                for (part, whole) in parts.iter().zip(&whole) {
                    for (one, other) in numbers(part).into_iter().zip(numbers(whole)) {
                        assert!((one - other).abs() < 1e-5, "{limit}: {one} {other}");
                    }
                }
            }
        }
    }
}
