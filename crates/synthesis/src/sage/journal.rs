//! The append-only record of a run: whatever was finished is in it, and nothing else.
//!
//! A line is an [`Event`] in JSON; the first says what the run is. [`Journal::append`] returns when
//! the line is on the disk, so a process that is killed at any moment loses no more than the steps
//! that it was in the middle of, and those are made again with the same random numbers. Threads
//! that append at the same time share one synchronization.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Attempt, Item, ItemRecord, Proposal, SageError, Usage};

/// Something that was finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The first line: what the run is. A run is resumed with the same only.
    Run(Value),
    /// A pair was made, or could not be.
    Proposed {
        /// Index of the item.
        index: u64,
        /// The round.
        round: usize,
        /// The proposal, or why there is none.
        proposal: Result<Proposal, String>,
        /// What it took.
        #[serde(default, skip_serializing_if = "Usage::is_nothing")]
        usage: Usage,
    },
    /// A pair was tried once, and the answer was judged.
    Tried {
        /// Index of the item.
        index: u64,
        /// The round.
        round: usize,
        /// Which of the K runs.
        member: usize,
        /// What came of it.
        attempt: Attempt,
        /// What it took.
        #[serde(default, skip_serializing_if = "Usage::is_nothing")]
        usage: Usage,
    },
    /// A question was tried without searching.
    Guessed {
        /// Index of the item.
        index: u64,
        /// Whether any run was right.
        right: bool,
        /// What it took.
        #[serde(default, skip_serializing_if = "Usage::is_nothing")]
        usage: Usage,
    },
    /// An item has ended.
    Done {
        /// What it was to be like.
        item: Item,
        /// What became of it.
        record: ItemRecord,
    },
}

impl Event {
    fn index(&self) -> Option<u64> {
        match self {
            Self::Run(_) => None,
            Self::Proposed { index, .. }
            | Self::Tried { index, .. }
            | Self::Guessed { index, .. } => Some(*index),
            Self::Done { record, .. } => Some(record.index),
        }
    }

    fn usage(&self) -> Usage {
        match self {
            Self::Proposed { usage, .. }
            | Self::Tried { usage, .. }
            | Self::Guessed { usage, .. } => *usage,
            Self::Run(_) | Self::Done { .. } => Usage::default(),
        }
    }
}

/// What is known of an item that has not ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Unfinished {
    /// By round: the proposal, or why there is none.
    pub(crate) proposals: BTreeMap<usize, Result<Proposal, String>>,
    /// By round and run.
    pub(crate) attempts: BTreeMap<(usize, usize), Attempt>,
    /// What it took so far.
    pub(crate) usage: Usage,
}

/// What a journal held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) finished: BTreeMap<u64, ItemRecord>,
    pub(crate) unfinished: HashMap<u64, Unfinished>,
    /// Whether questions were guessed, and what that took.
    pub(crate) guessed: BTreeMap<u64, (bool, Usage)>,
    pub(crate) used: Usage,
}

/// An opened journal. Shared by many threads; only one process may have it open.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    state: Mutex<State>,
    synced: Condvar,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct State {
    /// Bytes that were written.
    written: u64,
    /// Bytes that are on the disk.
    safe: u64,
    /// Whether a thread is synchronizing.
    syncing: bool,
    /// Why nothing can be appended any more.
    broken: Option<io::ErrorKind>,
    /// Where the lines of each item begin.
    lines: HashMap<u64, Vec<u64>>,
}

impl Journal {
    /// Opens a journal, or begins one. `run` is whatever a run must not be resumed without being:
    /// seed, settings, corpus.
    ///
    /// A last line that was cut short by a kill is removed. A line that cannot be read anywhere
    /// else, and a journal of another run, are errors.
    pub fn open(path: &Path, run: &Value) -> Result<Self, SageError> {
        let failed = |source| SageError::Journal { path: path.to_owned(), source };
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
            if let Event::Run(found) = &event {
                begun = true;
                return if found == run {
                    Ok(())
                } else {
                    Err(SageError::OtherRun { path: path.to_owned(), key: difference(found, run) })
                };
            }
            if !begun {
                let problem = "it does not say what run it is of".to_owned();
                return Err(SageError::Damaged { path: path.to_owned(), line: 1, problem });
            }
            if let Some(index) = event.index() {
                lines.entry(index).or_default().push(offset);
            }
            held.take(event);
            Ok(())
        })?;
        file.set_len(length).map_err(failed)?;
        let state = State { written: length, safe: length, syncing: false, broken: None, lines };
        let journal = Self {
            path: path.to_owned(),
            file,
            state: Mutex::new(state),
            synced: Condvar::new(),
            held: Mutex::new(held),
        };
        if !begun {
            journal.append(&Event::Run(run.clone()))?;
            // The name of a new file is on the disk when its folder is.
            if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
                File::open(folder).and_then(|it| it.sync_all()).map_err(failed)?;
            }
        }
        Ok(journal)
    }

    /// Appends an event, and returns when it is on the disk.
    pub fn append(&self, event: &Event) -> Result<(), SageError> {
        self.append_all(std::slice::from_ref(event))
    }

    /// The same for several events at once.
    pub fn append_all(&self, events: &[Event]) -> Result<(), SageError> {
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All events of an item, in their order, read from the disk.
    pub fn events_of(&self, index: u64) -> Result<Vec<Event>, SageError> {
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

    /// What was finished before it was opened.
    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: io::Error) -> SageError {
        SageError::Journal { path: self.path.clone(), source }
    }
}

impl Held {
    /// A killed process may have made a step twice only if it was not on the disk the first time,
    /// so the first line of a step is the only one.
    fn take(&mut self, event: Event) {
        self.used += event.usage();
        match event {
            Event::Run(_) => {}
            Event::Proposed { index, round, proposal, usage } => {
                let item = self.unfinished.entry(index).or_default();
                item.proposals.insert(round, proposal);
                item.usage += usage;
            }
            Event::Tried { index, round, member, attempt, usage } => {
                let item = self.unfinished.entry(index).or_default();
                item.attempts.insert((round, member), attempt);
                item.usage += usage;
            }
            Event::Guessed { index, right, usage } => {
                self.guessed.insert(index, (right, usage));
            }
            Event::Done { record, .. } => {
                self.unfinished.remove(&record.index);
                self.finished.insert(record.index, record);
            }
        }
    }
}

/// Calls `each` with every event and where its line begins; returns the length of all whole lines.
fn each_event(
    path: &Path,
    file: &File,
    mut each: impl FnMut(u64, Event) -> Result<(), SageError>,
) -> Result<u64, SageError> {
    let failed = |source| SageError::Journal { path: path.to_owned(), source };
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
        let event = serde_json::from_slice(&line).map_err(|err| SageError::Damaged {
            path: path.to_owned(),
            line: number,
            problem: err.to_string(),
        })?;
        each(offset, event)?;
        offset += length;
    }
    Ok(offset)
}

/// The first key that two descriptions of runs differ in, `a.b`.
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

    fn proposed(index: u64, round: usize) -> Event {
        let usage = Usage { calls: 1, prompt_tokens: 10, ..Usage::default() };
        Event::Proposed { index, round, proposal: Ok(Proposal::default()), usage }
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
