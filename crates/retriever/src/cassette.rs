//! Record and replay of searches, on disk and across runs.
//!
//! The members of a group, and a run that is repeated, see the same results, whatever the engine
//! would find the second time. A run can be replayed without the engine. Equal searches at the same
//! time are made once (single flight).
//!
//! The file is JSON lines, `{"source", "k", "query", "hits"}`; only the offsets of lines are held
//! in memory. Lines are appended whole; what a killed run left of a last line is cut off. Searches
//! that failed are not recorded.

use std::collections::HashMap;
use std::error::Error;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use forage_trajectory::{Hit, Retriever, SearchError};
use serde::{Deserialize, Serialize};

/// Record of the searches of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordConfig {
    /// File of the record.
    pub file: PathBuf,
    /// Mode: record or replay.
    pub mode: RecordMode,
}

/// Record mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordMode {
    /// Record: searches that are not in the record are made and recorded.
    Record,
    /// Replay: searches that are not in the record fail. No engine is needed.
    Replay,
}

/// Unusable record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// File that cannot be read or written.
    #[error("cannot {action} the recorded searches `{}`", path.display())]
    File {
        /// `open`, `read`, `write`, …
        action: &'static str,
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Line that is no recorded search.
    #[error("{}:{line}: not a recorded search", path.display())]
    Line {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Cause.
        source: serde_json::Error,
    },
    /// File that another process records into.
    #[error("another run records into `{}`", path.display())]
    Busy {
        /// File.
        path: PathBuf,
    },
    /// Search of a replayed run that is not in the record.
    #[error("it is not among the recorded searches in `{}`", path.display())]
    Missing {
        /// File.
        path: PathBuf,
    },
    /// Engine that panicked, or gave another number of answers than queries.
    #[error("the search engine broke off")]
    BrokenOff,
}

/// Retriever with recorded searches. Callers that search for the same at the same time share one
/// search.
pub struct Recorded {
    /// Engine that is recorded; none where a record is replayed.
    engine: Option<Box<dyn Retriever>>,
    /// Name of engine and settings, which tells their searches from those of others.
    source: String,
    /// Name that older records have for it, if it is another one.
    older_source: Option<String>,
    log: Mutex<Log>,
    in_flight: Mutex<HashMap<Key, Arc<InFlight>>>,
}

/// Key of a search: a hash of source, k and query.
type Key = u128;
/// Answer that several callers share.
type Shared = Result<Vec<Hit>, Arc<dyn Error + Send + Sync>>;

/// Recorded search: a line of the file.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    source: std::borrow::Cow<'a, str>,
    k: usize,
    query: std::borrow::Cow<'a, str>,
    hits: Vec<Hit>,
}

/// Search in flight.
#[derive(Default)]
struct InFlight {
    answer: Mutex<Option<Shared>>,
    completed: Condvar,
}

/// Caller that makes a search in flight. One that is dropped before it completes has crashed.
struct Leader<'a> {
    recorded: &'a Recorded,
    key: Key,
    search: Arc<InFlight>,
}

impl Recorded {
    /// Records the searches of an engine. `source` names engine and settings: searches of one
    /// source are not replayed for another.
    pub fn record(
        engine: Box<dyn Retriever>,
        source: impl Into<String>,
        file: &Path,
    ) -> Result<Self, RecordError> {
        let log = Log::open(file, RecordMode::Record)?;
        Ok(Self::over(Some(engine), source.into(), log))
    }

    /// Replays recorded searches.
    pub fn replay(source: impl Into<String>, file: &Path) -> Result<Self, RecordError> {
        Ok(Self::over(None, source.into(), Log::open(file, RecordMode::Replay)?))
    }

    fn over(engine: Option<Box<dyn Retriever>>, source: String, log: Log) -> Self {
        let (log, in_flight) = (Mutex::new(log), Mutex::default());
        Self { engine, source, older_source: None, log, in_flight }
    }

