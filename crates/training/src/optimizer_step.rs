//! Optimizer step: gradient clipping and AdamW, skipped where anything is not finite.

use burn::tensor::Tensor;
use forage_model::{ParameterRole, ParameterSpec};
use forage_optimizer::{
    AdamW, NotFinite, OptimizerConfig, WeightKind, clip_to_norm, finite_norm, global_norm,
};

/// Quantity that is not finite, for which an optimizer step is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NonFinite {
    /// The loss is not finite.
    Loss,
    /// The gradient of this weight is not finite.
    Gradient(String),
    /// Every gradient is finite, their norm is not.
    Norm,
    /// The weights would not be finite afterwards. Samples of such weights have no
    /// reward and so a gradient of 0: no later step would fail.
    Weights,
}

impl NonFinite {
    /// Message of an error or a warning. `step` counts from 1.
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
}

/// Optimizer step over a list of weights.
#[derive(Debug, Clone, Copy)]
pub struct OptimizerStep<'a> {
    /// Configuration of AdamW.
    pub config: &'a OptimizerConfig,
    /// Learning rate.
    pub lr: f64,
    /// Names and roles of the weights.
    pub specs: &'a [ParameterSpec],
}

impl OptimizerStep<'_> {
    /// Clips the gradients, applies AdamW, and returns the new weights with the norm of the
    /// gradients before clipping.
    ///
    /// # Errors
    ///
    /// [`NonFinite`]: the caller keeps its weights, and the optimizer is unchanged.
    pub fn apply(
        &self,
        adamw: &mut AdamW,
        weights: &[Tensor<2>],
        loss: f64,
        gradients: Vec<Tensor<2>>,
    ) -> Result<(Vec<Tensor<2>>, f64), NonFinite> {
        let norm = finite_norm(loss, &gradients).map_err(|error| match error {
            NotFinite::Loss => NonFinite::Loss,
            NotFinite::Gradient(idx) => NonFinite::Gradient(self.specs[idx].name.clone()),
            NotFinite::Norm => NonFinite::Norm,
        })?;
        let gradients = clip_to_norm(gradients, norm, self.config.clip_norm);
        let rule = self.config.decay;
        let decayed: Vec<bool> =
            self.specs.iter().map(|spec| rule.applies(kind(spec.role))).collect();
        let weights = adamw.apply(self.config, self.lr, weights, &gradients, &decayed);
        if !global_norm(&weights).is_finite() {
            return Err(NonFinite::Weights);
        }
        adamw.update_moments(self.config, gradients);
        Ok((weights, norm))
    }
}

