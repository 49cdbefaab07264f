//! What can be wrong with a configuration or a batch.

/// A setting that no optimizer can work with, or a batch whose parts do not fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptimizerError {
    /// A number is out of its range.
    #[error("`{key}` is {value}, but must be {must}")]
    Range {
        /// The key, with its section.
        key: String,
        /// What was given.
        value: f64,
        /// What it has to be, as the rest of the sentence.
        must: &'static str,
    },
    /// A name that nothing has.
    #[error("`{section}.name` is `{name}`, but must be one of {known}")]
    Unknown {
        /// Section of the key.
        section: &'static str,
        /// What was given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A key that the chosen algorithm would ignore.
    #[error("`{section}.{key}` is not used by `{name}`, only by {users}")]
    Unused {
        /// Section of the key.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// The chosen algorithm.
        name: String,
        /// The algorithms that use it.
        users: String,
    },
    /// Two settings that do not go together, or one that needs another.
    #[error("{problem}")]
    Conflict {
        /// The whole sentence; it names both keys.
        problem: String,
    },
    /// Numbers of a trajectory that do not fit each other.
    #[error("trajectory {trajectory} of the batch {problem}")]
    Batch {
        /// Its index.
        trajectory: usize,
        /// What is wrong, as the rest of the sentence.
        problem: String,
    },
}

impl OptimizerError {
    pub(crate) fn conflict(problem: impl Into<String>) -> Self {
        Self::Conflict { problem: problem.into() }
    }

    pub(crate) fn batch(trajectory: usize, problem: impl Into<String>) -> Self {
        Self::Batch { trajectory, problem: problem.into() }
    }
}
