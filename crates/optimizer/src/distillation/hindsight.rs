//! Hindsight block: the trajectories that the teacher reads, and their labels.

use forage_trajectory::Stream;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::error::OptimizerError;
use crate::ranges::below_one;

/// Hindsight block: `algorithm.self_distillation.hindsight` of a run file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HindsightConfig {
    /// Content of an entry. Default: `queries`.
    pub content: HindsightContent,
    /// Label of an entry. Default: `true`.
    pub labels: HindsightLabels,
    /// Trajectories in the block. Default: `all`.
    pub members: HindsightMembers,
    /// ρ, in [0, 1): a trajectory is correct if the F1 of its answer is above this. Default: 0.
    pub threshold: f64,
}

/// Content of an entry of the hindsight block. Default: `queries`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HindsightContent {
    /// The queries of the trajectory only ("future masking").
    #[default]
    Queries,
    /// Queries, thoughts, documents and answer.
    Everything,
    /// No block of the group: for each query of the distilled trajectory, the documents that its
    /// search found. No label tells whether a trajectory was correct.
    Documents,
}

/// Label of an entry of the hindsight block. Default: `true`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HindsightLabels {
    /// CORRECT or INCORRECT.
    #[default]
    True,
    /// No label.
    None,
    /// The labels of the block, in random order.
    Shuffled,
}

/// Trajectories in the hindsight block. Default: `all`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HindsightMembers {
    /// All trajectories of the group, the distilled one included.
    #[default]
    All,
    /// The correct trajectories of the group.
    Correct,
    /// The distilled trajectory only.
    Focal,
    /// All trajectories of the group but the distilled one.
    Others,
    /// The trajectories of another question of the step, with their own labels: a control, which
    /// should teach nothing. A step of one question has none.
    OtherQuestion,
}

impl HindsightConfig {
    pub(crate) fn check(&self) -> Result<(), OptimizerError> {
        below_one("algorithm.self_distillation.hindsight.threshold", self.threshold)?;
        let conflict = |key: &str, why: &str| {
            let problem = format!("`algorithm.self_distillation.hindsight.{key}` {why}");
            Err(OptimizerError::conflict(problem))
        };
        let labels_correct =
            self.labels != HindsightLabels::None || self.members == HindsightMembers::Correct;
        if self.content == HindsightContent::Documents {
            let default = Self::default();
            let given = [
                ("labels", self.labels != default.labels),
                ("members", self.members != default.members),
                ("threshold", self.threshold > default.threshold),
            ];
            if let Some((key, _)) = given.iter().find(|it| it.1) {
                let why = "is not used with `content = \"documents\"`, only with `queries` and \
                           `everything`: what a search found is there, and no trajectory";
                return conflict(key, why);
            }
        } else if self.threshold > 0.0 && !labels_correct {
            let why = "is not used with `labels = \"none\"`, unless `members` is `correct`: no \
                       label says which trajectories are correct";
            return conflict("threshold", why);
        } else if self.labels == HindsightLabels::Shuffled
            && matches!(self.members, HindsightMembers::Correct | HindsightMembers::Focal)
        {
            let why = "cannot be `shuffled` where `members` is `correct` or `focal`: all labels of \
                       the block are alike, and no order changes them";
            return conflict("labels", why);
        }
        Ok(())
    }
}

/// Entries of the hindsight block of trajectory `focal`: the index of each trajectory in it, in
/// ascending order, and its label, true for correct. The label is `None` with
/// [`HindsightLabels::None`]. [`HindsightContent::Documents`] has no such block. With
/// [`HindsightMembers::OtherQuestion`] the trajectories are those of another group.
///
/// `f1`: F1 of the answer of each of these trajectories; `None` for a failed trajectory, which is
/// in no block. `stream`: the random numbers of shuffled labels.
///
/// The block may be empty (no correct trajectory, or a group of one without itself): teacher and
/// student then read the same, and the loss is 0.
pub fn hindsight_block(
    config: &HindsightConfig,
    f1: &[Option<f64>],
    focal: usize,
    stream: Stream,
) -> Vec<(usize, Option<bool>)> {
    let correct = |f1: f64| f1 > config.threshold;
    let is_member = |member: usize, f1: f64| match config.members {
        HindsightMembers::All | HindsightMembers::OtherQuestion => true,
        HindsightMembers::Correct => correct(f1),
        HindsightMembers::Focal => member == focal,
        HindsightMembers::Others => member != focal,
    };
    let entries = f1.iter().enumerate().filter_map(|(member, f1)| f1.map(|f1| (member, f1)));
    let (members, mut labels): (Vec<usize>, Vec<bool>) = entries
        .filter(|(member, f1)| is_member(*member, *f1))
        .map(|(member, f1)| (member, correct(f1)))
        .unzip();
    if config.labels == HindsightLabels::Shuffled {
        labels.shuffle(&mut stream.rng());
    }
    let label = |correct: bool| (config.labels != HindsightLabels::None).then_some(correct);
    members.into_iter().zip(labels).map(|(member, correct)| (member, label(correct))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_change_nothing_are_errors() {
        let read = |text: &str| toml::from_str::<HindsightConfig>(text).unwrap().check();
        let fine = [
            "",
            "threshold = 0.5",
            "content = 'documents'",
            "labels = 'none'\nmembers = 'correct'\nthreshold = 0.5",
            "labels = 'shuffled'\nthreshold = 0.5",
            "labels = 'shuffled'\nmembers = 'others'",
            "content = 'everything'\nlabels = 'none'\nmembers = 'focal'",
        ];
        for text in fine {
            assert_eq!(read(text), Ok(()), "{text}");
        }
        let alike = "hindsight.labels` cannot be `shuffled` where";
        let documents = "is not used with `content = \"documents\"`";
        for (text, expected) in [
            ("labels = 'shuffled'\nmembers = 'focal'", alike),
            ("labels = 'shuffled'\nmembers = 'correct'", alike),
            ("labels = 'none'\nthreshold = 0.5", "threshold` is not used with `labels = \"none\"`"),
            ("labels = 'none'\nmembers = 'others'\nthreshold = 0.5", "unless `members`"),
            ("content = 'documents'\nlabels = 'none'", documents),
            ("content = 'documents'\nmembers = 'others'", documents),
            ("content = 'documents'\nthreshold = 0.1", documents),
            ("threshold = 1.0", "must be at least 0 and below 1"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_coefficient_may_be_nothing_and_not_less() {
        let read = |coefficient| crate::DistillationConfig { coefficient, ..Default::default() };
        assert_eq!(read(0.0).check(), Ok(()));
        assert!(read(0.0).coefficient_at(1_000) == 0.0);
        let error = read(-1.0).check().unwrap_err().to_string();
        assert!(error.contains("self_distillation.coefficient` is -1, but must be 0 or more"));
    }
}
