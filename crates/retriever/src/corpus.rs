//! Corpus readers: JSON lines, plain or compressed.
//!
//! Two shapes of a line are read, and may be mixed: `{"id", "contents": "\"Title\"\nText"}` of
//! Search-R1 and its relatives, and `{"id", "title", "text"}`. Other keys are ignored. Compression
//! is known by the first bytes of a file and not by its name, so that standard input may be
//! compressed too. A folder stands for the corpus files in it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use forage_trajectory::Passage;
use serde::Deserialize;

use crate::contents::split_contents;

/// Line of a corpus file, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorpusLine {
    /// File; `<stdin>` and `<memory>` for what has none.
    pub file: Arc<Path>,
    /// Line, from 1.
    pub line: u64,
}

impl fmt::Display for CorpusLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Unreadable corpus, or a bad line in it.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// File that cannot be opened.
    #[error("cannot open the corpus `{}`", file.display())]
    Open {
        /// File.
        file: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Folder without a corpus file.
    #[error("the folder `{}` has no file that ends in {SUFFIXES}", folder.display())]
    NoFiles {
        /// Folder.
        folder: PathBuf,
    },
    /// File that cannot be read to its end.
    #[error("{place}: cannot read on")]
    Read {
        /// Line that could not be read.
        place: CorpusLine,
        /// Cause.
        source: io::Error,
    },
    /// Line that is not a JSON object in one of the known shapes.
    #[error("{place}: not a passage in JSON")]
    Json {
        /// Line.
        place: CorpusLine,
        /// Cause.
        source: serde_json::Error,
    },
    /// Passage without a key that it needs.
    #[error("{place}: the passage has no {key}")]
    Lacks {
        /// Line.
        place: CorpusLine,
        /// Key.
        key: &'static str,
    },
    /// Duplicate id.
    #[error("{place}: the id `{id}` is already that of {first}")]
    Duplicate {
        /// Second line.
        place: CorpusLine,
        /// Id.
        id: String,
        /// First line.
        first: CorpusLine,
    },
}

impl CorpusError {
    /// Whether one line is bad, and the rest of the corpus can be read.
    pub fn is_bad_line(&self) -> bool {
        matches!(self, Self::Json { .. } | Self::Lacks { .. } | Self::Duplicate { .. })
    }
}

/// Extensions of corpus files in a folder.
const SUFFIXES: &str = "`.jsonl`, `.json` or `.ndjson`, with or without `.gz` or `.zst`";

/// Corpus: a stream of passages, in the order of their lines.
pub struct Corpus {
    source: Source,
    bytes_read: Arc<AtomicU64>,
    total_bytes: Option<u64>,
}

enum Source {
    Files { left: std::vec::IntoIter<PathBuf>, current: Option<Lines> },
    Memory { passages: std::vec::IntoIter<Passage>, place: CorpusLine },
}

struct Lines {
    reader: Box<dyn BufRead + Send>,
    place: CorpusLine,
    line: Vec<u8>,
}

impl Corpus {
    /// Corpus of files, one after the other; `-` is standard input.
    ///
    /// A folder stands for all files below it that end in `.jsonl`, `.json` or `.ndjson`, perhaps
    /// with `.gz` or `.zst`, in the order of their paths; hidden ones and others are left out.
    /// Fails if a file does not exist, before anything is read.
    pub fn files(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, CorpusError> {
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                let before = files.len();
                add_folder(&path, &mut files)
                    .map_err(|source| CorpusError::Open { file: path.clone(), source })?;
                if files.len() == before {
                    return Err(CorpusError::NoFiles { folder: path });
                }
            } else {
                files.push(path);
            }
        }
        let mut total_bytes = Some(0);
        for file in &files {
            let bytes = if file.as_os_str() == "-" {
                None
            } else {
                let metadata = std::fs::metadata(file)
                    .map_err(|source| CorpusError::Open { file: file.clone(), source })?;
                // A pipe has no length.
                metadata.is_file().then_some(metadata.len())
            };
            total_bytes = total_bytes.zip(bytes).map(|(total, bytes)| total + bytes);
        }
        let source = Source::Files { left: files.into_iter(), current: None };
        Ok(Self { source, bytes_read: Arc::default(), total_bytes })
    }

    /// Corpus in memory.
    pub fn memory(passages: Vec<Passage>) -> Self {
        let place = CorpusLine { file: Path::new("<memory>").into(), line: 0 };
        let source = Source::Memory { passages: passages.into_iter(), place };
        Self { source, bytes_read: Arc::default(), total_bytes: None }
    }

    /// Size of all files on disk, in bytes, where it is known.
    pub fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// Bytes read so far, before decompression.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
}

