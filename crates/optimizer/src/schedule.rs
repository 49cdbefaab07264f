//! Learning rate schedules.

use std::f64::consts::PI;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::OptimizerError;
use crate::named_algorithm::{named_algorithm, read};
use crate::ranges::below_one;

/// Learning rate schedule: the factor of the peak learning rate at each step. Default: `constant`
/// without a warm-up.
///
/// `optimizer.schedule` and `critic.schedule` of a run file. A key that the named schedule does not
/// have is an error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", remote = "Self")]
pub enum LrSchedule {
    /// 1 after the warm-up.
    Constant(ConstantSchedule),
    /// Linear decay after the warm-up.
    Linear(LinearSchedule),
    /// Cosine decay after the warm-up.
    Cosine(CosineSchedule),
}

named_algorithm!(LrSchedule, "optimizer.schedule");

/// Constant learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConstantSchedule {
    /// Length of the warm-up. Default: 0 steps.
    pub warmup: LrWarmup,
}

/// Linear decay from 1 to `floor` over the steps after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearSchedule {
    /// Length of the warm-up. Default: 0 steps.
    pub warmup: LrWarmup,
    /// Factor at the end, in [0, 1). Default: 0.
    pub floor: f64,
}

/// Cosine decay from 1 to `floor` over the steps after the warm-up (arXiv 1608.03983, equation 5,
/// without restarts).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CosineSchedule {
    /// Length of the warm-up. Default: 0 steps.
    pub warmup: LrWarmup,
    /// Factor at the end, in [0, 1). Default: 0.
    pub floor: f64,
}

/// Length of the warm-up, over which the learning rate rises linearly. Default: 0 steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LrWarmup {
    /// A number of steps.
    Steps(u64),
    /// A share of the steps of the run, in [0, 1). Search-R1 has 0.285 for the policy and 0.015 for
    /// the critic.
    Ratio(f64),
}

impl Default for LrWarmup {
    fn default() -> Self {
        Self::Steps(0)
    }
}

impl LrWarmup {
    fn n_steps(self, n_steps_of_run: u64) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Ratio(ratio) => (ratio * n_steps_of_run as f64).round() as u64,
        }
    }

    fn check(self, schedule: &str) -> Result<(), OptimizerError> {
        match self {
            Self::Steps(_) => Ok(()),
            Self::Ratio(ratio) => below_one(&format!("{schedule}.warmup.ratio"), ratio),
        }
    }
}

impl Default for LrSchedule {
    fn default() -> Self {
        Self::Constant(ConstantSchedule::default())
    }
}

impl LrSchedule {
    /// Reads the schedule of a run file that has this key, such as `critic.schedule`. Errors name
    /// the key; those of serde's `deserialize` name `optimizer.schedule`.
    pub fn deserialize_at<'de, D>(key: &'static str, deserializer: D) -> Result<Self, D::Error>
    where
        D: Deserializer<'de>,
    {
        read(key, deserializer, Self::deserialize, |schedule: &Self| schedule.check_at(key))
    }

    /// Factor of the peak learning rate at a step, counted from 0, in a run of `n_steps`.
    ///
    /// In a warm-up of w steps it is (step + 1) / (w + 1), so that no step is wasted at 0 and the
    /// first one after the warm-up has 1. At the last step of the run it is just above `floor`.
    pub fn at(&self, step: u64, n_steps: u64) -> f64 {
        let warmup = self.warmup().n_steps(n_steps);
        if step < warmup {
            return (step + 1) as f64 / (warmup + 1) as f64;
        }
        let left = n_steps.saturating_sub(warmup).max(1) as f64;
        let progress = ((step - warmup) as f64 / left).min(1.0);
        match self {
            Self::Constant(_) => 1.0,
            Self::Linear(LinearSchedule { floor, .. }) => 1.0 - (1.0 - floor) * progress,
            Self::Cosine(CosineSchedule { floor, .. }) => {
                floor + (1.0 - floor) * 0.5 * (1.0 + (PI * progress).cos())
            }
        }
    }

    fn warmup(&self) -> LrWarmup {
        match self {
            Self::Constant(options) => options.warmup,
            Self::Linear(options) => options.warmup,
            Self::Cosine(options) => options.warmup,
        }
    }

    fn check(&self) -> Result<(), OptimizerError> {
        self.check_at("optimizer.schedule")
    }

    /// Checks the ranges of the options of the schedule with this key.
    fn check_at(&self, key: &str) -> Result<(), OptimizerError> {
        self.warmup().check(key)?;
        match self {
            Self::Constant(_) => Ok(()),
            Self::Linear(LinearSchedule { floor, .. })
            | Self::Cosine(CosineSchedule { floor, .. }) => {
                below_one(&format!("{key}.floor"), *floor)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(warmup: LrWarmup) -> LrSchedule {
        LrSchedule::Constant(ConstantSchedule { warmup })
    }

    fn linear(warmup: LrWarmup, floor: f64) -> LrSchedule {
        LrSchedule::Linear(LinearSchedule { warmup, floor })
    }

    fn cosine(warmup: LrWarmup, floor: f64) -> LrSchedule {
        LrSchedule::Cosine(CosineSchedule { warmup, floor })
    }

    #[test]
    fn multipliers_by_the_formula() {
        let steps = LrWarmup::Steps(3);
        let ratio = LrWarmup::Ratio(0.3);
        let table = [
            (LrSchedule::default(), 0, 1.0),
            (constant(steps), 0, 0.25),
            (constant(steps), 2, 0.75),
            (constant(steps), 3, 1.0),
            (constant(steps), 9, 1.0),
            (linear(ratio, 0.0), 1, 0.5),
            (linear(ratio, 0.0), 3, 1.0),
            (linear(ratio, 0.0), 9, 1.0 / 7.0),
            (linear(ratio, 0.3), 10, 0.3),
            (linear(ratio, 0.3), 99, 0.3),
            (cosine(LrWarmup::Steps(0), 0.0), 0, 1.0),
            (cosine(LrWarmup::Steps(0), 0.0), 5, 0.5),
            (cosine(LrWarmup::Steps(2), 0.2), 6, 0.6),
            (cosine(LrWarmup::Steps(2), 0.2), 10, 0.2),
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
                let schedule: LrSchedule = toml::from_str(&text).unwrap();
                for (step, n_steps) in [(0, 0), (0, 1), (5, 5), (20, 5)] {
                    let found = schedule.at(step, n_steps);
                    assert!((0.0..=1.0).contains(&found), "{text}: {found}");
                }
            }
        }
    }
}
