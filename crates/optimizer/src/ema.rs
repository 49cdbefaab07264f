//! Exponential moving average (EMA) of the weights.

use burn::tensor::Tensor;

/// Exponential moving average of the weights after one more step: d · average + (1 - d) · weights.
///
/// `average` and `weights` are in the same order, and each pair has one shape; `decay` is d.
#[must_use]
pub fn exponential_moving_average(
    average: &[Tensor<2>],
    weights: &[Tensor<2>],
    decay: f64,
) -> Vec<Tensor<2>> {
    let pairs = average.iter().zip(weights);
    pairs
        .map(|(average, weight)| average.clone() * decay + weight.clone() * (1.0 - decay))
        .collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn weights(numbers: [f32; 2]) -> Vec<Tensor<2>> {
        vec![Tensor::from_data(TensorData::new(numbers.to_vec(), [1, 2]), &Device::flex())]
    }

    #[test]
    fn an_average_follows_slowly() {
        let mut average = weights([1.0, -2.0]);
        for _ in 0..2 {
            average = exponential_moving_average(&average, &weights([0.0, 2.0]), 0.75);
        }
        let numbers = average[0].clone().try_into_vec_as::<f32>().unwrap();
        assert_eq!(numbers, [0.5625, -0.25]);
    }
}
