//! The decoder: RMS norms, rotary positions, grouped-query attention, SwiGLU.
//!
//! [`Decoder`] is its weights in the order of [`ModelConfig::parameters`]. It has two ways forward:
//! [`Decoder::forward`] over whole sequences, for training, and [`Decoder::extend`] over cached
//! keys and values, for generation. Both run the same layers, so what is generated and what is
//! trained agree up to rounding.
//!
//! Shape suffixes: `B` sequences, `T` tokens of each, `N` = B·T, `D` width, `H` query heads,
//! `K` key heads, `G` = H/K, `E` head width, `L` cached positions, `V` vocabulary.

use std::ops::Range;

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use forage_trajectory::TokenId;

use crate::config::{ModelConfig, ParameterSpec};
use crate::families::Part;
use crate::init;
use crate::lora::Adapters;
use crate::rotary::Rotary;

/// Added to the scores of positions that must not be attended to.
const MASKED: f32 = -1e9;

/// Rows of a causal block, at most.
const BLOCK: usize = 128;

/// A decoder's weights on one device.
#[derive(Debug, Clone)]
pub struct Decoder {
    config: ModelConfig,
    weights: Vec<Tensor<2>>,
    /// The tensors of a layer, in order.
    parts: Vec<Part>,
    /// What is added to the weights and trained in their place, where it is.
    adapters: Option<Adapters>,
    device: Device,
}

/// The weights of one layer, borrowed.
pub(crate) struct Layer<'a> {
    weights: &'a [Tensor<2>],
    parts: &'a [Part],
    /// The adapters, and the number of the layer.
    adapters: Option<(&'a Adapters, usize)>,
}

