//! Errors of worlds and questions.

use crate::entity::Split;
use crate::shape::QuestionShape;

/// World or a set of questions that cannot be made as configured.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WorldError {
    /// A split is too small to link its entities.
    #[error("split `{split}` has {asked} entities, fewer than the {least} it takes to link them")]
    TooFewEntities {
        /// The split.
        split: Split,
        /// The configured number of entities.
        asked: usize,
        /// The least number that can be linked.
        least: usize,
    },
    /// A share of the world is not between 0 and 1.
    #[error("`{key}` is {share}, not a share")]
    Share {
        /// Its key.
        key: &'static str,
        /// Its value.
        share: f64,
    },
    /// The mix contradicts itself.
    #[error("question mix: {0}")]
    Mix(&'static str),
    /// A perturbation is not a probability.
    #[error("habit `{key}` is {value}, not a probability")]
    Perturbation {
        /// Its key.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// A split is to have no questions.
    #[error("`world.questions.{split}` is 0")]
    ZeroQuestions {
        /// The split.
        split: Split,
    },
    /// No question of this shape was found in many attempts.
    #[error("split `{split}` has no {shape} question")]
    NoQuestion {
        /// The split.
        split: Split,
        /// The shape.
        shape: QuestionShape,
    },
    /// The split is too small for so many distinct questions.
    #[error("split `{split}` has no more distinct {shape} questions after {made} of {asked}")]
    Exhausted {
        /// The split.
        split: Split,
        /// The shape that ran out.
        shape: QuestionShape,
        /// Number of questions that were made before.
        made: usize,
        /// Number of questions that were asked for.
        asked: usize,
    },
}
