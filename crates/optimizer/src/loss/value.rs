//! Value loss of the critic.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::tokens::{constant, detached, weighted_sum};
use crate::error::OptimizerError;
use crate::ranges::positive;

/// Default clip of the value loss, as in Search-R1.
pub const DEFAULT_VALUE_CLIP: f64 = 0.5;

/// Value loss of the critic: `algorithm.value` of a run file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValueConfig {
    /// c, the clip bound of a value's change, above 0. Default: 0.5.
    pub clip: f64,
}

impl Default for ValueConfig {
    fn default() -> Self {
        Self { clip: DEFAULT_VALUE_CLIP }
    }
}

impl ValueConfig {
    pub(crate) fn check(self) -> Result<(), OptimizerError> {
        positive("algorithm.value.clip", self.clip)
    }
}

/// Value loss with the number of clipped tokens.
#[derive(Debug)]
pub struct ValueLoss {
    /// Σ weight · loss, `[1]`.
    pub sum: Tensor<1>,
    /// Tokens at which the clipped value has the larger error.
    pub n_clipped: usize,
}

/// Clipped value loss, `½ max((v - R)², (clip(v, v_old - c, v_old + c) - R)²)` (PPO2 of `OpenAI`'s
/// baselines; Search-R1 has c = 0.5).
///
/// `new`: values under the weights in training, `[M]`; `old`: values before the step, `[M]`;
/// `returns`: their targets, `[M]`; `weights`: those of the aggregation, `[M]`. The caller chooses
/// the tokens: verl trains the policy's, Search-R1's code the environment's too.
pub fn value_loss(
    config: &ValueConfig,
    new: Tensor<1>,
    old: &[f32],
    returns: &[f32],
    weights: &[f32],
) -> ValueLoss {
    let device = new.device();
    let clip = config.clip as f32;
    let old = constant(old, &device);
    let returns = constant(returns, &device);
    let held = old.clone() + (new.clone() - old).clamp(-clip, clip);
    let free = (new - returns.clone()).square();
    let held = (held - returns).square();
    let pairs = detached(&free).into_iter().zip(detached(&held));
    let n_clipped = pairs.filter(|(free, held)| held > free).count();
    ValueLoss { sum: weighted_sum(free.max_pair(held), weights) * 0.5, n_clipped }
}
