//! From rewards to a step: advantages, the loss with its gradient, and AdamW.

use std::hint::black_box;

use burn::tensor::{Device, Tensor, TensorData};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forage_benchmarks::SEED;
use forage_optimizer::{AdamW, OptimizerConfig, group_advantages, policy_loss};
use forage_trajectory::{Purpose, Stream};
use rand::RngExt;

/// Trained tokens of a step of the quickstart, about.
const TOKENS: usize = 16_384;

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

fn config() -> OptimizerConfig {
    OptimizerConfig {
        lr: 1e-3,
        warmup_steps: 0,
        betas: [0.9, 0.95],
        eps: 1e-8,
        weight_decay: 0.01,
        clip_norm: 1.0,
        clip_low: 0.2,
        clip_high: 0.28,
    }
}

fn optimizer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("optimizer");
    let rewards: Vec<Option<f64>> = numbers(16, 0).into_iter().map(|it| Some(it.into())).collect();
    group.throughput(Throughput::Elements(16)).bench_function("advantages", |bencher| {
        bencher.iter(|| group_advantages(black_box(&rewards)));
    });

    let config = config();
    let device = Device::flex().autodiff();
    let [new, old, advantages] = [1, 2, 3].map(|it| numbers(TOKENS, it));
    group.throughput(Throughput::Elements(TOKENS as u64));
    group.bench_function("loss and gradient", |bencher| {
        bencher.iter(|| {
            let new = vector(new.clone(), &device).require_grad();
            let loss = policy_loss(&config, new.clone(), black_box(&old), &advantages);
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
    group.throughput(Throughput::Elements((WIDTH * WIDTH) as u64));
    group.bench_function("AdamW", |bencher| {
        bencher.iter(|| adamw.step(&config, 1e-3, &weights, vec![gradient.clone()], &[true]));
    });
    group.finish();
}

criterion_group!(benches, optimizer);
criterion_main!(benches);
