//! Errors of the feedback loop.

use std::io;

use super::roles::StepError;
use crate::config_error::ConfigError;
use crate::event_log::LogError;

/// Feedback loop that cannot start, or that ended before all items were done.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackLoopError {
    /// A key of the run file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The journal cannot be read or written, or is of another run.
    #[error(transparent)]
    Journal(#[from] LogError),
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
