//! Range checks for the numbers of a run file.
//!
//! Each function returns [`OptimizerError::Range`], with the full key, for a number outside its
//! range; NaN is outside every range.

use crate::error::OptimizerError;

/// Above 0 and finite.
pub(crate) fn positive(key: &str, value: f64) -> Result<(), OptimizerError> {
    within(key, value, value.is_finite() && value > 0.0, "a positive number")
}

/// At least 0 and finite.
pub(crate) fn not_negative(key: &str, value: f64) -> Result<(), OptimizerError> {
    within(key, value, value.is_finite() && value >= 0.0, "0 or more")
}

/// In [0, 1].
pub(crate) fn at_most_one(key: &str, value: f64) -> Result<(), OptimizerError> {
    within(key, value, (0.0..=1.0).contains(&value), "at least 0 and at most 1")
}

/// In [0, 1).
pub(crate) fn below_one(key: &str, value: f64) -> Result<(), OptimizerError> {
    within(key, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
}

/// Above 1 and finite.
pub(crate) fn above_one(key: &str, value: f64) -> Result<(), OptimizerError> {
    within(key, value, value.is_finite() && value > 1.0, "above 1")
}

fn within(key: &str, value: f64, fits: bool, must: &'static str) -> Result<(), OptimizerError> {
    if fits { Ok(()) } else { Err(OptimizerError::Range { key: key.to_owned(), value, must }) }
}
