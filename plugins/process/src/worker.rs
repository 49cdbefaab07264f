//! One running program, asked a line and answering a line.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines of standard error that an error repeats.
const LAST_WORDS: usize = 5;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    last_words: Arc<Mutex<VecDeque<String>>>,
}

impl Worker {
    /// Starts the program. An error completes the sentence "the program …".
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

        // A thread, since a pipe cannot be read with a timeout. It ends with the program.
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let heard = Arc::clone(&last_words);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                forage_reward_sdk::warn(&line);
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push_back(line);
                if heard.len() > LAST_WORDS {
                    heard.pop_front();
                }
            }
        });
        Ok(Self { child, stdin, lines, last_words })
    }

    /// Writes a line and waits for one.
    pub(crate) fn ask(&mut self, request: &str, timeout: Duration) -> Result<String, String> {
        let mut stdin = self.stdin.take().ok_or("no longer listens")?;
        let line = format!("{request}\n");
        // On a thread too: a program that does not read blocks whoever writes more than a pipe.
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
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("gave no answer within {} s{}", timeout.as_secs_f64(), self.said()))
            }
            Err(RecvTimeoutError::Disconnected) => {
                let how = self.child.wait().map_or_else(|err| err.to_string(), |it| it.to_string());
                // What it wrote last may still be on its way.
                thread::sleep(Duration::from_millis(50));
                Err(format!("ended without an answer ({how}){}", self.said()))
            }
        }
    }

    fn said(&self) -> String {
        let last_words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        if last_words.is_empty() {
            return String::new();
        }
        let lines: Vec<&str> = last_words.iter().map(String::as_str).collect();
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
