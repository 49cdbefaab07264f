//! `GiGPO` (arXiv 2505.10978): credit for a turn among turns that were taken from the same state.

use std::collections::BTreeMap;

use forage_trajectory::TokenId;

use super::{Episode, Moments, Scale, Standing, group};

/// Added to a deviation, as in GRPO.
const EPSILON: f64 = 1e-6;

/// A state is what was read last about a question.
type State<'a> = (usize, &'a [TokenId]);

/// The return from each turn on, `R_t = r_t + γ R_{t+1}` (equation 5), where `r_t` is the sum of the
/// rewards on the turn's tokens.
pub fn step_returns(episode: &Episode, gamma: f64) -> Vec<f64> {
    let mut returns: Vec<f64> = episode
        .turns
        .iter()
        .map(|it| episode.rewards[it.positions.clone()].iter().sum::<f64>())
        .collect();
    for at in (1..returns.len()).rev() {
        returns[at - 1] += gamma * returns[at];
    }
    returns
}

/// The turns of a batch that share question and state (equation 6), each as (episode, turn); in
/// order of question and state. Failed episodes have none.
pub fn state_groups(episodes: &[Episode]) -> Vec<Vec<(usize, usize)>> {
    let mut groups: BTreeMap<State<'_>, Vec<(usize, usize)>> = BTreeMap::new();
    for (idx, episode) in episodes.iter().enumerate() {
        if episode.standing == Standing::Failed {
            continue;
        }
        for (turn_idx, turn) in episode.turns.iter().enumerate() {
            groups.entry((episode.group, &turn.state)).or_default().push((idx, turn_idx));
        }
    }
    groups.into_values().collect()
}

/// A = A^E + ω A^S (equation 8): the trajectory among those of its question, and the turn among
/// those from its state, both (x - mean) / (1 or std).
///
/// A state that was met once says nothing of its turn, whose A^S is 0. Departure from the released
/// code, whose A^E takes mean and deviation over turns by default, so that long trajectories count
/// more often: here over trajectories, as equation 3 does. A trajectory that is alone in its group
/// has A^E = 0.
pub(super) fn advantages(
    episodes: &[Episode],
    gamma: f64,
    step_weight: f64,
    scale: Scale,
) -> Vec<Vec<f64>> {
    let divisor = |moments: &Moments| match scale {
        Scale::None => 1.0,
        Scale::Deviation => moments.variance.sqrt() + EPSILON,
    };
    let mut advantages: Vec<Vec<f64>> =
        episodes.iter().map(|it| vec![0.0; it.policy.len()]).collect();
    for members in group::members(episodes) {
        let scores = members.iter().filter_map(|&it| episodes[it].score());
        let moments = Moments::of(scores);
        for member in members {
            let Some(score) = episodes[member].score() else { continue };
            advantages[member].fill((score - moments.mean) / divisor(&moments));
        }
    }
    let returns = super::each(episodes, |it| step_returns(it, gamma));
    for turns in state_groups(episodes) {
        let moments = Moments::of(turns.iter().map(|&(episode, turn)| returns[episode][turn]));
        for (episode, turn) in turns {
            let advantage = (returns[episode][turn] - moments.mean) / divisor(&moments);
            for position in episodes[episode].turns[turn].positions.clone() {
                advantages[episode][position] += step_weight * advantage;
            }
        }
    }
    advantages
}
