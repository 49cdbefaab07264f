//! Critic (value model): a decoder with a value head instead of logits.

use burn::tensor::Tensor;

use crate::config::{ModelConfig, ParameterRole, ParameterSpec};
use crate::decoder::Decoder;

/// Name of the value head among the tensors of a critic.
const VALUE_HEAD: &str = "value_head.weight";

/// Critic: a decoder with a linear value head, which estimates the return from a position. Its
/// weights are those of the decoder, then the head, `[1, D]`.
#[derive(Debug, Clone)]
pub struct Critic {
    decoder: Decoder,
    head: Tensor<2>,
}

impl Critic {
    /// Critic with a value head of zeros: all values are 0 at first.
    pub fn new(decoder: Decoder) -> Self {
        let head = Tensor::zeros([1, decoder.config().hidden_size], decoder.device());
        Self { decoder, head }
    }

    /// The same critic with other weights, in the order of [`Critic::parameters`].
    ///
    /// # Panics
    ///
    /// Panics if their number or a shape is wrong.
    #[must_use]
    pub fn with_weights(&self, mut weights: Vec<Tensor<2>>) -> Self {
        let head = weights.pop().expect("a critic has a head");
        assert_eq!(head.dims(), self.head.dims(), "{VALUE_HEAD}");
        Self { decoder: self.decoder.with_trainable(weights), head }
    }

    /// Names, shapes and roles of the weights.
    pub fn parameters(config: &ModelConfig) -> Vec<ParameterSpec> {
        let mut specs = config.parameters();
        let shape = [1, config.hidden_size];
        specs.push(ParameterSpec {
            name: VALUE_HEAD.to_owned(),
            shape,
            role: ParameterRole::Matrix,
        });
        specs
    }

    /// Weights, in the order of [`Critic::parameters`].
    pub fn weights(&self) -> Vec<Tensor<2>> {
        self.decoder.weights().iter().chain([&self.head]).cloned().collect()
    }

    /// Decoder that computes the hidden states.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The same critic with its weights as fresh leaves of an autodiff graph.
    #[must_use]
    pub fn tracked(&self) -> Self {
        let head = self.head.clone().inner().autodiff().require_grad();
        Self { decoder: self.decoder.tracked(), head }
    }

    /// Values of hidden states: `[M, D]` to `[M]`.
    pub fn values(&self, hidden_md: Tensor<2>) -> Tensor<1> {
        let rows = hidden_md.dims()[0];
        // [M, 1] -> [M]
        hidden_md.matmul(self.head.clone().transpose()).reshape([rows])
    }
}
