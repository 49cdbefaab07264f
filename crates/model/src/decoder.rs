//! The decoder: RMS norms, rotary positions, grouped-query attention, SwiGLU.
//!
//! [`Decoder`] is its weights in the order of [`ModelConfig::parameters`]. It has two ways forward:
//! [`Decoder::forward`] over whole sequences, for training, and [`Decoder::extend`] over a
//! key/value [`Cache`], for generation. Both run the same layers, so what is generated and what is
//! trained agree up to rounding.
//!
//! Shape suffixes: `B` sequences, `T` tokens of each, `N` = B·T, `D` width, `H` query heads,
//! `K` key heads, `G` = H/K, `E` head width, `L` cached positions, `V` vocabulary.

use std::ops::Range;

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};
use forage_trajectory::TokenId;

use crate::config::{Family, ModelConfig};
use crate::init;

/// Added to the scores of positions that must not be attended to.
const MASKED: f32 = -1e9;

/// Rows of a causal block, at most.
const BLOCK: usize = 128;

/// A decoder's weights on one device.
#[derive(Debug, Clone)]
pub struct Decoder {
    config: ModelConfig,
    weights: Vec<Tensor<2>>,
    device: Device,
}

/// Keys and values of a batch of sequences, one row of positions a sequence.
#[derive(Debug)]
pub struct Cache {
    /// How many positions each sequence has.
    pub lengths: Vec<usize>,
    capacity: usize,
    /// Per layer, keys and values, each `[B·capacity, K·E]`; `None` only while they are updated.
    layers: Vec<Option<[Tensor<2>; 2]>>,
}

impl Cache {
    /// Positions there is room for, per sequence.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Replaces keys and values of every layer.
    pub(crate) fn map_layers(&mut self, f: impl Fn(Tensor<2>) -> Tensor<2>) {
        for layer in &mut self.layers {
            *layer = layer.take().map(|it| it.map(&f));
        }
    }
}

/// The weights of one layer, borrowed.
struct Layer<'a> {
    input_norm: &'a Tensor<2>,
    /// Query, key, value: weight, and bias where the family has one.
    projections: [(&'a Tensor<2>, Option<&'a Tensor<2>>); 3],
    /// Of queries and keys, where the family has them.
    head_norms: Option<[&'a Tensor<2>; 2]>,
    output: &'a Tensor<2>,
    post_norm: &'a Tensor<2>,
    gate: &'a Tensor<2>,
    up: &'a Tensor<2>,
    down: &'a Tensor<2>,
}

impl Decoder {
    /// Fresh weights: normal with `initializer_range`, the outputs of the residual branches scaled
    /// down by √(2 · layers), norms 1, biases 0, with two departures for small models: embeddings
    /// are spread wider, and the first layer begins by looking back.
    ///
    /// The numbers come from `seed`, not from the device, so that every device starts alike.
    pub fn init(config: &ModelConfig, seed: u64, device: &Device) -> Self {
        let weights = config
            .parameters()
            .iter()
            .zip(init::weights(config, seed))
            .map(|(spec, numbers)| Tensor::from_data(TensorData::new(numbers, spec.shape), device))
            .collect();
        Self { config: config.clone(), weights, device: device.clone() }
    }

