//! Expected failures: what a person reads, and the exit code a script reads.
//!
//! Library errors say what happened. Where the binary knows the mend, it adds a [`Failure`] to
//! the chain: a sentence, an exit code and a hint.

use std::fmt;
use std::process::ExitCode;

/// The documented exit codes. 1, a bug, is every error without a [`Failure`] in its chain.
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

/// A link of an error chain that carries an exit code and, often, a hint.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with a message: a lower-case fragment without a full stop.
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
    let failure = error.downcast_ref::<Failure>();
    for (depth, link) in error.chain().enumerate() {
        let prefix = if depth == 0 { "error" } else { "caused by" };
        eprintln!("{prefix}: {link}");
    }
    if let Some(hint) = failure.and_then(|it| it.hint.as_ref()) {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(failure.map_or(1, |it| it.code as u8))
}
