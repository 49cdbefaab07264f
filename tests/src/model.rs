//! A model that nobody trained, small enough to run a whole training in a second.
//!
//! Its weights are random, except that it writes a tag of the grammar as often as anything else:
//! so it searches and answers now and then, its rewards differ, and training has something to do.

use std::fs;
use std::path::Path;

use forage_model::{ModelConfig, ParameterRole, Tokenizer, write_tensors};
use forage_rollout::observation::INVALID_ACTION;
use forage_training::config::FreshModel;
use forage_trajectory::protocol::TAGS;
use forage_trajectory::{Purpose, Stream};
use rand::RngExt;

/// Tokens of the tokenizer: every byte, the tags, and some merges.
const VOCABULARY: usize = 400;

/// Random weights are below this, of either sign.
const SPREAD: f32 = 0.035;

/// The first column of every embedding, much above the others.
const COMMON: f32 = 0.1;

/// The first column of a tag's row in the head: with [`COMMON`], a logit of about 4 for each tag
/// after any token, against 0 for others. Half of what is sampled are tags.
const TAG: f32 = 1.05;

/// The rest of a tag's row against that of others, so that it matters what was written before.
const TAG_SCALE: f32 = 10.0;

/// What a model looks like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Width of the residual stream.
    pub width: usize,
    /// Layers.
    pub layers: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { width: 32, layers: 2 }
    }
}

/// Writes a model folder: configuration, weights, tokenizer. The same shape gives the same bytes.
pub fn write_model(folder: &Path, shape: Shape) {
    fs::create_dir_all(folder).expect("a fresh folder can be written");
    let page = "Question: Who directed the film Veltor? Doc 1(Title: Mirko Tavel) was born in";
    let texts = [page, INVALID_ACTION].map(|it| it.repeat(4));
    let tokenizer =
        Tokenizer::train(&texts, VOCABULARY, &TAGS).expect("the text has pairs to merge");
    tokenizer.save(folder).expect("a fresh folder can be written");

    let Shape { width, layers } = shape;
    let fresh = FreshModel {
        vocab_size: tokenizer.vocab_size(),
        hidden_size: width,
        intermediate_size: 2 * width,
        layers,
        heads: 2,
        kv_heads: 1,
        max_positions: 512,
        rope_theta: 100.0,
    };
    // With a tied head, a model without training repeats its last token.
    let config = ModelConfig { tie_word_embeddings: false, ..fresh.config() };
    let json = serde_json::to_vec(&config).expect("a configuration is JSON");
    fs::write(folder.join("config.json"), json).expect("a fresh folder can be written");

    let mut rng = Stream::new(1, Purpose::Init).rng();
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = config
        .parameters()
        .into_iter()
        .map(|spec| {
            let [rows, columns] = spec.shape;
            let number = |_| match spec.role {
                ParameterRole::Norm => 1.0,
                _ => rng.random_range(-SPREAD..SPREAD),
            };
            let numbers = (0..rows * columns).map(number).collect();
            let shape = if spec.role.is_vector() { vec![columns] } else { vec![rows, columns] };
            (spec.name, shape, numbers)
        })
        .collect();
    let embeddings = &mut tensors[0].2;
    embeddings.chunks_exact_mut(width).for_each(|row| row[0] = COMMON);
    // Special tokens have the first ids; the first of them, the end of the text, stays rare.
    let head = &mut tensors.last_mut().expect("a model has tensors").2;
    for row in head.chunks_exact_mut(width).skip(1).take(TAGS.len()) {
        for number in row.iter_mut() {
            *number *= TAG_SCALE;
        }
        row[0] = TAG;
    }
    write_tensors(&folder.join("model.safetensors"), &tensors).expect("as before");
}
