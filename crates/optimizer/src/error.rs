//! Errors of this crate.

/// Invalid setting of a run file, or a batch with inconsistent numbers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptimizerError {
    /// A number outside its range.
    #[error("`{key}` is {value}, but must be {must}")]
    Range {
        /// Key with its section, such as `algorithm.loss.clip_low`.
        key: String,
        /// The number in the run file.
        value: f64,
        /// The range, as the end of the sentence.
        must: &'static str,
    },
    /// A value of another type than the key has, or a table that cannot be read.
    #[error("`{key}` cannot be read: {problem}")]
    Value {
        /// Key with its section.
        key: String,
        /// Message of the deserializer.
        problem: String,
    },
    /// A name that no algorithm of the section has.
    #[error("`{section}.name` is `{name}`, but must be one of {known}")]
    UnknownName {
        /// Section of the key, such as `algorithm.advantage`.
        section: &'static str,
        /// The name in the run file.
        name: String,
        /// The names of the section, as a list for people.
        known: String,
    },
    /// A section without `name`.
    #[error("`{section}.name` is missing, which must be one of {known}")]
    MissingName {
        /// Section of the key.
        section: &'static str,
        /// The names of the section, as a list for people.
        known: String,
    },
    /// A key of another algorithm of the same section.
    #[error("`{section}.{key}` is not used by `{name}`, only by {users}")]
    UnusedKey {
        /// Section of the key.
        section: &'static str,
        /// The key, without its section.
        key: String,
        /// The chosen algorithm.
        name: String,
        /// The algorithms that have the key, as a list for people.
        users: String,
    },
    /// A key that no algorithm of the section has.
    #[error("unknown field `{key}` in `{section}`: `{name}` has {known}")]
    UnknownKey {
        /// Section of the key.
        section: &'static str,
        /// The key, without its section.
        key: String,
        /// The chosen algorithm.
        name: String,
        /// The keys that this algorithm has, as a list for people.
        known: String,
    },
    /// A key without a default that is missing.
    #[error("`{section}.{key}` is missing, which `{name}` is about")]
    MissingKey {
        /// Section of the key.
        section: &'static str,
        /// The key, without its section.
        key: String,
        /// The chosen algorithm.
        name: String,
    },
    /// Two settings that exclude each other, or one that needs another.
    #[error("{problem}")]
    Conflict {
        /// The whole message, which names both keys.
        problem: String,
    },
    /// A trajectory with inconsistent numbers.
    #[error("trajectory {trajectory} of the batch {problem}")]
    Batch {
        /// Index of the trajectory.
        trajectory: usize,
        /// The problem, as the end of the sentence.
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
