//! Finite-difference checks of gradients, along the gradient and along random directions, since a
//! gradient that lacks a part is still the slope along itself.

use burn::tensor::TensorData;
use forage_trajectory::{Purpose, Stream};
use rand::RngExt;

use super::*;

/// Losses whose gradient is that of their value. CISPO, with constant ratios, is tested below.
const LOSSES: [&str; 19] = [
    "",
    "loss = { name = 'ppo', clip_low = 0.3, clip_high = 0.4 }",
    "loss = { name = 'ppo', clip_low = 0.3, clip_high = 0.4, dual_clip = 1.1 }",
    "loss = { name = 'gspo', clip_low = 0.3, clip_high = 0.4 }",
    "loss.name = 'sapo'",
    "loss = { name = 'sapo', ratio = 'sequence' }",
    "entropy = 0.5",
    "kl = { coefficient = 0.5, place = 'loss', estimator = 'k1' }",
    "kl = { coefficient = 0.5, place = 'loss', estimator = 'k2' }",
    "kl = { coefficient = 0.5, place = 'loss', estimator = 'k3' }",
    "llds = { coefficient = 2.0, gate = 'token' }",
    "llds = { coefficient = 2.0, gate = 'action' }",
    "llds = { coefficient = 2.0, gate = 'response' }",
    "llds = { coefficient = 2.0, answer_weight = 0.25 }",
    "self_distillation.divergence = 'jensen-shannon'",
    "self_distillation.divergence = 'forward-kl'",
    "self_distillation.divergence = 'reverse-kl'",
    "self_distillation.divergence = 'squared-error'",
    "self_distillation.top_k = 10",
];

/// Step sizes of the difference quotient, along a gradient and along a random direction. The loss
/// changes little along a random direction, so its step is larger.
const ALONG: f64 = 2e-3;
const ACROSS: f64 = 0.05;
/// Step size along the part of a gradient in one weight.
const WITHIN: f64 = 5e-3;

/// Numbers between -0.5 and 0.5 in the shape of some weights.
pub(crate) fn direction(like: &[Tensor<2>], salt: u64) -> Vec<Tensor<2>> {
    let random = |(idx, it): (usize, &Tensor<2>)| {
        let mut rng = Stream::new(salt, Purpose::Init).of_member(idx as u64, 0).rng();
        let numbers: Vec<f32> =
            (0..it.shape().num_elements()).map(|_| rng.random::<f32>() - 0.5).collect();
        Tensor::from_data(TensorData::new(numbers, it.shape()), &it.device())
    };
    like.iter().enumerate().map(random).collect()
}

/// Directional derivative by a gradient: its inner product with the unit direction.
pub(crate) fn said(gradients: &[Tensor<2>], direction: &[Tensor<2>]) -> f64 {
    let pairs = gradients.iter().zip(direction);
    let product = |(one, other): (&Tensor<2>, &Tensor<2>)| -> f64 {
        let pairs = numbers(one).into_iter().zip(numbers(other));
        pairs.map(|(one, other)| f64::from(one) * f64::from(other)).sum()
    };
    pairs.map(product).sum::<f64>() / forage_optimizer::global_norm(direction)
}

/// Directional derivative of a loss by a difference quotient. The teacher's logits are constant, as
/// in the gradient.
fn slope(direction: &[Tensor<2>], size: f64, samples: &[&Sample], objective: Objective<'_>) -> f64 {
    let decoder = decoder();
    let teacher = match objective {
        Objective::PolicyLoss(it) if it.distillation.is_some() => {
            Teacher::read(&decoder, samples, 10_000)
        }
        _ => None,
    };
    let all: Vec<usize> = (0..samples.len()).collect();
    let length = forage_optimizer::global_norm(direction);
    let loss = |size: f64| {
        let pairs = decoder.weights().iter().zip(direction);
        let weights = pairs.map(|(it, by)| it.clone() + by.clone() * (size / length)).collect();
        let moved = Decoder::with_weights(decoder.config(), weights, decoder.device());
        let teacher_qv = teacher.as_ref().and_then(|it| it.logits(&all));
        micro_batch(&moved, samples, objective, teacher_qv, false).1.total
    };
    (loss(size) - loss(-size)) / (2.0 * size)
}

/// Number of weights.
fn n_weights(gradients: &[Tensor<2>]) -> f64 {
    gradients.iter().map(|it| it.shape().num_elements()).sum::<usize>() as f64
}

