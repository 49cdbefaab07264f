//! Cause of a mismatch: why the tensors of a folder are not those of its `config.json`.
//!
//! Often one key is wrong. [`MismatchCause::find`] tries each of the keys that decide names and
//! shapes with the value that the tensors ask for, and tells those with which all of them fit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::config::{EMBEDDING, HEAD, ModelConfig};
use crate::families::ModelFamily;

/// Cause of a mismatch between a configuration and the tensors of its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MismatchCause {
    /// One key of `config.json` is wrong: all tensors fit with any of these keys and values.
    OneKey(Vec<(&'static str, String)>),
    /// The weights are quantized: this tensor belongs to them.
    Quantized(String),
    /// Adapters are not merged into the weights: this tensor belongs to one.
    Unmerged(String),
    /// The weights are those of another model.
    OtherModel {
        /// Number of tensors that the configuration asks for.
        wanted: usize,
        /// Number of those that are missing.
        missing: usize,
        /// Number of those with another shape.
        reshaped: usize,
        /// Number of tensors without a place.
        surplus: usize,
    },
}

impl fmt::Display for MismatchCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneKey(keys) => {
                let keys: Vec<String> =
                    keys.iter().map(|(key, value)| format!("`{key}` = {value}")).collect();
                let keys = keys.join(" or ");
                write!(f, "one key of `config.json` is wrong: all tensors fit with {keys}")
            }
            Self::Quantized(name) => write!(
                f,
                "there is `{name}`: quantized weights are not supported; use the model in f32, f16 \
                 or bf16"
            ),
            Self::Unmerged(name) => write!(
                f,
                "there is `{name}`: the adapters are not merged; call `merge_and_unload` of PEFT \
                 before saving"
            ),
            Self::OtherModel { wanted, missing, reshaped, surplus } => write!(
                f,
                "of the {wanted} tensors of `config.json`, {missing} are missing and {reshaped} \
                 have another shape, and there are {surplus} more: these weights belong to another \
                 model"
            ),
        }
    }
}

/// Endings of the tensors of quantized layers: of GPTQ, AWQ, bitsandbytes, compressed-tensors and
/// fp8.
const QUANTIZED: [&str; 10] = [
    ".qweight",
    ".qzeros",
    ".scales",
    ".absmax",
    ".quant_map",
    ".SCB",
    ".weight_packed",
    ".weight_scale",
    ".weight_scale_inv",
    ".input_scale",
];

/// Largest number of heads that is tried.
const MOST_HEADS: usize = 256;

/// Shapes of tensors by name.
type Shapes<'a> = BTreeMap<&'a str, &'a [usize]>;

impl MismatchCause {
    /// Finds the cause for a configuration that does not fit the tensors of its folder.
    pub(crate) fn find(config: &ModelConfig, shapes: &Shapes<'_>) -> Self {
        let one_with =
            |ends: &[&str]| shapes.keys().find(|name| ends.iter().any(|end| name.ends_with(end)));
        if let Some(name) = one_with(&QUANTIZED) {
            return Self::Quantized((*name).to_owned());
        }
        if let Some(name) = shapes.keys().find(|it| it.contains(".lora_A.")) {
            return Self::Unmerged((*name).to_owned());
        }
        let mut keys: Vec<(&'static str, String)> = candidates(config, shapes)
            .into_iter()
            .filter(|(_, _, changed)| changed != config && fits(changed, shapes))
            .map(|(key, value, _)| (key, value))
            .collect();
        keys.dedup();
        if keys.is_empty() { counts(config, shapes) } else { Self::OneKey(keys) }
    }
}

/// Configurations with one key changed to the value that the tensors ask for.
fn candidates(
    config: &ModelConfig,
    shapes: &Shapes<'_>,
) -> Vec<(&'static str, String, ModelConfig)> {
    let size = |name: &str, at: usize| shapes.get(name).and_then(|shape| shape.get(at).copied());
    let of_layer = |name: &str, at| size(&format!("model.layers.0.{name}.weight"), at);
    let mut all = Vec::new();
    let mut with = |key: &'static str, value: Option<usize>, set: fn(&mut ModelConfig, usize)| {
        let Some(value) = value else { return };
        let mut changed = config.clone();
        set(&mut changed, value);
        all.push((key, value.to_string(), changed));
    };
    with("vocab_size", size(EMBEDDING, 0), |it, value| it.vocab_size = value);
    with("hidden_size", size(EMBEDDING, 1), |it, value| it.hidden_size = value);
    let inner = of_layer("mlp.gate_proj", 0);
    with("intermediate_size", inner, |it, value| it.intermediate_size = value);
    let n_layers = shapes.keys().filter_map(|name| layer_of(name)).max().map(|last| last + 1);
    with("num_hidden_layers", n_layers, |it, value| it.num_hidden_layers = value);
    let (queries, keys) = (of_layer("self_attn.q_proj", 0), of_layer("self_attn.k_proj", 0));
    for n_heads in 1..=MOST_HEADS {
        with("num_attention_heads", Some(n_heads), |it, value| it.num_attention_heads = value);
    }
    let n_keys = keys.map(|rows| rows / config.head_dim().max(1));
    with("num_key_value_heads", n_keys, |it, value| it.num_key_value_heads = value);
    let head = queries.map(|rows| rows / config.num_attention_heads.max(1));
    with("head_dim", head, |config, value| config.head_dim = Some(value));
    for (key, value, changed) in [
        (
            "attention_bias",
            !config.attention_bias,
            ModelConfig { attention_bias: !config.attention_bias, ..config.clone() },
        ),
        (
            "mlp_bias",
            !config.mlp_bias,
            ModelConfig { mlp_bias: !config.mlp_bias, ..config.clone() },
        ),
    ] {
        all.push((key, value.to_string(), changed));
    }
    for family in ModelFamily::ALL {
        let changed = ModelConfig { model_type: family, ..config.clone() };
        all.push(("model_type", format!("\"{}\"", family.model_type()), changed));
    }
    all
}

/// Number of the layer of a tensor.
fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("model.layers.")?.split('.').next()?.parse().ok()
}

/// Whether the tensors are those of a configuration. A tied head may be there too.
fn fits(config: &ModelConfig, shapes: &Shapes<'_>) -> bool {
    config.check().is_ok()
        && matches!(
            counts(config, shapes),
            MismatchCause::OtherModel { missing: 0, reshaped: 0, surplus: 0, .. }
        )
}

/// Counts of what does not fit.
fn counts(config: &ModelConfig, shapes: &Shapes<'_>) -> MismatchCause {
    let specs = config.parameters();
    let (mut missing, mut reshaped) = (0, 0);
    for spec in &specs {
        match shapes.get(spec.name.as_str()) {
            None => missing += 1,
            Some(found) if **found != spec.disk_shape() => reshaped += 1,
            Some(_) => {}
        }
    }
    let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let computed = config.model_type.spec().computed;
    let surplus = shapes.keys().filter(|name| {
        !names.contains(**name) && **name != HEAD && !computed.iter().any(|end| name.ends_with(end))
    });
    MismatchCause::OtherModel { wanted: specs.len(), missing, reshaped, surplus: surplus.count() }
}
