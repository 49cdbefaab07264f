//! Advantages: how much better than expected each token of a batch went.
//!
//! An [`Episode`] is a trajectory in numbers, an [`Estimate`] what the loss needs of it, and
//! [`Advantage`] the estimator, chosen by name. [`estimate`] brings them together; every estimator
//! is also a pure function of its own. What an estimator sees is the whole batch of a step, since
//! some of them whiten over it; the loss may then be taken in any micro-batches.
//!
//! Three rules hold for all of them. A trajectory that the infrastructure failed
//! ([`Standing::Failed`]) is in no statistic and not in the loss. An over-length one
//! ([`Standing::OverLength`]) is in the statistics and not in the loss (DAPO, arXiv 2503.14476;
//! E-GRPO, arXiv 2510.24694). Tokens of the environment have advantage 0.

mod config;
mod episode;
mod gae;
mod gigpo;
mod group;
mod whiten;

pub use config::{Advantage, Convention, Observations, Scale};
pub use episode::{Episode, Standing, Turn, place_rewards};
pub use gae::{discounted_returns, gae};
pub use gigpo::{state_groups, step_returns};
pub use group::{dr_grpo, grpo, rloo};
pub use whiten::Moments;

use crate::OptimizerError;

/// Advantages and returns of one trajectory.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// For each position of the episode; 0 where the environment wrote.
    pub advantages: Vec<f64>,
    /// For each position, what a critic should have said. For estimators without a critic, the
    /// advantages before whitening.
    pub returns: Vec<f64>,
    /// Whether the trajectory belongs to the loss and its normalizer.
    pub trained: bool,
}

impl Estimate {
    /// The advantages of the policy's tokens, in order: those of the trained tokens.
    pub fn of_policy(&self, episode: &Episode) -> Vec<f32> {
        let positions = self.advantages.iter().zip(&episode.policy);
        positions.filter(|(_, policy)| **policy).map(|(it, _)| *it as f32).collect()
    }
}

/// The estimates of a whole batch, in the order of its episodes.
///
/// # Errors
///
/// Where the numbers of an episode do not fit each other, a reward is not finite, or a critic's
/// values are missing or not used.
pub fn estimate(
    advantage: &Advantage,
    episodes: &[Episode],
) -> Result<Vec<Estimate>, OptimizerError> {
    for (idx, episode) in episodes.iter().enumerate() {
        if episode.standing != Standing::Failed {
            episode.check(idx, advantage.needs_critic())?;
        }
    }
    let raw = match *advantage {
        Advantage::Grpo { convention } => spread(episodes, |it| grpo(it, convention)),
        Advantage::DrGrpo { convention } => spread(episodes, |it| dr_grpo(it, convention)),
        Advantage::Rloo { convention } => spread(episodes, |it| rloo(it, convention)),
        Advantage::ReinforcePlusPlusBaseline { convention } => {
            spread(episodes, |it| dr_grpo(it, convention))
        }
        Advantage::ReinforcePlusPlus { gamma } => {
            each(episodes, |it| discounted_returns(&it.rewards, &it.policy, gamma))
        }
        Advantage::Gae { gamma, lambda, observations }
        | Advantage::StepGae { gamma, lambda, observations, .. } => each(episodes, |it| {
            gae(&it.rewards, &it.values, &it.policy, [gamma, lambda], observations)
        }),
        Advantage::Gigpo { gamma, step_weight, scale, .. } => {
            gigpo::advantages(episodes, gamma, step_weight, scale)
        }
    };
    let whitened = match *advantage {
        Advantage::ReinforcePlusPlus { .. } | Advantage::ReinforcePlusPlusBaseline { .. } => {
            whiten(&raw, episodes, Observations::Skip)
        }
        Advantage::Gae { observations, .. } | Advantage::StepGae { observations, .. } => {
            whiten(&raw, episodes, observations)
        }
        _ => raw.clone(),
    };
    let estimates = whitened.into_iter().zip(raw).zip(episodes);
    Ok(estimates
        .map(|((mut advantages, raw), episode)| {
            let returns = if advantage.needs_critic() && episode.standing != Standing::Failed {
                raw.iter().zip(&episode.values).map(|(raw, value)| raw + value).collect()
            } else {
                raw
            };
            for (advantage, policy) in advantages.iter_mut().zip(&episode.policy) {
                if !policy {
                    *advantage = 0.0;
                }
            }
            Estimate { advantages, returns, trained: episode.standing == Standing::Trained }
        })
        .collect())
}

/// One number a trajectory, from the scores of its group, at each of the policy's positions.
fn spread(
    episodes: &[Episode],
    of_group: impl Fn(&[Option<f64>]) -> Vec<Option<f64>>,
) -> Vec<Vec<f64>> {
    let mut spread: Vec<Vec<f64>> = episodes.iter().map(|it| vec![0.0; it.policy.len()]).collect();
    for members in group::members(episodes) {
        let scores: Vec<Option<f64>> = members.iter().map(|&it| episodes[it].score()).collect();
        for (member, advantage) in members.into_iter().zip(of_group(&scores)) {
            for (position, policy) in episodes[member].policy.iter().enumerate() {
                if *policy {
                    spread[member][position] = advantage.unwrap_or(0.0);
                }
            }
        }
    }
    spread
}

/// A function of each trajectory by itself; zeros for a failed one.
fn each(episodes: &[Episode], of_one: impl Fn(&Episode) -> Vec<f64>) -> Vec<Vec<f64>> {
    let one = |it: &Episode| match it.standing {
        Standing::Failed => vec![0.0; it.policy.len()],
        Standing::Trained | Standing::OverLength => of_one(it),
    };
    episodes.iter().map(one).collect()
}

/// Zero mean and unit variance over the positions of the batch that count.
fn whiten(raw: &[Vec<f64>], episodes: &[Episode], observations: Observations) -> Vec<Vec<f64>> {
    let counts = |episode: &Episode, position: usize| {
        episode.standing != Standing::Failed
            && (observations == Observations::Include || episode.policy[position])
    };
    let positions = raw.iter().zip(episodes).flat_map(|(raw, episode)| {
        raw.iter().enumerate().filter(move |(at, _)| counts(episode, *at)).map(|(_, it)| *it)
    });
    let moments = Moments::of(positions);
    raw.iter()
        .zip(episodes)
        .map(|(raw, episode)| {
            let one = |(at, it): (usize, &f64)| {
                if counts(episode, at) { moments.whiten(*it) } else { 0.0 }
            };
            raw.iter().enumerate().map(one).collect()
        })
        .collect()
}
