//! Clipped surrogates: PPO and GSPO.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::OptimizerError;
use crate::loss::tokens::{TrainedTokens, constant};
use crate::ranges::{above_one, below_one, not_negative};

/// Default clip bound ε of PPO.
pub const DEFAULT_CLIP: f64 = 0.2;

/// PPO (arXiv 1707.06347): `-min(ρA, clip(ρ, 1 - ε_low, 1 + ε_high) A)`, with separate bounds as in
/// DAPO (arXiv 2503.14476).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ppo {
    /// `ε_low`, in [0, 1). Default: 0.2.
    pub clip_low: f64,
    /// `ε_high`, 0 or more; larger than `ε_low` in clip-higher. Default: 0.2.
    pub clip_high: f64,
    /// c of dual clip (arXiv 1912.09729), above 1: where A < 0 the loss is at most -cA, so that a
    /// token that became far likelier moves nothing. Default: none, as in Search-R1. verl has 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dual_clip: Option<f64>,
}

impl Default for Ppo {
    fn default() -> Self {
        Self { clip_low: DEFAULT_CLIP, clip_high: DEFAULT_CLIP, dual_clip: None }
    }
}

impl Ppo {
    pub(super) fn losses(&self, ratio: Tensor<1>, tokens: &TrainedTokens<'_>) -> Tensor<1> {
        let device = ratio.device();
        let losses = clipped_losses(ratio, tokens, self.clip_low, self.clip_high);
        let Some(bound) = self.dual_clip else { return losses };
        let bound_of = |advantage: &f32| {
            if *advantage < 0.0 { -advantage * bound as f32 } else { f32::INFINITY }
        };
        let bounds: Vec<f32> = tokens.advantages.iter().map(bound_of).collect();
        losses.min_pair(constant(&bounds, &device))
    }

    pub(super) fn clips(&self, ratio: f32, advantage: f32) -> bool {
        is_clipped(ratio, advantage, self.clip_low, self.clip_high)
    }

    pub(super) fn dual_clips(&self, ratio: f32, advantage: f32) -> bool {
        self.dual_clip.is_some_and(|bound| advantage < 0.0 && ratio > bound as f32)
    }

    pub(super) fn check(&self) -> Result<(), OptimizerError> {
        below_one("algorithm.loss.clip_low", self.clip_low)?;
        not_negative("algorithm.loss.clip_high", self.clip_high)?;
        self.dual_clip.map_or(Ok(()), |bound| above_one("algorithm.loss.dual_clip", bound))
    }
}

/// GSPO (arXiv 2507.18071): PPO with one ratio for each trajectory, exp(mean(new - old)).
///
/// Written token by token as in its equation 14 (GSPO-token) and in verl, which has the same value
/// and gradient as TRL's form by sequences.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gspo {
    /// `ε_low`, in [0, 1). Default: 3e-4, as in the paper.
    pub clip_low: f64,
    /// `ε_high`, 0 or more. Default: 4e-4, as in the paper.
    pub clip_high: f64,
}

impl Default for Gspo {
    fn default() -> Self {
        Self { clip_low: 3e-4, clip_high: 4e-4 }
    }
}

impl Gspo {
    pub(super) fn losses(&self, ratio: Tensor<1>, tokens: &TrainedTokens<'_>) -> Tensor<1> {
        clipped_losses(ratio, tokens, self.clip_low, self.clip_high)
    }

    pub(super) fn clips(&self, ratio: f32, advantage: f32) -> bool {
        is_clipped(ratio, advantage, self.clip_low, self.clip_high)
    }

    pub(super) fn check(&self) -> Result<(), OptimizerError> {
        below_one("algorithm.loss.clip_low", self.clip_low)?;
        not_negative("algorithm.loss.clip_high", self.clip_high)
    }
}

/// max(-ρA, -clip(ρ) A) of each token, `[M]` → `[M]`.
fn clipped_losses(ratio: Tensor<1>, tokens: &TrainedTokens<'_>, low: f64, high: f64) -> Tensor<1> {
    let advantages = constant(tokens.advantages, &ratio.device());
    let free = ratio.clone() * advantages.clone();
    let held = ratio.clamp((1.0 - low) as f32, (1.0 + high) as f32) * advantages;
    free.min_pair(held).neg()
}

fn is_clipped(ratio: f32, advantage: f32, low: f64, high: f64) -> bool {
    (advantage > 0.0 && ratio > (1.0 + high) as f32)
        || (advantage < 0.0 && ratio < (1.0 - low) as f32)
}
