//! A trajectory in numbers, as the estimators see it.

use std::ops::Range;

use forage_trajectory::{Grade, Origin, Outcome, TokenId, Trajectory};

use crate::OptimizerError;

/// Whether a trajectory counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// In the statistics and in the loss.
    #[default]
    Trained,
    /// In the statistics, not in the loss.
    OverLength,
    /// In neither: the infrastructure or the reward failed, or it does not apply.
    Failed,
}

/// What the policy wrote between two observations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// Its positions.
    pub positions: Range<usize>,
    /// The tokens that it answered: the observation before it, empty for the first turn. Turns of
    /// one question with the same tokens here are turns from the same state.
    pub state: Vec<TokenId>,
}

/// One trajectory. Positions are counted from the first token after the prompt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Episode {
    /// Which group it belongs to: trajectories of one question share a number.
    pub group: usize,
    /// For each position, whether the policy wrote it.
    pub policy: Vec<bool>,
    /// For each position, the reward that falls there; 0 where the environment wrote.
    pub rewards: Vec<f64>,
    /// For each position, the critic's value; empty where there is no critic.
    pub values: Vec<f64>,
    /// The turns in order; used by `GiGPO` only.
    pub turns: Vec<Turn>,
    /// Whether it counts.
    pub standing: Standing,
}

impl Episode {
    /// The numbers of a graded trajectory, without values.
    ///
    /// `step_scale` multiplies the value of each executed search, which falls on the last token of
    /// its `</search>` (StepSearch, arXiv 2505.15107; its released code has 1.6 where the paper has
    /// 1); `None` leaves the values out ([`Advantage::step_scale`](super::Advantage::step_scale)).
    /// Only searches that were executed count: a malformed tag, or an information block that the
    /// policy wrote itself, has no value to place. The reward falls on the last policy token.
    ///
    /// Its standing is [`Standing::Failed`] where there is no score, and [`Standing::Trained`]
    /// otherwise: see [`Episode::without_over_length`].
    ///
    /// # Errors
    ///
    /// Where the grade has values, but not one for each executed search.
    pub fn of(
        trajectory: &Trajectory,
        grade: &Grade,
        group: usize,
        step_scale: Option<f64>,
    ) -> Result<Self, OptimizerError> {
        let segments = &trajectory.segments;
        let prompt = segments.iter().take_while(|it| it.origin == Origin::Prompt);
        let start = prompt.last().map_or(0, |it| it.tokens.end);
        let policy = trajectory.policy_mask().split_off(start);
        let turns = turns(trajectory, start);
        let Grade::Scored(score) = grade else {
            let rewards = vec![0.0; policy.len()];
            let standing = Standing::Failed;
            return Ok(Self { group, policy, rewards, turns, standing, ..Self::default() });
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
        let standing = if trajectory.failed() { Standing::Failed } else { Standing::Trained };
        Ok(Self { group, policy, rewards, turns, standing, ..Self::default() })
    }

    /// The same episode, not in the loss where a budget of tokens or turns was spent (DAPO,
    /// arXiv 2503.14476; E-GRPO, arXiv 2510.24694).
    #[must_use]
    pub fn without_over_length(mut self, outcome: &Outcome) -> Self {
        let spent = matches!(outcome, Outcome::OverLength | Outcome::OutOfTurns);
        if spent && self.standing == Standing::Trained {
            self.standing = Standing::OverLength;
        }
        self
    }

    /// Pays for distance from a reference policy with the k1 estimate, on each policy token:
    /// `r_t - β (log π_old - log π_ref)` (Search-R1 with PPO, arXiv 2503.09516; β = 0.001).
    ///
    /// `old` and `reference` have one entry a policy token, in order.
    #[must_use]
    pub fn penalized(mut self, coefficient: f64, old: &[f32], reference: &[f32]) -> Self {
        let positions = (0..self.policy.len()).filter(|&it| self.policy[it]);
        for ((position, old), reference) in positions.zip(old).zip(reference) {
            self.rewards[position] -= coefficient * (f64::from(*old) - f64::from(*reference));
        }
        self
    }

    /// The sum of its rewards; `None` where it failed.
    pub fn score(&self) -> Option<f64> {
        (self.standing != Standing::Failed).then(|| self.rewards.iter().sum())
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
        if let Some(turn) = self.turns.iter().find(|it| it.positions.end > n) {
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

/// One reward a position: the outcome's on the last position of the policy, and each step's where
/// it says. A trajectory without policy tokens has nowhere to put the outcome's.
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

/// Runs of policy segments, each with the tokens of the observation before it.
fn turns(trajectory: &Trajectory, start: usize) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
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
                    _ => turns.push(Turn {
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
