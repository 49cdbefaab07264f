//! The `[optimizer]` section of a run file.

use serde::{Deserialize, Serialize};

/// The clip bound of PPO.
pub const DEFAULT_CLIP: f64 = 0.2;

/// How weights follow rewards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Steps over which the learning rate rises linearly from 0.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Decay rates of the two moments.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Decoupled weight decay, on matrices only.
    #[serde(default)]
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm.
    #[serde(default = "default_clip_norm")]
    pub clip_norm: f64,
    /// The importance ratio is clipped to [1 - `clip_low`, 1 + `clip_high`].
    #[serde(default = "default_clip")]
    pub clip_low: f64,
    /// See `clip_low`; larger than it in DAPO's clip-higher.
    #[serde(default = "default_clip")]
    pub clip_high: f64,
}

/// A setting that no optimizer can work with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`optimizer.{key}` is {value}, but must be {must}")]
pub struct WrongSetting {
    key: &'static str,
    value: f64,
    must: &'static str,
}

impl OptimizerConfig {
    /// Checks the ranges.
    pub fn check(&self) -> Result<(), WrongSetting> {
        let positive = |it: f64| it.is_finite() && it > 0.0;
        let share = |it: f64| (0.0..1.0).contains(&it);
        let wrong = |key, value, must| Err(WrongSetting { key, value, must });
        if !positive(self.lr) {
            return wrong("lr", self.lr, "a positive number");
        }
        for beta in self.betas {
            if !share(beta) {
                return wrong("betas", beta, "at least 0 and below 1");
            }
        }
        for (key, value) in [("eps", self.eps), ("clip_norm", self.clip_norm)] {
            if !positive(value) {
                return wrong(key, value, "a positive number");
            }
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return wrong("weight_decay", self.weight_decay, "0 or more");
        }
        if !share(self.clip_low) {
            return wrong("clip_low", self.clip_low, "at least 0 and below 1");
        }
        if !(self.clip_high.is_finite() && self.clip_high >= 0.0) {
            return wrong("clip_high", self.clip_high, "0 or more");
        }
        Ok(())
    }

    /// The learning rate of a step, counted from 0.
    pub fn lr_at(&self, step: u64) -> f64 {
        let rise = (step + 1) as f64 / (self.warmup_steps + 1) as f64;
        self.lr * rise.min(1.0)
    }
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.95]
}

fn default_eps() -> f64 {
    1e-8
}

fn default_clip_norm() -> f64 {
    1.0
}

fn default_clip() -> f64 {
    DEFAULT_CLIP
}
