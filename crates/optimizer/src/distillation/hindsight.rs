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
        below_one("algorithm.self_distillation.hindsight.threshold", self.threshold).map(|_| ())
    }
}

/// The entries of the block that teaches trajectory `focal`: its members in order, each with
/// whether it is called correct, or `None` where nothing is said.
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
