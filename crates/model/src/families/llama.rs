//! Llama 2 and 3 (arXiv 2307.09288, 2407.21783), and everything published in their layout: no
//! norms on heads; biases of attention and of the SwiGLU only where `attention_bias` and
//! `mlp_bias` say so.

use super::{Part, Traits, attention_biases};
use crate::config::ModelConfig;

pub(super) const TRAITS: Traits = Traits {
    model_type: "llama",
    architecture: "LlamaForCausalLM",
    head_dim: None,
    layer,
    computed: &[".self_attn.rotary_emb.inv_freq"],
};

fn layer(config: &ModelConfig) -> Vec<(Part, &'static str)> {
    let mut parts = vec![
        (Part::InputNorm, "input_layernorm.weight"),
        (Part::Query, "self_attn.q_proj.weight"),
        (Part::Key, "self_attn.k_proj.weight"),
        (Part::Value, "self_attn.v_proj.weight"),
        (Part::Output, "self_attn.o_proj.weight"),
        (Part::PostNorm, "post_attention_layernorm.weight"),
        (Part::Gate, "mlp.gate_proj.weight"),
        (Part::Up, "mlp.up_proj.weight"),
        (Part::Down, "mlp.down_proj.weight"),
    ];
    parts.extend(attention_biases(config));
    if config.mlp_bias {
        parts.extend([
            (Part::GateBias, "mlp.gate_proj.bias"),
            (Part::UpBias, "mlp.up_proj.bias"),
            (Part::DownBias, "mlp.down_proj.bias"),
        ]);
    }
    parts
}
