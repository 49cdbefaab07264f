//! CPU backend of generation: the incremental forward pass over plain slices.
//!
//! It computes what `layer.rs` does, without tensors: rows of a batch are few, and for them tensors
//! cost more than the numbers in them. It is batch-invariant to the bit: products are added up in
//! one order whatever the number of rows, and each sequence attends by itself.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `dispatch` is compiled for the oldest processor"
)]

mod attention;
mod panels;

use burn::tensor::Tensor;
use forage_trajectory::TokenId;
use pulp::{Arch, Simd, WithSimd};

use self::attention::{Attention, Heads};
use self::panels::Panels;
use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::families::LayerTensor;
use crate::kv_cache::CpuKvCache;
use crate::ops::numbers;
use crate::simd::{dot, sigmoid};

/// Weights of a [`Decoder`] on the CPU, laid out for generation; adapters are merged.
#[derive(Debug)]
pub(crate) struct CpuDecoder {
    config: ModelConfig,
    embeddings: Tensor<2>,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    head: Panels,
    /// Inverse frequencies of the rotary position embeddings, and the factor of cosines and sines.
    rotary: (Vec<f64>, f64),
    /// Number of tokens that went through it.
    #[cfg(test)]
    pub(crate) n_tokens: std::sync::atomic::AtomicUsize,
}

#[derive(Debug)]
struct Layer {
    input_norm: Vec<f32>,
    query: Linear,
    key: Linear,
    value: Linear,
    query_norm: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
    output: Linear,
    post_norm: Vec<f32>,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// Linear layer: a matrix and a bias.
#[derive(Debug)]
struct Linear {
    matrix: Panels,
    bias: Option<Vec<f32>>,
}

impl CpuDecoder {
    /// Lays out a decoder on the CPU. Its tensors are dropped one by one: where nothing else holds
    /// them, weights take their memory once.
    pub(crate) fn new(decoder: Decoder) -> Self {
        let decoder = if decoder.lora().is_some() { decoder.merged() } else { decoder };
        let (config, head) = (decoder.config().clone(), decoder.head());
        let tensors: Vec<LayerTensor> = config.layer_tensors().into_iter().map(|it| it.0).collect();
        let mut weights = decoder.into_weights();
        let embeddings = weights[0].clone();
        let head = if head == 0 { embeddings.clone() } else { weights.remove(head) };
        let norm = numbers(&weights.pop().expect("a decoder has a last norm"));
        let head = panels(head);
        let mut weights = weights.into_iter().skip(1);
        // One after the other: what a layer leaves is room for the next.
        let layers = (0..config.num_hidden_layers)
            .map(|_| Layer::new(tensors.iter().copied().zip(weights.by_ref()).collect()))
            .collect();
        Self {
            embeddings,
            layers,
            norm,
            head,
            rotary: config.rope.frequencies(config.head_dim()),
            config,
            #[cfg(test)]
            n_tokens: 0.into(),
        }
    }

    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Incremental forward pass: appends tokens, at least one each, to cached sequences. Returns
    /// the logits after the last token of each, `[n, V]`, row by row.
    pub(crate) fn forward_cached(&self, feeds: &mut [(&mut CpuKvCache, &[TokenId])]) -> Vec<f32> {
        let width = self.config.hidden_size;
        let stride = self.heads().key * self.heads().width;
        let mut ids = Vec::new();
        let mut rotations = Vec::new();
        let mut ends = Vec::with_capacity(feeds.len());
        for (cache, tokens) in &*feeds {
            assert!(!tokens.is_empty(), "a sequence goes on by a token at least");
            let first = cache.n_positions(stride);
            ids.extend_from_slice(tokens);
            rotations.extend((first..first + tokens.len()).map(|it| self.rotation(it)));
            ends.push(ids.len() - 1);
        }
        #[cfg(test)]
        self.n_tokens.fetch_add(ids.len(), std::sync::atomic::Ordering::Relaxed);
        let mut hidden = self.embed(&ids);
        for (idx, layer) in self.layers.iter().enumerate() {
            let normed = self.normed(&hidden, &layer.input_norm);
            let (key, key_norm) = (&layer.key, layer.key_norm.as_deref());
            let keys = self.rotated_heads(key, key_norm, &normed, &rotations);
            let values = layer.value.apply(&normed);
            let (query, query_norm) = (&layer.query, layer.query_norm.as_deref());
            let is_last = idx + 1 == self.layers.len();
            let queries = if is_last {
                // Nothing looks at the other rows any more.
                hidden = select_rows(&hidden, width, &ends);
                rotations = ends.iter().map(|&end| std::mem::take(&mut rotations[end])).collect();
                let normed = select_rows(&normed, width, &ends);
                self.rotated_heads(query, query_norm, &normed, &rotations)
            } else {
                self.rotated_heads(query, query_norm, &normed, &rotations)
            };
            let mixed = self.attend(feeds, idx, &queries, &keys, &values);
            self.finish_layer(layer, &mut hidden, &mixed);
        }
        self.head.multiply(&self.normed(&hidden, &self.norm))
    }

