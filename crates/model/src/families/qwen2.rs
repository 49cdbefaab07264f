//! Qwen2 and Qwen2.5 (arXiv 2407.10671, 2412.15115): biases on query, key and value, always, and
//! nowhere else. `attention_bias` in `config.json` changes nothing, as in transformers.

use super::{Part, Traits};
use crate::config::ModelConfig;

pub(super) const TRAITS: Traits = Traits {
    model_type: "qwen2",
    architecture: "Qwen2ForCausalLM",
    head_dim: None,
    layer,
    computed: &[],
};

fn layer(_: &ModelConfig) -> Vec<(Part, &'static str)> {
    vec![
        (Part::InputNorm, "input_layernorm.weight"),
        (Part::Query, "self_attn.q_proj.weight"),
        (Part::QueryBias, "self_attn.q_proj.bias"),
        (Part::Key, "self_attn.k_proj.weight"),
        (Part::KeyBias, "self_attn.k_proj.bias"),
        (Part::Value, "self_attn.v_proj.weight"),
        (Part::ValueBias, "self_attn.v_proj.bias"),
        (Part::Output, "self_attn.o_proj.weight"),
        (Part::PostNorm, "post_attention_layernorm.weight"),
        (Part::Gate, "mlp.gate_proj.weight"),
        (Part::Up, "mlp.up_proj.weight"),
        (Part::Down, "mlp.down_proj.weight"),
    ]
}
