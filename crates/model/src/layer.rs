//! One layer of a [`Decoder`]: what training and generation both compute, each around an attention
//! of its own.
//!
//! Shape suffixes as in `decoder.rs`.

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{FloatDType, Tensor};

use crate::decoder::Decoder;
use crate::families::Part;
use crate::lora::Adapters;
use crate::rotary::Rotary;

/// The weights of one layer, borrowed.
pub(crate) struct Layer<'a> {
    pub(crate) weights: &'a [Tensor<2>],
    /// What they are, in order.
    pub(crate) parts: &'a [Part],
    /// The adapters, and the number of the layer.
    pub(crate) adapters: Option<(&'a Adapters, usize)>,
    /// What the factors of products are rounded to.
    pub(crate) compute: FloatDType,
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
        let added =
            self.adapters.and_then(|(it, layer)| it.project(&input, layer, weight, self.compute));
        let projected = linear(input, self.get(weight), self.compute);
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
    /// Queries `[B, H, T, E]`, keys and values `[B, K, T, E]`, rotated.
    pub(crate) fn heads(
        &self,
        layer: &Layer<'_>,
        hidden_nd: &Tensor<2>,
        rotary: &Rotary,
    ) -> [Tensor<4>; 3] {
        let normed_nd = self.norm(hidden_nd.clone(), layer.get(Part::InputNorm));
        let [n_seqs, n_tokens] = rotary.shape;
        let width = self.config().head_dim();
        let (heads, kv_heads) =
            (self.config().num_attention_heads, self.config().num_key_value_heads);
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
        let kv_heads = self.config().num_key_value_heads;
        let group = n_heads / kv_heads;
        let scale = 1.0 / (width as f32).sqrt();
        let rows = (query_bhte * scale).reshape([n_seqs, kv_heads, group * n_tokens, width]);
        let scores = product(rows, key_bkle.swap_dims(2, 3), self.compute()) + mask.clone();
        let mixed = product(softmax(scores, 3), value_bkle, self.compute());
        mixed.reshape([n_seqs, n_heads, n_tokens, width])
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
        let from_end = if self.config().tie_word_embeddings { 1 } else { 2 };
        self.norm(hidden_md, &self.weights()[self.weights().len() - from_end])
    }

    fn norm(&self, x: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
        let mean_square = (x.clone() * x.clone()).mean_dim(1);
        let scale = (mean_square + self.config().rms_norm_eps as f32).sqrt().recip();
        x * scale * weight.clone()
    }
}

/// A product of matrices whose factors are rounded to `compute`, in f32.
pub(crate) fn product<const D: usize>(
    left: Tensor<D>,
    right: Tensor<D>,
    compute: FloatDType,
) -> Tensor<D> {
    left.cast(compute).matmul(right.cast(compute)).cast(FloatDType::F32)
}

/// `[N, in]` by a weight `[out, in]` gives `[N, out]`.
pub(crate) fn linear(input: Tensor<2>, weight: &Tensor<2>, compute: FloatDType) -> Tensor<2> {
    product(input, weight.clone().cast(compute).transpose(), compute)
}

/// `[B, H, T, E]` to `[B·T, H·E]`.
pub(crate) fn merge_heads(mixed_bhte: Tensor<4>) -> Tensor<2> {
    let [n_seqs, n_heads, n_tokens, width] = mixed_bhte.dims();
    mixed_bhte.swap_dims(1, 2).reshape([n_seqs * n_tokens, n_heads * width])
}