    /// Numbers of heads and their width.
    fn heads(&self) -> Heads {
        Heads {
            query: self.config.num_attention_heads,
            key: self.config.num_key_value_heads,
            width: self.config.head_dim(),
        }
    }

    /// Projection of rows `[N, D]` to heads, normed where the family has a norm, and rotated.
    fn rotated_heads(
        &self,
        projection: &Linear,
        norm: Option<&[f32]>,
        rows: &[f32],
        rotations: &[Vec<[f32; 2]>],
    ) -> Vec<f32> {
        let mut heads = projection.apply(rows);
        if let Some(norm) = norm {
            heads = self.normed(&heads, norm);
        }
        rotate(&mut heads, rotations, self.config.head_dim());
        heads
    }

    /// Appends keys and values `[N, K·E]` to the caches, and attends to them: `[M, H·E]`, for
    /// queries `[M, H·E]` of all tokens, or of the last token of each sequence.
    fn attend(
        &self,
        feeds: &mut [(&mut CpuKvCache, &[TokenId])],
        layer: usize,
        queries: &[f32],
        keys: &[f32],
        values: &[f32],
    ) -> Vec<f32> {
        let heads = self.heads();
        let (row, stride) = (heads.query * heads.width, heads.key * heads.width);
        let is_last = layer + 1 == self.layers.len();
        let mut mixed = vec![0.0; queries.len()];
        let (mut fresh, mut asked) = (0..0, 0..0);
        for (cache, tokens) in feeds {
            fresh = fresh.end..fresh.end + tokens.len() * stride;
            let n_asked = if is_last { 1 } else { tokens.len() };
            asked = asked.end..asked.end + n_asked * row;
            let [cached_keys, cached_values] = &mut cache.layers[layer];
            cached_keys.extend_from_slice(&keys[fresh.clone()]);
            cached_values.extend_from_slice(&values[fresh.clone()]);
            let attention = Attention {
                heads,
                queries: &queries[asked.clone()],
                keys: cached_keys,
                values: cached_values,
                mixed: &mut mixed[asked.clone()],
            };
            attention.run();
        }
        mixed
    }

    /// Output projection of the attention `[N, H·E]` and SwiGLU, each added to the residual stream
    /// `[N, D]`.
    fn finish_layer(&self, layer: &Layer, hidden: &mut [f32], mixed: &[f32]) {
        add(hidden, &layer.output.apply(mixed));
        let normed = self.normed(hidden, &layer.post_norm);
        let mut gate = layer.gate.apply(&normed);
        swiglu(&mut gate, &layer.up.apply(&normed));
        add(hidden, &layer.down.apply(&gate));
    }

    /// Token embeddings `[N, D]`.
    fn embed(&self, ids: &[TokenId]) -> Vec<f32> {
        let ids: Vec<i64> = ids.iter().map(|&it| i64::from(it)).collect();
        let ids = Tensor::from_ints(ids.as_slice(), &self.embeddings.device());
        numbers(&self.embeddings.clone().select(0, ids))
    }

    /// Cosines and sines of a position, pair by pair.
    fn rotation(&self, position: usize) -> Vec<[f32; 2]> {
        let (frequencies, scale) = &self.rotary;
        let rotation = |frequency: &f64| {
            let angle = position as f64 * frequency;
            [(scale * angle.cos()) as f32, (scale * angle.sin()) as f32]
        };
        frequencies.iter().map(rotation).collect()
    }

