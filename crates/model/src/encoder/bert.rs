//! BERT (arXiv 1810.04805): learned position embeddings, bidirectional attention, a layer norm
//! after each half of a layer.
//!
//! Sequences lie end to end, without padding: only matrix products see more than one of them, and
//! their sums do not depend on how many rows there are. So on the CPU a sequence comes to the same
//! numbers, bit for bit, whatever it is computed with.
//!
//! Shape suffixes: `N` tokens, `D` width, `B` sequences of `T` tokens each, `H` heads, `E` width
//! of a head.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use forage_trajectory::TokenId;

use super::config::{BertConfig, BertModule, EMBEDDINGS};
use crate::checkpoint::read_weights;
use crate::config::ParameterSpec;
use crate::error::CheckpointError;
use crate::shards::Shards;

/// Least number of rows of a product.
const ROWS: usize = 8;

/// The library behind burn's CPU backend (gemm 0.19) sums products that come to so many numbers or
/// fewer in another order than larger ones, so that a row would depend on how many others there
/// are.
const SMALL_PRODUCT: usize = 16 * 16;

/// BERT encoder: configuration and weights on one device.
#[derive(Debug)]
pub(super) struct Bert {
    /// Configuration of the model.
    pub(super) config: BertConfig,
    /// Weights, in the order of [`BertConfig::parameters`].
    weights: Vec<Tensor<2>>,
    device: Device,
}

/// Sequences of the same length that lie end to end.
struct Run {
    rows: Range<usize>,
    /// `[B, T]`.
    shape: [usize; 2],
}

impl Bert {
    /// Loads a checkpoint folder, its weights converted to f32. `inspect` is called with the bytes
    /// of every tensor.
    ///
    /// Tensors may be named with or without `bert.` before them. Those of heads are left out: the
    /// pooler, and the heads of pretraining, classification and question answering.
    pub(super) fn load(
        folder: &Path,
        device: &Device,
        inspect: &mut dyn FnMut(&[u8]),
    ) -> Result<Self, CheckpointError> {
        let config = BertConfig::load(folder)?;
        let shards = Shards::open(folder)?;
        let prefix =
            if shards.has("bert.embeddings.word_embeddings.weight") { "bert." } else { "" };
        let specs = config.parameters();
        let name_of = |spec: &ParameterSpec| {
            let name = format!("{prefix}{}", spec.name);
            // Checkpoints that came from TensorFlow.
            let old = name
                .replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta");
            if !shards.has(&name) && shards.has(&old) { old } else { name }
        };
        let names: Vec<String> = specs.iter().map(name_of).collect();
        for (spec, name) in specs.iter().zip(&names) {
            shards.check(name, &spec.disk_shape())?;
        }
        let wanted: BTreeSet<String> = names.iter().cloned().collect();
        shards.check_surplus(&wanted, |name| {
            let name = name.strip_prefix("bert.").unwrap_or(name);
            let heads = ["pooler.", "cls.", "classifier.", "qa_outputs."];
            name == "embeddings.position_ids" || heads.iter().any(|it| name.starts_with(it))
        })?;
        let wanted = names.iter().map(String::as_str).zip(specs.iter().map(|it| it.shape));
        let weights = read_weights(folder, &shards, wanted, device, |numbers| {
            inspect(bytemuck::cast_slice(numbers));
        })?;
        Ok(Self { config, weights, device: device.clone() })
    }

