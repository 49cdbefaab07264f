//! What a run writes for people and programs to read back.

use std::collections::BTreeMap;

use forage_trajectory::{Grade, Group};
use serde::{Deserialize, Serialize};

/// A mean with its 95 % interval (bootstrap over questions).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean.
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
    /// How many questions.
    pub n: usize,
    /// Exact match.
    pub em: Interval,
    /// Token F1.
    pub f1: Interval,
    /// Executed searches a question, mean.
    pub searches: f64,
    /// Share of questions that ended with an answer.
    pub answered: f64,
}

/// One evaluation: `evaluations/step-000010-greedy.json` in the run's folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Optimizer steps taken before.
    pub step: u64,
    /// `greedy`, or `temperature 1`.
    pub sampling: String,
    /// Name of the question file.
    pub questions: String,
    /// `all` first, then by hops.
    pub rows: Vec<EvaluationRow>,
}

/// What the rewards said of one trajectory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GradeRecord {
    /// The reward, where there is one.
    pub reward: Option<f64>,
    /// Why there is none, where it failed.
    pub failure: Option<String>,
    /// `<reward>/<part>`.
    pub parts: BTreeMap<String, f64>,
    /// A value for each executed search, where the reward has them.
    pub steps: Vec<f64>,
    /// The group advantage, in training.
    pub advantage: Option<f64>,
}

/// One line of `trajectories/step-000010.jsonl.zst`: a group and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Optimizer steps taken before.
    pub step: u64,
    /// `train`, `greedy` or `sampled`.
    pub split: String,
    /// The question and its trajectories.
    pub group: Group,
    /// One a trajectory.
    pub grades: Vec<GradeRecord>,
}

impl GradeRecord {
    /// The record of a grade.
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
    /// The record of a training group. `advantages`: one a trajectory, `None` where it is not in
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
