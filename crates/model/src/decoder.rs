//! Decoder-only transformer: RMS norms, rotary position embeddings, grouped-query attention,
//! SwiGLU.
//!
//! [`Decoder`] is its weights in the order of [`ModelConfig::parameters`]. It has two forward
//! passes: over whole sequences for training (`forward.rs`), and incrementally over a KV cache for
//! generation (`decode.rs`). Both run the same layers (`layer.rs`), so generation and training
//! agree up to rounding. Generation on the CPU is the same arithmetic without tensors (`cpu`).
//!
//! Shape suffixes, here and in the files that add to it: `B` sequences, `T` tokens of each,
//! `N` = B·T, `D` width, `H` query heads, `K` key heads, `G` = H/K, `E` head width, `L` cached
//! positions, `V` vocabulary.

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};

use crate::config::{ModelConfig, ParameterSpec};
use crate::families::LayerTensor;
use crate::init;
use crate::keys::ConfigError;
use crate::layer::{Layer, rms_norm};
use crate::lora::{Adapters, LoraConfig};
use crate::ops::linear;

/// Decoder-only transformer: configuration and weights on one device.
#[derive(Debug, Clone)]
pub struct Decoder {
    config: ModelConfig,
    weights: Vec<Tensor<2>>,
    /// Tensors of a layer, in order.
    layer_tensors: Vec<LayerTensor>,
    /// LoRA adapters, which are trained in the place of the weights.
    adapters: Option<Adapters>,
    /// Head in the compute type, where the weights were cast for generation.
    cast_head: Option<Tensor<2>>,
    /// Type that the factors of products are rounded to.
    compute: FloatDType,
    device: Device,
}

impl Decoder {
    /// Randomly initialized decoder, as GPT-2: normal with `initializer_range`, the outputs of the
    /// residual branches scaled down by √(2 · layers), norms 1, biases 0. Two departures help small
    /// models: embeddings have a larger deviation, and two heads of the first layer start as
    /// previous-token heads.
    ///
    /// The numbers come from `seed`, not from the device, so that every device starts alike.
    pub fn init(config: &ModelConfig, seed: u64, device: &Device) -> Self {
        let weights = config
            .parameters()
            .iter()
            .zip(init::weights(config, seed))
            .map(|(spec, numbers)| Tensor::from_data(TensorData::new(numbers, spec.shape), device))
            .collect();
        Self::with_weights(config, weights, device)
    }

    /// Decoder with given weights, in the order of [`ModelConfig::parameters`].
    ///
    /// # Panics
    ///
    /// Panics if their number or a shape is wrong.
    pub fn with_weights(config: &ModelConfig, weights: Vec<Tensor<2>>, device: &Device) -> Self {
        let specs = config.parameters();
        assert_eq!(specs.len(), weights.len());
        for (spec, weight) in specs.iter().zip(&weights) {
            assert_eq!(weight.dims(), spec.shape, "{}", spec.name);
        }
        Self {
            config: config.clone(),
            weights,
            layer_tensors: config.layer_tensors().into_iter().map(|it| it.0).collect(),
            adapters: None,
            cast_head: None,
            compute: FloatDType::F32,
            device: device.clone(),
        }
    }

    /// Mixed precision: the same decoder with another compute type, in which matrices are
    /// multiplied. Default: f32.
    ///
    /// The factors of a product are rounded to it, and the product is f32 again. Weights stay f32,
    /// and so do gradients, embeddings, norms, positions, softmax and all other sums: an update
    /// that is smaller than the last digit of bf16 is not lost. The KV cache of generation is in
    /// this type as well, but on the CPU, where generation computes in f32.
    /// [`can_compute`](crate::can_compute) tells which devices support a type.
    #[must_use]
    pub fn with_compute_dtype(self, compute: FloatDType) -> Self {
        Self { compute, ..self }
    }

    /// Compute type: see [`Decoder::with_compute_dtype`].
    pub fn compute_dtype(&self) -> FloatDType {
        self.compute
    }

    /// Configuration of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Device of the weights.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Weights without adapters, in the order of [`ModelConfig::parameters`].
    pub fn weights(&self) -> &[Tensor<2>] {
        &self.weights
    }

    pub(crate) fn into_weights(self) -> Vec<Tensor<2>> {
        self.weights
    }

    /// LoRA configuration, where the decoder has adapters.
    pub fn lora(&self) -> Option<&LoraConfig> {
        self.adapters().map(|it| &it.config)
    }

    /// The same decoder with fresh LoRA adapters, which change nothing yet. From now on only they
    /// are trained: [`Decoder::trainable`]. `base` is the folder or name that the decoder was
    /// loaded from; it is written into the files of the adapters.
    ///
    /// # Errors
    ///
    /// Those of [`LoraConfig::check`].
    pub fn with_lora(
        &self,
        config: &LoraConfig,
        base: &str,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let adapters = Adapters::init(config, base, &self.config, seed, &self.device)?;
        Ok(self.with_adapters(Some(adapters)))
    }

    /// Base model: the decoder without its adapters.
    #[must_use]
    pub fn base_model(&self) -> Self {
        self.with_adapters(None)
    }

