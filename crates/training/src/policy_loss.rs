//! Policy loss over a micro-batch: the surrogate objective, and the entropy, KL, LLDS and
//! self-distillation terms of `[algorithm]`.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use forage_model::TrainingPass;
use forage_optimizer::{
    AlgorithmConfig, DistillationConfig, KlPlace, LossAggregation, LossTotals, TrainedTokens,
    distillation_loss, entropy, entropy_loss, kl_loss, llds_loss, n_preserved_tokens,
    surrogate_loss, with_term,
};

use crate::loss_stats::LossStats;
use crate::micro_batch::{indices, number, read};
use crate::sample::Sample;

/// Policy loss: its terms, and what they are normalized by.
#[derive(Debug, Clone, Copy)]
pub struct PolicyLoss<'a> {
    /// Configuration of its terms.
    pub algorithm: &'a AlgorithmConfig,
    /// Log-probabilities are those of softmax(logits / temperature).
    pub temperature: f32,
    /// Self-distillation term, in the steps that have one.
    pub distillation: Option<DistillationTerm<'a>>,
    /// Denominators of the terms.
    pub normalizers: Normalizers,
}

/// Self-distillation term of a step.
#[derive(Debug, Clone, Copy)]
pub struct DistillationTerm<'a> {
    /// Divergence and positions.
    pub config: &'a DistillationConfig,
    /// Coefficient α, above 0.
    pub coefficient: f64,
}

impl<'a> DistillationTerm<'a> {
    /// Term of a step; `None` where there is no self-distillation, or its coefficient is 0.
    pub fn at_step(algorithm: &'a AlgorithmConfig, step: u64) -> Option<Self> {
        let config = algorithm.self_distillation.as_ref()?;
        let coefficient = config.coefficient_at(step);
        (coefficient > 0.0).then_some(Self { config, coefficient })
    }
}

/// Denominators of an update: totals over all of its micro-batches, so that it may be split
/// anywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Normalizers {
    /// Trained tokens and trajectories.
    pub trained: LossTotals,
    /// Tokens of the trajectories that LLDS preserves.
    pub n_preserved: usize,
    /// Distilled tokens, and trajectories with any.
    pub distilled: LossTotals,
}

impl Normalizers {
    /// Totals of all trained samples of an update.
    pub fn of(samples: &[&Sample]) -> Self {
        let lengths: Vec<usize> = samples.iter().map(|sample| sample.targets.len()).collect();
        let advantages: Vec<f32> =
            samples.iter().flat_map(|sample| sample.advantages.iter().copied()).collect();
        let distilled = samples.iter().filter_map(|sample| sample.distillation.as_ref());
        let distilled: Vec<usize> = distilled.map(|target| target.distilled.len()).collect();
        Self {
            trained: LossTotals::of(&lengths),
            n_preserved: n_preserved_tokens(&lengths, &advantages),
            distilled: LossTotals::of(&distilled),
        }
    }
}

