//! What can end a whole call of [`run_episodes`](crate::run_episodes).

use forage_trajectory::BoxError;

/// Why no trajectory could be played.
///
/// A search that fails is not among these: it ends its own trajectory only.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// A value of the `[rollout]` section does not work.
    #[error("`rollout.{key}` {problem}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with its value, as the rest of the sentence.
        problem: String,
    },
    /// The policy gave an error.
    #[error("the policy could not {attempt}")]
    Policy {
        /// What it was asked for.
        attempt: String,
        /// Its error.
        #[source]
        source: BoxError,
    },
    /// The policy or the retriever broke the contract of its trait.
    #[error("the {who} {problem}")]
    Contract {
        /// `policy` or `retriever`.
        who: &'static str,
        /// What it did, as the rest of the sentence.
        problem: String,
    },
}

impl RolloutError {
    /// Wraps an error of the policy; for `map_err`.
    pub(crate) fn policy(attempt: impl Into<String>) -> impl FnOnce(BoxError) -> Self {
        let attempt = attempt.into();
        move |source| Self::Policy { attempt, source }
    }
}