    /// A decoder with these weights, in the order of [`ModelConfig::parameters`].
    ///
    /// # Panics
    ///
    /// Panics if their number or a shape is wrong.
    pub fn with_weights(config: &ModelConfig, weights: Vec<Tensor<2>>, device: &Device) -> Self {
        let specs = config.parameters();
        assert_eq!(specs.len(), weights.len());
        for (spec, weight) in specs.iter().zip(&weights) {
            assert_eq!(weight.dims(), spec.shape, "{}", spec.name);
        }
        Self { config: config.clone(), weights, device: device.clone() }
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device the weights are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The weights, in the order of [`ModelConfig::parameters`].
    pub fn weights(&self) -> &[Tensor<2>] {
        &self.weights
    }

    /// The same weights as fresh leaves of an autodiff graph of their own.
    #[must_use]
    pub fn tracked(&self) -> Self {
        let weights =
            self.weights.iter().map(|it| it.clone().inner().autodiff().require_grad()).collect();
        Self {
            config: self.config.clone(),
            weights,
            device: self.device.clone().inner().autodiff(),
        }
    }

    /// Final hidden states, after the last norm, of right-padded sequences: `[B·T, D]`.
    ///
    /// Attention is causal, so padding at the end changes no earlier position.
    pub fn forward(&self, tokens: &[Vec<TokenId>]) -> Tensor<2> {
        let n_seqs = tokens.len();
        let n_tokens = tokens.iter().map(Vec::len).max().unwrap_or(0);
        let ids = padded(tokens, n_tokens);
        let positions: Vec<usize> = (0..n_seqs).flat_map(|_| 0..n_tokens).collect();
        let rotary = self.rotary(&positions, [n_seqs, n_tokens]);
        let blocks = self.causal_blocks(n_tokens);
        let mut hidden_nd = self.embed(&ids);
        for idx in 0..self.config.num_hidden_layers {
            let layer = self.layer(idx);
            let [query, key, value] = self.heads(&layer, &hidden_nd, &rotary);
            let mixed: Vec<Tensor<4>> = blocks
                .iter()
                .map(|block| {
                    let query = query.clone().slice_dim(2, block.rows.clone());
                    let [key, value] =
                        [&key, &value].map(|it| it.clone().slice_dim(2, 0..block.rows.end));
                    self.attend(query, key, value, &block.mask)
                })
                .collect();
            let mixed_nd = merge_heads(Tensor::cat(mixed, 2));
            hidden_nd = self.finish_layer(&layer, hidden_nd, mixed_nd);
        }
        self.final_norm(hidden_nd)
    }

    /// Logits of hidden states: `[M, D]` to `[M, V]`.
    pub fn logits(&self, hidden_md: Tensor<2>) -> Tensor<2> {
        let head = if self.config.tie_word_embeddings {
            &self.weights[0]
        } else {
            self.weights.last().expect("an untied head is the last weight")
        };
        hidden_md.matmul(head.clone().transpose())
    }

    /// An empty cache for `n_seqs` sequences.
    pub fn cache(&self, n_seqs: usize) -> Cache {
        Cache {
            lengths: vec![0; n_seqs],
            capacity: 0,
            layers: vec![None; self.config.num_hidden_layers],
        }
    }

    /// Appends `tokens[b]` to the cached sequence `b`; a sequence may get none. Returns the logits
    /// after the last token of every sequence that got some: `[rows, V]`, in order.
    pub fn extend(&self, cache: &mut Cache, tokens: &[Vec<TokenId>]) -> Tensor<2> {
        let n_seqs = tokens.len();
        assert_eq!(n_seqs, cache.lengths.len());
        let n_tokens = tokens.iter().map(Vec::len).max().unwrap_or(0);
        let before = cache.lengths.clone();
        let after: Vec<usize> = before.iter().zip(tokens).map(|(len, it)| len + it.len()).collect();
        let longest = after.iter().copied().max().unwrap_or(0);
        self.reserve(cache, longest);

        let ids = padded(tokens, n_tokens);
        let last = self.config.max_position_embeddings - 1;
        let positions: Vec<usize> = before
            .iter()
            .flat_map(|&len| (0..n_tokens).map(move |t| (len + t).min(last)))
            .collect();
        let rotary = self.rotary(&positions, [n_seqs, n_tokens]);
        let mask = self.cached_mask(&before, n_tokens, longest);
        // Of the padded rows, those that hold a token, and where in the cache they go.
        let mut sources = Vec::new();
        let mut targets = Vec::new();
        for (seq, ids) in tokens.iter().enumerate() {
            sources.extend((0..ids.len()).map(|t| (seq * n_tokens + t) as i64));
            targets.extend((0..ids.len()).map(|t| (seq * cache.capacity + before[seq] + t) as i64));
        }
        let full = sources.len() == n_seqs * n_tokens;
        let sources = self.indices(sources);
        let targets = self.indices(targets);

        let mut hidden_nd = self.embed(&ids);
        let (kv_heads, width) = (self.config.num_key_value_heads, self.config.head_dim());
        for idx in 0..self.config.num_hidden_layers {
            let layer = self.layer(idx);
            let [query, key, value] = self.heads(&layer, &hidden_nd, &rotary);
            let stored = cache.layers[idx].take().expect("a reserved layer");
            let updated = stored.into_iter().zip([key, value]).map(|(stored, fresh_bkte)| {
                let fresh =
                    fresh_bkte.swap_dims(1, 2).reshape([n_seqs * n_tokens, kv_heads * width]);
                let fresh = if full { fresh } else { fresh.select(0, sources.clone()) };
                stored.select_assign(0, targets.clone(), fresh, IndexingUpdateOp::Assign)
            });
            let updated: Vec<Tensor<2>> = updated.collect();
            let [key, value] = [&updated[0], &updated[1]].map(|stored| {
                stored
                    .clone()
                    .reshape([n_seqs, cache.capacity, kv_heads, width])
                    .slice([0..n_seqs, 0..longest])
                    .swap_dims(1, 2)
            });
            let mixed_nd = merge_heads(self.attend(query, key, value, &mask));
            let [key, value] = <[Tensor<2>; 2]>::try_from(updated).expect("keys and values");
            cache.layers[idx] = Some([key, value]);
            hidden_nd = self.finish_layer(&layer, hidden_nd, mixed_nd);
        }
        cache.lengths = after;

        let ends: Vec<i64> = tokens
            .iter()
            .enumerate()
            .filter(|(_, it)| !it.is_empty())
            .map(|(seq, it)| (seq * n_tokens + it.len() - 1) as i64)
            .collect();
        let ends = self.indices(ends);
        self.logits(self.final_norm(hidden_nd.select(0, ends)))
    }

    /// Makes room for `longest` positions a sequence, keeping what is there.
    fn reserve(&self, cache: &mut Cache, longest: usize) {
        if longest <= cache.capacity {
            return;
        }
        let n_seqs = cache.lengths.len();
        let width = self.config.num_key_value_heads * self.config.head_dim();
        let capacity = longest.next_power_of_two().max(64);
        for layer in &mut cache.layers {
            let grown = |stored: Option<Tensor<2>>| {
                let fresh = Tensor::<3>::zeros([n_seqs, capacity, width], &self.device);
                let all = match stored {
                    None => fresh,
                    Some(stored) => {
                        let stored = stored.reshape([n_seqs, cache.capacity, width]);
                        fresh.slice_assign([0..n_seqs, 0..cache.capacity], stored)
                    }
                };
                all.reshape([n_seqs * capacity, width])
            };
            *layer = Some(match layer.take() {
                None => [grown(None), grown(None)],
                Some([keys, values]) => [grown(Some(keys)), grown(Some(values))],
            });
        }
        cache.capacity = capacity;
    }

    fn layer(&self, idx: usize) -> Layer<'_> {
        let per_layer = match self.config.model_type {
            Family::Qwen2 => 12,
            Family::Qwen3 => 11,
        };
        let mut weights = self.weights[1 + idx * per_layer..][..per_layer].iter();
        let mut next = || weights.next().expect("as many weights as specs");
        let input_norm = next();
        let biased = self.config.model_type == Family::Qwen2;
        let projections = std::array::from_fn(|_| {
            let weight = next();
            (weight, biased.then(&mut next))
        });
        let head_norms = (!biased).then(|| [next(), next()]);
        Layer {
            input_norm,
            projections,
            head_norms,
            output: next(),
            post_norm: next(),
            gate: next(),
            up: next(),
            down: next(),
        }
    }

