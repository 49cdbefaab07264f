//! Statistics of a step: variance and shares.

use forage_trajectory::statistics::standard_deviation;

/// Whether numbers differ by more than rounding.
pub fn differ(values: &[f64]) -> bool {
    standard_deviation(values) >= 1e-9
}

/// Share of a count; 0 where `of` is 0.
pub fn share(count: usize, of: usize) -> f64 {
    count as f64 / of.max(1) as f64
}
