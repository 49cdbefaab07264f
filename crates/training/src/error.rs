//! Errors of the training engine, one variant for each kind of failure that a caller can act on.
//!
//! Messages are lower-case fragments without a full stop; the cause is the source. Exit codes and
//! hints belong to the command line.

use std::path::{Path, PathBuf};

use forage_optimizer::OptimizerError;
use forage_rollout::RolloutError;
use forage_trajectory::BoxError;
use forage_world::WorldError;

use crate::optimizer_step::NonFinite;

/// Error of training, of a warm start or of an evaluation.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The run was stopped by its observer, after a checkpoint.
    #[error("interrupted; a checkpoint was written")]
    Stopped {
        /// The run's folder.
        run: PathBuf,
    },
    /// A section of the configuration does not fit the questions, the rewards or the model.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// Another process holds the run's folder.
    #[error("another run is at work in `{}`", run.display())]
    Busy {
        /// The run's folder.
        run: PathBuf,
    },
    /// The folder of a new run holds one already.
    #[error("`{}` already holds a run", run.display())]
    AlreadyARun {
        /// The run's folder.
        run: PathBuf,
    },
    /// A run cannot be resumed with another configuration.
    #[error("the run in `{}` was started with another configuration: {}", run.display(), differences.join("; "))]
    OtherConfiguration {
        /// The run's folder.
        run: PathBuf,
        /// The configuration it was started with.
        config: PathBuf,
        /// Keys that differ, each with both values: `training.lr` is 2 and was 1.
        differences: Vec<String>,
    },
    /// A file of the run cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A file of the run cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Cause.
        source: BoxError,
    },
    /// A file of the run does not hold what it should.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Fault of its content.
        source: BoxError,
    },
    /// A checkpoint cannot be loaded.
    #[error("checkpoint `{}` is damaged", path.display())]
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// Cause.
        source: BoxError,
    },
    /// The grader failed.
    #[error("the rewards of a step cannot be computed")]
    Reward(#[source] BoxError),
    /// The grader broke its contract of one grade a trajectory.
    #[error("the grader gave {n_grades} grades for {n_trajectories} trajectories")]
    Grades {
        /// Grades of a group.
        n_grades: usize,
        /// Its trajectories.
        n_trajectories: usize,
    },
    /// Rewards do not fit the advantage estimator.
    #[error("the advantages of a step cannot be computed")]
    Advantage(#[source] OptimizerError),
    /// No trajectory of a step could be completed, since the search engine failed.
    #[error("every trajectory of step {step} failed")]
    NoTrajectory {
        /// Step, from 1.
        step: u64,
        /// The first failure.
        source: BoxError,
    },
    /// The failure budget of the search engine is spent.
    #[error("the search server stopped answering in step {step}")]
    SearchStopped {
        /// Step, from 1.
        step: u64,
    },
    /// No question of an evaluation was answered, or only those without a search.
    #[error(
        "{n_failed} of {n_questions} questions of an evaluation failed: no search was answered"
    )]
    NoEvaluation {
        /// Questions whose search failed.
        n_failed: usize,
        /// Questions that were played until then.
        n_questions: usize,
        /// The first failure.
        source: BoxError,
    },
    /// The failure budget of the search engine was spent in an evaluation.
    #[error(
        "the search server stopped answering in an evaluation: {n_failed} of {n_questions} \
         questions failed"
    )]
    EvaluationStopped {
        /// Questions whose search failed.
        n_failed: usize,
        /// Questions that were played until then.
        n_questions: usize,
    },
    /// A search of a demonstration of the warm start failed.
    #[error("a demonstration of step {step} cannot be played")]
    Demonstration {
        /// Step, from 1.
        step: u64,
        /// The failure.
        source: BoxError,
    },
    /// No trajectory of some steps in a row could be scored.
    #[error("no trajectory of {n_steps} steps in a row could be scored")]
    NothingScored {
        /// Number of the steps.
        n_steps: u64,
        /// Reason of the first failure in the last of them.
        source: BoxError,
    },
    /// The agent loop failed.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    /// Training diverged.
    #[error(transparent)]
    Diverged(#[from] Diverged),
    /// The tokenizer or the model failed.
    #[error(transparent)]
    Model(BoxError),
    /// No search engine can be built over the passages of a generated world.
    #[error(transparent)]
    Index(BoxError),
}

