//! What can go wrong with an index.

use std::io;
use std::path::{Path, PathBuf};

use tantivy::TantivyError;

use crate::{Analyzer, CorpusError, UnknownAnalyzer};

/// An index that cannot be built, opened or searched.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The corpus cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The corpus has no passage.
    #[error("the corpus has no passage; {skipped} bad lines were skipped")]
    Empty {
        /// Bad lines that were skipped.
        skipped: u64,
    },
    /// The folder for the index holds something else.
    #[error("`{}` exists and is not an index; it was left alone", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process builds the same index.
    #[error("`{}` is being built by another process", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// There is nothing at the path.
    #[error("there is no folder `{}`", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has no manifest: a build that was cut short, or not an index.
    #[error("`{}` is not a complete index: it has no `forage-index.json`", folder.display())]
    Incomplete {
        /// The folder.
        folder: PathBuf,
    },
    /// The manifest is not one.
    #[error("the manifest `{}` cannot be read", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The index was made by a version of Forage with another format.
    #[error("`{}` has format {found}, this version reads format {expected}", folder.display())]
    Format {
        /// The folder.
        folder: PathBuf,
        /// Format of the index.
        found: u32,
        /// The format this version reads.
        expected: u32,
    },
    /// The index was made with another analyzer than the one asked for.
    #[error("`{}` was made with the analyzer `{found}`, not with `{asked}`", folder.display())]
    Analyzer {
        /// The folder.
        folder: PathBuf,
        /// The analyzer it was made with.
        found: Analyzer,
        /// The analyzer asked for.
        asked: Analyzer,
    },
    /// The index was made with another version of its analyzer.
    #[error(
        "`{}` was made with version {found} of the analyzer `{analyzer}`, this is version {expected}",
        folder.display()
    )]
    AnalyzerVersion {
        /// The folder.
        folder: PathBuf,
        /// The analyzer.
        analyzer: Analyzer,
        /// The version it was made with.
        found: u32,
        /// The version of this program.
        expected: u32,
    },
    /// The index was made with an analyzer that this version does not have.
    #[error("`{}` cannot be searched", folder.display())]
    UnknownAnalyzer {
        /// The folder.
        folder: PathBuf,
        /// Its name.
        source: UnknownAnalyzer,
    },
    /// What is in the folder is not what its manifest says.
    #[error("`{}` is damaged: {what}", folder.display())]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The index was written by a version of tantivy with another format.
    #[error("`{}` was written as `{found}`, this version reads `{expected}`", folder.display())]
    EngineFormat {
        /// The folder.
        folder: PathBuf,
        /// Version of tantivy and of its format that wrote it.
        found: String,
        /// Version of tantivy and of its format in this program.
        expected: String,
    },
    /// A build is given too little memory.
    #[error("{found} bytes are too little to build an index; it wants {least} or more")]
    Memory {
        /// Bytes it was given.
        found: usize,
        /// Bytes it wants.
        least: usize,
    },
    /// A parameter of BM25 is out of range.
    #[error("`{name}` is {value}; it must be {range}")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: f32,
        /// The values it may have.
        range: &'static str,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// `read`, `write`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The engine below failed.
    #[error("the search engine failed")]
    Engine(#[from] TantivyError),
}

impl IndexError {
    /// Names the file that an action failed on.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
