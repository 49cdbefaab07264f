//! Importance correction: trajectories that another policy sampled.
//!
//! A rollout may come from older weights, or from an engine whose arithmetic differs. Its tokens
//! are weighted by `π_old / π_rollout`, cut where that is large, and trajectories too far away are
//! left out. The importance ratio of the surrogate is another one, `π_new / π_old`.

use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::options::{Known, choose, positive};

/// Log-ratios are held within ± this.
const LOG_RATIO_BOUND: f64 = 20.0;

/// The weights of stale tokens: `algorithm.correction` of a run file. The formulas are those of
/// verl's `rollout_corr_helper`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", try_from = "RawCorrection")]
pub enum Correction {
    /// min(ρ, cap) of each token: truncated importance sampling.
    Token {
        /// The largest weight.
        cap: f64,
        /// Which trajectories are left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        reject: Option<Rejection>,
    },
    /// min(Πρ, cap): one weight a trajectory.
    Sequence {
        /// The largest weight.
        cap: f64,
        /// Which trajectories are left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        reject: Option<Rejection>,
    },
    /// ρ of a token, or 0 where it is outside the bounds: `IcePop`.
    Icepop {
        /// The smallest weight.
        floor: f64,
        /// The largest weight.
        cap: f64,
        /// Which trajectories are left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        reject: Option<Rejection>,
    },
    /// No weights; only trajectories are left out.
    Reject {
        /// Which.
        reject: Rejection,
    },
}

/// Trajectories that are left out: those whose distance, by an estimate of KL(rollout || old) over
/// their tokens, is outside the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// The distance.
    pub distance: Distance,
    /// Bound below, for `-k1` as a ratio: exp of the distance; not used by `-k3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Bound above, for `-k1` as a ratio: exp of the distance.
    pub high: f64,
}

/// A distance of a trajectory from the policy that sampled it; `d = log π_old - log π_rollout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Σ -d.
    SumK1,
    /// Mean of -d: the geometric mean of the ratios.
    MeanK1,
    /// Σ exp(d) - 1 - d.
    SumK3,
    /// Mean of exp(d) - 1 - d.
    MeanK3,
}

/// What a correction makes of the tokens it is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Corrected {
    /// For each token, what multiplies its advantage.
    pub weights: Vec<f32>,
    /// For each trajectory, whether it stays in the loss and its normalizer.
    pub kept: Vec<bool>,
}

/// Weights and kept trajectories.
///
/// `lengths`: trained tokens of each trajectory; `old` and `rollout`: log-probabilities under the
/// policy before the step and under the one that sampled, end to end.
pub fn correct(
    correction: &Correction,
    lengths: &[usize],
    old: &[f32],
    rollout: &[f32],
) -> Corrected {
    let gaps: Vec<f64> = old
        .iter()
        .zip(rollout)
        .map(|(old, rollout)| f64::from(*old) - f64::from(*rollout))
        .collect();
    let ratio = |gap: f64| gap.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp();
    let mut corrected = Corrected { weights: Vec::new(), kept: Vec::new() };
    let mut at = 0;
    for &length in lengths {
        let gaps = &gaps[at..at + length];
        at += length;
        let weight = |gap: f64| match *correction {
            Correction::Token { cap, .. } => ratio(gap).min(cap),
            Correction::Sequence { cap, .. } => ratio(gaps.iter().sum()).min(cap),
            Correction::Icepop { floor, cap, .. } => {
                let ratio = ratio(gap);
                if (floor..=cap).contains(&ratio) { ratio } else { 0.0 }
            }
            Correction::Reject { .. } => 1.0,
        };
        corrected.weights.extend(gaps.iter().map(|gap| weight(*gap) as f32));
        corrected.kept.push(correction.rejection().is_none_or(|it| it.keeps(gaps)));
    }
    corrected
}

impl Rejection {
    fn keeps(&self, gaps: &[f64]) -> bool {
        let bounded = gaps.iter().map(|it| it.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND));
        let n = gaps.len().max(1) as f64;
        let k1 = || bounded.clone().map(|it| -it).sum::<f64>();
        let k3 = || bounded.clone().map(|it| it.exp() - 1.0 - it).sum::<f64>();
        let within = |log_ratio: f64| {
            log_ratio <= self.high.ln() && self.low.is_none_or(|low| log_ratio >= low.ln())
        };
        match self.distance {
            Distance::SumK1 => within(k1()),
            Distance::MeanK1 => within(k1() / n),
            Distance::SumK3 => k3() <= self.high,
            Distance::MeanK3 => k3() / n <= self.high,
        }
    }

    fn check(&self) -> Result<(), OptimizerError> {
        positive("algorithm.correction.reject.high", self.high)?;
        let Some(low) = self.low else { return Ok(()) };
        if matches!(self.distance, Distance::SumK3 | Distance::MeanK3) {
            return Err(OptimizerError::conflict(
                "`algorithm.correction.reject.low` is not used by a `-k3` distance, which is never \
                 negative",
            ));
        }
        positive("algorithm.correction.reject.low", low)?;
        ordered("algorithm.correction.reject", ("low", low), ("high", self.high))
    }
}

impl Correction {
    fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Token { reject, .. }
            | Self::Sequence { reject, .. }
            | Self::Icepop { reject, .. } => reject.as_ref(),
            Self::Reject { reject } => Some(reject),
        }
    }
}

fn ordered(section: &str, low: (&str, f64), high: (&str, f64)) -> Result<(), OptimizerError> {
    if low.1 <= high.1 {
        return Ok(());
    }
    let (low, high) = ((low.0, low.1), (high.0, high.1));
    Err(OptimizerError::conflict(format!(
        "`{section}.{}` is {}, above `{section}.{}`, which is {}",
        low.0, low.1, high.0, high.1
    )))
}

const SECTION: &str = "algorithm.correction";

const KNOWN: Known = &[
    ("token", &["cap", "reject"]),
    ("sequence", &["cap", "reject"]),
    ("icepop", &["floor", "cap", "reject"]),
    ("reject", &["reject"]),
];

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCorrection {
    name: String,
    cap: Option<f64>,
    floor: Option<f64>,
    reject: Option<Rejection>,
}

impl TryFrom<RawCorrection> for Correction {
    type Error = OptimizerError;

    fn try_from(raw: RawCorrection) -> Result<Self, OptimizerError> {
        let RawCorrection { name, cap, floor, reject } = raw;
        let given =
            [("cap", cap.is_some()), ("floor", floor.is_some()), ("reject", reject.is_some())];
        choose(SECTION, KNOWN, &name, &given)?;
        if let Some(reject) = &reject {
            reject.check()?;
        }
        let capped = |default| positive("algorithm.correction.cap", cap.unwrap_or(default));
        Ok(match name.as_str() {
            "token" => Self::Token { cap: capped(2.0)?, reject },
            "sequence" => Self::Sequence { cap: capped(2.0)?, reject },
            "icepop" => {
                let floor = positive("algorithm.correction.floor", floor.unwrap_or(0.5))?;
                let cap = capped(5.0)?;
                ordered(SECTION, ("floor", floor), ("cap", cap))?;
                Self::Icepop { floor, cap, reject }
            }
            _ => Self::Reject {
                reject: reject.ok_or_else(|| {
                    OptimizerError::conflict(
                        "`algorithm.correction.reject` is missing, which `reject` is about",
                    )
                })?,
            },
        })
    }
}
