//! REINFORCE++ and REINFORCE++-baseline (arXiv 2501.03262).

use serde::{Deserialize, Serialize};

use super::group::GroupConvention;
use crate::error::OptimizerError;
use crate::ranges::at_most_one;

/// REINFORCE++: [`discounted_returns`], whitened over the batch, which is its only baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReinforcePlusPlus {
    /// Discount factor γ of a token, in [0, 1]. Default: 1.
    pub gamma: f64,
}

impl Default for ReinforcePlusPlus {
    fn default() -> Self {
        Self { gamma: 1.0 }
    }
}

impl ReinforcePlusPlus {
    pub(super) fn check(self) -> Result<(), OptimizerError> {
        at_most_one("algorithm.advantage.gamma", self.gamma)
    }
}

/// REINFORCE++-baseline: the score minus the mean of its group, as
/// [`dr_grpo`](super::group::dr_grpo) has it, whitened over the policy tokens of the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReinforcePlusPlusBaseline {
    /// Advantage of a group of one. Default: `forage`.
    pub convention: GroupConvention,
}

/// Discounted return of each policy token, `G_t = r_t + γ G_{t+1}`; 0 at the environment's tokens.
///
/// `rewards` and `policy` (true at the policy's tokens) have one entry for each position. The
/// discount applies to policy tokens only, as in verl: an observation does not shrink a return.
/// [`estimate_advantages`](super::estimate_advantages) whitens the result over the batch.
pub fn discounted_returns(rewards: &[f64], policy: &[bool], gamma: f64) -> Vec<f64> {
    let mut returns = vec![0.0; rewards.len()];
    let mut running = 0.0;
    for at in (0..rewards.len()).rev().filter(|&at| policy[at]) {
        running = rewards[at] + gamma * running;
        returns[at] = running;
    }
    returns
}
