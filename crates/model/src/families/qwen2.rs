//! Qwen2 and Qwen2.5 (arXiv 2407.10671, 2412.15115): biases on query, key and value, always, and
//! nowhere else. `attention_bias` in `config.json` changes nothing, as in transformers.

use super::{Biases, FamilySpec, LayerTensor};

pub(super) const SPEC: FamilySpec = FamilySpec {
    model_type: "qwen2",
    architecture: "Qwen2ForCausalLM",
    head_dim: None,
    tie_word_embeddings: false,
    layer_tensors,
    computed: &[],
};

fn layer_tensors(_: Biases) -> Vec<(LayerTensor, &'static str)> {
    vec![
        (LayerTensor::InputNorm, "input_layernorm.weight"),
        (LayerTensor::Query, "self_attn.q_proj.weight"),
        (LayerTensor::QueryBias, "self_attn.q_proj.bias"),
        (LayerTensor::Key, "self_attn.k_proj.weight"),
        (LayerTensor::KeyBias, "self_attn.k_proj.bias"),
        (LayerTensor::Value, "self_attn.v_proj.weight"),
        (LayerTensor::ValueBias, "self_attn.v_proj.bias"),
        (LayerTensor::Output, "self_attn.o_proj.weight"),
        (LayerTensor::PostNorm, "post_attention_layernorm.weight"),
        (LayerTensor::Gate, "mlp.gate_proj.weight"),
        (LayerTensor::Up, "mlp.up_proj.weight"),
        (LayerTensor::Down, "mlp.down_proj.weight"),
    ]
}
