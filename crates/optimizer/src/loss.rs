//! Losses over the trained tokens of a micro-batch.
//!
//! [`TrainedTokens`] is the input of a loss, and [`LossAggregation`] gives each token a weight from
//! the totals of the whole step. [`surrogate_loss`], [`value_loss`], [`entropy_loss`], [`kl_loss`]
//! and [`llds_loss`] are Σ weight · loss with a gradient, and [`with_term`] adds them up. Before
//! all of them, [`importance_weights`] corrects the advantages of off-policy tokens.

mod aggregation;
mod entropy;
mod importance_correction;
mod kl;
mod llds;
mod surrogate;
mod tokens;
mod value;

pub use aggregation::{ConstantAggregation, LossAggregation, LossTotals};
pub use entropy::{entropy, entropy_loss};
pub use importance_correction::{
    IcePop, ImportanceCorrection, ImportanceWeights, RejectionDistance, RejectionOnly,
    RejectionSampling, SequenceTis, TokenTis, importance_weights,
};
pub use kl::{KlConfig, KlEstimator, KlPlace, kl_estimate, kl_loss};
pub use llds::{LldsConfig, LldsGranularity, llds_loss, n_preserved_tokens};
pub use surrogate::{
    Cispo, DEFAULT_CLIP, Gspo, Ppo, RatioLevel, RatioStats, Sapo, Surrogate, SurrogateLoss,
    surrogate_loss,
};
pub use tokens::TrainedTokens;
pub use value::{DEFAULT_VALUE_CLIP, ValueConfig, ValueLoss, value_loss};

use burn::tensor::Tensor;

pub(crate) use tokens::weighted_sum;

/// Sum of a loss and a further term: loss + coefficient · term, each `[1]`.
///
/// A term of coefficient 0 is never computed, so that switching it off gives the same bits as not
/// having it.
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
    /// clip and the dual clip hold it.
    fn one(surrogate: &Surrogate, ratio: f32, advantage: f32) -> (f32, f32, [usize; 2]) {
        let device = Device::flex().autodiff();
        let new = constant(&[ratio.ln()], &device).require_grad();
        let tokens = TrainedTokens {
            lengths: &[1],
            old_logprobs: &[0.0],
            advantages: &[advantage],
            weights: &[1.0],
        };
        let loss = surrogate_loss(surrogate, new.clone(), &tokens);
        let value = loss.sum.clone().into_scalar::<f32>();
        let mut gradients = loss.sum.backward();
        let gradient = new.grad_remove(&mut gradients).expect("a leaf").into_scalar::<f32>();
        (value, gradient, [loss.ratios.n_clipped, loss.ratios.n_dual_clipped])
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
        for ([low, high], ratio, advantage, surrogate, stopped) in table {
            let (value, gradient, held) = one(&Surrogate::ppo(low, high), ratio, advantage);
            assert!((value + surrogate).abs() < 1e-5, "{ratio} {advantage}: {value}");
            assert_eq!(held, [usize::from(stopped), 0]);
            let expected = if stopped { 0.0 } else { -ratio * advantage };
            assert!((gradient - expected).abs() < 1e-5, "{ratio} {advantage}: {gradient}");
        }
    }

    /// Dual clip holds what became far likelier although it was bad, and nothing else.
    #[test]
    fn dual_clip_bounds_the_loss_of_what_was_bad() {
        let surrogate = Surrogate::Ppo(Ppo { dual_clip: Some(3.0), ..Ppo::default() });
        // ratio, advantage, loss, gradient, by clip and dual clip
        let table = [
            (4.0, -1.0, 3.0, 0.0, [0, 1]),
            (4.0, -0.5, 1.5, 0.0, [0, 1]),
            (2.5, -1.0, 2.5, 2.5, [0, 0]),
            (4.0, 1.0, -1.2, 0.0, [1, 0]),
            (0.5, -1.0, 0.8, 0.0, [1, 0]),
        ];
        for (ratio, advantage, loss, gradient, held) in table {
            let found = one(&surrogate, ratio, advantage);
            assert!((found.0 - loss).abs() < 1e-5, "{ratio} {advantage}: {found:?}");
            assert!((found.1 - gradient).abs() < 1e-5, "{ratio} {advantage}: {found:?}");
            assert_eq!(found.2, held, "{ratio} {advantage}");
        }
    }
}
