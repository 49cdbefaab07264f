//! Journal: the log of finished steps, from which a run resumes.
//!
//! A line is a [`JournalEvent`] in JSON; the first describes the run. A process that is killed at
//! any moment loses only the steps that were under way, and those are made again with the same
//! random numbers.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::event::JournalEvent;
use super::record::ItemRecord;
use super::roles::Proposal;
use super::verdict::Attempt;
use crate::chat::Usage;
use crate::event_log::{EventLog, LogError};

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
    log: EventLog<JournalEvent>,
    held: Mutex<Held>,
}

impl Journal {
    /// Opens a journal, or begins one. `run` describes the run: seed, settings, corpus; a journal
    /// is resumed only with an equal description.
    ///
    /// # Errors
    ///
    /// See [`EventLog::open`].
    pub fn open(path: &Path, run: &Value) -> Result<Self, LogError> {
        let mut held = Held::default();
        let log = EventLog::open(path, run, |event| held.take(event))?;
        Ok(Self { log, held: Mutex::new(held) })
    }

    /// Appends an event, and returns when it is on the disk.
    pub fn append(&self, event: &JournalEvent) -> Result<(), LogError> {
        self.log.append(event)
    }

    /// Appends several events, and returns when they are on the disk.
    pub fn append_all(&self, events: &[JournalEvent]) -> Result<(), LogError> {
        self.log.append_all(events)
    }

    /// Path of the journal.
    pub fn path(&self) -> &Path {
        self.log.path()
    }

    /// All events of an item, in their order, read from the file.
    pub fn events_of(&self, index: u64) -> Result<Vec<JournalEvent>, LogError> {
        self.log.events_of(index)
    }

    /// Steps that were finished before the journal was opened.
    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
