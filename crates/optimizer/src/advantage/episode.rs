//! Episode: a trajectory in numbers, the input of the advantage estimators.

use std::ops::Range;

use forage_trajectory::{Grade, Origin, Outcome, TokenId, Trajectory};

use crate::error::OptimizerError;

/// Inclusion of a trajectory in the statistics of its group and batch, and in the loss. Default:
/// in both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Inclusion {
    /// In the statistics and in the loss.
    #[default]
    Trained,
    /// Over-length: in the statistics, not in the loss.
    OverLength,
    /// In neither: the infrastructure or the reward failed, or the reward does not apply.
    Failed,
}

/// Turn of an episode: the policy's tokens between two observations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpisodeTurn {
    /// Positions of its tokens.
    pub positions: Range<usize>,
    /// Tokens of the observation before it; empty for the first turn. Turns of one question with
    /// the same tokens here start in the same state.
    pub state: Vec<TokenId>,
}

/// Trajectory in numbers. Positions are counted from the first token after the prompt, and all
/// fields with one entry for each position have the same length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Episode {
    /// Number of the group; trajectories of one question share it.
    pub group: usize,
    /// Policy mask: for each position, whether the policy wrote the token.
    pub policy: Vec<bool>,
    /// Reward at each position; 0 at the environment's tokens.
    pub rewards: Vec<f64>,
    /// Value of the critic at each position; empty for estimators without a critic.
    pub values: Vec<f64>,
    /// Turns in order; used by `GiGPO` only.
    pub turns: Vec<EpisodeTurn>,
    /// Inclusion in statistics and loss.
    pub inclusion: Inclusion,
}

impl Episode {
    /// Episode of a graded trajectory, without values of a critic.
    ///
    /// The reward is on the last policy token. `step_scale` is the factor of the step rewards
    /// ([`AdvantageEstimator::step_scale`](super::AdvantageEstimator::step_scale)): the value of
    /// each executed search is on the last token of its `</search>` (StepSearch, arXiv 2505.15107;
    /// its released code has the factor 1.6 where the paper has 1). `None` leaves the step rewards
    /// out. Only executed searches have one: a malformed tag, or an information block that the
    /// policy wrote itself, has none.
    ///
    /// The inclusion is [`Inclusion::Failed`] for a failed trajectory or one without a score, and
    /// [`Inclusion::Trained`] otherwise: see [`Episode::without_over_length`].
    ///
    /// # Errors
    ///
    /// Where the grade has values of searches, but not one for each executed search.
    pub fn of(
        trajectory: &Trajectory,
        grade: &Grade,
        group: usize,
        step_scale: Option<f64>,
    ) -> Result<Self, OptimizerError> {
        let segments = &trajectory.segments;
        let start = trajectory.n_prompt_tokens();
        let policy = trajectory.policy_mask().split_off(start);
        let turns = turns(trajectory, start);
        let Grade::Scored(score) = grade else {
            let rewards = vec![0.0; policy.len()];
            let inclusion = Inclusion::Failed;
            return Ok(Self { group, policy, rewards, turns, inclusion, ..Self::default() });
        };
        let mut steps = Vec::new();
        if let Some(scale) = step_scale.filter(|_| !score.steps.is_empty()) {
            if score.steps.len() != trajectory.searches.len() {
                let (values, searches) = (score.steps.len(), trajectory.searches.len());
                let problem = format!("has {values} step rewards for {searches} executed searches");
                return Err(OptimizerError::batch(trajectory.member, problem));
            }
            steps.extend(trajectory.searches.iter().zip(&score.steps).map(|(search, value)| {
                (segments[search.segment].tokens.end - 1 - start, scale * value)
            }));
        }
        let rewards = place_rewards(&policy, score.reward, &steps);
        let inclusion = if trajectory.failed() { Inclusion::Failed } else { Inclusion::Trained };
        Ok(Self { group, policy, rewards, turns, inclusion, ..Self::default() })
    }

    /// The same episode without masking of retrieved tokens (the ablation of Search-R1, arXiv
    /// 2503.09516): every position counts as the policy's, and rewards stay where they are.
    #[must_use]
    pub fn with_observations(mut self) -> Self {
        self.policy.fill(true);
        self
    }

