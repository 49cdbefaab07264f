//! The importance ratio `π_new / π_old`, of a token or of a sequence.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::loss::tokens::{TrainedTokens, constant, detached};

/// Log-ratios are clamped to ± this, as in verl, so that no ratio is infinite.
const LOG_RATIO_BOUND: f32 = 20.0;

/// Largest log-ratio of a sequence, as in verl's GSPO.
const SEQUENCE_LOG_RATIO_BOUND: f32 = 10.0;

/// Level of the importance ratio (`importance_sampling_level` of TRL).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RatioLevel {
    /// One ratio for each token.
    #[default]
    Token,
    /// One ratio for each trajectory: the geometric mean over its trained tokens.
    Sequence,
}

/// Statistics of the importance ratios of some tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioStats {
    /// Tokens with a clipped ratio.
    pub n_clipped: usize,
    /// Tokens with a loss that dual clip bounds.
    pub n_dual_clipped: usize,
    /// Smallest ratio; infinite without tokens.
    pub min: f64,
    /// Largest ratio; 0 without tokens.
    pub max: f64,
    /// Σ(old - new) of the log-probabilities: divided by the number of tokens, the k1 estimate of
    /// KL(old || new).
    pub kl: f64,
}

impl RatioStats {
    /// Smallest and largest ratio, and the estimate of the KL divergence; nothing is clipped yet.
    pub(super) fn of(ratios: &[f32], new: &[f32], old: &[f32]) -> Self {
        let mut stats =
            Self { n_clipped: 0, n_dual_clipped: 0, min: f64::INFINITY, max: 0.0, kl: 0.0 };
        for ((&ratio, &new), &old) in ratios.iter().zip(new).zip(old) {
            stats.min = stats.min.min(f64::from(ratio));
            stats.max = stats.max.max(f64::from(ratio));
            stats.kl += f64::from(old) - f64::from(new);
        }
        stats
    }
}

/// Importance ratio at each token: log-probabilities `[M]` → `[M]`.
pub(super) fn importance_ratio(
    level: RatioLevel,
    new: &Tensor<1>,
    tokens: &TrainedTokens<'_>,
) -> Tensor<1> {
    let log_ratio = match level {
        RatioLevel::Token => new.clone() - constant(tokens.old_logprobs, &new.device()),
        RatioLevel::Sequence => sequence_log_ratio(new, tokens),
    };
    log_ratio.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp()
}

/// The mean log-ratio of the trajectory, at each of its tokens.
///
/// The value is that of the mean. The gradient flows through the token alone, and the tokens of a
/// trajectory together carry that of the mean (GSPO-token, arXiv 2507.18071, equation 14).
fn sequence_log_ratio(new: &Tensor<1>, tokens: &TrainedTokens<'_>) -> Tensor<1> {
    let differences: Vec<f64> = detached(new)
        .iter()
        .zip(tokens.old_logprobs)
        .map(|(new, old)| f64::from(*new) - f64::from(*old))
        .collect();
    let means: Vec<f32> =
        tokens.sequence_means(&differences).into_iter().map(|it| it as f32).collect();
    let log_ratio = new.clone() - new.clone().inner() + constant(&means, &new.device());
    log_ratio.clamp_max(SEQUENCE_LOG_RATIO_BOUND)
}
