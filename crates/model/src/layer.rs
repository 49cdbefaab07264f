//! Decoder layer: what training and generation both compute, each around an attention of its own.
//!
//! [`Layer`] borrows the weights of one layer. It knows neither where keys and values come from nor
//! which positions see each other. Shape suffixes as in `decoder.rs`.

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{FloatDType, Tensor};

use crate::config::ModelConfig;
use crate::families::LayerTensor;
use crate::lora::Adapters;
use crate::ops::{linear, matmul};
use crate::rope::RotaryEmbedding;

/// Weights of one decoder layer, borrowed.
pub(crate) struct Layer<'a> {
    /// Configuration of the model.
    pub(crate) config: &'a ModelConfig,
    /// Weights of the layer, in the order of `tensors`.
    pub(crate) weights: &'a [Tensor<2>],
    /// Kinds of the weights.
    pub(crate) tensors: &'a [LayerTensor],
    /// LoRA adapters of the model, and the index of the layer.
    pub(crate) adapters: Option<(&'a Adapters, usize)>,
    /// Type that the factors of products are rounded to.
    pub(crate) compute: FloatDType,
}

impl<'a> Layer<'a> {
    fn optional_weight(&self, tensor: LayerTensor) -> Option<&'a Tensor<2>> {
        self.tensors.iter().position(|it| *it == tensor).map(|at| &self.weights[at])
    }

    fn weight(&self, tensor: LayerTensor) -> &'a Tensor<2> {
        self.optional_weight(tensor).expect("every family has it")
    }

    /// Linear projection `[N, in]` to `[N, out]`, with the bias where the family has one and the
    /// adapter where there is one.
    fn project(&self, input: Tensor<2>, weight: LayerTensor, bias: LayerTensor) -> Tensor<2> {
        let added = self
            .adapters
            .and_then(|(adapters, layer)| adapters.project(&input, layer, weight, self.compute));
        let projected = linear(input, self.weight(weight), self.compute);
        let projected = match self.optional_weight(bias) {
            Some(bias) => projected + bias.clone(),
            None => projected,
        };
        match added {
            Some(added) => projected + added,
            None => projected,
        }
    }

    fn norm(&self, rows: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
        rms_norm(rows, weight, self.config.rms_norm_eps)
    }

    /// Rotated queries `[B, H, T, E]`, rotated keys and values `[B, K, T, E]` of hidden states
    /// `[N, D]`.
    pub(crate) fn heads(&self, hidden_nd: &Tensor<2>, rotary: &RotaryEmbedding) -> [Tensor<4>; 3] {
        let normed_nd = self.norm(hidden_nd.clone(), self.weight(LayerTensor::InputNorm));
        let [n_seqs, n_tokens] = rotary.shape;
        let width = self.config.head_dim();
        let (heads, kv_heads) = (self.config.num_attention_heads, self.config.num_key_value_heads);
        let project = |weight, bias, n_heads: usize| {
            let projected = self.project(normed_nd.clone(), weight, bias);
            projected.reshape([n_seqs, n_tokens, n_heads, width])
        };
        let query = project(LayerTensor::Query, LayerTensor::QueryBias, heads);
        let query = self.norm_heads(query, LayerTensor::QueryNorm);
        let key = project(LayerTensor::Key, LayerTensor::KeyBias, kv_heads);
        let key = self.norm_heads(key, LayerTensor::KeyNorm);
        let value = project(LayerTensor::Value, LayerTensor::ValueBias, kv_heads);
        [rotary.apply(query), rotary.apply(key), value].map(|it| it.swap_dims(1, 2))
    }

    /// RMS norm of each head of `[B, T, heads, E]`, in families that have one.
    fn norm_heads(&self, heads_bthe: Tensor<4>, norm: LayerTensor) -> Tensor<4> {
        let Some(weight) = self.optional_weight(norm) else { return heads_bthe };
        let shape = heads_bthe.dims();
        // One row a head.
        let rows = heads_bthe.reshape([shape[0] * shape[1] * shape[2], shape[3]]);
        self.norm(rows, weight).reshape(shape)
    }

    /// Output projection of the attention `[N, H·E]` and SwiGLU, each added to the residual stream
    /// `[N, D]`.
    pub(crate) fn finish(&self, hidden_nd: Tensor<2>, mixed_nd: Tensor<2>) -> Tensor<2> {
        let projected_nd = self.project(mixed_nd, LayerTensor::Output, LayerTensor::OutputBias);
        let hidden_nd = hidden_nd + projected_nd;
        let normed_nd = self.norm(hidden_nd.clone(), self.weight(LayerTensor::PostNorm));
        let gate = self.project(normed_nd.clone(), LayerTensor::Gate, LayerTensor::GateBias);
        let up = self.project(normed_nd, LayerTensor::Up, LayerTensor::UpBias);
        let gated = gate.clone() * sigmoid(gate) * up;
        hidden_nd + self.project(gated, LayerTensor::Down, LayerTensor::DownBias)
    }
}

/// Grouped-query attention (arXiv 2305.13245): `[B, H, T, E]` over `[B, K, L, E]` gives
/// `[B, H, T, E]`. The mask `[B, 1, G·T, L]` is added to the scores.
///
/// The G query heads that share a key head are laid out as rows of one product, so keys are never
/// repeated.
pub(crate) fn attention(
    query_bhte: Tensor<4>,
    key_bkle: Tensor<4>,
    value_bkle: Tensor<4>,
    mask: &Tensor<4>,
    compute: FloatDType,
) -> Tensor<4> {
    let [n_seqs, n_heads, n_tokens, width] = query_bhte.dims();
    let kv_heads = key_bkle.dims()[1];
    let group = n_heads / kv_heads;
    let scale = 1.0 / (width as f32).sqrt();
    let rows = (query_bhte * scale).reshape([n_seqs, kv_heads, group * n_tokens, width]);
    let scores = matmul(rows, key_bkle.swap_dims(2, 3), compute) + mask.clone();
    let mixed = matmul(softmax(scores, 3), value_bkle, compute);
    mixed.reshape([n_seqs, n_heads, n_tokens, width])
}

/// RMS norm (arXiv 1910.07467) of rows `[N, D]`, scaled by a weight `[1, D]`.
pub(crate) fn rms_norm(rows: Tensor<2>, weight: &Tensor<2>, epsilon: f64) -> Tensor<2> {
    let mean_square = (rows.clone() * rows.clone()).mean_dim(1);
    let scale = (mean_square + epsilon as f32).sqrt().recip();
    rows * scale * weight.clone()
}

/// Concatenated heads: `[B, H, T, E]` to `[B·T, H·E]`.
pub(crate) fn merge_heads(mixed_bhte: Tensor<4>) -> Tensor<2> {
    let [n_seqs, n_heads, n_tokens, width] = mixed_bhte.dims();
    mixed_bhte.swap_dims(1, 2).reshape([n_seqs * n_tokens, n_heads * width])
}
