//! The shape of a decoder, as `config.json` of a Hugging Face folder spells it.

use serde::{Deserialize, Serialize};

/// Checkpoint families that [`Decoder`](crate::Decoder) computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Qwen2 and Qwen2.5: biases on query, key and value.
    Qwen2,
    /// Qwen3: RMS norms on queries and keys, no biases.
    Qwen3,
}

/// `config.json`: the keys that decide what is computed.
///
/// Keys of a published file that change nothing here are ignored; those that would change the
/// result (`use_sliding_window`, `rope_scaling`) are refused by [`ModelConfig::check`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The family.
    pub model_type: Family,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the SwiGLU.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides the query heads.
    pub num_key_value_heads: usize,
    /// Width of a head; `hidden_size / num_attention_heads` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Where transformers 5 keeps `rope_theta`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeParameters>,
    /// Older place of rotary scaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<serde_json::Value>,
    /// Whether the head is the embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Whether some layers attend to a window only.
    #[serde(default)]
    pub use_sliding_window: bool,
    /// Standard deviation of fresh weights.
    #[serde(default = "default_initializer_range")]
    pub initializer_range: f64,
    /// For programs that look the class up.
    #[serde(default)]
    pub architectures: Vec<String>,
}

/// `rope_parameters` of transformers 5.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeParameters {
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// `default` is the only type computed so far.
    #[serde(default = "default_rope_type")]
    pub rope_type: String,
}

/// A configuration that asks for something this crate does not compute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("model configuration: {0}")]
pub struct ConfigError(pub String);

/// One tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Key in the checkpoint.
    pub name: String,
    /// Rows and columns; a vector has one row.
    pub shape: [usize; 2],
    /// What it is, which decides its initial value, weight decay and rank on disk.
    pub role: Role,
}

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The embedding, or a head of its own.
    Embedding,
    /// A weight matrix.
    Matrix,
    /// A bias; rank 1 on disk.
    Bias,
    /// The scale of a norm; rank 1 on disk.
    Norm,
}

impl Role {
    /// Whether the tensor has rank 1 on disk.
    pub fn is_vector(self) -> bool {
        matches!(self, Self::Bias | Self::Norm)
    }
}

impl ModelConfig {
    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }

    /// Base of the rotary frequencies; 10,000 where no key gives it, as transformers has it.
    pub fn theta(&self) -> f64 {
        self.rope_parameters
            .as_ref()
            .map(|it| it.rope_theta)
            .or(self.rope_theta)
            .unwrap_or(10_000.0)
    }

    /// Refuses what would be computed wrongly.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |what: String| Err(ConfigError(what));
        if self.use_sliding_window {
            return wrong("`use_sliding_window` is not supported".to_owned());
        }
        if let Some(rope) = &self.rope_parameters
            && rope.rope_type != "default"
        {
            return wrong(format!("rope type `{}` is not supported", rope.rope_type));
        }
        if self.rope_scaling.as_ref().is_some_and(|it| !it.is_null()) {
            return wrong("`rope_scaling` is not supported".to_owned());
        }
        for (key, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim()),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if value == 0 {
                return wrong(format!("`{key}` is 0"));
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return wrong(format!(
                "`num_attention_heads` {} is no multiple of `num_key_value_heads` {}",
                self.num_attention_heads, self.num_key_value_heads
            ));
        }
        if !self.head_dim().is_multiple_of(2) {
            return wrong(format!("`head_dim` {} is odd", self.head_dim()));
        }
        Ok(())
    }

    /// All tensors of the checkpoint, in the order in which [`Decoder`](crate::Decoder) keeps them.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        let (width, inner) = (self.hidden_size, self.intermediate_size);
        let head = self.head_dim();
        let (queries, keys) = (self.num_attention_heads * head, self.num_key_value_heads * head);
        let mut specs = Vec::new();
        let mut add = |name: String, shape: [usize; 2], role: Role| {
            specs.push(ParameterSpec { name, shape, role });
        };
        add("model.embed_tokens.weight".to_owned(), [self.vocab_size, width], Role::Embedding);
        for layer in 0..self.num_hidden_layers {
            let name = |key: &str| format!("model.layers.{layer}.{key}");
            add(name("input_layernorm.weight"), [1, width], Role::Norm);
            for (key, rows) in [("q", queries), ("k", keys), ("v", keys)] {
                add(name(&format!("self_attn.{key}_proj.weight")), [rows, width], Role::Matrix);
                if self.model_type == Family::Qwen2 {
                    add(name(&format!("self_attn.{key}_proj.bias")), [1, rows], Role::Bias);
                }
            }
            if self.model_type == Family::Qwen3 {
                add(name("self_attn.q_norm.weight"), [1, head], Role::Norm);
                add(name("self_attn.k_norm.weight"), [1, head], Role::Norm);
            }
            add(name("self_attn.o_proj.weight"), [width, queries], Role::Matrix);
            add(name("post_attention_layernorm.weight"), [1, width], Role::Norm);
            add(name("mlp.gate_proj.weight"), [inner, width], Role::Matrix);
            add(name("mlp.up_proj.weight"), [inner, width], Role::Matrix);
            add(name("mlp.down_proj.weight"), [width, inner], Role::Matrix);
        }
        add("model.norm.weight".to_owned(), [1, width], Role::Norm);
        if !self.tie_word_embeddings {
            add("lm_head.weight".to_owned(), [self.vocab_size, width], Role::Embedding);
        }
        specs
    }

    /// How many numbers the checkpoint holds.
    pub fn n_parameters(&self) -> usize {
        self.parameters().iter().map(|it| it.shape[0] * it.shape[1]).sum()
    }
}

fn default_initializer_range() -> f64 {
    0.02
}

fn default_rope_type() -> String {
    "default".to_owned()
}
