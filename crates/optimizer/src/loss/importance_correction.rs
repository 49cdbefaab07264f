//! Importance correction for off-policy trajectories: truncated importance sampling (TIS), `IcePop`
//! and rejection sampling.
//!
//! A rollout may come from older weights, or from an engine with another arithmetic. Its tokens
//! are weighted by ρ = `π_old / π_rollout`, truncated where it is large, and trajectories too far
//! away are left out. The importance ratio of the surrogate is another one, `π_new / π_old`.

use serde::{Deserialize, Serialize};

use crate::error::OptimizerError;
use crate::named_algorithm::named_algorithm;
use crate::ranges::positive;

/// Log-ratios are clamped to ± this.
const LOG_RATIO_BOUND: f64 = 20.0;

/// Importance correction for off-policy trajectories: `algorithm.correction` of a run file.
///
/// The formulas are those of verl's `rollout_corr_helper`; ρ = `π_old / π_rollout`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", remote = "Self")]
pub enum ImportanceCorrection {
    /// Token-level TIS.
    Token(TokenTis),
    /// Sequence-level TIS.
    Sequence(SequenceTis),
    /// `IcePop`.
    Icepop(IcePop),
    /// Rejection sampling without weights.
    Reject(RejectionOnly),
}

named_algorithm!(ImportanceCorrection, "algorithm.correction");

/// Token-level truncated importance sampling: the weight of a token is min(ρ, cap).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenTis {
    /// Largest weight, above 0. Default: 2.
    pub cap: f64,
    /// Rejection sampling of whole trajectories. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject: Option<RejectionSampling>,
}

impl Default for TokenTis {
    fn default() -> Self {
        Self { cap: 2.0, reject: None }
    }
}

/// Sequence-level truncated importance sampling: the weight of a trajectory is min(Πρ, cap), with
/// the product over its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SequenceTis {
    /// Largest weight, above 0. Default: 2.
    pub cap: f64,
    /// Rejection sampling of whole trajectories. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject: Option<RejectionSampling>,
}

impl Default for SequenceTis {
    fn default() -> Self {
        Self { cap: 2.0, reject: None }
    }
}

/// `IcePop`: the weight of a token is ρ, or 0 where ρ is outside [floor, cap].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IcePop {
    /// Smallest ratio that is kept, above 0 and at most `cap`. Default: 0.5.
    pub floor: f64,
    /// Largest ratio that is kept. Default: 5.
    pub cap: f64,
    /// Rejection sampling of whole trajectories. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject: Option<RejectionSampling>,
}

impl Default for IcePop {
    fn default() -> Self {
        Self { floor: 0.5, cap: 5.0, reject: None }
    }
}

impl IcePop {
    fn check(&self) -> Result<(), OptimizerError> {
        positive("algorithm.correction.floor", self.floor)?;
        positive("algorithm.correction.cap", self.cap)?;
        ordered("algorithm.correction", ("floor", self.floor), ("cap", self.cap))
    }
}

/// Rejection sampling without weights: trajectories are left out, the others have weight 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectionOnly {
    /// Trajectories that are left out; must be given.
    pub reject: RejectionSampling,
}

/// Rejection sampling: trajectories with a distance from the rollout policy outside the bounds are
/// left out of the loss and its normalizer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectionSampling {
    /// Distance of a trajectory.
    pub distance: RejectionDistance,
    /// Lower bound; for `-k1` it bounds the ratio exp(distance), and `-k3` does not use it.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper bound; for `-k1` it bounds the ratio exp(distance).
    pub high: f64,
}

/// Distance of a trajectory from the policy that sampled it: an estimate of KL(rollout || old) over
/// its tokens, from `d = log π_old - log π_rollout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectionDistance {
    /// Σ -d. verl's `seq_sum_k1`.
    SumK1,
    /// Mean of -d, that is, the geometric mean of the ratios. verl's `seq_mean_k1`.
    MeanK1,
    /// Σ exp(d) - 1 - d. verl's `seq_sum_k3`.
    SumK3,
    /// Mean of exp(d) - 1 - d. verl's `seq_mean_k3`.
    MeanK3,
}

/// Importance weights of some trajectories.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportanceWeights {
    /// Factor of the advantage of each token, `[M]`.
    pub weights: Vec<f32>,
    /// For each trajectory, whether it stays in the loss and its normalizer.
    pub kept: Vec<bool>,
}

