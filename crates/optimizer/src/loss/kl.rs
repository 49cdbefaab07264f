//! Distance from a reference policy, estimated at the sampled tokens.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::tokens::{constant, weighted_sum};
use crate::OptimizerError;
use crate::options::positive;

/// Log-ratios are held within ± this in k3, as verl does.
const LOG_RATIO_BOUND: f32 = 20.0;

/// k3 is held within ± this, as verl and Search-R1 do.
const K3_BOUND: f32 = 10.0;

/// The distance that is paid for, and where: `algorithm.kl` of a run file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KlConfig {
    /// β.
    pub coefficient: f64,
    /// In the reward, before advantages, or in the loss.
    pub place: KlPlace,
    /// The estimate; in the reward it is k1 and is not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimator: Option<KlEstimator>,
}

/// Where a distance is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KlPlace {
    /// [`Episode::penalized`](crate::Episode::penalized): Search-R1 and StepSearch with PPO.
    Reward,
    /// [`kl_loss`]: Search-R1 with GRPO.
    Loss,
}

/// An estimate of `KL(π || π_ref)` from one sampled token (Schulman 2020,
/// `joschu.net/blog/kl-approx.html`). `d = log π - log π_ref`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KlEstimator {
    /// d. Unbiased; as a loss its expected gradient is 0, so it only shows there.
    K1,
    /// d² / 2. Biased; its gradient is that of the KL.
    K2,
    /// exp(-d) - 1 + d, d within ±20 and the result within ±10 (verl's `low_var_kl`). Unbiased and
    /// never negative.
    #[default]
    K3,
}

impl KlConfig {
    /// The estimate that is used in the loss.
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

/// The estimate at each token: `new` in training and `reference`, `[M]` both.
///
/// Departure from TRL, whose k3 has no bounds; below a distance of about 2.6 nats they are the same.
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

/// Σ weight · estimate; the caller multiplies with β.
pub fn kl_loss(
    estimator: KlEstimator,
    new: Tensor<1>,
    reference: &[f32],
    weights: &[f32],
) -> Tensor<1> {
    weighted_sum(kl_estimate(estimator, new, reference), weights)
}
