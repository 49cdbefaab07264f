//! Model families: what tells one architecture from another. What they share is in `decoder.rs`
//! and `layer.rs`.
//!
//! Each family is a file named after its `model_type`. It lists the tensors of a layer by the
//! names of the checkpoint, and has the defaults of its configuration class. It knows nothing of
//! tensors' values or of how they are read.

mod llama;
mod qwen2;
mod qwen3;

use serde::{Deserialize, Serialize};

/// Model family (`model_type`) that [`Decoder`](crate::Decoder) computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelFamily {
    /// Llama 2 and 3: biases only where the configuration asks for them.
    Llama,
    /// Qwen2 and Qwen2.5: biases on query, key and value.
    Qwen2,
    /// Qwen3: RMS norms on queries and keys.
    Qwen3,
}

/// Description of a family.
pub(crate) struct FamilySpec {
    /// `model_type` of `config.json`.
    pub(crate) model_type: &'static str,
    /// Class of transformers, which programs look up in `architectures`.
    pub(crate) architecture: &'static str,
    /// Width of a head where `config.json` has none. Default: `hidden_size / num_attention_heads`.
    pub(crate) head_dim: Option<usize>,
    /// Whether the head is tied where `config.json` does not say so.
    pub(crate) tie_word_embeddings: bool,
    /// Tensors of a layer, in the order in which they are kept, with their names after
    /// `model.layers.N.`.
    pub(crate) layer_tensors: fn(Biases) -> Vec<(LayerTensor, &'static str)>,
    /// Suffixes of names of tensors that old checkpoints hold and that are computed, not read.
    pub(crate) computed: &'static [&'static str],
}

/// Biases that `config.json` asks for, in families that leave it open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Biases {
    /// Of the four attention projections: `attention_bias`.
    pub(crate) attention: bool,
    /// Of the SwiGLU: `mlp_bias`.
    pub(crate) mlp: bool,
}

/// Tensor of a decoder layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerTensor {
    InputNorm,
    Query,
    QueryBias,
    QueryNorm,
    Key,
    KeyBias,
    KeyNorm,
    Value,
    ValueBias,
    Output,
    OutputBias,
    PostNorm,
    Gate,
    GateBias,
    Up,
    UpBias,
    Down,
    DownBias,
}

/// Biases of the four attention projections, where the configuration asks for them.
fn attention_biases(biases: Biases) -> &'static [(LayerTensor, &'static str)] {
    if !biases.attention {
        return &[];
    }
    &[
        (LayerTensor::QueryBias, "self_attn.q_proj.bias"),
        (LayerTensor::KeyBias, "self_attn.k_proj.bias"),
        (LayerTensor::ValueBias, "self_attn.v_proj.bias"),
        (LayerTensor::OutputBias, "self_attn.o_proj.bias"),
    ]
}

impl ModelFamily {
    /// All families, by name.
    pub const ALL: [Self; 3] = [Self::Llama, Self::Qwen2, Self::Qwen3];

    /// Family of a `model_type`.
    pub fn of_model_type(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.model_type() == name)
    }

    /// `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        self.spec().model_type
    }

    /// Class in transformers, such as `Qwen2ForCausalLM`.
    pub fn architecture(self) -> &'static str {
        self.spec().architecture
    }

    pub(crate) fn spec(self) -> &'static FamilySpec {
        match self {
            Self::Llama => &llama::SPEC,
            Self::Qwen2 => &qwen2::SPEC,
            Self::Qwen3 => &qwen3::SPEC,
        }
    }
}