    fn embed(&self, ids: &[i64]) -> Tensor<2> {
        self.weights[0].clone().select(0, self.indices(ids.to_vec()))
    }

    /// Queries `[B, H, T, E]`, keys and values `[B, K, T, E]`, rotated.
    fn heads(&self, layer: &Layer<'_>, hidden_nd: &Tensor<2>, rotary: &Rotary) -> [Tensor<4>; 3] {
        let normed_nd = self.norm(hidden_nd.clone(), layer.input_norm);
        let [n_seqs, n_tokens] = rotary.shape;
        let width = self.config.head_dim();
        let counts = [
            self.config.num_attention_heads,
            self.config.num_key_value_heads,
            self.config.num_key_value_heads,
        ];
        std::array::from_fn(|which| {
            let (weight, bias) = layer.projections[which];
            let mut projected = normed_nd.clone().matmul(weight.clone().transpose());
            if let Some(bias) = bias {
                projected = projected + bias.clone();
            }
            if which < 2
                && let Some(norms) = layer.head_norms
            {
                let rows = projected.reshape([n_seqs * n_tokens * counts[which], width]);
                projected = self.norm(rows, norms[which]);
            }
            let heads_bthe = projected.reshape([n_seqs, n_tokens, counts[which], width]);
            let rotated = if which < 2 { rotary.apply(heads_bthe) } else { heads_bthe };
            rotated.swap_dims(1, 2)
        })
    }

