//! Distillation targets: the texts that the teacher reads, and the tokens that are distilled.

use forage_trajectory::TokenId;

/// Distillation target of one trajectory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DistillationTarget {
    /// Texts that the teacher reads: one, or one a query.
    pub texts: Vec<TeacherText>,
    /// Distilled tokens, text by text: indices into the trained tokens of the trajectory.
    pub distilled: Vec<usize>,
    /// Whether the answer of the trajectory is correct.
    pub is_correct: bool,
}

/// Text that the teacher reads: prompt, hindsight block and trajectory, up to the last distilled
/// token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeacherText {
    /// All tokens.
    pub tokens: Vec<TokenId>,
    /// Positions of the distilled tokens, in ascending order.
    pub at: Vec<usize>,
}

/// Distillation targets of a group.
#[derive(Debug, Clone, Default)]
pub struct DistillationTargets {
    /// One a trajectory. `None` where there is nothing to distill: no query, no hindsight block, a
    /// trajectory that failed, or a teacher that would read more than the model can.
    pub targets: Vec<Option<DistillationTarget>>,
    /// Trajectories that are not distilled because block and trajectory exceed the model's
    /// positions.
    pub n_too_long: usize,
}
