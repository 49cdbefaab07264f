//! The `[optimizer]` section of a run file.

use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::options::{below_one, not_negative, positive};
use crate::{DecayRule, Schedule, Warmup};

/// The clip bound of PPO.
pub const DEFAULT_CLIP: f64 = 0.2;

/// How weights follow rewards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Steps over which the learning rate rises linearly from 0; it is constant afterwards.
    #[serde(default)]
    pub warmup_steps: u64,
    /// How the learning rate moves, where that is not enough; has a warm-up of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Decay rates of the two moments.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Decoupled weight decay.
    #[serde(default)]
    pub weight_decay: f64,
    /// Which weights decay.
    #[serde(default)]
    pub decay: DecayRule,
    /// Gradients are scaled down to this global norm.
    #[serde(default = "default_clip_norm")]
    pub clip_norm: f64,
    /// The importance ratio is clipped to [1 - `clip_low`, 1 + `clip_high`], where no algorithm
    /// says how; [`DEFAULT_CLIP`] where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_low: Option<f64>,
    /// See `clip_low`; larger than it in DAPO's clip-higher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_high: Option<f64>,
}

impl OptimizerConfig {
    /// What a run file says that gives a learning rate and nothing else.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            warmup_steps: 0,
            schedule: None,
            betas: default_betas(),
            eps: default_eps(),
            weight_decay: 0.0,
            decay: DecayRule::default(),
            clip_norm: default_clip_norm(),
            clip_low: None,
            clip_high: None,
        }
    }

    /// Checks the ranges.
    pub fn check(&self) -> Result<(), OptimizerError> {
        positive("optimizer.lr", self.lr)?;
        for beta in self.betas {
            below_one("optimizer.betas", beta)?;
        }
        positive("optimizer.eps", self.eps)?;
        positive("optimizer.clip_norm", self.clip_norm)?;
        not_negative("optimizer.weight_decay", self.weight_decay)?;
        let [low, high] = self.clip();
        below_one("optimizer.clip_low", low)?;
        not_negative("optimizer.clip_high", high)?;
        if self.schedule.is_some() && self.warmup_steps > 0 {
            return Err(OptimizerError::conflict(
                "`optimizer.warmup_steps` is not used with `optimizer.schedule`, which has a \
                 `warmup`",
            ));
        }
        if self.decay != DecayRule::default() && self.weight_decay == 0.0 {
            return Err(OptimizerError::conflict(
                "`optimizer.decay` is not used without `optimizer.weight_decay`",
            ));
        }
        Ok(())
    }

    /// How far below and above 1 the importance ratio may be, where no algorithm says it.
    pub fn clip(&self) -> [f64; 2] {
        [self.clip_low, self.clip_high].map(|it| it.unwrap_or(DEFAULT_CLIP))
    }

    /// Whether it says anything of that.
    pub fn clips(&self) -> bool {
        self.clip_low.is_some() || self.clip_high.is_some()
    }

    /// The learning rate of a step, counted from 0, in a run of `n_steps`.
    pub fn lr_at(&self, step: u64, n_steps: u64) -> f64 {
        let constant = Schedule::Constant { warmup: Warmup::Steps(self.warmup_steps) };
        self.lr * self.schedule.unwrap_or(constant).at(step, n_steps)
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
