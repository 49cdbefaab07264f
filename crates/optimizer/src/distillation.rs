//! Self-distillation from hindsight: SD-Search (arXiv 2605.18299).
//!
//! The student is the policy on its trajectory. The teacher is the same policy with the same
//! weights, which also reads a hindsight block: the searches of all trajectories of the question,
//! and which of them led to the answer. The loss is the divergence of the two at the tokens of
//! queries. [`hindsight_block`] chooses the entries of the block, and [`distillation_loss`] is the
//! loss as a function of logits. The text of the block and the passes of the model are made
//! elsewhere.
//!
//! The paper was read through two sets of notes that agree; where they are silent, the choice is
//! ours, and the documentation says so.

mod divergence;
mod hindsight;

pub use divergence::{DistillationDivergence, divergence};
pub use hindsight::{
    HindsightConfig, HindsightContent, HindsightLabels, HindsightMembers, hindsight_block,
};

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::OptimizerError;
use crate::loss::weighted_sum;
use crate::ranges::{not_negative, positive};

/// Self-distillation from hindsight: `algorithm.self_distillation` of a run file. Every ablation of
/// the paper is a value of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistillationConfig {
    /// α, the coefficient of the loss, 0 or more. Default: 0.001. With 0 the loss is not computed,
    /// nor any pass of the teacher.
    pub coefficient: f64,
    /// Steps at the beginning of the run without the loss. Default: 50.
    pub warmup_steps: u64,
    /// Divergence of student and teacher. Default: `jensen-shannon`.
    pub divergence: DistillationDivergence,
    /// Number of the teacher's likeliest tokens that both distributions are restricted to.
    /// Default: 50.
    pub top_k: usize,
    /// Tokens that are distilled. Default: `queries`.
    pub positions: DistillationPositions,
    /// Hindsight block that the teacher reads.
    pub hindsight: HindsightConfig,
}

/// Tokens that are distilled. Default: `queries`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DistillationPositions {
    /// The tokens of queries: those strictly between the tags of a search.
    #[default]
    Queries,
    /// All tokens of the policy.
    Policy,
}

impl Default for DistillationConfig {
    fn default() -> Self {
        Self {
            coefficient: 1e-3,
            warmup_steps: 50,
            divergence: DistillationDivergence::default(),
            top_k: 50,
            positions: DistillationPositions::default(),
            hindsight: HindsightConfig::default(),
        }
    }
}

impl DistillationConfig {
    pub(crate) fn check(&self) -> Result<(), OptimizerError> {
        not_negative("algorithm.self_distillation.coefficient", self.coefficient)?;
        positive("algorithm.self_distillation.top_k", self.top_k as f64)?;
        self.hindsight.check()
    }

    /// α at a step, counted from 0: 0 during the warm-up, the whole coefficient from then on.
    pub fn coefficient_at(&self, step: u64) -> f64 {
        if step < self.warmup_steps { 0.0 } else { self.coefficient }
    }
}

/// Self-distillation loss: Σ weight · divergence over the Q distilled tokens, `[1]`; the caller
/// multiplies it with α. Without tokens it is 0.
///
/// `student_qv` in training and `teacher_qv`, both `[Q, V]`: logits at the same tokens, each given
/// what came before it; the position of a token in the teacher's text is larger by the length of
/// the block. No gradient reaches the teacher.
///
/// `weights`, `[Q]`: those of
/// [`LossAggregation::SequenceMean`](crate::LossAggregation::SequenceMean) over the numbers of
/// distilled tokens, since the loss is the mean over the tokens of a trajectory and, our choice,
/// over the trajectories that have any. Groups that are all right or all wrong are distilled too,
/// our choice: the notes say that their signal is weak, not that they are left out.
pub fn distillation_loss(
    config: &DistillationConfig,
    student_qv: Tensor<2>,
    teacher_qv: Tensor<2>,
    weights: &[f32],
) -> Tensor<1> {
    weighted_sum(divergence(config.divergence, config.top_k, student_qv, teacher_qv), weights)
}
