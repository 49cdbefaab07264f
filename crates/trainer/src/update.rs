//! One step of the optimizer, guarded.

use anyhow::Result;
use burn::tensor::Tensor;
use forage_model::{Decoder, Role};
use forage_optimizer::{OptimizerConfig, global_norm};

use crate::checkpoint::TrainState;
use crate::failure::{Code, Failure};

/// Clips the gradients and moves the weights. Returns the norm before clipping.
pub fn take_step(
    config: &OptimizerConfig,
    state: &mut TrainState,
    gradients: Vec<Tensor<2>>,
    lr: f64,
) -> Result<f64> {
    let diverged = |what: &str| {
        let message = format!("the {what} of step {} are not finite", state.step + 1);
        Failure::new(Code::Diverged, message)
            .hint("start again from the last checkpoint with a lower `optimizer.lr`")
    };
    let norm = global_norm(&gradients);
    if !norm.is_finite() {
        return Err(diverged("gradients").into());
    }
    let scale = (config.clip_norm / norm.max(1e-12)).min(1.0);
    let gradients = gradients.into_iter().map(|it| it * scale).collect();
    let decayed: Vec<bool> =
        state.decoder.config().parameters().iter().map(|it| it.role == Role::Matrix).collect();
    let weights = state.adamw.step(config, lr, state.decoder.weights(), gradients, &decayed);
    // Such weights write nonsense, which earns nothing and so has a gradient of 0: no later step
    // would notice.
    if !global_norm(&weights).is_finite() {
        return Err(diverged("weights").into());
    }
    let device = state.decoder.device().clone();
    state.decoder = Decoder::with_weights(state.decoder.config(), weights, &device);
    state.step += 1;
    Ok(norm)
}