    /// Grouped-query attention: `[B, H, T, E]` over `[B, K, L, E]` gives `[B, H, T, E]`.
    ///
    /// The G query heads that share a key head are laid out as rows of one product, so keys are
    /// never repeated.
    fn attend(
        &self,
        query_bhte: Tensor<4>,
        key_bkle: Tensor<4>,
        value_bkle: Tensor<4>,
        mask: &Tensor<4>,
    ) -> Tensor<4> {
        let [n_seqs, n_heads, n_tokens, width] = query_bhte.dims();
        let kv_heads = self.config.num_key_value_heads;
        let group = n_heads / kv_heads;
        let scale = 1.0 / (width as f32).sqrt();
        let rows = (query_bhte * scale).reshape([n_seqs, kv_heads, group * n_tokens, width]);
        let scores = rows.matmul(key_bkle.swap_dims(2, 3)) + mask.clone();
        softmax(scores, 3).matmul(value_bkle).reshape([n_seqs, n_heads, n_tokens, width])
    }

    /// Output projection and SwiGLU, each added to the residual stream.
    fn finish_layer(
        &self,
        layer: &Layer<'_>,
        hidden_nd: Tensor<2>,
        mixed_nd: Tensor<2>,
    ) -> Tensor<2> {
        let hidden_nd = hidden_nd + mixed_nd.matmul(layer.output.clone().transpose());
        let normed_nd = self.norm(hidden_nd.clone(), layer.post_norm);
        let gate = normed_nd.clone().matmul(layer.gate.clone().transpose());
        let up = normed_nd.matmul(layer.up.clone().transpose());
        let gated = gate.clone() * sigmoid(gate) * up;
        hidden_nd + gated.matmul(layer.down.clone().transpose())
    }

    fn final_norm(&self, hidden_md: Tensor<2>) -> Tensor<2> {
        let from_end = if self.config.tie_word_embeddings { 1 } else { 2 };
        self.norm(hidden_md, &self.weights[self.weights.len() - from_end])
    }

    fn norm(&self, x: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
        let mean_square = (x.clone() * x.clone()).mean_dim(1);
        let scale = (mean_square + self.config.rms_norm_eps as f32).sqrt().recip();
        x * scale * weight.clone()
    }

