//! One gradient: micro-batches through the model, a loss over their trained tokens.
//!
//! Micro-batches are cut by length and summed in a fixed order, so the gradient does not depend
//! on the number of cores.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use forage_model::{Decoder, parallel};
use forage_optimizer::{OptimizerConfig, policy_loss};
use forage_trajectory::{TokenId, Trajectory};

/// A sequence with the tokens that are trained.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// All tokens.
    pub tokens: Vec<TokenId>,
    /// Positions of the trained tokens, each 1 or more.
    pub targets: Vec<usize>,
    /// For each target: its log-probability as it was sampled. Not used by [`Objective::Imitate`].
    pub old_logprobs: Vec<f32>,
    /// For each target: the advantage of its trajectory. Not used by [`Objective::Imitate`].
    pub advantages: Vec<f32>,
}

/// What the loss is.
#[derive(Debug, Clone, Copy)]
pub enum Objective<'a> {
    /// Cross-entropy: -Σ log π.
    Imitate,
    /// The clipped surrogate, at a sampling temperature.
    Reinforce {
        /// The clip bounds.
        config: &'a OptimizerConfig,
        /// Log-probabilities are those of softmax(logits / temperature).
        temperature: f32,
    },
}

/// A gradient and what was seen on the way.
#[derive(Debug)]
pub struct Learned {
    /// In the order of the weights.
    pub gradients: Vec<Tensor<2>>,
    /// Sums over the trained tokens.
    pub sums: Sums,
}

/// Sums over the trained tokens of a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sums {
    /// Trained tokens.
    pub n_tokens: usize,
    /// Loss.
    pub loss: f64,
    /// Entropy of the policy, in nats.
    pub entropy: f64,
    /// Tokens that the clip keeps from moving.
    pub n_clipped: usize,
    /// |new - old| of the log-probabilities.
    pub mismatch: f64,
    /// exp(d) - d - 1 with d = new - old: the k3 estimate of KL(rollout || training).
    pub mismatch_kl: f64,
    /// Largest |new - old|.
    pub mismatch_max: f64,
}

impl Sample {
    /// The policy's tokens of a trajectory, all with one advantage.
    pub fn of_trajectory(trajectory: &Trajectory, advantage: f32) -> Self {
        let mask = trajectory.policy_mask();
        let targets: Vec<usize> = (1..mask.len()).filter(|&at| mask[at]).collect();
        Self {
            tokens: trajectory.tokens.clone(),
            old_logprobs: targets.iter().map(|&at| trajectory.logprobs[at]).collect(),
            advantages: vec![advantage; targets.len()],
            targets,
        }
    }
}

/// The gradient of the mean loss over `n_tokens` trained tokens.
///
/// `n_tokens` is given and not counted, because samples that cannot move the policy (advantage 0)
/// may be left out of `samples` and still belong to the mean.
pub fn learn(
    decoder: &Decoder,
    samples: &[Sample],
    objective: Objective<'_>,
    n_tokens: usize,
    micro_batch_tokens: usize,
) -> Learned {
    let mut gradients: Vec<Tensor<2>> = decoder.weights().iter().map(Tensor::zeros_like).collect();
    let mut sums = Sums::default();
    let micro_batches = micro_batches(samples, micro_batch_tokens);
    // A few at a time: a gradient is as large as the model.
    for some in micro_batches.chunks(8) {
        let parts = parallel::map(some.to_vec(), |batch| {
            let samples: Vec<&Sample> = batch.iter().map(|&idx| &samples[idx]).collect();
            micro_batch(decoder, &samples, objective, n_tokens)
        });
        for part in parts {
            for (sum, gradient) in gradients.iter_mut().zip(part.gradients) {
                *sum = sum.clone() + gradient;
            }
            sums.add(&part.sums);
        }
    }
    Learned { gradients, sums }
}

