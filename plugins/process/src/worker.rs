//! Worker: one running program, which reads and writes lines.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Number of last lines of standard error that an error message repeats.
const STDERR_LINES: usize = 5;
/// Length limit of a line of standard output, in bytes.
const LINE_BYTES: u64 = 64 << 20;

/// Running program, which is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Result<String, String>>,
    last_stderr: Arc<Mutex<VecDeque<String>>>,
}

impl Worker {
    /// Starts the program.
    ///
    /// # Errors
    ///
    /// The rest of the sentence "the program …".
    pub(crate) fn start(command: &[String]) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("has no name")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|err| format!("could not be started: {err}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("has no standard output")?;
        let stderr = child.stderr.take().ok_or("has no standard error")?;

        // A thread, because a pipe cannot be read with a timeout. It ends with the program.
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            // After a line that is none, nothing can be trusted.
            while let Some(line) = read_line(&mut stdout) {
                let is_bad = line.is_err();
                if sender.send(line).is_err() || is_bad {
                    break;
                }
            }
        });
        let last_stderr = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&last_stderr);
        thread::spawn(move || {
            // In any encoding: a program whose standard error nobody reads may wait for ever.
            for line in BufReader::new(stderr).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                forage_reward_sdk::warn(&line);
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_back(line);
                if kept.len() > STDERR_LINES {
                    kept.pop_front();
                }
            }
        });
        Ok(Self { child, stdin, lines, last_stderr })
    }

    /// Writes a line and waits for the reply, a line too.
    ///
    /// # Errors
    ///
    /// The rest of the sentence "the program …".
    pub(crate) fn ask(&mut self, request: &str, timeout: Duration) -> Result<String, String> {
        // A line that nobody asked for would be taken for the reply to this request.
        if let Ok(line) = self.lines.try_recv() {
            let start: String = line?.chars().take(200).collect();
            return Err(format!("wrote a line that is no reply to a group: `{start}`"));
        }
        let mut stdin = self.stdin.take().ok_or("no longer listens")?;
        let line = format!("{request}\n");
        // On a thread too: writing more than a pipe holds blocks until the program reads.
        let (sender, written) = channel();
        thread::spawn(move || {
            let result = stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush());
            drop(sender.send(result.map(|()| stdin)));
        });
        match self.lines.recv_timeout(timeout) {
            Ok(reply) => {
                let reply = reply?;
                if let Ok(Ok(stdin)) = written.recv_timeout(timeout) {
                    self.stdin = Some(stdin);
                    return Ok(reply);
                }
                Err("answered before it had read the question".to_owned())
            }
            Err(RecvTimeoutError::Timeout) => Err(format!(
                "gave no answer within {} s{}",
                timeout.as_secs_f64(),
                self.last_stderr()
            )),
            Err(RecvTimeoutError::Disconnected) => {
                let how = self.end().map_or_else(
                    || "closed its standard output without an answer".to_owned(),
                    |how| format!("ended without an answer ({how})"),
                );
                Err(format!("{how}{}", self.last_stderr()))
            }
        }
    }

    /// How the program ended, which may be a moment after its output; `None` where it goes on.
    fn end(&mut self) -> Option<String> {
        const PAUSE: Duration = Duration::from_millis(50);
        const PAUSES: usize = 20;
        for _ in 0..PAUSES {
            // Its last lines may come later, too.
            thread::sleep(PAUSE);
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status.to_string()),
                Ok(None) => {}
                Err(error) => return Some(error.to_string()),
            }
        }
        None
    }

    /// Last lines of standard error, as the end of an error message.
    fn last_stderr(&self) -> String {
        let lines = self.last_stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return String::new();
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        format!("; it said: {}", lines.join(" / "))
    }
}

/// The next line; `None` at the end. An error is the rest of the sentence "the program …".
fn read_line(stdout: &mut impl BufRead) -> Option<Result<String, String>> {
    let mut line = Vec::new();
    let read = stdout.take(LINE_BYTES).read_until(b'\n', &mut line);
    if read.is_err() || line.is_empty() {
        return None;
    }
    if line.pop_if(|last| *last == b'\n').is_none() && line.len() as u64 == LINE_BYTES {
        return Some(Err(format!("wrote a line of more than {LINE_BYTES} bytes")));
    }
    line.pop_if(|last| *last == b'\r');
    Some(String::from_utf8(line).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let shown = &bytes[at.saturating_sub(20)..bytes.len().min(at + 20)];
        format!(
            "wrote bytes that are not UTF-8, at byte {at} of a line: `{}`",
            shown.escape_ascii()
        )
    }))
}

/// Checks that a program can be found, before it is needed: a path is a file, and a name stands in
/// one of the folders of `PATH`.
///
/// # Errors
///
/// The rest of the sentence "the program …".
pub(crate) fn find(program: &str) -> Result<(), String> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        let missing = || "is not a file; a path begins in the folder of the run".to_owned();
        return path.is_file().then_some(()).ok_or_else(missing);
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |folder: PathBuf| {
        folder.join(program).is_file()
            || folder.join(format!("{program}{}", std::env::consts::EXE_SUFFIX)).is_file()
    };
    let missing = || "is in none of the folders of `PATH`".to_owned();
    std::env::split_paths(&folders).any(is_there).then_some(()).ok_or_else(missing)
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that ended already cannot be killed, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
