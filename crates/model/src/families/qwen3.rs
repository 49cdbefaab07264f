//! Qwen3 (arXiv 2505.09388): an RMS norm on each head of queries and keys before the rotation, and
//! biases on the four attention projections only where `attention_bias` says so.

use super::{Biases, FamilySpec, LayerTensor, attention_biases};

pub(super) const SPEC: FamilySpec = FamilySpec {
    model_type: "qwen3",
    architecture: "Qwen3ForCausalLM",
    // Not `hidden_size / num_attention_heads`: the heads of all sizes are 128 wide.
    head_dim: Some(128),
    tie_word_embeddings: false,
    layer_tensors,
    computed: &[],
};

fn layer_tensors(biases: Biases) -> Vec<(LayerTensor, &'static str)> {
    let mut tensors = vec![
        (LayerTensor::InputNorm, "input_layernorm.weight"),
        (LayerTensor::Query, "self_attn.q_proj.weight"),
        (LayerTensor::Key, "self_attn.k_proj.weight"),
        (LayerTensor::Value, "self_attn.v_proj.weight"),
        (LayerTensor::QueryNorm, "self_attn.q_norm.weight"),
        (LayerTensor::KeyNorm, "self_attn.k_norm.weight"),
        (LayerTensor::Output, "self_attn.o_proj.weight"),
        (LayerTensor::PostNorm, "post_attention_layernorm.weight"),
        (LayerTensor::Gate, "mlp.gate_proj.weight"),
        (LayerTensor::Up, "mlp.up_proj.weight"),
        (LayerTensor::Down, "mlp.down_proj.weight"),
    ];
    tensors.extend(attention_biases(biases));
    tensors
}
