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
    /// Retrieved tokens, those that the environment wrote. Default: `mask`.
    #[serde(default, skip_serializing_if = "RetrievedTokens::are_masked")]
    pub retrieved_tokens: RetrievedTokens,
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

/// Treatment of retrieved tokens in the loss. Default: `mask`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetrievedTokens {
    /// Left out of the loss (retrieved token masking, `state_masking` in Search-R1's code).
    #[default]
    Mask,
    /// Trained like the policy's, with log-probabilities that are computed before the first update
    /// (the ablation of Search-R1, arXiv 2503.09516).
    Train,
}

impl RetrievedTokens {
    /// Whether they are left out of the loss.
    pub const fn are_masked(&self) -> bool {
        matches!(self, Self::Mask)
    }
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
            retrieved_tokens: RetrievedTokens::Mask,
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
        self.check_retrieved_tokens()
    }

    fn check_retrieved_tokens(&self) -> Result<(), OptimizerError> {
        if self.retrieved_tokens.are_masked() {
            return Ok(());
        }
        let used = [
            ("correction", self.correction.is_some()),
            ("llds", self.llds.is_some()),
            ("self_distillation", self.self_distillation.is_some()),
        ];
        let Some((key, _)) = used.iter().find(|it| it.1) else { return Ok(()) };
        Err(OptimizerError::conflict(format!(
            "`algorithm.{key}` is of the tokens that the policy sampled, and is not used with \
             `algorithm.retrieved_tokens = \"train\"`, which trains others too"
        )))
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
