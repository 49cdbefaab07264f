//! LLDS: likelihood-preserving regularization (arXiv 2512.04220).
//!
//! GRPO on search agents collapses after the likelihood of correct trajectories has drifted down:
//! wrong trajectories begin with the same correct search, and lowering their likelihood lowers that
//! of the search too. The regularizer penalizes a token only if its likelihood fell, and only in
//! actions that became less likely as a whole.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::tokens::{TrainedTokens, constant, detached, weighted_sum};
use crate::error::OptimizerError;
use crate::ranges::{at_most_one, positive};

/// LLDS: likelihood-preserving regularizer, `algorithm.llds` of a run file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LldsConfig {
    /// λ, the coefficient of the term, above 0. Default: 0.2, as in the paper.
    pub coefficient: f64,
    /// Granularity of the gate: the tokens that must have become less likely together.
    /// Default: `action`.
    pub gate: LldsGranularity,
    /// β of LLDS-MA, the weight of a token of the final answer, in [0, 1]. Default: 1, which is
    /// LLDS; less keeps the policy from answering at once.
    pub answer_weight: f64,
}

impl Default for LldsConfig {
    fn default() -> Self {
        Self { coefficient: 0.2, gate: LldsGranularity::default(), answer_weight: 1.0 }
    }
}

/// Granularity of the gate of LLDS: the tokens over which the change of the log-probability is
/// summed, to decide whether the term applies to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LldsGranularity {
    /// Each token by itself.
    Token,
    /// All tokens of a turn, from one observation to the next; the paper's choice.
    #[default]
    Action,
    /// All trained tokens of the trajectory.
    Response,
}

impl LldsConfig {
    pub(crate) fn check(&self) -> Result<(), OptimizerError> {
        positive("algorithm.llds.coefficient", self.coefficient)?;
        at_most_one("algorithm.llds.answer_weight", self.answer_weight)
    }
}

/// Number of tokens of the preserved trajectories, those with advantages that sum to 0 or more.
/// Over the whole step it normalizes the loss.
///
/// It is the paper's set, A ≥ 0, where all tokens of a trajectory have one advantage. `lengths`:
/// trained tokens of each trajectory; `advantages`: of each token, end to end, `[M]`.
pub fn n_preserved_tokens(lengths: &[usize], advantages: &[f32]) -> usize {
    let mut at = 0;
    let mut count = 0;
    for &length in lengths {
        count += if preserved(&advantages[at..at + length]) { length } else { 0 };
        at += length;
    }
    count
}

/// LLDS loss: Σ w max(0, old - new) over the actions of preserved trajectories that became less
/// likely, divided by the tokens of all preserved trajectories of the step (equations 4 and 5),
/// `[1]`; the caller multiplies it with λ.
///
/// `new`: log-probabilities under the weights in training, `[M]`. `actions`: trained tokens of each
/// action, end to end, which tile the trajectories of `tokens`. `answers`, `[M]`: whether a token
/// is of the final answer. `n_preserved`: [`n_preserved_tokens`] of the whole step. The weights of
/// `tokens` are not used.
///
/// On the first update after a rollout, old and new are equal and the loss is 0: it acts from the
/// second mini-batch on.
pub fn llds_loss(
    config: &LldsConfig,
    new: Tensor<1>,
    tokens: &TrainedTokens<'_>,
    actions: &[usize],
    answers: &[bool],
    n_preserved: usize,
) -> Tensor<1> {
    tokens.check(&new);
    let falls: Vec<f64> = detached(&new)
        .iter()
        .zip(tokens.old_logprobs)
        .map(|(new, old)| f64::from(*old) - f64::from(*new))
        .collect();
    let spans: &[usize] = match config.gate {
        LldsGranularity::Token => &vec![1; tokens.count()],
        LldsGranularity::Action => actions,
        LldsGranularity::Response => tokens.lengths,
    };
    let unit = 1.0 / n_preserved.max(1) as f64;
    let mut weights = vec![0.0; tokens.count()];
    let mut at = 0;
    for &length in spans {
        let span = at..at + length;
        if falls[span.clone()].iter().sum::<f64>() > 0.0 {
            for position in span {
                let scale = if answers[position] { config.answer_weight } else { 1.0 };
                weights[position] = (unit * scale) as f32;
            }
        }
        at += length;
    }
    let mut at = 0;
    for &length in tokens.lengths {
        if !preserved(&tokens.advantages[at..at + length]) {
            weights[at..at + length].fill(0.0);
        }
        at += length;
    }
    let old = constant(tokens.old_logprobs, &new.device());
    weighted_sum((old - new).clamp_min(0.0), &weights)
}

fn preserved(advantages: &[f32]) -> bool {
    advantages.iter().map(|it| f64::from(*it)).sum::<f64>() >= 0.0
}