    /// The same, which also finds the searches that were recorded under another name of engine and
    /// settings.
    #[must_use]
    pub fn with_older_source(self, source: impl Into<String>) -> Self {
        Self { older_source: Some(source.into()), ..self }
    }

    /// Recorded hits of a search.
    fn recorded(&self, query: &str, k: usize) -> Result<Option<Vec<Hit>>, RecordError> {
        let mut log = lock(&self.log);
        match (log.get(self.key(query, k))?, &self.older_source) {
            (None, Some(source)) => log.get(key(source, query, k)),
            (found, _) => Ok(found),
        }
    }

    /// Number of recorded searches.
    pub fn len(&self) -> usize {
        lock(&self.log).lines.len()
    }

    /// Whether no search is recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn key(&self, query: &str, k: usize) -> Key {
        key(&self.source, query, k)
    }

    /// Becomes the leader of a search, or joins one that is in flight.
    fn join(&self, key: Key) -> Result<Leader<'_>, Arc<InFlight>> {
        let mut in_flight = lock(&self.in_flight);
        if let Some(search) = in_flight.get(&key) {
            return Err(Arc::clone(search));
        }
        let search = Arc::<InFlight>::default();
        in_flight.insert(key, Arc::clone(&search));
        Ok(Leader { recorded: self, key, search })
    }

    /// Makes searches and records them.
    fn find(&self, queries: &[&str], k: usize) -> Vec<Shared> {
        let Some(engine) = &self.engine else {
            let path = lock(&self.log).path.clone();
            let missing = || RecordError::Missing { path: path.clone() };
            return queries.iter().map(|_| Err(Arc::new(missing()) as _)).collect();
        };
        let mut found = engine.search(queries, k).into_iter();
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            let answer = found.next().unwrap_or_else(|| {
                let source = RecordError::BrokenOff.into();
                Err(SearchError { query: (*query).to_owned(), source })
            });
            let recorded = answer.map_err(|error| Arc::from(error.source)).and_then(|hits| {
                let line = Line { source: (&self.source).into(), k, query: (*query).into(), hits };
                let written = lock(&self.log).append(self.key(query, k), &line);
                written.map(|()| line.hits).map_err(|error| Arc::new(error) as _)
            });
            answers.push(recorded);
        }
        answers
    }
}

impl Retriever for Recorded {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let mut answers: HashMap<&str, Option<Shared>> = HashMap::new();
        let (mut leading, mut joined) = (Vec::new(), Vec::new());
        for &query in queries {
            if answers.insert(query, None).is_some() {
                continue;
            }
            match self.join(self.key(query, k)) {
                Ok(leader) => match self.recorded(query, k) {
                    Ok(Some(hits)) => {
                        leader.complete(Ok(hits.clone()));
                        answers.insert(query, Some(Ok(hits)));
                    }
                    Ok(None) => leading.push((query, leader)),
                    Err(error) => {
                        let answer: Shared = Err(Arc::new(error));
                        leader.complete(answer.clone());
                        answers.insert(query, Some(answer));
                    }
                },
                Err(search) => joined.push((query, search)),
            }
        }
        let asked: Vec<&str> = leading.iter().map(|it| it.0).collect();
        if !asked.is_empty() {
            for ((query, leader), answer) in leading.into_iter().zip(self.find(&asked, k)) {
                leader.complete(answer.clone());
                answers.insert(query, Some(answer));
            }
        }
        // Only now, when no caller waits for this call, may it wait for others.
        for (query, search) in joined {
            answers.insert(query, Some(search.wait()));
        }
        let answer = |&query: &&str| {
            let answer = answers[query].clone().expect("every query was answered above");
            answer.map_err(|error| SearchError { query: query.to_owned(), source: error.into() })
        };
        queries.iter().map(answer).collect()
    }
}

impl Leader<'_> {
    fn complete(self, answer: Shared) {
        self.search.complete(answer);
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        lock(&self.recorded.in_flight).remove(&self.key);
        self.search.complete(Err(Arc::new(RecordError::BrokenOff)));
    }
}

