//! The devices that are compiled in beside the CPU, against transformers and against the CPU:
//! forward, backward and generation on a tiny model.
//!
//! `FORAGE_TEST_DEVICE` names the device; without it, the first one that is found is tested.

#![cfg(any(feature = "cuda", feature = "wgpu", feature = "vulkan"))]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use forage_model::{
    Decoder, Generator, LoraConfig, PackedSequences, Tokenizer, TrainingPassOptions, device,
    devices, is_cpu, load, numbers,
};
use forage_trajectory::protocol::TAGS;
use forage_trajectory::{Completion, Policy, Purpose, Request, Sampling, Stream, TokenId};

/// The most that numbers of a GPU may differ from those of the CPU.
const TOLERANCE: f32 = 1e-3;

fn tested_device() -> Device {
    let name = std::env::var("FORAGE_TEST_DEVICE").unwrap_or_else(|_| {
        let named = devices().into_iter().find(|it| it != "cpu");
        named.expect("a device beside the CPU, such as Mesa's llvmpipe (`mesa-vulkan-drivers`)")
    });
    let device = device(&name).unwrap_or_else(|error| panic!("{error}"));
    assert!(!is_cpu(&device), "`{name}` is what the others are compared with");
    device
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Families that differ in biases, norms, heads and the scaling of rotary angles.
const MODELS: [&str; 3] = ["qwen2-tied", "qwen3", "llama3-rope"];

fn assert_near(found: &[f32], wanted: &[f32], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    // Some gradients are sums that cancel out: those of key biases are rounding alone.
    let scale = wanted.iter().fold(1e-3_f32, |most, it| most.max(it.abs()));
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let difference = (found - wanted).abs();
        assert!(difference <= TOLERANCE * scale, "{what} [{at}]: {found} is not {wanted}");
    }
}

fn asked() -> Vec<(Vec<TokenId>, Vec<usize>)> {
    let ids = |n: usize, salt: usize| {
        (0..n).map(|at| ((at * 7 + at * at * salt + salt) % 60) as TokenId).collect()
    };
    vec![(ids(40, 1), (1..40).step_by(3).collect()), (ids(23, 4), (9..23).collect())]
}

/// Log-probabilities, entropies and gradients of a loss that uses both.
fn learn(decoder: &Decoder, checkpoints: bool) -> [Vec<Vec<f32>>; 2] {
    let asked = asked();
    let packed =
        PackedSequences::new(asked.iter().map(|(tokens, at)| (tokens.as_slice(), at.as_slice())));
    let pass = decoder.training_pass(
        &packed,
        TrainingPassOptions { temperature: 0.7, gradient_checkpointing: checkpoints },
    );
    let (logprobs, entropies) = (pass.logprobs.clone(), pass.entropies.clone());
    let loss = (logprobs.clone() * 0.3).exp().mean() + entropies.clone().mean() * 0.2;
    let flat = |it: Tensor<1>| it.inner().into_data().try_into_vec_as::<f32>().unwrap();
    let scores = vec![flat(logprobs), flat(entropies)];
    let gradients = pass.backward(&loss);
    [scores, gradients.iter().map(numbers).collect()]
}

#[test]
fn the_way_forward_and_back_is_that_of_the_cpu() {
    let device = tested_device();
    for name in MODELS {
        let on = |device: &Device| load(&fixture(name), device).unwrap();
        let (cpu, gpu) = (on(&Device::flex()), on(&device));
        let lora = LoraConfig { rank: 4, alpha: 8.0, targets: vec!["q_proj".to_owned()] };
        let adapted = |it: &Decoder| {
            let fresh = it.with_lora(&lora, "models/base", 1).unwrap();
            // Fresh adapters change nothing.
            fresh.with_trainable(fresh.trainable().iter().map(|it| it.clone() + 0.1).collect())
        };
        for (what, cpu, gpu, checkpoints) in [
            ("plain", cpu.clone(), gpu.clone(), false),
            ("with checkpoints", cpu.clone(), gpu.clone(), true),
            ("with adapters", adapted(&cpu), adapted(&gpu), false),
        ] {
            let (wanted, found) = (learn(&cpu, checkpoints), learn(&gpu, checkpoints));
            for (part, wanted, found) in
                [("scores", &wanted[0], &found[0]), ("gradients", &wanted[1], &found[1])]
            {
                assert_eq!(wanted.len(), found.len());
                for (idx, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                    assert_near(found, wanted, &format!("{name} {what}: {part} {idx}"));
                }
            }
        }
    }
}

/// Greedy tokens of two turns, with an observation between them.
fn play(decoder: Decoder, tokenizer: &Tokenizer) -> Vec<Completion> {
    let mut generator = Generator::new(decoder, tokenizer.clone());
    let ids = |n: usize, salt: usize| -> Vec<TokenId> {
        (0..n).map(|at| ((at * 5 + salt) % 60) as TokenId).collect()
    };
    let mut contexts: Vec<Vec<TokenId>> = (0..5).map(|it| ids(3 + it, it / 2)).collect();
    let mut all = Vec::new();
    for turn in 0..2 {
        let requests: Vec<Request<'_>> = contexts
            .iter()
            .enumerate()
            .map(|(sequence, context)| Request {
                sequence,
                context,
                max_new_tokens: 6 + sequence,
                stop: &[],
                stream: Stream::new(1, Purpose::Rollout)
                    .of_member(sequence as u64, 0)
                    .at_turn(turn),
            })
            .collect();
        let completions = generator.generate(&requests, Sampling::Greedy).unwrap();
        for (idx, completion) in completions.into_iter().enumerate() {
            contexts[idx].extend(&completion.tokens);
            contexts[idx].extend(ids(4, idx + 9));
            all.push(completion);
        }
    }
    all
}

#[test]
fn generation_is_that_of_the_cpu() {
    let device = tested_device();
    let text = "the quick brown fox jumps over the lazy dog".to_owned();
    let tokenizer = Tokenizer::train(&[text], 280, &TAGS).unwrap();
    for name in MODELS {
        let wanted = play(load(&fixture(name), &Device::flex()).unwrap(), &tokenizer);
        let found = play(load(&fixture(name), &device).unwrap(), &tokenizer);
        for (idx, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
            assert_eq!(wanted.tokens, found.tokens, "{name}: sequence {idx}");
            assert_near(&found.logprobs, &wanted.logprobs, &format!("{name}: sequence {idx}"));
        }
    }
}
