//! Invariance of gradients: to the split into micro-batches, to the samples beside, to terms that
//! are off.

mod environment;
pub(crate) mod slopes;

use burn::tensor::Device;
use forage_model::numbers;
use forage_optimizer::{AlgorithmConfig, Surrogate};
use forage_trajectory::TokenId;

use super::*;
use crate::config::FreshModel;
use crate::micro_batch::log_probabilities;
use crate::policy_loss::{DistillationTerm, Normalizers};
use crate::self_distillation::{DistillationTarget, TeacherText};

/// A random decoder of two layers.
pub(crate) fn decoder() -> Decoder {
    let shape = FreshModel::of_two_layers(40);
    Decoder::init(&shape.config(), 1, &Device::flex())
}

/// Samples of different lengths.
pub(crate) fn samples() -> Vec<Sample> {
    samples_of(&[9, 30, 14, 22, 5])
}

/// Samples of these lengths in which every second token is trained, with a hindsight block of four
/// tokens for their distilled tokens.
fn samples_of(lengths: &[usize]) -> Vec<Sample> {
    let one = |(salt, &n): (usize, &usize)| {
        let targets: Vec<usize> = (1..n).step_by(2).collect();
        let m = targets.len();
        let tokens: Vec<TokenId> = (0..n).map(|at| ((at * 7 + salt * 3) % 40) as TokenId).collect();
        Sample {
            rollout_logprobs: vec![-3.5; m],
            old_logprobs: vec![-3.4; m],
            reference_logprobs: vec![-3.2; m],
            advantages: vec![salt as f32 - 2.0; m],
            actions: vec![1, m - 1],
            answers: (0..m).map(|it| it + 1 == m).collect(),
            distillation: Some(target(&[5, 6, 7, 8], &tokens, &targets[1..], 1)),
            tokens,
            targets,
        }
    };
    lengths.iter().enumerate().map(one).collect()
}

/// Distillation target of some trained tokens, the first of which is the trained token `first`.
pub(crate) fn target(
    block: &[TokenId],
    tokens: &[TokenId],
    at: &[usize],
    first: usize,
) -> DistillationTarget {
    let text = TeacherText {
        tokens: [block, tokens].concat(),
        at: at.iter().map(|it| it + block.len()).collect(),
    };
    let distilled = (first..first + at.len()).collect();
    DistillationTarget { texts: vec![text], distilled, is_correct: first == 0 }
}

const EVERY_TERM: &str = "
    advantage.name = 'grpo'
    loss = { name = 'ppo', dual_clip = 3.0 }
    entropy = 0.01
    kl = { coefficient = 0.1, place = 'loss' }
    llds = { coefficient = 0.2, gate = 'response' }
    [self_distillation]
    coefficient = 0.5
    warmup_steps = 0
    top_k = 10
";

fn algorithm(aggregation: &str) -> AlgorithmConfig {
    toml::from_str(&format!("aggregation = {aggregation}\n{EVERY_TERM}")).unwrap()
}

fn gradient(
    samples: &[Sample],
    algorithm: &AlgorithmConfig,
    limit: usize,
) -> (Vec<f32>, LossStats) {
    let samples: Vec<&Sample> = samples.iter().collect();
    let distillation = DistillationTerm::at_step(algorithm, 0);
    let normalizers = Normalizers::of(&samples);
    let objective = PolicyLoss { algorithm, temperature: 0.8, distillation, normalizers };
    let objective = Objective::PolicyLoss(objective);
    let gradient = compute_gradient(&decoder(), &samples, objective, plainly(limit));
    (gradient.gradients.iter().flat_map(numbers).collect(), gradient.sums)
}

pub(crate) fn plainly(tokens: usize) -> MicroBatches {
    MicroBatches { tokens, checkpointing: false }
}

/// GRPO with this loss or term.
pub(crate) fn named(terms: &str) -> AlgorithmConfig {
    let is_named = |section: &str| terms.lines().any(|it| it.trim().starts_with(section));
    let loss = if is_named("loss") { "" } else { "loss.name = 'reinforce'" };
    let advantage = if is_named("advantage") { "" } else { "advantage.name = 'grpo'" };
    toml::from_str(&format!("{advantage}\n{loss}\n{terms}")).unwrap()
}

fn plain() -> AlgorithmConfig {
    AlgorithmConfig::grpo(Surrogate::ppo(0.2, 0.2))
}

