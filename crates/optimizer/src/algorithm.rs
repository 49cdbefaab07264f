//! Algorithm configuration: the `[algorithm]` section of a run file.

use serde::{Deserialize, Serialize};

use crate::advantage::{AdvantageEstimator, Grpo};
use crate::distillation::DistillationConfig;
use crate::error::OptimizerError;
use crate::loss::{
    ImportanceCorrection, KlConfig, LldsConfig, LossAggregation, Surrogate, ValueConfig,
};
use crate::ranges::positive;

/// Reinforcement learning algorithm, from rewards to the loss: `[algorithm]` of a run file. A term
/// without its section is not in the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlgorithmConfig {
    /// Advantage estimator.
    pub advantage: AdvantageEstimator,
    /// Policy loss.
    pub loss: Surrogate,
    /// Loss aggregation. Default: `token-mean`.
    #[serde(default)]
    pub aggregation: LossAggregation,
    /// Masking of retrieved tokens (Search-R1): whether the loss leaves out the tokens that the
    /// environment wrote. Without it they are trained like the policy's, with log-probabilities that
    /// are computed before the first update. Default: true.
    #[serde(default = "default_true", skip_serializing_if = "is_true")]
    pub state_masking: bool,
    /// Over-length trajectories. Default: `train`.
    #[serde(default)]
    pub over_length: OverLengthRule,
    /// KL penalty against the reference policy. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl: Option<KlConfig>,
    /// Coefficient of the entropy bonus, above 0. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    /// Value loss of the critic. Default: that of [`ValueConfig`], for estimators with a critic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueConfig>,
    /// Importance correction for off-policy trajectories (TIS). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<ImportanceCorrection>,
    /// LLDS: likelihood-preserving regularizer. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llds: Option<LldsConfig>,
    /// Self-distillation from hindsight (SD-Search). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_distillation: Option<DistillationConfig>,
}

/// Treatment of over-length trajectories, those that spent their budget of tokens or turns.
/// Default: `train`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverLengthRule {
    /// In the statistics and in the loss, like any other trajectory (Search-R1).
    #[default]
    Train,
    /// In the statistics, not in the loss (overlong filtering of DAPO; E-GRPO).
    Exclude,
}

impl AlgorithmConfig {
    /// GRPO with this policy loss, `token-mean` and no further term: the algorithm of a run file
    /// without `[algorithm]`.
    pub fn grpo(loss: Surrogate) -> Self {
        Self {
            advantage: AdvantageEstimator::Grpo(Grpo::default()),
            loss,
            aggregation: LossAggregation::default(),
            state_masking: true,
            over_length: OverLengthRule::Train,
            kl: None,
            entropy: None,
            value: None,
            correction: None,
            llds: None,
            self_distillation: None,
        }
    }

    /// Checks the ranges of all numbers, and which keys exclude each other.
    ///
    /// # Errors
    ///
    /// For the first key that is wrong.
    pub fn check(&self) -> Result<(), OptimizerError> {
        self.advantage.check()?;
        self.loss.check()?;
        self.aggregation.check()?;
        self.kl.as_ref().map_or(Ok(()), KlConfig::check)?;
        self.entropy.map_or(Ok(()), |entropy| positive("algorithm.entropy", entropy))?;
        self.check_value()?;
        self.correction.as_ref().map_or(Ok(()), ImportanceCorrection::check)?;
        self.llds.as_ref().map_or(Ok(()), LldsConfig::check)?;
        self.self_distillation.as_ref().map_or(Ok(()), DistillationConfig::check)?;
        self.check_state_masking()
    }

    fn check_state_masking(&self) -> Result<(), OptimizerError> {
        let used = [
            ("correction", self.correction.is_some()),
            ("llds", self.llds.is_some()),
            ("self_distillation", self.self_distillation.is_some()),
        ];
        match used.iter().find(|it| it.1) {
            Some((key, _)) if !self.state_masking => Err(OptimizerError::conflict(format!(
                "`algorithm.{key}` is of the tokens that the policy sampled, and is not used with \
                 `algorithm.state_masking = false`, which trains retrieved tokens too"
            ))),
            _ => Ok(()),
        }
    }

    fn check_value(&self) -> Result<(), OptimizerError> {
        let Some(value) = &self.value else { return Ok(()) };
        value.check()?;
        if self.advantage.needs_critic() {
            return Ok(());
        }
        Err(OptimizerError::conflict(
            "`algorithm.value` is used by `algorithm.advantage` `gae` and `step-gae` only: no \
             other estimator has a critic",
        ))
    }
}

const fn default_true() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_true(value: &bool) -> bool {
    *value
}
