//! Mean and standard deviation, in one arithmetic for everything that reports or uses them.

/// Arithmetic mean; 0 for no values.
///
/// ```
/// use forage_trajectory::statistics::mean;
///
/// assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
/// assert_eq!(mean(&[]), 0.0);
/// ```
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Unbiased standard deviation (divisor `n − 1`); 0 for fewer than two values.
///
/// ```
/// use forage_trajectory::statistics::standard_deviation;
///
/// assert_eq!(standard_deviation(&[1.0, 2.0, 3.0]), 1.0);
/// assert_eq!(standard_deviation(&[7.0]), 0.0);
/// ```
pub fn standard_deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    (squares / (values.len().max(2) - 1) as f64).sqrt()
}
