//! One gradient: micro-batches through the model, a loss over their trained tokens.

use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use forage_model::{Decoder, PassOptions};
use forage_trajectory::{Origin, SegmentKind, TokenId, Trajectory};

use crate::hindsight::{Lesson, Teacher};
use crate::micro_batch::{Asked, MicroBatches, accumulate, cut, packed};
use crate::objective::Reinforce;

/// A sequence with the tokens that are trained. All but the first two fields are for
/// [`Objective::Reinforce`], and have one entry a target where nothing else is said.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// All tokens.
    pub tokens: Vec<TokenId>,
    /// Positions of the trained tokens, each 1 or more.
    pub targets: Vec<usize>,
    /// Log-probabilities as they were sampled.
    pub rollout_logprobs: Vec<f32>,
    /// Log-probabilities that the importance ratio compares with.
    pub old_logprobs: Vec<f32>,
    /// Log-probabilities under the reference policy; empty where there is none.
    pub reference_logprobs: Vec<f32>,
    /// Advantages, times the weights of the importance correction.
    pub advantages: Vec<f32>,
    /// Trained tokens of each action: what was written between two observations.
    pub actions: Vec<usize>,
    /// Whether the token is of the final answer.
    pub answers: Vec<bool>,
    /// What hindsight teaches, where it does.
    pub lesson: Option<Lesson>,
}

/// What the loss is.
#[derive(Debug, Clone, Copy)]
pub enum Objective<'a> {
    /// Cross-entropy: the mean of -log π over so many trained tokens.
    ///
    /// Their number is given and not counted, as in [`Reinforce`]: samples that cannot move the
    /// policy may be left out of the work and still belong to the mean.
    Imitate {
        /// Trained tokens of the whole step.
        n_tokens: usize,
    },
    /// An algorithm of reinforcement learning.
    Reinforce(Reinforce<'a>),
}

/// A gradient and what was seen on the way.
#[derive(Debug)]
pub struct Learned {
    /// In the order of the weights.
    pub gradients: Vec<Tensor<2>>,
    /// Sums over the trained tokens.
    pub sums: Sums,
    /// How long the teacher's pass took.
    pub teaching: Duration,
}

/// Sums over the trained tokens of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Sums {
    /// Trained tokens.
    pub n_tokens: usize,
    /// The loss whose gradient it is, all terms in it.
    pub total: f64,
    /// Loss of the surrogate, or of imitation, before it is divided by anything.
    pub loss: f64,
    /// Entropy of the policy, in nats.
    pub entropy: f64,
    /// Tokens that the clip keeps from moving.
    pub n_clipped: usize,
    /// Tokens that the dual clip keeps from moving.
    pub n_dual_clipped: usize,
    /// Smallest importance ratio; infinite where there is no token.
    pub ratio_least: f64,
    /// Largest importance ratio.
    pub ratio_most: f64,
    /// old - new of the log-probabilities: the k1 estimate of KL(old || new).
    pub update_kl: f64,
    /// The k3 estimate of KL(new || reference).
    pub reference_kl: f64,
    /// |new - rollout| of the log-probabilities.
    pub mismatch: f64,
    /// exp(d) - d - 1 with d = new - rollout: the k3 estimate of KL(rollout || training).
    pub mismatch_kl: f64,
    /// Largest |new - rollout|.
    pub mismatch_max: f64,
    /// The LLDS regularizer, normalized.
    pub llds: f64,
    /// The divergence of the student from its teacher, normalized.
    pub divergence: f64,
    /// Tokens that hindsight teaches.
    pub n_taught: usize,
    /// Entropy of the student less that of the teacher, over those.
    pub entropy_gap: f64,
}

impl Sample {
    /// The policy's tokens of a trajectory, all with one advantage.
    pub fn of_trajectory(trajectory: &Trajectory, advantage: f32) -> Self {
        let mask = trajectory.policy_mask();
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
            lesson: None,
            targets,
        }
    }

    /// Its trained tokens, as a model is asked about them.
    pub fn asked(&self) -> Asked<'_> {
        Asked { tokens: &self.tokens, at: &self.targets }
    }
}

