//! Around a step of the optimizer: is it finite, how long is it, which weights decay, and a slow
//! average of them.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What a weight is, as far as decay goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightKind {
    /// A weight matrix.
    Matrix,
    /// The embedding, or a head of its own.
    Embedding,
    /// A bias.
    Bias,
    /// The scale of a norm.
    Norm,
}

/// Which weights decay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecayRule {
    /// Matrices only: a norm's scale belongs near 1, and an embedding's row that no batch
    /// mentions would shrink for nothing.
    #[default]
    Matrices,
    /// All of them, as `PyTorch`'s `AdamW(model.parameters())`, which verl uses.
    All,
}

impl DecayRule {
    /// Whether a weight of this kind decays.
    pub fn applies(self, kind: WeightKind) -> bool {
        self == Self::All || kind == WeightKind::Matrix
    }
}

/// Something of a step is not finite: it must not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotFinite {
    /// The loss.
    Loss,
    /// The gradient of the weight with this index, the first of them.
    Gradient(usize),
    /// Each gradient is finite, their norm is not: the squares overflow.
    Norm,
}

/// The norm of all gradients as one vector.
pub fn global_norm(gradients: &[Tensor<2>]) -> f64 {
    gradients.iter().map(sum_of_squares).sum::<f64>().sqrt()
}

/// The norm of all gradients, or what of the step is not finite.
pub fn finite_norm(loss: f64, gradients: &[Tensor<2>]) -> Result<f64, NotFinite> {
    if !loss.is_finite() {
        return Err(NotFinite::Loss);
    }
    let squares: Vec<f64> = gradients.iter().map(sum_of_squares).collect();
    let norm = squares.iter().sum::<f64>().sqrt();
    if norm.is_finite() {
        return Ok(norm);
    }
    let wrong = |it: &Tensor<2>| !it.clone().is_finite().all().into_scalar::<bool>();
    Err(gradients.iter().position(wrong).map_or(NotFinite::Norm, NotFinite::Gradient))
}

/// The gradients, scaled down to `limit` where `norm`, their global norm, is above it.
#[must_use]
pub fn clip_to_norm(gradients: Vec<Tensor<2>>, norm: f64, limit: f64) -> Vec<Tensor<2>> {
    if norm <= limit {
        return gradients;
    }
    let scale = limit / norm;
    gradients.into_iter().map(|it| it * scale).collect()
}

/// The exponential moving average of weights after one more step: d · average + (1 - d) · weights.
#[must_use]
pub fn moving_average(average: &[Tensor<2>], weights: &[Tensor<2>], decay: f64) -> Vec<Tensor<2>> {
    let pairs = average.iter().zip(weights);
    pairs
        .map(|(average, weight)| average.clone() * decay + weight.clone() * (1.0 - decay))
        .collect()
}

fn sum_of_squares(tensor: &Tensor<2>) -> f64 {
    f64::from(tensor.clone().square().sum().into_scalar::<f32>())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn of(numbers: &[f32]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(numbers.to_vec(), [1, numbers.len()]), &Device::flex())
    }

    fn numbers(tensors: &[Tensor<2>]) -> Vec<f32> {
        tensors.iter().flat_map(|it| it.clone().try_into_vec_as::<f32>().unwrap()).collect()
    }

    #[test]
    fn the_norm_is_over_all_gradients() {
        assert!((global_norm(&[of(&[3.0]), of(&[4.0])]) - 5.0).abs() < 1e-6);
        assert!(global_norm(&[]).abs() < 1e-12);
    }

    #[test]
    fn a_step_that_is_not_finite_says_where() {
        let good = of(&[3.0, 4.0]);
        let check = |loss: f64, second: &[f32]| finite_norm(loss, &[good.clone(), of(second)]);
        assert!((check(0.1, &[0.0]).unwrap() - 5.0).abs() < 1e-6);
        assert_eq!(check(f64::NAN, &[0.0]), Err(NotFinite::Loss));
        assert_eq!(check(f64::INFINITY, &[f32::NAN]), Err(NotFinite::Loss));
        assert_eq!(check(0.1, &[1.0, f32::NAN]), Err(NotFinite::Gradient(1)));
        assert_eq!(check(0.1, &[f32::NEG_INFINITY]), Err(NotFinite::Gradient(1)));
        assert_eq!(check(0.1, &[1e30, 1e30]), Err(NotFinite::Norm));
    }

    #[test]
    fn long_gradients_are_scaled_and_short_ones_kept() {
        let gradients = || vec![of(&[3.0]), of(&[0.0, 4.0])];
        assert_eq!(numbers(&clip_to_norm(gradients(), 5.0, 1.0)), [0.6, 0.0, 0.8]);
        assert_eq!(numbers(&clip_to_norm(gradients(), 5.0, 5.0)), [3.0, 0.0, 4.0]);
        assert_eq!(numbers(&clip_to_norm(vec![of(&[0.0])], 0.0, 1.0)), [0.0]);
    }

    #[test]
    fn an_average_follows_slowly() {
        let mut average = vec![of(&[1.0, -2.0])];
        for _ in 0..2 {
            average = moving_average(&average, &[of(&[0.0, 2.0])], 0.75);
        }
        assert_eq!(numbers(&average), [0.5625, -0.25]);
    }

    #[test]
    fn norms_embeddings_and_biases_do_not_decay_by_default() {
        let kinds = [WeightKind::Matrix, WeightKind::Embedding, WeightKind::Bias, WeightKind::Norm];
        let decayed = |rule: DecayRule| kinds.map(|it| rule.applies(it));
        assert_eq!(decayed(DecayRule::default()), [true, false, false, false]);
        assert_eq!(decayed(DecayRule::All), [true; 4]);
    }
}
