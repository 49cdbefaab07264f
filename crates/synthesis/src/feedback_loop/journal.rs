//! Journal: the append-only log of finished steps, from which a run resumes.
//!
//! A line is a [`JournalEvent`] in JSON; the first describes the run. [`Journal::append`] returns
//! when the line is on the disk, so a process that is killed at any moment loses only the steps
//! that were under way, and those are made again with the same random numbers. Threads that append
//! at the same time share one synchronization.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::error::FeedbackLoopError;
use super::event::JournalEvent;
use super::record::ItemRecord;
use super::roles::Proposal;
use super::verdict::Attempt;
use crate::chat::Usage;

/// Finished steps of an item that has not ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Unfinished {
    /// By round: the proposal, or the reason why there is none.
    pub(crate) proposals: BTreeMap<usize, Result<Proposal, String>>,
    /// Attempts by round and run.
    pub(crate) attempts: BTreeMap<(usize, usize), Attempt>,
    /// Usage so far.
    pub(crate) usage: Usage,
}

/// Content of a journal when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) finished: BTreeMap<u64, ItemRecord>,
    pub(crate) unfinished: HashMap<u64, Unfinished>,
    /// Results of the closed-book filter by item: whether any run was right, and the usage.
    pub(crate) guessed: BTreeMap<u64, (bool, Usage)>,
    pub(crate) used: Usage,
}

/// Open journal. Shared by many threads; only one process may have it open.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    state: Mutex<WriteState>,
    synced: Condvar,
    held: Mutex<Held>,
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
    /// Byte offsets of the lines of each item.
    lines: HashMap<u64, Vec<u64>>,
}