impl PolicyLoss<'_> {
    /// Denominator of the weighted sum over tokens: trained tokens, or trajectories. The weights of
    /// [`LossAggregation`] in a step of one token and one trajectory, over this, are those of the
    /// update; the mean over tokens so has weights that are exactly 1.
    pub fn divisor(&self) -> usize {
        let LossTotals { n_tokens, n_sequences } = self.normalizers.trained;
        match self.algorithm.aggregation {
            LossAggregation::TokenMean {} => n_tokens.max(1),
            LossAggregation::SequenceMean {}
            | LossAggregation::SequenceSum {}
            | LossAggregation::Constant(_) => n_sequences.max(1),
        }
    }

    /// Whether a sample can have a gradient. One that cannot counts in the denominators, but is not
    /// sent through the model.
    pub fn moves(&self, sample: &Sample) -> bool {
        let AlgorithmConfig { kl, entropy, llds, .. } = self.algorithm;
        entropy.is_some()
            || llds.is_some()
            || kl.as_ref().is_some_and(|it| it.place == KlPlace::Loss)
            || (self.distillation.is_some() && sample.distillation.is_some())
            || sample.advantages.iter().any(|it| it.abs() > 1e-9)
    }

    /// Loss of a micro-batch, a part of the update's. `teacher_qv`, `[Q, V]`: the teacher's logits
    /// at the distilled tokens, where there are any.
    pub(crate) fn loss(
        &self,
        samples: &[&Sample],
        pass: &TrainingPass,
        teacher_qv: Option<Tensor<2>>,
        sums: &mut LossStats,
    ) -> Tensor<1> {
        let gathered =
            |of: fn(&Sample) -> &[f32]| samples.iter().flat_map(|it| of(it)).copied().collect();
        let old: Vec<f32> = gathered(|it| &it.old_logprobs);
        let rollout: Vec<f32> = gathered(|it| &it.rollout_logprobs);
        let reference: Vec<f32> = gathered(|it| &it.reference_logprobs);
        let advantages: Vec<f32> = gathered(|it| &it.advantages);
        let lengths: Vec<usize> = samples.iter().map(|sample| sample.targets.len()).collect();
        let weights = self
            .algorithm
            .aggregation
            .weights(&lengths, LossTotals { n_tokens: 1, n_sequences: 1 });
        let tokens = TrainedTokens {
            lengths: &lengths,
            old_logprobs: &old,
            advantages: &advantages,
            weights: &weights,
        };

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
        sums.ratio_min = surrogate.ratios.min;
        sums.ratio_max = surrogate.ratios.max;
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
                    samples.iter().flat_map(|sample| sample.actions.iter().copied()).collect();
                let answers: Vec<bool> =
                    samples.iter().flat_map(|sample| sample.answers.iter().copied()).collect();
                let n_preserved = self.normalizers.n_preserved;
                let term = llds_loss(llds, new, &tokens, &actions, &answers, n_preserved);
                sums.llds = number(&term);
                term
            }),
            None => loss,
        };
        match (self.distillation, teacher_qv) {
            (Some(DistillationTerm { config, coefficient }), Some(teacher_qv)) => {
                let teacher_qv = teacher_qv / self.temperature;
                let term = || self.distill(config, samples, pass, teacher_qv, sums);
                with_term(loss, coefficient, term)
            }
            _ => loss,
        }
    }

    /// Divergence of the student from its teacher at the distilled tokens. `teacher_qv`, `[Q, V]`,
    /// is divided by the temperature already.
    fn distill(
        &self,
        config: &DistillationConfig,
        samples: &[&Sample],
        pass: &TrainingPass,
        teacher_qv: Tensor<2>,
        sums: &mut LossStats,
    ) -> Tensor<1> {
        let mut rows = Vec::new();
        let mut first = 0;
        for sample in samples {
            let distilled = sample.distillation.iter().flat_map(|target| &target.distilled);
            rows.extend(distilled.map(|idx| (first + idx) as i64));
            first += sample.targets.len();
        }
        let rows = indices(rows, pass.decoder().device());
        let hidden_qd = pass.hidden.clone().select(0, rows.clone());
        let student_qv = pass.decoder().logits(hidden_qd) / self.temperature;
        let student_entropies = pass.entropies.clone().select(0, rows.clone());
        let entropies = [student_entropies.inner(), entropy(teacher_qv.clone())]
            .map(|entropies| number(&entropies.sum()));
        sums.entropy_gap = entropies[0] - entropies[1];
        let student_logprobs = read(pass.logprobs.clone().select(0, rows));
        let teacher_logprobs = read(logprobs_of(samples, teacher_qv.clone()));
        let log_ratios: Vec<f32> = teacher_logprobs
            .iter()
            .zip(&student_logprobs)
            .map(|(one, other)| one - other)
            .collect();
        let mut left = log_ratios.as_slice();
        for target in samples.iter().filter_map(|sample| sample.distillation.as_ref()) {
            let (of_this, of_others) = left.split_at(target.distilled.len());
            sums.advice.record(target.is_correct, of_this);
            left = of_others;
        }
        let lengths: Vec<usize> = samples
            .iter()
            .filter_map(|sample| sample.distillation.as_ref())
            .map(|target| target.distilled.len())
            .collect();
        sums.n_distilled = lengths.iter().sum();
        let weights =
            LossAggregation::SequenceMean {}.weights(&lengths, self.normalizers.distilled);
        let term = distillation_loss(config, student_qv, teacher_qv, &weights);
        sums.divergence = number(&term);
        term
    }
}

/// Log-probabilities of the distilled tokens of some samples under these logits: `[Q, V]` → `[Q]`.
fn logprobs_of(samples: &[&Sample], logits_qv: Tensor<2>) -> Tensor<1> {
    let written: Vec<i64> = samples
        .iter()
        .flat_map(|sample| {
            let distilled = sample.distillation.iter().flat_map(|target| &target.distilled);
            distilled.map(|&idx| i64::from(sample.tokens[sample.targets[idx]]))
        })
        .collect();
    let rows = written.len();
    let written = indices(written, &logits_qv.device()).reshape([rows, 1]);
    log_softmax(logits_qv, 1).gather(1, written).reshape([rows])
}
