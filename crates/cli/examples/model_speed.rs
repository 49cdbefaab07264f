//! How fast a model of random weights trains and generates, and the memory it takes.
//!
//! ```text
//! model_speed train    [--shape small|qwen2.5-0.5b] [--device cpu]
//! model_speed generate [--shape …] [--device …] [--batch 16]
//! ```
//!
//! Prints one JSON object. `benchmarks/peers/model` runs it beside `PyTorch`.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use forage_model::{Decoder, Generator, ModelConfig, ModelFamily, Rope, Tokenizer, device, is_cpu};
use forage_optimizer::{AdamW, OptimizerConfig};
use forage_training::gradient::{Objective, compute_gradient};
use forage_training::micro_batch::MicroBatches;
use forage_training::sample::Sample;
use forage_trajectory::protocol::TAGS;
use forage_trajectory::{Policy, Purpose, Request, Sampling, Stream, TokenId};
use rand::RngExt;
use serde_json::json;

/// Sequences of a training step, and tokens that each predicts.
const STEP: [usize; 2] = [16, 256];

/// Tokens of a prompt, and tokens that are generated after it.
const GENERATED: [usize; 2] = [32, 128];

#[derive(Parser)]
struct Arguments {
    /// What is measured.
    what: What,
    #[arg(long, default_value = "small")]
    shape: Shape,
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Sequences that are generated at once.
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Steps, or batches, of which the first is not counted.
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// Compute layers again on the way back.
    #[arg(long)]
    checkpointing: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Train,
    Generate,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    /// 2,048 words, width 256, 4 layers, 4 heads.
    Small,
    /// That of Qwen2.5-0.5B.
    #[value(name = "qwen2.5-0.5b")]
    Qwen25,
}

impl Shape {
    fn config(self) -> ModelConfig {
        let [words, width, inner, layers, heads, kv_heads] = match self {
            Self::Small => [2048, 256, 704, 4, 4, 4],
            Self::Qwen25 => [151_936, 896, 4864, 24, 14, 2],
        };
        ModelConfig {
            model_type: ModelFamily::Qwen2,
            vocab_size: words,
            hidden_size: width,
            intermediate_size: inner,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim: None,
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            rope: Rope::plain(10_000.0),
            attention_bias: true,
            mlp_bias: false,
            tie_word_embeddings: true,
            initializer_range: 0.02,
            other: serde_json::Map::new(),
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.rounds < 2 {
        bail!("the first round is not counted: `--rounds` must be at least 2");
    }
    let decoder = Decoder::init(&arguments.shape.config(), 1, &device(&arguments.device)?);
    let rate = match arguments.what {
        What::Train => train(decoder, &arguments)?,
        What::Generate => generate(decoder, &arguments)?,
    };
    println!("{}", json!({ "tokens_per_second": rate, "peak_bytes": peak_bytes() }));
    Ok(())
}

fn tokens(n: usize, words: usize, salt: u64) -> Vec<TokenId> {
    let mut rng = Stream::new(salt, Purpose::Bootstrap).rng();
    (0..n).map(|_| rng.random_range(1..words as TokenId)).collect()
}

/// Tokens a second of whole steps: forward, backward and AdamW.
fn train(mut decoder: Decoder, arguments: &Arguments) -> Result<f64> {
    let [n_sequences, n_tokens] = STEP;
    let words = decoder.config().vocab_size;
    let samples: Vec<Sample> = (0..n_sequences)
        .map(|it| Sample {
            tokens: tokens(n_tokens + 1, words, it as u64),
            targets: (1..=n_tokens).collect(),
            ..Sample::default()
        })
        .collect();
    let samples: Vec<&Sample> = samples.iter().collect();
    let objective = Objective::CrossEntropy { n_tokens: n_sequences * n_tokens };
    // On the CPU each core takes a part of the step; a card takes it whole.
    let whole = n_sequences * (n_tokens + 1);
    let parts = if is_cpu(decoder.device()) { forage_model::parallel::n_cores() } else { 1 };
    let micro_batches =
        MicroBatches { tokens: whole.div_ceil(parts), checkpointing: arguments.checkpointing };
    let config: OptimizerConfig = toml::from_str("lr = 1e-3").context("defaults")?;
    let mut adamw = AdamW::new(decoder.trainable());
    let decayed = vec![true; decoder.trainable().len()];
    let mut start = Instant::now();
    for round in 0..arguments.rounds {
        if round == 1 {
            start = Instant::now();
        }
        let learned = compute_gradient(&decoder, &samples, objective, micro_batches);
        let gradients = learned.gradients;
        let weights = adamw.apply(&config, 1e-3, decoder.trainable(), &gradients, &decayed);
        adamw.update_moments(&config, gradients);
        decoder = decoder.with_trainable(weights);
        decoder.device().sync()?;
    }
    let n = (arguments.rounds - 1) * n_sequences * n_tokens;
    Ok(n as f64 / start.elapsed().as_secs_f64())
}

/// New tokens a second, sampled, prompts included in the time.
fn generate(decoder: Decoder, arguments: &Arguments) -> Result<f64> {
    let [n_prompt, n_new] = GENERATED;
    let words = decoder.config().vocab_size;
    let tokenizer = Tokenizer::train(&["what has a name has letters".to_owned()], 300, &TAGS)?;
    let mut generator = Generator::new(decoder, tokenizer);
    let mut n = 0;
    let mut start = Instant::now();
    for round in 0..arguments.rounds {
        if round == 1 {
            start = Instant::now();
        }
        let prompts: Vec<Vec<TokenId>> =
            (0..arguments.batch).map(|it| tokens(n_prompt, words, it as u64)).collect();
        let stream = Stream::new(round as u64, Purpose::Rollout);
        let requests: Vec<Request<'_>> = prompts
            .iter()
            .enumerate()
            .map(|(sequence, context)| Request {
                sequence,
                context,
                max_new_tokens: n_new,
                stop: &[],
                stream: stream.of_member(sequence as u64, 0),
            })
            .collect();
        let completions = generator
            .generate(&requests, Sampling::Temperature(1.0))
            .map_err(anyhow::Error::from_boxed)?;
        if round > 0 {
            n += completions.iter().map(|it| it.tokens.len()).sum::<usize>();
        }
        generator.release(&(0..arguments.batch).collect::<Vec<_>>());
    }
    Ok(n as f64 / start.elapsed().as_secs_f64())
}

/// The most memory that the process had, where the system tells.
fn peak_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
