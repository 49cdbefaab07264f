//! Gradient of an update: micro-batches through the model, and a loss over their trained tokens.

use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use forage_model::{Decoder, PassOptions};

use crate::loss_stats::LossStats;
use crate::micro_batch::{
    MicroBatches, ScoredTargets, accumulate, number, packed, split_by_tokens,
};
use crate::policy_loss::PolicyLoss;
use crate::sample::Sample;
use crate::self_distillation::Teacher;

/// Training objective.
#[derive(Debug, Clone, Copy)]
pub enum Objective<'a> {
    /// Cross-entropy of supervised fine-tuning: the mean of -log π over the trained tokens.
    ///
    /// Their number is given and not counted, as in [`PolicyLoss`]: samples without a gradient need
    /// not go through the model and still count in the mean.
    CrossEntropy {
        /// Trained tokens of the whole step.
        n_tokens: usize,
    },
    /// Policy loss of reinforcement learning.
    PolicyLoss(PolicyLoss<'a>),
}

/// Gradient of an update, with its statistics.
#[derive(Debug)]
pub struct Gradient {
    /// Gradients in the order of [`Decoder::trainable`].
    pub gradients: Vec<Tensor<2>>,
    /// Statistics of the loss.
    pub sums: LossStats,
    /// Duration of the teacher's forward pass.
    pub teaching: Duration,
}

/// Gradient of an objective over some samples, accumulated over micro-batches.
pub fn compute_gradient(
    decoder: &Decoder,
    samples: &[&Sample],
    objective: Objective<'_>,
    micro_batches: MicroBatches,
) -> Gradient {
    let targets: Vec<ScoredTargets<'_>> = samples.iter().map(|it| it.scored_targets()).collect();
    let batches = split_by_tokens(&targets, micro_batches.tokens);
    let began = Instant::now();
    let teacher = match objective {
        Objective::PolicyLoss(loss) if loss.distillation.is_some() => {
            Teacher::read(decoder, samples, micro_batches.tokens)
        }
        Objective::PolicyLoss(_) | Objective::CrossEntropy { .. } => None,
    };
    let teaching = teacher.as_ref().map_or(Duration::ZERO, |_| began.elapsed());
    let (gradients, parts) = accumulate(decoder.trainable(), &batches, |batch| {
        let teacher_qv = teacher.as_ref().and_then(|teacher| teacher.logits(batch));
        let samples: Vec<&Sample> = batch.iter().map(|&idx| samples[idx]).collect();
        micro_batch(decoder, &samples, objective, teacher_qv, micro_batches.checkpointing)
    });
    let mut sums = LossStats::default();
    for part in &parts {
        sums.add(part);
    }
    Gradient { gradients, sums, teaching }
}

fn micro_batch(
    decoder: &Decoder,
    samples: &[&Sample],
    objective: Objective<'_>,
    teacher_qv: Option<Tensor<2>>,
    checkpoints: bool,
) -> (Vec<Tensor<2>>, LossStats) {
    let targets: Vec<ScoredTargets<'_>> = samples.iter().map(|it| it.scored_targets()).collect();
    let temperature = match objective {
        Objective::PolicyLoss(it) => it.temperature,
        Objective::CrossEntropy { .. } => 1.0,
    };
    let pass = decoder.pass(&packed(&targets), PassOptions { temperature, checkpoints });
    let mut sums = LossStats {
        n_tokens: pass.logprobs.dims()[0],
        entropy: number(&pass.entropies.clone().sum()),
        ..LossStats::default()
    };
    let loss = match objective {
        Objective::CrossEntropy { n_tokens } => {
            let sum = pass.logprobs.clone().sum().neg();
            sums.loss = number(&sum);
            sum / n_tokens.max(1) as f32
        }
        Objective::PolicyLoss(it) => it.loss(samples, &pass, teacher_qv, &mut sums),
    };
    sums.total = number(&loss);
    (pass.backward(&loss), sums)
}

#[cfg(test)]
pub(crate) mod tests;
