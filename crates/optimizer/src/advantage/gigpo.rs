//! `GiGPO` (arXiv 2505.10978): step-level advantages among turns that start in the same state.

use std::collections::BTreeMap;

use forage_trajectory::TokenId;
use serde::{Deserialize, Serialize};

use super::episode::{Episode, Inclusion};
use super::group;
use super::moments::SampleMoments;
use crate::error::OptimizerError;
use crate::ranges::{at_most_one, not_negative, positive};

/// Added to a standard deviation, as in GRPO.
const EPSILON: f64 = 1e-6;

/// `GiGPO`: the trajectory within its group, plus each turn among the turns from the same state.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gigpo {
    /// Discount factor γ of a turn, in [0, 1]. Default: 0.95, as in the released code.
    pub gamma: f64,
    /// Weight ω of the step-level advantage, above 0. Default: 1, as in the released code.
    pub step_weight: f64,
    /// Factor of the step rewards, 0 or more. Default: 1, where a reward gives searches a value;
    /// a key that is written needs such a reward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_scale: Option<f64>,
    /// Divisor of both advantages. Default: `none`, as in the released code.
    pub scale: GigpoScale,
}

impl Default for Gigpo {
    fn default() -> Self {
        Self { gamma: 0.95, step_weight: 1.0, step_scale: None, scale: GigpoScale::default() }
    }
}

impl Gigpo {
    pub(super) fn check(&self) -> Result<(), OptimizerError> {
        at_most_one("algorithm.advantage.gamma", self.gamma)?;
        positive("algorithm.advantage.step_weight", self.step_weight)?;
        self.step_scale
            .map_or(Ok(()), |scale| not_negative("algorithm.advantage.step_scale", scale))
    }
}

/// Divisor of a difference from the mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GigpoScale {
    /// 1.
    #[default]
    None,
    /// The unbiased standard deviation, plus 1e-6.
    Deviation,
}

impl GigpoScale {
    fn divisor(self, moments: &SampleMoments) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Deviation => moments.variance.sqrt() + EPSILON,
        }
    }
}

/// A question and the tokens of the last observation.
type State<'a> = (usize, &'a [TokenId]);

/// Discounted return of each turn, `R_t = r_t + γ R_{t+1}` (equation 5), where `r_t` is the sum of
/// the rewards on the turn's tokens. One number for each turn of the episode.
pub fn step_returns(episode: &Episode, gamma: f64) -> Vec<f64> {
    let mut returns: Vec<f64> = episode
        .turns
        .iter()
        .map(|turn| episode.rewards[turn.positions.clone()].iter().sum::<f64>())
        .collect();
    for at in (1..returns.len()).rev() {
        returns[at - 1] += gamma * returns[at];
    }
    returns
}

/// Step-level groups (equation 6): the turns of a batch that share question and state, each turn as
/// (episode, turn); sorted by question and state. Failed episodes are in none.
pub fn state_groups(episodes: &[Episode]) -> Vec<Vec<(usize, usize)>> {
    let mut groups: BTreeMap<State<'_>, Vec<(usize, usize)>> = BTreeMap::new();
    for (idx, episode) in episodes.iter().enumerate() {
        if episode.inclusion == Inclusion::Failed {
            continue;
        }
        for (turn_idx, turn) in episode.turns.iter().enumerate() {
            groups.entry((episode.group, &turn.state)).or_default().push((idx, turn_idx));
        }
    }
    groups.into_values().collect()
}

/// A = A^E + ω A^S (equation 8): the trajectory within its group, and the turn within its
/// step-level group, both as (x - mean) / (1 or standard deviation). One row for each episode, with
/// one number for each position.
///
/// The A^S of a turn that is alone in its state is 0, and so is the A^E of a trajectory that is
/// alone in its group. Departure from the released code: its A^E takes mean and deviation over
/// turns by default, so that long trajectories count more often: here they are taken over
/// trajectories, as in equation 3.
pub(super) fn advantages(options: &Gigpo, episodes: &[Episode]) -> Vec<Vec<f64>> {
    let mut advantages = episode_advantages(options.scale, episodes);
    let returns: Vec<Vec<f64>> = episodes
        .iter()
        .map(|episode| match episode.inclusion {
            Inclusion::Failed => Vec::new(),
            Inclusion::Trained | Inclusion::OverLength => step_returns(episode, options.gamma),
        })
        .collect();
    for turns in state_groups(episodes) {
        let moments =
            SampleMoments::of(turns.iter().map(|&(episode, turn)| returns[episode][turn]));
        for (episode, turn) in turns {
            let divisor = options.scale.divisor(&moments);
            let advantage = (returns[episode][turn] - moments.mean) / divisor;
            for position in episodes[episode].turns[turn].positions.clone() {
                advantages[episode][position] += options.step_weight * advantage;
            }
        }
    }
    advantages
}

/// A^E at each position (equation 3).
fn episode_advantages(scale: GigpoScale, episodes: &[Episode]) -> Vec<Vec<f64>> {
    let mut advantages: Vec<Vec<f64>> =
        episodes.iter().map(|episode| vec![0.0; episode.policy.len()]).collect();
    for members in group::members(episodes) {
        let scores = members.iter().filter_map(|&member| episodes[member].score());
        let moments = SampleMoments::of(scores);
        for member in members {
            let Some(score) = episodes[member].score() else { continue };
            advantages[member].fill((score - moments.mean) / scale.divisor(&moments));
        }
    }
    advantages
}
