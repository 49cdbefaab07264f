//! One step of the optimizer, guarded: what is not finite is not taken.

use burn::tensor::Tensor;
use forage_model::{ParameterSpec, Role};
use forage_optimizer::{
    AdamW, NotFinite, OptimizerConfig, WeightKind, clip_to_norm, finite_norm, global_norm,
};

use crate::failure::{Code, Failure};

/// Why a step was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unstable {
    /// The loss is not finite.
    Loss,
    /// The gradient of this weight is not finite.
    Gradient(String),
    /// Every gradient is finite, their norm is not.
    Norm,
    /// The weights would not be finite afterwards. Such weights write nonsense, which earns nothing
    /// and so has a gradient of 0: no later step would notice.
    Weights,
}

impl Unstable {
    /// What happened, in a sentence. `step` is counted from 1.
    pub fn at(&self, step: u64) -> String {
        match self {
            Self::Loss => format!("the loss of step {step} is not finite"),
            Self::Gradient(name) => {
                format!("the gradients of step {step} are not finite, that of `{name}` first")
            }
            Self::Norm => format!("the norm of the gradients of step {step} is not finite"),
            Self::Weights => format!("the weights of step {step} are not finite"),
        }
    }

    /// A failure that ends a run.
    pub fn failure(&self, step: u64) -> Failure {
        Failure::new(Code::Diverged, self.at(step))
            .hint("start again from the last checkpoint with a lower `optimizer.lr`")
    }
}

/// What a step is taken with.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The optimizer's settings.
    pub config: &'a OptimizerConfig,
    /// The learning rate.
    pub lr: f64,
    /// Names and roles of the weights.
    pub specs: &'a [ParameterSpec],
}

impl Step<'_> {
    /// Clips the gradients, moves the weights, and returns them with the norm before clipping.
    ///
    /// Where the step cannot be taken, the caller keeps its weights. Moments have then seen finite
    /// gradients only.
    pub fn take(
        &self,
        adamw: &mut AdamW,
        weights: &[Tensor<2>],
        loss: f64,
        gradients: Vec<Tensor<2>>,
    ) -> Result<(Vec<Tensor<2>>, f64), Unstable> {
        let norm = finite_norm(loss, &gradients).map_err(|it| match it {
            NotFinite::Loss => Unstable::Loss,
            NotFinite::Gradient(idx) => Unstable::Gradient(self.specs[idx].name.clone()),
            NotFinite::Norm => Unstable::Norm,
        })?;
        let gradients = clip_to_norm(gradients, norm, self.config.clip_norm);
        let rule = self.config.decay;
        let decayed: Vec<bool> = self.specs.iter().map(|it| rule.applies(kind(it.role))).collect();
        let weights = adamw.step(self.config, self.lr, weights, gradients, &decayed);
        if global_norm(&weights).is_finite() { Ok((weights, norm)) } else { Err(Unstable::Weights) }
    }
}

fn kind(role: Role) -> WeightKind {
    match role {
        Role::Embedding => WeightKind::Embedding,
        Role::Matrix => WeightKind::Matrix,
        Role::Bias => WeightKind::Bias,
        Role::Norm => WeightKind::Norm,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn tensor(numbers: &[f32]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(numbers.to_vec(), [1, numbers.len()]), &Device::flex())
    }

    #[test]
    fn a_step_that_cannot_be_taken_says_why() {
        let config = OptimizerConfig::new(0.1);
        let specs = [("first", Role::Matrix), ("second", Role::Norm)]
            .map(|(name, role)| ParameterSpec { name: name.to_owned(), shape: [1, 2], role });
        let weights = [tensor(&[1.0, 2.0]), tensor(&[1.0, 1.0])];
        let take = |lr: f64, loss: f64, second: &[f32]| {
            let step = Step { config: &config, lr, specs: &specs };
            let gradients = vec![tensor(&[0.5, 0.5]), tensor(second)];
            step.take(&mut AdamW::new(&weights), &weights, loss, gradients).map(|it| it.1)
        };
        assert!(take(0.1, 0.5, &[0.5, 0.5]).is_ok_and(|it| (it - 1.0).abs() < 1e-6));
        assert_eq!(take(0.1, f64::NAN, &[0.0, 0.0]), Err(Unstable::Loss));
        let gradient = Unstable::Gradient("second".to_owned());
        assert_eq!(take(0.1, 0.5, &[0.0, f32::NAN]), Err(gradient.clone()));
        assert_eq!(take(0.1, 0.5, &[1e30, 1e30]), Err(Unstable::Norm));
        assert_eq!(take(1e30, 0.5, &[0.5, 0.5]), Err(Unstable::Weights));
        assert_eq!(
            gradient.at(7),
            "the gradients of step 7 are not finite, that of `second` first"
        );
    }
}
