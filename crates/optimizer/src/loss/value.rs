//! The critic's loss.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::tokens::{constant, detached, weighted_sum};
use crate::options::positive;
use crate::{DEFAULT_VALUE_CLIP, OptimizerError};

/// The critic's loss: `algorithm.value` of a run file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueConfig {
    /// A value is held within ± this of what it was, as far as the loss goes.
    #[serde(default = "default_clip")]
    pub clip: f64,
}

impl Default for ValueConfig {
    fn default() -> Self {
        Self { clip: DEFAULT_VALUE_CLIP }
    }
}

impl ValueConfig {
    pub(crate) fn check(self) -> Result<(), OptimizerError> {
        positive("algorithm.value.clip", self.clip).map(|_| ())
    }
}

fn default_clip() -> f64 {
    DEFAULT_VALUE_CLIP
}

/// A critic's loss.
#[derive(Debug)]
pub struct ValueLoss {
    /// Σ weight · loss; rank 1 with one number.
    pub sum: Tensor<1>,
    /// Tokens at which the clipped value was the worse one.
    pub n_clipped: usize,
}

/// `½ max((v - R)², (clip(v, v_old - c, v_old + c) - R)²)` (PPO2 of `OpenAI`'s baselines; Search-R1
/// has c = 0.5).
///
/// `new`: values in training, `[M]`; `old`, `returns` and `weights` likewise. Which tokens are here
/// is the caller's choice: verl trains the policy's, Search-R1's code the environment's too.
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
