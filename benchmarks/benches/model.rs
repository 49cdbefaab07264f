//! The model of the quickstart, untrained: generation, and one gradient.

use std::hint::black_box;

use burn::tensor::Device;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forage_benchmarks::{SEED, WORLD};
use forage_model::{Decoder, Generator, Tokenizer};
use forage_optimizer::{AlgorithmConfig, Surrogate};
use forage_training::config::FreshModel;
use forage_training::gradient::{Objective, compute_gradient};
use forage_training::micro_batch::MicroBatches;
use forage_training::policy_loss::{Normalizers, PolicyLoss};
use forage_training::sample::Sample;
use forage_trajectory::{Policy, Purpose, Request, Sampling, Stream};

/// Sequences at once.
const SEQUENCES: usize = 16;

/// Tokens of a sequence in training.
const TOKENS: usize = 256;

/// Tokens that are generated for each sequence.
const NEW_TOKENS: usize = 32;

fn model() -> (Decoder, Tokenizer) {
    let texts: Vec<String> = WORLD.passages()[..2000].iter().map(|it| it.text.clone()).collect();
    let tokenizer = Tokenizer::train(&texts, 1536).expect("passages have pairs to merge");
    let shape = FreshModel {
        vocab_size: tokenizer.vocab_size(),
        hidden_size: 128,
        intermediate_size: 352,
        layers: 4,
        heads: 4,
        kv_heads: 2,
        max_positions: 1024,
        rope_theta: 100.0,
    };
    (Decoder::init(&shape.config(), SEED, &Device::flex()), tokenizer)
}

fn bench(criterion: &mut Criterion) {
    let (decoder, tokenizer) = model();
    let text = WORLD.passages().iter().map(|it| it.text.as_str()).take(400).collect::<String>();
    let tokens = tokenizer.encode(&text).expect("any text is tokens");
    let sequences: Vec<_> = tokens.chunks_exact(TOKENS).take(SEQUENCES).collect();
    assert_eq!(sequences.len(), SEQUENCES, "the text is too short");
    let mut group = criterion.benchmark_group("model");
    group.sample_size(10);

    let requests: Vec<Request<'_>> = sequences
        .iter()
        .enumerate()
        .map(|(sequence, context)| Request {
            sequence,
            context,
            max_new_tokens: NEW_TOKENS,
            stop: &[],
            stream: Stream::new(SEED, Purpose::Rollout).of_member(sequence as u64, 0),
        })
        .collect();
    group.throughput(Throughput::Elements((SEQUENCES * NEW_TOKENS) as u64));
    group.bench_function("generate", |bencher| {
        bencher.iter(|| {
            let mut generator = Generator::new(decoder.clone(), tokenizer.clone());
            generator.generate(black_box(&requests), Sampling::Temperature(1.0)).expect("it fits")
        });
    });

    // As in a rollout, about every second token was sampled.
    let samples: Vec<Sample> = sequences
        .iter()
        .map(|tokens| {
            let targets: Vec<usize> = (1..TOKENS).step_by(2).collect();
            Sample {
                tokens: tokens.to_vec(),
                old_logprobs: vec![-7.0; targets.len()],
                rollout_logprobs: vec![-7.0; targets.len()],
                advantages: vec![0.5; targets.len()],
                targets,
                ..Sample::default()
            }
        })
        .collect();
    let samples: Vec<&Sample> = samples.iter().collect();
    let algorithm = AlgorithmConfig::grpo(Surrogate::ppo(0.2, 0.2));
    let objective = Objective::PolicyLoss(PolicyLoss {
        algorithm: &algorithm,
        temperature: 1.0,
        distillation: None,
        normalizers: Normalizers::of(&samples),
    });
    let micro_batches = MicroBatches { tokens: 1536, checkpointing: false };
    group.throughput(Throughput::Elements((SEQUENCES * TOKENS) as u64));
    group.bench_function("gradient", |bencher| {
        bencher.iter(|| compute_gradient(&decoder, black_box(&samples), objective, micro_batches));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