impl InFlight {
    /// Sets the answer; the first one counts.
    fn complete(&self, answer: Shared) {
        lock(&self.answer).get_or_insert(answer);
        self.completed.notify_all();
    }

    fn wait(&self) -> Shared {
        let mut answer = lock(&self.answer);
        loop {
            if let Some(answer) = &*answer {
                return answer.clone();
            }
            answer = self.completed.wait(answer).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// File of recorded searches.
struct Log {
    path: PathBuf,
    file: File,
    /// Offset of the next line.
    end: u64,
    /// Offset and length of lines.
    lines: HashMap<Key, (u64, u32)>,
}

impl Log {
    fn open(path: &Path, mode: RecordMode) -> Result<Self, RecordError> {
        let failed = |action| {
            let path = path.to_owned();
            move |source| RecordError::File { action, path, source }
        };
        let record = mode == RecordMode::Record;
        let file = OpenOptions::new()
            .read(true)
            .write(record)
            .create(record)
            .truncate(false)
            .open(path)
            .map_err(failed("open"))?;
        let locked = if record { file.try_lock() } else { file.try_lock_shared() };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(RecordError::Busy { path: path.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        let mut log = Self { path: path.to_owned(), file, end: 0, lines: HashMap::new() };
        log.index().map_err(|error| match error {
            Ok((line, source)) => RecordError::Line { path: path.to_owned(), line, source },
            Err(error) => failed("read")(error),
        })?;
        if record {
            log.file.set_len(log.end).map_err(failed("write"))?;
        }
        Ok(log)
    }

    /// Indexes all whole lines.
    fn index(&mut self) -> Result<(), Result<(u64, serde_json::Error), io::Error>> {
        let mut reader = BufReader::new(&self.file);
        let (mut text, mut n_lines) = (Vec::new(), 0);
        loop {
            text.clear();
            let n = reader.read_until(b'\n', &mut text).map_err(Err)?;
            if text.last() != Some(&b'\n') {
                return Ok(());
            }
            n_lines += 1;
            let line: Line<'_> = serde_json::from_slice(without_mark(&text))
                .map_err(|error| Ok((n_lines, error)))?;
            let key = key(&line.source, &line.query, line.k);
            self.lines.entry(key).or_insert((self.end, n as u32));
            self.end += n as u64;
        }
    }

    fn get(&mut self, key: Key) -> Result<Option<Vec<Hit>>, RecordError> {
        let Some(&(start, length)) = self.lines.get(&key) else { return Ok(None) };
        let mut read = || {
            let mut text = vec![0; length as usize];
            self.file.seek(SeekFrom::Start(start))?;
            self.file.read_exact(&mut text)?;
            let line: Line<'_> = serde_json::from_slice(without_mark(&text))?;
            Ok(Some(line.hits))
        };
        read().map_err(|source| self.failed("read", source))
    }

    fn append(&mut self, key: Key, line: &Line<'_>) -> Result<(), RecordError> {
        if self.lines.contains_key(&key) {
            return Ok(());
        }
        let mut text = serde_json::to_vec(line).expect("texts and finite numbers are JSON");
        text.push(b'\n');
        let write = |file: &mut File| {
            file.seek(SeekFrom::Start(self.end))?;
            file.write_all(&text)
        };
        write(&mut self.file).map_err(|source| self.failed("write", source))?;
        self.lines.insert(key, (self.end, text.len() as u32));
        self.end += text.len() as u64;
        Ok(())
    }

    fn failed(&self, action: &'static str, source: io::Error) -> RecordError {
        RecordError::File { action, path: self.path.clone(), source }
    }
}

fn key(source: &str, query: &str, k: usize) -> Key {
    let mut hasher = blake3::Hasher::new();
    for part in [source, query] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.update(&(k as u64).to_le_bytes());
    let hash = hasher.finalize();
    let (half, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u128::from_le_bytes(*half)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line without the byte-order mark that an editor may have put before it.
fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}
