//! Error of a configuration value.

/// Key of the run file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {problem}")]
pub struct ConfigError {
    /// Key, with its section.
    pub key: &'static str,
    /// What is wrong with its value.
    pub problem: String,
}
