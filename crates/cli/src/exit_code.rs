//! Exit codes and hints of all expected failures.
//!
//! Errors of libraries say what happened. The program adds a [`Failure`] to the chain, with a
//! message, an exit code, and a hint where it knows what to do about it. Errors of the training
//! engine are mapped here, variant by variant.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use forage_reward::{PluginError, PluginErrorKind};
use forage_training::checkpoint::newest;
use forage_training::error::{ConfigurationError, Diverged, TrainingError};

use crate::output::message;

/// Exit code of an unexpected error.
const BUG: u8 = 1;

/// Exit code of an expected failure. Every other error exits with 1, as a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The command line or the run file is wrong.
    Usage = 2,
    /// An input is missing or unreadable, or an output cannot be written.
    Input = 3,
    /// A reward plugin could not be loaded or could not score.
    Plugin = 4,
    /// Training diverged.
    Diverged = 5,
    /// Interrupted, after a checkpoint.
    Interrupted = 130,
}

/// Link of an error chain with an exit code and, often, a hint.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: Code,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// Failure with a message: a lower-case fragment without a full stop.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Prints the chain to standard error and returns the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    for (depth, link) in error.chain().enumerate() {
        let prefix = if depth == 0 { "error" } else { "caused by" };
        message(format_args!("{prefix}: {link}"));
    }
    let failure = error.downcast_ref::<Failure>();
    let (code, hint) = match (failure, error.downcast_ref::<TrainingError>()) {
        (Some(failure), _) => (failure.code as u8, failure.hint.clone()),
        (None, Some(error)) => {
            let (code, hint) = of_training(error);
            (code.map_or(BUG, |code| code as u8), hint)
        }
        (None, None) => (BUG, None),
    };
    if let Some(hint) = hint {
        message(format_args!("hint: {hint}"));
    }
    ExitCode::from(code)
}

/// Exit code and hint of an error of the training engine; no code for a bug.
fn of_training(error: &TrainingError) -> (Option<Code>, Option<String>) {
    let (code, hint) = match error {
        TrainingError::Stopped { run } => (
            Code::Interrupted,
            Some(format!(
                "go on with the same command and `--resume` (the run is in `{}`)",
                run.display()
            )),
        ),
        TrainingError::Configuration(error) => (Code::Usage, of_configuration(error)),
        TrainingError::Busy { .. } => {
            (Code::Usage, Some("wait for it, or choose another folder with `--out`".to_owned()))
        }
        TrainingError::AlreadyARun { .. } => (
            Code::Usage,
            Some("go on with `--resume`, or choose another folder with `--out`".to_owned()),
        ),
        TrainingError::OtherConfiguration { run, config, .. } => {
            (Code::Usage, Some(of_another_configuration(run, config)))
        }
        TrainingError::Read { .. } => (Code::Input, None),
        TrainingError::Damaged { .. } => (
            Code::Input,
            Some("bring back the file, or begin the run anew in another folder".to_owned()),
        ),
        TrainingError::Write { path, .. } => (Code::Input, unwritable(path).hint),
        TrainingError::Checkpoint { .. } => {
            (Code::Input, Some("remove its folder to go on from the one before".to_owned()))
        }
        TrainingError::Reward(_) | TrainingError::Grades { .. } => (Code::Plugin, None),
        TrainingError::Advantage(_) => (
            Code::Plugin,
            Some("a reward with values of steps has one for each executed search".to_owned()),
        ),
        TrainingError::NoTrajectory { .. } => {
            (Code::Input, Some("the search engine did not answer; resume when it does".to_owned()))
        }
        TrainingError::SearchStopped { .. } => (
            Code::Input,
            Some(
                "its budget of failures is spent; go on with `--resume` when it answers again"
                    .to_owned(),
            ),
        ),
        TrainingError::NoEvaluation { .. } | TrainingError::EvaluationStopped { .. } => (
            Code::Input,
            Some(
                "try again when the search engine answers, or mend its address, dialect or token in \
                 `[retriever]`; a run goes on with `--resume` and makes the evaluation anew"
                    .to_owned(),
            ),
        ),
        TrainingError::Demonstration { .. } => {
            (Code::Input, Some("go on with `--resume` when the search engine answers".to_owned()))
        }
        TrainingError::NothingScored { .. } => (
            Code::Plugin,
            Some(
                "mend what the reward needs, such as a server, and go on with `--resume`"
                    .to_owned(),
            ),
        ),
        TrainingError::Diverged(Diverged::Evaluation { .. }) => (
            Code::Diverged,
            Some(
                "the weights of the model are damaged, or too large for `model.compute`".to_owned(),
            ),
        ),
        TrainingError::Diverged(_) => (
            Code::Diverged,
            Some("start again from the last checkpoint with a lower `optimizer.lr`".to_owned()),
        ),
        TrainingError::Rollout(_) | TrainingError::Model(_) | TrainingError::Index(_) => {
            return (None, None);
        }
    };
    (Some(code), hint)
}

