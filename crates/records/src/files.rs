//! Files of records below folders.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::RecordError;
use crate::source::is_stdin;

/// Suffixes in words, for messages.
const SUFFIXES: &str =
    "`.jsonl`, `.json`, `.ndjson` or `.parquet`, with or without `.gz`, `.zst` or `.bz2`";
/// Suffixes of files of records.
const RECORDS: [&str; 4] = ["jsonl", "json", "ndjson", "parquet"];
/// Suffixes after those. Some are not read: such a file is refused, and not left out in silence.
const COMPRESSED: [&str; 11] =
    ["gz", "gzip", "zst", "zstd", "bz2", "xz", "lz4", "lzma", "zip", "7z", "br"];

/// Names without an ending of files that describe others, as Spark and data sets have them.
const DESCRIBING: [&str; 10] = [
    "readme",
    "license",
    "licence",
    "notice",
    "copying",
    "authors",
    "changelog",
    "makefile",
    "checksums",
    "sha256sums",
];

/// Files of records that paths stand for, in order.
///
/// A folder stands for the files below it that end in `.jsonl`, `.json`, `.ndjson` or `.parquet`,
/// perhaps compressed, or whose name has no ending at all (`part-00000`), in the order of their
/// paths. Hidden files and those that describe a folder (`README`, `LICENSE`, `_SUCCESS`) are left
/// out, and a file that links lead to twice is there once. Other paths stay as they are; `-` is
/// standard input.
///
/// # Errors
///
/// A path that does not exist, a folder without such a file, and a link that leads in a circle.
pub fn find_files(paths: impl IntoIterator<Item = PathBuf>) -> Result<Vec<PathBuf>, RecordError> {
    let mut files = Vec::new();
    for path in paths {
        if is_stdin(&path) {
            files.push(path);
            continue;
        }
        let metadata = fs::metadata(&path).map_err(open(&path))?;
        if !metadata.is_dir() {
            files.push(path);
            continue;
        }
        let mut walk = Walk { files: Vec::new(), seen: HashSet::new(), above: Vec::new() };
        walk.folder(&path)?;
        if walk.files.is_empty() {
            return Err(RecordError::NoFiles { folder: path, suffixes: SUFFIXES });
        }
        files.append(&mut walk.files);
    }
    Ok(files)
}

fn open(path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    let path = path.to_owned();
    move |source| RecordError::Open { path, source }
}

/// Walk through a folder.
struct Walk {
    files: Vec<PathBuf>,
    /// Files and folders that were met, without links.
    seen: HashSet<PathBuf>,
    /// Folders that the walk is in, without links.
    above: Vec<PathBuf>,
}

impl Walk {
    fn folder(&mut self, folder: &Path) -> Result<(), RecordError> {
        let real = folder.canonicalize().map_err(open(folder))?;
        if self.above.contains(&real) {
            return Err(RecordError::LinkCircle { link: folder.to_owned(), target: real });
        }
        if !self.seen.insert(real.clone()) {
            return Ok(());
        }
        self.above.push(real);
        let entries = fs::read_dir(folder).map_err(open(folder))?;
        let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
        let mut paths = paths.map_err(open(folder))?;
        paths.sort();
        for path in paths {
            self.entry(path)?;
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, path: PathBuf) -> Result<(), RecordError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            return Ok(());
        }
        let is_wanted = has_suffix(&name);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => self.folder(&path),
            Ok(metadata) if metadata.is_file() && is_wanted => {
                let real = path.canonicalize().map_err(open(&path))?;
                if self.seen.insert(real) {
                    self.files.push(path);
                }
                Ok(())
            }
            // Among them links to themselves, which is the smallest circle.
            Err(error) if is_wanted || is_loop(&error) => Err(open(&path)(error)),
            _ => Ok(()),
        }
    }
}

fn is_loop(error: &io::Error) -> bool {
    // The kind has no stable name; the message is that of the system.
    error.to_string().contains("symbolic links")
}

fn has_suffix(name: &str) -> bool {
    let lower = name.to_lowercase();
    let path = Path::new(&lower);
    let is_in = |path: &Path, suffixes: &[&str]| {
        let suffix = path.extension().and_then(|suffix| suffix.to_str());
        suffix.is_some_and(|suffix| suffixes.contains(&suffix))
    };
    let stem = Path::new(path.file_stem().unwrap_or_default());
    let is_bare =
        path.extension().is_none() && !lower.starts_with('_') && !DESCRIBING.contains(&&*lower);
    is_bare
        || is_in(path, &RECORDS)
        || is_in(path, &COMPRESSED) && (stem.extension().is_none() || is_in(stem, &RECORDS))
}
