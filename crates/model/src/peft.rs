//! LoRA adapters in the files of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use serde_json::{Map, Value, json};

use crate::adapter_base::{CONFIG, base_name};
use crate::decoder::Decoder;
use crate::error::{CheckpointError, CheckpointErrorKind};
use crate::json_file::{read_json, write_json};
use crate::keys::ConfigError;
use crate::lora::{Adapters, LoraConfig};
use crate::ops::numbers;
use crate::tensors::{TensorFile, write_tensors};

/// Name of the file with the weights of an adapter.
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";

/// Saves the adapters of a decoder into an existing folder, each file whole or not at all.
///
/// # Panics
///
/// Panics if the decoder has no adapters.
pub fn save_adapter(decoder: &Decoder, folder: &Path) -> Result<(), CheckpointError> {
    let adapters = decoder.adapters().expect("a decoder with adapters");
    let specs = adapters.parameters(decoder.config());
    let tensors: Vec<(String, Vec<usize>, Vec<f32>)> = specs
        .iter()
        .zip(&adapters.weights)
        .map(|(spec, weight)| (spec.name.clone(), spec.disk_shape(), numbers(weight)))
        .collect();
    write_tensors(&folder.join(WEIGHTS), &tensors)?;
    let LoraConfig { rank, alpha, targets } = &adapters.config;
    // PEFT writes whole numbers without a point.
    let alpha = if alpha.fract() == 0.0 { json!(*alpha as i64) } else { json!(alpha) };
    let keys = json!({
        "base_model_name_or_path": adapters.base,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": targets,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": false,
    });
    write_json(&folder.join(CONFIG), &keys)
}

impl Decoder {
    /// The same decoder, whose adapters name this folder or model as their base.
    pub(crate) fn with_base(self, base: &Path) -> Self {
        let Some(adapters) = self.adapters() else { return self };
        let adapters = adapters.with_base(&base.to_string_lossy());
        self.with_adapters(Some(adapters))
    }

    /// Loads adapters: the same decoder with those of a folder.
    ///
    /// # Errors
    ///
    /// A file that is missing or damaged, and an `adapter_config.json` that asks for more than
    /// rank, α (also over √r: `use_rslora`) and target modules.
    pub fn load_adapter(&self, folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join(CONFIG);
        let keys = read_json(&path)?;
        let config = config_of(&keys).map_err(|err| CheckpointError::new(&path, err.into()))?;
        config.check().map_err(|err| CheckpointError::new(&path, err.into()))?;
        let path = folder.join(WEIGHTS);
        let file = TensorFile::open(&path)?;
        let mut surplus = file.names();
        // What the decoder had adapters for already is the model that it was loaded from.
        let known = self.adapters().map(|adapters| adapters.base.as_str());
        let base = known.or(base_name(&keys)).unwrap_or_default();
        let adapters = Adapters::new(&config, base, self.config(), |_, spec| {
            file.check(&spec.name, &spec.disk_shape()).map_err(Failure::File)?;
            surplus.remove(&spec.name);
            let numbers = file.read(&spec.name).map_err(Failure::File)?;
            let data = TensorData::new(numbers, spec.shape);
            Ok::<_, Failure>(Tensor::from_data(data, self.device()))
        });
        let adapters = adapters.map_err(|err| match err {
            Failure::File(err) => err,
            Failure::Config(err) => CheckpointError::new(&path, err.into()),
        })?;
        match surplus.pop_first() {
            Some(name) => Err(CheckpointError::new(&path, CheckpointErrorKind::Surplus(name))),
            None => Ok(self.with_adapters(Some(adapters))),
        }
    }
}

/// Adapters that could not be read.
enum Failure {
    File(CheckpointError),
    Config(ConfigError),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Rank, α and target modules; an error where the file asks for something else as well.
fn config_of(keys: &Map<String, Value>) -> Result<LoraConfig, ConfigError> {
    let wrong = |what: String| Err(ConfigError(what));
    refuse(keys)?;
    let Some(rank) = keys.get("r").and_then(Value::as_u64) else {
        return wrong("`r` is missing or no whole number".to_owned());
    };
    let Some(mut alpha) = keys.get("lora_alpha").and_then(Value::as_f64) else {
        return wrong("`lora_alpha` is missing or no number".to_owned());
    };
    if keys.get("use_rslora") == Some(&Value::Bool(true)) {
        // There the scale of the product is α / √r.
        alpha *= (rank as f64).sqrt();
    }
    let names = keys.get("target_modules").and_then(Value::as_array);
    let targets: Option<Vec<String>> =
        names.and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    let Some(mut targets) = targets else {
        return wrong("`target_modules` is no list of names".to_owned());
    };
    // PEFT keeps them as a set, in any order.
    targets.sort();
    Ok(LoraConfig { rank: rank as usize, alpha, targets })
}

/// Refuses what is not LoRA, and variants of it that are not computed.
fn refuse(keys: &Map<String, Value>) -> Result<(), ConfigError> {
    let wrong = |what: String| Err(ConfigError(what));
    if keys.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        return wrong(format!("`peft_type` is {:?}; `LORA` is supported", keys.get("peft_type")));
    }
    if let Some(bias) = keys.get("bias").filter(|it| !it.is_null() && *it != "none") {
        return wrong(format!("`bias` {bias} is not supported; `none` is"));
    }
    for key in ["fan_in_fan_out", "use_dora", "lora_bias", "use_qalora"] {
        if keys.get(key) == Some(&Value::Bool(true)) {
            return wrong(format!("`{key}` is not supported"));
        }
    }
    for key in [
        "modules_to_save",
        "layers_to_transform",
        "layers_pattern",
        "rank_pattern",
        "alpha_pattern",
        "target_parameters",
        "trainable_token_indices",
        "layer_replication",
        "exclude_modules",
    ] {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if keys.get(key).is_some_and(|it| !is_empty(it)) {
            return wrong(format!("`{key}` is not supported"));
        }
    }
    Ok(())
}
