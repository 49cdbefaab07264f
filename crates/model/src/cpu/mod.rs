//! A decoder that goes on with cached sequences in the program's own memory: generation on the CPU.
//!
//! It computes what `layer.rs` says, over plain slices: rows of a batch are few, and for them
//! tensors cost more than the numbers in them. Nothing it says of a sequence depends on what else
//! is in the batch, to the bit: products are added up in one order whatever the number of rows, and
//! each sequence attends by itself.

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
use crate::cache::HostCache;
use crate::checkpoint::numbers;
use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::families::Part;
use crate::vectors::{dot, sigmoid};

/// The weights of a [`Decoder`], laid out for generation; adapters are added to them.
#[derive(Debug)]
pub(crate) struct HostDecoder {
    config: ModelConfig,
    embeddings: Tensor<2>,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    head: Panels,
    /// Angle a token of each pair of a head, and the factor of cosines and sines.
    rotary: (Vec<f64>, f64),
    /// Tokens that went through it.
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

/// A matrix, and what is added to its products.
#[derive(Debug)]
struct Linear {
    matrix: Panels,
    bias: Option<Vec<f32>>,
}

impl HostDecoder {
    /// Lays out a decoder on the CPU. What it was made of is dropped piece by piece: where nobody
    /// else has it, weights take their memory once.
    pub(crate) fn new(decoder: Decoder) -> Self {
        let decoder = if decoder.lora().is_some() { decoder.merged() } else { decoder };
        let (config, head) = (decoder.config().clone(), decoder.head());
        let parts: Vec<Part> =
            (config.model_type.traits().layer)(&config).into_iter().map(|it| it.0).collect();
        let mut weights = decoder.into_weights();
        let embeddings = weights[0].clone();
        let head = if head == 0 { embeddings.clone() } else { weights.remove(head) };
        let norm = numbers(&weights.pop().expect("a decoder has a last norm"));
        let head = panels(head);
        let mut weights = weights.into_iter().skip(1);
        // One after the other: what a layer leaves is room for the next.
        let layers = (0..config.num_hidden_layers)
            .map(|_| Layer::new(parts.iter().copied().zip(weights.by_ref()).collect()))
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

    /// Appends tokens, at least one each, to cached sequences. Returns the logits after the last
    /// token of each, `[n, V]`, row by row.
    pub(crate) fn extend(&self, feeds: &mut [(&mut HostCache, &[TokenId])]) -> Vec<f32> {
        let config = &self.config;
        let (width, head_dim) = (config.hidden_size, config.head_dim());
        let heads = Heads {
            query: config.num_attention_heads,
            key: config.num_key_value_heads,
            width: head_dim,
        };
        let (row, stride) = (heads.query * head_dim, heads.key * head_dim);
        let mut ids = Vec::new();
        let mut turns = Vec::new();
        let mut ends = Vec::with_capacity(feeds.len());
        for (cache, tokens) in &*feeds {
            assert!(!tokens.is_empty(), "a sequence goes on by a token at least");
            let first = cache.n_positions(stride);
            ids.extend_from_slice(tokens);
            turns.extend((first..first + tokens.len()).map(|it| self.turns(it)));
            ends.push(ids.len() - 1);
        }
        #[cfg(test)]
        self.n_tokens.fetch_add(ids.len(), std::sync::atomic::Ordering::Relaxed);
        let mut hidden = self.embed(&ids);
        for (idx, layer) in self.layers.iter().enumerate() {
            let is_last = idx + 1 == self.layers.len();
            let normed = self.normed(&hidden, &layer.input_norm);
            let mut keys = layer.key.apply(&normed);
            if let Some(norm) = &layer.key_norm {
                keys = self.normed(&keys, norm);
            }
            rotate(&mut keys, &turns, head_dim);
            let values = layer.value.apply(&normed);
            let mut queries = if is_last {
                // Nothing looks at the other rows any more.
                hidden = chosen(&hidden, width, &ends);
                turns = ends.iter().map(|&it| std::mem::take(&mut turns[it])).collect();
                layer.query.apply(&chosen(&normed, width, &ends))
            } else {
                layer.query.apply(&normed)
            };
            if let Some(norm) = &layer.query_norm {
                queries = self.normed(&queries, norm);
            }
            rotate(&mut queries, &turns, head_dim);
            let mut mixed = vec![0.0; queries.len()];
            let (mut fresh, mut asked) = (0..0, 0..0);
            for (cache, tokens) in &mut *feeds {
                fresh = fresh.end..fresh.end + tokens.len() * stride;
                let n_asked = if is_last { 1 } else { tokens.len() };
                asked = asked.end..asked.end + n_asked * row;
                let [cached_keys, cached_values] = &mut cache.layers[idx];
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
            add(&mut hidden, &layer.output.apply(&mixed));
            let normed = self.normed(&hidden, &layer.post_norm);
            let mut gate = layer.gate.apply(&normed);
            gated(&mut gate, &layer.up.apply(&normed));
            add(&mut hidden, &layer.down.apply(&gate));
        }
        self.head.multiply(&self.normed(&hidden, &self.norm))
    }

    /// `[N, D]`.
    fn embed(&self, ids: &[TokenId]) -> Vec<f32> {
        let ids: Vec<i64> = ids.iter().map(|&it| i64::from(it)).collect();
        let ids = Tensor::from_ints(ids.as_slice(), &self.embeddings.device());
        numbers(&self.embeddings.clone().select(0, ids))
    }

    /// Cosines and sines of a position, pair by pair.
    fn turns(&self, position: usize) -> Vec<[f32; 2]> {
        let (frequencies, scale) = &self.rotary;
        let turn = |frequency: &f64| {
            let angle = position as f64 * frequency;
            [(scale * angle.cos()) as f32, (scale * angle.sin()) as f32]
        };
        frequencies.iter().map(turn).collect()
    }

    /// The RMS norm of rows as wide as `weight`.
    fn normed(&self, rows: &[f32], weight: &[f32]) -> Vec<f32> {
        let epsilon = self.config.rms_norm_eps as f32;
        let mut normed = vec![0.0; rows.len()];
        Arch::new().dispatch(Normed { rows, weight, epsilon, filled: &mut normed });
        normed
    }
}

/// The RMS norm of rows as wide as `weight`.
struct Normed<'a> {
    rows: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
    filled: &'a mut [f32],
}

impl WithSimd for Normed<'_> {
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
    fn new(mut weights: Vec<(Part, Tensor<2>)>) -> Self {
        let mut take = |part| {
            let at = weights.iter().position(|it| it.0 == part)?;
            Some(weights.swap_remove(at).1)
        };
        let mut norm = |part| take(part).map(|it| numbers(&it));
        let input_norm = norm(Part::InputNorm).expect("every family has it");
        let post_norm = norm(Part::PostNorm).expect("every family has it");
        let (query_norm, key_norm) = (norm(Part::QueryNorm), norm(Part::KeyNorm));
        let mut linear = |weight, bias| {
            let matrix = panels(take(weight).expect("every family has it"));
            Linear { matrix, bias: take(bias).map(|it| numbers(&it)) }
        };
        Self {
            input_norm,
            query: linear(Part::Query, Part::QueryBias),
            key: linear(Part::Key, Part::KeyBias),
            value: linear(Part::Value, Part::ValueBias),
            query_norm,
            key_norm,
            output: linear(Part::Output, Part::OutputBias),
            post_norm,
            gate: linear(Part::Gate, Part::GateBias),
            up: linear(Part::Up, Part::UpBias),
            down: linear(Part::Down, Part::DownBias),
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

/// A weight `[out, in]`, which takes no memory besides where nobody else has it.
fn panels(weight: Tensor<2>) -> Panels {
    let shape = weight.dims();
    let numbers: Vec<f32> =
        weight.into_data().try_into_vec_as().expect("f32 tensors read back as f32");
    Panels::new(&numbers, shape)
}

/// Adds numbers to others.
fn add(numbers: &mut [f32], others: &[f32]) {
    for (it, other) in numbers.iter_mut().zip(others) {
        *it += other;
    }
}

/// Turns the heads of rows, whose first half is the real part and the second the imaginary one.
fn rotate(rows: &mut [f32], turns: &[Vec<[f32; 2]>], head_dim: usize) {
    let Some(width) = rows.len().checked_div(turns.len()) else { return };
    for (row, turns) in rows.chunks_exact_mut(width).zip(turns) {
        for head in row.chunks_exact_mut(head_dim) {
            let (real, imaginary) = head.split_at_mut(head_dim / 2);
            for ((real, imaginary), [cos, sin]) in real.iter_mut().zip(imaginary).zip(turns) {
                (*real, *imaginary) =
                    (*real * cos - *imaginary * sin, *imaginary * cos + *real * sin);
            }
        }
    }
}

/// SwiGLU: gate · sigmoid(gate) · up, in the place of the gate.
fn gated(gate: &mut [f32], up: &[f32]) {
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
fn chosen(rows: &[f32], width: usize, which: &[usize]) -> Vec<f32> {
    which.iter().flat_map(|&it| &rows[it * width..][..width]).copied().collect()
}

#[cfg(test)]
mod tests;
