//! Statistics of a handful of numbers: mean, standard deviation, share.

/// Mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Unbiased standard deviation; 0 of fewer than two numbers.
pub fn standard_deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    (squares / (values.len().max(2) - 1) as f64).sqrt()
}

/// Whether numbers differ by more than rounding.
pub fn differ(values: &[f64]) -> bool {
    standard_deviation(values) >= 1e-9
}

/// Share of a count; 0 of nothing.
pub fn share(count: usize, of: usize) -> f64 {
    count as f64 / of.max(1) as f64
}