/// The gradient of an objective over some samples.
pub fn learn(
    decoder: &Decoder,
    samples: &[&Sample],
    objective: Objective<'_>,
    micro_batches: MicroBatches,
) -> Learned {
    let asked: Vec<Asked<'_>> = samples.iter().map(|it| it.asked()).collect();
    let batches = cut(&asked, micro_batches.tokens);
    let began = Instant::now();
    let teacher = match objective {
        Objective::Reinforce(it) if it.distillation > 0.0 => {
            Teacher::read(decoder, samples, micro_batches.tokens)
        }
        Objective::Reinforce(_) | Objective::Imitate { .. } => None,
    };
    let teaching = teacher.as_ref().map_or(Duration::ZERO, |_| began.elapsed());
    let (gradients, parts) = accumulate(decoder.trainable(), &batches, |batch| {
        let teacher_qv = teacher.as_ref().and_then(|it| it.logits(batch));
        let samples: Vec<&Sample> = batch.iter().map(|&idx| samples[idx]).collect();
        micro_batch(decoder, &samples, objective, teacher_qv, micro_batches.checkpointing)
    });
    let mut sums = Sums::default();
    for part in &parts {
        sums.add(part);
    }
    Learned { gradients, sums, teaching }
}

fn micro_batch(
    decoder: &Decoder,
    samples: &[&Sample],
    objective: Objective<'_>,
    teacher_qv: Option<Tensor<2>>,
    checkpoints: bool,
) -> (Vec<Tensor<2>>, Sums) {
    let asked: Vec<Asked<'_>> = samples.iter().map(|it| it.asked()).collect();
    let temperature = match objective {
        Objective::Reinforce(it) => it.temperature,
        Objective::Imitate { .. } => 1.0,
    };
    let pass = decoder.pass(&packed(&asked), PassOptions { temperature, checkpoints });
    let mut sums = Sums {
        n_tokens: pass.logprobs.dims()[0],
        entropy: number(&pass.entropies.clone().sum()),
        ..Sums::default()
    };
    let loss = match objective {
        Objective::Imitate { n_tokens } => {
            let sum = pass.logprobs.clone().sum().neg();
            sums.loss = number(&sum);
            sum / n_tokens.max(1) as f32
        }
        Objective::Reinforce(it) => it.loss(samples, &pass, teacher_qv, &mut sums),
    };
    sums.total = number(&loss);
    (pass.backward(&loss), sums)
}

/// The number of a tensor that has one.
pub(crate) fn number(tensor: &Tensor<1>) -> f64 {
    f64::from(tensor.clone().inner().into_scalar::<f32>())
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            n_tokens: 0,
            total: 0.0,
            loss: 0.0,
            entropy: 0.0,
            n_clipped: 0,
            n_dual_clipped: 0,
            ratio_least: f64::INFINITY,
            ratio_most: 0.0,
            update_kl: 0.0,
            reference_kl: 0.0,
            mismatch: 0.0,
            mismatch_kl: 0.0,
            mismatch_max: 0.0,
            llds: 0.0,
            divergence: 0.0,
            n_taught: 0,
            entropy_gap: 0.0,
        }
    }
}

impl Sums {
    /// Takes in another batch.
    pub fn add(&mut self, other: &Self) {
        self.n_tokens += other.n_tokens;
        self.total += other.total;
        self.loss += other.loss;
        self.entropy += other.entropy;
        self.n_clipped += other.n_clipped;
        self.n_dual_clipped += other.n_dual_clipped;
        self.ratio_least = self.ratio_least.min(other.ratio_least);
        self.ratio_most = self.ratio_most.max(other.ratio_most);
        self.update_kl += other.update_kl;
        self.reference_kl += other.reference_kl;
        self.mismatch += other.mismatch;
        self.mismatch_kl += other.mismatch_kl;
        self.mismatch_max = self.mismatch_max.max(other.mismatch_max);
        self.llds += other.llds;
        self.divergence += other.divergence;
        self.n_taught += other.n_taught;
        self.entropy_gap += other.entropy_gap;
    }

    /// Compares the policy in training with the one that sampled.
    pub(crate) fn compare(&mut self, new: &[f32], rollout: &[f32]) {
        for (new, rollout) in new.iter().zip(rollout) {
            let difference = f64::from(new - rollout);
            self.mismatch += difference.abs();
            self.mismatch_kl += difference.exp() - difference - 1.0;
            self.mismatch_max = self.mismatch_max.max(difference.abs());
        }
    }

    /// A sum as a mean over the tokens it was taken over.
    pub fn mean(&self, sum: f64) -> f64 {
        sum / self.n_tokens.max(1) as f64
    }
}

#[cfg(test)]
pub(crate) mod tests;
