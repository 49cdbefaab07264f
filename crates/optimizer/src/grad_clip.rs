//! Gradient clipping by the global norm, and the check that a step is finite.

use burn::tensor::Tensor;

/// Part of a step that is not finite, so that the step must not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotFinite {
    /// The loss.
    Loss,
    /// The gradient of the weight with this index, the first that is not finite.
    Gradient(usize),
    /// The global norm, while each gradient is finite: the squares overflow.
    Norm,
}

/// Global norm: the Euclidean norm of all gradients as one vector; 0 of none.
pub fn global_norm(gradients: &[Tensor<2>]) -> f64 {
    gradients.iter().map(sum_of_squares).sum::<f64>().sqrt()
}

/// Global norm of the gradients of a step with this loss.
///
/// # Errors
///
/// Where the loss, a gradient or the norm is not finite.
pub fn finite_norm(loss: f64, gradients: &[Tensor<2>]) -> Result<f64, NotFinite> {
    if !loss.is_finite() {
        return Err(NotFinite::Loss);
    }
    let squares: Vec<f64> = gradients.iter().map(sum_of_squares).collect();
    let norm = squares.iter().sum::<f64>().sqrt();
    if norm.is_finite() {
        return Ok(norm);
    }
    let wrong = |gradient: &Tensor<2>| !gradient.clone().is_finite().all().into_scalar::<bool>();
    Err(gradients.iter().position(wrong).map_or(NotFinite::Norm, NotFinite::Gradient))
}

/// Gradient clipping: the gradients, scaled to the global norm `limit` where `norm`, their global
/// norm, is above it.
#[must_use]
pub fn clip_to_norm(gradients: Vec<Tensor<2>>, norm: f64, limit: f64) -> Vec<Tensor<2>> {
    if norm <= limit {
        return gradients;
    }
    let scale = limit / norm;
    gradients.into_iter().map(|it| it * scale).collect()
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
}
