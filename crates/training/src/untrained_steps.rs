//! Steps without a trained token: a warning for the first of a row, and an error for a row of them
//! in which nothing was scored.
//!
//! Such a step has one of two causes. Either no trajectory has a reward, because no reward applies
//! to the questions or all of them failed: a run of such steps trains on nothing, and ends. Or the
//! rewards of every group are equal, as at the end of a training that has learned all there is:
//! that is a warning only. A step of self-distillation without a query to distil is a warning too.
//! So are step rewards that the advantage estimator does not use.

use forage_trajectory::Grade;
use serde::Deserialize;

use crate::batch::Batch;
use crate::error::{ConfigurationError, TrainingError};
use crate::run::RunContext;
use crate::run_folder::RunFolder;
use crate::update::UpdateStats;

/// Steps in a row, up to the last one, that trained on nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UntrainedSteps {
    /// Steps without a trained token.
    untrained: u64,
    /// Whether any step of the run trained a token.
    has_trained: bool,
    /// Steps without a scored trajectory.
    unscored: u64,
    /// Steps of self-distillation without a distilled token.
    undistilled: u64,
    /// Whether the warning of unused step rewards was given.
    has_warned_of_steps: bool,
}

/// Past row of the metrics: the values that a resumed run needs.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct PastRow {
    #[serde(rename = "reward/mean")]
    reward: Option<f64>,
    #[serde(rename = "policy/trained_tokens")]
    n_trained: Option<usize>,
}

impl UntrainedSteps {
    /// Counts of a run that is resumed, from its metrics so far.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Damaged`] where a row of the metrics cannot be read.
    pub fn resume(run: &RunFolder) -> Result<Self, TrainingError> {
        let mut counts = Self::default();
        for row in run.read_rows::<PastRow>("metrics.jsonl")? {
            // Row 0 has no step.
            let Some(n_trained) = row.n_trained else { continue };
            counts.count(n_trained == 0, row.reward.is_none());
        }
        Ok(counts)
    }

    /// Counts a step, and warns where it trains on nothing.
    ///
    /// # Errors
    ///
    /// Where nothing was scored in `training.skip_limit` steps in a row:
    /// [`TrainingError::NothingScored`] where a reward failed, and
    /// [`ConfigurationError::NothingApplies`] where none applies, which is one for all steps of a
    /// shorter run, too.
    pub fn watch(
        &mut self,
        context: &RunContext<'_>,
        step: u64,
        grades: &[Vec<Grade>],
        batch: &Batch,
        updates: &UpdateStats,
    ) -> Result<(), TrainingError> {
        self.watch_distillation(context, step, batch);
        self.watch_step_rewards(context, grades);
        let is_unscored = grades.iter().flatten().all(|grade| grade.reward().is_none());
        let is_untrained = updates.sums.n_tokens == 0 && updates.skipped.is_empty();
        self.count(is_untrained, is_unscored);
        if is_untrained {
            let cause = if is_unscored {
                cause_of_unscored(grades)
            } else {
                "the rewards of every group are equal".to_owned()
            };
            let message = format!("step {step} trained no token: {cause}");
            context.observer.warning(&message);
        }
        let training = &context.config.training;
        // A failure may be mended until the next step, and `tolerate` allows for some.
        let limit = match first_failure(grades) {
            Some(_) => training.skip_limit,
            None => training.skip_limit.min(training.steps),
        };
        if self.unscored >= limit {
            return Err(nothing_scored(self.unscored, grades, context.grader.names()));
        }
        // A run that has trained may stop to: once it is right everywhere, the rewards are equal.
        if !self.has_trained && self.untrained >= training.untrained_limit {
            return Err(ConfigurationError::NothingTrained { n_steps: self.untrained }.into());
        }
        Ok(())
    }

    fn count(&mut self, is_untrained: bool, is_unscored: bool) {
        self.untrained = if is_untrained { self.untrained + 1 } else { 0 };
        self.has_trained |= !is_untrained;
        self.unscored = if is_unscored { self.unscored + 1 } else { 0 };
    }

    /// Warns, once, of step rewards that the advantage estimator does not use.
    fn watch_step_rewards(&mut self, context: &RunContext<'_>, grades: &[Vec<Grade>]) {
        let has_steps =
            |grade: &Grade| matches!(grade, Grade::Scored(score) if !score.steps.is_empty());
        let is_unused = context.config.algorithm.advantage.step_scale().is_none();
        if is_unused && !self.has_warned_of_steps && grades.iter().flatten().any(has_steps) {
            self.has_warned_of_steps = true;
            context.observer.warning(
                "a reward gives the searches values of their own, which `algorithm.advantage` does \
                 not use: choose `step-gae` or `gigpo`, or add them to the reward where it can, as \
                 `step-search` does with `placement = \"outcome\"`",
            );
        }
    }

    /// Warns of the first step of self-distillation in a row that has nothing to distil.
    fn watch_distillation(&mut self, context: &RunContext<'_>, step: u64, batch: &Batch) {
        let mut trained = batch.groups.iter().flatten();
        let is_undistilled =
            batch.is_distilled && trained.all(|one| one.sample.distillation.is_none());
        self.undistilled = if is_undistilled { self.undistilled + 1 } else { 0 };
        if self.undistilled == 1 {
            let cause = if batch.n_too_long > 0 {
                "its teachers would read more than the model's positions"
            } else {
                "its trajectories have no query to distil, or no other to learn from"
            };
            let message = format!("step {step} distilled no token: {cause}");
            context.observer.warning(&message);
        }
    }
}

/// First failure of some grades.
fn first_failure(grades: &[Vec<Grade>]) -> Option<&str> {
    grades.iter().flatten().find_map(|grade| match grade {
        Grade::Failed(reason) => Some(reason.as_str()),
        Grade::Scored(_) | Grade::NotApplicable => None,
    })
}

fn cause_of_unscored(grades: &[Vec<Grade>]) -> String {
    match first_failure(grades) {
        Some(reason) => format!("no trajectory was scored; the first: {reason}"),
        None => "no reward applies to its questions".to_owned(),
    }
}

fn nothing_scored(n_steps: u64, grades: &[Vec<Grade>], rewards: Vec<String>) -> TrainingError {
    match first_failure(grades) {
        Some(reason) => TrainingError::NothingScored { n_steps, source: reason.to_owned().into() },
        None => ConfigurationError::NothingApplies { rewards, n_steps }.into(),
    }
}
