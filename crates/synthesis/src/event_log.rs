//! Event log: an append-only file of JSON lines, from which a run resumes.
//!
//! The first line describes the run. [`EventLog::append`] returns when the line is on the disk, so
//! a process that is killed at any moment loses only the events that were under way. Threads that
//! append at the same time share one synchronization.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Event of a log: a line.
pub trait LogEvent: Serialize + DeserializeOwned {
    /// First line of a log, with the description of the run.
    fn of_run(run: Value) -> Self;

    /// Description of the run, if this is the first line.
    fn run(&self) -> Option<&Value>;

    /// Index of what the event is about; `None` for the first line.
    fn index(&self) -> Option<u64>;
}

/// Log that cannot be read or written, or is of another run.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The journal cannot be read or written.
    #[error("the journal `{path}` cannot be read or written")]
    Io {
        /// Path of the journal.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line of the journal is not a journal event.
    #[error("line {line} of the journal `{path}` is damaged: {problem}")]
    Damaged {
        /// Path of the journal.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The journal belongs to a run with other settings.
    #[error("the journal `{path}` is of another run: {}", differences.join("; "))]
    OtherRun {
        /// Path of the journal.
        path: PathBuf,
        /// Settings that differ, each with both values: `synthesis.seed` is 2 and was 1.
        differences: Vec<String>,
    },
}

/// Open event log. Shared by many threads; only one process may have it open.
#[derive(Debug)]
pub struct EventLog<E> {
    path: PathBuf,
    file: File,
    state: Mutex<WriteState>,
    synced: Condvar,
    event: PhantomData<fn(E)>,
}

#[derive(Debug)]
struct WriteState {
    /// Bytes that were written.
    written: u64,
    /// Bytes that are on the disk.
    safe: u64,
    /// Whether a thread is synchronizing the file.
    syncing: bool,
    /// The error after which nothing can be appended any more.
    broken: Option<io::ErrorKind>,
    /// Byte offsets of the lines of each index.
    lines: HashMap<u64, Vec<u64>>,
}

impl<E: LogEvent> EventLog<E> {
    /// Opens a log, or begins one. `run` describes the run: a log is resumed only with an equal
    /// description. `take` is called with every event that it holds, in their order.
    ///
    /// A last line that was cut short by a kill is removed.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`], [`LogError::Damaged`] for any other line that cannot be read, and
    /// [`LogError::OtherRun`].
    pub fn open(path: &Path, run: &Value, mut take: impl FnMut(E)) -> Result<Self, LogError> {
        let failed = |source| LogError::Io { path: path.to_owned(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .append(true)
            .open(path)
            .map_err(failed)?;
        let mut lines: HashMap<u64, Vec<u64>> = HashMap::new();
        let mut begun = false;
        let length = each_event(path, &file, |offset, event: E| {
            if let Some(found) = event.run() {
                begun = true;
                return if found == run {
                    Ok(())
                } else {
                    Err(LogError::OtherRun {
                        path: path.to_owned(),
                        differences: differences(found, run),
                    })
                };
            }
            if !begun {
                let problem = "it does not say what run it is of".to_owned();
                return Err(LogError::Damaged { path: path.to_owned(), line: 1, problem });
            }
            if let Some(index) = event.index() {
                lines.entry(index).or_default().push(offset);
            }
            take(event);
            Ok(())
        })?;
        file.set_len(length).map_err(failed)?;
        let state =
            WriteState { written: length, safe: length, syncing: false, broken: None, lines };
        let log = Self {
            path: path.to_owned(),
            file,
            state: Mutex::new(state),
            synced: Condvar::new(),
            event: PhantomData,
        };
        if !begun {
            log.append(&E::of_run(run.clone()))?;
            // The name of a new file is on the disk when its folder is.
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                File::open(folder).and_then(|it| it.sync_all()).map_err(failed)?;
            }
        }
        Ok(log)
    }

    /// Appends an event, and returns when it is on the disk.
    pub fn append(&self, event: &E) -> Result<(), LogError> {
        self.append_all(std::slice::from_ref(event))
    }

    /// Appends several events, and returns when they are on the disk.
    pub fn append_all(&self, events: &[E]) -> Result<(), LogError> {
        let mut bytes = Vec::new();
        let mut starts = Vec::with_capacity(events.len());
        for event in events {
            starts.push((event.index(), bytes.len() as u64));
            serde_json::to_writer(&mut bytes, event).map_err(|err| self.failed(err.into()))?;
            bytes.push(b'\n');
        }
        let mut state = self.state();
        if let Some(kind) = state.broken {
            return Err(self.failed(kind.into()));
        }
        if let Err(err) = (&self.file).write_all(&bytes) {
            // What was half written must stay the last line.
            state.broken = Some(err.kind());
            return Err(self.failed(err));
        }
        for (index, start) in starts {
            let offset = state.written + start;
            if let Some(index) = index {
                state.lines.entry(index).or_default().push(offset);
            }
        }
        state.written += bytes.len() as u64;
        let mine = state.written;
        while state.safe < mine {
            if let Some(kind) = state.broken {
                return Err(self.failed(kind.into()));
            }
            if state.syncing {
                state = self.synced.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            // This thread synchronizes for all that have written until now.
            state.syncing = true;
            let upto = state.written;
            drop(state);
            let done = self.file.sync_data();
            state = self.state();
            state.syncing = false;
            match done {
                Ok(()) => state.safe = upto,
                Err(err) => {
                    state.broken = Some(err.kind());
                    self.synced.notify_all();
                    return Err(self.failed(err));
                }
            }
            self.synced.notify_all();
        }
        Ok(())
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All events of an index, in their order, read from the file.
    pub fn events_of(&self, index: u64) -> Result<Vec<E>, LogError> {
        let lines = self.state().lines.get(&index).cloned().unwrap_or_default();
        let mut reader = BufReader::new(File::open(&self.path).map_err(|err| self.failed(err))?);
        let mut events = Vec::with_capacity(lines.len());
        let mut text = String::new();
        for offset in lines {
            text.clear();
            let read =
                reader.seek(SeekFrom::Start(offset)).and_then(|_| reader.read_line(&mut text));
            read.map_err(|err| self.failed(err))?;
            let event = serde_json::from_str(&text).map_err(|err| self.failed(err.into()))?;
            events.push(event);
        }
        Ok(events)
    }

    fn state(&self) -> MutexGuard<'_, WriteState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: io::Error) -> LogError {
        LogError::Io { path: self.path.clone(), source }
    }
}

/// Calls `each` with every event and the byte offset of its line; returns the length of all whole
/// lines.
fn each_event<E: LogEvent>(
    path: &Path,
    file: &File,
    mut each: impl FnMut(u64, E) -> Result<(), LogError>,
) -> Result<u64, LogError> {
    let failed = |source| LogError::Io { path: path.to_owned(), source };
    let mut reader = BufReader::new(file.try_clone().map_err(failed)?);
    reader.rewind().map_err(failed)?;
    let mut offset = 0;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let length = reader.by_ref().read_until(b'\n', &mut line).map_err(failed)? as u64;
        if line.last() != Some(&b'\n') {
            // The end, or a line that was cut short.
            break;
        }
        let event = serde_json::from_slice(&line).map_err(|err| LogError::Damaged {
            path: path.to_owned(),
            line: number,
            problem: err.to_string(),
        })?;
        each(offset, event)?;
        offset += length;
    }
    Ok(offset)
}

/// Longest value that a difference quotes, in characters.
const LONGEST: usize = 80;

/// Settings in which two descriptions of runs differ, each with both values.
fn differences(found: &Value, wanted: &Value) -> Vec<String> {
    let mut all = Vec::new();
    collect_differences("", Some(found), Some(wanted), &mut all);
    all
}

fn collect_differences(
    key: &str,
    before: Option<&Value>,
    now: Option<&Value>,
    into: &mut Vec<String>,
) {
    if before == now {
        return;
    }
    let (Some(Value::Object(one)), Some(Value::Object(other))) = (before, now) else {
        into.push(format!("`{key}` is {} and was {}", quoted(now), quoted(before)));
        return;
    };
    let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        collect_differences(&key, one.get(name), other.get(name), into);
    }
}

/// Value as JSON, cut where it is long.
fn quoted(value: Option<&Value>) -> String {
    let Some(value) = value else { return "not given".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