/// Importance weights and kept trajectories.
///
/// `lengths`: trained tokens of each trajectory; their sum is M. `old` and `rollout`, `[M]`:
/// log-probabilities under the policy before the step and under the policy that sampled, end to
/// end.
pub fn importance_weights(
    correction: &ImportanceCorrection,
    lengths: &[usize],
    old: &[f32],
    rollout: &[f32],
) -> ImportanceWeights {
    let log_ratios: Vec<f64> = old
        .iter()
        .zip(rollout)
        .map(|(old, rollout)| f64::from(*old) - f64::from(*rollout))
        .collect();
    let mut result = ImportanceWeights { weights: Vec::new(), kept: Vec::new() };
    let mut at = 0;
    for &length in lengths {
        let log_ratios = &log_ratios[at..at + length];
        at += length;
        let weights = log_ratios.iter().map(|it| correction.weight(*it, log_ratios) as f32);
        result.weights.extend(weights);
        result.kept.push(correction.rejection().is_none_or(|it| it.keeps(log_ratios)));
    }
    result
}

impl ImportanceCorrection {
    /// The weight of a token with this log-ratio, in a trajectory with those.
    fn weight(&self, log_ratio: f64, of_trajectory: &[f64]) -> f64 {
        let ratio = |log_ratio: f64| log_ratio.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp();
        match self {
            Self::Token(options) => ratio(log_ratio).min(options.cap),
            Self::Sequence(options) => ratio(of_trajectory.iter().sum()).min(options.cap),
            Self::Icepop(options) => {
                let ratio = ratio(log_ratio);
                if (options.floor..=options.cap).contains(&ratio) { ratio } else { 0.0 }
            }
            Self::Reject(_) => 1.0,
        }
    }

    fn rejection(&self) -> Option<&RejectionSampling> {
        match self {
            Self::Token(options) => options.reject.as_ref(),
            Self::Sequence(options) => options.reject.as_ref(),
            Self::Icepop(options) => options.reject.as_ref(),
            Self::Reject(options) => Some(&options.reject),
        }
    }

    /// Checks the ranges of the options.
    pub(crate) fn check(&self) -> Result<(), OptimizerError> {
        self.rejection().map_or(Ok(()), RejectionSampling::check)?;
        match self {
            Self::Token(options) => positive("algorithm.correction.cap", options.cap),
            Self::Sequence(options) => positive("algorithm.correction.cap", options.cap),
            Self::Icepop(options) => options.check(),
            Self::Reject(_) => Ok(()),
        }
    }
}

impl RejectionSampling {
    fn keeps(&self, log_ratios: &[f64]) -> bool {
        let bounded = log_ratios.iter().map(|it| it.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND));
        let n = log_ratios.len().max(1) as f64;
        let k1 = || bounded.clone().map(|log_ratio| -log_ratio).sum::<f64>();
        let k3 = || bounded.clone().map(|log_ratio| log_ratio.exp() - 1.0 - log_ratio).sum::<f64>();
        let within = |log_ratio: f64| {
            log_ratio <= self.high.ln() && self.low.is_none_or(|low| log_ratio >= low.ln())
        };
        match self.distance {
            RejectionDistance::SumK1 => within(k1()),
            RejectionDistance::MeanK1 => within(k1() / n),
            RejectionDistance::SumK3 => k3() <= self.high,
            RejectionDistance::MeanK3 => k3() / n <= self.high,
        }
    }

    fn check(&self) -> Result<(), OptimizerError> {
        positive("algorithm.correction.reject.high", self.high)?;
        let Some(low) = self.low else { return Ok(()) };
        if matches!(self.distance, RejectionDistance::SumK3 | RejectionDistance::MeanK3) {
            return Err(OptimizerError::conflict(
                "`algorithm.correction.reject.low` is not used by a `-k3` distance, which is never \
                 negative",
            ));
        }
        positive("algorithm.correction.reject.low", low)?;
        ordered("algorithm.correction.reject", ("low", low), ("high", self.high))
    }
}

fn ordered(section: &str, low: (&str, f64), high: (&str, f64)) -> Result<(), OptimizerError> {
    if low.1 <= high.1 {
        return Ok(());
    }
    Err(OptimizerError::conflict(format!(
        "`{section}.{}` is {}, above `{section}.{}`, which is {}",
        low.0, low.1, high.0, high.1
    )))
}
