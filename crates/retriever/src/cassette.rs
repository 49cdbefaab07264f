//! Remembers what a search engine found, on disk and across runs.
//!
//! The members of a group, and a run that is repeated, see the same results, whatever the engine
//! would say the second time. A run can be replayed without the engine.
//!
//! The file is JSON lines, `{"source", "k", "query", "hits"}`; only the places of lines are held
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

/// The record of a run's searches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordConfig {
    /// The file.
    pub file: PathBuf,
    /// What is done with it.
    pub mode: RecordMode,
}

/// What is done with recorded searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordMode {
    /// What is not recorded yet is searched for and recorded.
    Record,
    /// What is not recorded fails. No engine is needed.
    Replay,
}

/// A record that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read or written.
    #[error("cannot {action} the recorded searches `{}`", path.display())]
    File {
        /// `open`, `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is no recorded search.
    #[error("{}:{line}: not a recorded search", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// Another process records into the same file.
    #[error("another run records into `{}`", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A replayed run searched for what was not recorded.
    #[error("it is not among the recorded searches in `{}`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The engine panicked, or gave another number of answers than queries.
    #[error("the search engine broke off")]
    BrokenOff,
}

/// A search engine whose answers are remembered, and asked for once at a time: callers that search
/// for the same at the same moment share one search.
pub struct Recorded {
    /// None where a record is replayed.
    engine: Option<Box<dyn Retriever>>,
    /// What tells answers of different engines apart.
    source: String,
    log: Mutex<Log>,
    flights: Mutex<HashMap<Key, Arc<Flight>>>,
}

/// A hash of source, k and query.
type Key = u128;
/// An answer that several callers share.
type Shared = Result<Vec<Hit>, Arc<dyn Error + Send + Sync>>;

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    source: std::borrow::Cow<'a, str>,
    k: usize,
    query: std::borrow::Cow<'a, str>,
    hits: Vec<Hit>,
}

/// A search on its way.
#[derive(Default)]
struct Flight {
    answer: Mutex<Option<Shared>>,
    landed: Condvar,
}

/// Holds a flight until it lands. One that is dropped before has crashed.
struct Pilot<'a> {
    recorded: &'a Recorded,
    key: Key,
    flight: Arc<Flight>,
}

impl Recorded {
    /// Searches with an engine, and records what it finds. `source` names engine and settings:
    /// answers of one source are not given for another.
    pub fn record(
        engine: Box<dyn Retriever>,
        source: impl Into<String>,
        file: &Path,
    ) -> Result<Self, RecordError> {
        let log = Log::open(file, RecordMode::Record)?;
        Ok(Self::over(Some(engine), source.into(), log))
    }

    /// Gives recorded answers and nothing else.
    pub fn replay(source: impl Into<String>, file: &Path) -> Result<Self, RecordError> {
        Ok(Self::over(None, source.into(), Log::open(file, RecordMode::Replay)?))
    }

    fn over(engine: Option<Box<dyn Retriever>>, source: String, log: Log) -> Self {
        Self { engine, source, log: Mutex::new(log), flights: Mutex::default() }
    }

    /// How many searches are recorded.
    pub fn len(&self) -> usize {
        lock(&self.log).lines.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn key(&self, query: &str, k: usize) -> Key {
        key(&self.source, query, k)
    }

    /// Takes the lead in a search, or joins whoever has it.
    fn board(&self, key: Key) -> Result<Pilot<'_>, Arc<Flight>> {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(&key) {
            return Err(Arc::clone(flight));
        }
        let flight = Arc::<Flight>::default();
        flights.insert(key, Arc::clone(&flight));
        Ok(Pilot { recorded: self, key, flight })
    }

    /// Searches for what is not recorded, and records it.
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
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for &query in queries {
            if answers.insert(query, None).is_some() {
                continue;
            }
            match self.board(self.key(query, k)) {
                Ok(pilot) => match lock(&self.log).get(pilot.key) {
                    Ok(Some(hits)) => {
                        pilot.land(Ok(hits.clone()));
                        answers.insert(query, Some(Ok(hits)));
                    }
                    Ok(None) => ours.push((query, pilot)),
                    Err(error) => {
                        let answer: Shared = Err(Arc::new(error));
                        pilot.land(answer.clone());
                        answers.insert(query, Some(answer));
                    }
                },
                Err(flight) => theirs.push((query, flight)),
            }
        }
        let asked: Vec<&str> = ours.iter().map(|it| it.0).collect();
        if !asked.is_empty() {
            for ((query, pilot), answer) in ours.into_iter().zip(self.find(&asked, k)) {
                pilot.land(answer.clone());
                answers.insert(query, Some(answer));
            }
        }
        // Only now, when nobody waits for this call, may it wait for others.
        for (query, flight) in theirs {
            answers.insert(query, Some(flight.wait()));
        }
        let answer = |&query: &&str| {
            let answer = answers[query].clone().expect("every query was answered above");
            answer.map_err(|error| SearchError { query: query.to_owned(), source: error.into() })
        };
        queries.iter().map(answer).collect()
    }
}

impl Pilot<'_> {
    fn land(self, answer: Shared) {
        self.flight.land(answer);
    }
}

impl Drop for Pilot<'_> {
    fn drop(&mut self) {
        lock(&self.recorded.flights).remove(&self.key);
        self.flight.land(Err(Arc::new(RecordError::BrokenOff)));
    }
}

impl Flight {
    /// The first answer counts.
    fn land(&self, answer: Shared) {
        lock(&self.answer).get_or_insert(answer);
        self.landed.notify_all();
    }

    fn wait(&self) -> Shared {
        let mut answer = lock(&self.answer);
        loop {
            if let Some(answer) = &*answer {
                return answer.clone();
            }
            answer = self.landed.wait(answer).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The file.
struct Log {
    path: PathBuf,
    file: File,
    /// Where the next line goes.
    end: u64,
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

    /// Finds all whole lines.
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
            let line: Line<'_> =
                serde_json::from_slice(&text).map_err(|error| Ok((n_lines, error)))?;
            let key = key(&line.source, &line.query, line.k);
            self.lines.entry(key).or_insert((self.end, n as u32));
            self.end += n as u64;
        }
    }

    fn get(&mut self, key: Key) -> Result<Option<Vec<Hit>>, RecordError> {
        let Some(&(start, length)) = self.lines.get(&key) else { return Ok(None) };
        let read = || {
            let mut text = vec![0; length as usize];
            self.file.seek(SeekFrom::Start(start))?;
            self.file.read_exact(&mut text)?;
            let line: Line<'_> = serde_json::from_slice(&text)?;
            Ok(Some(line.hits))
        };
        let mut read = read;
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