    fn rotary(&self, positions: &[usize], shape: [usize; 2]) -> Rotary {
        let half = self.config.head_dim() / 2;
        let theta = self.config.theta();
        let frequencies: Vec<f64> =
            (0..half).map(|i| theta.powf(-(i as f64) / half as f64)).collect();
        let table = |f: fn(f64) -> f64| {
            let numbers: Vec<f32> = positions
                .iter()
                .flat_map(|&at| frequencies.iter().map(move |freq| f(at as f64 * freq) as f32))
                .collect();
            let shape = [shape[0], shape[1], 1, half];
            Tensor::<4>::from_data(TensorData::new(numbers, shape), &self.device)
        };
        Rotary { cos: table(f64::cos), sin: table(f64::sin), shape }
    }

    /// Causal attention in blocks of rows, so that most of the masked half is never computed.
    fn causal_blocks(&self, n_tokens: usize) -> Vec<Block> {
        let n_blocks = n_tokens.div_ceil(BLOCK).max(1);
        let size = n_tokens.div_ceil(n_blocks).max(1);
        (0..n_tokens)
            .step_by(size)
            .map(|start| {
                let rows = start..(start + size).min(n_tokens);
                let mask = self.cached_mask(&[start], rows.len(), rows.end);
                Block { rows, mask }
            })
            .collect()
    }

    /// `[B, 1, G·T, L]`: a new token of sequence `b` sees the cached ones and itself.
    fn cached_mask(&self, before: &[usize], n_tokens: usize, longest: usize) -> Tensor<4> {
        let group = self.config.num_attention_heads / self.config.num_key_value_heads;
        let mut numbers = Vec::with_capacity(before.len() * group * n_tokens * longest);
        for &len in before {
            for _ in 0..group {
                for row in 0..n_tokens {
                    let seen = (len + row + 1).min(longest);
                    numbers.extend(std::iter::repeat_n(0.0, seen));
                    numbers.extend(std::iter::repeat_n(MASKED, longest - seen));
                }
            }
        }
        let shape = [before.len(), 1, group * n_tokens, longest];
        Tensor::from_data(TensorData::new(numbers, shape), &self.device)
    }

    fn indices(&self, numbers: Vec<i64>) -> Tensor<1, Int> {
        let n = numbers.len();
        Tensor::from_data(TensorData::new(numbers, [n]), &self.device)
    }
}

/// Rows of causal attention that are computed at once.
struct Block {
    rows: Range<usize>,
    /// `[1, 1, G·rows, rows.end]`.
    mask: Tensor<4>,
}

/// `[B, H, T, E]` to `[B·T, H·E]`.
fn merge_heads(mixed_bhte: Tensor<4>) -> Tensor<2> {
    let [n_seqs, n_heads, n_tokens, width] = mixed_bhte.dims();
    mixed_bhte.swap_dims(1, 2).reshape([n_seqs * n_tokens, n_heads * width])
}

/// Rotary tables `[B, T, 1, E/2]`.
struct Rotary {
    cos: Tensor<4>,
    sin: Tensor<4>,
    shape: [usize; 2],
}

impl Rotary {
    /// Rotates `[B, T, heads, E]`: the first half of a head is the real part, the second the
    /// imaginary one.
    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let [n_seqs, n_tokens, heads, width] = x.dims();
        let half = width / 2;
        let real = x.clone().slice([0..n_seqs, 0..n_tokens, 0..heads, 0..half]);
        let imaginary = x.slice([0..n_seqs, 0..n_tokens, 0..heads, half..width]);
        let turned_real = real.clone() * self.cos.clone() - imaginary.clone() * self.sin.clone();
        let turned_imaginary = imaginary * self.cos.clone() + real * self.sin.clone();
        Tensor::cat(vec![turned_real, turned_imaginary], 3)
    }
}

/// Ids of right-padded sequences, row by row. Padding is token 0: nothing looks at it.
fn padded(tokens: &[Vec<TokenId>], n_tokens: usize) -> Vec<i64> {
    let mut ids = Vec::with_capacity(tokens.len() * n_tokens);
    for sequence in tokens {
        ids.extend(sequence.iter().map(|&id| i64::from(id)));
        ids.extend(std::iter::repeat_n(0, n_tokens - sequence.len()));
    }
    ids
}
