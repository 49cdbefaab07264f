//! Advantage estimation.
//!
//! An [`Episode`] is a trajectory in numbers, an [`AdvantageEstimate`] its advantages and returns,
//! and [`AdvantageEstimator`] the estimator, chosen by name. [`estimate_advantages`] is the entry
//! point; each estimator is also a pure function of its own. It is given the whole batch of a step,
//! since some estimators whiten over the batch; the loss may then be taken in any micro-batches.
//!
//! Three rules hold for all estimators. A trajectory that the infrastructure failed
//! ([`Inclusion::Failed`]) is in no statistic and not in the loss. An over-length one
//! ([`Inclusion::OverLength`]) is in the statistics and not in the loss (DAPO, arXiv 2503.14476;
//! E-GRPO, arXiv 2510.24694). Tokens of the environment have advantage 0.

mod episode;
mod estimator;
mod gae;
mod gigpo;
mod group;
mod moments;
mod reinforce_plus_plus;

pub use episode::{Episode, EpisodeTurn, Inclusion, place_rewards};
pub use estimator::AdvantageEstimator;
pub use gae::{Gae, GaeObservations, StepGae, gae};
pub use gigpo::{Gigpo, GigpoScale, state_groups, step_returns};
pub use group::{DrGrpo, GroupConvention, Grpo, Rloo, dr_grpo, grpo, rloo};
pub use moments::SampleMoments;
pub use reinforce_plus_plus::{ReinforcePlusPlus, ReinforcePlusPlusBaseline, discounted_returns};

use crate::error::OptimizerError;

/// Advantages and returns of one trajectory.
#[derive(Debug, Clone, PartialEq)]
pub struct AdvantageEstimate {
    /// Advantage at each position of the episode; 0 at the environment's tokens.
    pub advantages: Vec<f64>,
    /// Return at each position, the target of a critic. For estimators without a critic, the
    /// advantages before whitening.
    pub returns: Vec<f64>,
    /// Whether the trajectory is in the loss and its normalizer.
    pub trained: bool,
}

impl AdvantageEstimate {
    /// Advantages of the policy's tokens, in order: those of the trained tokens.
    pub fn of_policy(&self, episode: &Episode) -> Vec<f32> {
        let positions = self.advantages.iter().zip(&episode.policy);
        positions.filter(|(_, policy)| **policy).map(|(advantage, _)| *advantage as f32).collect()
    }
}

/// Advantages of a whole batch, in the order of its episodes.
///
/// # Errors
///
/// Where the numbers of an episode do not fit each other, a reward is not finite, or the values of
/// a critic are missing or not used.
pub fn estimate_advantages(
    estimator: &AdvantageEstimator,
    episodes: &[Episode],
) -> Result<Vec<AdvantageEstimate>, OptimizerError> {
    for (idx, episode) in episodes.iter().enumerate() {
        if episode.inclusion != Inclusion::Failed {
            episode.check(idx, estimator.needs_critic())?;
        }
    }
    let raw = raw_advantages(estimator, episodes);
    let whitened = match estimator.whitening() {
        Some(observations) => whiten(&raw, episodes, observations),
        None => raw.clone(),
    };
    let estimates = whitened.into_iter().zip(raw).zip(episodes);
    Ok(estimates
        .map(|((mut advantages, raw), episode)| {
            let trained = episode.inclusion == Inclusion::Trained;
            let returns = if estimator.needs_critic() && episode.inclusion != Inclusion::Failed {
                raw.iter().zip(&episode.values).map(|(raw, value)| raw + value).collect()
            } else {
                raw
            };
            for (advantage, policy) in advantages.iter_mut().zip(&episode.policy) {
                if !policy {
                    *advantage = 0.0;
                }
            }
            AdvantageEstimate { advantages, returns, trained }
        })
        .collect())
}

/// Advantages before whitening: one row for each episode, with one number for each position.
fn raw_advantages(estimator: &AdvantageEstimator, episodes: &[Episode]) -> Vec<Vec<f64>> {
    use AdvantageEstimator as Estimator;
    let by_group = |of_group: fn(&[Option<f64>], GroupConvention) -> _, convention| {
        per_group(episodes, |scores| of_group(scores, convention))
    };
    let by_gae = |discount, observations| {
        per_episode(episodes, |episode| {
            gae(&episode.rewards, &episode.values, &episode.policy, discount, observations)
        })
    };
    match estimator {
        Estimator::Grpo(options) => by_group(grpo, options.convention),
        Estimator::DrGrpo(options) => by_group(dr_grpo, options.convention),
        Estimator::Rloo(options) => by_group(rloo, options.convention),
        Estimator::ReinforcePlusPlusBaseline(options) => by_group(dr_grpo, options.convention),
        Estimator::ReinforcePlusPlus(options) => per_episode(episodes, |episode| {
            discounted_returns(&episode.rewards, &episode.policy, options.gamma)
        }),
        Estimator::Gae(options) => by_gae([options.gamma, options.lambda], options.observations),
        Estimator::StepGae(options) => {
            by_gae([options.gamma, options.lambda], options.observations)
        }
        Estimator::Gigpo(options) => gigpo::advantages(options, episodes),
    }
}

/// One number for each trajectory, from the scores of its group, at each of the policy's positions.
fn per_group(
    episodes: &[Episode],
    of_group: impl Fn(&[Option<f64>]) -> Vec<Option<f64>>,
) -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> =
        episodes.iter().map(|episode| vec![0.0; episode.policy.len()]).collect();
    for members in group::members(episodes) {
        let scores: Vec<Option<f64>> =
            members.iter().map(|&member| episodes[member].score()).collect();
        for (member, advantage) in members.into_iter().zip(of_group(&scores)) {
            for (position, policy) in episodes[member].policy.iter().enumerate() {
                if *policy {
                    rows[member][position] = advantage.unwrap_or(0.0);
                }
            }
        }
    }
    rows
}

/// A function of each trajectory by itself; zeros for a failed one.
fn per_episode(episodes: &[Episode], of_one: impl Fn(&Episode) -> Vec<f64>) -> Vec<Vec<f64>> {
    let row = |episode: &Episode| match episode.inclusion {
        Inclusion::Failed => vec![0.0; episode.policy.len()],
        Inclusion::Trained | Inclusion::OverLength => of_one(episode),
    };
    episodes.iter().map(row).collect()
}

/// Whitening: zero mean and unit variance over the positions of the batch that count.
fn whiten(raw: &[Vec<f64>], episodes: &[Episode], observations: GaeObservations) -> Vec<Vec<f64>> {
    let counts = |episode: &Episode, position: usize| {
        episode.inclusion != Inclusion::Failed
            && (observations == GaeObservations::Include || episode.policy[position])
    };
    let positions = raw.iter().zip(episodes).flat_map(|(raw, episode)| {
        let counted = raw.iter().enumerate().filter(move |(at, _)| counts(episode, *at));
        counted.map(|(_, advantage)| *advantage)
    });
    let moments = SampleMoments::of(positions);
    raw.iter()
        .zip(episodes)
        .map(|(raw, episode)| {
            let whitened = |(at, advantage): (usize, &f64)| {
                if counts(episode, at) { moments.whiten(*advantage) } else { 0.0 }
            };
            raw.iter().enumerate().map(whitened).collect()
        })
        .collect()
}
