//! What the teacher reads: which trajectories stand in the hindsight block, and as what.

use forage_trajectory::Stream;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::options::below_one;

/// The hindsight block: `algorithm.self_distillation.hindsight` of a run file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HindsightConfig {
    /// What stands there of a trajectory.
    #[serde(default)]
    pub content: Content,
    /// Whether it says how each trajectory ended.
    #[serde(default)]
    pub labels: Labels,
    /// Whose trajectories stand there.
    #[serde(default)]
    pub members: Members,
    /// ρ: a trajectory is correct if the F1 of its answer is above this.
    #[serde(default)]
    pub threshold: f64,
}

/// What stands in the block of a trajectory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Its searches only ("future masking").
    #[default]
    Queries,
    /// Thoughts, documents and answer too.
    Everything,
    /// No block of the group: for each query, what that search went on to find, of the taught
    /// trajectory alone. Nothing says how any trajectory ended.
    Documents,
}

/// Whether the block says how a trajectory ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// CORRECT or INCORRECT.
    #[default]
    True,
    /// Nothing.
    None,
    /// The labels of the block, dealt out at random.
    Shuffled,
}

/// Whose trajectories stand in the block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Members {
    /// Of the whole group, the taught one included.
    #[default]
    All,
    /// Of those that were correct.
    Correct,
    /// Of the taught one only.
    Focal,
    /// Of all but the taught one.
    Others,
}

impl HindsightConfig {
    pub(crate) fn check(&self) -> Result<(), OptimizerError> {
        below_one("algorithm.self_distillation.hindsight.threshold", self.threshold)?;
        let conflict = |key: &str, why: &str| {
            let problem = format!("`algorithm.self_distillation.hindsight.{key}` {why}");
            Err(OptimizerError::conflict(problem))
        };
        let says_who = self.labels != Labels::None || self.members == Members::Correct;
        if self.content == Content::Documents {
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
        } else if self.threshold > 0.0 && !says_who {
            let why = "is not used with `labels = \"none\"`, unless `members` is `correct`: nothing \
                       says who is";
            return conflict("threshold", why);
        } else if self.labels == Labels::Shuffled
            && matches!(self.members, Members::Correct | Members::Focal)
        {
            let why = "cannot be `shuffled` where `members` is `correct` or `focal`: all labels of \
                       the block are alike, and no order changes them";
            return conflict("labels", why);
        }
        Ok(())
    }
}

/// The entries of the block that teaches trajectory `focal`: its members in order, each with
/// whether it is called correct, or `None` where nothing is said. [`Content::Documents`] has no
/// such block.
///
/// `f1`: of the answer of each trajectory of the group; `None` for one that failed, which is never
/// in a block. `stream`: names the random numbers of shuffled labels.
///
/// The block may be empty (no correct trajectory, or a group of one without itself): the teacher is
/// then the student, and teaches nothing.
pub fn hindsight(
    config: &HindsightConfig,
    f1: &[Option<f64>],
    focal: usize,
    stream: Stream,
) -> Vec<(usize, Option<bool>)> {
    let correct = |f1: f64| f1 > config.threshold;
    let stands = |member: usize, f1: f64| match config.members {
        Members::All => true,
        Members::Correct => correct(f1),
        Members::Focal => member == focal,
        Members::Others => member != focal,
    };
    let entries = f1.iter().enumerate().filter_map(|(member, f1)| f1.map(|f1| (member, f1)));
    let (members, mut labels): (Vec<usize>, Vec<bool>) = entries
        .filter(|(member, f1)| stands(*member, *f1))
        .map(|(member, f1)| (member, correct(f1)))
        .unzip();
    if config.labels == Labels::Shuffled {
        labels.shuffle(&mut stream.rng());
    }
    let label = |it: bool| (config.labels != Labels::None).then_some(it);
    members.into_iter().zip(labels).map(|(member, it)| (member, label(it))).collect()
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
