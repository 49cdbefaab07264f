//! The advantage estimators by name, each with its options.

use serde::{Deserialize, Serialize};

use super::gae::{Gae, GaeObservations, StepGae};
use super::gigpo::Gigpo;
use super::group::{DrGrpo, Grpo, Rloo};
use super::reinforce_plus_plus::{ReinforcePlusPlus, ReinforcePlusPlusBaseline};
use crate::error::OptimizerError;
use crate::named_algorithm::named_algorithm;

/// Advantage estimator: `algorithm.advantage` of a run file.
///
/// A key that the named estimator does not have is an error. docs/algorithms.md compares the
/// estimators with those of verl and TRL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", remote = "Self")]
pub enum AdvantageEstimator {
    /// GRPO: the score, normalized within its group.
    Grpo(Grpo),
    /// Dr.GRPO: the score minus the mean of its group.
    DrGrpo(DrGrpo),
    /// RLOO: the score minus the mean of the other scores of its group.
    Rloo(Rloo),
    /// REINFORCE++: the discounted return of each token, whitened over the batch.
    ReinforcePlusPlus(ReinforcePlusPlus),
    /// REINFORCE++-baseline: the score minus the mean of its group, whitened over the batch.
    ReinforcePlusPlusBaseline(ReinforcePlusPlusBaseline),
    /// GAE with a critic, whitened over the batch.
    Gae(Gae),
    /// GAE with a reward for each search (StepSearch).
    StepGae(StepGae),
    /// `GiGPO`: the trajectory within its group, plus each turn among the turns from its state.
    Gigpo(Gigpo),
}

named_algorithm!(AdvantageEstimator, "algorithm.advantage");

impl AdvantageEstimator {
    /// Whether the estimator needs the values of a critic.
    pub fn needs_critic(&self) -> bool {
        match self {
            Self::Gae(_) | Self::StepGae(_) => true,
            Self::Grpo(_)
            | Self::DrGrpo(_)
            | Self::Rloo(_)
            | Self::ReinforcePlusPlus(_)
            | Self::ReinforcePlusPlusBaseline(_)
            | Self::Gigpo(_) => false,
        }
    }

    /// Factor of the step rewards, the values that a reward gives to searches; `None` for
    /// estimators that do not use them.
    pub fn step_scale(&self) -> Option<f64> {
        match self {
            Self::StepGae(options) => Some(options.step_scale),
            Self::Gigpo(options) => Some(options.step_scale.unwrap_or(1.0)),
            Self::Grpo(_)
            | Self::DrGrpo(_)
            | Self::Rloo(_)
            | Self::ReinforcePlusPlus(_)
            | Self::ReinforcePlusPlusBaseline(_)
            | Self::Gae(_) => None,
        }
    }

    /// Positions over which advantages are whitened; `None` for estimators that do not whiten.
    pub(super) fn whitening(&self) -> Option<GaeObservations> {
        match self {
            Self::ReinforcePlusPlus(_) | Self::ReinforcePlusPlusBaseline(_) => {
                Some(GaeObservations::Skip)
            }
            Self::Gae(options) => Some(options.observations),
            Self::StepGae(options) => Some(options.observations),
            Self::Grpo(_) | Self::DrGrpo(_) | Self::Rloo(_) | Self::Gigpo(_) => None,
        }
    }

    /// Checks the ranges of the options.
    pub(crate) fn check(&self) -> Result<(), OptimizerError> {
        match self {
            Self::ReinforcePlusPlus(options) => options.check(),
            Self::Gae(options) => options.check(),
            Self::StepGae(options) => options.check(),
            Self::Gigpo(options) => options.check(),
            // Any of their values is valid.
            Self::Grpo(_)
            | Self::DrGrpo(_)
            | Self::Rloo(_)
            | Self::ReinforcePlusPlusBaseline(_) => Ok(()),
        }
    }
}
