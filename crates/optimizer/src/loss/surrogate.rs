//! Policy loss: the surrogate objectives PPO, GSPO, CISPO, SAPO and REINFORCE.

mod cispo;
mod ppo;
mod ratio;
mod sapo;

pub use cispo::Cispo;
pub use ppo::{DEFAULT_CLIP, Gspo, Ppo};
pub use ratio::{RatioLevel, RatioStats};
pub use sapo::Sapo;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::tokens::{TrainedTokens, constant, detached, weighted_sum};
use crate::error::OptimizerError;
use crate::named_algorithm::named_algorithm;

/// Policy loss: `algorithm.loss` of a run file.
///
/// ρ = exp(new - old) is the importance ratio of a token, A its advantage. A key that the named
/// loss does not have is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields, remote = "Self")]
pub enum Surrogate {
    /// PPO, with clip-higher and dual clip.
    Ppo(Ppo),
    /// GSPO: PPO with one ratio for each trajectory.
    Gspo(Gspo),
    /// CISPO: the clipped ratio is a weight.
    Cispo(Cispo),
    /// SAPO: a soft clip.
    Sapo(Sapo),
    /// REINFORCE: `-A log π`, without a ratio (Williams 1992; GPG, arXiv 2504.02546). The empty
    /// braces are there because serde ignores unknown keys of a variant without any.
    Reinforce {},
}

named_algorithm!(Surrogate, "algorithm.loss");

/// Policy loss with statistics of its importance ratios.
#[derive(Debug)]
pub struct SurrogateLoss {
    /// Σ weight · loss, `[1]`.
    pub sum: Tensor<1>,
    /// Statistics of the importance ratios.
    pub ratios: RatioStats,
}

/// Policy loss over the trained tokens of a micro-batch; 0 without tokens.
///
/// `new`: log-probabilities under the weights in training, `[M]`.
///
/// Departures from verl: the bound of ±20 on log-ratios holds for the mean of a sequence too, and
/// REINFORCE has none.
///
/// # Panics
///
/// Where `new` and `tokens` have different lengths.
pub fn surrogate_loss(
    surrogate: &Surrogate,
    new: Tensor<1>,
    tokens: &TrainedTokens<'_>,
) -> SurrogateLoss {
    tokens.check(&new);
    let ratio = ratio::importance_ratio(surrogate.ratio_level(), &new, tokens);
    let ratios = surrogate.ratio_stats(&detached(&ratio), &detached(&new), tokens);
    let losses = match surrogate {
        Surrogate::Ppo(options) => options.losses(ratio, tokens),
        Surrogate::Gspo(options) => options.losses(ratio, tokens),
        Surrogate::Cispo(options) => options.losses(ratio, new, tokens),
        Surrogate::Sapo(options) => options.losses(ratio, tokens),
        Surrogate::Reinforce {} => {
            let advantages = constant(tokens.advantages, &new.device());
            (new * advantages).neg()
        }
    };
    SurrogateLoss { sum: weighted_sum(losses, tokens.weights), ratios }
}

impl Surrogate {
    /// PPO with these clip bounds and without dual clip.
    pub fn ppo(clip_low: f64, clip_high: f64) -> Self {
        Self::Ppo(Ppo { clip_low, clip_high, dual_clip: None })
    }

    fn ratio_level(&self) -> RatioLevel {
        match self {
            Self::Gspo(_) => RatioLevel::Sequence,
            Self::Cispo(options) => options.ratio,
            Self::Sapo(options) => options.ratio,
            Self::Ppo(_) | Self::Reinforce {} => RatioLevel::Token,
        }
    }

    fn ratio_stats(&self, ratios: &[f32], new: &[f32], tokens: &TrainedTokens<'_>) -> RatioStats {
        let mut stats = RatioStats::of(ratios, new, tokens.old_logprobs);
        for (&ratio, &advantage) in ratios.iter().zip(tokens.advantages) {
            let is_clipped = match self {
                Self::Ppo(options) => options.clips(ratio, advantage),
                Self::Gspo(options) => options.clips(ratio, advantage),
                Self::Cispo(options) => options.clips(ratio),
                Self::Sapo(_) | Self::Reinforce {} => false,
            };
            stats.n_clipped += usize::from(is_clipped);
            if let Self::Ppo(options) = self {
                stats.n_dual_clipped += usize::from(options.dual_clips(ratio, advantage));
            }
        }
        stats
    }

    /// Checks the ranges of the options.
    pub(crate) fn check(&self) -> Result<(), OptimizerError> {
        match self {
            Self::Ppo(options) => options.check(),
            Self::Gspo(options) => options.check(),
            Self::Cispo(options) => options.check(),
            Self::Sapo(options) => options.check(),
            Self::Reinforce {} => Ok(()),
        }
    }
}
