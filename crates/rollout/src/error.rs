//! Errors of a rollout, which end a whole call of [`run_episodes`](crate::run_episodes).

use forage_trajectory::BoxError;

/// Error of a rollout.
///
/// A search that fails is not one of them: it ends its own trajectory only.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// Invalid value in the `[rollout]` section.
    #[error("`rollout.{key}` {problem}")]
    Config {
        /// Key in the section.
        key: &'static str,
        /// Problem with the value, as the rest of the sentence.
        problem: String,
    },
    /// Error of the policy.
    #[error("the policy could not {attempt}")]
    Policy {
        /// Task that failed, such as `generate turn 0`.
        attempt: String,
        /// Error that the policy returned.
        #[source]
        source: BoxError,
    },
    /// Breach of the contract of a trait by the policy or the retriever.
    #[error("the {engine} {problem}")]
    Contract {
        /// `policy` or `retriever`.
        engine: &'static str,
        /// Breach, as the rest of the sentence.
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
