//! AdamW (arXiv 1711.05101) over a list of weights.

use burn::tensor::Tensor;

use crate::OptimizerConfig;

/// Moments of one weight.
#[derive(Debug, Clone)]
pub struct State {
    /// Mean of the gradients.
    pub first: Tensor<2>,
    /// Mean of their squares.
    pub second: Tensor<2>,
}

impl State {
    /// After another gradient.
    fn after(&self, [beta1, beta2]: [f64; 2], gradient: Tensor<2>) -> Self {
        let square = gradient.clone() * gradient.clone();
        Self {
            first: self.first.clone() * beta1 + gradient * (1.0 - beta1),
            second: self.second.clone() * beta2 + square * (1.0 - beta2),
        }
    }
}

/// The optimizer's state: one [`State`] a weight, and how many steps were taken.
#[derive(Debug, Clone)]
pub struct AdamW {
    /// In the order of the weights.
    pub states: Vec<State>,
    /// Steps taken, for the bias correction.
    pub n_steps: u64,
}

impl AdamW {
    /// No step taken.
    pub fn new(weights: &[Tensor<2>]) -> Self {
        let states = weights
            .iter()
            .map(|it| State { first: it.zeros_like(), second: it.zeros_like() })
            .collect();
        Self { states, n_steps: 0 }
    }

    /// One step: `gradients` and `decayed` (whether weight decay applies) are in the order of the
    /// weights. Returns the new weights.
    #[must_use]
    pub fn step(
        &mut self,
        config: &OptimizerConfig,
        lr: f64,
        weights: &[Tensor<2>],
        gradients: Vec<Tensor<2>>,
        decayed: &[bool],
    ) -> Vec<Tensor<2>> {
        let weights = self.weights_after(config, lr, weights, &gradients, decayed);
        self.remember(config, gradients);
        weights
    }

    /// The weights that a step would lead to. The step is taken with [`AdamW::remember`].
    ///
    /// That the moments are computed twice is cheaper than holding those of before and after at
    /// once: they are twice as large as the weights.
    pub fn weights_after(
        &self,
        config: &OptimizerConfig,
        lr: f64,
        weights: &[Tensor<2>],
        gradients: &[Tensor<2>],
        decayed: &[bool],
    ) -> Vec<Tensor<2>> {
        let [correction1, correction2] =
            config.betas.map(|it| 1.0 - it.powf((self.n_steps + 1) as f64));
        let parts = weights.iter().zip(gradients).zip(&self.states).zip(decayed);
        parts
            .map(|(((weight, gradient), state), &decayed)| {
                let State { first, second } = state.after(config.betas, gradient.clone());
                let scale = (second / correction2).sqrt() + config.eps;
                let update = first / correction1 / scale;
                let decay = if decayed { 1.0 - lr * config.weight_decay } else { 1.0 };
                weight.clone() * decay - update * lr
            })
            .collect()
    }

    /// Takes the gradients of a step into the moments.
    pub fn remember(&mut self, config: &OptimizerConfig, gradients: Vec<Tensor<2>>) {
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
            weights = adamw.step(&config, 0.1, &weights, vec![gradient], &[true]);
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
