//! The policy's loss: what is minimized so that tokens with an advantage become likelier.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use serde::{Deserialize, Serialize};

use super::tokens::{Tokens, constant, detached, weighted_sum};
use crate::OptimizerError;
use crate::options::{Known, above_one, below_one, choose, not_negative, positive};

/// Log-ratios are held within ± this, as verl does, so that none becomes infinite.
const LOG_RATIO_BOUND: f32 = 20.0;

/// The largest log-ratio of a sequence, as in verl's GSPO.
const SEQUENCE_LOG_RATIO_BOUND: f32 = 10.0;

/// A surrogate: `algorithm.loss` of a run file. ρ = exp(new - old), A the advantage.
///
/// A key that the named loss does not use is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", try_from = "RawSurrogate")]
pub enum Surrogate {
    /// `-min(ρA, clip(ρ, 1-ε_low, 1+ε_high) A)`: PPO (arXiv 1707.06347), with separate bounds as in
    /// DAPO (arXiv 2503.14476).
    Ppo {
        /// `ε_low`.
        clip_low: f64,
        /// `ε_high`; larger than `ε_low` in clip-higher.
        clip_high: f64,
        /// c of dual clip (arXiv 1912.09729): where A < 0 the loss is at most -cA, so that a token
        /// that became far likelier moves nothing. verl has 3 by default, Search-R1 none.
        #[serde(skip_serializing_if = "Option::is_none")]
        dual_clip: Option<f64>,
    },
    /// The same with one ratio a trajectory, exp(mean(new - old)): GSPO (arXiv 2507.18071). Written
    /// token by token as in its equation 14 (GSPO-token) and in verl, which has the same value and
    /// gradient as TRL's form by sequences.
    Gspo {
        /// `ε_low`; the paper has 3e-4.
        clip_low: f64,
        /// `ε_high`; the paper has 4e-4.
        clip_high: f64,
    },
    /// `-sg(clip(ρ)) A log π`: CISPO (arXiv 2506.13585). A clipped token keeps a gradient. TRL's
    /// `epsilon_high` is our 1 + `clip_high`, and it has no lower bound.
    Cispo {
        /// The weight is at least 1 - this; without it, there is no lower bound.
        #[serde(skip_serializing_if = "Option::is_none")]
        clip_low: Option<f64>,
        /// The weight is at most 1 + this.
        clip_high: f64,
        /// Whose ratio.
        ratio: Ratio,
    },
    /// `-(4/τ) σ(τ (ρ - 1)) A` with τ by the sign of A: SAPO (arXiv 2511.20347), a soft clip.
    Sapo {
        /// τ where A > 0.
        tau_positive: f64,
        /// τ elsewhere.
        tau_negative: f64,
        /// Whose ratio.
        ratio: Ratio,
    },
    /// `-A log π`, without a ratio (Williams 1992; GPG, arXiv 2504.02546).
    Reinforce,
}

/// What an importance ratio is taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ratio {
    /// A token.
    #[default]
    Token,
    /// The geometric mean over the trained tokens of a trajectory.
    Sequence,
}

/// A loss, with what its ratios say of the batch.
#[derive(Debug)]
pub struct SurrogateLoss {
    /// Σ weight · loss; rank 1 with one number.
    pub sum: Tensor<1>,
    /// What was seen on the way.
    pub ratios: Ratios,
}

/// What importance ratios say of the tokens they were taken over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratios {
    /// Tokens that the clip keeps from moving further.
    pub n_clipped: usize,
    /// Tokens that the dual clip keeps.
    pub n_dual_clipped: usize,
    /// The smallest ratio; infinite where there is no token.
    pub least: f64,
    /// The largest ratio; 0 where there is no token.
    pub most: f64,
    /// Σ(old - new): times 1 / tokens, the k1 estimate of KL(old || new).
    pub kl: f64,
}

