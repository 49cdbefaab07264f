//! Standard output: the results of a command. Messages go to standard error.
//!
//! A reader that has closed either of them, as `head` does, is no error.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

/// Writes to standard output. Returns whether it is still read.
///
/// A reader that has closed it, as `head` does, is no error: the command finishes, and its exit
/// code is that of its work. A command that only prints may end.
pub fn print(text: &str) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to standard output"),
    }
}

/// Writes a message to standard error, as a line. One that nobody reads is lost.
pub fn message(line: impl Display) {
    prompt(format_args!("{line}\n"));
}

/// Writes a message to standard error, the first time that it is told: files are read before a run
/// and again by it.
pub fn message_once(line: impl Display) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let line = line.to_string();
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.insert(line.clone()) {
        message(line);
    }
}

/// Writes a message to standard error without the end of a line. One that nobody reads is lost.
pub fn prompt(text: impl Display) {
    let mut stderr = io::stderr().lock();
    // There is no other place to tell of it.
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// Writes a line to standard output, like [`print()`].
pub fn print_line(line: impl Display) -> anyhow::Result<bool> {
    print(&format!("{line}\n"))
}
