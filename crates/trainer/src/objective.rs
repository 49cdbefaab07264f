//! The loss of reinforcement learning over a micro-batch: the surrogate, and every further term
//! that `[algorithm]` asks for.

use burn::tensor::Tensor;
use forage_model::TrainingPass;
use forage_optimizer::{
    Aggregation, AlgorithmConfig, KlPlace, Tokens, Totals, distillation_loss, entropy,
    entropy_loss, kl_loss, llds_loss, n_preserved_tokens, surrogate_loss, with_term,
};

use crate::learner::{Sample, Sums, number};
use crate::micro_batch::{indices, read};

/// A loss with everything that it is divided by.
#[derive(Debug, Clone, Copy)]
pub struct Reinforce<'a> {
    /// The choices.
    pub algorithm: &'a AlgorithmConfig,
    /// Log-probabilities are those of softmax(logits / temperature).
    pub temperature: f32,
    /// α of self-distillation in this step.
    pub distillation: f64,
    /// What terms are divided by.
    pub normalizers: Normalizers,
}

/// Totals of the whole update, so that micro-batches may be cut anywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Normalizers {
    /// Trained tokens and trajectories.
    pub trained: Totals,
    /// Tokens of the trajectories that LLDS preserves.
    pub n_preserved: usize,
    /// Tokens that hindsight teaches, and trajectories with any.
    pub taught: Totals,
}

impl Normalizers {
    /// Of all trained samples of an update.
    pub fn of(samples: &[&Sample]) -> Self {
        let lengths: Vec<usize> = samples.iter().map(|it| it.targets.len()).collect();
        let advantages: Vec<f32> =
            samples.iter().flat_map(|it| it.advantages.iter().copied()).collect();
        let taught: Vec<usize> =
            samples.iter().filter_map(|it| it.lesson.as_ref()).map(|it| it.taught.len()).collect();
        Self {
            trained: Totals::of(&lengths),
            n_preserved: n_preserved_tokens(&lengths, &advantages),
            taught: Totals::of(&taught),
        }
    }
}

