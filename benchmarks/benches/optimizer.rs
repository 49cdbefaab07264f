//! From rewards to a step: advantages, losses with their gradients, and AdamW.
//!
//! The groups `advantages` and `losses` are of a step of 512 trajectories of 4,096 tokens: every
//! estimator, every loss with its gradient by the log-probabilities, and the importance correction.
//! What takes whole distributions, the entropy and self-distillation, is of a micro-batch: 512
//! tokens over a vocabulary of 8,192.

use std::hint::black_box;

use burn::tensor::{Device, Tensor, TensorData};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forage_benchmarks::SEED;
use forage_optimizer::{
    AdamW, AdvantageEstimator, Cispo, DistillationConfig, DrGrpo, Episode, EpisodeTurn, Gae,
    GaeObservations, Gigpo, GigpoScale, GroupConvention, Grpo, Gspo, ImportanceCorrection,
    KlEstimator, LldsConfig, LldsGranularity, LossAggregation, LossTotals, OptimizerConfig,
    RatioLevel, ReinforcePlusPlus, ReinforcePlusPlusBaseline, Rloo, Sapo, StepGae, Surrogate,
    TokenTis, TrainedTokens, ValueConfig, distillation_loss, entropy, entropy_loss,
    estimate_advantages, grpo, importance_weights, kl_loss, llds_loss, n_preserved_tokens,
    surrogate_loss, value_loss,
};
use forage_trajectory::{Purpose, Stream};
use rand::RngExt;

/// Trained tokens of a step of the quickstart, about.
const TOKENS: usize = 16_384;

/// Trajectories of a large step.
const TRAJECTORIES: usize = 512;

/// Trajectories of one question.
const GROUP: usize = 8;

/// Tokens of each of its trajectories.
const LENGTH: usize = 4096;

/// Tokens of a turn, and of the observation after it.
const TURN: usize = 512;

/// Tokens and vocabulary of a micro-batch of what takes whole distributions.
const ROWS: [usize; 2] = [512, 8192];

/// A matrix of this width, squared, is a million weights.
const WIDTH: usize = 1024;

fn numbers(count: usize, member: u64) -> Vec<f32> {
    let mut rng = Stream::new(SEED, Purpose::Init).of_member(0, member).rng();
    (0..count).map(|_| rng.random::<f32>() - 0.5).collect()
}

fn vector(numbers: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = numbers.len();
    Tensor::from_data(TensorData::new(numbers, [n]), device)
}

fn optimizer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("optimizer");
    let rewards: Vec<Option<f64>> = numbers(16, 0).into_iter().map(|it| Some(it.into())).collect();
    group.throughput(Throughput::Elements(16)).bench_function("advantages", |bencher| {
        bencher.iter(|| grpo(black_box(&rewards), GroupConvention::Forage));
    });

    let device = Device::flex().autodiff();
    let [new, old, advantages] = [1, 2, 3].map(|it| numbers(TOKENS, it));
    let weights = vec![1.0; TOKENS];
    let tokens = TrainedTokens {
        lengths: &[TOKENS],
        old_logprobs: &old,
        advantages: &advantages,
        weights: &weights,
    };
    group.throughput(Throughput::Elements(TOKENS as u64));
    group.bench_function("loss and gradient", |bencher| {
        bencher.iter(|| {
            let new = vector(new.clone(), &device).require_grad();
            let loss = surrogate_loss(&Surrogate::ppo(0.2, 0.28), new.clone(), black_box(&tokens));
            let mut gradients = loss.sum.backward();
            new.grad_remove(&mut gradients)
        });
    });

    let device = Device::flex();
    let matrix = |member| {
        let numbers = TensorData::new(numbers(WIDTH * WIDTH, member), [WIDTH, WIDTH]);
        Tensor::<2>::from_data(numbers, &device)
    };
    let (weights, gradient) = (vec![matrix(4)], matrix(5));
    let mut adamw = AdamW::new(&weights);
    let config = OptimizerConfig { weight_decay: 0.01, ..OptimizerConfig::new(1e-3) };
    group.throughput(Throughput::Elements((WIDTH * WIDTH) as u64));
    group.bench_function("AdamW", |bencher| {
        bencher.iter(|| {
            let gradients = vec![gradient.clone()];
            let weights = adamw.apply(&config, 1e-3, &weights, &gradients, &[true]);
            adamw.update_moments(&config, gradients);
            weights
        });
    });
    group.finish();
}

/// Turns and observations by turns, with a reward at the end of each turn.
fn episodes(values: bool) -> Vec<Episode> {
    let rewards = numbers(TRAJECTORIES * LENGTH / TURN, 6);
    let turns = (0..LENGTH).step_by(2 * TURN);
    let one = |idx: usize| Episode {
        group: idx / GROUP,
        policy: (0..LENGTH).map(|at| (at / TURN).is_multiple_of(2)).collect(),
        rewards: (0..LENGTH)
            .map(|at| {
                let ends = (at / TURN).is_multiple_of(2) && at % TURN == TURN - 1;
                if ends { f64::from(rewards[(idx * LENGTH + at) / TURN]) } else { 0.0 }
            })
            .collect(),
        values: vec![0.1; if values { LENGTH } else { 0 }],
        turns: turns
            .clone()
            .map(|start| EpisodeTurn {
                positions: start..start + TURN,
                state: vec![(start + idx % 2) as u32; TURN],
            })
            .collect(),
        ..Episode::default()
    };
    (0..TRAJECTORIES).map(one).collect()
}

