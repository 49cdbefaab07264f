//! Training sample: a trajectory with what the loss needs at its trained tokens.

use forage_trajectory::{Origin, SegmentKind, TokenId, Trajectory};

use crate::micro_batch::ScoredTargets;
use crate::self_distillation::DistillationTarget;

/// Training sample: a sequence with the tokens that are trained. All but the first two fields are
/// for the policy loss, and have one entry a trained token where nothing else is said.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// All tokens.
    pub tokens: Vec<TokenId>,
    /// Positions of the trained tokens, each 1 or more.
    pub targets: Vec<usize>,
    /// Log-probabilities as they were sampled.
    pub rollout_logprobs: Vec<f32>,
    /// Old log-probabilities: the denominator of the importance ratio.
    pub old_logprobs: Vec<f32>,
    /// Log-probabilities under the reference policy; empty where there is none.
    pub reference_logprobs: Vec<f32>,
    /// Advantages, times the weights of the importance correction.
    pub advantages: Vec<f32>,
    /// Trained tokens of each action: what was written between two observations.
    pub actions: Vec<usize>,
    /// Whether the token is of the final answer.
    pub answers: Vec<bool>,
    /// Target of self-distillation, where there is one.
    pub distillation: Option<DistillationTarget>,
}

impl Sample {
    /// Policy's tokens of a trajectory, all with one advantage.
    pub fn of_trajectory(trajectory: &Trajectory, advantage: f32) -> Self {
        Self::of_mask(trajectory, &trajectory.policy_mask(), advantage)
    }

    /// All tokens of a trajectory after its prompt, without masking of retrieved tokens. The
    /// environment's tokens were not sampled: their log-probabilities of the rollout are not a
    /// number, and their old ones are still to be computed.
    pub fn of_response(trajectory: &Trajectory) -> Self {
        let policy = trajectory.policy_mask();
        let prompt = trajectory.n_prompt_tokens();
        let mask: Vec<bool> = (0..policy.len()).map(|at| at >= prompt).collect();
        let mut sample = Self::of_mask(trajectory, &mask, 0.0);
        for (logprob, &at) in sample.rollout_logprobs.iter_mut().zip(&sample.targets) {
            if !policy[at] {
                *logprob = f32::NAN;
            }
        }
        sample
    }

    fn of_mask(trajectory: &Trajectory, mask: &[bool], advantage: f32) -> Self {
        let targets: Vec<usize> = (1..mask.len()).filter(|&at| mask[at]).collect();
        let logprobs: Vec<f32> = targets.iter().map(|&at| trajectory.logprobs[at]).collect();
        let mut actions: Vec<usize> = Vec::new();
        for (idx, &at) in targets.iter().enumerate() {
            match actions.last_mut() {
                Some(length) if targets[idx - 1] + 1 == at => *length += 1,
                _ => actions.push(1),
            }
        }
        let mut answer = vec![false; mask.len()];
        for segment in &trajectory.segments {
            if segment.origin == Origin::Policy && segment.kind == SegmentKind::Answer {
                answer[segment.tokens.clone()].fill(true);
            }
        }
        Self {
            tokens: trajectory.tokens.clone(),
            old_logprobs: logprobs.clone(),
            rollout_logprobs: logprobs,
            reference_logprobs: Vec::new(),
            advantages: vec![advantage; targets.len()],
            actions,
            answers: targets.iter().map(|&at| answer[at]).collect(),
            distillation: None,
            targets,
        }
    }

    /// Trained tokens, for a forward pass.
    pub fn scored_targets(&self) -> ScoredTargets<'_> {
        ScoredTargets { tokens: &self.tokens, at: &self.targets }
    }
}