    /// Overlong filtering (DAPO, arXiv 2503.14476; E-GRPO, arXiv 2510.24694): the same episode,
    /// excluded from the loss if the trajectory spent its budget of tokens or turns.
    #[must_use]
    pub fn without_over_length(mut self, outcome: &Outcome) -> Self {
        let spent = matches!(outcome, Outcome::OverLength | Outcome::OutOfTurns);
        if spent && self.inclusion == Inclusion::Trained {
            self.inclusion = Inclusion::OverLength;
        }
        self
    }

    /// KL penalty in the reward, by the k1 estimate, at each policy token:
    /// `r_t - β (log π_old - log π_ref)` (Search-R1 with PPO, arXiv 2503.09516; β = 0.001).
    ///
    /// `coefficient` is β. `old` and `reference`: log-probabilities under the two policies, one for
    /// each policy token, in order.
    #[must_use]
    pub fn penalized(mut self, coefficient: f64, old: &[f32], reference: &[f32]) -> Self {
        let positions = (0..self.policy.len()).filter(|&position| self.policy[position]);
        for ((position, old), reference) in positions.zip(old).zip(reference) {
            self.rewards[position] -= coefficient * (f64::from(*old) - f64::from(*reference));
        }
        self
    }

    /// Score of the trajectory, the sum of its rewards; `None` if it failed.
    pub fn score(&self) -> Option<f64> {
        (self.inclusion != Inclusion::Failed).then(|| self.rewards.iter().sum())
    }

    pub(super) fn check(&self, idx: usize, needs_critic: bool) -> Result<(), OptimizerError> {
        let wrong = |problem: String| Err(OptimizerError::batch(idx, problem));
        let n = self.policy.len();
        if self.rewards.len() != n {
            return wrong(format!("has {n} positions, but {} rewards", self.rewards.len()));
        }
        if self.values.len() != if needs_critic { n } else { 0 } {
            let values = self.values.len();
            return wrong(if needs_critic {
                format!("has {n} positions, but {values} values of a critic")
            } else {
                format!("has {values} values of a critic, which the estimator does not use")
            });
        }
        if let Some(turn) = self.turns.iter().find(|turn| turn.positions.end > n) {
            return wrong(format!(
                "has {n} positions, but a turn that ends at {:?}",
                turn.positions
            ));
        }
        for (position, (reward, policy)) in self.rewards.iter().zip(&self.policy).enumerate() {
            if !reward.is_finite() {
                return wrong(format!("has the reward {reward} at position {position}"));
            }
            if !policy && *reward != 0.0 {
                return wrong(format!(
                    "has a reward at position {position}, which the environment wrote"
                ));
            }
        }
        if let Some(value) = self.values.iter().find(|it| !it.is_finite()) {
            return wrong(format!("has the value {value} of a critic"));
        }
        Ok(())
    }
}

/// Reward at each position: the outcome reward on the last policy token, and each step reward of
/// `steps`, as (position, value), on its position. Without policy tokens, there is no position for
/// the outcome reward.
pub fn place_rewards(policy: &[bool], outcome: f64, steps: &[(usize, f64)]) -> Vec<f64> {
    let mut rewards = vec![0.0; policy.len()];
    if let Some(last) = policy.iter().rposition(|it| *it) {
        rewards[last] = outcome;
    }
    for &(position, value) in steps {
        rewards[position] += value;
    }
    rewards
}

/// Turns of a trajectory: runs of policy segments, each with the tokens of the observation before.
fn turns(trajectory: &Trajectory, start: usize) -> Vec<EpisodeTurn> {
    let mut turns: Vec<EpisodeTurn> = Vec::new();
    let mut state = Vec::new();
    let mut in_turn = false;
    for segment in &trajectory.segments {
        match segment.origin {
            Origin::Prompt => {}
            Origin::Environment => {
                if in_turn {
                    state = Vec::new();
                }
                state.extend_from_slice(&trajectory.tokens[segment.tokens.clone()]);
                in_turn = false;
            }
            Origin::Policy => {
                let end = segment.tokens.end - start;
                match turns.last_mut() {
                    Some(turn) if in_turn => turn.positions.end = end,
                    _ => turns.push(EpisodeTurn {
                        positions: segment.tokens.start - start..end,
                        state: state.clone(),
                    }),
                }
                in_turn = true;
            }
        }
    }
    turns
}
