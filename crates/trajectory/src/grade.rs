//! What a reward says of a trajectory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A finite reward with its parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The number the optimizer sees; always finite.
    pub reward: f64,
    /// Named parts, for people: `reward/<plugin>/<part>`.
    pub parts: BTreeMap<String, f64>,
    /// A value for each executed search, in order; empty where the reward has none.
    pub steps: Vec<f64>,
}

/// A score, or why there is none. A failure never becomes a 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Grade {
    /// The trajectory has a score.
    Scored(Score),
    /// The reward does not apply to this question.
    NotApplicable,
    /// The reward could not be computed; the trajectory leaves group statistics and loss.
    Failed(String),
}

impl Grade {
    /// The reward, where there is one.
    pub fn reward(&self) -> Option<f64> {
        match self {
            Self::Scored(score) => Some(score.reward),
            Self::NotApplicable | Self::Failed(_) => None,
        }
    }
}
