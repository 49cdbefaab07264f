//! CISPO: the clipped importance ratio as a weight.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::ratio::RatioLevel;
use crate::error::OptimizerError;
use crate::loss::tokens::{TrainedTokens, constant};
use crate::ranges::{below_one, not_negative};

/// CISPO (arXiv 2506.13585): `-sg(clip(ρ)) A log π`, where sg stops the gradient. A clipped token
/// keeps a gradient. TRL's `epsilon_high` is our 1 + `clip_high`, and it has no lower bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cispo {
    /// The weight is at least 1 minus this, which is in [0, 1). Default: no lower bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_low: Option<f64>,
    /// The weight is at most 1 plus this, which is 0 or more. Default: 4; TRL recommends 5 for its
    /// `epsilon_high`.
    pub clip_high: f64,
    /// Level of the ratio. Default: `token`.
    pub ratio: RatioLevel,
}

impl Default for Cispo {
    fn default() -> Self {
        Self { clip_low: None, clip_high: 4.0, ratio: RatioLevel::default() }
    }
}

impl Cispo {
    pub(super) fn losses(
        &self,
        ratio: Tensor<1>,
        new: Tensor<1>,
        tokens: &TrainedTokens<'_>,
    ) -> Tensor<1> {
        let advantages = constant(tokens.advantages, &new.device());
        let low = self.clip_low.map_or(0.0, |clip| 1.0 - clip);
        let weight = ratio.inner().clamp(low as f32, (1.0 + self.clip_high) as f32);
        (weight * advantages * new).neg()
    }

    pub(super) fn clips(&self, ratio: f32) -> bool {
        ratio > (1.0 + self.clip_high) as f32
            || self.clip_low.is_some_and(|clip| ratio < (1.0 - clip) as f32)
    }

    pub(super) fn check(&self) -> Result<(), OptimizerError> {
        self.clip_low.map_or(Ok(()), |clip| below_one("algorithm.loss.clip_low", clip))?;
        not_negative("algorithm.loss.clip_high", self.clip_high)
    }
}