impl Journal {
    /// Opens a journal, or begins one. `run` describes the run: seed, settings, corpus; a journal
    /// is resumed only with an equal description.
    ///
    /// A last line that was cut short by a kill is removed.
    ///
    /// # Errors
    ///
    /// [`FeedbackLoopError::Journal`], [`FeedbackLoopError::Damaged`] for any other line that
    /// cannot be read, and [`FeedbackLoopError::OtherRun`].
    pub fn open(path: &Path, run: &Value) -> Result<Self, FeedbackLoopError> {
        let failed = |source| FeedbackLoopError::Journal { path: path.to_owned(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .append(true)
            .open(path)
            .map_err(failed)?;
        let mut held = Held::default();
        let mut lines: HashMap<u64, Vec<u64>> = HashMap::new();
        let mut begun = false;
        let length = each_event(path, &file, |offset, event| {
            if let JournalEvent::Run(found) = &event {
                begun = true;
                return if found == run {
                    Ok(())
                } else {
                    Err(FeedbackLoopError::OtherRun {
                        path: path.to_owned(),
                        key: difference(found, run),
                    })
                };
            }
            if !begun {
                let problem = "it does not say what run it is of".to_owned();
                return Err(FeedbackLoopError::Damaged { path: path.to_owned(), line: 1, problem });
            }
            if let Some(index) = event.index() {
                lines.entry(index).or_default().push(offset);
            }
            held.take(event);
            Ok(())
        })?;
        file.set_len(length).map_err(failed)?;
        let state =
            WriteState { written: length, safe: length, syncing: false, broken: None, lines };
        let journal = Self {
            path: path.to_owned(),
            file,
            state: Mutex::new(state),
            synced: Condvar::new(),
            held: Mutex::new(held),
        };
        if !begun {
            journal.append(&JournalEvent::Run(run.clone()))?;
            // The name of a new file is on the disk when its folder is.
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                File::open(folder).and_then(|it| it.sync_all()).map_err(failed)?;
            }
        }
        Ok(journal)
    }

    /// Appends an event, and returns when it is on the disk.
    pub fn append(&self, event: &JournalEvent) -> Result<(), FeedbackLoopError> {
        self.append_all(std::slice::from_ref(event))
    }

    /// Appends several events, and returns when they are on the disk.
    pub fn append_all(&self, events: &[JournalEvent]) -> Result<(), FeedbackLoopError> {
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

    /// Path of the journal.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All events of an item, in their order, read from the file.
    pub fn events_of(&self, index: u64) -> Result<Vec<JournalEvent>, FeedbackLoopError> {
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

    /// Steps that were finished before the journal was opened.
    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, WriteState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: io::Error) -> FeedbackLoopError {
        FeedbackLoopError::Journal { path: self.path.clone(), source }
    }
}

impl Held {
    /// A killed process may have made a step twice only if it was not on the disk the first time,
    /// so the first line of a step is the only one.
    fn take(&mut self, event: JournalEvent) {
        self.used += event.usage();
        match event {
            JournalEvent::Run(_) => {}
            JournalEvent::Proposed { index, round, proposal, usage } => {
                let item = self.unfinished.entry(index).or_default();
                item.proposals.insert(round, proposal);
                item.usage += usage;
            }
            JournalEvent::Tried { index, round, member, attempt, usage } => {
                let item = self.unfinished.entry(index).or_default();
                item.attempts.insert((round, member), attempt);
                item.usage += usage;
            }
            JournalEvent::Guessed { index, right, usage } => {
                self.guessed.insert(index, (right, usage));
            }
            JournalEvent::Done { record, .. } => {
                self.unfinished.remove(&record.index);
                self.finished.insert(record.index, record);
            }
        }
    }
}

/// Calls `each` with every event and the byte offset of its line; returns the length of all whole
/// lines.
fn each_event(
    path: &Path,
    file: &File,
    mut each: impl FnMut(u64, JournalEvent) -> Result<(), FeedbackLoopError>,
) -> Result<u64, FeedbackLoopError> {
    let failed = |source| FeedbackLoopError::Journal { path: path.to_owned(), source };
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
        let event = serde_json::from_slice(&line).map_err(|err| FeedbackLoopError::Damaged {
            path: path.to_owned(),
            line: number,
            problem: err.to_string(),
        })?;
        each(offset, event)?;
        offset += length;
    }
    Ok(offset)
}

/// The first key in which two descriptions of runs differ, as `a.b`.
fn difference(found: &Value, wanted: &Value) -> String {
    let (Value::Object(found), Value::Object(wanted)) = (found, wanted) else {
        return String::new();
    };
    let keys = found.keys().chain(wanted.keys());
    for key in keys {
        let (one, other) = (found.get(key), wanted.get(key));
        if one != other {
            let within = match (one, other) {
                (Some(one), Some(other)) => difference(one, other),
                _ => String::new(),
            };
            return if within.is_empty() { key.clone() } else { format!("{key}.{within}") };
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proposed(index: u64, round: usize) -> JournalEvent {
        let usage = Usage { calls: 1, prompt_tokens: 10, ..Usage::default() };
        JournalEvent::Proposed { index, round, proposal: Ok(Proposal::default()), usage }
    }

    #[test]
    fn what_was_appended_is_held_when_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let run = json!({"seed": 1});
        let journal = Journal::open(&path, &run).unwrap();
        std::thread::scope(|scope| {
            for index in 0..8 {
                let journal = &journal;
                scope.spawn(move || {
                    for round in 0..3 {
                        journal.append(&proposed(index, round)).unwrap();
                    }
                });
            }
        });
        assert_eq!(journal.events_of(5).unwrap(), [0, 1, 2].map(|it| proposed(5, it)));
        drop(journal);

        let journal = Journal::open(&path, &run).unwrap();
        assert_eq!(journal.held().unfinished.len(), 8);
        assert_eq!(journal.held().unfinished[&3].proposals.len(), 3);
        assert_eq!(journal.held().used.prompt_tokens, 240);
        assert_eq!(journal.events_of(5).unwrap(), [0, 1, 2].map(|it| proposed(5, it)));
        assert_eq!(journal.events_of(99).unwrap(), []);
    }

    #[test]
    fn a_line_cut_short_is_removed_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let run = json!({"seed": 1, "settings": {"tries": 4}});
        let journal = Journal::open(&path, &run).unwrap();
        journal.append(&proposed(0, 0)).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();

        for cut in 1..30 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let journal = Journal::open(&path, &run).unwrap();
            assert!(journal.held().unfinished.is_empty());
            journal.append(&proposed(0, 0)).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole, "{cut}");
        }

        std::fs::write(&path, [b"what?\n", whole.as_slice()].concat()).unwrap();
        let error = Journal::open(&path, &run).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");

        std::fs::write(&path, &whole).unwrap();
        let other = json!({"seed": 1, "settings": {"tries": 5}});
        let error = Journal::open(&path, &other).unwrap_err().to_string();
        assert!(error.contains("`settings.tries`"), "{error}");
    }
}
