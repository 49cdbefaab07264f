//! The clipped surrogate of PPO, which GRPO shares.

use burn::tensor::{Device, Tensor, TensorData};

use crate::OptimizerConfig;

/// A loss with what it says of the batch.
#[derive(Debug)]
pub struct PolicyLoss {
    /// The sum over the tokens; rank 1 with one number.
    pub sum: Tensor<1>,
    /// How many tokens the clip keeps from moving further.
    pub n_clipped: usize,
}

/// Sum over tokens of `-min(ρ·A, clip(ρ, 1-ε_low, 1+ε_high)·A)`, `ρ = exp(new - old)`
/// (PPO, arXiv 1707.06347; separate bounds as in DAPO, arXiv 2503.14476).
///
/// `new`: log-probabilities of the trained tokens under the weights in training, `[M]`; `old`: as
/// they were sampled; `advantages`: of the trajectory of each token. The caller divides by the
/// number of trained tokens of the whole batch, so that the loss is the token mean of Search-R1's
/// code (its paper has the sequence mean), whatever the micro-batches.
pub fn policy_loss(
    config: &OptimizerConfig,
    new: Tensor<1>,
    old: &[f32],
    advantages: &[f32],
) -> PolicyLoss {
    let device = new.device();
    let old = vector(old, &device);
    let advantages = vector(advantages, &device);
    let ratio = (new - old).exp();
    let low = 1.0 - config.clip_low as f32;
    let high = 1.0 + config.clip_high as f32;
    let free = ratio.clone() * advantages.clone();
    let clipped = ratio.clamp(low, high) * advantages;
    let n_clipped =
        clipped.clone().inner().lower(free.clone().inner()).int().sum().into_scalar::<i64>();
    let sum = free.min_pair(clipped).sum().neg();
    PolicyLoss { sum, n_clipped: n_clipped as usize }
}

fn vector(numbers: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), [numbers.len()]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(clip_low: f64, clip_high: f64) -> OptimizerConfig {
        OptimizerConfig {
            lr: 1.0,
            warmup_steps: 0,
            betas: [0.9, 0.95],
            eps: 1e-8,
            weight_decay: 0.0,
            clip_norm: 1.0,
            clip_low,
            clip_high,
        }
    }

    /// The loss of one token with this ratio, and its gradient by the log-probability.
    fn one(clip: [f64; 2], ratio: f32, advantage: f32) -> (f32, f32, usize) {
        let device = Device::flex().autodiff();
        let new = vector(&[ratio.ln()], &device).require_grad();
        let loss = policy_loss(&config(clip[0], clip[1]), new.clone(), &[0.0], &[advantage]);
        let value = loss.sum.clone().into_scalar::<f32>();
        let mut gradients = loss.sum.backward();
        let gradient = new.grad_remove(&mut gradients).expect("a leaf").into_scalar::<f32>();
        (value, gradient, loss.n_clipped)
    }

    #[test]
    fn vectors_of_the_specification() {
        // clip, ratio, advantage, surrogate, whether the clip stops the gradient
        let table = [
            ([0.2, 0.2], 1.5, 1.0, 1.2, true),
            ([0.2, 0.2], 1.5, -1.0, -1.5, false),
            ([0.2, 0.2], 0.5, 1.0, 0.5, false),
            ([0.2, 0.2], 0.5, -1.0, -0.8, true),
            ([0.2, 0.28], 1.25, 1.0, 1.25, false),
            ([0.2, 0.28], 1.5, 1.0, 1.28, true),
            ([0.2, 0.28], 1.5, -1.0, -1.5, false),
        ];
        for (clip, ratio, advantage, surrogate, stopped) in table {
            let (value, gradient, n_clipped) = one(clip, ratio, advantage);
            assert!((value + surrogate).abs() < 1e-5, "{ratio} {advantage}: {value}");
            assert_eq!(n_clipped, usize::from(stopped));
            let expected = if stopped { 0.0 } else { -ratio * advantage };
            assert!((gradient - expected).abs() < 1e-5, "{ratio} {advantage}: {gradient}");
        }
    }
}
