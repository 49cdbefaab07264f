//! Llama 2 and 3 (arXiv 2307.09288, 2407.21783), and everything published in their layout: no
//! norms on heads; biases of attention and of the SwiGLU only where `attention_bias` and
//! `mlp_bias` say so.

use super::{Biases, FamilySpec, LayerTensor, attention_biases};

pub(super) const SPEC: FamilySpec = FamilySpec {
    model_type: "llama",
    architecture: "LlamaForCausalLM",
    head_dim: None,
    tie_word_embeddings: false,
    layer_tensors,
    computed: &[".self_attn.rotary_emb.inv_freq"],
};

fn layer_tensors(biases: Biases) -> Vec<(LayerTensor, &'static str)> {
    let mut tensors = vec![
        (LayerTensor::InputNorm, "input_layernorm.weight"),
        (LayerTensor::Query, "self_attn.q_proj.weight"),
        (LayerTensor::Key, "self_attn.k_proj.weight"),
        (LayerTensor::Value, "self_attn.v_proj.weight"),
        (LayerTensor::Output, "self_attn.o_proj.weight"),
        (LayerTensor::PostNorm, "post_attention_layernorm.weight"),
        (LayerTensor::Gate, "mlp.gate_proj.weight"),
        (LayerTensor::Up, "mlp.up_proj.weight"),
        (LayerTensor::Down, "mlp.down_proj.weight"),
    ];
    tensors.extend(attention_biases(biases));
    if biases.mlp {
        tensors.extend([
            (LayerTensor::GateBias, "mlp.gate_proj.bias"),
            (LayerTensor::UpBias, "mlp.up_proj.bias"),
            (LayerTensor::DownBias, "mlp.down_proj.bias"),
        ]);
    }
    tensors
}
