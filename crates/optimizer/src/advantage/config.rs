//! Which estimator, with its options.

use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::options::{Known, choose, not_negative, positive, share};

/// An estimator of advantages: `algorithm.advantage` of a run file.
///
/// A key that the named estimator does not use is an error. docs/algorithms.md compares the
/// conventions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", try_from = "RawAdvantage")]
pub enum Advantage {
    /// [`grpo`](super::grpo).
    Grpo {
        /// Whose ε, and whose group of one.
        convention: Convention,
    },
    /// [`dr_grpo`](super::dr_grpo).
    DrGrpo {
        /// Whose group of one.
        convention: Convention,
    },
    /// [`rloo`](super::rloo).
    Rloo {
        /// Whose group of one.
        convention: Convention,
    },
    /// [`discounted_returns`](super::discounted_returns), whitened over the batch.
    ReinforcePlusPlus {
        /// Discount of a token.
        gamma: f64,
    },
    /// The score less the mean of its group, whitened over the tokens of the batch
    /// (REINFORCE++-baseline, arXiv 2501.03262).
    ReinforcePlusPlusBaseline {
        /// Whose group of one.
        convention: Convention,
    },
    /// [`gae`](super::gae) with a critic, whitened over the batch; one reward, at the end.
    Gae {
        /// Discount of a token.
        gamma: f64,
        /// Decay of the temporal differences.
        lambda: f64,
        /// Whether observations are steps.
        observations: Observations,
    },
    /// The same with the value of each search on the last token of its `</search>` (StepSearch,
    /// arXiv 2505.15107).
    StepGae {
        /// Discount of a token.
        gamma: f64,
        /// Decay of the temporal differences.
        lambda: f64,
        /// Whether observations are steps.
        observations: Observations,
        /// Multiplies the values: 1 in the paper, 0.6 meant by its code, 1.6 done by it.
        step_scale: f64,
    },
    /// Trajectories among those of a question, turns among those from a state (`GiGPO`,
    /// arXiv 2505.10978).
    Gigpo {
        /// Discount of a turn.
        gamma: f64,
        /// Weight ω of the turn's part.
        step_weight: f64,
        /// Multiplies the values of the searches, where a reward has any; 1 where nothing is said.
        #[serde(skip_serializing_if = "Option::is_none")]
        step_scale: Option<f64>,
        /// What differences are divided by.
        scale: Scale,
    },
}

/// Whose rules hold where systems differ in a constant or in a corner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convention {
    /// ε = 1e-6; the baseline of a group of one is its own score, so its advantage is 0.
    #[default]
    Forage,
    /// ε = 1e-6; a group of one has baseline 0 and deviation 1, so its advantage is its score.
    /// Search-R1 and `SkyRL` share it.
    Verl,
    /// ε = 1e-4; a group of one has advantage 0.
    Trl,
}

impl Convention {
    /// Added to the deviation of a group.
    pub fn epsilon(self) -> f64 {
        match self {
            Self::Forage | Self::Verl => 1e-6,
            Self::Trl => 1e-4,
        }
    }
}

/// What the recursion of GAE and the whitening do at tokens that the environment wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observations {
    /// They are stepped over and in no statistic (verl 0.9).
    #[default]
    Skip,
    /// They are steps like any other, and in mean and variance (Search-R1's code).
    Include,
}

/// What a difference from a mean is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// By nothing.
    #[default]
    None,
    /// By the unbiased deviation, plus 1e-6.
    Deviation,
}

const SECTION: &str = "algorithm.advantage";

const KNOWN: Known = &[
    ("grpo", &["convention"]),
    ("dr-grpo", &["convention"]),
    ("rloo", &["convention"]),
    ("reinforce-plus-plus", &["gamma"]),
    ("reinforce-plus-plus-baseline", &["convention"]),
    ("gae", &["gamma", "lambda", "observations"]),
    ("step-gae", &["gamma", "lambda", "observations", "step_scale"]),
    ("gigpo", &["gamma", "step_weight", "step_scale", "scale"]),
];

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdvantage {
    name: String,
    convention: Option<Convention>,
    gamma: Option<f64>,
    lambda: Option<f64>,
    observations: Option<Observations>,
    step_scale: Option<f64>,
    step_weight: Option<f64>,
    scale: Option<Scale>,
}

impl TryFrom<RawAdvantage> for Advantage {
    type Error = OptimizerError;

    fn try_from(raw: RawAdvantage) -> Result<Self, OptimizerError> {
        let given = [
            ("convention", raw.convention.is_some()),
            ("gamma", raw.gamma.is_some()),
            ("lambda", raw.lambda.is_some()),
            ("observations", raw.observations.is_some()),
            ("step_scale", raw.step_scale.is_some()),
            ("step_weight", raw.step_weight.is_some()),
            ("scale", raw.scale.is_some()),
        ];
        choose(SECTION, KNOWN, &raw.name, &given)?;
        let convention = raw.convention.unwrap_or_default();
        let observations = raw.observations.unwrap_or_default();
        let gamma = |default| share("algorithm.advantage.gamma", raw.gamma.unwrap_or(default));
        let lambda = || share("algorithm.advantage.lambda", raw.lambda.unwrap_or(1.0));
        let step_scale = raw
            .step_scale
            .map(|it| not_negative("algorithm.advantage.step_scale", it))
            .transpose()?;
        Ok(match raw.name.as_str() {
            "grpo" => Self::Grpo { convention },
            "dr-grpo" => Self::DrGrpo { convention },
            "rloo" => Self::Rloo { convention },
            "reinforce-plus-plus" => Self::ReinforcePlusPlus { gamma: gamma(1.0)? },
            "reinforce-plus-plus-baseline" => Self::ReinforcePlusPlusBaseline { convention },
            "gae" => Self::Gae { gamma: gamma(1.0)?, lambda: lambda()?, observations },
            "step-gae" => Self::StepGae {
                gamma: gamma(1.0)?,
                lambda: lambda()?,
                observations,
                step_scale: step_scale.unwrap_or(1.0),
            },
            // The released code's defaults: γ = 0.95, ω = 1, no division.
            _ => Self::Gigpo {
                gamma: gamma(0.95)?,
                step_weight: positive(
                    "algorithm.advantage.step_weight",
                    raw.step_weight.unwrap_or(1.0),
                )?,
                step_scale,
                scale: raw.scale.unwrap_or_default(),
            },
        })
    }
}

impl Advantage {
    /// Whether a critic has to say what each position is worth.
    pub fn needs_critic(&self) -> bool {
        matches!(self, Self::Gae { .. } | Self::StepGae { .. })
    }

    /// What multiplies the values of the searches; `None` where they are not used.
    pub fn step_scale(&self) -> Option<f64> {
        match self {
            Self::StepGae { step_scale, .. } => Some(*step_scale),
            Self::Gigpo { step_scale, .. } => Some(step_scale.unwrap_or(1.0)),
            _ => None,
        }
    }
}
