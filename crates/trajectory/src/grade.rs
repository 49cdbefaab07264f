//! Grades: scores of trajectories, or the reason why there is none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BoxError, Group};

/// Score of a trajectory: its reward, with named parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Reward: the number that advantages are computed from. Always finite.
    pub reward: f64,
    /// Named parts, which are logged as `reward/<plugin>/<part>` and not trained on.
    pub parts: BTreeMap<String, f64>,
    /// Step rewards: one value for each executed search, in order. Empty if there are none.
    pub steps: Vec<f64>,
}

/// Result of scoring a trajectory. A failure is a variant of its own and never becomes a 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Grade {
    /// The trajectory was scored.
    Scored(Score),
    /// The reward does not apply to this question.
    NotApplicable,
    /// The score could not be computed, with the reason. The trajectory is left out of the
    /// statistics of its group and out of the loss.
    Failed(String),
}

impl Grade {
    /// Reward of a scored trajectory; `None` for the other variants.
    pub fn reward(&self) -> Option<f64> {
        match self {
            Self::Scored(score) => Some(score.reward),
            Self::NotApplicable | Self::Failed(_) => None,
        }
    }
}

/// Grader: scores the trajectories of one question. Shared by many threads.
pub trait Grader: Send + Sync {
    /// One grade a trajectory, in their order, after `step` training steps.
    ///
    /// # Errors
    ///
    /// Where the rewards cannot go on. A trajectory that cannot be scored is [`Grade::Failed`].
    fn grade(&self, group: &Group, step: u64) -> Result<Vec<Grade>, BoxError>;

    /// Names of the rewards that a grade is made of. The parts of a score have the name of each
    /// reward that applies. Default: none.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