/// The surrogate over some trained tokens.
///
/// `new`: log-probabilities under the weights in training, `[M]`. Without tokens it is 0.
///
/// Where departures from verl matter: the bound of ±20 on log-ratios holds for a sequence's mean
/// too, and REINFORCE has none.
///
/// # Panics
///
/// Where `new` and `tokens` have different lengths.
pub fn surrogate_loss(surrogate: &Surrogate, new: Tensor<1>, tokens: &Tokens<'_>) -> SurrogateLoss {
    tokens.check(&new);
    let device = new.device();
    let ratio = ratio(surrogate.ratio(), &new, tokens);
    let ratios = surrogate.observe(&detached(&ratio), &detached(&new), tokens);
    let advantages = constant(tokens.advantages, &device);
    let losses = match *surrogate {
        Surrogate::Ppo { clip_low, clip_high, dual_clip } => {
            let losses = clipped(ratio, &advantages, clip_low, clip_high);
            match dual_clip {
                None => losses,
                Some(bound) => {
                    let bounds: Vec<f32> =
                        tokens.advantages.iter().map(|it| dual_bound(*it, bound)).collect();
                    losses.min_pair(constant(&bounds, &device))
                }
            }
        }
        Surrogate::Gspo { clip_low, clip_high } => clipped(ratio, &advantages, clip_low, clip_high),
        Surrogate::Cispo { clip_low, clip_high, .. } => {
            let low = clip_low.map_or(0.0, |it| 1.0 - it);
            let weight = ratio.inner().clamp(low as f32, (1.0 + clip_high) as f32);
            (weight * advantages * new).neg()
        }
        Surrogate::Sapo { tau_positive, tau_negative, .. } => {
            let tau = |it: &f32| if *it > 0.0 { tau_positive } else { tau_negative } as f32;
            let taus: Vec<f32> = tokens.advantages.iter().map(tau).collect();
            let taus = constant(&taus, &device);
            (sigmoid((ratio - 1.0) * taus.clone()) * 4.0 / taus * advantages).neg()
        }
        Surrogate::Reinforce => (new * advantages).neg(),
    };
    SurrogateLoss { sum: weighted_sum(losses, tokens.weights), ratios }
}

/// The most that the loss of a token may be under dual clip.
fn dual_bound(advantage: f32, bound: f64) -> f32 {
    if advantage < 0.0 { -advantage * bound as f32 } else { f32::INFINITY }
}

/// max(-ρA, -clip(ρ)A).
fn clipped(ratio: Tensor<1>, advantages: &Tensor<1>, low: f64, high: f64) -> Tensor<1> {
    let free = ratio.clone() * advantages.clone();
    let held = ratio.clamp((1.0 - low) as f32, (1.0 + high) as f32) * advantages.clone();
    free.min_pair(held).neg()
}

/// The importance ratio at each token.
fn ratio(kind: Ratio, new: &Tensor<1>, tokens: &Tokens<'_>) -> Tensor<1> {
    let device = new.device();
    let log_ratio = match kind {
        Ratio::Token => new.clone() - constant(tokens.old, &device),
        Ratio::Sequence => {
            let differences: Vec<f64> = detached(new)
                .iter()
                .zip(tokens.old)
                .map(|(new, old)| f64::from(*new) - f64::from(*old))
                .collect();
            let means: Vec<f32> =
                tokens.sequence_means(&differences).into_iter().map(|it| it as f32).collect();
            // The value is the mean's; the gradient flows through the token alone, and the tokens
            // of a trajectory together carry that of the mean.
            let log_ratio = new.clone() - new.clone().inner() + constant(&means, &device);
            log_ratio.clamp_max(SEQUENCE_LOG_RATIO_BOUND)
        }
    };
    log_ratio.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp()
}

impl Surrogate {
    /// PPO's clip without dual clip.
    pub fn ppo(clip_low: f64, clip_high: f64) -> Self {
        Self::Ppo { clip_low, clip_high, dual_clip: None }
    }

    fn ratio(&self) -> Ratio {
        match *self {
            Self::Gspo { .. } => Ratio::Sequence,
            Self::Cispo { ratio, .. } | Self::Sapo { ratio, .. } => ratio,
            Self::Ppo { .. } | Self::Reinforce => Ratio::Token,
        }
    }

