//! The decoder: RMS norms, rotary positions, grouped-query attention, SwiGLU.
//!
//! [`Decoder`] is its weights in the order of [`ModelConfig::parameters`]. It has two ways forward:
//! [`Decoder::forward`] over whole sequences, for training, and [`Decoder::extend`] over cached
//! keys and values, for generation. Both run the same layers (`layer.rs`), so what is generated
//! and what is trained agree up to rounding. On the CPU, generation has a way of its own: `host`,
//! the same arithmetic without tensors.
//!
//! Shape suffixes, here and in the files that add to it: `B` sequences, `T` tokens of each,
//! `N` = B·T, `D` width, `H` query heads, `K` key heads, `G` = H/K, `E` head width, `L` cached
//! positions, `V` vocabulary.

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};

use crate::config::{ModelConfig, ParameterSpec};
use crate::families::Part;
use crate::init;
use crate::layer::{Layer, linear};
use crate::lora::Adapters;

/// A decoder's weights on one device.
#[derive(Debug, Clone)]
pub struct Decoder {
    config: ModelConfig,
    weights: Vec<Tensor<2>>,
    /// The tensors of a layer, in order.
    parts: Vec<Part>,
    /// What is added to the weights and trained in their place, where it is.
    adapters: Option<Adapters>,
    /// The head, rounded for generation, where it is; see [`Decoder::rounded`].
    rounded_head: Option<Tensor<2>>,
    /// What the factors of products are rounded to.
    compute: FloatDType,
    device: Device,
}

impl Decoder {
    /// Fresh weights: normal with `initializer_range`, the outputs of the residual branches scaled
    /// down by √(2 · layers), norms 1, biases 0, with two departures for small models: embeddings
    /// are spread wider, and the first layer begins by looking back.
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

    /// A decoder with these weights, in the order of [`ModelConfig::parameters`].
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
        let parts = (config.model_type.traits().layer)(config);
        Self {
            config: config.clone(),
            weights,
            parts: parts.into_iter().map(|it| it.0).collect(),
            adapters: None,
            rounded_head: None,
            compute: FloatDType::F32,
            device: device.clone(),
        }
    }

    /// The same decoder, which multiplies matrices in this type; f32, where nothing is said.
    ///
    /// What goes into a product is rounded to it, and what comes out is f32 again. Weights stay f32,
    /// and so do gradients, embeddings, norms, positions, softmax and all other sums: an update that
    /// is smaller than the last digit of bf16 is not lost. Generation keeps keys and values in it,
    /// but on the CPU, where it computes in f32. [`can_compute`](crate::can_compute) says where it
    /// is of use.
    #[must_use]
    pub fn computing_in(self, compute: FloatDType) -> Self {
        Self { compute, ..self }
    }

    /// The type of [`Decoder::computing_in`].
    pub fn compute(&self) -> FloatDType {
        self.compute
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device the weights are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The weights, in the order of [`ModelConfig::parameters`].
    pub fn weights(&self) -> &[Tensor<2>] {
        &self.weights
    }

    pub(crate) fn into_weights(self) -> Vec<Tensor<2>> {
        self.weights
    }

    /// The adapters, where the decoder has any.
    pub(crate) fn adapters(&self) -> Option<&Adapters> {
        self.adapters.as_ref()
    }

    /// The same weights with these adapters.
    pub(crate) fn with_adapters(&self, adapters: Option<Adapters>) -> Self {
        Self { adapters, ..self.clone() }
    }

    /// What training moves: the adapters where there are any, or else all weights.
    pub fn trainable(&self) -> &[Tensor<2>] {
        self.adapters.as_ref().map_or(&self.weights, |it| &it.weights)
    }

    /// Names, shapes and roles of [`Decoder::trainable`].
    pub fn trainable_parameters(&self) -> Vec<ParameterSpec> {
        self.adapters
            .as_ref()
            .map_or_else(|| self.config.parameters(), |it| it.parameters(&self.config))
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
                .computing_in(self.compute);
        };
        let specs = adapters.parameters(&self.config);
        assert_eq!(specs.len(), weights.len());
        for (spec, weight) in specs.iter().zip(&weights) {
            assert_eq!(weight.dims(), spec.shape, "{}", spec.name);
        }
        self.with_adapters(Some(adapters.with_weights(weights)))
    }

    /// The same decoder with what is trainable as fresh leaves of an autodiff graph of its own.
    #[must_use]
    pub fn tracked(&self) -> Self {
        let leaf = |it: &Tensor<2>| it.clone().inner().autodiff().require_grad();
        let frozen = self.frozen();
        match &frozen.adapters {
            Some(adapters) => {
                let weights = adapters.weights.iter().map(leaf).collect();
                frozen.with_adapters(Some(adapters.with_weights(weights)))
            }
            None => Self { weights: self.weights.iter().map(leaf).collect(), ..frozen },
        }
    }

    /// The same decoder where graphs are made, but no leaf of one.
    pub(crate) fn frozen(&self) -> Self {
        let constant = |it: &Tensor<2>| it.clone().inner().autodiff();
        let adapters = self
            .adapters
            .as_ref()
            .map(|it| it.with_weights(it.weights.iter().map(constant).collect()));
        Self {
            config: self.config.clone(),
            weights: self.weights.iter().map(constant).collect(),
            parts: self.parts.clone(),
            adapters,
            rounded_head: None,
            compute: self.compute,
            device: self.device.clone().inner().autodiff(),
        }
    }

    /// Logits of hidden states: `[M, D]` to `[M, V]`.
    pub fn logits(&self, hidden_md: Tensor<2>) -> Tensor<2> {
        let head = self.rounded_head.as_ref().unwrap_or(&self.weights[self.head()]);
        linear(hidden_md, head, self.compute)
    }

    /// The same decoder, whose matrices are rounded to what they are multiplied in.
    ///
    /// Generation multiplies with all of them for every token, which would round them as often. The
    /// embeddings stay as they are.
    #[must_use]
    pub(crate) fn rounded(mut self) -> Self {
        for weight in self.weights.iter_mut().skip(1).filter(|it| !it.dims().contains(&1)) {
            *weight = weight.clone().cast(self.compute);
        }
        self.rounded_head = Some(self.weights[self.head()].clone().cast(self.compute));
        self
    }

    /// Where among the weights the head is.
    pub(crate) fn head(&self) -> usize {
        if self.config.tie_word_embeddings { 0 } else { self.weights.len() - 1 }
    }

    pub(crate) fn layer(&self, idx: usize) -> Layer<'_> {
        let n_parts = self.parts.len();
        Layer {
            weights: &self.weights[1 + idx * n_parts..][..n_parts],
            parts: &self.parts,
            adapters: self.adapters.as_ref().map(|it| (it, idx)),
            compute: self.compute,
        }
    }

    pub(crate) fn embed(&self, ids: &[i64]) -> Tensor<2> {
        self.weights[0].clone().select(0, self.indices(ids.to_vec()))
    }

    pub(crate) fn indices(&self, numbers: Vec<i64>) -> Tensor<1, Int> {
        let n = numbers.len();
        Tensor::from_data(TensorData::new(numbers, [n]), &self.device)
    }
}
