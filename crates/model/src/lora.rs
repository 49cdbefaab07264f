//! Low-rank adapters (LoRA, arXiv 2106.09685): beside a frozen weight W, a product of two narrow
//! matrices is trained: y = W x + (α / r) B A x, with A `[r, in]` and B `[out, r]`.
//!
//! A is drawn as PEFT draws it, uniformly within ±1/√in; B is 0, so that a fresh adapter changes
//! nothing.

use burn::tensor::{FloatDType, Tensor, TensorData};
use forage_trajectory::{Purpose, Stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, ModelConfig, ParameterSpec, Role};
use crate::decoder::Decoder;
use crate::families::Part;
use crate::layer::linear;

/// Matrices of a layer that may have an adapter, by the names that PEFT knows them by, with the
/// module they are in.
const TARGETS: [(&str, &str, Part); 7] = [
    ("q_proj", "self_attn", Part::Query),
    ("k_proj", "self_attn", Part::Key),
    ("v_proj", "self_attn", Part::Value),
    ("o_proj", "self_attn", Part::Output),
    ("gate_proj", "mlp", Part::Gate),
    ("up_proj", "mlp", Part::Up),
    ("down_proj", "mlp", Part::Down),
];

/// What is adapted, and how finely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the product (r).
    pub rank: usize,
    /// The product counts α / r times.
    pub alpha: f64,
    /// Names of the matrices, such as `q_proj`; all seven where nothing is said.
    #[serde(default = "all_targets")]
    pub targets: Vec<String>,
}

/// Adapters of all layers.
#[derive(Debug, Clone)]
pub(crate) struct Adapters {
    pub(crate) config: LoraConfig,
    /// Folder or name of the model that they belong to.
    pub(crate) base: String,
    /// The adapted matrices of a layer.
    parts: Vec<Part>,
    /// Layer by layer, matrix by matrix: A, then B.
    pub(crate) weights: Vec<Tensor<2>>,
}

fn all_targets() -> Vec<String> {
    TARGETS.iter().map(|it| it.0.to_owned()).collect()
}

impl LoraConfig {
    /// Refuses a rank of 0, and targets that are unknown or named twice.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.parts().map(|_| ())
    }

    fn parts(&self) -> Result<Vec<Part>, ConfigError> {
        if self.rank == 0 {
            return Err(ConfigError("`rank` of an adapter is 0".to_owned()));
        }
        if !self.alpha.is_finite() {
            return Err(ConfigError(format!("`alpha` of an adapter is {}", self.alpha)));
        }
        if self.targets.is_empty() {
            return Err(ConfigError("`targets` of an adapter names no matrix".to_owned()));
        }
        let mut parts = Vec::new();
        for name in &self.targets {
            let Some(target) = TARGETS.iter().find(|it| it.0 == name) else {
                let known = TARGETS.map(|it| format!("`{}`", it.0)).join(", ");
                return Err(ConfigError(format!(
                    "`{name}` cannot have an adapter; these can: {known}"
                )));
            };
            if parts.contains(&target.2) {
                return Err(ConfigError(format!("`targets` of an adapter names `{name}` twice")));
            }
            parts.push(target.2);
        }
        Ok(parts)
    }
}

impl Adapters {
    /// Adapters with these weights; `make` gives each by its place and what it is.
    pub(crate) fn new<E: From<ConfigError>>(
        config: &LoraConfig,
        base: &str,
        model: &ModelConfig,
        mut make: impl FnMut(usize, &ParameterSpec) -> Result<Tensor<2>, E>,
    ) -> Result<Self, E> {
        let (config, base) = (config.clone(), base.to_owned());
        let mut adapters = Self { parts: config.parts()?, config, base, weights: Vec::new() };
        let specs = adapters.parameters(model);
        let weights = specs.iter().enumerate().map(|(at, spec)| make(at, spec));
        adapters.weights = weights.collect::<Result<_, E>>()?;
        Ok(adapters)
    }

    pub(crate) fn with_weights(&self, weights: Vec<Tensor<2>>) -> Self {
        Self { weights, ..self.clone() }
    }

    /// Their names in PEFT's files, shapes and roles.
    pub(crate) fn parameters(&self, model: &ModelConfig) -> Vec<ParameterSpec> {
        let mut specs = Vec::new();
        for layer in 0..model.num_hidden_layers {
            for part in &self.parts {
                let target = TARGETS.iter().find(|it| it.2 == *part);
                let (name, module, _) = target.expect("only targets are adapted");
                let ([out, input], _) = model.part(*part);
                let place = format!("base_model.model.model.layers.{layer}.{module}.{name}");
                for (end, shape) in
                    [("lora_A", [self.config.rank, input]), ("lora_B", [out, self.config.rank])]
                {
                    let name = format!("{place}.{end}.weight");
                    specs.push(ParameterSpec { name, shape, role: Role::Matrix });
                }
            }
        }
        specs
    }

    /// What the product adds.
    fn scale(&self) -> f32 {
        (self.config.alpha / self.config.rank as f64) as f32
    }

    /// A and B of a matrix of a layer.
    fn pair(&self, layer: usize, part: Part) -> Option<[&Tensor<2>; 2]> {
        let at = self.parts.iter().position(|it| *it == part)?;
        let first = 2 * (layer * self.parts.len() + at);
        Some([&self.weights[first], &self.weights[first + 1]])
    }

    /// What an adapter adds to the output of a matrix: `[N, in]` to `[N, out]`.
    pub(crate) fn project(
        &self,
        input: &Tensor<2>,
        layer: usize,
        part: Part,
        compute: FloatDType,
    ) -> Option<Tensor<2>> {
        let [down, up] = self.pair(layer, part)?;
        let narrow = linear(input.clone(), down, compute);
        Some(linear(narrow, up, compute) * self.scale())
    }
}

impl Decoder {
    /// The same decoder with fresh adapters, which change nothing yet. From now on only they are
    /// trained: [`Decoder::trainable`]. `base` is the folder or name that the decoder was loaded
    /// from; it is written into the files of the adapters.
    pub fn with_lora(
        &self,
        config: &LoraConfig,
        base: &str,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let adapters = Adapters::new(config, base, self.config(), |at, spec| {
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
            let data = TensorData::new(numbers, spec.shape);
            Ok::<_, ConfigError>(Tensor::from_data(data, self.device()))
        })?;
        Ok(self.with_adapters(Some(adapters)))
    }

    /// What is adapted, where anything is.
    pub fn lora(&self) -> Option<&LoraConfig> {
        self.adapters().map(|it| &it.config)
    }

    /// The decoder without its adapters.
    #[must_use]
    pub fn base(&self) -> Self {
        self.with_adapters(None)
    }

    /// The decoder with its adapters added to the weights: it computes the same, up to rounding.
    #[must_use]
    pub fn merged(&self) -> Self {
        let Some(adapters) = self.adapters() else { return self.clone() };
        let mut weights = self.weights().to_vec();
        let parts = (self.config().model_type.traits().layer)(self.config());
        for layer in 0..self.config().num_hidden_layers {
            for (at, (part, _)) in parts.iter().enumerate() {
                let Some([down, up]) = adapters.pair(layer, *part) else { continue };
                let weight = &mut weights[1 + layer * parts.len() + at];
                let added = up.clone().matmul(down.clone()) * adapters.scale();
                *weight = weight.clone() + added;
            }
        }
        Self::with_weights(self.config(), weights, self.device()).computing_in(self.compute())
    }
}
