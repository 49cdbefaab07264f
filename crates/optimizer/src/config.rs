//! Optimizer configuration: the `[optimizer]` section of a run file.

use serde::{Deserialize, Serialize};

use crate::error::OptimizerError;
use crate::loss::DEFAULT_CLIP;
use crate::ranges::{below_one, not_negative, positive};
use crate::schedule::{ConstantSchedule, LrSchedule, LrWarmup};
use crate::weight_decay::DecayRule;

/// AdamW with its learning rate schedule and gradient clipping: `[optimizer]` of a run file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate, above 0.
    pub lr: f64,
    /// Steps of linear warm-up, after which the learning rate is constant. Default: 0.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Learning rate schedule, with a warm-up of its own; not to be given together with
    /// `warmup_steps`. Default: constant after `warmup_steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<LrSchedule>,
    /// β1 and β2, the decay rates of the first and second moment, each in [0, 1). Default:
    /// [0.9, 0.95].
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// ε, which is added to the root of the second moment; above 0. Default: 1e-8.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Coefficient of decoupled weight decay, 0 or more. Default: 0.
    #[serde(default)]
    pub weight_decay: f64,
    /// Weights that weight decay applies to. Default: `matrices`.
    #[serde(default)]
    pub decay: DecayRule,
    /// Largest global norm of the gradients, above 0; larger ones are scaled down to it. Default:
    /// 1.
    #[serde(default = "default_clip_norm")]
    pub clip_norm: f64,
    /// `ε_low` of PPO, in [0, 1), in a run file without `[algorithm]`: the importance ratio is
    /// clipped to [1 - `clip_low`, 1 + `clip_high`]. Default: 0.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_low: Option<f64>,
    /// `ε_high` of PPO, 0 or more, in a run file without `[algorithm]`; larger than `clip_low` in
    /// DAPO's clip-higher. Default: 0.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_high: Option<f64>,
}

impl OptimizerConfig {
    /// Defaults, with this learning rate.
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

    /// Clip bounds [`ε_low`, `ε_high`] of a run file without `[algorithm]`.
    pub fn clip(&self) -> [f64; 2] {
        [self.clip_low, self.clip_high].map(|clip| clip.unwrap_or(DEFAULT_CLIP))
    }

    /// Whether `clip_low` or `clip_high` is given.
    pub fn clips(&self) -> bool {
        self.clip_low.is_some() || self.clip_high.is_some()
    }

    /// Learning rate of a step, counted from 0, in a run of `n_steps`.
    pub fn lr_at(&self, step: u64, n_steps: u64) -> f64 {
        let warmup = LrWarmup::Steps(self.warmup_steps);
        let constant = LrSchedule::Constant(ConstantSchedule { warmup });
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
