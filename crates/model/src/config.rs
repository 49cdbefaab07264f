//! Model configuration: the shape of a decoder, as `config.json` of a Hugging Face folder spells
//! it.
//!
//! [`ModelConfig`] is read from the keys that have been published for years and from those that
//! transformers 5 writes. Keys that change nothing here are kept and written back; those that
//! would change the result are refused.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::families::{Biases, LayerTensor, ModelFamily};
use crate::keys::{ConfigError, Keys, check_sizes};
use crate::rope::Rope;

/// Model configuration (`config.json`); the names are those of Hugging Face.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Model family.
    pub model_type: ModelFamily,
    /// Vocabulary size: rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Inner width of the SwiGLU.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads; divides the query heads. Default: `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head. Default: that of [`ModelConfig::head_dim`].
    pub head_dim: Option<usize>,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Epsilon of the RMS norms, added to the mean square. Default: 1e-6.
    pub rms_norm_eps: f64,
    /// Rotary position embeddings.
    pub rope: Rope,
    /// Biases of the four attention projections, in families that leave it open. Default: false.
    pub attention_bias: bool,
    /// Biases of the SwiGLU, in families that leave it open. Default: false.
    pub mlp_bias: bool,
    /// Weight tying: the head is the embedding. Default: that of the family's class in
    /// transformers, which is false in all of them.
    pub tie_word_embeddings: bool,
    /// Standard deviation of fresh weights. Default: 0.02.
    pub initializer_range: f64,
    /// Keys that are not used here and written back, such as `eos_token_id`.
    pub other: Map<String, Value>,
}

/// Name, shape and role of one tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Key in the checkpoint.
    pub name: String,
    /// Rows and columns; a vector has one row.
    pub shape: [usize; 2],
    /// Role, which decides its initial value, weight decay and rank on disk.
    pub role: ParameterRole,
}

/// Role of a parameter in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterRole {
    /// Token embedding, or untied head.
    Embedding,
    /// Weight matrix.
    Matrix,
    /// Bias; rank 1 on disk.
    Bias,
    /// Scale of a norm; rank 1 on disk.
    Norm,
}

impl ParameterRole {
    /// Whether the tensor has rank 1 on disk.
    pub fn is_vector(self) -> bool {
        matches!(self, Self::Bias | Self::Norm)
    }
}

impl ParameterSpec {
    /// Shape on disk: `[columns]` for a vector, else `[rows, columns]`.
    pub fn disk_shape(&self) -> Vec<usize> {
        let [rows, columns] = self.shape;
        if self.role.is_vector() { vec![columns] } else { vec![rows, columns] }
    }
}

impl ModelConfig {
    /// Reads the object of a `config.json`, in the old form or in that of transformers 5.
    ///
    /// The error names the key that is missing, wrong or not supported.
    pub fn from_keys(keys: Map<String, Value>) -> Result<Self, ConfigError> {
        let mut keys = Keys::new(keys);
        let name: String = keys.required("model_type")?;
        let Some(model_type) = ModelFamily::of_model_type(&name) else {
            let known =
                ModelFamily::ALL.map(|family| format!("`{}`", family.model_type())).join(", ");
            return Err(ConfigError(format!(
                "`model_type` `{name}` is not supported; these are: {known}"
            )));
        };
        refuse(&keys)?;
        let num_attention_heads = keys.required("num_attention_heads")?;
        let max_position_embeddings = keys.required("max_position_embeddings")?;
        let config = Self {
            model_type,
            vocab_size: keys.required("vocab_size")?,
            hidden_size: keys.required("hidden_size")?,
            intermediate_size: keys.required("intermediate_size")?,
            num_hidden_layers: keys.required("num_hidden_layers")?,
            num_attention_heads,
            // Checkpoints older than grouped queries do not name it.
            num_key_value_heads: keys
                .optional("num_key_value_heads")?
                .unwrap_or(num_attention_heads),
            head_dim: keys.optional("head_dim")?,
            max_position_embeddings,
            rms_norm_eps: keys.optional("rms_norm_eps")?.unwrap_or(1e-6),
            rope: Rope::take(&mut keys, max_position_embeddings)?,
            attention_bias: keys.optional("attention_bias")?.unwrap_or(false),
            mlp_bias: keys.optional("mlp_bias")?.unwrap_or(false),
            tie_word_embeddings: keys
                .optional(TIE)?
                .unwrap_or(model_type.spec().tie_word_embeddings),
            initializer_range: keys.optional("initializer_range")?.unwrap_or(0.02),
            other: {
                // The number type of the file, in both spellings; it is written anew.
                keys.optional::<Value>("torch_dtype")?;
                keys.optional::<Value>("dtype")?;
                keys.rest().clone()
            },
        };
        config.check()?;
        Ok(config)
    }

