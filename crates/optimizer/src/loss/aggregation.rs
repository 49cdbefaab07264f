//! Loss aggregation: the weight of each token in the loss of a step.
//!
//! Every loss of this crate is Σ weight · loss over the tokens that it is given. The weights come
//! from the totals of the whole step and not from the micro-batch at hand, so the sum over all
//! micro-batches, and over all devices, is the same number however the step is cut.

use serde::{Deserialize, Serialize};

use crate::error::OptimizerError;
use crate::named_algorithm::named_algorithm;

/// Loss aggregation (`loss_agg_mode` of verl): `algorithm.aggregation` of a run file. Default:
/// `token-mean`.
///
/// n trajectories are in the loss, |y| is the number of trained tokens of one of them. The empty
/// braces are there because serde ignores unknown keys of a variant without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields, remote = "Self")]
pub enum LossAggregation {
    /// 1 / Σ|y|: long trajectories weigh more. Search-R1's code, DAPO, verl's `token-mean`, TRL's
    /// `dapo`, `bnpo` and `cispo`.
    TokenMean {},
    /// 1 / (n |y|): every trajectory weighs the same. GRPO's paper, E-GRPO, verl's
    /// `seq-mean-token-mean`, TRL's `grpo` and `sapo`.
    SequenceMean {},
    /// 1 / n: every token weighs the same, and the loss grows with length. verl's
    /// `seq-mean-token-sum`, TRL's `luspo`.
    SequenceSum {},
    /// 1 / (n L) with a constant L. Dr.GRPO, verl's `seq-mean-token-sum-norm`, TRL's `dr_grpo`.
    Constant(ConstantAggregation),
}

named_algorithm!(LossAggregation, "algorithm.aggregation");

impl Default for LossAggregation {
    fn default() -> Self {
        Self::TokenMean {}
    }
}

/// Aggregation of Dr.GRPO (arXiv 2503.20783): sums of tokens over a constant length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConstantAggregation {
    /// L, in tokens, 1 or more; must be given. TRL takes the longest completion that there can be.
    pub length: usize,
}

impl ConstantAggregation {
    fn check(self) -> Result<(), OptimizerError> {
        if self.length > 0 {
            return Ok(());
        }
        Err(OptimizerError::conflict(
            "`algorithm.aggregation.length` must be 1 or more: `constant` divides by it",
        ))
    }
}

/// Number of trained tokens and trajectories of the whole step, which a loss is normalized by.
///
/// Trajectories that are not in the loss (over-length, failed) are not in the totals either: TRL
/// once counted truncated tokens in the denominator, which shrinks the step for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LossTotals {
    /// Trained tokens.
    pub n_tokens: usize,
    /// Trajectories with at least one trained token.
    pub n_sequences: usize,
}

impl LossTotals {
    /// Totals of trajectories with these numbers of trained tokens.
    pub fn of(lengths: &[usize]) -> Self {
        let n_sequences = lengths.iter().filter(|it| **it > 0).count();
        Self { n_tokens: lengths.iter().sum(), n_sequences }
    }
}

impl LossAggregation {
    /// Weight of each token of some trajectories of the step, end to end: `[M]` for
    /// trajectories of `lengths` trained tokens, M together.
    ///
    /// Departure from verl: its sequence mean divides by |y| + 1e-8.
    pub fn weights(&self, lengths: &[usize], totals: LossTotals) -> Vec<f32> {
        let n_tokens = totals.n_tokens.max(1) as f64;
        let n_sequences = totals.n_sequences.max(1) as f64;
        let weight = |length: usize| match self {
            Self::TokenMean {} => 1.0 / n_tokens,
            Self::SequenceMean {} => 1.0 / (n_sequences * length as f64),
            Self::SequenceSum {} => 1.0 / n_sequences,
            Self::Constant(options) => 1.0 / (n_sequences * options.length as f64),
        };
        let weights = lengths.iter().map(|&length| (weight(length) as f32, length));
        weights.flat_map(|(weight, length)| std::iter::repeat_n(weight, length)).collect()
    }

    /// Checks the ranges of the options.
    pub(crate) fn check(&self) -> Result<(), OptimizerError> {
        match self {
            Self::Constant(options) => options.check(),
            Self::TokenMean {} | Self::SequenceMean {} | Self::SequenceSum {} => Ok(()),
        }
    }
}