fn kind(role: ParameterRole) -> WeightKind {
    match role {
        ParameterRole::Embedding => WeightKind::Embedding,
        ParameterRole::Matrix => WeightKind::Matrix,
        ParameterRole::Bias => WeightKind::Bias,
        ParameterRole::Norm => WeightKind::Norm,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use forage_model::{Critic, Decoder, numbers};
    use forage_optimizer::DecayRule;

    use super::*;
    use crate::config::FreshModel;

    fn tensor(numbers: &[f32]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(numbers.to_vec(), [1, numbers.len()]), &Device::flex())
    }

    /// The numbers of an optimizer, to the bit.
    fn memory(adamw: &AdamW) -> (Vec<Vec<f32>>, u64) {
        let moments = adamw.states.iter().flat_map(|it| [&it.first, &it.second]);
        (moments.map(numbers).collect(), adamw.n_steps)
    }

    #[test]
    fn a_step_that_is_not_taken_changes_nothing() {
        let config = OptimizerConfig::new(0.1);
        let specs =
            [ParameterSpec { name: "it".to_owned(), shape: [1, 2], role: ParameterRole::Matrix }];
        let weights = [tensor(&[1.0, 2.0])];
        let mut adamw = AdamW::new(&weights);
        let mut apply = |lr: f64, loss: f64, gradient: &[f32]| {
            let step = OptimizerStep { config: &config, lr, specs: &specs };
            let taken = step.apply(&mut adamw, &weights, loss, vec![tensor(gradient)]);
            (taken.map(|it| numbers(&it.0[0])), memory(&adamw))
        };
        let (_, before) = apply(0.1, 0.5, &[0.5, 0.25]);
        assert_eq!(before.1, 1);
        for (lr, loss, gradient, why) in [
            (1e30, 0.5, [0.5, 0.5], NonFinite::Weights),
            (0.1, f64::NAN, [0.5, 0.5], NonFinite::Loss),
            (0.1, 0.5, [f32::NAN, 0.5], NonFinite::Gradient("it".to_owned())),
            (0.1, 0.5, [1e30, 1e30], NonFinite::Norm),
        ] {
            assert_eq!(apply(lr, loss, &gradient), (Err(why), before.clone()));
        }
        // The next step is the one that would have come.
        let (after, then) = apply(0.1, 0.5, &[0.5, 0.25]);
        let mut fresh = AdamW::new(&weights);
        let mut twice = [0, 1].map(|_| {
            let gradients = vec![tensor(&[0.5, 0.25])];
            let weights = fresh.apply(&config, 0.1, &weights, &gradients, &[true]);
            fresh.update_moments(&config, gradients);
            weights
        });
        assert_eq!(after, Ok(numbers(&twice[1].remove(0))));
        assert_eq!(then, memory(&fresh));
    }

    /// Without a gradient, all that moves a weight is decay.
    #[test]
    fn matrices_of_a_model_decay_and_nothing_else_does() {
        let shape = FreshModel::of_two_layers(40);
        let mut model = shape.config();
        (model.attention_bias, model.tie_word_embeddings) = (true, false);
        let decoder = Decoder::init(&model, 1, &Device::flex());
        // Biases begin with 0, which decays to itself.
        let weights: Vec<Tensor<2>> = decoder.weights().iter().map(|it| it.clone() + 0.1).collect();
        let specs = Critic::parameters(&model);
        let weights = [weights, vec![Tensor::ones([1, 16], &Device::flex())]].concat();
        for (decay, roles) in [
            (DecayRule::Matrices, vec![ParameterRole::Matrix]),
            (
                DecayRule::All,
                vec![
                    ParameterRole::Matrix,
                    ParameterRole::Embedding,
                    ParameterRole::Bias,
                    ParameterRole::Norm,
                ],
            ),
        ] {
            let config = OptimizerConfig { weight_decay: 0.5, decay, ..OptimizerConfig::new(0.1) };
            let step = OptimizerStep { config: &config, lr: 0.1, specs: &specs };
            let gradients = weights.iter().map(Tensor::zeros_like).collect();
            let taken = step.apply(&mut AdamW::new(&weights), &weights, 0.0, gradients);
            let mut seen = Vec::new();
            for ((spec, before), after) in specs.iter().zip(&weights).zip(taken.unwrap().0) {
                let factor = if roles.contains(&spec.role) { 0.95 } else { 1.0 };
                for (before, after) in numbers(before).iter().zip(numbers(&after)) {
                    assert!((after - factor * before).abs() < 1e-6, "{}: {after}", spec.name);
                }
                seen.push((spec.name.as_str(), spec.role));
            }
            for expected in [
                ("model.embed_tokens.weight", ParameterRole::Embedding),
                ("lm_head.weight", ParameterRole::Embedding),
                ("model.norm.weight", ParameterRole::Norm),
                ("model.layers.1.input_layernorm.weight", ParameterRole::Norm),
                ("model.layers.1.post_attention_layernorm.weight", ParameterRole::Norm),
                ("model.layers.0.self_attn.q_proj.bias", ParameterRole::Bias),
                ("model.layers.0.self_attn.o_proj.weight", ParameterRole::Matrix),
                ("model.layers.1.mlp.down_proj.weight", ParameterRole::Matrix),
                ("value_head.weight", ParameterRole::Matrix),
            ] {
                assert!(seen.contains(&expected), "{expected:?}");
            }
        }
    }

    #[test]
    fn a_step_that_cannot_be_taken_says_why() {
        let config = OptimizerConfig::new(0.1);
        let specs = [("first", ParameterRole::Matrix), ("second", ParameterRole::Norm)]
            .map(|(name, role)| ParameterSpec { name: name.to_owned(), shape: [1, 2], role });
        let weights = [tensor(&[1.0, 2.0]), tensor(&[1.0, 1.0])];
        let apply = |lr: f64, loss: f64, second: &[f32]| {
            let step = OptimizerStep { config: &config, lr, specs: &specs };
            let gradients = vec![tensor(&[0.5, 0.5]), tensor(second)];
            step.apply(&mut AdamW::new(&weights), &weights, loss, gradients).map(|it| it.1)
        };
        assert!(apply(0.1, 0.5, &[0.5, 0.5]).is_ok_and(|it| (it - 1.0).abs() < 1e-6));
        assert_eq!(apply(0.1, f64::NAN, &[0.0, 0.0]), Err(NonFinite::Loss));
        let gradient = NonFinite::Gradient("second".to_owned());
        assert_eq!(apply(0.1, 0.5, &[0.0, f32::NAN]), Err(gradient.clone()));
        assert_eq!(apply(0.1, 0.5, &[1e30, 1e30]), Err(NonFinite::Norm));
        assert_eq!(apply(1e30, 0.5, &[0.5, 0.5]), Err(NonFinite::Weights));
        assert_eq!(
            gradient.at(7),
            "the gradients of step 7 are not finite, that of `second` first"
        );
    }
}