/// Panics where a gradient is not the slope of an objective, along itself and along others.
fn check(what: &str, gradients: &[Tensor<2>], samples: &[&Sample], objective: Objective<'_>) {
    let norm = forage_optimizer::global_norm(gradients);
    let along = slope(gradients, ALONG, samples, objective);
    assert!((along - norm).abs() < 0.01 * norm, "{what}: {along} {norm}");
    // Typical inner product of a gradient and a random direction.
    let typical = norm / n_weights(gradients).sqrt();
    for salt in 0..3 {
        let direction = direction(gradients, salt);
        let expected = said(gradients, &direction);
        let found = slope(&direction, ACROSS, samples, objective);
        assert!((found - expected).abs() < 0.005 * typical, "{what} {salt}: {found} {expected}");
    }
}

fn reinforce<'a>(algorithm: &'a AlgorithmConfig, samples: &[&Sample]) -> Objective<'a> {
    Objective::PolicyLoss(PolicyLoss {
        algorithm,
        temperature: 0.8,
        distillation: algorithm
            .self_distillation
            .as_ref()
            .map(|config| DistillationTerm { config, coefficient: 5.0 }),
        normalizers: Normalizers::of(samples),
    })
}

#[test]
fn gradients_are_the_slopes_of_their_losses() {
    let all = samples();
    let samples: Vec<&Sample> = all.iter().collect();
    for terms in LOSSES {
        // Within a trajectory all weights are equal, as ratios of whole trajectories want it.
        let algorithm = named(&format!("aggregation.name = 'sequence-mean'\n{terms}"));
        let objective = reinforce(&algorithm, &samples);
        let gradients =
            compute_gradient(&decoder(), &samples, objective, plainly(10_000)).gradients;
        check(terms, &gradients, &samples, objective);
    }
    let objective = Objective::CrossEntropy { n_tokens: 38 };
    let gradients = compute_gradient(&decoder(), &samples, objective, plainly(10_000)).gradients;
    check("imitation", &gradients, &samples, objective);
}

#[test]
fn the_gradient_of_every_weight_is_a_slope() {
    let all = samples();
    let samples: Vec<&Sample> = all.iter().collect();
    let algorithm = algorithm("{ name = 'sequence-mean' }");
    let objective = reinforce(&algorithm, &samples);
    let learned = compute_gradient(&decoder(), &samples, objective, plainly(10_000));
    let nothing: Vec<Tensor<2>> = learned.gradients.iter().map(Tensor::zeros_like).collect();
    for (idx, gradient) in learned.gradients.iter().enumerate() {
        let norm = forage_optimizer::global_norm(std::slice::from_ref(gradient));
        let typical = norm / n_weights(std::slice::from_ref(gradient)).sqrt();
        for salt in 0..2 {
            let mut one = nothing.clone();
            one[idx] = direction(&nothing, salt).swap_remove(idx);
            let expected = said(&learned.gradients, &one);
            let found = slope(&one, WITHIN, &samples, objective);
            assert!(
                (found - expected).abs() < 0.01 * typical + 2e-5,
                "weight {idx}: {found} {expected}"
            );
        }
    }
}

/// CISPO is REINFORCE with advantages that are multiplied by the ratio, held within its bounds.
#[test]
fn the_ratios_of_cispo_stand_still() {
    let all = samples();
    let samples: Vec<&Sample> = all.iter().collect();
    let asked: Vec<ScoredTargets<'_>> = all.iter().map(Sample::scored_targets).collect();
    let new = log_probabilities(&decoder(), &asked, 0.8, 10_000);
    for ratio in ["token", "sequence"] {
        let mut held = all.clone();
        for (sample, new) in held.iter_mut().zip(&new) {
            let gaps: Vec<f32> =
                new.iter().zip(&sample.old_logprobs).map(|(new, old)| new - old).collect();
            let mean = gaps.iter().sum::<f32>() / gaps.len() as f32;
            for (advantage, gap) in sample.advantages.iter_mut().zip(gaps) {
                let gap = if ratio == "token" { gap } else { mean };
                *advantage *= gap.exp().clamp(0.7, 1.28);
            }
        }
        let held: Vec<&Sample> = held.iter().collect();
        let loss = format!("name = 'cispo', clip_low = 0.3, clip_high = 0.28, ratio = '{ratio}'");
        let cispo = named(&format!("loss = {{ {loss} }}"));
        let found =
            compute_gradient(&decoder(), &samples, reinforce(&cispo, &samples), plainly(40))
                .gradients;
        let plain = named("");
        let objective = reinforce(&plain, &held);
        let expected = compute_gradient(&decoder(), &held, objective, plainly(40)).gradients;
        for (one, other) in found.iter().zip(&expected) {
            for (one, other) in numbers(one).into_iter().zip(numbers(other)) {
                assert!((one - other).abs() < 1e-5, "{ratio}: {one} {other}");
            }
        }
        check(ratio, &found, &held, objective);
    }
}
