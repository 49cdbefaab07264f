//! Mean and variance of a batch of numbers.

/// Added to the variance before its root is taken, as verl and Search-R1 do.
const EPSILON: f64 = 1e-8;

/// Mean and unbiased variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// The mean; 0 of nothing.
    pub mean: f64,
    /// The unbiased variance; 0 of fewer than two numbers.
    pub variance: f64,
}

impl Moments {
    /// Of all the numbers.
    pub fn of(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        let n = numbers.clone().count() as f64;
        let mean = numbers.clone().sum::<f64>() / n.max(1.0);
        let squares: f64 = numbers.map(|it| (it - mean).powi(2)).sum();
        Self { mean, variance: if n > 1.0 { squares / (n - 1.0) } else { 0.0 } }
    }

    /// (x - mean) / √(variance + 1e-8), as verl's `masked_whiten`.
    ///
    /// Departure from verl, which raises an error for a batch of one token: it is whitened to 0.
    pub fn whiten(&self, number: f64) -> f64 {
        (number - self.mean) / (self.variance + EPSILON).sqrt()
    }
}
