//! Options of an algorithm that is chosen by name: what it does not use is an error.

use crate::OptimizerError;

/// The algorithms of a section, each with the options it uses.
pub(crate) type Known = &'static [(&'static str, &'static [&'static str])];

/// Refuses a name that is not known, and an option that the named algorithm does not use.
///
/// `given`: every option of the section, with whether it was written down.
pub(crate) fn choose(
    section: &'static str,
    known: Known,
    name: &str,
    given: &[(&'static str, bool)],
) -> Result<(), OptimizerError> {
    let Some((_, used)) = known.iter().find(|(it, _)| *it == name) else {
        let known = list(known.iter().map(|(it, _)| *it));
        return Err(OptimizerError::Unknown { section, name: name.to_owned(), known });
    };
    match given.iter().find(|(key, given)| *given && !used.contains(key)) {
        None => Ok(()),
        Some(&(key, _)) => {
            let users = known.iter().filter(|(_, used)| used.contains(&key));
            let users = list(users.map(|(it, _)| *it));
            Err(OptimizerError::Unused { section, key, name: name.to_owned(), users })
        }
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
}

/// The number, if it is above 0.
pub(crate) fn positive(key: &str, value: f64) -> Result<f64, OptimizerError> {
    within(key, value, value.is_finite() && value > 0.0, "a positive number")
}

/// The number, if it is 0 or more.
pub(crate) fn not_negative(key: &str, value: f64) -> Result<f64, OptimizerError> {
    within(key, value, value.is_finite() && value >= 0.0, "0 or more")
}

/// The number, if it is in [0, 1].
pub(crate) fn share(key: &str, value: f64) -> Result<f64, OptimizerError> {
    within(key, value, (0.0..=1.0).contains(&value), "at least 0 and at most 1")
}

/// The number, if it is in [0, 1).
pub(crate) fn below_one(key: &str, value: f64) -> Result<f64, OptimizerError> {
    within(key, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
}

/// The number, if it is above 1.
pub(crate) fn above_one(key: &str, value: f64) -> Result<f64, OptimizerError> {
    within(key, value, value.is_finite() && value > 1.0, "above 1")
}

fn within(key: &str, value: f64, fits: bool, must: &'static str) -> Result<f64, OptimizerError> {
    if fits { Ok(value) } else { Err(OptimizerError::Range { key: key.to_owned(), value, must }) }
}
