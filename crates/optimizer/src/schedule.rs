//! How the learning rate moves over a run.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::options::{Known, below_one, choose};

/// A schedule: what multiplies the peak learning rate. A key that the named schedule does not use
/// is an error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", try_from = "RawSchedule")]
pub enum Schedule {
    /// 1 after the warm-up.
    Constant {
        /// Length of the warm-up.
        warmup: Warmup,
    },
    /// From 1 to `floor` in a line, over the steps after the warm-up.
    Linear {
        /// Length of the warm-up.
        warmup: Warmup,
        /// What it comes down to.
        floor: f64,
    },
    /// From 1 to `floor` along half a cosine (arXiv 1608.03983, without restarts).
    Cosine {
        /// Length of the warm-up.
        warmup: Warmup,
        /// What it comes down to.
        floor: f64,
    },
}

/// The steps over which the learning rate rises in a line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warmup {
    /// So many.
    Steps(u64),
    /// A share of the run; Search-R1 has 0.285 for the policy and 0.015 for the critic.
    Ratio(f64),
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Constant { warmup: Warmup::Steps(0) }
    }
}

impl Schedule {
    /// The multiplier of a step, counted from 0, in a run of `n_steps`.
    ///
    /// In a warm-up of w steps it is (step + 1) / (w + 1), so that no step is wasted at 0 and the
    /// first one after it has 1. The last step of the run is just above `floor`.
    pub fn at(&self, step: u64, n_steps: u64) -> f64 {
        let (Self::Constant { warmup } | Self::Linear { warmup, .. } | Self::Cosine { warmup, .. }) =
            *self;
        let warmup = match warmup {
            Warmup::Steps(steps) => steps,
            Warmup::Ratio(ratio) => (ratio * n_steps as f64).round() as u64,
        };
        if step < warmup {
            return (step + 1) as f64 / (warmup + 1) as f64;
        }
        let left = n_steps.saturating_sub(warmup).max(1) as f64;
        let progress = ((step - warmup) as f64 / left).min(1.0);
        match *self {
            Self::Constant { .. } => 1.0,
            Self::Linear { floor, .. } => 1.0 - (1.0 - floor) * progress,
            Self::Cosine { floor, .. } => {
                floor + (1.0 - floor) * 0.5 * (1.0 + (PI * progress).cos())
            }
        }
    }
}

const KNOWN: Known = &[
    ("constant", &["warmup"]),
    ("linear", &["warmup", "floor"]),
    ("cosine", &["warmup", "floor"]),
];

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSchedule {
    name: String,
    warmup: Option<Warmup>,
    floor: Option<f64>,
}

impl TryFrom<RawSchedule> for Schedule {
    type Error = OptimizerError;

    fn try_from(raw: RawSchedule) -> Result<Self, OptimizerError> {
        let given = [("warmup", raw.warmup.is_some()), ("floor", raw.floor.is_some())];
        choose("optimizer.schedule", KNOWN, &raw.name, &given)?;
        let warmup = raw.warmup.unwrap_or(Warmup::Steps(0));
        if let Warmup::Ratio(ratio) = warmup {
            below_one("optimizer.schedule.warmup.ratio", ratio)?;
        }
        let floor = || below_one("optimizer.schedule.floor", raw.floor.unwrap_or(0.0));
        Ok(match raw.name.as_str() {
            "constant" => Self::Constant { warmup },
            "linear" => Self::Linear { warmup, floor: floor()? },
            _ => Self::Cosine { warmup, floor: floor()? },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multipliers_by_the_formula() {
        let steps = Warmup::Steps(3);
        let ratio = Warmup::Ratio(0.3);
        let table = [
            (Schedule::default(), 0, 1.0),
            (Schedule::Constant { warmup: steps }, 0, 0.25),
            (Schedule::Constant { warmup: steps }, 2, 0.75),
            (Schedule::Constant { warmup: steps }, 3, 1.0),
            (Schedule::Constant { warmup: steps }, 9, 1.0),
            (Schedule::Linear { warmup: ratio, floor: 0.0 }, 1, 0.5),
            (Schedule::Linear { warmup: ratio, floor: 0.0 }, 3, 1.0),
            (Schedule::Linear { warmup: ratio, floor: 0.0 }, 9, 1.0 / 7.0),
            (Schedule::Linear { warmup: ratio, floor: 0.3 }, 10, 0.3),
            (Schedule::Linear { warmup: ratio, floor: 0.3 }, 99, 0.3),
            (Schedule::Cosine { warmup: Warmup::Steps(0), floor: 0.0 }, 0, 1.0),
            (Schedule::Cosine { warmup: Warmup::Steps(0), floor: 0.0 }, 5, 0.5),
            (Schedule::Cosine { warmup: Warmup::Steps(2), floor: 0.2 }, 6, 0.6),
            (Schedule::Cosine { warmup: Warmup::Steps(2), floor: 0.2 }, 10, 0.2),
        ];
        for (schedule, step, expected) in table {
            let found = schedule.at(step, 10);
            assert!((found - expected).abs() < 1e-12, "{schedule:?} {step}: {found}");
        }
    }

    #[test]
    fn a_run_without_steps_or_of_warmup_only_is_finite() {
        for name in ["constant", "linear", "cosine"] {
            for warmup in ["{ steps = 0 }", "{ steps = 7 }", "{ ratio = 0.9 }"] {
                let text = format!("name = '{name}'\nwarmup = {warmup}");
                let schedule: Schedule = toml::from_str(&text).unwrap();
                for (step, n_steps) in [(0, 0), (0, 1), (5, 5), (20, 5)] {
                    let found = schedule.at(step, n_steps);
                    assert!((0.0..=1.0).contains(&found), "{text}: {found}");
                }
            }
        }
    }
}
