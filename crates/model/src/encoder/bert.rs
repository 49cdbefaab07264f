//! BERT (arXiv 1810.04805): learned positions, attention in both directions, a layer norm after
//! each half of a layer.
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

use super::config::{BertConfig, EMBEDDINGS, Part};
use crate::checkpoint::{CheckpointError, read_weights};
use crate::shards::Shards;

/// Rows of a product, at least.
const ROWS: usize = 8;

/// The library behind burn's CPU backend (gemm 0.19) sums products that come to so many numbers or
/// fewer in another order than larger ones, so that a row would depend on how many others there are.
const SMALL_PRODUCT: usize = 16 * 16;

/// A BERT's weights on one device.
#[derive(Debug)]
pub(super) struct Bert {
    pub(super) config: BertConfig,
    /// In the order of [`BertConfig::parameters`].
    weights: Vec<Tensor<2>>,
    device: Device,
}

/// Sequences of the same length that lie end to end.
struct Run {
    rows: Range<usize>,
    /// `B` and `T`.
    shape: [usize; 2],
}

impl Bert {
    /// Reads a folder, its weights converted to f32. `seen` is shown the bytes of every tensor.
    ///
    /// Tensors may be named with or without `bert.` before them. Those of heads are left out: the
    /// pooler, and what pretraining and classification put on top.
    pub(super) fn load(
        folder: &Path,
        device: &Device,
        seen: &mut dyn FnMut(&[u8]),
    ) -> Result<Self, CheckpointError> {
        let config = BertConfig::load(folder)?;
        let shards = Shards::open(folder)?;
        let prefix =
            if shards.has("bert.embeddings.word_embeddings.weight") { "bert." } else { "" };
        let specs = config.parameters();
        let names: Vec<String> = specs
            .iter()
            .map(|spec| {
                let name = format!("{prefix}{}", spec.name);
                // Checkpoints that came from TensorFlow.
                let old = name
                    .replace("LayerNorm.weight", "LayerNorm.gamma")
                    .replace("LayerNorm.bias", "LayerNorm.beta");
                if !shards.has(&name) && shards.has(&old) { old } else { name }
            })
            .collect();
        for (spec, name) in specs.iter().zip(&names) {
            shards.file_of(name)?.check(name, &spec.disk_shape())?;
        }
        let wanted: BTreeSet<String> = names.iter().cloned().collect();
        shards.check_surplus(&wanted, |_, name| {
            let name = name.strip_prefix("bert.").unwrap_or(name);
            let is_head = ["pooler.", "cls.", "classifier.", "qa_outputs."];
            Ok(name == "embeddings.position_ids" || is_head.iter().any(|it| name.starts_with(it)))
        })?;
        let wanted = names.iter().map(String::as_str).zip(specs.iter().map(|it| it.shape));
        let weights = read_weights(folder, &shards, wanted, device, |it| {
            seen(bytemuck::cast_slice(it));
        })?;
        Ok(Self { config, weights, device: device.clone() })
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// The last hidden states of sequences, one after the other, and perhaps more rows that mean
    /// nothing: `[N, D]`.
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
        for layer in self.weights[EMBEDDINGS..].chunks_exact(Part::TENSORS) {
            let of = |part: Part| &layer[2 * part as usize..][..2];
            let heads =
                [Part::Query, Part::Key, Part::Value].map(|it| project(hidden_nd.clone(), of(it)));
            let mixed = runs.iter().map(|run| self.attend(&heads, run)).collect();
            let mixed_nd = project(Tensor::cat(mixed, 0), of(Part::Mixed));
            hidden_nd = self.norm(hidden_nd + mixed_nd, of(Part::MixedNorm));
            let inner = gelu(project(hidden_nd.clone(), of(Part::Inner)));
            let outer_nd = project(inner, of(Part::Outer));
            hidden_nd = self.norm(hidden_nd + outer_nd, of(Part::OuterNorm));
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

    /// Rows of mean 0 and variance 1, scaled and moved.
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

/// `[N, in]` to `[N, out]`.
fn project(input: Tensor<2>, weight_and_bias: &[Tensor<2>]) -> Tensor<2> {
    input.matmul(weight_and_bias[0].clone().transpose()) + weight_and_bias[1].clone()
}

/// So many rows that no product of them with weights is a [`SMALL_PRODUCT`]; `narrowest` is the
/// least width of a weight.
fn least_rows(narrowest: usize) -> usize {
    ROWS.max(SMALL_PRODUCT / narrowest + 1)
}

/// Neighbours of the same length, together.
fn runs(lengths: impl Iterator<Item = usize>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut start = 0;
    for n_tokens in lengths {
        let end = start + n_tokens;
        match runs.last_mut().filter(|it| it.shape[1] == n_tokens) {
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
