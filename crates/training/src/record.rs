//! Records of a run: the evaluations and trajectories that it writes, and reports read back.

use std::collections::BTreeMap;

use forage_trajectory::{Grade, Group};
use serde::{Deserialize, Serialize};

/// Mean with its 95 % confidence interval (bootstrap over questions).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Evaluation of one kind of question.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRow {
    /// `all`, or a number of hops, or `?` where the evidence lists no steps.
    pub name: String,
    /// Number of questions that the means are over.
    pub n: usize,
    /// Number of further questions without a result, since a search failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: usize,
    /// Number of further questions that were not asked, since their prompt leaves no token for the
    /// policy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub prompt_too_long: usize,
    /// Exact match.
    pub em: Interval,
    /// Token F1.
    pub f1: Interval,
    /// Executed searches a question, mean.
    pub searches: f64,
    /// Share of questions that ended with an answer.
    pub answered: f64,
}

/// Evaluation: `evaluations/step-000010-greedy.json` in the run's folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Training steps taken before.
    pub step: u64,
    /// `greedy`, or `temperature 1`.
    pub sampling: String,
    /// Name of the question file.
    pub questions: String,
    /// `all` first, then by hops. A number of hops of which no question has a result has no row.
    pub rows: Vec<EvaluationRow>,
}

/// Grade of a trajectory, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GradeRecord {
    /// Reward, where there is one.
    pub reward: Option<f64>,
    /// Reason of a failure, where the reward could not be computed.
    pub failure: Option<String>,
    /// `<reward>/<part>`.
    pub parts: BTreeMap<String, f64>,
    /// Step rewards, one for each executed search, where the reward has them.
    pub steps: Vec<f64>,
    /// Mean advantage of the policy's tokens, in training.
    pub advantage: Option<f64>,
}

/// Group with its grades: a line of `trajectories/step-000010.jsonl.zst`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Training steps taken before.
    pub step: u64,
    /// `train`, `greedy` or `sampled`.
    pub split: String,
    /// Question and its trajectories.
    pub group: Group,
    /// Grades, one a trajectory.
    pub grades: Vec<GradeRecord>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl GradeRecord {
    /// Record of a grade, with the mean advantage of the policy's tokens.
    pub fn new(grade: &Grade, advantage: Option<f64>) -> Self {
        let empty = Self { advantage, ..Self::default() };
        match grade {
            Grade::Scored(score) => Self {
                reward: Some(score.reward),
                parts: score.parts.clone(),
                steps: score.steps.clone(),
                ..empty
            },
            Grade::NotApplicable => empty,
            Grade::Failed(reason) => Self { failure: Some(reason.clone()), ..empty },
        }
    }
}

impl GroupRecord {
    /// Record of a training group. `advantages`: one a trajectory, `None` where it is not in
    /// the loss; groups that are not trained have none.
    pub fn of_training(
        step: u64,
        group: &Group,
        grades: &[Grade],
        advantages: Option<&[Option<f64>]>,
    ) -> Self {
        let advantage = |idx: usize| advantages.and_then(|advantages| advantages[idx]);
        let records = grades.iter().enumerate();
        Self {
            step,
            split: "train".to_owned(),
            group: group.clone(),
            grades: records.map(|(idx, grade)| GradeRecord::new(grade, advantage(idx))).collect(),
        }
    }
}
