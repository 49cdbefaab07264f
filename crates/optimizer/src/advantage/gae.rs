//! Returns and advantages along one trajectory.

use super::Observations;

/// Generalized advantage estimation (arXiv 1506.02438, equation 16) with a critic.
///
/// `δ_t = r_t + γ V_{t+1} - V_t` and `A_t = δ_t + γλ A_{t+1}`, from the last position backwards.
/// `rewards`, `values` and `policy` have one entry a position, `discount` is [γ, λ]. With
/// [`Observations::Skip`], as verl 0.9 does, the recursion steps over what the environment wrote,
/// where the result is 0. With [`Observations::Include`], as Search-R1's code does (an older verl),
/// every position is a step of its own. Not whitened: [`estimate`](super::estimate) whitens over
/// the batch.
///
/// StepSearch (arXiv 2505.15107) uses the same function on rewards that
/// [`place_rewards`](super::place_rewards) put on the last token of each search.
pub fn gae(
    rewards: &[f64],
    values: &[f64],
    policy: &[bool],
    discount: [f64; 2],
    observations: Observations,
) -> Vec<f64> {
    let [gamma, lambda] = discount;
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for at in (0..rewards.len()).rev() {
        if observations == Observations::Skip && !policy[at] {
            continue;
        }
        let delta = rewards[at] + gamma * next_value - values[at];
        next_advantage = delta + gamma * lambda * next_advantage;
        next_value = values[at];
        advantages[at] = next_advantage;
    }
    advantages
}

/// REINFORCE++ (arXiv 2501.03262): the return from each token on, `G_t = r_t + γ G_{t+1}`, over the
/// policy's tokens; 0 elsewhere. A discount does not shrink over an observation, as in verl.
/// [`estimate`](super::estimate) whitens it over the batch, which is its only baseline.
pub fn discounted_returns(rewards: &[f64], policy: &[bool], gamma: f64) -> Vec<f64> {
    let mut returns = vec![0.0; rewards.len()];
    let mut running = 0.0;
    for at in (0..rewards.len()).rev().filter(|&at| policy[at]) {
        running = rewards[at] + gamma * running;
        returns[at] = running;
    }
    returns
}
