//! All choices of an algorithm in one place.

use serde::{Deserialize, Serialize};

use crate::options::positive;
use crate::{
    Advantage, Aggregation, Convention, Correction, DistillationConfig, KlConfig, LldsConfig,
    OptimizerError, Surrogate, ValueConfig,
};

/// The clip of a critic's values, as in Search-R1.
pub const DEFAULT_VALUE_CLIP: f64 = 0.5;

/// The `[algorithm]` section of a run file: how rewards become a loss. A section that is missing is
/// a term that is not there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlgorithmConfig {
    /// How much better than expected a token went.
    pub advantage: Advantage,
    /// The policy's loss.
    pub loss: Surrogate,
    /// The mean that losses are.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// Whether trajectories that spent a budget are trained on.
    #[serde(default)]
    pub over_length: OverLength,
    /// Distance from a reference policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl: Option<KlConfig>,
    /// Coefficient of the entropy bonus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    /// The critic's loss; for estimators with a critic, its defaults where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueConfig>,
    /// Trajectories that another policy sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
    /// What went well must not become less likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llds: Option<LldsConfig>,
    /// Queries learn from hindsight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_distillation: Option<DistillationConfig>,
}

/// What becomes of a trajectory that spent its budget of tokens or turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverLength {
    /// It is trained on like any other (Search-R1).
    #[default]
    Train,
    /// It is in the statistics, not in the loss (DAPO, E-GRPO).
    Exclude,
}

impl AlgorithmConfig {
    /// GRPO with this loss, the mean over tokens, and no further term: what is trained where a run
    /// file says nothing.
    pub fn grpo(loss: Surrogate) -> Self {
        Self {
            advantage: Advantage::Grpo { convention: Convention::Forage },
            loss,
            aggregation: Aggregation::TokenMean,
            over_length: OverLength::Train,
            kl: None,
            entropy: None,
            value: None,
            correction: None,
            llds: None,
            self_distillation: None,
        }
    }

    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), OptimizerError> {
        if let Some(kl) = &self.kl {
            kl.check()?;
        }
        if let Some(entropy) = self.entropy {
            positive("algorithm.entropy", entropy)?;
        }
        if let Some(value) = &self.value {
            value.check()?;
            if !self.advantage.needs_critic() {
                return Err(OptimizerError::conflict(
                    "`algorithm.value` is used by `algorithm.advantage` `gae` and `step-gae` only: \
                     no other estimator has a critic",
                ));
            }
        }
        if let Some(llds) = &self.llds {
            llds.check()?;
        }
        if let Some(distillation) = &self.self_distillation {
            distillation.check()?;
        }
        Ok(())
    }
}
