//! Low-rank adapters (LoRA, arXiv 2106.09685): beside a frozen weight W, a product of two narrow
//! matrices is trained: y = W x + (α / r) B A x, with A `[r, in]` and B `[out, r]` (section 4.1).
//!
//! A is drawn as PEFT draws it, uniformly within ±1/√in, where the paper has a normal distribution;
//! B is 0, so that a fresh adapter changes nothing. There is no dropout.

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use forage_trajectory::{Purpose, Stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::config::{ModelConfig, ParameterRole, ParameterSpec};
use crate::families::LayerTensor;
use crate::keys::ConfigError;
use crate::ops::linear;

/// Matrices of a layer that may have an adapter: the name in PEFT, the module, and the tensor.
const TARGETS: [(&str, &str, LayerTensor); 7] = [
    ("q_proj", "self_attn", LayerTensor::Query),
    ("k_proj", "self_attn", LayerTensor::Key),
    ("v_proj", "self_attn", LayerTensor::Value),
    ("o_proj", "self_attn", LayerTensor::Output),
    ("gate_proj", "mlp", LayerTensor::Gate),
    ("up_proj", "mlp", LayerTensor::Up),
    ("down_proj", "mlp", LayerTensor::Down),
];

/// LoRA configuration: rank, scale and target modules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank r of the product.
    pub rank: usize,
    /// Scale α: the product is multiplied by α / r.
    pub alpha: f64,
    /// Target modules, such as `q_proj`. Default: all seven matrices of a layer.
    #[serde(default = "all_targets")]
    pub targets: Vec<String>,
}

/// LoRA adapters of all layers.
#[derive(Debug, Clone)]
pub(crate) struct Adapters {
    /// Configuration.
    pub(crate) config: LoraConfig,
    /// Folder or name of the base model.
    pub(crate) base: String,
    /// Adapted matrices of a layer.
    targets: Vec<LayerTensor>,
    /// Layer by layer, matrix by matrix: A, then B.
    pub(crate) weights: Vec<Tensor<2>>,
}

fn all_targets() -> Vec<String> {
    TARGETS.iter().map(|target| target.0.to_owned()).collect()
}

impl LoraConfig {
    /// Refuses a rank of 0, and targets that are unknown or named twice.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.target_tensors().map(|_| ())
    }

    fn target_tensors(&self) -> Result<Vec<LayerTensor>, ConfigError> {
        if self.rank == 0 {
            return Err(ConfigError("`rank` of an adapter is 0".to_owned()));
        }
        if !self.alpha.is_finite() {
            return Err(ConfigError(format!("`alpha` of an adapter is {}", self.alpha)));
        }
        if self.targets.is_empty() {
            return Err(ConfigError("`targets` of an adapter names no matrix".to_owned()));
        }
        let mut tensors = Vec::new();
        for name in &self.targets {
            let Some(target) = TARGETS.iter().find(|it| it.0 == name) else {
                let known = TARGETS.map(|it| format!("`{}`", it.0)).join(", ");
                return Err(ConfigError(format!(
                    "`{name}` cannot have an adapter; these can: {known}"
                )));
            };
            if tensors.contains(&target.2) {
                return Err(ConfigError(format!("`targets` of an adapter names `{name}` twice")));
            }
            tensors.push(target.2);
        }
        Ok(tensors)
    }
}

impl Adapters {
    /// Adapters with the weights that `make` returns, by position and specification.
    pub(crate) fn new<E: From<ConfigError>>(
        config: &LoraConfig,
        base: &str,
        model: &ModelConfig,
        mut make: impl FnMut(usize, &ParameterSpec) -> Result<Tensor<2>, E>,
    ) -> Result<Self, E> {
        let (config, base) = (config.clone(), base.to_owned());
        let targets = config.target_tensors()?;
        let mut adapters = Self { targets, config, base, weights: Vec::new() };
        let specs = adapters.parameters(model);
        let weights = specs.iter().enumerate().map(|(at, spec)| make(at, spec));
        adapters.weights = weights.collect::<Result<_, E>>()?;
        Ok(adapters)
    }