#[test]
fn micro_batches_do_not_change_a_gradient() {
    let aggregations = ["'token-mean'", "'sequence-mean'", "'sequence-sum'"];
    let mut algorithms: Vec<AlgorithmConfig> =
        aggregations.iter().map(|it| algorithm(&format!("{{ name = {it} }}"))).collect();
    algorithms.push(algorithm("{ name = 'constant', length = 20 }"));
    algorithms.push(plain());
    for loss in ["'gspo'", "'cispo'", "'sapo', ratio = 'sequence'", "'reinforce'"] {
        algorithms.push(named(&format!("loss = {{ name = {loss} }}")));
    }
    // Of different lengths, which are packed; and eight of one, by one, two and seven.
    let mixed = (samples(), [1, 40, 70], [5, 3, 2]);
    let equal = (samples_of(&[12; 8]), [12, 24, 84], [8, 4, 2]);
    for (samples, limits, n_batches) in [mixed, equal] {
        let asked: Vec<ScoredTargets<'_>> = samples.iter().map(Sample::scored_targets).collect();
        assert_eq!(limits.map(|it| split_by_tokens(&asked, it).len()), n_batches);
        for algorithm in &algorithms {
            let (whole, sums) = gradient(&samples, algorithm, 10_000);
            for limit in limits {
                let (parts, of_parts) = gradient(&samples, algorithm, limit);
                for (one, other) in parts.iter().zip(&whole) {
                    assert!((one - other).abs() < 1e-5, "{algorithm:?} {limit}: {one} {other}");
                }
                assert!((sums.total - of_parts.total).abs() < 1e-4, "{algorithm:?} {limit}");
            }
        }
    }
}

#[test]
fn layers_that_are_computed_again_do_not_change_a_gradient() {
    let (samples, algorithm) = (samples(), algorithm("{ name = 'sequence-mean' }"));
    let samples: Vec<&Sample> = samples.iter().collect();
    let normalizers = Normalizers::of(&samples);
    let config = algorithm.self_distillation.as_ref();
    let distillation = config.map(|config| DistillationTerm { config, coefficient: 0.5 });
    let objective =
        PolicyLoss { algorithm: &algorithm, temperature: 0.8, distillation, normalizers };
    let [kept, again] = [false, true].map(|checkpointing| {
        let micro_batches = MicroBatches { tokens: 40, checkpointing };
        compute_gradient(&decoder(), &samples, Objective::PolicyLoss(objective), micro_batches)
    });
    for (kept, again) in kept.gradients.iter().zip(&again.gradients) {
        for (kept, again) in numbers(kept).iter().zip(numbers(again)) {
            assert!((kept - again).abs() < 1e-6, "{again} is not {kept}");
        }
    }
}

#[test]
fn what_follows_the_last_trained_token_has_no_influence() {
    let mut changed = samples();
    for sample in &mut changed {
        let last = sample.targets.pop().unwrap();
        sample.rollout_logprobs.pop();
        sample.old_logprobs.pop();
        sample.advantages.pop();
        sample.tokens.truncate(last + 1);
    }
    let before = gradient(&changed, &plain(), 40).0;
    for sample in &mut changed {
        *sample.tokens.last_mut().unwrap() = 39;
    }
    assert_eq!(gradient(&changed, &plain(), 40).0, before);
}

#[test]
fn nothing_to_learn_is_a_gradient_of_zeros() {
    for samples in [vec![], vec![Sample::default()]] {
        let (gradient, sums) = gradient(&samples, &algorithm("{ name = 'sequence-mean' }"), 10);
        assert!(gradient.iter().all(|it| *it == 0.0));
        assert!(sums.total == 0.0);
    }
}

#[test]
fn hindsight_is_off_during_its_warmup_bit_for_bit() {
    let mut waiting = AlgorithmConfig {
        self_distillation: algorithm("{ name = 'token-mean' }").self_distillation,
        ..plain()
    };
    let distilled = gradient(&samples(), &waiting, 40).0;
    waiting.self_distillation.as_mut().unwrap().warmup_steps = 1;
    let without = gradient(&samples(), &plain(), 40).0;
    assert_eq!(gradient(&samples(), &waiting, 40).0, without);
    assert_ne!(distilled, without);
}

#[test]
fn a_block_of_nothing_teaches_nothing() {
    let mut samples = samples();
    for sample in &mut samples {
        let text = &mut sample.distillation.as_mut().unwrap().texts[0];
        text.tokens.drain(..4);
        text.at.iter_mut().for_each(|it| *it -= 4);
    }
    let silent = AlgorithmConfig {
        self_distillation: algorithm("{ name = 'token-mean' }").self_distillation,
        ..plain()
    };
    let (distilled, sums) = gradient(&samples, &silent, 40);
    assert!(sums.divergence.abs() < 1e-6 && sums.n_distilled > 0, "{sums:?}");
    assert!((sums.entropy_gap / sums.n_distilled as f64).abs() < 1e-5, "{sums:?}");
    for (one, other) in distilled.iter().zip(gradient(&samples, &plain(), 40).0) {
        assert!((one - other).abs() < 1e-6, "{one} {other}");
    }
}

#[test]
fn log_probabilities_are_those_of_training() {
    let samples = samples();
    let asked: Vec<ScoredTargets<'_>> = samples.iter().map(Sample::scored_targets).collect();
    let found = log_probabilities(&decoder(), &asked, 0.8, 70);
    let mut recomputed = samples.clone();
    for (sample, logprobs) in recomputed.iter_mut().zip(found) {
        assert_eq!(logprobs.len(), sample.targets.len());
        sample.rollout_logprobs = logprobs;
    }
    assert!(gradient(&recomputed, &plain(), 40).1.mismatch_max < 1e-5);
    assert!(gradient(&samples, &plain(), 40).1.mismatch_max > 1e-3);
}
