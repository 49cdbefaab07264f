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

pub(crate) use tokens::weighted_sum;

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

    /// The loss of one token with this ratio, its gradient by the log-probability, and whether the
    /// clip holds it.
    fn one([low, high]: [f64; 2], ratio: f32, advantage: f32) -> (f32, f32, usize) {
        let device = Device::flex().autodiff();
        let new = constant(&[ratio.ln()], &device).require_grad();
        let tokens =
            Tokens { lengths: &[1], old: &[0.0], advantages: &[advantage], weights: &[1.0] };
        let loss = surrogate_loss(&Surrogate::ppo(low, high), new.clone(), &tokens);
        let value = loss.sum.clone().into_scalar::<f32>();
        let mut gradients = loss.sum.backward();
        let gradient = new.grad_remove(&mut gradients).expect("a leaf").into_scalar::<f32>();
        (value, gradient, loss.ratios.n_clipped)
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