    /// RMS norm of rows as wide as `weight`.
    fn normed(&self, rows: &[f32], weight: &[f32]) -> Vec<f32> {
        let epsilon = self.config.rms_norm_eps as f32;
        let mut normed = vec![0.0; rows.len()];
        Arch::new().dispatch(RmsNorm { rows, weight, epsilon, filled: &mut normed });
        normed
    }
}

/// RMS norm of rows as wide as `weight`.
struct RmsNorm<'a> {
    rows: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
    filled: &'a mut [f32],
}

impl WithSimd for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rows, weight, epsilon, filled } = self;
        let width = weight.len();
        for (row, normed) in rows.chunks_exact(width).zip(filled.chunks_exact_mut(width)) {
            let scale = 1.0 / (dot(simd, row, row) / width as f32 + epsilon).sqrt();
            for ((normed, it), weight) in normed.iter_mut().zip(row).zip(weight) {
                *normed = it * scale * weight;
            }
        }
    }
}

impl Layer {
    fn new(mut weights: Vec<(LayerTensor, Tensor<2>)>) -> Self {
        let mut take = |tensor| {
            let at = weights.iter().position(|it| it.0 == tensor)?;
            Some(weights.swap_remove(at).1)
        };
        let mut norm = |tensor| take(tensor).map(|it| numbers(&it));
        let input_norm = norm(LayerTensor::InputNorm).expect("every family has it");
        let post_norm = norm(LayerTensor::PostNorm).expect("every family has it");
        let (query_norm, key_norm) = (norm(LayerTensor::QueryNorm), norm(LayerTensor::KeyNorm));
        let mut linear = |weight, bias| {
            let matrix = panels(take(weight).expect("every family has it"));
            Linear { matrix, bias: take(bias).map(|it| numbers(&it)) }
        };
        Self {
            input_norm,
            query: linear(LayerTensor::Query, LayerTensor::QueryBias),
            key: linear(LayerTensor::Key, LayerTensor::KeyBias),
            value: linear(LayerTensor::Value, LayerTensor::ValueBias),
            query_norm,
            key_norm,
            output: linear(LayerTensor::Output, LayerTensor::OutputBias),
            post_norm,
            gate: linear(LayerTensor::Gate, LayerTensor::GateBias),
            up: linear(LayerTensor::Up, LayerTensor::UpBias),
            down: linear(LayerTensor::Down, LayerTensor::DownBias),
        }
    }
}

impl Linear {
    fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let mut products = self.matrix.multiply(rows);
        if let Some(bias) = &self.bias {
            for row in products.chunks_exact_mut(bias.len()) {
                add(row, bias);
            }
        }
        products
    }
}

/// Panels of a weight `[out, in]`, which is dropped.
fn panels(weight: Tensor<2>) -> Panels {
    let shape = weight.dims();
    // Not `numbers`, which would keep the tensor while it is copied.
    let numbers: Vec<f32> =
        weight.into_data().try_into_vec_as().expect("f32 tensors read back as f32");
    Panels::new(&numbers, shape)
}

/// Adds numbers to others, in place.
fn add(numbers: &mut [f32], others: &[f32]) {
    for (it, other) in numbers.iter_mut().zip(others) {
        *it += other;
    }
}

/// Rotates the heads of rows, one rotation a row: the first half of a head holds the real parts of
/// its pairs, the second half the imaginary ones.
fn rotate(rows: &mut [f32], rotations: &[Vec<[f32; 2]>], head_dim: usize) {
    let Some(width) = rows.len().checked_div(rotations.len()) else { return };
    for (row, rotation) in rows.chunks_exact_mut(width).zip(rotations) {
        for head in row.chunks_exact_mut(head_dim) {
            let (real, imaginary) = head.split_at_mut(head_dim / 2);
            for ((real, imaginary), [cos, sin]) in real.iter_mut().zip(imaginary).zip(rotation) {
                (*real, *imaginary) =
                    (*real * cos - *imaginary * sin, *imaginary * cos + *real * sin);
            }
        }
    }
}

/// SwiGLU: gate · sigmoid(gate) · up, in the place of the gate.
fn swiglu(gate: &mut [f32], up: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (gate, up) in gate.iter_mut().zip(up) {
                *gate = *gate * sigmoid(*gate) * up;
            }
        },
    );
}

/// Some of the rows of this width.
fn select_rows(rows: &[f32], width: usize, which: &[usize]) -> Vec<f32> {
    which.iter().flat_map(|&row| &rows[row * width..][..width]).copied().collect()
}

#[cfg(test)]
mod tests;