    /// Device of the weights.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Last hidden states of sequences, one after the other, `[N, D]`; more rows that mean nothing
    /// may follow.
    ///
    /// # Panics
    ///
    /// Panics if a sequence is longer than the model, or a token outside its vocabulary.
    pub(super) fn forward(&self, sequences: &[&[TokenId]]) -> Tensor<2> {
        let narrowest = self.config.hidden_size.min(self.config.intermediate_size);
        let n_tokens: usize = sequences.iter().map(|it| it.len()).sum();
        // Sequences of one token fill up what is too small for a product.
        let filling = least_rows(narrowest).saturating_sub(n_tokens);
        let lengths = sequences.iter().map(|it| it.len()).chain(std::iter::repeat_n(1, filling));
        let runs = runs(lengths);
        let mut ids: Vec<i64> = Vec::with_capacity(n_tokens + filling);
        let mut positions: Vec<i64> = Vec::with_capacity(n_tokens + filling);
        for sequence in sequences {
            ids.extend(sequence.iter().map(|&it| i64::from(it)));
            positions.extend((0..).take(sequence.len()));
        }
        ids.resize(n_tokens + filling, 0);
        positions.resize(n_tokens + filling, 0);

        let [words, places, kinds] = [0, 1, 2].map(|at: usize| self.weights[at].clone());
        let words = words.select(0, self.indices(ids)) + kinds.slice_dim(0, 0..1);
        let embedded = words + places.select(0, self.indices(positions));
        let mut hidden_nd = self.norm(embedded, &self.weights[EMBEDDINGS - 2..EMBEDDINGS]);
        for layer in self.weights[EMBEDDINGS..].chunks_exact(BertModule::TENSORS) {
            let of = |module: BertModule| &layer[2 * module as usize..][..2];
            let heads = [BertModule::Query, BertModule::Key, BertModule::Value]
                .map(|module| project(hidden_nd.clone(), of(module)));
            let mixed = runs.iter().map(|run| self.attend(&heads, run)).collect();
            let mixed_nd = project(Tensor::cat(mixed, 0), of(BertModule::Mixed));
            hidden_nd = self.norm(hidden_nd + mixed_nd, of(BertModule::MixedNorm));
            let inner = gelu(project(hidden_nd.clone(), of(BertModule::Inner)));
            let outer_nd = project(inner, of(BertModule::Outer));
            hidden_nd = self.norm(hidden_nd + outer_nd, of(BertModule::OuterNorm));
        }
        hidden_nd
    }

    /// Attention within each sequence of a run: `[B·T, D]`.
    fn attend(&self, heads: &[Tensor<2>; 3], run: &Run) -> Tensor<2> {
        let n_heads = self.config.num_attention_heads;
        let width = self.config.hidden_size / n_heads;
        let [n_seqs, n_tokens] = run.shape;
        let [query, key, value] = [0, 1, 2].map(|at: usize| {
            let rows = heads[at].clone().slice_dim(0, run.rows.clone());
            // [B, H, T, E]
            rows.reshape([n_seqs, n_tokens, n_heads, width]).swap_dims(1, 2)
        });
        let scale = 1.0 / (width as f32).sqrt();
        let shares = softmax((query * scale).matmul(key.swap_dims(2, 3)), 3);
        let mixed_bhte = shares.matmul(value);
        mixed_bhte.swap_dims(1, 2).reshape([n_seqs * n_tokens, n_heads * width])
    }

    /// Layer norm (arXiv 1607.06450) of rows `[N, D]`.
    fn norm(&self, x: Tensor<2>, weight_and_bias: &[Tensor<2>]) -> Tensor<2> {
        let centred = x.clone() - x.mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        let scale = (variance + self.config.layer_norm_eps as f32).sqrt().recip();
        centred * scale * weight_and_bias[0].clone() + weight_and_bias[1].clone()
    }

    fn indices(&self, numbers: Vec<i64>) -> Tensor<1, Int> {
        let n = numbers.len();
        Tensor::from_data(TensorData::new(numbers, [n]), &self.device)
    }
}

/// Linear layer: `[N, in]` to `[N, out]`.
fn project(input: Tensor<2>, weight_and_bias: &[Tensor<2>]) -> Tensor<2> {
    input.matmul(weight_and_bias[0].clone().transpose()) + weight_and_bias[1].clone()
}

/// Least number of rows of which no product with weights is a [`SMALL_PRODUCT`]; `narrowest` is the
/// least width of a weight.
fn least_rows(narrowest: usize) -> usize {
    ROWS.max(SMALL_PRODUCT / narrowest + 1)
}

/// Runs of neighbours of the same length.
fn runs(lengths: impl Iterator<Item = usize>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut start = 0;
    for n_tokens in lengths {
        let end = start + n_tokens;
        match runs.last_mut().filter(|run| run.shape[1] == n_tokens) {
            Some(run) => {
                run.rows.end = end;
                run.shape[0] += 1;
            }
            None => runs.push(Run { rows: start..end, shape: [1, n_tokens] }),
        }
        start = end;
    }
    runs
}
