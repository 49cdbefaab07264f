//! Sample mean and variance of a batch, and whitening by them.

/// Added to the variance before its root is taken, as in verl and Search-R1.
const EPSILON: f64 = 1e-8;

/// Sample mean and variance.
///
/// The variance, not the standard deviation of `forage_trajectory::statistics`: whitening adds its
/// ε under the root, and the square of a rounded root has other bits than the variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleMoments {
    /// Mean; 0 of no numbers.
    pub mean: f64,
    /// Unbiased variance, with the divisor n - 1; 0 of fewer than two numbers.
    pub variance: f64,
}

impl SampleMoments {
    /// Mean and variance of all the numbers.
    pub fn of(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        let n = numbers.clone().count() as f64;
        let mean = numbers.clone().sum::<f64>() / n.max(1.0);
        let squares: f64 = numbers.map(|number| (number - mean).powi(2)).sum();
        Self { mean, variance: if n > 1.0 { squares / (n - 1.0) } else { 0.0 } }
    }

    /// (x - mean) / √(variance + 1e-8), as verl's `masked_whiten`.
    ///
    /// Departure from verl, which raises an error for a batch of one token: here it becomes 0.
    pub fn whiten(&self, number: f64) -> f64 {
        (number - self.mean) / (self.variance + EPSILON).sqrt()
    }
}