fn advantages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("advantages");
    group.throughput(Throughput::Elements((TRAJECTORIES * LENGTH) as u64)).sample_size(10);
    let convention = GroupConvention::Forage;
    let gigpo = AdvantageEstimator::Gigpo(Gigpo {
        gamma: 0.95,
        step_weight: 1.0,
        step_scale: None,
        scale: GigpoScale::None,
    });
    let (gamma, lambda, observations) = (1.0, 1.0, GaeObservations::Skip);
    for (name, advantage) in [
        ("grpo", AdvantageEstimator::Grpo(Grpo { convention })),
        ("dr-grpo", AdvantageEstimator::DrGrpo(DrGrpo { convention })),
        ("rloo", AdvantageEstimator::Rloo(Rloo { convention })),
        ("reinforce-plus-plus", AdvantageEstimator::ReinforcePlusPlus(ReinforcePlusPlus { gamma })),
        (
            "reinforce-plus-plus-baseline",
            AdvantageEstimator::ReinforcePlusPlusBaseline(ReinforcePlusPlusBaseline { convention }),
        ),
        ("gae", AdvantageEstimator::Gae(Gae { gamma, lambda, observations })),
        (
            "step-gae",
            AdvantageEstimator::StepGae(StepGae { gamma, lambda, observations, step_scale: 1.0 }),
        ),
        ("gigpo", gigpo),
    ] {
        let episodes = episodes(advantage.needs_critic());
        group.bench_function(name, |bencher| {
            bencher.iter(|| estimate_advantages(&advantage, black_box(&episodes)));
        });
    }
    group.finish();
}

fn losses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("losses");
    let n_tokens = TRAJECTORIES * LENGTH;
    group.throughput(Throughput::Elements(n_tokens as u64)).sample_size(10);
    let device = Device::flex().autodiff();
    let [new, old, advantages] = [7, 8, 9].map(|it| numbers(n_tokens, it));
    let lengths = vec![LENGTH; TRAJECTORIES];
    let weights = LossAggregation::SequenceMean {}.weights(&lengths, LossTotals::of(&lengths));
    let tokens = TrainedTokens {
        lengths: &lengths,
        old_logprobs: &old,
        advantages: &advantages,
        weights: &weights,
    };
    let gradient = |loss: &dyn Fn(Tensor<1>) -> Tensor<1>| {
        let new = vector(new.clone(), &device).require_grad();
        let mut gradients = loss(new.clone()).backward();
        new.grad_remove(&mut gradients)
    };
    let ratio = RatioLevel::Token;
    for (name, surrogate) in [
        ("ppo", Surrogate::ppo(0.2, 0.28)),
        ("gspo", Surrogate::Gspo(Gspo { clip_low: 3e-4, clip_high: 4e-4 })),
        ("cispo", Surrogate::Cispo(Cispo { clip_low: None, clip_high: 4.0, ratio })),
        ("sapo", Surrogate::Sapo(Sapo { tau_positive: 1.0, tau_negative: 1.05, ratio })),
        ("reinforce", Surrogate::Reinforce {}),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| gradient(&|new| surrogate_loss(&surrogate, new, &tokens).sum));
        });
    }
    for (name, estimator) in
        [("k1", KlEstimator::K1), ("k2", KlEstimator::K2), ("k3", KlEstimator::K3)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| gradient(&|new| kl_loss(estimator, new, &old, &weights)));
        });
    }
    group.bench_function("value", |bencher| {
        let config = ValueConfig::default();
        bencher.iter(|| gradient(&|new| value_loss(&config, new, &old, &advantages, &weights).sum));
    });
    group.bench_function("llds", |bencher| {
        let config =
            LldsConfig { coefficient: 0.2, gate: LldsGranularity::Action, answer_weight: 0.5 };
        let actions = vec![TURN; n_tokens / TURN];
        let answers: Vec<bool> = (0..n_tokens).map(|at| at % LENGTH >= LENGTH - TURN).collect();
        bencher.iter(|| {
            let n_preserved = n_preserved_tokens(&lengths, &advantages);
            gradient(&|new| llds_loss(&config, new, &tokens, &actions, &answers, n_preserved))
        });
    });
    group.bench_function("correction", |bencher| {
        let correction = ImportanceCorrection::Token(TokenTis { cap: 2.0, reject: None });
        bencher.iter(|| importance_weights(&correction, &lengths, black_box(&new), &old));
    });

    let [rows, width] = ROWS;
    let [student, teacher] =
        [10, 11].map(|it| vector(numbers(rows * width, it), &device).reshape([rows, width]));
    let student = student.inner().autodiff().require_grad();
    let weights = vec![1.0 / rows as f32; rows];
    let config = DistillationConfig::default();
    group.throughput(Throughput::Elements(rows as u64));
    group.bench_function("entropy", |bencher| {
        bencher.iter(|| {
            let loss = entropy_loss(entropy(student.clone()), black_box(&weights));
            let mut gradients = loss.backward();
            student.grad_remove(&mut gradients)
        });
    });
    group.bench_function("self-distillation", |bencher| {
        bencher.iter(|| {
            let loss =
                distillation_loss(&config, student.clone(), teacher.clone(), black_box(&weights));
            let mut gradients = loss.backward();
            student.grad_remove(&mut gradients)
        });
    });
    group.finish();
}

criterion_group!(benches, optimizer, advantages, losses);
criterion_main!(benches);