impl<'a> Layer<'a> {
    fn find(&self, part: Part) -> Option<&'a Tensor<2>> {
        self.parts.iter().position(|it| *it == part).map(|at| &self.weights[at])
    }

    fn get(&self, part: Part) -> &'a Tensor<2> {
        self.find(part).expect("every family has it")
    }

    /// `[N, in]` to `[N, out]`, with the bias where the family has one.
    fn project(&self, input: Tensor<2>, weight: Part, bias: Part) -> Tensor<2> {
        let added = self.adapters.and_then(|(it, layer)| it.project(&input, layer, weight));
        let projected = input.matmul(self.get(weight).clone().transpose());
        let projected = match self.find(bias) {
            Some(bias) => projected + bias.clone(),
            None => projected,
        };
        match added {
            Some(added) => projected + added,
            None => projected,
        }
    }
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
        Self::with_weights(config, weights, device)
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
        let parts = (config.model_type.traits().layer)(config);
        Self {
            config: config.clone(),
            weights,
            parts: parts.into_iter().map(|it| it.0).collect(),
            adapters: None,
            device: device.clone(),
        }
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

    /// The adapters, where the decoder has any.
    pub(crate) fn adapters(&self) -> Option<&Adapters> {
        self.adapters.as_ref()
    }

    /// The same weights with these adapters.
    pub(crate) fn with_adapters(&self, adapters: Option<Adapters>) -> Self {
        Self { adapters, ..self.clone() }
    }

    /// What training moves: the adapters where there are any, or else all weights.
    pub fn trainable(&self) -> &[Tensor<2>] {
        self.adapters.as_ref().map_or(&self.weights, |it| &it.weights)
    }

    /// Names, shapes and roles of [`Decoder::trainable`].
    pub fn trainable_parameters(&self) -> Vec<ParameterSpec> {
        self.adapters
            .as_ref()
            .map_or_else(|| self.config.parameters(), |it| it.parameters(&self.config))
    }

    /// The same decoder with other trainable weights.
    ///
    /// # Panics
    ///
    /// Panics if their number or a shape is wrong.
    #[must_use]
    pub fn with_trainable(&self, weights: Vec<Tensor<2>>) -> Self {
        let Some(adapters) = &self.adapters else {
            return Self::with_weights(&self.config, weights, &self.device);
        };
        let specs = adapters.parameters(&self.config);
        assert_eq!(specs.len(), weights.len());
        for (spec, weight) in specs.iter().zip(&weights) {
            assert_eq!(weight.dims(), spec.shape, "{}", spec.name);
        }
        self.with_adapters(Some(adapters.with_weights(weights)))
    }

    /// The same decoder with what is trainable as fresh leaves of an autodiff graph of its own.
    #[must_use]
    pub fn tracked(&self) -> Self {
        let leaf = |it: &Tensor<2>| it.clone().inner().autodiff().require_grad();
        let frozen = self.frozen();
        match &frozen.adapters {
            Some(adapters) => {
                let weights = adapters.weights.iter().map(leaf).collect();
                frozen.with_adapters(Some(adapters.with_weights(weights)))
            }
            None => Self { weights: self.weights.iter().map(leaf).collect(), ..frozen },
        }
    }

    /// The same decoder where graphs are made, but no leaf of one.
    pub(crate) fn frozen(&self) -> Self {
        let constant = |it: &Tensor<2>| it.clone().inner().autodiff();
        let adapters = self
            .adapters
            .as_ref()
            .map(|it| it.with_weights(it.weights.iter().map(constant).collect()));
        Self {
            config: self.config.clone(),
            weights: self.weights.iter().map(constant).collect(),
            parts: self.parts.clone(),
            adapters,
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
        self.layers(&ids, &rotary, |heads| self.attend_causal(&heads, 0..n_tokens, &blocks))
    }

    /// Final hidden states, after the last norm, of sequences that lie end to end: `[N, D]`.
    ///
    /// `spans` are the sequences, in order. Attention stays within a span, and positions begin
    /// anew in each. Tokens outside all spans are padding: nothing attends to them, and their rows
    /// mean nothing.
    ///
    /// # Panics
    ///
    /// Panics if spans overlap, are out of order, or end behind the tokens.
    pub fn forward_packed(&self, tokens: &[TokenId], spans: &[Range<usize>]) -> Tensor<2> {
        let layout = self.layout(tokens, spans);
        self.layers(&layout.ids, &layout.rotary, |heads| self.attend_packed(&heads, &layout))
    }

    /// Where sequences lie that are packed.
    pub(crate) fn layout(&self, tokens: &[TokenId], spans: &[Range<usize>]) -> Layout {
        let n_tokens = tokens.len();
        let mut positions = vec![0; n_tokens];
        // Sequences and the padding between them tile the tokens.
        let mut pieces = Vec::with_capacity(2 * spans.len() + 1);
        let mut end = 0;
        for span in spans {
            assert!(end <= span.start && span.start <= span.end && span.end <= n_tokens);
            for (position, at) in positions[span.clone()].iter_mut().zip(0..) {
                *position = at;
            }
            pieces.push((end..span.start, None));
            pieces.push((span.clone(), Some(self.causal_blocks(span.len()))));
            end = span.end;
        }
        pieces.push((end..n_tokens, None));
        pieces.retain(|it| !it.0.is_empty());
        let ids = tokens.iter().map(|&it| i64::from(it)).collect();
        Layout { ids, rotary: self.rotary(&positions, [1, n_tokens]), pieces }
    }

    fn attend_packed(&self, heads: &[Tensor<4>; 3], layout: &Layout) -> Tensor<4> {
        let [_, n_heads, _, width] = heads[0].dims();
        let mixed = layout.pieces.iter().map(|(piece, blocks)| match blocks {
            Some(blocks) => self.attend_causal(heads, piece.clone(), blocks),
            None => Tensor::zeros([1, n_heads, piece.len(), width], &self.device),
        });
        Tensor::cat(mixed.collect(), 2)
    }

    /// One layer over packed sequences.
    pub(crate) fn packed_layer(
        &self,
        idx: usize,
        hidden_nd: Tensor<2>,
        layout: &Layout,
    ) -> Tensor<2> {
        let layer = self.layer(idx);
        let heads = self.heads(&layer, &hidden_nd, &layout.rotary);
        let mixed_nd = merge_heads(self.attend_packed(&heads, layout));
        self.finish_layer(&layer, hidden_nd, mixed_nd)
    }

    /// All layers and the last norm: `[N, D]`. `attend` makes `[B, H, T, E]` of queries, keys and
    /// values.
    fn layers(
        &self,
        ids: &[i64],
        rotary: &Rotary,
        attend: impl Fn([Tensor<4>; 3]) -> Tensor<4>,
    ) -> Tensor<2> {
        let mut hidden_nd = self.embed(ids);
        for idx in 0..self.config.num_hidden_layers {
            let layer = self.layer(idx);
            let mixed_nd = merge_heads(attend(self.heads(&layer, &hidden_nd, rotary)));
            hidden_nd = self.finish_layer(&layer, hidden_nd, mixed_nd);
        }
        self.final_norm(hidden_nd)
    }

    /// Causal attention within a span of positions, block by block.
    fn attend_causal(
        &self,
        [query, key, value]: &[Tensor<4>; 3],
        span: Range<usize>,
        blocks: &[Block],
    ) -> Tensor<4> {
        let mixed = blocks.iter().map(|block| {
            let rows = span.start + block.rows.start..span.start + block.rows.end;
            let seen = span.start..rows.end;
            let query = query.clone().slice_dim(2, rows);
            let [key, value] = [key, value].map(|it| it.clone().slice_dim(2, seen.clone()));
            self.attend(query, key, value, &block.mask)
        });
        Tensor::cat(mixed.collect(), 2)
    }

    /// Logits of hidden states: `[M, D]` to `[M, V]`.
    pub fn logits(&self, hidden_md: Tensor<2>) -> Tensor<2> {
        hidden_md.matmul(self.weights[self.head()].clone().transpose())
    }

    /// Where among the weights the head is.
    pub(crate) fn head(&self) -> usize {
        if self.config.tie_word_embeddings { 0 } else { self.weights.len() - 1 }
    }

    pub(crate) fn layer(&self, idx: usize) -> Layer<'_> {
        let n_parts = self.parts.len();
        Layer {
            weights: &self.weights[1 + idx * n_parts..][..n_parts],
            parts: &self.parts,
            adapters: self.adapters.as_ref().map(|it| (it, idx)),
        }
    }

    pub(crate) fn embed(&self, ids: &[i64]) -> Tensor<2> {
        self.weights[0].clone().select(0, self.indices(ids.to_vec()))
    }

    /// Queries `[B, H, T, E]`, keys and values `[B, K, T, E]`, rotated.
    pub(crate) fn heads(
        &self,
        layer: &Layer<'_>,
        hidden_nd: &Tensor<2>,
        rotary: &Rotary,
    ) -> [Tensor<4>; 3] {
        let normed_nd = self.norm(hidden_nd.clone(), layer.get(Part::InputNorm));
        let [n_seqs, n_tokens] = rotary.shape;
        let width = self.config.head_dim();
        let (heads, kv_heads) = (self.config.num_attention_heads, self.config.num_key_value_heads);
        let project = |weight, bias, n_heads: usize| {
            let projected = layer.project(normed_nd.clone(), weight, bias);
            projected.reshape([n_seqs, n_tokens, n_heads, width])
        };
        let normed = |heads_bthe: Tensor<4>, norm| match layer.find(norm) {
            Some(weight) => {
                let shape = heads_bthe.dims();
                // One row a head.
                let rows = heads_bthe.reshape([shape[0] * shape[1] * shape[2], width]);
                self.norm(rows, weight).reshape(shape)
            }
            None => heads_bthe,
        };
        let query = normed(project(Part::Query, Part::QueryBias, heads), Part::QueryNorm);
        let key = normed(project(Part::Key, Part::KeyBias, kv_heads), Part::KeyNorm);
        let value = project(Part::Value, Part::ValueBias, kv_heads);
        [rotary.apply(query), rotary.apply(key), value].map(|it| it.swap_dims(1, 2))
    }

    /// Grouped-query attention: `[B, H, T, E]` over `[B, K, L, E]` gives `[B, H, T, E]`.
    ///
    /// The G query heads that share a key head are laid out as rows of one product, so keys are
    /// never repeated.
    pub(crate) fn attend(
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
    pub(crate) fn finish_layer(
        &self,
        layer: &Layer<'_>,
        hidden_nd: Tensor<2>,
        mixed_nd: Tensor<2>,
    ) -> Tensor<2> {
        let hidden_nd = hidden_nd + layer.project(mixed_nd, Part::Output, Part::OutputBias);
        let normed_nd = self.norm(hidden_nd.clone(), layer.get(Part::PostNorm));
        let gate = layer.project(normed_nd.clone(), Part::Gate, Part::GateBias);
        let up = layer.project(normed_nd, Part::Up, Part::UpBias);
        let gated = gate.clone() * sigmoid(gate) * up;
        hidden_nd + layer.project(gated, Part::Down, Part::DownBias)
    }

    pub(crate) fn final_norm(&self, hidden_md: Tensor<2>) -> Tensor<2> {
        let from_end = if self.config.tie_word_embeddings { 1 } else { 2 };
        self.norm(hidden_md, &self.weights[self.weights.len() - from_end])
    }

    fn norm(&self, x: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
        let mean_square = (x.clone() * x.clone()).mean_dim(1);
        let scale = (mean_square + self.config.rms_norm_eps as f32).sqrt().recip();
        x * scale * weight.clone()
    }

    pub(crate) fn rotary(&self, positions: &[usize], shape: [usize; 2]) -> Rotary {
        Rotary::new(&self.config.rope, self.config.head_dim(), positions, shape, &self.device)
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
    pub(crate) fn cached_mask(
        &self,
        before: &[usize],
        n_tokens: usize,
        longest: usize,
    ) -> Tensor<4> {
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

    pub(crate) fn indices(&self, numbers: Vec<i64>) -> Tensor<1, Int> {
        let n = numbers.len();
        Tensor::from_data(TensorData::new(numbers, [n]), &self.device)
    }
}

/// Sequences that lie end to end.
pub(crate) struct Layout {
    pub(crate) ids: Vec<i64>,
    rotary: Rotary,
    /// What tiles the tokens: sequences, and padding.
    pieces: Vec<(Range<usize>, Option<Vec<Block>>)>,
}

/// Rows of causal attention that are computed at once.
struct Block {
    rows: Range<usize>,
    /// `[1, 1, G·rows, rows.end]`.
    mask: Tensor<4>,
}

/// `[B, H, T, E]` to `[B·T, H·E]`.
pub(crate) fn merge_heads(mixed_bhte: Tensor<4>) -> Tensor<2> {
    let [n_seqs, n_heads, n_tokens, width] = mixed_bhte.dims();
    mixed_bhte.swap_dims(1, 2).reshape([n_seqs * n_tokens, n_heads * width])
}

/// Ids of right-padded sequences, row by row. Padding is token 0: nothing looks at it.
pub(crate) fn padded(tokens: &[Vec<TokenId>], n_tokens: usize) -> Vec<i64> {
    let mut ids = Vec::with_capacity(tokens.len() * n_tokens);
    for sequence in tokens {
        ids.extend(sequence.iter().map(|&id| i64::from(id)));
        ids.extend(std::iter::repeat_n(0, n_tokens - sequence.len()));
    }
    ids
}
