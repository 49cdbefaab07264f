//! A decoder that says what a position is worth, instead of what comes next: a critic.

use burn::tensor::Tensor;

use crate::config::{ModelConfig, ParameterSpec, Role};
use crate::decoder::Decoder;

/// Name of the head among the tensors of a critic.
const VALUE_HEAD: &str = "value_head.weight";

/// A decoder with a linear head of one number. Its weights are those of the decoder, then the
/// head, `[1, D]`.
#[derive(Debug, Clone)]
pub struct Critic {
    decoder: Decoder,
    head: Tensor<2>,
}

impl Critic {
    /// A decoder with a head of zeros: everything is worth 0 until something was learned.
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
        specs.push(ParameterSpec { name: VALUE_HEAD.to_owned(), shape, role: Role::Matrix });
        specs
    }

    /// The weights, in the order of [`Critic::parameters`].
    pub fn weights(&self) -> Vec<Tensor<2>> {
        self.decoder.weights().iter().chain([&self.head]).cloned().collect()
    }

    /// What makes the hidden states.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The same weights as fresh leaves of an autodiff graph of their own.
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
