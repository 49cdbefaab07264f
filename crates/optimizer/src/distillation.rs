//! SD-Search (arXiv 2605.18299): queries learn from the policy that has seen how it ended.
//!
//! The student is the policy on its trajectory. The teacher is the same policy with the same
//! weights, which also reads a hindsight block: the searches of all trajectories of the question,
//! and which of them led to the answer. Where the two differ on the tokens of a query, the student
//! follows. [`hindsight`] says what is in the block, [`distillation_loss`] is the loss as a function
//! of logits. Who writes the block's text and runs the model twice is the trainer's business.
//!
//! The paper was read through two sets of notes that agree; what they do not say is our choice and
//! marked so.

mod divergence;
mod hindsight;

pub use divergence::{Divergence, divergence};
pub use hindsight::{Content, HindsightConfig, Labels, Members, hindsight};

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::loss::weighted_sum;
use crate::options::{not_negative, positive};

/// Self-distillation: `algorithm.self_distillation` of a run file. Every ablation of the paper is a
/// value of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillationConfig {
    /// α. With 0 nothing is taught, and no teacher reads.
    #[serde(default = "default_coefficient")]
    pub coefficient: f64,
    /// Steps at the beginning without it.
    #[serde(default = "default_warmup_steps")]
    pub warmup_steps: u64,
    /// How far apart student and teacher are.
    #[serde(default)]
    pub divergence: Divergence,
    /// Distributions are taken over the teacher's likeliest tokens, so many.
    #[serde(default = "default_top_k")]
    pub top_k: usize,
    /// Which tokens are taught.
    #[serde(default)]
    pub positions: Positions,
    /// What the teacher reads.
    #[serde(default)]
    pub hindsight: HindsightConfig,
}

/// Which tokens are taught.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// Those strictly inside the search tags.
    #[default]
    Queries,
    /// All that the policy wrote.
    Policy,
}

impl Default for DistillationConfig {
    fn default() -> Self {
        Self {
            coefficient: default_coefficient(),
            warmup_steps: default_warmup_steps(),
            divergence: Divergence::default(),
            top_k: default_top_k(),
            positions: Positions::default(),
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

    /// α at a step, counted from 0: nothing during the warm-up, all of it from then on.
    pub fn coefficient_at(&self, step: u64) -> f64 {
        if step < self.warmup_steps { 0.0 } else { self.coefficient }
    }
}

/// Σ weight · divergence over the taught tokens; the caller multiplies with α.
///
/// `student_qv` in training and `teacher_qv`, both `[Q, V]`: logits at the same tokens, each given
/// what came before it, so that the teacher's row of a token is further down by the length of the
/// block and by nothing else. No gradient reaches the teacher. `weights`: the loss is the mean over
/// the taught tokens of a trajectory and, our choice, over the trajectories that have any; so they
/// are [`Aggregation::SequenceMean`](crate::Aggregation::SequenceMean) of the numbers of taught
/// tokens.
/// Groups that are all right or all wrong are taught too, our choice: the notes say that their
/// signal is weak, not that they are left out. Without taught tokens the loss is 0.
pub fn distillation_loss(
    config: &DistillationConfig,
    student_qv: Tensor<2>,
    teacher_qv: Tensor<2>,
    weights: &[f32],
) -> Tensor<1> {
    weighted_sum(divergence(config.divergence, config.top_k, student_qv, teacher_qv), weights)
}

fn default_coefficient() -> f64 {
    1e-3
}

fn default_warmup_steps() -> u64 {
    50
}

fn default_top_k() -> usize {
    50
}
