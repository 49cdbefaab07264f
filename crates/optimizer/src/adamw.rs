//! AdamW: Adam with decoupled weight decay (arXiv 1711.05101), over a list of weights.

use burn::tensor::Tensor;

use crate::config::OptimizerConfig;

/// Moments of one weight, each with the weight's shape.
#[derive(Debug, Clone)]
pub struct AdamState {
    /// First moment: moving average of the gradients.
    pub first: Tensor<2>,
    /// Second moment: moving average of their squares.
    pub second: Tensor<2>,
}

impl AdamState {
    /// The moments after one more gradient.
    fn after(&self, [beta1, beta2]: [f64; 2], gradient: Tensor<2>) -> Self {
        let square = gradient.clone() * gradient.clone();
        Self {
            first: self.first.clone() * beta1 + gradient * (1.0 - beta1),
            second: self.second.clone() * beta2 + square * (1.0 - beta2),
        }
    }
}

/// AdamW optimizer: the moments of all weights and the number of steps.
///
/// A step is [`AdamW::apply`], which computes the new weights, and then [`AdamW::update_moments`].
/// Between the two, the caller can reject weights that are not finite.
#[derive(Debug, Clone)]
pub struct AdamW {
    /// Moments, in the order of the weights.
    pub states: Vec<AdamState>,
    /// Number of steps taken, for the bias correction.
    pub n_steps: u64,
}

impl AdamW {
    /// Optimizer before its first step: all moments are 0.
    pub fn new(weights: &[Tensor<2>]) -> Self {
        let states = weights
            .iter()
            .map(|weight| AdamState { first: weight.zeros_like(), second: weight.zeros_like() })
            .collect();
        Self { states, n_steps: 0 }
    }

    /// Weights after a step with these gradients; the moments stay as they are.
    ///
    /// `gradients` and `decayed`, whether weight decay applies, are in the order of the weights.
    ///
    /// The moments are computed here and once more in [`AdamW::update_moments`]: that is cheaper
    /// than to hold those of before and after at once, which are twice as large as the weights.
    pub fn apply(
        &self,
        config: &OptimizerConfig,
        lr: f64,
        weights: &[Tensor<2>],
        gradients: &[Tensor<2>],
        decayed: &[bool],
    ) -> Vec<Tensor<2>> {
        let [correction1, correction2] =
            config.betas.map(|beta| 1.0 - beta.powf((self.n_steps + 1) as f64));
        let parts = weights.iter().zip(gradients).zip(&self.states).zip(decayed);
        parts
            .map(|(((weight, gradient), state), &decayed)| {
                let AdamState { first, second } = state.after(config.betas, gradient.clone());
                let scale = (second / correction2).sqrt() + config.eps;
                let update = first / correction1 / scale;
                let decay = if decayed { 1.0 - lr * config.weight_decay } else { 1.0 };
                weight.clone() * decay - update * lr
            })
            .collect()
    }

    /// Updates the moments with the gradients of a step, and counts the step.
    pub fn update_moments(&mut self, config: &OptimizerConfig, gradients: Vec<Tensor<2>>) {
        self.n_steps += 1;
        for (state, gradient) in self.states.iter_mut().zip(gradients) {
            *state = state.after(config.betas, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// Three steps of `PyTorch` 2's `AdamW(lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01)`
    /// on f(w) = w², from w = 1, computed by the formula in f64.
    #[test]
    fn steps_follow_the_formula() {
        let device = Device::flex();
        let config = OptimizerConfig { weight_decay: 0.01, ..OptimizerConfig::new(0.1) };
        let mut weights =
            vec![Tensor::<2>::from_data(TensorData::new(vec![1.0_f32], [1, 1]), &device)];
        let mut adamw = AdamW::new(&weights);
        let (mut w, mut m, mut v) = (1.0_f64, 0.0_f64, 0.0_f64);
        for step in 1..=3 {
            let gradient = weights[0].clone() * 2.0;
            let gradients = vec![gradient];
            weights = adamw.apply(&config, 0.1, &weights, &gradients, &[true]);
            adamw.update_moments(&config, gradients);
            let g = 2.0 * w;
            m = 0.9 * m + 0.1 * g;
            v = 0.95 * v + 0.05 * g * g;
            let (m_hat, v_hat) = (m / (1.0 - 0.9_f64.powi(step)), v / (1.0 - 0.95_f64.powi(step)));
            w = w * (1.0 - 0.1 * 0.01) - 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
            let found = f64::from(weights[0].clone().into_scalar::<f32>());
            assert!((found - w).abs() < 1e-6, "step {step}: {found} is not {w}");
        }
    }
}