/// Indices of the samples, shortest first, cut so that each padded batch has at most `limit`
/// tokens.
fn micro_batches(samples: &[Sample], limit: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> =
        (0..samples.len()).filter(|&it| !samples[it].targets.is_empty()).collect();
    order.sort_by_key(|&it| samples[it].tokens.len());
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for idx in order {
        let length = samples[idx].tokens.len();
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * length <= limit => batch.push(idx),
            _ => batches.push(vec![idx]),
        }
    }
    batches
}

fn micro_batch(
    decoder: &Decoder,
    samples: &[&Sample],
    objective: Objective<'_>,
    n_tokens: usize,
) -> Learned {
    let tracked = decoder.tracked();
    let device = tracked.device().clone();
    let indices = |numbers: Vec<i64>| {
        let n = numbers.len();
        Tensor::<1, Int>::from_data(TensorData::new(numbers, [n]), &device)
    };
    // Without its last token, a sequence predicts just the tokens that may be targets.
    let inputs: Vec<Vec<TokenId>> =
        samples.iter().map(|it| it.tokens[..it.tokens.len() - 1].to_vec()).collect();
    let padded = inputs.iter().map(Vec::len).max().unwrap_or(0);
    let rows = samples
        .iter()
        .enumerate()
        .flat_map(|(seq, it)| it.targets.iter().map(move |at| (seq * padded + at - 1) as i64));
    let targets: Vec<i64> = samples
        .iter()
        .flat_map(|it| it.targets.iter().map(|&at| i64::from(it.tokens[at])))
        .collect();
    let n_targets = targets.len();

    let hidden_md = tracked.forward(&inputs).select(0, indices(rows.collect()));
    let logits_mv = tracked.logits(hidden_md);
    let logits_mv = match objective {
        Objective::Reinforce { temperature, .. } => logits_mv / temperature,
        Objective::Imitate => logits_mv,
    };
    let logprobs_mv = log_softmax(logits_mv, 1);
    let detached_mv = logprobs_mv.clone().inner();
    let entropy = (detached_mv.clone().exp() * detached_mv).sum().neg().into_scalar::<f32>();
    let new = logprobs_mv.gather(1, indices(targets).reshape([n_targets, 1]));
    let new = new.reshape([n_targets]);
    let mut sums = Sums { n_tokens: n_targets, entropy: f64::from(entropy), ..Sums::default() };
    let loss = match objective {
        Objective::Imitate => new.sum().neg(),
        Objective::Reinforce { config, .. } => {
            let old: Vec<f32> =
                samples.iter().flat_map(|it| it.old_logprobs.iter().copied()).collect();
            let advantages: Vec<f32> =
                samples.iter().flat_map(|it| it.advantages.iter().copied()).collect();
            let recomputed: Vec<f32> =
                new.clone().inner().into_data().try_into_vec_as().expect("f32 reads back as f32");
            sums.compare(&recomputed, &old);
            let loss = policy_loss(config, new, &old, &advantages);
            sums.n_clipped = loss.n_clipped;
            loss.sum
        }
    };
    sums.loss = f64::from(loss.clone().inner().into_scalar::<f32>());
    let mut gradients = (loss / n_tokens.max(1) as f32).backward();
    let gradients = tracked
        .weights()
        .iter()
        .map(|it| it.grad_remove(&mut gradients).unwrap_or_else(|| it.clone().inner().zeros_like()))
        .collect();
    Learned { gradients, sums }
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.n_tokens += other.n_tokens;
        self.loss += other.loss;
        self.entropy += other.entropy;
        self.n_clipped += other.n_clipped;
        self.mismatch += other.mismatch;
        self.mismatch_kl += other.mismatch_kl;
        self.mismatch_max = self.mismatch_max.max(other.mismatch_max);
    }

    fn compare(&mut self, new: &[f32], old: &[f32]) {
        for (new, old) in new.iter().zip(old) {
            let difference = f64::from(new - old);
            self.mismatch += difference.abs();
            self.mismatch_kl += difference.exp() - difference - 1.0;
            self.mismatch_max = self.mismatch_max.max(difference.abs());
        }
    }

    /// A sum as a mean over the tokens it was taken over.
    pub fn mean(&self, sum: f64) -> f64 {
        sum / self.n_tokens.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use forage_model::numbers;
    use forage_trajectory::{Kind, Origin};
    use proptest::prelude::*;

    use super::*;
    use crate::config::FreshModel;

    fn decoder() -> Decoder {
        let shape = FreshModel {
            vocab_size: 40,
            hidden_size: 16,
            intermediate_size: 24,
            layers: 2,
            heads: 2,
            kv_heads: 1,
            max_positions: 64,
            rope_theta: 100.0,
        };
        Decoder::init(&shape.config(), 1, &Device::flex())
    }

    /// Samples of different lengths in which every second token is trained.
    fn samples() -> Vec<Sample> {
        [9, 30, 14, 22, 5]
            .into_iter()
            .enumerate()
            .map(|(salt, n)| {
                let targets: Vec<usize> = (1..n).step_by(2).collect();
                Sample {
                    tokens: (0..n).map(|at| ((at * 7 + salt * 3) % 40) as TokenId).collect(),
                    old_logprobs: vec![-3.5; targets.len()],
                    advantages: vec![salt as f32 - 2.0; targets.len()],
                    targets,
                }
            })
            .collect()
    }

    fn gradient(samples: &[Sample], limit: usize) -> Vec<f32> {
        let config: OptimizerConfig = toml::from_str("lr = 1.0").unwrap();
        let objective = Objective::Reinforce { config: &config, temperature: 0.8 };
        let learned = learn(&decoder(), samples, objective, 50, limit);
        learned.gradients.iter().flat_map(numbers).collect()
    }

    #[test]
    fn micro_batches_do_not_change_a_gradient() {
        let whole = gradient(&samples(), 10_000);
        for limit in [1, 40, 70] {
            for (one, other) in gradient(&samples(), limit).iter().zip(&whole) {
                assert!((one - other).abs() < 1e-5, "limit {limit}: {one} is not {other}");
            }
        }
    }

    #[test]
    fn what_follows_the_last_trained_token_has_no_influence() {
        let mut changed = samples();
        for sample in &mut changed {
            let last = sample.targets.pop().unwrap();
            sample.old_logprobs.pop();
            sample.advantages.pop();
            sample.tokens.truncate(last + 1);
        }
        let before = gradient(&changed, 40);
        for sample in &mut changed {
            *sample.tokens.last_mut().unwrap() = 39;
        }
        assert_eq!(gradient(&changed, 40), before);
    }

    #[test]
    fn nothing_to_learn_is_a_gradient_of_zeros() {
        assert!(gradient(&[], 10).iter().all(|it| *it == 0.0));
        assert!(gradient(&[Sample::default()], 10).iter().all(|it| *it == 0.0));
    }

    proptest! {
        #[test]
        fn tokens_of_the_environment_are_never_trained(
            segments in prop::collection::vec((0..3_u8, 0..5_usize), 1..12),
        ) {
            let mut trajectory = Trajectory::new("q", 0);
            trajectory.push_given(Origin::Prompt, Kind::Prompt, "who?", &[1]);
            for (origin, n) in segments {
                let start = trajectory.tokens.len();
                if origin == 0 {
                    trajectory.push_sampled(&vec![2; n], &vec![-1.0; n]);
                    trajectory.tag(Kind::Think, "", start..start + n, None);
                } else {
                    trajectory.push_given(Origin::Environment, Kind::Information, "", &vec![3; n]);
                }
            }
            let sample = Sample::of_trajectory(&trajectory, 1.0);
            prop_assert!(sample.targets.iter().all(|&at| trajectory.tokens[at] == 2));
            prop_assert_eq!(sample.targets.len(), trajectory.n_policy_tokens());
        }
    }
}
