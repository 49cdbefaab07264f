//! How the losses of tokens become one number: a weight for each token.
//!
//! Every loss of this crate is Σ weight · loss over the tokens that it is given. The weights come
//! from the totals of the whole step and not from the micro-batch at hand, so the sum over all
//! micro-batches, and over all devices, is the same number however the step is cut.

use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::options::{Known, choose};

/// The mean that a loss is: `algorithm.aggregation` of a run file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", try_from = "RawAggregation")]
pub enum Aggregation {
    /// 1 / Σ|y|: long trajectories weigh more. Search-R1's code, DAPO, verl's `token-mean`, TRL's
    /// `dapo`, `bnpo` and `cispo`.
    #[default]
    TokenMean,
    /// 1 / (n |y|): every trajectory weighs the same. GRPO's paper, E-GRPO, verl's
    /// `seq-mean-token-mean`, TRL's `grpo` and `sapo`.
    SequenceMean,
    /// 1 / n: every token of every length weighs the same, and the loss grows with length. verl's
    /// `seq-mean-token-sum`, TRL's `luspo`.
    SequenceSum,
    /// 1 / (n L) with a constant L: Dr.GRPO (arXiv 2503.20783). verl's `seq-mean-token-sum-norm`,
    /// TRL's `dr_grpo`, whose L is the longest completion there can be.
    Constant {
        /// L, in tokens.
        length: usize,
    },
}

/// What there is to take a mean over: the trained tokens and trajectories of the whole step.
///
/// Trajectories that are not in the loss (over-length, failed) are not in the totals either: TRL
/// once counted truncated tokens in the denominator, which shrinks the step for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Trained tokens.
    pub n_tokens: usize,
    /// Trajectories with at least one of them.
    pub n_sequences: usize,
}

impl Totals {
    /// Of trajectories with these numbers of trained tokens.
    pub fn of(lengths: &[usize]) -> Self {
        let n_sequences = lengths.iter().filter(|it| **it > 0).count();
        Self { n_tokens: lengths.iter().sum(), n_sequences }
    }
}

impl Aggregation {
    /// The weight of each token of some trajectories of the step, laid end to end.
    ///
    /// Departure from verl, whose sequence mean divides by |y| + 1e-8.
    pub fn weights(&self, lengths: &[usize], totals: Totals) -> Vec<f32> {
        let n_tokens = totals.n_tokens.max(1) as f64;
        let n_sequences = totals.n_sequences.max(1) as f64;
        let weight = |length: usize| match *self {
            Self::TokenMean => 1.0 / n_tokens,
            Self::SequenceMean => 1.0 / (n_sequences * length as f64),
            Self::SequenceSum => 1.0 / n_sequences,
            Self::Constant { length } => 1.0 / (n_sequences * length as f64),
        };
        lengths.iter().flat_map(|&it| std::iter::repeat_n(weight(it) as f32, it)).collect()
    }
}

const KNOWN: Known = &[
    ("token-mean", &[]),
    ("sequence-mean", &[]),
    ("sequence-sum", &[]),
    ("constant", &["length"]),
];

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAggregation {
    name: String,
    length: Option<usize>,
}

impl TryFrom<RawAggregation> for Aggregation {
    type Error = OptimizerError;

    fn try_from(raw: RawAggregation) -> Result<Self, OptimizerError> {
        let given = [("length", raw.length.is_some())];
        choose("algorithm.aggregation", KNOWN, &raw.name, &given)?;
        Ok(match raw.name.as_str() {
            "token-mean" => Self::TokenMean,
            "sequence-mean" => Self::SequenceMean,
            "sequence-sum" => Self::SequenceSum,
            _ => match raw.length {
                Some(length) if length > 0 => Self::Constant { length },
                _ => {
                    return Err(OptimizerError::conflict(
                        "`algorithm.aggregation.length` must be 1 or more: `constant` divides by it",
                    ));
                }
            },
        })
    }
}