    /// Decoder with its adapters merged into the weights: it computes the same, up to rounding.
    #[must_use]
    pub fn merged(&self) -> Self {
        let Some(adapters) = &self.adapters else { return self.clone() };
        let weights = adapters.merge_into(self.weights.clone(), &self.config);
        Self::with_weights(&self.config, weights, &self.device).with_compute_dtype(self.compute)
    }

    /// LoRA adapters, where the decoder has any.
    pub(crate) fn adapters(&self) -> Option<&Adapters> {
        self.adapters.as_ref()
    }

    /// The same weights with other adapters.
    pub(crate) fn with_adapters(&self, adapters: Option<Adapters>) -> Self {
        Self { adapters, ..self.clone() }
    }

    /// Trainable parameters: the adapters where there are any, or else all weights.
    pub fn trainable(&self) -> &[Tensor<2>] {
        self.adapters.as_ref().map_or(&self.weights, |it| &it.weights)
    }

    /// Names, shapes and roles of [`Decoder::trainable`].
    pub fn trainable_parameters(&self) -> Vec<ParameterSpec> {
        self.adapters
            .as_ref()
            .map_or_else(|| self.config.parameters(), |adapters| adapters.parameters(&self.config))
    }

    /// The same decoder with other trainable weights.
    ///
    /// # Panics
    ///
    /// Panics if their number or a shape is wrong.
    #[must_use]
    pub fn with_trainable(&self, weights: Vec<Tensor<2>>) -> Self {
        let Some(adapters) = &self.adapters else {
            return Self::with_weights(&self.config, weights, &self.device)
                .with_compute_dtype(self.compute);
        };
        let specs = adapters.parameters(&self.config);
        assert_eq!(specs.len(), weights.len());
        for (spec, weight) in specs.iter().zip(&weights) {
            assert_eq!(weight.dims(), spec.shape, "{}", spec.name);
        }
        self.with_adapters(Some(adapters.with_weights(weights)))
    }

    /// The same decoder with its trainable parameters as fresh leaves of an autodiff graph.
    #[must_use]
    pub fn tracked(&self) -> Self {
        let leaf = |weight: &Tensor<2>| weight.clone().inner().autodiff().require_grad();
        let frozen = self.frozen();
        match &frozen.adapters {
            Some(adapters) => {
                let weights = adapters.weights.iter().map(leaf).collect();
                frozen.with_adapters(Some(adapters.with_weights(weights)))
            }
            None => Self { weights: self.weights.iter().map(leaf).collect(), ..frozen },
        }
    }

    /// The same decoder on the autodiff device with no parameter tracked.
    pub(crate) fn frozen(&self) -> Self {
        let constant = |weight: &Tensor<2>| weight.clone().inner().autodiff();
        let adapters = self
            .adapters
            .as_ref()
            .map(|adapters| adapters.with_weights(adapters.weights.iter().map(constant).collect()));
        Self {
            config: self.config.clone(),
            weights: self.weights.iter().map(constant).collect(),
            layer_tensors: self.layer_tensors.clone(),
            adapters,
            cast_head: None,
            compute: self.compute,
            device: self.device.clone().inner().autodiff(),
        }
    }

    /// Logits of normed hidden states: `[M, D]` to `[M, V]`.
    pub fn logits(&self, hidden_md: Tensor<2>) -> Tensor<2> {
        let head = self.cast_head.as_ref().unwrap_or(&self.weights[self.head()]);
        linear(hidden_md, head, self.compute)
    }

    /// The same decoder with its matrices in the compute type, for generation.
    ///
    /// Generation multiplies with all of them for every token, which would cast them as often. The
    /// embeddings stay f32.
    #[must_use]
    pub(crate) fn cast_for_generation(mut self) -> Self {
        for weight in self.weights.iter_mut().skip(1).filter(|weight| !weight.dims().contains(&1)) {
            *weight = weight.clone().cast(self.compute);
        }
        self.cast_head = Some(self.weights[self.head()].clone().cast(self.compute));
        self
    }

    /// Index of the head among the weights; that of the embedding where they are tied.
    pub(crate) fn head(&self) -> usize {
        if self.config.tie_word_embeddings { 0 } else { self.weights.len() - 1 }
    }

    /// Layer number `idx`.
    pub(crate) fn layer(&self, idx: usize) -> Layer<'_> {
        let n_tensors = self.layer_tensors.len();
        Layer {
            config: &self.config,
            weights: &self.weights[1 + idx * n_tensors..][..n_tensors],
            tensors: &self.layer_tensors,
            adapters: self.adapters.as_ref().map(|it| (it, idx)),
            compute: self.compute,
        }
    }

    /// Final norm of hidden states `[M, D]`.
    pub(crate) fn final_norm(&self, hidden_md: Tensor<2>) -> Tensor<2> {
        let from_end = if self.config.tie_word_embeddings { 1 } else { 2 };
        let weight = &self.weights[self.weights.len() - from_end];
        rms_norm(hidden_md, weight, self.config.rms_norm_eps)
    }

    /// Token embeddings `[N, D]`.
    pub(crate) fn embed(&self, ids: &[i64]) -> Tensor<2> {
        self.weights[0].clone().select(0, self.indices(ids.to_vec()))
    }

    /// Integer tensor on the device, such as row numbers.
    pub(crate) fn indices(&self, numbers: Vec<i64>) -> Tensor<1, Int> {
        let n = numbers.len();
        Tensor::from_data(TensorData::new(numbers, [n]), &self.device)
    }
}
