//! Qwen3 (arXiv 2505.09388): an RMS norm on each head of queries and keys before the rotation, and
//! biases on the four attention projections only where `attention_bias` says so.

use super::{Part, Traits, attention_biases};
use crate::config::ModelConfig;

pub(super) const TRAITS: Traits = Traits {
    model_type: "qwen3",
    architecture: "Qwen3ForCausalLM",
    // Not `hidden_size / num_attention_heads`: the heads of all sizes are 128 wide.
    head_dim: Some(128),
    layer,
    computed: &[],
};

fn layer(config: &ModelConfig) -> Vec<(Part, &'static str)> {
    let mut parts = vec![
        (Part::InputNorm, "input_layernorm.weight"),
        (Part::Query, "self_attn.q_proj.weight"),
        (Part::Key, "self_attn.k_proj.weight"),
        (Part::Value, "self_attn.v_proj.weight"),
        (Part::QueryNorm, "self_attn.q_norm.weight"),
        (Part::KeyNorm, "self_attn.k_norm.weight"),
        (Part::Output, "self_attn.o_proj.weight"),
        (Part::PostNorm, "post_attention_layernorm.weight"),
        (Part::Gate, "mlp.gate_proj.weight"),
        (Part::Up, "mlp.up_proj.weight"),
        (Part::Down, "mlp.down_proj.weight"),
    ];
    parts.extend(attention_biases(config));
    parts
}