/// Adds the corpus files below a folder, in the order of their paths.
fn add_folder(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|it| it.path()));
    let mut paths = entries.collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            add_folder(&path, files)?;
            continue;
        }
        let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst"));
        let plain = Path::new(plain.unwrap_or(&name));
        if plain.extension().is_some_and(|it| it == "jsonl" || it == "json" || it == "ndjson") {
            files.push(path);
        }
    }
    Ok(())
}

impl Iterator for Corpus {
    type Item = Result<(CorpusLine, Passage), CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (left, current) = match &mut self.source {
            Source::Memory { passages, place } => {
                let passage = passages.next()?;
                place.line += 1;
                return Some(Ok((place.clone(), passage)));
            }
            Source::Files { left, current } => (left, current),
        };
        loop {
            if let Some(lines) = current {
                match lines.next_passage() {
                    Some(next) => {
                        if next.as_ref().is_err_and(|error| !error.is_bad_line()) {
                            *current = None;
                        }
                        return Some(next);
                    }
                    None => *current = None,
                }
            }
            match Lines::open(&left.next()?, &self.bytes_read) {
                Ok(lines) => *current = Some(lines),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Lines {
    fn open(file: &Path, bytes_read: &Arc<AtomicU64>) -> Result<Self, CorpusError> {
        let error = |source| CorpusError::Open { file: file.to_owned(), source };
        let (input, name): (Box<dyn Read + Send>, &Path) = if file.as_os_str() == "-" {
            (Box::new(io::stdin()), Path::new("<stdin>"))
        } else {
            (Box::new(File::open(file).map_err(error)?), file)
        };
        let counted = Counted { input, bytes_read: Arc::clone(bytes_read) };
        let reader = decompressed(counted).map_err(error)?;
        Ok(Self { reader, place: CorpusLine { file: name.into(), line: 0 }, line: Vec::new() })
    }

    fn next_passage(&mut self) -> Option<Result<(CorpusLine, Passage), CorpusError>> {
        loop {
            self.line.clear();
            self.place.line += 1;
            match self.reader.read_until(b'\n', &mut self.line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(source) => {
                    return Some(Err(CorpusError::Read { place: self.place.clone(), source }));
                }
            }
            let mut line = self.line.trim_ascii();
            if self.place.line == 1 {
                line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
            }
            if !line.is_empty() {
                return Some(passage(line, &self.place));
            }
        }
    }
}

/// Line of a corpus file in any of the known shapes.
#[derive(Deserialize)]
struct Row {
    id: Option<Id>,
    title: Option<String>,
    text: Option<String>,
    contents: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(serde_json::Number),
}

fn passage(line: &[u8], place: &CorpusLine) -> Result<(CorpusLine, Passage), CorpusError> {
    let row: Row = serde_json::from_slice(line)
        .map_err(|source| CorpusError::Json { place: place.clone(), source })?;
    let lacks = |key| CorpusError::Lacks { place: place.clone(), key };
    let id = match row.id.ok_or_else(|| lacks("`id`"))? {
        Id::Text(id) => id,
        Id::Number(id) => id.to_string(),
    };
    let (title, text) = match (row.text, row.contents) {
        (Some(text), _) => (row.title.unwrap_or_default(), text),
        (None, Some(contents)) => {
            let (title, text) = split_contents(&contents);
            (row.title.unwrap_or_else(|| title.to_owned()), text.to_owned())
        }
        (None, None) => return Err(lacks("`text` and no `contents`")),
    };
    Ok((place.clone(), Passage { id, title, text }))
}

/// Reader that counts the bytes read.
struct Counted {
    input: Box<dyn Read + Send>,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.bytes_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Reader that decompresses gzip and zstd, known by their magic numbers.
fn decompressed(mut input: Counted) -> io::Result<Box<dyn BufRead + Send>> {
    let mut magic = Vec::new();
    input.by_ref().take(4).read_to_end(&mut magic)?;
    let gzip = magic.starts_with(&[0x1f, 0x8b]);
    let zstandard = magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let whole = BufReader::with_capacity(1 << 16, io::Cursor::new(magic).chain(input));
    Ok(if gzip {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(whole)))
    } else if zstandard {
        Box::new(BufReader::with_capacity(1 << 16, zstd::Decoder::with_buffer(whole)?))
    } else {
        Box::new(whole)
    })
}