    /// Object of a `config.json`, in the old form, which programs of every age read.
    pub fn to_keys(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
        put("architectures", json!([self.model_type.architecture()]));
        put("model_type", json!(self.model_type.model_type()));
        put("vocab_size", json!(self.vocab_size));
        put("hidden_size", json!(self.hidden_size));
        put("intermediate_size", json!(self.intermediate_size));
        put("num_hidden_layers", json!(self.num_hidden_layers));
        put("num_attention_heads", json!(self.num_attention_heads));
        put("num_key_value_heads", json!(self.num_key_value_heads));
        put("head_dim", json!(self.head_dim()));
        put("hidden_act", json!("silu"));
        put("max_position_embeddings", json!(self.max_position_embeddings));
        put("rms_norm_eps", json!(self.rms_norm_eps));
        put("attention_bias", json!(self.attention_bias));
        put("mlp_bias", json!(self.mlp_bias));
        put(TIE, json!(self.tie_word_embeddings));
        put("initializer_range", json!(self.initializer_range));
        self.rope.put(&mut keys);
        for (key, value) in &self.other {
            keys.entry(key.clone()).or_insert_with(|| value.clone());
        }
        keys
    }

    /// Width of a head. Default: that of the family, or else `hidden_size / num_attention_heads`.
    pub fn head_dim(&self) -> usize {
        let of_family = self.model_type.spec().head_dim;
        self.head_dim.or(of_family).unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Base of the rotary frequencies (`rope_theta`).
    pub fn theta(&self) -> f64 {
        self.rope.theta
    }

    /// Refuses sizes that are 0, too large, or do not fit together.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |what: String| Err(ConfigError(what));
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim()),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
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
        let embedding = [self.vocab_size, self.hidden_size];
        let spec = |name: &str, shape: [usize; 2], role: ParameterRole| ParameterSpec {
            name: name.to_owned(),
            shape,
            role,
        };
        let mut specs = vec![spec(EMBEDDING, embedding, ParameterRole::Embedding)];
        let tensors = self.layer_tensors();
        for layer in 0..self.num_hidden_layers {
            for &(tensor, name) in &tensors {
                let (shape, role) = self.layer_tensor(tensor);
                specs.push(spec(&format!("model.layers.{layer}.{name}"), shape, role));
            }
        }
        specs.push(spec("model.norm.weight", [1, self.hidden_size], ParameterRole::Norm));
        if !self.tie_word_embeddings {
            specs.push(spec(HEAD, embedding, ParameterRole::Embedding));
        }
        specs
    }

    /// Tensors of a layer, in the order in which they are kept, with their names after
    /// `model.layers.N.`.
    pub(crate) fn layer_tensors(&self) -> Vec<(LayerTensor, &'static str)> {
        let biases = Biases { attention: self.attention_bias, mlp: self.mlp_bias };
        (self.model_type.spec().layer_tensors)(biases)
    }

    /// Shape and role of a tensor of a layer.
    pub(crate) fn layer_tensor(&self, tensor: LayerTensor) -> ([usize; 2], ParameterRole) {
        let (width, inner, head) = (self.hidden_size, self.intermediate_size, self.head_dim());
        let (queries, keys) = (self.num_attention_heads * head, self.num_key_value_heads * head);
        match tensor {
            LayerTensor::InputNorm | LayerTensor::PostNorm => ([1, width], ParameterRole::Norm),
            LayerTensor::QueryNorm | LayerTensor::KeyNorm => ([1, head], ParameterRole::Norm),
            LayerTensor::Query => ([queries, width], ParameterRole::Matrix),
            LayerTensor::Key | LayerTensor::Value => ([keys, width], ParameterRole::Matrix),
            LayerTensor::Output => ([width, queries], ParameterRole::Matrix),
            LayerTensor::Gate | LayerTensor::Up => ([inner, width], ParameterRole::Matrix),
            LayerTensor::Down => ([width, inner], ParameterRole::Matrix),
            LayerTensor::QueryBias => ([1, queries], ParameterRole::Bias),
            LayerTensor::KeyBias | LayerTensor::ValueBias => ([1, keys], ParameterRole::Bias),
            LayerTensor::OutputBias | LayerTensor::DownBias => ([1, width], ParameterRole::Bias),
            LayerTensor::GateBias | LayerTensor::UpBias => ([1, inner], ParameterRole::Bias),
        }
    }

    /// Number of parameters, a tied head counted once.
    pub fn n_parameters(&self) -> usize {
        self.parameters().iter().map(|spec| spec.shape[0] * spec.shape[1]).sum()
    }
}