/// Divergence of training.
#[derive(Debug, thiserror::Error)]
pub enum Diverged {
    /// The policy sampled from logits that are not finite.
    #[error("step {step} sampled from logits that are not finite")]
    Sampling {
        /// Step, from 1.
        step: u64,
    },
    /// The policy sampled from logits that are not finite, in an evaluation.
    #[error("the model's answer to question `{question}` has logits that are not finite")]
    Evaluation {
        /// Id of the question.
        question: String,
    },
    /// An update of the warm start is not finite.
    #[error("{}", non_finite.at(*step))]
    Update {
        /// Step, from 1.
        step: u64,
        /// Quantity that is not finite.
        non_finite: NonFinite,
    },
    /// Too many steps in a row had an update that was not finite.
    #[error("{n_steps} steps in a row could not be taken")]
    Skipped {
        /// Their number.
        n_steps: u64,
        /// The first update of the last of them.
        source: NonFiniteUpdate,
    },
}

/// Update that was not finite, as the source of an error.
#[derive(Debug, thiserror::Error)]
#[error("{}", non_finite.at(*step))]
pub struct NonFiniteUpdate {
    /// Step, from 1.
    pub step: u64,
    /// Quantity that is not finite.
    pub non_finite: NonFinite,
}

/// Error of the configuration: a section that does not fit the questions, the rewards or the model.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A stage of the curriculum has no training question.
    #[error(
        "no training question has {hops} hops or fewer, as `training.curriculum` wants from step \
         {from} on"
    )]
    EmptyStage {
        /// The first step of the stage.
        from: u64,
        /// Its bound of hops.
        hops: usize,
    },
    /// The hops of no training question are known, so that the curriculum would do nothing.
    #[error(
        "`training.curriculum` goes by hops, and no training question says how many it has: none has \
         `evidence.steps`"
    )]
    UnknownHops,
    /// There is no training question.
    #[error("there is no training question")]
    NoQuestion,
    /// No reward applied to a question of some steps in a row.
    #[error("{} applied to no question of {n_steps} steps in a row", named(rewards))]
    NothingApplies {
        /// Names of the rewards; empty where the grader has none.
        rewards: Vec<String>,
        /// Number of the steps.
        n_steps: u64,
    },
    /// No step trained a token, from the first one on.
    #[error("the first {n_steps} steps trained no token: in every group the rewards are equal")]
    NothingTrained {
        /// Number of the steps.
        n_steps: u64,
    },
    /// The estimator needs a value for each search, and no reward gives any.
    #[error("no reward gives the searches of a trajectory a value, which {user}")]
    NoStepRewards {
        /// Key that needs them, as the end of a sentence.
        user: &'static str,
        /// Remedy beside another reward.
        otherwise: &'static str,
    },
    /// No prompt of an evaluation leaves a token for the policy.
    #[error(
        "the prompts of all {n_questions} questions of an evaluation take all tokens of a trajectory"
    )]
    NoPromptFits {
        /// Number of the questions.
        n_questions: usize,
    },
    /// The generated world cannot be made as configured.
    #[error("the world cannot be made")]
    World(#[source] WorldError),
    /// The shape of a fresh model is wrong.
    #[error("`model.fresh` is no model")]
    FreshModel(#[source] BoxError),
}

/// Rewards by name, as the beginning of a sentence.
fn named(rewards: &[String]) -> String {
    let names: Vec<String> = rewards.iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "the reward".to_owned(),
        [name] => format!("the reward {name}"),
        names => format!("the rewards {}", names.join(", ")),
    }
}

impl TrainingError {
    /// For `map_err`: a file or folder that cannot be written.
    pub fn write<E: Into<BoxError>>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source: source.into() }
    }

    /// For `map_err`: a file that does not hold what it should.
    pub fn damaged<E: Into<BoxError>>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Damaged { path, source: source.into() }
    }
}
