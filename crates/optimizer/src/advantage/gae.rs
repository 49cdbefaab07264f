//! Generalized advantage estimation, with a reward at the end (PPO) or for each search
//! (StepSearch).

use serde::{Deserialize, Serialize};

use crate::error::OptimizerError;
use crate::ranges::{at_most_one, not_negative};

/// GAE (arXiv 1506.02438) with a critic, whitened over the batch: see [`gae`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gae {
    /// Discount factor γ of a token, in [0, 1]. Default: 1.
    pub gamma: f64,
    /// λ, the decay of the temporal differences, in [0, 1]. Default: 1.
    pub lambda: f64,
    /// Tokens of observations. Default: `skip`.
    pub observations: GaeObservations,
}

impl Default for Gae {
    fn default() -> Self {
        Self { gamma: 1.0, lambda: 1.0, observations: GaeObservations::default() }
    }
}

impl Gae {
    pub(super) fn check(&self) -> Result<(), OptimizerError> {
        at_most_one("algorithm.advantage.gamma", self.gamma)?;
        at_most_one("algorithm.advantage.lambda", self.lambda)
    }
}

/// GAE with step rewards (StepSearch, arXiv 2505.15107): the value of each executed search is a
/// reward on the last token of its `</search>`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepGae {
    /// Discount factor γ of a token, in [0, 1]. Default: 1.
    pub gamma: f64,
    /// λ, the decay of the temporal differences, in [0, 1]. Default: 1.
    pub lambda: f64,
    /// Tokens of observations. Default: `skip`.
    pub observations: GaeObservations,
    /// Factor of the step rewards, 0 or more. Default: 1, as in the paper. Its released code means
    /// 0.6, but adds the scaled reward to one that it has already written, which makes 1.6.
    pub step_scale: f64,
}

impl Default for StepGae {
    fn default() -> Self {
        let Gae { gamma, lambda, observations } = Gae::default();
        Self { gamma, lambda, observations, step_scale: 1.0 }
    }
}

impl StepGae {
    pub(super) fn check(&self) -> Result<(), OptimizerError> {
        let Self { gamma, lambda, observations, step_scale } = *self;
        Gae { gamma, lambda, observations }.check()?;
        not_negative("algorithm.advantage.step_scale", step_scale)
    }
}

/// Treatment of observation tokens, those that the environment wrote, in GAE and its whitening.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GaeObservations {
    /// The recursion steps over them, and they are in no statistic (verl 0.9).
    #[default]
    Skip,
    /// Each of them is a step with a value, and counts in mean and variance (Search-R1's code).
    Include,
}

/// Generalized advantage estimation (arXiv 1506.02438, equation 16).
///
/// `δ_t = r_t + γ V_{t+1} - V_t` and `A_t = δ_t + γλ A_{t+1}`, from the last position backwards.
///
/// `rewards`, `values` and `policy` (true at the policy's tokens) have one entry for each position;
/// `discount` is [γ, λ]. With [`GaeObservations::Skip`], as in verl 0.9, the recursion steps over
/// the environment's tokens, where the result is 0. With [`GaeObservations::Include`], as in
/// Search-R1's code (an older verl), every position is a step.
///
/// The result is not whitened; [`estimate_advantages`](super::estimate_advantages) whitens it over
/// the batch. StepSearch (arXiv 2505.15107) uses the same function on rewards with step rewards
/// among them, as [`place_rewards`](super::place_rewards) makes them.
pub fn gae(
    rewards: &[f64],
    values: &[f64],
    policy: &[bool],
    discount: [f64; 2],
    observations: GaeObservations,
) -> Vec<f64> {
    let [gamma, lambda] = discount;
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for at in (0..rewards.len()).rev() {
        if observations == GaeObservations::Skip && !policy[at] {
            continue;
        }
        let delta = rewards[at] + gamma * next_value - values[at];
        next_advantage = delta + gamma * lambda * next_advantage;
        next_value = values[at];
        advantages[at] = next_advantage;
    }
    advantages
}