impl Serialize for ModelConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_keys().serialize(serializer)
    }
}

/// Checkpoint name of the embedding in every family.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";

/// Checkpoint name of an untied head in every family.
pub(crate) const HEAD: &str = "lm_head.weight";

/// Key of weight tying.
pub(crate) const TIE: &str = "tie_word_embeddings";

/// Endings of classes of transformers whose head is not that of a language model.
const OTHER_HEADS: [&str; 5] = [
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForRewardModel",
    "RewardModel",
];

/// Refuses keys that would change the result.
fn refuse(keys: &Keys) -> Result<(), ConfigError> {
    let wrong = |what: String| Err(ConfigError(what));
    let rest = keys.rest();
    let classes = rest.get("architectures").and_then(Value::as_array);
    let mut classes = classes.into_iter().flatten().filter_map(Value::as_str);
    if let Some(class) = classes.find(|class| OTHER_HEADS.iter().any(|end| class.ends_with(end))) {
        return wrong(format!(
            "`architectures` names `{class}`, which scores texts and writes none: use the language \
             model that it was made from"
        ));
    }
    if rest.get("use_sliding_window") == Some(&Value::Bool(true)) {
        return wrong("`use_sliding_window` is not supported".to_owned());
    }
    let kinds = rest.get("layer_types").and_then(Value::as_array);
    if let Some(kind) = kinds.into_iter().flatten().find(|it| *it != "full_attention") {
        return wrong(format!("`layer_types` asks for {kind}; only full attention is supported"));
    }
    if let Some(activation) = rest.get("hidden_act").filter(|it| *it != "silu") {
        return wrong(format!("`hidden_act` {activation} is not supported; `silu` is"));
    }
    if let Some(quantization) = rest.get("quantization_config").filter(|it| !it.is_null()) {
        let method = quantization.get("quant_method").and_then(Value::as_str);
        let method = method.map_or(String::new(), |method| format!(" (`{method}`)"));
        return wrong(format!(
            "`quantization_config`{method}: quantized weights are not supported; use the model in \
             f32, f16 or bf16"
        ));
    }
    if rest.get("partial_rotary_factor").and_then(Value::as_f64).is_some_and(|it| it < 1.0) {
        return wrong("`partial_rotary_factor` is not supported".to_owned());
    }
    Ok(())
}
