//! KL divergence from a reference policy, estimated at the sampled tokens.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::tokens::{constant, weighted_sum};
use crate::error::OptimizerError;
use crate::ranges::positive;

/// Log-ratios are clamped to ± this in k3, as in verl.
const LOG_RATIO_BOUND: f32 = 20.0;

/// k3 is clamped to ± this, as in verl and Search-R1.
const K3_BOUND: f32 = 10.0;

/// KL penalty against the reference policy: `algorithm.kl` of a run file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KlConfig {
    /// β, the coefficient of the penalty, above 0. Search-R1 has 0.001.
    pub coefficient: f64,
    /// Whether the penalty is part of the reward or of the loss.
    pub place: KlPlace,
    /// Estimator of the divergence in the loss. Default: `k3`. With `place = "reward"` the key is
    /// an error, since the estimator is always k1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimator: Option<KlEstimator>,
}

/// Place of the KL penalty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KlPlace {
    /// In the reward of each token, before the advantages:
    /// [`Episode::penalized`](crate::Episode::penalized). Search-R1 and StepSearch with PPO.
    Reward,
    /// A term of the loss: [`kl_loss`]. Search-R1 with GRPO.
    Loss,
}

/// KL estimator: `KL(π || π_ref)` from one sampled token (Schulman 2020,
/// `joschu.net/blog/kl-approx.html`), by `d = log π - log π_ref`. Default: `k3`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KlEstimator {
    /// d. Unbiased. As a loss its expected gradient is 0, so there it is only of use as a metric.
    K1,
    /// d² / 2. Biased; its gradient is that of the KL divergence.
    K2,
    /// exp(-d) - 1 + d, with d clamped to ±20 and the result to ±10 (verl's `low_var_kl`). Unbiased
    /// and never negative.
    #[default]
    K3,
}

impl KlConfig {
    /// Estimator of the loss.
    pub fn in_loss(&self) -> KlEstimator {
        self.estimator.unwrap_or_default()
    }

    pub(crate) fn check(&self) -> Result<(), OptimizerError> {
        positive("algorithm.kl.coefficient", self.coefficient)?;
        match (self.place, self.estimator) {
            (KlPlace::Reward, Some(_)) => Err(OptimizerError::conflict(
                "`algorithm.kl.estimator` is not used with `place = \"reward\"`: it is always k1",
            )),
            _ => Ok(()),
        }
    }
}

/// KL estimate at each token, `[M]`, from the log-probabilities `new` under the weights in training
/// and `reference` under the reference policy, `[M]` each.
///
/// Departure from TRL: its k3 has no bounds; for |d| below about 2.6 nats they are the same.
pub fn kl_estimate(estimator: KlEstimator, new: Tensor<1>, reference: &[f32]) -> Tensor<1> {
    let reference = constant(reference, &new.device());
    match estimator {
        KlEstimator::K1 => new - reference,
        KlEstimator::K2 => (new - reference).square() * 0.5,
        KlEstimator::K3 => {
            let gap = (reference - new).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND);
            (gap.clone().exp() - gap - 1.0).clamp(-K3_BOUND, K3_BOUND)
        }
    }
}

/// KL loss, Σ weight · estimate, `[1]`; the caller multiplies it with β. Arguments as in
/// [`kl_estimate`].
pub fn kl_loss(
    estimator: KlEstimator,
    new: Tensor<1>,
    reference: &[f32],
    weights: &[f32],
) -> Tensor<1> {
    weighted_sum(kl_estimate(estimator, new, reference), weights)
}