/// Ways to go on from a run of another configuration.
fn of_another_configuration(run: &Path, config: &Path) -> String {
    let started =
        format!("`{}` is what it was started with: set these keys back to go on", config.display());
    match newest(run) {
        Some(checkpoint) => format!(
            "{started}, or start a new run from its checkpoint, with another `--out` and `--set \
             model.path={}`",
            checkpoint.display()
        ),
        None => format!("{started}, or choose another folder with `--out`"),
    }
}

fn of_configuration(error: &ConfigurationError) -> Option<String> {
    Some(match error {
        ConfigurationError::EmptyStage { .. } => {
            "begin with more hops, or generate easier questions too".to_owned()
        }
        ConfigurationError::UnknownHops => {
            "leave `training.curriculum` out, or give the questions `evidence.steps`, one a hop: \
             `forage data` reads them from published data sets"
                .to_owned()
        }
        ConfigurationError::NoPromptFits { .. } => "raise `rollout.max_tokens`".to_owned(),
        ConfigurationError::NothingTrained { .. } => {
            "begin with easier questions, larger groups, or a reward that differs more, such as one \
             with partial credit; step rewards count with `placement = \"outcome\"` or an \
             advantage that uses them; or raise `training.untrained_limit`"
                .to_owned()
        }
        ConfigurationError::NothingApplies { .. } => {
            "docs/rewards.md says what each reward needs of a question; `forage check` counts the \
             questions that have it"
                .to_owned()
        }
        ConfigurationError::NoStepRewards { otherwise, .. } => {
            format!("use a reward with values of steps, such as `step-search`, or {otherwise}")
        }
        ConfigurationError::World(_) => {
            "ask for more `world.entities` or for fewer `world.questions`".to_owned()
        }
        ConfigurationError::FreshModel(_) | ConfigurationError::NoQuestion => return None,
    })
}

/// An error of the engine, told as a plugin's where a plugin failed.
pub fn training_failure(error: TrainingError) -> anyhow::Error {
    match error {
        TrainingError::Reward(source) => match source.downcast::<PluginError>() {
            Ok(error) => plugin_failure(*error),
            Err(source) => TrainingError::Reward(source).into(),
        },
        error => error.into(),
    }
}

/// Failure of a file or folder that cannot be written, with the usual hint.
pub fn unwritable(path: &Path) -> Failure {
    Failure::new(Code::Input, format!("cannot write `{}`", path.display())).hint(
        "check free space and permissions; a run goes on from its last checkpoint with `--resume`",
    )
}

/// Error of a plugin with its exit code and hint. A copy that cannot be written is not the fault of
/// the plugin.
pub fn plugin_failure(error: PluginError) -> anyhow::Error {
    if let PluginErrorKind::Copy { to, .. } = error.kind() {
        let failure = unwritable(to);
        return anyhow::Error::new(error).context(failure);
    }
    let failure = Failure::new(Code::Plugin, "a reward plugin failed");
    let failure = Failure { hint: plugin_hint(&error), ..failure };
    anyhow::Error::new(error).context(failure)
}

fn plugin_hint(error: &PluginError) -> Option<String> {
    error.hint().or_else(|| match error.kind() {
        PluginErrorKind::Open(_) => Some(
            "a plugin is a shared library for this system: is the file whole, and built here?"
                .to_owned(),
        ),
        PluginErrorKind::Refused(_) => {
            Some("the plugin's documentation says what its `config` may hold, and what a program or server answers".to_owned())
        }
        _ => None,
    })
}
