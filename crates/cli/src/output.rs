//! Standard output: what a command found, for people and programs. Messages go to standard error.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::Context;

/// Writes to standard output; returns whether anybody reads on.
///
/// A reader that has seen enough, as `head` does, is no error: a command does what it was asked to,
/// and its exit code says how that went. One that does nothing but print may end.
pub fn print(text: &str) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to standard output"),
    }
}

/// The same with a line break.
pub fn print_line(line: impl Display) -> anyhow::Result<bool> {
    print(&format!("{line}\n"))
}
