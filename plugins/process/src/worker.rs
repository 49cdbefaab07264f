//! Worker: one running program, which reads and writes lines.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Number of last lines of standard error that an error message repeats.
const STDERR_LINES: usize = 5;

/// Running program, which is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
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
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let last_stderr = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&last_stderr);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
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
            let start: String = line.chars().take(200).collect();
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
                let how = self.child.wait().map_or_else(|err| err.to_string(), |it| it.to_string());
                // Its last lines may not have been read yet.
                thread::sleep(Duration::from_millis(50));
                Err(format!("ended without an answer ({how}){}", self.last_stderr()))
            }
        }
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

impl Drop for Worker {
    fn drop(&mut self) {
        // One that ended already cannot be killed, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
