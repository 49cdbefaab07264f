//! Errors of building, opening and searching an index.

use std::io;
use std::path::{Path, PathBuf};

use tantivy::TantivyError;

use crate::{Analyzer, CorpusError, UnknownAnalyzer};

/// Error of building, opening or searching an index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Unreadable corpus.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// Corpus without a passage.
    #[error("the corpus has no passage; {skipped} bad lines were skipped")]
    Empty {
        /// Bad lines that were skipped.
        skipped: u64,
    },
    /// Target folder that holds something else than an index.
    #[error("`{}` exists and is not an index; it was left alone", folder.display())]
    Occupied {
        /// Folder.
        folder: PathBuf,
    },
    /// Target folder that another process builds an index in.
    #[error("`{}` is being built by another process", folder.display())]
    Busy {
        /// Folder.
        folder: PathBuf,
    },
    /// Missing folder.
    #[error("there is no folder `{}`", folder.display())]
    Missing {
        /// Folder.
        folder: PathBuf,
    },
    /// Folder without a manifest: a build that was cut short, or not an index.
    #[error("`{}` is not a complete index: it has no `forage-index.json`", folder.display())]
    Incomplete {
        /// Folder.
        folder: PathBuf,
    },
    /// Unreadable manifest.
    #[error("the manifest `{}` cannot be read", path.display())]
    Manifest {
        /// Manifest.
        path: PathBuf,
        /// Cause.
        source: serde_json::Error,
    },
    /// Folder format of another version of Forage.
    #[error("`{}` has format {found}, this version reads format {expected}", folder.display())]
    Format {
        /// Folder.
        folder: PathBuf,
        /// Format of the index.
        found: u32,
        /// Format that this version reads.
        expected: u32,
    },
    /// Analyzer mismatch: the index was built with another one than was asked for.
    #[error("`{}` was made with the analyzer `{found}`, not with `{asked}`", folder.display())]
    Analyzer {
        /// Folder.
        folder: PathBuf,
        /// Analyzer of the index.
        found: Analyzer,
        /// Analyzer that was asked for.
        asked: Analyzer,
    },
    /// Analyzer version mismatch.
    #[error(
        "`{}` was made with version {found} of the analyzer `{analyzer}`, this is version {expected}",
        folder.display()
    )]
    AnalyzerVersion {
        /// Folder.
        folder: PathBuf,
        /// Analyzer.
        analyzer: Analyzer,
        /// Version that the index was built with.
        found: u32,
        /// Version of the analyzer in this program.
        expected: u32,
    },
    /// Analyzer that this version does not have.
    #[error("`{}` cannot be searched", folder.display())]
    UnknownAnalyzer {
        /// Folder.
        folder: PathBuf,
        /// Its name, in an error.
        source: UnknownAnalyzer,
    },
    /// Damaged index: the folder does not hold what its manifest says.
    #[error("`{}` is damaged: {what}", folder.display())]
    Damaged {
        /// Folder.
        folder: PathBuf,
        /// Damage, in words.
        what: String,
    },
    /// Index format of another version of tantivy.
    #[error("`{}` was written as `{found}`, this version reads `{expected}`", folder.display())]
    EngineFormat {
        /// Folder.
        folder: PathBuf,
        /// Version of tantivy and of its format that wrote it.
        found: String,
        /// Version of tantivy and of its format in this program.
        expected: String,
    },
    /// Memory budget that is too small for a build.
    #[error("{found} bytes are too little to build an index; it wants {least} or more")]
    Memory {
        /// Budget, in bytes.
        found: usize,
        /// Smallest budget, in bytes.
        least: usize,
    },
    /// BM25 parameter out of range.
    #[error("`{name}` is {value}; it must be {range}")]
    Parameter {
        /// Name of the option.
        name: &'static str,
        /// Value.
        value: f32,
        /// Permitted values.
        range: &'static str,
    },
    /// File system error.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// `read`, `write`, …
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Error of tantivy.
    #[error("the search engine failed")]
    Engine(#[from] TantivyError),
}

impl IndexError {
    /// File system error of an action on a file.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
