//! What must not change a gradient: how a step is cut, what comes after it, terms that are off.

use burn::tensor::Device;
use forage_model::numbers;
use forage_optimizer::{AlgorithmConfig, Episode, Surrogate};
use forage_trajectory::{Grade, Score};
use proptest::prelude::*;

use super::*;
use crate::config::FreshModel;
use crate::micro_batch::log_probabilities;
use crate::objective::Normalizers;

/// A random decoder of two layers.
pub(crate) fn decoder() -> Decoder {
    let shape = FreshModel {
        vocab_size: 40,
        hidden_size: 16,
        intermediate_size: 24,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        max_positions: 64,
        rope_theta: 100.0,
    };
    Decoder::init(&shape.config(), 1, &Device::flex())
}

/// Samples of different lengths in which every second token is trained, with a block of four tokens
/// before what hindsight teaches of them.
fn samples() -> Vec<Sample> {
    [9, 30, 14, 22, 5]
        .into_iter()
        .enumerate()
        .map(|(salt, n)| {
            let targets: Vec<usize> = (1..n).step_by(2).collect();
            let m = targets.len();
            let tokens: Vec<TokenId> =
                (0..n).map(|at| ((at * 7 + salt * 3) % 40) as TokenId).collect();
            let lesson = Lesson {
                tokens: [&[5, 6, 7, 8], tokens.as_slice()].concat(),
                at: targets[1..].iter().map(|it| it + 4).collect(),
                taught: (1..m).collect(),
            };
            Sample {
                tokens,
                rollout_logprobs: vec![-3.5; m],
                old_logprobs: vec![-3.4; m],
                reference_logprobs: vec![-3.2; m],
                advantages: vec![salt as f32 - 2.0; m],
                actions: vec![1, m - 1],
                answers: (0..m).map(|it| it + 1 == m).collect(),
                lesson: Some(lesson),
                targets,
            }
        })
        .collect()
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

fn gradient(samples: &[Sample], algorithm: &AlgorithmConfig, limit: usize) -> (Vec<f32>, Sums) {
    let samples: Vec<&Sample> = samples.iter().collect();
    let distillation = algorithm.self_distillation.as_ref().map_or(0.0, |it| it.coefficient_at(0));
    let normalizers = Normalizers::of(&samples);
    let objective = Reinforce { algorithm, temperature: 0.8, distillation, normalizers };
    let learned = learn(&decoder(), &samples, Objective::Reinforce(objective), plainly(limit));
    (learned.gradients.iter().flat_map(numbers).collect(), learned.sums)
}

fn plainly(tokens: usize) -> MicroBatches {
    MicroBatches { tokens, checkpointing: false }
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
    for algorithm in algorithms {
        let (whole, sums) = gradient(&samples(), &algorithm, 10_000);
        for limit in [1, 40, 70] {
            let (parts, of_parts) = gradient(&samples(), &algorithm, limit);
            for (one, other) in parts.iter().zip(&whole) {
                assert!((one - other).abs() < 1e-5, "{algorithm:?} {limit}: {one} {other}");
            }
            assert!((sums.total - of_parts.total).abs() < 1e-4, "{algorithm:?} {limit}");
        }
    }
}

#[test]
fn layers_that_are_computed_again_do_not_change_a_gradient() {
    let (samples, algorithm) = (samples(), algorithm("{ name = 'sequence-mean' }"));
    let samples: Vec<&Sample> = samples.iter().collect();
    let normalizers = Normalizers::of(&samples);
    let objective =
        Reinforce { algorithm: &algorithm, temperature: 0.8, distillation: 0.5, normalizers };
    let [kept, again] = [false, true].map(|checkpointing| {
        let micro_batches = MicroBatches { tokens: 40, checkpointing };
        learn(&decoder(), &samples, Objective::Reinforce(objective), micro_batches)
    });
    for (kept, again) in kept.gradients.iter().zip(&again.gradients) {
        for (kept, again) in numbers(kept).iter().zip(numbers(again)) {
            assert!((kept - again).abs() < 1e-6, "{again} is not {kept}");
        }
    }
}

/// The derivative of a loss on a way through the weights, by the difference over a short piece of it.
/// What the teacher says stands still, as in the gradient.
fn slope(direction: &[Tensor<2>], samples: &[&Sample], objective: Objective<'_>) -> f64 {
    let decoder = decoder();
    let teacher = Teacher::read(&decoder, samples, 10_000);
    let all: Vec<usize> = (0..samples.len()).collect();
    let length = forage_optimizer::global_norm(direction);
    let loss = |size: f64| {
        let pairs = decoder.weights().iter().zip(direction);
        let weights = pairs.map(|(it, by)| it.clone() + by.clone() * (size / length)).collect();
        let moved = Decoder::with_weights(decoder.config(), weights, decoder.device());
        let teacher_qv = teacher.as_ref().and_then(|it| it.logits(&all));
        micro_batch(&moved, samples, objective, teacher_qv, false).1.total
    };
    let size = 2e-3;
    (loss(size) - loss(-size)) / (2.0 * size)
}

/// Losses whose gradient is that of their value. CISPO holds its ratios still: see below.
#[test]
fn gradients_are_the_slopes_of_their_losses() {
    let all = samples();
    let samples: Vec<&Sample> = all.iter().collect();
    let normalizers = Normalizers::of(&samples);
    for terms in [
        "",
        "loss.name = 'ppo'",
        "loss = { name = 'ppo', dual_clip = 1.2 }",
        "loss = { name = 'gspo', clip_low = 0.3, clip_high = 0.4 }",
        "loss.name = 'sapo'",
        "loss = { name = 'sapo', ratio = 'sequence' }",
        "entropy = 0.5",
        "kl = { coefficient = 0.5, place = 'loss', estimator = 'k1' }",
        "kl = { coefficient = 0.5, place = 'loss', estimator = 'k2' }",
        "kl = { coefficient = 0.5, place = 'loss', estimator = 'k3' }",
        "llds = { coefficient = 2.0, gate = 'token' }",
        "llds = { coefficient = 2.0, gate = 'action' }",
        "self_distillation.divergence = 'jensen-shannon'",
        "self_distillation.divergence = 'forward-kl'",
        "self_distillation.divergence = 'reverse-kl'",
        "self_distillation.divergence = 'squared-error'",
        "self_distillation.top_k = 10",
    ] {
        let loss = if terms.starts_with("loss") { "" } else { "loss.name = 'reinforce'" };
        // Within a trajectory all weights are equal, as ratios of whole trajectories want it.
        let text =
            format!("aggregation.name = 'sequence-mean'\nadvantage.name = 'grpo'\n{loss}\n{terms}");
        let algorithm: AlgorithmConfig = toml::from_str(&text).unwrap();
        let distillation = if algorithm.self_distillation.is_some() { 5.0 } else { 0.0 };
        let objective = Objective::Reinforce(Reinforce {
            algorithm: &algorithm,
            temperature: 0.8,
            distillation,
            normalizers,
        });
        let gradients = learn(&decoder(), &samples, objective, plainly(10_000)).gradients;
        let norm = forage_optimizer::global_norm(&gradients);
        let slope = slope(&gradients, &samples, objective);
        assert!((slope - norm).abs() < 0.01 * norm, "{terms}: {slope} {norm}");
    }
}

#[test]
fn the_gradient_of_every_weight_is_a_slope() {
    let all = samples();
    let samples: Vec<&Sample> = all.iter().collect();
    let algorithm = algorithm("{ name = 'sequence-mean' }");
    let objective = Objective::Reinforce(Reinforce {
        algorithm: &algorithm,
        temperature: 0.8,
        distillation: 0.5,
        normalizers: Normalizers::of(&samples),
    });
    let learned = learn(&decoder(), &samples, objective, plainly(10_000));
    for idx in 0..learned.gradients.len() {
        let mut direction: Vec<Tensor<2>> =
            learned.gradients.iter().map(Tensor::zeros_like).collect();
        direction[idx] = learned.gradients[idx].clone();
        let norm = forage_optimizer::global_norm(&direction);
        if norm < 1e-3 {
            continue;
        }
        let slope = slope(&direction, &samples, objective);
        assert!((slope - norm).abs() < 0.03 * norm + 2e-3, "weight {idx}: {slope} {norm}");
    }
}

/// CISPO is REINFORCE with advantages that are multiplied by the ratio, held within its bounds.
#[test]
fn the_ratios_of_cispo_stand_still() {
    let mut samples = samples();
    let asked: Vec<Asked<'_>> = samples.iter().map(Sample::asked).collect();
    let new = log_probabilities(&decoder(), &asked, 0.8, 10_000);
    let named = |text: &str| -> AlgorithmConfig {
        toml::from_str(&format!("advantage.name = 'grpo'\n{text}")).unwrap()
    };
    let cispo = named("loss = { name = 'cispo', clip_low = 0.3, clip_high = 0.28 }");
    let found = gradient(&samples, &cispo, 40).0;
    for (sample, new) in samples.iter_mut().zip(new) {
        let ratios = new.iter().zip(&sample.old_logprobs).map(|(new, old)| (new - old).exp());
        for (advantage, ratio) in sample.advantages.iter_mut().zip(ratios) {
            *advantage *= ratio.clamp(0.7, 1.28);
        }
    }
    let expected = gradient(&samples, &named("loss.name = 'reinforce'"), 40).0;
    for (one, other) in found.iter().zip(expected) {
        assert!((one - other).abs() < 1e-5, "{one} {other}");
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
    let taught = gradient(&samples(), &waiting, 40).0;
    waiting.self_distillation.as_mut().unwrap().warmup_steps = 1;
    let without = gradient(&samples(), &plain(), 40).0;
    assert_eq!(gradient(&samples(), &waiting, 40).0, without);
    assert_ne!(taught, without);
}

#[test]
fn a_block_of_nothing_teaches_nothing() {
    let mut samples = samples();
    for sample in &mut samples {
        let lesson = sample.lesson.as_mut().unwrap();
        lesson.tokens.drain(..4);
        lesson.at.iter_mut().for_each(|it| *it -= 4);
    }
    let silent = AlgorithmConfig {
        self_distillation: algorithm("{ name = 'token-mean' }").self_distillation,
        ..plain()
    };
    let (taught, sums) = gradient(&samples, &silent, 40);
    assert!(sums.divergence.abs() < 1e-6 && sums.n_taught > 0, "{sums:?}");
    assert!((sums.entropy_gap / sums.n_taught as f64).abs() < 1e-5, "{sums:?}");
    for (one, other) in taught.iter().zip(gradient(&samples, &plain(), 40).0) {
        assert!((one - other).abs() < 1e-6, "{one} {other}");
    }
}

#[test]
fn log_probabilities_are_those_of_training() {
    let samples = samples();
    let asked: Vec<Asked<'_>> = samples.iter().map(Sample::asked).collect();
    let found = log_probabilities(&decoder(), &asked, 0.8, 70);
    let mut recomputed = samples.clone();
    for (sample, logprobs) in recomputed.iter_mut().zip(found) {
        assert_eq!(logprobs.len(), sample.targets.len());
        sample.rollout_logprobs = logprobs;
    }
    assert!(gradient(&recomputed, &plain(), 40).1.mismatch_max < 1e-5);
    assert!(gradient(&samples, &plain(), 40).1.mismatch_max > 1e-3);
}

proptest! {
    #[test]
    fn tokens_of_the_environment_are_never_trained(
        segments in prop::collection::vec((0..3_u8, 0..5_usize), 1..12),
    ) {
        let mut trajectory = Trajectory::new("q", 0);
        trajectory.push_given(Origin::Prompt, Kind::Prompt, "who?", &[1]);
        for (origin, n) in segments {
            let start = trajectory.tokens.len();
            if origin == 0 {
                trajectory.push_sampled(&vec![2; n], &vec![-1.0; n]);
                trajectory.tag(Kind::Answer, "", start..start + n, None);
            } else {
                trajectory.push_given(Origin::Environment, Kind::Information, "", &vec![3; n]);
            }
        }
        let sample = Sample::of_trajectory(&trajectory, 1.0);
        let grade = Grade::Scored(Score { reward: 1.0, ..Score::default() });
        let episode = Episode::of(&trajectory, &grade, 0, None).unwrap();
        let positions = episode.policy.iter().enumerate().filter(|(_, policy)| **policy);
        // Positions of an episode are counted from behind the prompt.
        let of_episode: Vec<usize> = positions.map(|(at, _)| at + 1).collect();
        prop_assert_eq!(&sample.targets, &of_episode);
        prop_assert!(sample.targets.iter().all(|&at| trajectory.tokens[at] == 2));
        prop_assert_eq!(sample.targets.len(), trajectory.n_policy_tokens());
        prop_assert_eq!(sample.actions.iter().sum::<usize>(), sample.targets.len());
        prop_assert!(sample.answers.iter().all(|it| *it));
    }
}