    fn observe(&self, ratios: &[f32], new: &[f32], tokens: &Tokens<'_>) -> Ratios {
        let mut seen =
            Ratios { n_clipped: 0, n_dual_clipped: 0, least: f64::INFINITY, most: 0.0, kl: 0.0 };
        for (at, &ratio) in ratios.iter().enumerate() {
            let advantage = tokens.advantages[at];
            seen.least = seen.least.min(f64::from(ratio));
            seen.most = seen.most.max(f64::from(ratio));
            seen.kl += f64::from(tokens.old[at]) - f64::from(new[at]);
            let above = |bound: f64| ratio > (1.0 + bound) as f32;
            let below = |bound: f64| ratio < (1.0 - bound) as f32;
            let is_clipped = match *self {
                Self::Ppo { clip_low, clip_high, .. } | Self::Gspo { clip_low, clip_high } => {
                    (advantage > 0.0 && above(clip_high)) || (advantage < 0.0 && below(clip_low))
                }
                Self::Cispo { clip_low, clip_high, .. } => {
                    above(clip_high) || clip_low.is_some_and(below)
                }
                Self::Sapo { .. } | Self::Reinforce => false,
            };
            seen.n_clipped += usize::from(is_clipped);
            if let Self::Ppo { dual_clip: Some(bound), .. } = *self {
                seen.n_dual_clipped += usize::from(advantage < 0.0 && ratio > bound as f32);
            }
        }
        seen
    }
}

const KNOWN: Known = &[
    ("ppo", &["clip_low", "clip_high", "dual_clip"]),
    ("gspo", &["clip_low", "clip_high"]),
    ("cispo", &["clip_low", "clip_high", "ratio"]),
    ("sapo", &["tau_positive", "tau_negative", "ratio"]),
    ("reinforce", &[]),
];

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSurrogate {
    name: String,
    clip_low: Option<f64>,
    clip_high: Option<f64>,
    dual_clip: Option<f64>,
    tau_positive: Option<f64>,
    tau_negative: Option<f64>,
    ratio: Option<Ratio>,
}

impl TryFrom<RawSurrogate> for Surrogate {
    type Error = OptimizerError;

    fn try_from(raw: RawSurrogate) -> Result<Self, OptimizerError> {
        let given = [
            ("clip_low", raw.clip_low.is_some()),
            ("clip_high", raw.clip_high.is_some()),
            ("dual_clip", raw.dual_clip.is_some()),
            ("tau_positive", raw.tau_positive.is_some()),
            ("tau_negative", raw.tau_negative.is_some()),
            ("ratio", raw.ratio.is_some()),
        ];
        choose("algorithm.loss", KNOWN, &raw.name, &given)?;
        let low = |default| below_one("algorithm.loss.clip_low", raw.clip_low.unwrap_or(default));
        let high =
            |default| not_negative("algorithm.loss.clip_high", raw.clip_high.unwrap_or(default));
        let ratio = raw.ratio.unwrap_or_default();
        Ok(match raw.name.as_str() {
            "ppo" => Self::Ppo {
                clip_low: low(crate::DEFAULT_CLIP)?,
                clip_high: high(crate::DEFAULT_CLIP)?,
                dual_clip: raw
                    .dual_clip
                    .map(|it| above_one("algorithm.loss.dual_clip", it))
                    .transpose()?,
            },
            "gspo" => Self::Gspo { clip_low: low(3e-4)?, clip_high: high(4e-4)? },
            // TRL recommends a bound of 5 for its `epsilon_high`.
            "cispo" => Self::Cispo {
                clip_low: raw
                    .clip_low
                    .map(|it| below_one("algorithm.loss.clip_low", it))
                    .transpose()?,
                clip_high: high(4.0)?,
                ratio,
            },
            "sapo" => Self::Sapo {
                tau_positive: positive(
                    "algorithm.loss.tau_positive",
                    raw.tau_positive.unwrap_or(1.0),
                )?,
                tau_negative: positive(
                    "algorithm.loss.tau_negative",
                    raw.tau_negative.unwrap_or(1.05),
                )?,
                ratio,
            },
            _ => Self::Reinforce,
        })
    }
}
