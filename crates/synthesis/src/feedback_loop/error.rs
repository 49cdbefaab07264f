//! Errors of the feedback loop.

use std::io;
use std::path::PathBuf;

use super::roles::StepError;
use crate::config_error::ConfigError;

/// Feedback loop that cannot start, or that ended before all items were done.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackLoopError {
    /// A key of the run file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The journal cannot be read or written.
    #[error("the journal `{path}` cannot be read or written")]
    Journal {
        /// Path of the journal.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line of the journal is not a journal event.
    #[error("line {line} of the journal `{path}` is damaged: {problem}")]
    Damaged {
        /// Path of the journal.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The journal belongs to a run with other settings.
    #[error("the journal `{path}` is of another run: {}", differences.join("; "))]
    OtherRun {
        /// Path of the journal.
        path: PathBuf,
        /// Settings that differ, each with both values: `synthesis.seed` is 2 and was 1.
        differences: Vec<String>,
    },
    /// The threads for so many items cannot be started.
    #[error("{asked} threads cannot be started")]
    Threads {
        /// Number of threads that were asked for.
        asked: usize,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A step could not be made. Every finished step is in the journal.
    #[error("the synthesis stopped")]
    Stopped(#[source] StepError),
    /// The stop flag was set. Every finished step is in the journal.
    #[error("the synthesis was interrupted")]
    Interrupted,
}
