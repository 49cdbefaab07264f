//! Configuration of a BERT encoder, as `config.json` of a Hugging Face folder spells it.

use std::path::Path;

use serde_json::{Map, Value};

use crate::config::{ParameterRole, ParameterSpec};
use crate::error::CheckpointError;
use crate::json_file::read_json;
use crate::keys::{ConfigError, Keys, check_sizes};

/// BERT configuration (`config.json`); the names are those of Hugging Face.
///
/// Its debug format is a part of the name of a [`TextEncoder`](super::TextEncoder).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BertConfig {
    /// Vocabulary size: rows of the embedding.
    pub(super) vocab_size: usize,
    /// Width of the residual stream.
    pub(super) hidden_size: usize,
    /// Inner width of the feed-forward half of a layer.
    pub(super) intermediate_size: usize,
    /// Number of layers.
    pub(super) num_hidden_layers: usize,
    /// Number of heads; divides the width.
    pub(super) num_attention_heads: usize,
    /// Longest sequence, in tokens.
    pub(super) max_position_embeddings: usize,
    /// Number of token types, of which only the first is used. Default: 2.
    pub(super) type_vocab_size: usize,
    /// Epsilon of the layer norms, added to the variance. Default: 1e-12.
    pub(super) layer_norm_eps: f64,
}

/// Number of tensors before the first layer.
pub(super) const EMBEDDINGS: usize = 5;

/// Module of a layer, in order: each has a weight and a bias.
#[derive(Debug, Clone, Copy)]
pub(super) enum BertModule {
    Query,
    Key,
    Value,
    Mixed,
    MixedNorm,
    Inner,
    Outer,
    OuterNorm,
}

impl BertModule {
    const ALL: [Self; 8] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::Mixed,
        Self::MixedNorm,
        Self::Inner,
        Self::Outer,
        Self::OuterNorm,
    ];

    /// Number of tensors of a layer.
    pub(super) const TENSORS: usize = 2 * Self::ALL.len();

    /// Name after `encoder.layer.N.`.
    fn name(self) -> &'static str {
        match self {
            Self::Query => "attention.self.query",
            Self::Key => "attention.self.key",
            Self::Value => "attention.self.value",
            Self::Mixed => "attention.output.dense",
            Self::MixedNorm => "attention.output.LayerNorm",
            Self::Inner => "intermediate.dense",
            Self::Outer => "output.dense",
            Self::OuterNorm => "output.LayerNorm",
        }
    }
}

impl BertConfig {
    /// Loads `config.json` of a folder.
    pub(super) fn load(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join("config.json");
        Self::from_keys(read_json(&path)?).map_err(|err| CheckpointError::new(&path, err.into()))
    }

    /// Reads the object of a `config.json`. The error names the key that is missing, wrong or not
    /// supported.
    fn from_keys(keys: Map<String, Value>) -> Result<Self, ConfigError> {
        let mut keys = Keys::new(keys);
        let model_type: String = keys.required("model_type")?;
        if model_type != "bert" {
            let known = "encoders of type `bert` embed texts";
            return Err(ConfigError(format!("`model_type` is `{model_type}`; {known}")));
        }
        for (key, supported) in [("hidden_act", "gelu"), ("position_embedding_type", "absolute")] {
            let found: Option<Value> = keys.optional(key)?;
            if let Some(found) = found.filter(|it| it != supported) {
                let problem = format!("`{key}` {found} is not supported; `{supported}` is");
                return Err(ConfigError(problem));
            }
        }
        if keys.optional("is_decoder")? == Some(true) {
            return Err(ConfigError("`is_decoder`: it is no encoder".to_owned()));
        }
        if keys.optional::<Value>("quantization_config")?.is_some() {
            let problem = "`quantization_config`: quantized weights are not supported";
            return Err(ConfigError(problem.to_owned()));
        }
        let config = Self {
            vocab_size: keys.required("vocab_size")?,
            hidden_size: keys.required("hidden_size")?,
            intermediate_size: keys.required("intermediate_size")?,
            num_hidden_layers: keys.required("num_hidden_layers")?,
            num_attention_heads: keys.required("num_attention_heads")?,
            max_position_embeddings: keys.required("max_position_embeddings")?,
            type_vocab_size: keys.optional("type_vocab_size")?.unwrap_or(2),
            layer_norm_eps: keys.optional("layer_norm_eps")?.unwrap_or(1e-12),
        };
        check_sizes(&[
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.intermediate_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", config.num_attention_heads),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
        ])?;
        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        if !width.is_multiple_of(heads) {
            let problem =
                format!("`hidden_size` {width} is no multiple of `num_attention_heads` {heads}");
            return Err(ConfigError(problem));
        }
        Ok(config)
    }

    /// Tensors of the checkpoint that are used, in the order in which they are kept.
    pub(super) fn parameters(&self) -> Vec<ParameterSpec> {
        let (width, inner) = (self.hidden_size, self.intermediate_size);
        let spec = |name: String, shape, role| ParameterSpec { name, shape, role };
        let table = |name: &str, rows| {
            spec(format!("embeddings.{name}.weight"), [rows, width], ParameterRole::Embedding)
        };
        let norm = |name: &str| {
            let weight = spec(format!("{name}.weight"), [1, width], ParameterRole::Norm);
            [weight, spec(format!("{name}.bias"), [1, width], ParameterRole::Bias)]
        };
        let mut specs = vec![
            table("word_embeddings", self.vocab_size),
            table("position_embeddings", self.max_position_embeddings),
            table("token_type_embeddings", self.type_vocab_size),
        ];
        specs.extend(norm("embeddings.LayerNorm"));
        debug_assert_eq!(specs.len(), EMBEDDINGS);
        for layer in 0..self.num_hidden_layers {
            for module in BertModule::ALL {
                let name = format!("encoder.layer.{layer}.{}", module.name());
                let [rows, columns] = match module {
                    BertModule::MixedNorm | BertModule::OuterNorm => {
                        specs.extend(norm(&name));
                        continue;
                    }
                    BertModule::Inner => [inner, width],
                    BertModule::Outer => [width, inner],
                    BertModule::Query | BertModule::Key | BertModule::Value | BertModule::Mixed => {
                        [width, width]
                    }
                };
                specs.push(spec(format!("{name}.weight"), [rows, columns], ParameterRole::Matrix));
                specs.push(spec(format!("{name}.bias"), [1, rows], ParameterRole::Bias));
            }
        }
        specs
    }
}
