//! SAPO: a soft clip of the importance ratio.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use serde::{Deserialize, Serialize};

use super::ratio::RatioLevel;
use crate::error::OptimizerError;
use crate::loss::tokens::{TrainedTokens, constant};
use crate::ranges::positive;

/// SAPO (arXiv 2511.20347): `-(4/τ) σ(τ (ρ - 1)) A`, with the temperature τ by the sign of A.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sapo {
    /// τ where A > 0; above 0. Default: 1.
    pub tau_positive: f64,
    /// τ where A ≤ 0; above 0. Default: 1.05.
    pub tau_negative: f64,
    /// Level of the ratio. Default: `token`.
    pub ratio: RatioLevel,
}

impl Default for Sapo {
    fn default() -> Self {
        Self { tau_positive: 1.0, tau_negative: 1.05, ratio: RatioLevel::default() }
    }
}

impl Sapo {
    pub(super) fn losses(&self, ratio: Tensor<1>, tokens: &TrainedTokens<'_>) -> Tensor<1> {
        let device = ratio.device();
        let advantages = constant(tokens.advantages, &device);
        let tau = |advantage: &f32| {
            if *advantage > 0.0 { self.tau_positive as f32 } else { self.tau_negative as f32 }
        };
        let taus: Vec<f32> = tokens.advantages.iter().map(tau).collect();
        let taus = constant(&taus, &device);
        (sigmoid((ratio - 1.0) * taus.clone()) * 4.0 / taus * advantages).neg()
    }

    pub(super) fn check(&self) -> Result<(), OptimizerError> {
        positive("algorithm.loss.tau_positive", self.tau_positive)?;
        positive("algorithm.loss.tau_negative", self.tau_negative)
    }
}