    /// Fresh adapters, which change nothing: A is random, B is 0.
    pub(crate) fn init(
        config: &LoraConfig,
        base: &str,
        model: &ModelConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        Self::new(config, base, model, |at, spec| {
            let [rows, columns] = spec.shape;
            let numbers = if at % 2 == 0 {
                let bound = 1.0 / (columns as f32).sqrt();
                // Fresh weights draw from turn 0.
                let stream = Stream::new(seed, Purpose::Init).at_turn(1).of_member(at as u64, 0);
                let mut rng = stream.rng();
                (0..rows * columns).map(|_| rng.random_range(-bound..bound)).collect()
            } else {
                vec![0.0; rows * columns]
            };
            Ok(Tensor::from_data(TensorData::new(numbers, spec.shape), device))
        })
    }

    /// The same adapters with other weights.
    pub(crate) fn with_weights(&self, weights: Vec<Tensor<2>>) -> Self {
        Self { weights, ..self.clone() }
    }

    /// The same adapters of another folder or name of the base model.
    pub(crate) fn with_base(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// Names in PEFT's files, shapes and roles of the weights.
    pub(crate) fn parameters(&self, model: &ModelConfig) -> Vec<ParameterSpec> {
        let mut specs = Vec::new();
        for layer in 0..model.num_hidden_layers {
            for tensor in &self.targets {
                let target = TARGETS.iter().find(|it| it.2 == *tensor);
                let (name, module, _) = target.expect("only targets are adapted");
                let ([out, input], _) = model.layer_tensor(*tensor);
                let place = format!("base_model.model.model.layers.{layer}.{module}.{name}");
                for (end, shape) in
                    [("lora_A", [self.config.rank, input]), ("lora_B", [out, self.config.rank])]
                {
                    let name = format!("{place}.{end}.weight");
                    specs.push(ParameterSpec { name, shape, role: ParameterRole::Matrix });
                }
            }
        }
        specs
    }

    /// Scale α / r of the product.
    fn scale(&self) -> f32 {
        (self.config.alpha / self.config.rank as f64) as f32
    }

    /// A and B of a matrix of a layer, where it is adapted.
    fn pair(&self, layer: usize, tensor: LayerTensor) -> Option<[&Tensor<2>; 2]> {
        let at = self.targets.iter().position(|it| *it == tensor)?;
        let first = 2 * (layer * self.targets.len() + at);
        Some([&self.weights[first], &self.weights[first + 1]])
    }

    /// Output of an adapter, added to that of its matrix: `[N, in]` to `[N, out]`.
    pub(crate) fn project(
        &self,
        input: &Tensor<2>,
        layer: usize,
        tensor: LayerTensor,
        compute: FloatDType,
    ) -> Option<Tensor<2>> {
        let [down, up] = self.pair(layer, tensor)?;
        let narrow = linear(input.clone(), down, compute);
        Some(linear(narrow, up, compute) * self.scale())
    }

    /// Merged weights: those of a decoder, in the order of [`ModelConfig::parameters`], with the
    /// products of the adapters added.
    pub(crate) fn merge_into(
        &self,
        mut weights: Vec<Tensor<2>>,
        model: &ModelConfig,
    ) -> Vec<Tensor<2>> {
        let tensors = model.layer_tensors();
        for layer in 0..model.num_hidden_layers {
            for (at, (tensor, _)) in tensors.iter().enumerate() {
                let Some([down, up]) = self.pair(layer, *tensor) else { continue };
                let weight = &mut weights[1 + layer * tensors.len() + at];
                let added = up.clone().matmul(down.clone()) * self.scale();
                *weight = weight.clone() + added;
            }
        }
        weights
    }
}
