//! Losses over the trained tokens of a micro-batch.
//!
//! [`Tokens`] is what a loss knows of its tokens, [`Aggregation`] gives each a weight from the
//! totals of the whole step, and [`surrogate_loss`], [`value_loss`], [`entropy_loss`], [`kl_loss`]
//! and [`llds_loss`] are Σ weight · loss with a gradient. [`with_term`] adds them up.
//! [`correct`] weighs tokens that another policy sampled, before any of it.

mod aggregation;
mod correction;
mod entropy;
mod kl;
mod llds;
mod surrogate;
mod tokens;
mod value;

pub use aggregation::{Aggregation, Totals};
pub use correction::{Corrected, Correction, Distance, Rejection, correct};
pub use entropy::{entropy, entropy_loss};
pub use kl::{KlConfig, KlEstimator, KlPlace, kl_estimate, kl_loss};
pub use llds::{Gate, LldsConfig, llds_loss, n_preserved_tokens};
pub use surrogate::{Ratio, Ratios, Surrogate, SurrogateLoss, surrogate_loss};
pub use tokens::Tokens;
pub use value::{ValueConfig, ValueLoss, value_loss};

use burn::tensor::Tensor;

use crate::OptimizerConfig;

pub(crate) use tokens::weighted_sum;

/// A loss with what it says of the batch.
#[derive(Debug)]
pub struct PolicyLoss {
    /// The sum over the tokens; rank 1 with one number.
    pub sum: Tensor<1>,
    /// How many tokens the clip keeps from moving further.
    pub n_clipped: usize,
}

/// [`Surrogate::Ppo`] with the bounds of `[optimizer]` and weight 1: the sum over tokens of
/// `-min(ρ·A, clip(ρ, 1-ε_low, 1+ε_high)·A)`.
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
    let weights = vec![1.0; old.len()];
    let tokens = Tokens { lengths: &[old.len()], old, advantages, weights: &weights };
    let surrogate = Surrogate::ppo(config.clip_low, config.clip_high);
    let loss = surrogate_loss(&surrogate, new, &tokens);
    PolicyLoss { sum: loss.sum, n_clipped: loss.ratios.n_clipped }
}

/// A loss and a further term. A term of coefficient 0 is never computed, so that switching it off
/// gives the same bits as not having it.
#[must_use]
pub fn with_term(loss: Tensor<1>, coefficient: f64, term: impl FnOnce() -> Tensor<1>) -> Tensor<1> {
    if coefficient == 0.0 { loss } else { loss + term() * coefficient }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::tokens::constant;
    use super::*;
    use crate::DecayRule;

    fn config(clip_low: f64, clip_high: f64) -> OptimizerConfig {
        OptimizerConfig {
            lr: 1.0,
            warmup_steps: 0,
            schedule: None,
            betas: [0.9, 0.95],
            eps: 1e-8,
            weight_decay: 0.0,
            decay: DecayRule::default(),
            clip_norm: 1.0,
            clip_low,
            clip_high,
        }
    }

    /// The loss of one token with this ratio, and its gradient by the log-probability.
    fn one(clip: [f64; 2], ratio: f32, advantage: f32) -> (f32, f32, usize) {
        let device = Device::flex().autodiff();
        let new = constant(&[ratio.ln()], &device).require_grad();
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
