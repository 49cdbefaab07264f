//! Checkpoint families: what tells one from another. What they share is in `decoder.rs`
//! and `layer.rs`.
//!
//! Each family is a file named after its `model_type`. It lists the tensors of a layer by the
//! names of the checkpoint, and says what its configuration class assumes where `config.json` is
//! silent. It knows nothing of tensors' values or of how they are read.

mod llama;
mod qwen2;
mod qwen3;

use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;

/// Checkpoint families that [`Decoder`](crate::Decoder) computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Llama 2 and 3: no biases but where the configuration asks for them.
    Llama,
    /// Qwen2 and Qwen2.5: biases on query, key and value.
    Qwen2,
    /// Qwen3: RMS norms on queries and keys.
    Qwen3,
}

/// What a family says of itself.
pub(crate) struct Traits {
    /// `model_type` of `config.json`.
    pub(crate) model_type: &'static str,
    /// The class that programs look up in `architectures`.
    pub(crate) architecture: &'static str,
    /// Width of a head where `config.json` has none; `hidden_size / num_attention_heads` where
    /// this has none either.
    pub(crate) head_dim: Option<usize>,
    /// The tensors of a layer, in the order in which they are kept: their names after
    /// `model.layers.N.`.
    pub(crate) layer: fn(&ModelConfig) -> Vec<(Part, &'static str)>,
    /// Ends of the names of tensors that old checkpoints hold and that are computed, not read.
    pub(crate) computed: &'static [&'static str],
}

/// A tensor of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
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
fn attention_biases(config: &ModelConfig) -> &'static [(Part, &'static str)] {
    if !config.attention_bias {
        return &[];
    }
    &[
        (Part::QueryBias, "self_attn.q_proj.bias"),
        (Part::KeyBias, "self_attn.k_proj.bias"),
        (Part::ValueBias, "self_attn.v_proj.bias"),
        (Part::OutputBias, "self_attn.o_proj.bias"),
    ]
}

impl Family {
    /// All of them, by name.
    pub const ALL: [Self; 3] = [Self::Llama, Self::Qwen2, Self::Qwen3];

    /// The family of a `model_type`.
    pub fn of_model_type(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.model_type() == name)
    }

    /// Its `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        self.traits().model_type
    }

    /// Its class in transformers, such as `Qwen2ForCausalLM`.
    pub fn architecture(self) -> &'static str {
        self.traits().architecture
    }

    pub(crate) fn traits(self) -> &'static Traits {
        match self {
            Self::Llama => &llama::TRAITS,
            Self::Qwen2 => &qwen2::TRAITS,
            Self::Qwen3 => &qwen3::TRAITS,
        }
    }
}
