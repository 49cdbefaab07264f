//! LLDS (arXiv 2512.04220): what went well must not become less likely.
//!
//! GRPO on searching agents collapses after the likelihood of correct trajectories has drifted
//! down: wrong trajectories begin with the same correct search, and their push takes it along. The
//! regularizer pushes back on just the tokens that fell, in just the actions that fell as a whole.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::tokens::{Tokens, constant, detached, weighted_sum};
use crate::OptimizerError;
use crate::options::{positive, share};

/// The regularizer: `algorithm.llds` of a run file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LldsConfig {
    /// λ; the paper has 0.2.
    #[serde(default = "default_coefficient")]
    pub coefficient: f64,
    /// What has to have become less likely as a whole.
    #[serde(default)]
    pub gate: Gate,
    /// β of LLDS-MA: what a token of the final answer weighs. 1 is LLDS; less of it keeps the
    /// policy from answering at once.
    #[serde(default = "default_answer_weight")]
    pub answer_weight: f64,
}

/// What a fall is summed over, before it is decided whether anything is done about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Each token by itself.
    Token,
    /// What was written between two observations; the paper's choice.
    #[default]
    Action,
    /// The trajectory.
    Response,
}

impl LldsConfig {
    pub(crate) fn check(&self) -> Result<(), OptimizerError> {
        positive("algorithm.llds.coefficient", self.coefficient)?;
        share("algorithm.llds.answer_weight", self.answer_weight).map(|_| ())
    }
}

/// Tokens of the trajectories that the regularizer preserves: those whose advantages do not sum to
/// less than 0 (the paper's set, A ≥ 0, where all tokens of a trajectory have one advantage).
/// Their number over the whole step normalizes the loss.
pub fn n_preserved_tokens(lengths: &[usize], advantages: &[f32]) -> usize {
    let mut at = 0;
    let mut count = 0;
    for &length in lengths {
        count += if preserved(&advantages[at..at + length]) { length } else { 0 };
        at += length;
    }
    count
}

/// Σ over preserved actions that fell, Σ w max(0, old - new), divided by the tokens of all
/// preserved trajectories of the step (equations 4 and 5); the caller multiplies with λ.
///
/// `actions`: trained tokens of each action, end to end, which tile the trajectories of `tokens`.
/// `answers`: for each token, whether it is of the final answer. `n_preserved`: see
/// [`n_preserved_tokens`]. The weights of `tokens` are not used. On the first update after a
/// rollout old and new are equal and the loss is 0: it acts from the second mini-batch on.
pub fn llds_loss(
    config: &LldsConfig,
    new: Tensor<1>,
    tokens: &Tokens<'_>,
    actions: &[usize],
    answers: &[bool],
    n_preserved: usize,
) -> Tensor<1> {
    tokens.check(&new);
    let falls: Vec<f64> = detached(&new)
        .iter()
        .zip(tokens.old)
        .map(|(new, old)| f64::from(*old) - f64::from(*new))
        .collect();
    let spans: &[usize] = match config.gate {
        Gate::Token => &vec![1; tokens.count()],
        Gate::Action => actions,
        Gate::Response => tokens.lengths,
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
    let old = constant(tokens.old, &new.device());
    weighted_sum((old - new).clamp_min(0.0), &weights)
}

fn preserved(advantages: &[f32]) -> bool {
    advantages.iter().map(|it| f64::from(*it)).sum::<f64>() >= 0.0
}

fn default_coefficient() -> f64 {
    0.2
}

fn default_answer_weight() -> f64 {
    1.0
}