impl Reinforce<'_> {
    /// What the weighted sum over tokens is divided by: tokens, or trajectories. The weights of
    /// [`Aggregation`] in a step of one token and one trajectory, over this, are those of the
    /// update; the mean over tokens so has weights that are exactly 1.
    pub fn divisor(&self) -> usize {
        let Totals { n_tokens, n_sequences } = self.normalizers.trained;
        match self.algorithm.aggregation {
            Aggregation::TokenMean => n_tokens.max(1),
            Aggregation::SequenceMean | Aggregation::SequenceSum | Aggregation::Constant { .. } => {
                n_sequences.max(1)
            }
        }
    }

    /// Whether a sample can move the policy. One that cannot belongs to the normalizers, not to the
    /// work.
    pub fn moves(&self, sample: &Sample) -> bool {
        let AlgorithmConfig { kl, entropy, llds, .. } = self.algorithm;
        entropy.is_some()
            || llds.is_some()
            || kl.as_ref().is_some_and(|it| it.place == KlPlace::Loss)
            || (self.distillation > 0.0 && sample.lesson.is_some())
            || sample.advantages.iter().any(|it| it.abs() > 1e-9)
    }

    /// The loss of a micro-batch, a part of the update's. `teacher_qv`: the teacher's logits at the
    /// taught tokens, where there are any.
    pub(crate) fn loss(
        &self,
        samples: &[&Sample],
        pass: &TrainingPass,
        teacher_qv: Option<Tensor<2>>,
        sums: &mut Sums,
    ) -> Tensor<1> {
        let gathered =
            |of: fn(&Sample) -> &[f32]| samples.iter().flat_map(|it| of(it)).copied().collect();
        let old: Vec<f32> = gathered(|it| &it.old_logprobs);
        let rollout: Vec<f32> = gathered(|it| &it.rollout_logprobs);
        let reference: Vec<f32> = gathered(|it| &it.reference_logprobs);
        let advantages: Vec<f32> = gathered(|it| &it.advantages);
        let lengths: Vec<usize> = samples.iter().map(|it| it.targets.len()).collect();
        let weights =
            self.algorithm.aggregation.weights(&lengths, Totals { n_tokens: 1, n_sequences: 1 });
        let tokens =
            Tokens { lengths: &lengths, old: &old, advantages: &advantages, weights: &weights };

        let new = pass.logprobs.clone();
        let recomputed = read(new.clone());
        sums.compare(&recomputed, &rollout);
        for (new, reference) in recomputed.iter().zip(&reference) {
            let gap = f64::from(*reference) - f64::from(*new);
            sums.reference_kl += gap.exp() - gap - 1.0;
        }
        let surrogate = surrogate_loss(&self.algorithm.loss, new.clone(), &tokens);
        sums.loss = number(&surrogate.sum);
        sums.n_clipped = surrogate.ratios.n_clipped;
        sums.n_dual_clipped = surrogate.ratios.n_dual_clipped;
        sums.ratio_least = surrogate.ratios.least;
        sums.ratio_most = surrogate.ratios.most;
        sums.update_kl = surrogate.ratios.kl;

        let bonus = self.algorithm.entropy.unwrap_or(0.0);
        let loss =
            with_term(surrogate.sum, bonus, || entropy_loss(pass.entropies.clone(), &weights));
        let loss = match &self.algorithm.kl {
            Some(kl) if kl.place == KlPlace::Loss => with_term(loss, kl.coefficient, || {
                kl_loss(kl.in_loss(), new.clone(), &reference, &weights)
            }),
            _ => loss,
        };
        let loss = loss / self.divisor() as f32;
        let loss = match &self.algorithm.llds {
            Some(llds) => with_term(loss, llds.coefficient, || {
                let actions: Vec<usize> =
                    samples.iter().flat_map(|it| it.actions.iter().copied()).collect();
                let answers: Vec<bool> =
                    samples.iter().flat_map(|it| it.answers.iter().copied()).collect();
                let n_preserved = self.normalizers.n_preserved;
                let term = llds_loss(llds, new, &tokens, &actions, &answers, n_preserved);
                sums.llds = number(&term);
                term
            }),
            None => loss,
        };
        match teacher_qv {
            Some(teacher_qv) => {
                let teacher_qv = teacher_qv / self.temperature;
                with_term(loss, self.distillation, || self.distill(samples, pass, teacher_qv, sums))
            }
            None => loss,
        }
    }

    /// The divergence of the student from its teacher, whose logits are divided by the temperature
    /// already, at the taught tokens only.
    fn distill(
        &self,
        samples: &[&Sample],
        pass: &TrainingPass,
        teacher_qv: Tensor<2>,
        sums: &mut Sums,
    ) -> Tensor<1> {
        let config = self.algorithm.self_distillation.as_ref().expect("α is above 0");
        let mut rows = Vec::new();
        let mut first = 0;
        for sample in samples {
            let taught = sample.lesson.iter().flat_map(|it| &it.taught);
            rows.extend(taught.map(|it| (first + it) as i64));
            first += sample.targets.len();
        }
        let rows = indices(rows, pass.decoder().device());
        let hidden_qd = pass.hidden.clone().select(0, rows.clone());
        let student_qv = pass.decoder().logits(hidden_qd) / self.temperature;
        let student_entropies = pass.entropies.clone().select(0, rows);
        let entropies =
            [student_entropies.inner(), entropy(teacher_qv.clone())].map(|it| number(&it.sum()));
        sums.entropy_gap = entropies[0] - entropies[1];
        let lengths: Vec<usize> =
            samples.iter().filter_map(|it| it.lesson.as_ref()).map(|it| it.taught.len()).collect();
        sums.n_taught = lengths.iter().sum();
        let weights = Aggregation::SequenceMean.weights(&lengths, self.normalizers.taught);
        let term = distillation_loss(config, student_qv, teacher_qv, &weights);
        sums.divergence = number(&term);
        term
    }
}
